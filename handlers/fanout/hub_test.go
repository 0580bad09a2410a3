package fanout

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/logtest"
)

// Those who keep up, those who lag behind a small ring, and those who come late are
// given the same: every sequence once, in order.
func TestAllAreGivenEverySequenceOnceInOrder(t *testing.T) {
	const each, writers = 60, 4
	r := newRegistry(t, 8)
	last := 1 + uint64(each*writers)
	var followers, writing sync.WaitGroup
	written := make(chan struct{})
	check := func(f *Follower) {
		if got := until(t, f, last); !slices.Equal(got, span(1, last)) {
			t.Errorf("it was given %v, want all up to %d", got, last)
		}
	}
	for i := range 20 {
		f := r.follow(0, nil)
		followers.Go(func() {
			if i%4 == 0 {
				<-written // slow: it reads when all is over
			}
			check(f)
		})
	}
	mine := r.follow(0, matcher(t, "models/w2-"))
	followers.Go(func() {
		if got := until(t, mine, r.lastOf(t, written, "w2")); len(got) != each || !slices.IsSorted(got) {
			t.Errorf("%d of %d match, sorted or not: %v", len(got), each, got)
		}
	})
	for i := range writers {
		writing.Go(func() { r.write("w"+string(rune('0'+i)), each) })
	}
	writing.Wait()
	close(written)
	followers.Wait()
	check(r.follow(0, nil))
}

// lastOf waits for the writers, and gives the sequence of the last model of one.
func (r *registry) lastOf(t *testing.T, written <-chan struct{}, prefix string) (last uint64) {
	t.Helper()
	<-written
	for stored, err := range r.log.Log.Read(t.Context(), 1, r.run.Visible()) {
		if err != nil {
			t.Error(err)
			break
		}
		for _, h := range stored.Header {
			if h.Name == "ce-subject" && bytes.HasPrefix([]byte(h.Value), []byte("models/"+prefix+"-")) {
				last = stored.Sequence
			}
		}
	}
	return last
}

func TestOneWhoIsBehindTheRingReadsTheLogInPages(t *testing.T) {
	r := newRegistry(t, 4)
	tail := r.follow(1, nil)
	last := r.write("a", 20)
	until(t, tail, last)
	r.log.reads.Store(0)
	f := r.follow(0, nil)
	taken, err := f.Read(t.Context(), 5)
	if got := sequencesOf(taken); err != nil || !slices.Equal(got, span(1, 5)) || f.Place() != 5 {
		t.Fatalf("five were asked for, and it is at %d with %v, %v", f.Place(), got, err)
	}
	if r.log.reads.Load() != 1 {
		t.Errorf("the log was read %d times", r.log.reads.Load())
	}
	if got := until(t, f, last); !slices.Equal(got, span(6, last)) {
		t.Errorf("the rest is %v", got)
	}
	taken, err = f.Read(t.Context(), 5)
	if len(taken) > 0 || err != nil || f.Place() != last {
		t.Errorf("at the end it is at %d with %v, %v", f.Place(), sequencesOf(taken), err)
	}
	r.log.reads.Store(0)
	if until(t, tail, r.write("b", 1)); r.log.reads.Load() != 0 {
		t.Error("one who keeps up reads the log")
	}
}

func TestPlaceMovesOverWhatDoesNotMatch(t *testing.T) {
	for name, ring := range map[string]int{"in the ring": 64, "on the log": 2} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, ring)
			tail := r.follow(1, nil)
			last := r.write("a", 10)
			until(t, tail, last)
			f := r.follow(1, matcher(t, "models/none"))
			for f.Place() < last {
				before := f.Place()
				taken, err := f.Read(t.Context(), 3)
				if len(taken) > 0 || err != nil || f.Place() == before {
					t.Fatalf("it is at %d with %v, %v", f.Place(), sequencesOf(taken), err)
				}
			}
		})
	}
}

// An event that can't be read is never passed by. What is before it is given first,
// as Place says.
func TestAnEventThatCannotBeReadStopsAll(t *testing.T) {
	r := newRegistry(t, 64)
	filtered, other := r.follow(1, matcher(t, "models/")), r.follow(1, nil)
	last := r.write("a", 3)
	until(t, other, last)
	r.hub.Landed(last+1, []events.Encoded{unreadable})
	logtest.WaitFor(t, "the event", func() bool { return r.hub.head() == last+1 })
	taken, err := filtered.Next(t.Context())
	if got := sequencesOf(taken); err != nil || !slices.Equal(got, span(2, last)) || filtered.Place() != last {
		t.Fatalf("it is at %d with %v, %v", filtered.Place(), got, err)
	}
	_, err = filtered.Next(t.Context())
	if err == nil || filtered.Place() != last {
		t.Fatalf("it is at %d: %v", filtered.Place(), err)
	}
	if _, got := other.Next(t.Context()); !errors.Is(got, err) {
		t.Errorf("another one fails with %v, want %v", got, err)
	}
	if _, got := r.hub.Follow(0, nil); !errors.Is(got, err) {
		t.Errorf("a new one fails with %v, want %v", got, err)
	}
	if got := r.hub.Err(); !errors.Is(got, err) {
		t.Errorf("the hub says %v, want %v", got, err)
	}
}

