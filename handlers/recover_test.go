package handlers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
)

// TestEveryFaultOfAnAppend: a, b and t are on their way in one group, and the
// append of it goes wrong. Behind them wait what rests on them and what doesn't.
func TestEveryFaultOfAnAppend(t *testing.T) {
	written := func(c *call) { c.t.Helper(); c.written() }
	noSpace := func(c *call) { c.t.Helper(); c.refused(UnavailableError{Kind: CodeDiskFull}, "nothing was written") }
	internal := func(c *call) {
		c.t.Helper()
		if <-c.done; CodeOf(c.err) != CodeInternal || !errors.Is(c.err, events.ErrBadGroup) {
			c.t.Errorf("got %v, want what the log said", c.err)
		}
	}
	inOrder := []string{"first", "a", "b", "t", "d"}
	cut := []string{"first", "t", "a", "d"} // decided anew without the group, those behind it are the first to ask
	for _, c := range []struct {
		name   string
		fault  fault
		group  func(*call) // what its requests get
		holds  []string
		groups []int // events in the appends after the fault
	}{
		{"unavailable, nothing written: decided anew, in order", lost(events.ErrUnavailable), written, inOrder, []int{4}},
		{"uncertain, nothing written: decided anew, in order", lost(events.ErrUncertain), written, inOrder, []int{4}},
		{"uncertain, all written: found, not written twice", kept(events.ErrUncertain), written, inOrder, []int{1}},
		{"uncertain, one event written: found, the others decided anew", kept(events.ErrUncertain, 1), written, inOrder, []int{3}},
		{"uncertain, two events written: found, the third decided anew", kept(events.ErrUncertain, 2), written, inOrder, []int{2}},
		{"uncertain, all written only when it is tried again: found then", late, written, inOrder, []int{4, 1}},
		{"overtaken by another writer: decided anew behind it", overtaken("x", "y"), written, []string{"first", "x", "y", "a", "b", "t", "d"}, []int{4}},
		{"a conflict, one event written: found, the others decided anew", kept(events.ErrConflict, 1), written, inOrder, []int{3}},
		{"no space, nothing written: refused, and what waits is decided anew", lost(events.ErrNoSpace), noSpace, cut, []int{3}},
		{"the log can't hold it, nothing written: refused, and what waits is decided anew", lost(events.ErrBadGroup), internal, cut, []int{3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(t)
			first, faulty := newGate(), newGate()
			r.log.next(first.then(works), faulty.then(c.fault))
			r.model("first")
			<-first.reached
			group := []*call{r.model("a"), r.model("b"), r.target()}
			r.reach(5)
			close(first.open)
			<-faulty.reached
			sameTarget, sameName, other := r.target(), r.model("a"), r.model("d")
			r.reach(6)
			for _, c := range append(group, sameTarget, sameName, other) {
				c.waits()
			}
			close(faulty.open)
			for _, call := range group {
				c.group(call)
			}
			other.written()
			if slices.Equal(c.holds, cut) {
				sameTarget.written()
				sameName.written()
			} else {
				sameTarget.found()
				sameName.refused(ExistsError{What: CodeModelExists, Name: "model a"}, "")
			}
			r.holds(c.holds...)
			if diff := cmp.Diff(c.groups, r.log.groups()[3:]); diff != "" {
				t.Errorf("events in the appends after the fault:\n%s", diff)
			}
		})
	}
}

// A group and what gathered behind it are more than one group may be.
func TestAfterAFaultGroupsKeepTheirLimits(t *testing.T) {
	r := newRegistry(t)
	block, faulty := newGate(), newGate()
	r.log.next(block.then(works), faulty.then(lost(events.ErrUnavailable)))
	calls := []*call{r.model("first")}
	<-block.reached
	for i := range events.MaxGroupEvents {
		calls = append(calls, r.model(fmt.Sprint("a", i)))
	}
	r.reach(2 + events.MaxGroupEvents)
	close(block.open)
	<-faulty.reached
	for i := range 300 {
		calls = append(calls, r.model(fmt.Sprint("b", i)))
	}
	r.reach(2 + events.MaxGroupEvents + 300)
	close(faulty.open)
	for i, c := range calls {
		if out := c.written(); out.Sequence != uint64(i+2) {
			t.Fatalf("request %d got the sequence %d", i, out.Sequence)
		}
	}
	if diff := cmp.Diff([]int{1, 1, 500, 500, 300}, r.log.groups()); diff != "" {
		t.Errorf("events in each append:\n%s", diff)
	}
}

