package runner_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections/runner"
)

// longLog has a registry with so many events, and the state of it.
func longLog(t *testing.T, last uint64) (events.Log, *runner.Runner) {
	t.Helper()
	log := openLog(t)
	write(t, log, append([]events.Event{created()}, models(2, last)...)...)
	live := runner.New(log)
	catchUp(t, live)
	return log, live
}

func TestARebuildAgreesWithTheStateOfItsLog(t *testing.T) {
	log, live := longLog(t, 2_345)
	for _, c := range []struct {
		until       uint64
		compared    uint64
		checkpoints int
	}{{1, 1, 1}, {999, 999, 1}, {1_000, 1_000, 1}, {2_345, 2_345, 2}} {
		b := runner.NewRebuild(live, c.until)
		var seen []uint64
		if err := b.Read(t.Context(), log, c.until, func(n uint64) { seen = append(seen, n) }); err != nil {
			t.Fatal(err)
		}
		got, err := b.Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		digest, err := live.Digest(t.Context(), c.until)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(runner.Verdict{Events: c.until, Digest: digest, Compared: c.compared, Checkpoints: c.checkpoints}, got); diff != "" {
			t.Errorf("up to %d (-want +got):\n%s", c.until, diff)
		}
		if len(seen) != int(c.until/1000) {
			t.Errorf("up to %d it says how far it is at %v", c.until, seen)
		}
	}
}

func TestARebuildGoesOnPastTheStateItIsComparedWith(t *testing.T) {
	log, live := longLog(t, 20)
	write(t, log, models(21, 30)...)
	b := runner.NewRebuild(live, 20)
	if err := b.Read(t.Context(), log, 30, nil); err != nil {
		t.Fatal(err)
	}
	got, err := b.Finish(t.Context())
	if err != nil || got.Events != 30 || got.Compared != 20 || b.Runner().Visible() != 30 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestARebuildWithNothingToCompareGivesItsDigest(t *testing.T) {
	log, live := longLog(t, 20)
	b := runner.NewRebuild(nil, 0)
	if err := b.Read(t.Context(), log, 20, nil); err != nil {
		t.Fatal(err)
	}
	got, err := b.Finish(t.Context())
	if err != nil || got.Digest != digest(t, live) || got.Checkpoints != 0 || got.Compared != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestTheFirstEventWhereTheyPartIsNamed makes live states of logs with one other
// event in them.
func TestTheFirstEventWhereTheyPartIsNamed(t *testing.T) {
	const last = 1_300 // a checkpoint on the way, and one at the end
	log, _ := longLog(t, last)
	for _, other := range []uint64{1, 2, 3, 500, 998, 999, 1_000, 1_001, 1_299, last} {
		live := runner.New(log)
		for s := uint64(1); s < other; s++ {
			e := model(s)
			if s == 1 {
				e = created()
			}
			live.Apply(e)
		}
		e := model(other)
		e.Data = events.ModelRegistered{ModelID: e.ID, Name: "another"}
		if other == 1 {
			e = created()
			e.Time = e.Time.Add(-1_000_000)
		}
		live.Apply(e)
		live.Publish(other)
		catchUp(t, live)

		err := runner.NewRebuild(live, last).Read(t.Context(), log, last, nil)
		differs, ok := errors.AsType[*runner.DiffersError](err)
		if !ok || differs.Sequence != other || differs.Digest == differs.Found || differs.Digest == "" {
			t.Errorf("event %d is another, but: %v", other, err)
		}
	}
}

func TestARebuildRefusesWhatIsNoHistory(t *testing.T) {
	broken := func(e events.Event) events.Event {
		e.Data = events.ModelRegistered{ModelID: e.ID, Name: "\xff"}
		return e
	}
	foreign := model(3)
	foreign.Registry = otherID
	for _, c := range []struct {
		name   string
		facts  []events.Event
		want   func(error) bool
		saying string
	}{
		{"a gap", []events.Event{created(), model(3)}, func(err error) bool { return errors.Is(err, events.ErrMissing) }, "event 3 comes where 2 should"},
		{"an event twice", []events.Event{created(), model(2), model(2)}, func(err error) bool { return errors.Is(err, events.ErrMissing) }, "event 2 comes where 3 should"},
		{"another registry's event", []events.Event{created(), model(2), foreign}, func(err error) bool { return errors.Is(err, runner.ErrForeignLog) }, "event 3"},
		{
			"an event that the fold chokes on",
			[]events.Event{created(), model(2), broken(model(3))},
			func(err error) bool { e, ok := errors.AsType[*runner.FoldError](err); return ok && e.Sequence == 3 },
			"event 3 (dev.modelog.model.registered.v1) can't have happened after the ones before it",
		},
	} {
		b := runner.NewRebuild(nil, 0)
		var err error
		for _, e := range c.facts {
			if err = b.Add(t.Context(), e); err != nil {
				break
			}
		}
		if err == nil || !c.want(err) || !strings.Contains(err.Error(), c.saying) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestARebuildEndsWithItsContext(t *testing.T) {
	log, live := longLog(t, 1_200)
	ctx, cancel := context.WithCancel(t.Context())
	b := runner.NewRebuild(live, 1_200)
	err := b.Read(ctx, log, 1_200, func(uint64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	b = runner.NewRebuild(nil, 0)
	if err := b.Read(t.Context(), log, 500, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Finish(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the digest ends with %v", err)
	}
}

func TestARebuildStopsAtAnEventThatCannotBeRead(t *testing.T) {
	log, _ := longLog(t, 5)
	encoded, err := events.Encode(model(6))
	if err != nil {
		t.Fatal(err)
	}
	encoded.Data = append(slices.Clip(encoded.Data), 0)
	if err := log.Append(t.Context(), 5, []events.Encoded{encoded}); err != nil {
		t.Fatal(err)
	}
	err = runner.NewRebuild(nil, 0).Read(t.Context(), log, 6, nil)
	if bad, ok := errors.AsType[*events.UnreadableError](err); !ok || bad.Sequence != 6 {
		t.Errorf("got %v", err)
	}
}
