package handlers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections/runner"
)

// told is what a caller was told of a model that it registered.
type told struct {
	name string
	out  Outcome
	err  error
}

// TestWhateverTheLogDoesTheAnswersAreTrue lets many callers with short deadlines
// register models while appends go wrong in every way, and then compares what
// they were told with what is on the log.
func TestWhateverTheLogDoesTheAnswersAreTrue(t *testing.T) {
	const rounds, callers, each = 4, 16, 12
	for range rounds {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := newRegistry(t)
			r.log.lock.Lock()
			r.log.chance = chaos(r.log, rand.New(rand.NewPCG(seed, 0)))
			r.log.lock.Unlock()
			all := make(chan told, callers*each)
			var wg sync.WaitGroup
			for caller := range callers {
				wg.Go(func() {
					chance := rand.New(rand.NewPCG(seed, uint64(caller)+1))
					for i := range each {
						deadline := time.Duration(chance.IntN(100)) * time.Millisecond
						all <- r.tell(t, fmt.Sprintf("%d-%d", caller, i), deadline)
					}
				})
			}
			wg.Wait()
			close(all)
			r.log.lock.Lock()
			r.log.chance = nil
			r.log.lock.Unlock()
			var answers []told
			for c := range all {
				answers = append(answers, c)
				if CodeOf(c.err) != CodeOutcomeUnknown {
					continue
				}
				again := r.tell(t, c.name, testTimeout) // the same key asks again, and now is answered
				if again.err != nil {
					t.Errorf("%s, asked again: %v", c.name, again.err)
				}
				answers = append(answers, again)
				if unknown, _ := errors.AsType[OutcomeUnknownError](c.err); !again.out.Written() && decoded(t, r.log, again.out.Sequence).ID.String() != unknown.ID {
					t.Errorf("%s was written, under another id than %s", c.name, unknown.ID)
				}
			}
			r.model("last").written() // and nothing is under way any more
			for _, c := range answers {
				r.wantTrue(t, c)
			}
			r.wantOnce(t)
		})
	}
}

func (r *registry) tell(t *testing.T, name string, deadline time.Duration) told {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	out, err := r.Do(ctx, Request{Command: &RegisterModel{ModelSpec{Name: name}}, Key: name})
	return told{name, out, err}
}

// chaos draws what becomes of each append. It is called with the log's lock held.
func chaos(log *flawedLog, chance *rand.Rand) func() fault {
	rivals := 0
	return func() fault {
		if chance.IntN(4) == 0 {
			log.away.Store(int64(chance.IntN(3)))
		}
		switch chance.IntN(14) {
		case 0:
			return lost(events.ErrUnavailable)
		case 1:
			return lost(events.ErrUncertain)
		case 2:
			return kept(events.ErrUncertain)
		case 3:
			return kept(events.ErrUncertain, 1)
		case 4:
			return late
		case 5:
			rivals++
			return overtaken(fmt.Sprint("rival ", rivals))
		case 6:
			return lost(events.ErrNoSpace)
		case 7:
			return kept(events.ErrConflict, 1)
		default:
			return works
		}
	}
}

// wantTrue compares what a caller was told with what is visible, now that
// nothing is under way.
func (r *registry) wantTrue(t *testing.T, c told) {
	t.Helper()
	_, sequence, there := r.run.Now().Model(c.name)
	switch {
	case CodeOf(c.err) == CodeOutcomeUnknown: // anything is possible
	case c.err != nil:
		if _, ok := errors.AsType[UnavailableError](c.err); !ok || there {
			t.Errorf("%s: there %v, and was told %v", c.name, there, c.err)
		}
	case !there || sequence != c.out.Sequence:
		t.Errorf("%s: there %v at %d, and was told %+v", c.name, there, sequence, c.out)
	case c.out.Written() && decoded(t, r.log, sequence).ID != c.out.Event.ID:
		t.Errorf("%s is there under another id than was told", c.name)
	}
}

// wantOnce checks that no event is on the log twice, and that what is seen is
// what the log says.
func (r *registry) wantOnce(t *testing.T) {
	t.Helper()
	ids, names := map[string]uint64{}, map[string]uint64{}
	fresh := runner.New(r.log.Log)
	err := fresh.CatchUp(t.Context(), func(e events.Event) {
		if other, twice := ids[e.ID.String()]; twice {
			t.Errorf("events %d and %d have one id", other, e.Sequence)
		}
		ids[e.ID.String()] = e.Sequence
		if d, ok := e.Data.(events.ModelRegistered); ok {
			if other, twice := names[d.Name]; twice {
				t.Errorf("events %d and %d register %s", other, e.Sequence, d.Name)
			}
			names[d.Name] = e.Sequence
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r.seen(fresh)
}
