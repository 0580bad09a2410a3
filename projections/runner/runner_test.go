package runner_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	registryID = ulid.MustParse("01KXFT0000REG1STRY00000000")
	otherID    = ulid.MustParse("01KXFT0001REG1STRY00000000")
	start      = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
)

func openLog(t *testing.T) events.Log {
	t.Helper()
	l, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir(), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// fact is the event with a sequence, a second after the one before.
func fact(sequence uint64, data events.Data) events.Event {
	id := ulid.ULID{}
	id[14], id[15] = byte(sequence>>8), byte(sequence)
	return events.Event{
		Sequence: sequence, ID: id, Registry: registryID, Subject: "somewhere",
		Time: start.Add(time.Duration(sequence) * time.Second), Data: data,
	}
}

func created() events.Event {
	return fact(1, events.RegistryCreated{RegistryID: registryID, Level: events.Level})
}

// model is the event that registers a model named after its sequence.
func model(sequence uint64) events.Event {
	e := fact(sequence, nil)
	e.Data = events.ModelRegistered{ModelID: e.ID, Name: name(sequence)}
	return e
}

func name(sequence uint64) string { return fmt.Sprint("m", sequence) }

func write(t *testing.T, log events.Log, facts ...events.Event) {
	t.Helper()
	for len(facts) > 0 {
		n := min(len(facts), events.MaxGroupEvents)
		var group []events.Encoded
		for _, e := range facts[:n] {
			encoded, err := events.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			group = append(group, encoded)
		}
		if err := log.Append(t.Context(), facts[0].Sequence-1, group); err != nil {
			t.Fatal(err)
		}
		facts = facts[n:]
	}
}

func models(from, to uint64) []events.Event {
	var facts []events.Event
	for s := from; s <= to; s++ {
		facts = append(facts, model(s))
	}
	return facts
}

func catchUp(t *testing.T, r *runner.Runner) (visited []uint64) {
	t.Helper()
	if err := r.CatchUp(t.Context(), func(e events.Event) { visited = append(visited, e.Sequence) }); err != nil {
		t.Fatal(err)
	}
	return visited
}

func TestCatchUpAppliesWhatIsOnTheLogAndMakesItVisible(t *testing.T) {
	log := openLog(t)
	r := runner.New(log)
	if catchUp(t, r); r.Visible() != 0 {
		t.Errorf("of an empty log %d is visible", r.Visible())
	}
	write(t, log, append([]events.Event{created()}, models(2, 5)...)...)
	if diff := cmp.Diff([]uint64{1, 2, 3, 4, 5}, catchUp(t, r)); diff != "" {
		t.Errorf("visited:\n%s", diff)
	}
	if _, _, ok := r.Now().Model("m5"); !ok || r.Visible() != 5 || r.Now().Registry().ID != registryID {
		t.Errorf("the state is at %d", r.Visible())
	}
	// It goes on from there.
	write(t, log, models(6, 7)...)
	if diff := cmp.Diff([]uint64{6, 7}, catchUp(t, r)); diff != "" {
		t.Errorf("visited:\n%s", diff)
	}
	if again := catchUp(t, r); again != nil {
		t.Errorf("at the end of the log it visits %v", again)
	}
}

func TestCatchUpOfALongLogIsTheSameAsOneStepByStep(t *testing.T) {
	const last = 2_100 // settles on the way
	log := openLog(t)
	steps := runner.New(log)
	write(t, log, created())
	for from := uint64(2); from <= last; from += 700 {
		write(t, log, models(from, min(from+699, last))...)
		catchUp(t, steps)
	}
	whole := runner.New(log)
	catchUp(t, whole)
	for _, at := range []uint64{1, 1_000, 1_001, last} {
		a, err := steps.Digest(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := whole.Digest(t.Context(), at); err != nil || a != b {
			t.Errorf("the digests at %d differ (%v)", at, err)
		}
	}
}

func TestWhatIsAppliedIsNotVisibleAndCanBeCut(t *testing.T) {
	log := openLog(t)
	write(t, log, created(), model(2))
	r := runner.New(log)
	catchUp(t, r)
	r.Apply(model(3))
	r.Apply(model(4))
	if r.Visible() != 2 || r.Now().Sequence != 2 || r.At(4).Sequence != 2 || r.Tip().Sequence != 4 {
		t.Errorf("visible %d, now %d, at 4 %d, tip %d", r.Visible(), r.Now().Sequence, r.At(4).Sequence, r.Tip().Sequence)
	}
	if at := r.SequenceAt(start.Add(time.Hour)); at != 2 {
		t.Errorf("a later moment resolves to %d", at)
	}
	r.Publish(3)
	r.CutAfter(0) // what is visible stays
	if r.Visible() != 3 || r.Tip().Sequence != 3 {
		t.Errorf("visible %d, tip %d", r.Visible(), r.Tip().Sequence)
	}
	r.Publish(2) // a lower sequence doesn't take anything back
	if r.Visible() != 3 {
		t.Errorf("visible %d", r.Visible())
	}
	write(t, log, models(3, 5)...)
	if diff := cmp.Diff([]uint64{4, 5}, catchUp(t, r)); diff != "" {
		t.Errorf("visited:\n%s", diff)
	}
}

func TestWaitReturnsWhenTheSequenceIsVisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runner.New(nil)
		if err := r.Wait(t.Context(), 0); err != nil {
			t.Errorf("for what is visible already: %v", err)
		}
		waited := make(chan error, 8)
		for range cap(waited) {
			go func() { waited <- r.Wait(t.Context(), 3) }()
		}
		synctest.Wait() // for all of them to wait
		r.Apply(created())
		r.Apply(model(2))
		r.Publish(2)
		r.Apply(model(3))
		synctest.Wait()
		if n := len(waited); n != 0 {
			t.Errorf("%d return at 2", n)
		}
		r.Publish(3)
		synctest.Wait()
		if n := len(waited); n != cap(waited) {
			t.Fatalf("%d of %d return at 3", n, cap(waited))
		}
		for range cap(waited) {
			if err := <-waited; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runner.New(nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended, other := make(chan error, 1), make(chan error, 1)
		go func() { ended <- r.Wait(ctx, 1) }()
		go func() { other <- r.Wait(t.Context(), 1) }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it returns %v", err)
		}
		synctest.Wait()
		if len(other) != 0 {
			t.Error("it disturbs whoever waits beside it")
		}
		r.Apply(created())
		r.Publish(1)
		if err := <-other; err != nil {
			t.Error(err)
		}
	})
}

