package handlers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/prometheus/client_golang/prometheus"
)

func TestNothingIsAnsweredOrSeenBeforeTheAppendHasReturned(t *testing.T) {
	for name, hold := range map[string]func(gate) fault{
		"while it is to be written": func(g gate) fault { return g.then(works) },
		"while it is being synced":  func(g gate) fault { return g.after(works) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			one, two := newGate(), newGate()
			r.log.next(hold(one), hold(two))
			first := r.model("a")
			<-one.reached
			// What comes in the meantime rests on what isn't durable yet.
			target, refused, found := r.target(), r.model("a"), r.target()
			behind := r.model("b")
			r.reach(4) // so all before it were decided, too
			for _, c := range []*call{first, target, refused, found, behind} {
				c.waits()
			}
			r.wantUnseen(2, "a")
			close(one.open)
			if out := first.written(); out.Sequence != 2 {
				t.Errorf("it got the sequence %d", out.Sequence)
			}
			if _, _, ok := r.run.At(2).Model("a"); !ok {
				t.Error("the model isn't seen by whom was answered")
			}
			// The refusal would be right by now, but goes with its group.
			<-two.reached
			for _, c := range []*call{target, refused, found, behind} {
				c.waits()
			}
			r.wantUnseen(3, "b")
			close(two.open)
			target.written()
			refused.refused(ExistsError{What: CodeModelExists, Name: "model a"}, "")
			if out := found.found(); out.Sequence != 3 {
				t.Errorf("what is already so was found at %d", out.Sequence)
			}
			behind.written()
			r.holds("a", "t", "b")
		})
	}
}

// wantUnseen checks that nothing from a sequence on is seen, such as a model.
func (r *registry) wantUnseen(from uint64, model string) {
	r.t.Helper()
	if visible := r.run.Visible(); visible >= from {
		r.t.Errorf("%d is visible", visible)
	}
	if _, _, ok := r.run.Now().Model(model); ok {
		r.t.Errorf("the model %s is seen", model)
	}
}

func TestWhatComesDuringAnAppendGoesOutTogether(t *testing.T) {
	r := newRegistry(t)
	g := newGate()
	r.log.next(g.then(works))
	calls := []*call{r.model("first")}
	<-g.reached
	for i := range 20 {
		calls = append(calls, r.model(fmt.Sprint(i)))
	}
	r.reach(22)
	close(g.open)
	for i, c := range calls {
		if out := c.written(); out.Sequence != uint64(i+2) {
			t.Errorf("request %d got the sequence %d", i, out.Sequence)
		}
	}
	if diff := cmp.Diff([]int{1, 1, 20}, r.log.groups()); diff != "" {
		t.Errorf("events in each append:\n%s", diff)
	}
}

func TestAGroupEndsAtItsLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		tags  map[string]string
		send  int
		group []int // of the appends after the first
	}{
		{"500 events", nil, 1_100, []int{500, 500, 100}},
		{"4 MiB", map[string]string{"a": strings.Repeat("v", 90_000), "b": strings.Repeat("v", 90_000)}, 30, []int{21, 9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(t)
			g := newGate()
			r.log.next(g.then(works))
			calls := []*call{r.model("first")}
			<-g.reached
			for i := range c.send {
				calls = append(calls, r.send(Request{Command: &RegisterModel{ModelSpec{Name: fmt.Sprint(i), Tags: c.tags}}}))
			}
			r.reach(uint64(2 + c.group[0])) // the next group is full, the rest waits in the queue
			close(g.open)
			for _, c := range calls {
				c.written()
			}
			if diff := cmp.Diff(append([]int{1, 1}, c.group...), r.log.groups()); diff != "" {
				t.Errorf("events in each append:\n%s", diff)
			}
		})
	}
}

// Answers without events fill a group, too; those that don't fit into it must
// not be forgotten.
func TestManyAnswersWithoutAnEventAreAllGiven(t *testing.T) {
	r := newRegistry(t, func(c *Config) { c.Queue = 3 * maxGroupRequests })
	r.target().written()
	g := newGate()
	r.log.next(g.then(works))
	r.model("a")
	<-g.reached
	calls := make([]*call, 2*maxGroupRequests+1)
	for i := range calls {
		calls[i] = r.target()
	}
	until(t, func() bool { return len(r.queue) == maxGroupRequests+1 })
	close(g.open)
	for _, c := range calls {
		c.found()
	}
	if diff := cmp.Diff([]int{1, 1, 1}, r.log.groups()); diff != "" {
		t.Errorf("events in each append:\n%s", diff)
	}
}

