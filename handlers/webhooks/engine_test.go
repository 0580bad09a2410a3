package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"golang.org/x/sync/errgroup"
)

func TestThePastIsDeliveredInOrderAndOnceOverARestart(t *testing.T) {
	r := newRegistry(t)
	all := func(cmd *handlers.CreateSubscription) { cmd.Spec.Types, cmd.After = nil, new(uint64) }
	s := r.subscribe("s", all, ordered(events.OrderStrict)) // from the beginning: the registry's event, and its own
	e := r.start()
	s.wait(t, 1, 2)
	e.Stop()
	three := r.models("a")
	r.start()
	s.wait(t, 1, 2, three[0])
	if got := s.sequences(); !slices.IsSorted(got) {
		t.Errorf("they came as %v", got)
	}
}

// Endpoints that hang, also such as were trusted with many at once, cost those that
// answer nothing.
func TestEndpointsThatHangCostTheOthersNothing(t *testing.T) {
	r := newRegistry(t)
	var slow []*sink
	for i := range 6 {
		slow = append(slow, r.subscribe(fmt.Sprint("slow", i), ordered(events.OrderNone)))
	}
	healthy := r.subscribe("healthy", ordered(events.OrderNone))
	const flying = 40
	r.start(func(cfg *Config) { cfg.Flying = flying })
	sequences := r.models(names("first", 20)...)
	for _, s := range append(slow, healthy) {
		s.wait(t, sequences...) // so that their windows are wide
	}
	for _, s := range slow {
		s.answers(always(hangs))
	}
	sequences = append(sequences, r.models(names("second", 60)...)...)
	healthy.wait(t, sequences...)
	inFlight := 0
	for _, s := range slow {
		s.mu.Lock()
		inFlight += s.flying
		if s.flying == 0 || s.flying > maxFlying {
			t.Errorf("%d are in flight to an endpoint that hangs", s.flying)
		}
		s.mu.Unlock()
	}
	if inFlight != flying*3/4 {
		t.Errorf("%d of %d hang, want three quarters", inFlight, flying)
	}
	for _, s := range slow {
		s.answers(always(ok))
	}
	for _, s := range slow {
		s.wait(t, sequences...)
	}
}

func names(prefix string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("%s-%d", prefix, i))
	}
	return all
}