func TestALogThatCannotBeTheRegistrysIsRefused(t *testing.T) {
	foreign := func(e events.Event) events.Event {
		e.Registry = otherID
		return e
	}
	second := created()
	second.Sequence = 3
	later := fact(1, events.RegistryCreated{RegistryID: registryID, Level: events.Level + 1})
	for _, c := range []struct {
		name    string
		facts   []events.Event
		want    error
		saying  string
		applied uint64
	}{
		{"an event of another registry", []events.Event{created(), model(2), foreign(model(3))}, runner.ErrForeignLog, "event 3 (dev.modelog.model.registered.v1)", 2},
		{"a second registry.created", []events.Event{created(), model(2), second}, runner.ErrForeignLog, "event 3 (dev.modelog.registry.created.v1)", 2},
		{"a log that begins with something else", []events.Event{model(1)}, runner.ErrForeignLog, "event 1 (dev.modelog.model.registered.v1)", 0},
		{"a registry.created in another's name", []events.Event{foreign(created())}, runner.ErrForeignLog, "event 1 (dev.modelog.registry.created.v1)", 0},
		{"a higher level", []events.Event{later}, runner.ErrLevel, fmt.Sprintf("has level %d, this release reads up to %d", events.Level+1, events.Level), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := openLog(t)
			write(t, log, c.facts...)
			r := runner.New(log)
			err := r.CatchUp(t.Context(), nil)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.saying) {
				t.Errorf("got %v, want %v, saying %q", err, c.want, c.saying)
			}
			if at := r.Tip().Sequence; at != c.applied {
				t.Errorf("%d events were applied, want %d", at, c.applied)
			}
		})
	}
}

func TestAnEventThatCannotBeReadStopsCatchingUp(t *testing.T) {
	log := openLog(t)
	write(t, log, created(), model(2))
	encoded, err := events.Encode(model(3))
	if err != nil {
		t.Fatal(err)
	}
	encoded.Data = encoded.Data[:len(encoded.Data)-1]
	if err := log.Append(t.Context(), 2, []events.Encoded{encoded}); err != nil {
		t.Fatal(err)
	}
	write(t, log, model(4))
	r := runner.New(log)
	err = r.CatchUp(t.Context(), nil)
	if bad, ok := errors.AsType[*events.UnreadableError](err); !ok || bad.Sequence != 3 || bad.Type != "dev.modelog.model.registered.v1" {
		t.Errorf("got %v", err)
	}
	if at := r.Tip().Sequence; at != 2 {
		t.Errorf("%d events were applied, want those before the bad one", at)
	}
}

// shortLog has lost its end.
type shortLog struct {
	events.Log
	last uint64
}

func (l *shortLog) Last(context.Context) (uint64, error) { return l.last, nil }

func TestALogThatHasLostItsEndIsRefused(t *testing.T) {
	log := &shortLog{Log: openLog(t), last: 3}
	write(t, log, created(), model(2), model(3))
	r := runner.New(log)
	catchUp(t, r)
	log.last = 2
	if err := r.CatchUp(t.Context(), nil); !errors.Is(err, events.ErrMissing) {
		t.Errorf("got %v", err)
	}
}

// brokenLog ends its first read early.
type brokenLog struct {
	events.Log
	after int // events
}

func (l *brokenLog) Read(ctx context.Context, from, to uint64) iter.Seq2[events.Stored, error] {
	return func(yield func(events.Stored, error) bool) {
		for e, err := range l.Log.Read(ctx, from, to) {
			if l.after--; l.after == -1 {
				yield(events.Stored{}, events.ErrUnavailable)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func TestCatchUpGoesOnWhereItBrokeOff(t *testing.T) {
	log := &brokenLog{Log: openLog(t), after: 3}
	write(t, log, append([]events.Event{created()}, models(2, 6)...)...)
	r := runner.New(log)
	if err := r.CatchUp(t.Context(), nil); !errors.Is(err, events.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff([]uint64{4, 5, 6}, catchUp(t, r)); diff != "" {
		t.Errorf("visited:\n%s", diff)
	}
	if r.Visible() != 6 {
		t.Errorf("%d is visible", r.Visible())
	}
}

func TestTimesResolveToVisibleSequences(t *testing.T) {
	log := openLog(t)
	write(t, log, created(), model(2), model(3))
	r := runner.New(log)
	catchUp(t, r)
	for moment, want := range map[time.Duration]uint64{0: 0, time.Second: 1, 1_999 * time.Millisecond: 1, 2 * time.Second: 2, time.Hour: 3} {
		if got := r.SequenceAt(start.Add(moment)); got != want {
			t.Errorf("%v after the start is %d, want %d", moment, got, want)
		}
	}
}