func TestTheSameKeyTwiceInOneGroupIsOneEvent(t *testing.T) {
	r := newRegistry(t)
	g := newGate()
	r.log.next(g.then(works))
	r.model("first")
	<-g.reached
	keyed := func(name string) *call {
		return r.send(Request{Command: &RegisterModel{ModelSpec{Name: name}}, Key: "k"})
	}
	once, twice, other, last := keyed("a"), keyed("a"), keyed("b"), r.model("last")
	r.reach(4)
	close(g.open)
	out := once.written()
	if again := twice.found(); again.Sequence != out.Sequence || again.Resource != out.Resource {
		t.Errorf("the same request got %+v and %+v", out, again)
	}
	other.refused(KeyReusedError{out.Sequence}, "use a new key")
	last.written()
	r.holds("first", "a", "last")
}

func TestKeysSurviveARestart(t *testing.T) {
	log := openLog(t, natslog.Config{})
	before := startOn(t, log)
	req := func() Request { return Request{Command: &RegisterModel{ModelSpec{Name: "a"}}, Key: "k"} }
	first := before.send(req()).written()
	before.end()
	after := startOn(t, log)
	if again := after.send(req()).found(); again.Sequence != first.Sequence || again.Resource != first.Resource {
		t.Errorf("got %+v before and %+v after", first, again)
	}
	reused := req()
	reused.Command = &RegisterModel{ModelSpec{Name: "b"}}
	after.send(reused).refused(KeyReusedError{first.Sequence}, "")
	after.holds("a")
}

func TestAClockThatGoesBackDoesNotTakeRecordedTimesAlong(t *testing.T) {
	var lock sync.Mutex
	clock := firstMoment
	now := func() time.Time {
		lock.Lock()
		defer lock.Unlock()
		return clock
	}
	set := func(to time.Time) {
		lock.Lock()
		defer lock.Unlock()
		clock = to
	}
	log := openLog(t, natslog.Config{})
	r := startOn(t, log, func(c *Config) { c.Now = now })
	times := func(r *registry) (recorded []time.Time) {
		for sequence := range r.run.Visible() {
			recorded = append(recorded, r.run.At(sequence+1).Recorded())
		}
		return recorded
	}
	set(firstMoment.Add(time.Hour))
	r.model("a").written()
	set(firstMoment.Add(-time.Hour))
	r.model("b").written()
	r.end()
	r = startOn(t, log, func(c *Config) { c.Now = now }) // and knows the last time
	r.model("c").written()
	set(firstMoment.Add(2 * time.Hour))
	r.model("d").written()
	hour := func(n int) time.Time { return firstMoment.Add(time.Duration(n) * time.Hour) }
	if diff := cmp.Diff([]time.Time{hour(0), hour(1), hour(1), hour(1), hour(2)}, times(r)); diff != "" {
		t.Errorf("recorded:\n%s", diff)
	}
}

func TestManyAtOnceGetVersionsWithoutGaps(t *testing.T) {
	const callers, each = 64, 4
	r := newRegistry(t)
	r.model("fraud").written()
	numbers := make(chan int, callers*each)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				out, err := r.Do(t.Context(), Request{Command: &RegisterVersion{"fraud", VersionSpec{Source: "s3://models/x"}}})
				if err != nil {
					t.Error(err)
				}
				id := events.VersionID{ModelID: out.Resource.Root.ID, Version: out.Resource.Version}
				if v, sequence, ok := r.run.Now().Version(id); !ok || sequence != out.Sequence || v.ID != id {
					t.Errorf("version %d isn't seen by whom was answered", out.Resource.Version)
				}
				numbers <- out.Resource.Version
			}
		})
	}
	wg.Wait()
	close(numbers)
	var got []int
	for n := range numbers {
		got = append(got, n)
	}
	slices.Sort(got)
	for i, n := range got {
		if n != i+1 {
			t.Fatalf("number %d is %d", i+1, n)
		}
	}
	r.holds("fraud")
}

func TestStopFinishesWhatWaits(t *testing.T) {
	r := newRegistry(t)
	g := newGate()
	r.log.next(g.then(works))
	first := r.model("a")
	<-g.reached
	second, refused := r.model("b"), r.model("a")
	stopped := make(chan error)
	go func() { stopped <- r.Stop(t.Context()) }()
	first.waits()
	close(g.open)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	first.written()
	second.written()
	refused.refused(ExistsError{What: CodeModelExists, Name: "model a"}, "")
	if err := r.Err(); err != nil {
		t.Errorf("after a stop: %v", err)
	}
	r.holds("a", "b")
}

