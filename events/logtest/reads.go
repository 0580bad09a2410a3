package logtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/modelog/modelog/events"
)

func readersAgree(f *fixture) {
	const last = 300
	f.append(0, group(1, 200)...)
	f.append(200, group(201, last)...)
	f.ends(last)
	want := storedEvents(1, last)
	f.same(f.collect(f.Log.Read(f.ctx, 1, last)), want)
	followed, err := take(f.Log.Follow(f.ctx, 1), last)
	if err != nil {
		f.Fatal(err)
	}
	f.same(followed, want)
	for _, n := range []uint64{1, 2, 200, 201, last} {
		f.same(f.get(n), want[n-1])
	}
}

func getNothing(f *fixture) {
	f.append(0, group(1, 2)...)
	for _, n := range []uint64{0, 3, math.MaxUint64} {
		if _, err := f.Log.Get(f.ctx, n); !errors.Is(err, events.ErrNotFound) {
			f.Errorf("event %d: got %v", n, err)
		}
	}
}

func readRanges(f *fixture) {
	f.append(0, group(1, 10)...)
	for _, r := range []struct{ from, to, first int }{
		{1, 10, 1}, {1, 1, 1}, {10, 10, 10}, {4, 7, 4}, // both ends included
		{0, 3, 1},                                     // 0 reads as 1
		{0, 0, 1}, {5, 4, 5}, {11, 10, 11}, {1, 0, 1}, // nothing
	} {
		got := f.collect(f.Log.Read(f.ctx, uint64(r.from), uint64(r.to)))
		f.same(got, storedEvents(r.first, r.to))
	}
	f.same(f.collect(f.Log.Read(f.ctx, math.MaxUint64, 10)), storedEvents(1, 0))
}

func readBeyondTheEnd(f *fixture) {
	f.append(0, group(1, 3)...)
	for _, to := range []uint64{4, math.MaxUint64} {
		got, err := take(f.Log.Read(f.ctx, 2, to), math.MaxInt)
		f.same(got, storedEvents(2, 3))
		if !errors.Is(err, events.ErrMissing) {
			f.Fatalf("got %v", err)
		}
	}
	if got, err := take(f.Log.Read(f.ctx, 4, 4), 1); len(got) > 0 || !errors.Is(err, events.ErrMissing) {
		f.Fatalf("got %v, %v", got, err)
	}
}

func readLeftEarly(f *fixture) {
	f.append(0, group(1, 400)...)
	seq := f.Log.Read(f.ctx, 1, 400)
	for range 20 {
		got, err := take(seq, 3)
		if err != nil {
			f.Fatal(err)
		}
		f.same(got, storedEvents(1, 3))
	}
	f.append(400, event(401))
	f.holds(401)
}

func readEndsWithContext(f *fixture) {
	f.append(0, group(1, 400)...)
	f.endsWithContext(func(ctx context.Context) iter.Seq2[events.Stored, error] { return f.Log.Read(ctx, 1, 400) })
}

func followEndsWithContext(f *fixture) {
	f.append(0, group(1, 400)...)
	f.endsWithContext(func(ctx context.Context) iter.Seq2[events.Stored, error] { return f.Log.Follow(ctx, 1) })
}

// endsWithContext ends the context between two events that are both there.
func (f *fixture) endsWithContext(open func(context.Context) iter.Seq2[events.Stored, error]) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	var last error
	n := 0
	for e, err := range open(ctx) {
		if last != nil {
			f.Fatal("more came after an error")
		}
		if last = err; err != nil {
			continue
		}
		if n++; e.Sequence == 7 {
			cancel()
		}
	}
	if n != 7 || !errors.Is(last, context.Canceled) {
		f.Fatalf("%d events, then %v", n, last)
	}
}

func followWaits(f *fixture) {
	got, stop := f.follow(1)
	defer func() { _ = stop() }() // what it got is what counts
	for n := 1; n <= 100; {
		g := group(n, n+n%7)
		f.append(uint64(n-1), g...)
		for range g {
			f.same(<-got, events.Stored{Sequence: uint64(n), Encoded: event(n)})
			n++
		}
	}
}

// follow runs a reader beside the test. got is closed when the reader ends; stop
// ends it, waits for that and returns its last error.
func (f *fixture) follow(from uint64) (got <-chan events.Stored, stop func() error) {
	return f.followOn(f.Log, from)
}

func (f *fixture) followOn(log events.Log, from uint64) (got <-chan events.Stored, stop func() error) {
	ctx, cancel := context.WithCancel(f.ctx)
	c, last := make(chan events.Stored), make(chan error, 1)
	go func() {
		defer close(c)
		for e, err := range log.Follow(ctx, from) {
			if err != nil {
				last <- err
				return
			}
			select {
			case c <- e:
			case <-ctx.Done():
			}
		}
		last <- nil
	}()
	return c, func() error { cancel(); return <-last }
}

func followResumes(f *fixture) {
	f.append(0, group(1, 20)...)
	first, err := take(f.Log.Follow(f.ctx, 1), 8)
	if err != nil {
		f.Fatal(err)
	}
	rest, err := take(f.Log.Follow(f.ctx, first[7].Sequence+1), 12)
	if err != nil {
		f.Fatal(err)
	}
	f.same(append(first, rest...), storedEvents(1, 20))
}

func followFromBeyond(f *fixture) {
	f.append(0, group(1, 2)...)
	got, stop := f.follow(5)
	defer func() { _ = stop() }() // what it got is what counts
	f.append(2, group(3, 4)...)
	f.append(4, group(5, 6)...)
	f.same(<-got, storedEvents(5, 5)[0])
	f.same(<-got, storedEvents(6, 6)[0])
}

func followEndsWhileWaiting(f *fixture) {
	f.append(0, group(1, 3)...)
	got, stop := f.follow(1)
	for n := 1; n <= 3; n++ {
		f.same(<-got, storedEvents(n, n)[0])
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		f.Fatalf("ended with %v", err)
	}
}

func followLeftEarly(f *fixture) {
	f.append(0, group(1, 10)...)
	for range 20 {
		got, err := take(f.Log.Follow(f.ctx, 4), 2)
		if err != nil {
			f.Fatal(err)
		}
		f.same(got, storedEvents(4, 5))
	}
}

func manyReaders(f *fixture) {
	const readers, last = 8, 300
	results := make(chan error, readers)
	for range readers {
		go func() {
			want := uint64(1)
			for e, err := range f.Log.Follow(f.ctx, 1) {
				if err == nil && e.Sequence != want {
					err = fmt.Errorf("got event %d instead of %d", e.Sequence, want)
				}
				if want++; err != nil || want > last {
					results <- err
					return
				}
			}
		}()
	}
	for n := 1; n < last; n += 30 {
		f.append(uint64(n-1), group(n, n+29)...)
		f.same(f.get(uint64(n)), storedEvents(n, n)[0])
	}
	for range readers {
		if err := <-results; err != nil {
			f.Error(err)
		}
	}
}

func readerUsesLog(f *fixture) {
	f.append(0, event(1))
	n := 1
	for e, err := range f.Log.Follow(f.ctx, 1) {
		if err != nil {
			f.Fatal(err)
		}
		f.same(f.get(e.Sequence), e)
		if n++; n > 20 {
			break
		}
		f.append(e.Sequence, event(n))
	}
	f.holds(20)
}