func TestAStopIsNotChargedToTheEndpoint(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s")
	s.answers(always(hangs))
	e := r.start()
	sequence := r.models("a")[0]
	s.wait(t, sequence)
	e.Stop()
	c := r.cursor(s)
	if len(c.Pending) != 1 || c.Pending[0].Sequence != sequence || c.Pending[0].Attempt != 0 || c.FailingMilli != 0 {
		t.Errorf("the cursor is %+v", c)
	}
	s.answers(always(ok))
	e = r.start()
	s.wait(t, sequence, sequence)
	e.Stop()
	if diff := cmp.Diff([]string{fmt.Sprintf("%d/1 ok", sequence)}, r.attempts(s)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if c := r.cursor(s); c.After < sequence || len(c.Pending) > 0 {
		t.Errorf("the cursor is %+v in the end", c)
	}
}

func TestAResultThatIsOursIsNotCharged(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s")
	s.answers(func(n int, _ *Request) Result {
		if n == 1 {
			return Result{Ours: true, Class: attempts.ClassOurs}
		}
		return ok
	})
	e := r.start()
	sequence := r.models("a")[0]
	s.wait(t, sequence, sequence)
	e.Stop()
	if diff := cmp.Diff([]string{fmt.Sprintf("%d/1 ok", sequence)}, r.attempts(s)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// An endpoint's record that is replaced between an event and its delivery is looked up
// anew. One that is missing is modelog's own fault.
func TestAReplacedEndpointIsFoundAndAMissingOneWaitedFor(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s")
	e := r.start()
	old := r.subscription(s).Settings.CredentialID
	var replaced time.Time
	r.sinks.whenGot(func() { // just before it is looked up
		_, err := r.registrar.Do(t.Context(), handlers.Request{Command: &handlers.RotateSecret{
			Subscription: s.id.String(), CredentialID: r.sinks.put("s", s), Instead: old,
		}})
		if err != nil {
			t.Error(err)
		}
		r.sinks.erase(old)
		replaced = time.Now()
	})
	first := r.models("a")
	s.wait(t, first...)
	if s.got[0].Time.After(replaced) {
		t.Error("it was sent only when it was tried again")
	}
	current := r.subscription(s).Settings.CredentialID
	r.sinks.erase(current)
	second := r.models("b")
	logtest.WaitFor(t, "a pause", func() bool { return !e.paused(s).IsZero() })
	if n := s.count(); n != 1 {
		t.Errorf("%d were sent without an endpoint", n)
	}
	r.sinks.mu.Lock()
	r.sinks.urls[current] = "s"
	r.sinks.mu.Unlock()
	s.wait(t, first[0], second[0])
	e.Stop()
	if diff := cmp.Diff([]string{fmt.Sprintf("%d/1 ok", first[0]), fmt.Sprintf("%d/1 ok", second[0])}, r.attempts(s)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// paused is until when a subscription waits for modelog itself.
func (e *Engine) paused(s *sink) time.Time {
	session := e.current()
	if session == nil {
		return time.Time{}
	}
	session.mu.Lock()
	defer session.mu.Unlock()
	if f := session.flows[s.id]; f != nil {
		return f.core.own
	}
	return time.Time{}
}

func TestWhatWasMissedInAPauseIsDelivered(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderStrict))
	e := r.start()
	all := r.models("a", "b")
	s.wait(t, all...)
	r.do(&handlers.PauseSubscription{Subscription: s.id.String()})
	all = append(all, r.models("c", "d")...)
	e.inPlace(t, all[3])
	if n := s.count(); n != 2 {
		t.Errorf("%d were sent, some of them while paused", n)
	}
	r.do(&handlers.ResumeSubscription{Subscription: s.id.String()})
	all = append(all, r.models("e")...)
	s.wait(t, all...)
	if got := s.sequences(); !slices.Equal(got, all) {
		t.Errorf("they came as %v, want %v", got, all)
	}
}

// inPlace waits until the reader has dealt an event.
func (e *Engine) inPlace(t *testing.T, sequence uint64) {
	t.Helper()
	logtest.WaitFor(t, "the reader", func() bool {
		s := e.current()
		if s == nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.place >= sequence
	})
}

func TestAGoneEndpointIsDisabledAndGoesOnWhenResumed(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderStrict))
	s.answers(always(status(410)))
	r.start()
	all := r.models("a", "b")
	logtest.WaitFor(t, "disabling", func() bool { return r.subscription(s).Cause == events.CauseGone })
	if got := s.sequences(); !slices.Equal(got, all[:1]) {
		t.Errorf("%v were sent to an endpoint that is gone", got)
	}
	s.answers(always(ok))
	r.do(&handlers.ResumeSubscription{Subscription: s.id.String()})
	logtest.WaitFor(t, "both", func() bool { return slices.Equal(unique(s.sequences()), all) })
}

func TestDaysOfFailuresDisableWithAnEvent(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s")
	s.answers(always(status(500)))
	since := time.Now().Add(-disableAfter).Truncate(time.Millisecond)
	if _, err := r.store.Put(t.Context(), cursors.CursorKey(s.id), 0, cursors.Cursor{After: r.run.Visible(), FailingMilli: since.UnixMilli()}); err != nil {
		t.Fatal(err)
	}
	r.start()
	all := r.models("a")
	logtest.WaitFor(t, "disabling", func() bool { return r.subscription(s).Cause == events.CauseFailing })
	if found := r.subscription(s); !found.FailingSince().Equal(since) || s.count() != 1 || s.sequences()[0] != all[0] {
		t.Errorf("it is failing since %v, want %v; %v were sent", found.FailingSince(), since, s.sequences())
	}
}

// A subscription whose queue has overflown reads the log itself, and misses nothing.
func TestALaggingSubscriptionCatchesUpInOrder(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderStrict))
	s.answers(always(hangs))
	e := r.start()
	const n = maxReady + 2_500
	var group errgroup.Group
	group.SetLimit(200)
	for _, name := range names("m", n) {
		group.Go(func() error {
			_, err := r.registrar.Do(t.Context(), handlers.Request{Command: &handlers.RegisterModel{Spec: handlers.ModelSpec{Name: name}}})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	e.inPlace(t, r.run.Visible())
	session := e.current()
	session.mu.Lock()
	if f := session.flows[s.id]; f.inStep || len(f.core.ready) > maxReady {
		t.Errorf("it is in step is %v, with %d ready", f.inStep, len(f.core.ready))
	}
	session.mu.Unlock()
	s.answers(always(ok))
	later := r.models("later")[0]
	logtest.WaitFor(t, "all of them", func() bool { return s.count() > n })
	if got := s.sequences(); !slices.IsSorted(got) || len(unique(got)) != n+1 || len(got) != n+1 || got[n] != later {
		t.Errorf("%d came, %d of them new, the last is %d, want %d", len(got), len(unique(got)), got[len(got)-1], later)
	}
	logtest.WaitFor(t, "it is in step", func() bool {
		session.mu.Lock()
		defer session.mu.Unlock()
		return session.flows[s.id].inStep
	})
}

func TestWhatCantBeRenderedIsADeadLetterAndWhatIsEmptyIsSettled(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderStrict), func(cmd *handlers.CreateSubscription) { cmd.Spec.Format = events.FormatSlack })
	e := r.start(func(cfg *Config) {
		cfg.Render = func(_ *events.SubscriptionSettings, e events.Event, _ []byte) ([][]byte, string, error) {
			switch e.Data.(events.ModelRegistered).Name {
			case "bad":
				return nil, "", errors.New("it has no body")
			case "nothing":
				return nil, "", nil
			}
			return [][]byte{[]byte(`"hello"`)}, "text/greeting", nil
		}
	})
	all := r.models("bad", "nothing", "good")
	s.wait(t, all[2])
	e.Stop()
	if s.got[0].ContentType != "text/greeting" || string(s.got[0].Body) != `"hello"` {
		t.Errorf("sent was %q as %s", s.got[0].Body, s.got[0].ContentType)
	}
	if diff := cmp.Diff([]string{fmt.Sprintf("%d/1 unrenderable", all[0]), fmt.Sprintf("%d/1 ok", all[2])}, r.attempts(s)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	dead, err := r.store.Dead(t.Context(), s.id)
	if err != nil || !slices.Equal(dead, all[:1]) {
		t.Errorf("dead are %v, %v; want %v", dead, err, all[:1])
	}
	if c := r.cursor(s); c.After < all[2] || len(c.Pending) > 0 || c.Dead != 1 || c.FailingMilli != 0 {
		t.Errorf("the cursor is %+v", c)
	}
}

func TestAFilterThatChangesIsGoodForWhatIsReady(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderStrict))
	s.answers(always(hangs))
	e := r.start()
	all := r.models("a1", "b1", "a2", "b2")
	s.wait(t, all[0])
	e.inPlace(t, all[3])
	filters := `[{"prefix":{"subject":"models/b"}}]`
	changed := r.do(&handlers.ChangeSubscription{Subscription: s.id.String(), Changes: handlers.SubscriptionChanges{Filters: &filters}})
	e.inPlace(t, changed.Sequence)
	all = append(all, r.models("a3", "b3")...)
	e.inPlace(t, all[5])
	s.answers(always(ok))
	s.wait(t, all[0], all[1], all[2], all[3], all[5]) // what was ready stays so
	filters = `[]`
	r.do(&handlers.ChangeSubscription{Subscription: s.id.String(), Changes: handlers.SubscriptionChanges{Filters: &filters}})
	all = append(all, r.models("a4")...)
	s.wait(t, all[0], all[1], all[2], all[3], all[5], all[6])
}