func TestStopEndsWithItsContext(t *testing.T) {
	r := newRegistry(t)
	g := newGate()
	r.log.next(g.then(works))
	first := r.model("a")
	<-g.reached
	second := r.model("b")
	r.reach(3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Stop(ctx); err == nil {
		t.Error("it says that all is finished")
	}
	<-r.Done()
	first.refused(OutcomeUnknownError{}, first.id.String())
	second.refused(UnavailableError{Kind: CodeUnavailable}, "nothing was written")
}

func TestStopDoesNotWaitForALogThatIsAway(t *testing.T) {
	r := newRegistry(t)
	r.log.away.Store(forGood)
	r.log.next(lost(events.ErrUnavailable))
	a := r.model("a")
	<-r.log.asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Stop(ctx); err == nil {
		t.Error("it says that all is finished")
	}
	a.refused(UnavailableError{Kind: CodeUnavailable}, "nothing was written")
}

func TestARequestAfterTheEndIsUnavailable(t *testing.T) {
	r := newRegistry(t)
	r.end()
	_, err := r.Do(t.Context(), Request{Command: &RegisterModel{ModelSpec{Name: "a"}}})
	wantRefusal(t, err, UnavailableError{Kind: CodeUnavailable}, "nothing was written")
	r.holds()
}

func TestARequestHasTenSecondsAndAPlaceAmong4096(t *testing.T) {
	r := newRegistry(t, func(c *Config) { c.Deadline, c.Queue = 0, 0 })
	if r.cfg.Deadline != 10*time.Second || cap(r.queue) != 4096 {
		t.Errorf("a request has %s, and a place among %d", r.cfg.Deadline, cap(r.queue))
	}
}

func TestAQueueThatIsFullIsBusy(t *testing.T) {
	r := newRegistry(t, func(c *Config) { c.Queue = 1 })
	r.log.away.Store(forGood)
	r.log.next(lost(events.ErrUnavailable))
	first := r.model("a")
	<-r.log.asked // nothing is taken from the queue while the log is away
	second := r.model("b")
	_, err := r.Do(t.Context(), Request{Command: &RegisterModel{ModelSpec{Name: "c"}}})
	wantRefusal(t, err, UnavailableError{Kind: CodeBusy}, "too many requests")
	r.log.away.Store(0)
	first.written()
	second.written()
	r.holds("a", "b")
}

func TestAnAnswerThatIsThereIsGivenThoughTheContextHasEnded(t *testing.T) {
	r := newRegistry(t)
	for i := range 20 { // by chance, either could win
		ctx, cancel := context.WithCancel(t.Context())
		p, err := r.submit(ctx, Request{Command: &RegisterModel{ModelSpec{Name: fmt.Sprint(i)}}})
		if err != nil {
			t.Fatal(err)
		}
		<-p.replied
		cancel()
		if out, err := r.await(p); err != nil || !out.Written() {
			t.Fatalf("got %+v, %v", out, err)
		}
	}
}

func TestWhoeverHasGivenUpIsNotDecided(t *testing.T) {
	r := newRegistry(t)
	g := newGate()
	r.log.next(g.then(works))
	first := r.model("a")
	<-g.reached
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Do(ctx, Request{Command: &RegisterModel{ModelSpec{Name: "b"}}})
	wantRefusal(t, err, UnavailableError{Kind: CodeUnavailable}, "nothing was written")
	last := r.model("c")
	r.reach(3)
	close(g.open)
	first.written()
	last.written()
	r.holds("a", "c")
}

// Whoever gives up just as the request is decided must not find it written.
func TestWhatIsGivenUpWhileItIsDecidedIsTakenBack(t *testing.T) {
	r := decider()
	r.next = &group{expect: 1}
	p := &pending{Request: Request{Command: &RegisterModel{ModelSpec{Name: "a"}}}, ctx: t.Context(), id: newID}
	p.progress.Store(abandoned)
	r.take(p)
	if tip := r.cfg.Runner.Tip().Sequence; tip != 1 || len(r.next.requests) != 0 || len(r.next.events) != 0 {
		t.Errorf("the tip is %d, and the group has %d requests with %d events", tip, len(r.next.requests), len(r.next.events))
	}
}

func TestTheRegistrarCountsWhatBecameOfCommands(t *testing.T) {
	r := newRegistry(t, func(c *Config) { c.Jitter, c.Logger = nil, nil }) // the defaults do
	r.log.next(lost(events.ErrUnavailable))
	do := func(cmd Command) {
		_, _ = r.Do(t.Context(), Request{Command: cmd})
	}
	do(&DefineTarget{Target: prodScorer})
	do(&DefineTarget{Target: prodScorer})
	do(&RollBack{Target: prodScorer})
	do(&RegisterModel{})
	reg := prometheus.NewRegistry()
	reg.MustRegister(r.Collectors()...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"modelog_commands_total define_target written": 1, "modelog_commands_total define_target unchanged": 1,
		"modelog_commands_total roll_back nothing_to_roll_back_to": 1, "modelog_commands_total register_model invalid": 1,
		"modelog_failed_appends_total": 1, "modelog_group_events": 2, "modelog_queue_length": 0, "modelog_visible_sequence": 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