func TestAnEventThatCannotBeReadOnTheLogIsNotPassedBy(t *testing.T) {
	r := newRegistry(t, 2)
	tail := r.follow(1, nil)
	last := r.write("a", 10)
	until(t, tail, last)
	r.log.bad.Store(5)
	for _, f := range []*Follower{r.follow(0, nil), r.follow(0, matcher(t, "models/"))} {
		if taken, err := f.Next(t.Context()); len(taken) == 0 || err != nil || f.Place() != 4 {
			t.Fatalf("it is at %d with %v, %v", f.Place(), sequencesOf(taken), err)
		}
		for range 2 {
			if taken, err := f.Next(t.Context()); err == nil || f.Place() != 4 {
				t.Fatalf("it is at %d with %v", f.Place(), sequencesOf(taken))
			}
		}
	}
}

func TestAStopEndsThoseWhoWait(t *testing.T) {
	r := newRegistry(t, 4)
	last := r.write("a", 1)
	ended := make(chan error)
	for range 3 {
		f := r.follow(last, nil)
		go func() {
			_, err := f.Next(context.Background())
			ended <- err
		}()
	}
	r.hub.Stop()
	for range 3 {
		if err := <-ended; !errors.Is(err, ErrStopped) {
			t.Errorf("it ends with %v", err)
		}
	}
	if _, err := r.hub.Follow(0, nil); !errors.Is(err, ErrStopped) {
		t.Errorf("one more: %v", err)
	}
	r.hub.Stop() // harmless twice
}

func TestOneWhoseContextEndsGoesOnWithAnother(t *testing.T) {
	r := newRegistry(t, 4)
	f := r.follow(1, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	last := r.write("a", 1)
	if got := until(t, f, last); !slices.Equal(got, span(2, last)) {
		t.Errorf("it goes on with %v", got)
	}
}

func TestAnEventIsDecodedOnceAndOnlyForThoseWhoNeedIt(t *testing.T) {
	r := newRegistry(t, 16)
	one, two := r.follow(1, nil), r.follow(1, nil)
	last := r.write("a", 1)
	first, err := one.Next(t.Context())
	if err != nil || len(first) != 1 {
		t.Fatalf("%v, %v", sequencesOf(first), err)
	}
	if first[0].JSON != nil || first[0].Attributes != nil || first[0].Type != "dev.modelog.model.registered.v1" {
		t.Errorf("it is given as %+v", first[0])
	}
	second, err := two.Next(t.Context())
	if err != nil || second[0] != first[0] {
		t.Error("each has an event of its own")
	}
	if err := first[0].Show(); err != nil || first[0].Sequence != last || !bytes.HasPrefix(first[0].JSON, []byte("{")) || bytes.ContainsAny(first[0].JSON, "\r\n") {
		t.Errorf("it is shown as %s, %v", first[0].JSON, err)
	}
	made := &first[0].JSON[0]
	if err := second[0].Show(); err != nil || made != &second[0].JSON[0] {
		t.Error("its JSON is made twice")
	}
}

// Groups that the hub wasn't told of, or had no room for, come from the log. If that
// fails, all wait for it.
func TestGroupsThatWereMissedAreReadFromTheLog(t *testing.T) {
	r := newRegistry(t, 64)
	f := r.follow(1, nil)
	r.deaf.Store(true)
	r.write("a", 5)
	r.deaf.Store(false)
	r.log.fails.Store(2)
	last := r.write("b", 1)
	if got := until(t, f, last); !slices.Equal(got, span(2, last)) || r.log.reads.Load() < 3 {
		t.Errorf("it was given %v in %d reads", got, r.log.reads.Load())
	}
	r.deaf.Store(true)
	before := last
	last = r.write("c", 5)
	r.hub.Landed(last, nil) // as for a group that is too large to wait
	if got := until(t, f, last); !slices.Equal(got, span(before+1, last)) {
		t.Errorf("it was given %v", got)
	}
}

// A burst while the hub reads the log is more than may wait for it.
func TestABurstOfMoreGroupsThanCanWaitIsGivenWhole(t *testing.T) {
	r := newRegistry(t, 16)
	f := r.follow(1, nil)
	r.deaf.Store(true)
	r.write("a", 1)
	r.deaf.Store(false)
	r.log.fails.Store(1) // it pauses, and its groups pile up
	last := r.write("b", 3*maxBatches)
	if got := until(t, f, last); !slices.Equal(got, span(2, last)) {
		t.Errorf("it was given %v, want all up to %d", got, last)
	}
}

func TestNothingIsHeldWhileNobodyFollows(t *testing.T) {
	r := newRegistry(t, 16)
	first := r.follow(1, nil)
	until(t, first, r.write("a", 3))
	first.Close()
	first.Close() // harmless twice
	last := r.write("b", 3)
	r.hub.lock.Lock()
	if held := r.hub.ring.head + 1 - r.hub.ring.tail; held != 0 || r.hub.ring.bytes != 0 {
		t.Errorf("%d events of %d bytes are held", held, r.hub.ring.bytes)
	}
	r.hub.lock.Unlock()
	if got := until(t, r.follow(1, nil), last); !slices.Equal(got, span(2, last)) {
		t.Errorf("one who comes later is given %v", got)
	}
}

// The ring is bounded in bytes too.
func TestTheRingHoldsFewLargeEvents(t *testing.T) {
	r := ring{slots: make([]*Event, 100)}
	r.reset(0)
	large := events.Encoded{Data: make([]byte, maxRingBytes/3)}
	for n := range uint64(10) {
		r.add(eventOf(events.Stored{Sequence: n + 1, Encoded: large}))
	}
	if r.head != 10 || r.tail != 8 || r.bytes > maxRingBytes || *r.slot(7) != nil {
		t.Errorf("it holds %d to %d, %d bytes", r.tail, r.head, r.bytes)
	}
}