// Those that are decided anew may be more than one group takes, and none of them
// may have an event whose landing would bring the next ones on.
func TestAfterAFaultAllAnswersWithoutAnEventAreGiven(t *testing.T) {
	r := newRegistry(t)
	r.target().written()
	block, faulty := newGate(), newGate()
	r.log.next(block.then(works), faulty.then(kept(events.ErrUncertain)))
	r.model("first")
	<-block.reached
	calls := make([]*call, 0, 3_600)
	same := func(n int) {
		for range n {
			calls = append(calls, r.target())
		}
	}
	same(1_600)
	last := r.model("x")
	r.reach(4)
	close(block.open)
	<-faulty.reached
	same(maxGroupRequests)
	until(t, func() bool { return len(r.queue) == 0 })
	close(faulty.open)
	last.written()
	for _, c := range calls {
		c.found()
	}
}

// TestTheDeadlineTellsWhatIsKnown: the log is away after the fault, and whoever
// waits gives up. Nothing written is said only if that is so for sure.
func TestTheDeadlineTellsWhatIsKnown(t *testing.T) {
	unavailable, unknown := UnavailableError{Kind: CodeUnavailable}, OutcomeUnknownError{}
	for _, c := range []struct {
		name   string
		faults []fault
		want   Refusal
		holds  []string
	}{
		{"nothing was written", []fault{lost(events.ErrUnavailable)}, unavailable, nil},
		{"there was no space", []fault{lost(events.ErrNoSpace)}, unavailable, nil},
		{"perhaps it was written, and wasn't", []fault{lost(events.ErrUncertain)}, unknown, nil},
		{"perhaps it was written, and was", []fault{kept(events.ErrUncertain)}, unknown, []string{"a"}},
		{"it was overtaken, and perhaps written before that", []fault{overtaken("x")}, unknown, []string{"x"}},
		{"perhaps the first attempt was written, the second wasn't", []fault{lost(events.ErrUncertain), lost(events.ErrUnavailable)}, unknown, nil},
		{"perhaps the first attempt was written, there was no space for the second", []fault{lost(events.ErrUncertain), lost(events.ErrNoSpace)}, unknown, nil},
		{"what was in doubt was overtaken, so it can't come any more", []fault{lost(events.ErrUncertain), overtaken("x"), lost(events.ErrUnavailable)}, unavailable, []string{"x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(t)
			last := len(c.faults) - 1
			r.log.next(c.faults[:last]...)
			r.log.next(func(ctx context.Context, l *flawedLog, expect uint64, group []events.Encoded) error {
				l.away.Store(forGood)
				return c.faults[last](ctx, l, expect, group)
			})
			call := r.model("a")
			<-r.log.asked
			call.waits()
			call.cancel()
			call.refused(c.want, "")
			r.log.away.Store(0)
			r.model("b").written() // it goes on
			r.holds(append(c.holds, "b")...)
		})
	}
}

// Until it is known, an uncertain outcome is never told as a refusal: the event
// could still turn up and give it the lie.
func TestWhatIsInDoubtIsNotRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		second fault // of the append after the uncertain one
		want   Refusal
	}{
		{"for a reason that may go away", nil, OutcomeUnknownError{}},
		{"for want of space", lost(events.ErrNoSpace), OutcomeUnknownError{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(t)
			first := newGate()
			r.log.next(first.then(works), func(_ context.Context, l *flawedLog, _ uint64, _ []events.Encoded) error {
				l.away.Store(forGood)
				return events.ErrUncertain
			})
			r.model("first")
			<-first.reached
			model, version := r.model("a"), r.send(Request{Command: &RegisterVersion{"a", VersionSpec{Source: "x"}}})
			r.reach(4)
			close(first.open)
			<-r.log.asked
			if c.second == nil {
				model.cancel() // without it the version has no model
				model.refused(OutcomeUnknownError{}, "")
			} else {
				r.log.next(c.second)
			}
			r.log.away.Store(0)
			version.refused(c.want, version.id.String())
			r.model("b").written()
			r.holds("first", "b")
		})
	}
}

func TestWhatWasGivenUpIsNotWrittenLater(t *testing.T) {
	r := newRegistry(t)
	r.log.away.Store(forGood)
	r.log.next(lost(events.ErrUnavailable))
	given, other := r.model("a"), r.model("b")
	<-r.log.asked
	given.cancel()
	given.refused(UnavailableError{Kind: CodeUnavailable}, "nothing was written")
	r.log.away.Store(0)
	other.written()
	r.holds("b")
}