func TestAFilterThatChangesInAPauseIsGoodForAllThatWaits(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderStrict))
	s.answers(always(hangs))
	e := r.start()
	all := r.models("a1", "b1", "a2", "b2")
	s.wait(t, all[0])
	e.inPlace(t, all[3])
	r.do(&handlers.PauseSubscription{Subscription: s.id.String()})
	filters := `[{"prefix":{"subject":"models/b"}}]`
	r.do(&handlers.ChangeSubscription{Subscription: s.id.String(), Changes: handlers.SubscriptionChanges{Filters: &filters}})
	e.inPlace(t, r.do(&handlers.ResumeSubscription{Subscription: s.id.String()}).Sequence)
	s.answers(always(ok))
	all = append(all, r.models("b3")...)
	s.wait(t, all[0], all[1], all[3], all[4])
}

func TestTheRateOfASubscriptionHolds(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderNone), func(cmd *handlers.CreateSubscription) { cmd.Spec.Rate = 20 })
	r.start()
	all := r.models(names("m", 12)...)
	began := time.Now()
	s.wait(t, all...)
	s.mu.Lock()
	took := s.got[11].Time.Sub(s.got[0].Time)
	s.mu.Unlock()
	if least := 11*time.Second/20 - rateBurst; took < least-10*time.Millisecond || time.Since(began) > 10*time.Second {
		t.Errorf("12 deliveries at 20 a second took %v, want at least %v", took, least)
	}
}