func TestAfterAnUnknownOutcomeTheSameKeyTells(t *testing.T) {
	r := newRegistry(t)
	req := Request{Command: &RegisterModel{ModelSpec{Name: "a"}}, Key: "k"}
	r.log.away.Store(forGood)
	r.log.next(kept(events.ErrUncertain))
	first := r.send(req)
	<-r.log.asked
	first.cancel()
	first.refused(OutcomeUnknownError{}, "the same idempotency key")
	r.log.away.Store(0)
	if out := r.send(req).found(); out.Sequence != 2 {
		t.Errorf("got %+v", out)
	}
	r.holds("a")
}

func TestALogThatFailsAgainAndAgainIsTriedAgain(t *testing.T) {
	r := newRegistry(t)
	r.log.next(lost(events.ErrUnavailable), lost(events.ErrUncertain), overtaken("x"), lost(events.ErrUnavailable))
	if out := r.model("a").written(); out.Sequence != 3 {
		t.Errorf("it got the sequence %d", out.Sequence)
	}
	r.holds("x", "a")
}

// The tail of the log is read on where the reading broke off, and what was
// found before that is not forgotten.
func TestCatchingUpGoesOnWhereItBrokeOff(t *testing.T) {
	for name, c := range map[string]struct {
		fault fault
		holds []string
	}{
		"in what another wrote": {overtaken("x", "y", "z"), []string{"first", "x", "y", "z", "a", "b"}},
		"in the group itself":   {kept(events.ErrUncertain), []string{"first", "a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			first := newGate()
			r.log.next(first.then(works), func(ctx context.Context, l *flawedLog, expect uint64, group []events.Encoded) error {
				l.lock.Lock()
				l.reads = 1
				l.lock.Unlock()
				return c.fault(ctx, l, expect, group)
			})
			r.model("first")
			<-first.reached
			a, b := r.model("a"), r.model("b")
			r.reach(4)
			close(first.open)
			a.written()
			b.written()
			r.holds(c.holds...)
		})
	}
}

func TestABrokenLogEndsTheRegistrar(t *testing.T) {
	for name, fault := range map[string]fault{"nothing written": lost(events.ErrBroken), "all written": kept(events.ErrBroken)} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			g := newGate()
			r.log.next(g.then(fault))
			sent := r.model("a")
			<-g.reached
			gathered, refused := r.model("b"), r.model("a")
			r.reach(3)
			close(g.open)
			<-r.Done()
			sent.refused(OutcomeUnknownError{}, sent.id.String())
			gathered.refused(UnavailableError{Kind: CodeUnavailable}, "nothing was written") // it was never sent
			// The name was taken by what is in doubt, so it is not said to be.
			refused.refused(UnavailableError{Kind: CodeUnavailable}, "")
			if err := r.Err(); !errors.Is(err, events.ErrBroken) {
				t.Errorf("the registrar has given up for %v", err)
			}
			if visible := r.run.Visible(); visible != 1 {
				t.Errorf("%d is visible", visible)
			}
			_, err := r.Do(t.Context(), Request{Command: &RegisterModel{ModelSpec{Name: "c"}}})
			wantRefusal(t, err, UnavailableError{Kind: CodeUnavailable}, "")
		})
	}
}

func TestADiskThatDoesNotSyncEndsTheRegistrar(t *testing.T) {
	var bad atomic.Bool
	onFire := errors.New("disk on fire")
	log := openLog(t, natslog.Config{Sync: func() error {
		if bad.Load() {
			return onFire
		}
		return nil
	}})
	r := startOn(t, log)
	r.model("a").written()
	bad.Store(true)
	b := r.model("b")
	b.refused(OutcomeUnknownError{}, b.id.String())
	<-r.Done()
	if err := r.Err(); !errors.Is(err, onFire) {
		t.Errorf("the registrar has given up for %v", err)
	}
	if _, _, ok := r.run.Now().Model("b"); ok {
		t.Error("what isn't durable is seen")
	}
}