func TestAnEndpointThatFailsIsLeftAloneAndProbed(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderNone))
	s.answers(always(status(500)))
	const breaker = 300 * time.Millisecond
	r.start(func(cfg *Config) {
		cfg.Pace = &Pace{Schedule: []time.Duration{0, time.Millisecond, time.Millisecond, time.Hour}, Breaker: breaker}
	})
	all := r.models(names("m", 10)...)
	logtest.WaitFor(t, "two probes", func() bool { return s.count() >= breakerFailures+2 })
	s.answers(always(ok))
	logtest.WaitFor(t, "all of them", func() bool { return len(unique(s.sequences())) == len(all) })
	s.mu.Lock()
	defer s.mu.Unlock()
	first, second := s.got[breakerFailures].Time.Sub(s.got[breakerFailures-1].Time), s.got[breakerFailures+1].Time.Sub(s.got[breakerFailures].Time)
	if first < breaker || second < 2*breaker {
		t.Errorf("the probes came after %v and %v, want at least %v and twice that", first, second, breaker)
	}
}

func TestARetryIsTheSameDeliveryAndTheLastIsADeadLetter(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s")
	s.answers(always(status(500)))
	e := r.start(func(cfg *Config) {
		cfg.Pace = &Pace{Schedule: []time.Duration{0, time.Millisecond, time.Millisecond}, Breaker: time.Millisecond}
	})
	one := r.models("a")[0]
	s.wait(t, one, one, one)
	logtest.WaitFor(t, "a dead letter", func() bool {
		dead, err := r.store.Dead(t.Context(), s.id)
		return err == nil && slices.Equal(dead, []uint64{one})
	})
	e.Stop()
	want := []string{fmt.Sprintf("%d/1 status", one), fmt.Sprintf("%d/2 status", one), fmt.Sprintf("%d/3 status", one)}
	if diff := cmp.Diff(want, r.attempts(s)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if s.got[0].ID != s.got[2].ID || string(s.got[0].Body) != string(s.got[2].Body) || !strings.HasPrefix(s.got[0].ContentType, "application/cloudevents+json") {
		t.Errorf("the attempts differ: %+v", s.got)
	}
}

func TestWhatIsLeftOfDeletedSubscriptionsIsForgotten(t *testing.T) {
	r := newRegistry(t)
	kept, gone := r.subscribe("kept"), r.subscribe("gone")
	e := r.start()
	one := r.models("a")
	kept.wait(t, one...)
	gone.wait(t, one...)
	e.Stop()
	if _, err := r.store.Put(t.Context(), cursors.DeadKey(gone.id, 1), 0, cursors.DeadLetter{Sequence: 1}); err != nil {
		t.Fatal(err)
	}
	r.do(&handlers.DeleteSubscription{Subscription: gone.id.String()})
	var c cursors.Cursor // of one that has read on, so that nobody reads of the deletion
	revision, err := r.store.Get(t.Context(), cursors.CursorKey(kept.id), &c)
	if err != nil {
		t.Fatal(err)
	}
	c.After = r.run.Visible()
	if _, err := r.store.Put(t.Context(), cursors.CursorKey(kept.id), revision, c); err != nil {
		t.Fatal(err)
	}
	r.start()
	logtest.WaitFor(t, "nothing is left", func() bool {
		known, err := r.store.Subscriptions(t.Context())
		return err == nil && !known[gone.id] && len(r.attempts(gone)) == 0
	})
	if known, err := r.store.Subscriptions(t.Context()); err != nil || !known[kept.id] || len(r.attempts(kept)) != 1 {
		t.Errorf("of the other are left: %v, %v, %v", known, r.attempts(kept), err)
	}
}

func TestADeletedSubscriptionIsForgottenAtOnce(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s")
	e := r.start()
	s.wait(t, r.models("a")...)
	r.do(&handlers.DeleteSubscription{Subscription: s.id.String()})
	logtest.WaitFor(t, "nothing is left", func() bool {
		known, err := r.store.Subscriptions(t.Context())
		return err == nil && len(known) == 0
	})
	e.inPlace(t, r.models("b")[0])
	if n := s.count(); n != 1 {
		t.Errorf("%d were sent", n)
	}
}

// What was put and not answered is known again; what somebody else has put isn't ours.
func TestASaveWithoutAnAnswerIsRecognised(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s")
	ctx := context.Background()
	session := &session{Engine: &Engine{cfg: Config{Cursors: r.store, Now: time.Now}}, ctx: ctx}
	sub := r.subscription(s)
	job := &cursors.Replay{Job: sub.ID, Subscription: sub.ID, To: 1000}
	for _, f := range []*flow{session.newFlow(sub, nil, cursors.Cursor{After: 3}, 0), session.newFlow(sub, job, cursors.Cursor{After: 3}, 0)} {
		session.dirty = nil
		for range 2 { // a new record, and one that was there
			session.mark(f)
			lost, err := session.moved()
			if err != nil || len(lost) != 1 {
				t.Fatalf("%d writes, %v", len(lost), err)
			}
			if _, err := r.store.Put(ctx, lost[0].Key, lost[0].Revision, lost[0].data); err != nil {
				t.Fatal(err)
			}
			lost[0].Err = context.DeadlineExceeded
			if err := session.wrote(ctx, lost[0]); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a write without an answer gives %v", err)
			}
			f.core.pass(f.core.seen + 10)
			for range 2 { // what was unsure, and what is new
				if err := session.flushSome(ctx); err != nil {
					t.Fatal(err)
				}
			}
			key, want := f.record()
			var found cursors.Replay
			var c cursors.Cursor
			revision, err := r.store.Get(ctx, key, &found)
			if f.job == nil {
				revision, err = r.store.Get(ctx, key, &c)
				found.Cursor = c
			}
			if err != nil || revision != f.revision || found.Cursor.After != f.core.seen {
				t.Errorf("saved is %+v at %d, %v; want %+v at %d", found, revision, err, want, f.revision)
			}
			f.core.pass(f.core.seen + 10)
		}
		key, _ := f.record()
		if _, err := r.store.Put(ctx, key, f.revision, cursors.Replay{To: 7}); err != nil {
			t.Fatal(err)
		}
		session.mark(f)
		if err := session.flushSome(ctx); !errors.Is(err, cursors.ErrMoved) {
			t.Errorf("what somebody else wrote gives %v", err)
		}
	}
}