// badEvents are events that no registrar of this release would have written.
func badEvents(t *testing.T, registry events.Event) map[string]events.Encoded {
	t.Helper()
	encode := func(edit func(*events.Event)) events.Encoded {
		e := rivalEvent(registry, "x")
		edit(&e)
		encoded, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	edited := func(header, value string) events.Encoded {
		encoded := encode(func(*events.Event) {})
		encoded.Header = slices.DeleteFunc(encoded.Header, func(f events.HeaderField) bool { return f.Name == header })
		encoded.Header = append(encoded.Header, events.HeaderField{Name: header, Value: value})
		slices.SortFunc(encoded.Header, func(a, b events.HeaderField) int { return strings.Compare(a.Name, b.Name) })
		return encoded
	}
	plain := encode(func(*events.Event) {})
	return map[string]events.Encoded{
		"of another registry":          encode(func(e *events.Event) { e.Registry = fraud }),
		"that creates it once more":    encode(func(e *events.Event) { e.Data = registry.Data }),
		"of a kind yet to come":        edited("ce-type", "dev.modelog.model.registered.v9"),
		"with an unknown attribute":    edited("ce-colour", "red"),
		"with data that is no msgpack": {Subject: plain.Subject, Header: plain.Header, Data: []byte{0xc1}},
	}
}

func TestALogWithABadEventStopsTheStart(t *testing.T) {
	for _, name := range []string{
		"of another registry", "that creates it once more", "of a kind yet to come", "with an unknown attribute", "with data that is no msgpack",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			r.model("a").written()
			r.end()
			created := decoded(t, r.log, 1)
			if err := r.log.Append(t.Context(), 2, []events.Encoded{badEvents(t, created)[name]}); err != nil {
				t.Fatal(err)
			}
			_, err := Start(t.Context(), configOf(r.log))
			if err == nil || !strings.Contains(err.Error(), "event 3 (dev.modelog.") {
				t.Errorf("it starts with %v; want the event's sequence and type", err)
			}
		})
	}
}

// The same that comes from another writer while the registrar runs.
func TestABadEventEndsTheRegistrar(t *testing.T) {
	r := newRegistry(t)
	created := decoded(t, r.log, 1)
	bad := badEvents(t, created)["of a kind yet to come"]
	r.log.next(func(ctx context.Context, l *flawedLog, expect uint64, group []events.Encoded) error {
		if err := l.Log.Append(ctx, expect, []events.Encoded{bad}); err != nil {
			return err
		}
		return l.Log.Append(ctx, expect, group)
	})
	a := r.model("a")
	<-r.Done()
	a.refused(OutcomeUnknownError{}, "")
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "event 2 (dev.modelog.model.registered.v9)") {
		t.Errorf("the registrar has given up for %v", err)
	}
}

func decoded(t *testing.T, log events.Log, sequence uint64) events.Event {
	t.Helper()
	stored, err := log.Get(t.Context(), sequence)
	if err != nil {
		t.Fatal(err)
	}
	e, err := events.Decode(stored)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEveryFaultOfTheFirstAppend(t *testing.T) {
	rival := func(ctx context.Context, l *flawedLog, expect uint64, group []events.Encoded) error {
		e := events.Event{Registry: fraud, ID: churn, Subject: "registry", Time: firstMoment, Data: events.RegistryCreated{RegistryID: fraud, Level: events.Level}}
		encoded, err := events.Encode(e)
		if err != nil {
			return err
		}
		if err := l.Log.Append(ctx, expect, []events.Encoded{encoded}); err != nil {
			return err
		}
		return l.Log.Append(ctx, expect, group)
	}
	for _, c := range []struct {
		name  string
		fault fault
		fails error
	}{
		{"unavailable, not written", lost(events.ErrUnavailable), events.ErrUnavailable},
		{"uncertain, not written", lost(events.ErrUncertain), events.ErrUncertain},
		{"uncertain, and written", kept(events.ErrUncertain), events.ErrUncertain},
		{"no space", lost(events.ErrNoSpace), events.ErrNoSpace},
		{"another replica was first", rival, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := openLog(t, natslog.Config{})
			log.next(c.fault)
			if c.fails != nil {
				if _, err := Start(t.Context(), configOf(log)); !errors.Is(err, c.fails) {
					t.Fatalf("it starts with %v, want %v", err, c.fails)
				}
			}
			r := startOn(t, log) // once more, if the first start has failed
			r.model("a").written()
			r.holds("a")
			if id := r.run.Now().Registry().ID; (id == fraud) != (c.name == "another replica was first") {
				t.Errorf("the registry is %s", id)
			}
		})
	}
}

func TestALogThatIsAwayStopsTheStart(t *testing.T) {
	log := openLog(t, natslog.Config{})
	log.away.Store(forGood)
	if _, err := Start(t.Context(), configOf(log)); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("it starts with %v", err)
	}
	log.away.Store(0)
	startOn(t, log).model("a").written()
}
