package logtest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
)

// Shared is what the tests of a log need that other processes may append to.
type Shared struct {
	// Replicated says that a group is stored as a whole or not at all, and that
	// the log lives on without one of its servers.
	Replicated bool
	// Open opens the log once more, as another process does, over a line of its
	// own. Its appends wait for a second at most. It is closed when the test
	// ends.
	Open func(t *testing.T) (events.Log, Line)
	// StopLeader stops the server that leads the log, and returns how it is
	// started again. It doesn't end the test.
	StopLeader func(t *testing.T) (start func())
}

// Line is the network between a log and its servers.
type Line interface {
	// Hold keeps what the log sends, until Resume delivers it.
	Hold()
	// Lose throws away what the log is sent. Resume ends the connection that
	// this has broken.
	Lose()
	// Cut ends the connection and refuses another until Resume.
	Cut()
	Resume()
}

var sharedTests = []sentence{
	{"of two writers with one expectation one wins and the other has a conflict", rivals},
	{"what one writer was told is stored every other sees at once", othersSee},
	{"a reader follows what another writer appends", followsOthers},
	{"the tip never goes back, nor is it inside a group that is stored as a whole", tipIsConfirmed},
	{"an append whose answer is lost is uncertain, and a conflict when made again", lostAnswer},
	{"an append that comes late is fenced off by another with its expectation", lateAppend},
	{"an append that comes late but before the next one of its writer stays", lateAndFirst},
	{"an append in flight ends with its context and is uncertain", canceledInFlight},
	{"a log that is cut off is unavailable, and goes on afterwards", cutOff},
	{"a reader goes on when its connection is lost", followOverACut},
	{"a reader goes on when the leader is stopped", followOverALeader},
	{"an append tells the truth while the leader changes", truthOverALeader},
}

// of makes a group that tells its writer and round.
func of(writer, round, size int) []events.Encoded {
	n := writer*1_000_000 + round*1_000
	return group(n+1, n+size)
}

// at is what a log holds when a group was stored after a sequence.
func at(sequence uint64, group []events.Encoded) []events.Stored {
	var s []events.Stored
	for i, e := range group {
		s = append(s, events.Stored{Sequence: sequence + uint64(i) + 1, Encoded: e})
	}
	return s
}

func rivals(f *fixture) {
	other, _ := f.Shared.Open(f.T)
	logs := []events.Log{f.Log, other}
	end := uint64(0)
	for round := range 60 {
		size := 1 + round%7
		answers := []chan error{make(chan error, 1), make(chan error, 1)}
		start := make(chan struct{})
		for w, log := range logs {
			go func() {
				<-start
				answers[w] <- log.Append(f.ctx, end, of(w, round, size))
			}()
		}
		close(start)
		errs := []error{<-answers[0], <-answers[1]}
		winner := slices.Index(errs, nil)
		if winner < 0 || !errors.Is(errs[1-winner], events.ErrConflict) {
			f.Fatalf("round %d after %d: got %v", round, end, errs)
		}
		f.same(f.collect(f.Log.Read(f.ctx, end+1, end+uint64(size))), at(end, of(winner, round, size)))
		end += uint64(size)
		f.ends(end)
	}
}

func othersSee(f *fixture) {
	other, _ := f.Shared.Open(f.T)
	logs := []events.Log{f.Log, other}
	size := 1
	if f.Shared.Replicated {
		size = 100 // the longer, the more a replica lags that has no say
	}
	for n := size; n <= 60*size; n += size {
		writer, reader := logs[n/size%2], logs[1-n/size%2]
		if err := writer.Append(f.ctx, uint64(n-size), group(n-size+1, n)); err != nil {
			f.Fatal(err)
		}
		e, err := reader.Get(f.ctx, uint64(n))
		if err != nil {
			f.Fatal(err)
		}
		f.same(e, storedEvents(n, n)[0])
		last, err := reader.Last(f.ctx)
		if err != nil || last != uint64(n) {
			f.Fatalf("the log ends at %d (%v), want %d", last, err, n)
		}
		f.same(f.collect(reader.Read(f.ctx, last, last)), storedEvents(n, n))
	}
}

func followsOthers(f *fixture) {
	other, _ := f.Shared.Open(f.T)
	got, stop := f.follow(1)
	defer func() { _ = stop() }() // what it got is what counts
	for n := 1; n <= 60; {
		g := group(n, n+n%7)
		if err := other.Append(f.ctx, uint64(n-1), g); err != nil {
			f.Fatal(err)
		}
		for range g {
			f.same(<-got, storedEvents(n, n)[0])
			n++
		}
	}
}

func tipIsConfirmed(f *fixture) {
	const size, rounds = 40, 30
	other, _ := f.Shared.Open(f.T)
	done := make(chan error, 1)
	go func() {
		for round := range rounds {
			if err := other.Append(f.ctx, uint64(round*size), of(1, round, size)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for before := uint64(0); before < size*rounds; {
		last, err := f.Log.Last(f.ctx)
		if err != nil || last < before || f.Shared.Replicated && last%size != 0 {
			f.Fatalf("the log ends at %d (%v), and ended at %d before", last, err, before)
		}
		before = last
	}
	if err := <-done; err != nil {
		f.Fatal(err)
	}
}

func lostAnswer(f *fixture) {
	other, line := f.Shared.Open(f.T)
	f.append(0, event(1))
	line.Lose()
	g := of(1, 1, 3)
	if !f.Shared.Replicated {
		g = g[:1] // the next would wait for the answer
	}
	f.uncertain(other.Append(f.ctx, 1, g))
	line.Resume()
	if err := f.settle(other, 1, g); !errors.Is(err, events.ErrConflict) {
		f.Fatalf("got %v", err)
	}
	f.same(f.collect(other.Read(f.ctx, 2, uint64(1+len(g)))), at(1, g))
	f.ends(uint64(1 + len(g)))
}

// settle appends until the outcome is known.
func (f *fixture) settle(log events.Log, expect uint64, group []events.Encoded) error {
	f.Helper()
	for {
		err := log.Append(f.ctx, expect, group)
		if !errors.Is(err, events.ErrUnavailable) && !errors.Is(err, events.ErrUncertain) {
			return err
		}
		f.tip(log)
		f.alive()
	}
}

func (f *fixture) uncertain(err error) {
	f.Helper()
	if !errors.Is(err, events.ErrUncertain) || errors.Is(err, events.ErrConflict) || errors.Is(err, events.ErrUnavailable) {
		f.Fatalf("got %v", err)
	}
}

func lateAppend(f *fixture) {
	other, line := f.Shared.Open(f.T)
	f.append(0, event(1))
	line.Hold()
	f.uncertain(other.Append(f.ctx, 1, of(1, 1, 3)))
	f.ends(1) // which proves nothing yet
	f.append(1, group(2, 3)...)
	line.Resume()
	// What the line delivers comes in its order.
	if last, err := other.Last(f.ctx); err != nil || last != 3 {
		f.Fatalf("the log ends at %d (%v)", last, err)
	}
	f.append(3, event(4))
	f.holds(4)
}

func lateAndFirst(f *fixture) {
	other, line := f.Shared.Open(f.T)
	line.Hold()
	g := of(1, 1, 1)
	f.uncertain(other.Append(f.ctx, 0, g))
	line.Resume()
	if err := other.Append(f.ctx, 0, of(1, 2, 1)); !errors.Is(err, events.ErrConflict) {
		f.Fatalf("got %v", err)
	}
	for f.tip(other) == 0 { // the conflict may be ahead of the reader
		f.alive()
	}
	f.same(f.collect(other.Read(f.ctx, 1, 1)), at(0, g))
}

func canceledInFlight(f *fixture) {
	other, line := f.Shared.Open(f.T)
	ctx, cancel := context.WithTimeout(f.ctx, 50*time.Millisecond)
	defer cancel()
	line.Lose()
	err := other.Append(ctx, 0, of(1, 1, 1))
	f.uncertain(err)
	if !errors.Is(err, context.DeadlineExceeded) {
		f.Fatalf("got %v", err)
	}
	line.Resume()
}

func cutOff(f *fixture) {
	other, line := f.Shared.Open(f.T)
	f.append(0, event(1))
	line.Cut()
	// The log may not have noticed yet.
	for other.Health(f.ctx) == nil {
		f.alive()
	}
	ctx, cancel := context.WithTimeout(f.ctx, 300*time.Millisecond)
	defer cancel()
	_, lastErr := other.Last(ctx)
	_, getErr := other.Get(ctx, 1)
	for call, err := range map[string]error{
		"Append": other.Append(ctx, 1, group(2, 3)), "Last": lastErr, "Get": getErr, "Health": other.Health(ctx),
	} {
		if !errors.Is(err, events.ErrUnavailable) || errors.Is(err, events.ErrUncertain) {
			f.Errorf("%s: got %v", call, err)
		}
	}
	f.ends(1)
	line.Resume()
	if err := other.Append(f.ctx, 1, group(2, 3)); err != nil {
		f.Fatal(err)
	}
	if err := other.Health(f.ctx); err != nil {
		f.Fatal(err)
	}
	f.holds(3)
}

// alive ends a test that waits for what doesn't come.
func (f *fixture) alive() {
	f.Helper()
	if err := f.ctx.Err(); err != nil {
		f.Fatal(err)
	}
}

func followOverACut(f *fixture) {
	other, line := f.Shared.Open(f.T)
	f.append(0, group(1, 3)...)
	got, stop := f.followOn(other, 1)
	defer func() { _ = stop() }() // what it got is what counts
	for n := 1; n <= 12; n += 3 {
		for i := n; i < n+3; i++ {
			f.same(<-got, storedEvents(i, i)[0])
		}
		line.Cut() // while it waits
		f.append(uint64(n+2), group(n+3, n+5)...)
		line.Resume()
	}
}

func followOverALeader(f *fixture) {
	f.append(0, group(1, 3)...)
	readers := make([]<-chan events.Stored, 3)
	for i := range readers {
		got, stop := f.follow(1)
		defer func() { _ = stop() }() // what it got is what counts
		readers[i] = got
	}
	expect := func(from, to int) {
		for _, got := range readers {
			for n := from; n <= to; n++ {
				f.same(<-got, storedEvents(n, n)[0])
			}
		}
	}
	expect(1, 3)
	for n := 3; n < 9; n += 3 {
		start := f.Shared.StopLeader(f.T)
		if !f.Shared.Replicated {
			start()
		}
		for i := n + 1; i <= n+3; i++ {
			f.insist(uint64(i-1), event(i))
		}
		expect(n+1, n+3)
		if f.Shared.Replicated {
			start()
		}
	}
	f.holds(9)
}

// insist appends until the events are there, be it by an attempt that was
// uncertain.
func (f *fixture) insist(expect uint64, group ...events.Encoded) {
	f.Helper()
	err := f.settle(f.Log, expect, group)
	if err != nil && (!errors.Is(err, events.ErrConflict) || f.tip(f.Log) != expect+uint64(len(group))) {
		f.Fatal(err)
	}
}

// tip waits for a log that says where it ends.
func (f *fixture) tip(log events.Log) uint64 {
	f.Helper()
	for {
		ctx, cancel := context.WithTimeout(f.ctx, 300*time.Millisecond)
		last, err := log.Last(ctx)
		cancel()
		if err == nil {
			return last
		}
		f.alive()
	}
}

// attempt is an append and what was said of it.
type attempt struct {
	expect uint64
	group  []events.Encoded
	err    error
}

// truthOverALeader appends all the while, and compares what was said of each
// append with what is on the log in the end.
func truthOverALeader(f *fixture) {
	other, _ := f.Shared.Open(f.T)
	stopped := make(chan struct{})
	var attempts []attempt
	for round, after := 0, 0; after < 10; round++ {
		if round == 5 {
			go func() {
				defer close(stopped)
				f.Shared.StopLeader(f.T)()
			}()
		}
		a := attempt{expect: f.tip(other), group: of(1, round, 1+round%4)}
		a.err = other.Append(f.ctx, a.expect, a.group)
		attempts = append(attempts, a)
		select {
		case <-stopped:
			if a.err == nil {
				after++
			}
		default:
		}
		f.alive()
	}
	last := f.tip(f.Log)
	got := f.collect(f.Log.Read(f.ctx, 1, last))
	for _, a := range attempts {
		if places, ok := a.check(got, f.Shared.Replicated); !ok {
			f.Errorf("%d events after %d were answered %v, and are at %v", len(a.group), a.expect, a.err, places)
		}
	}
}

// check compares an attempt with all that is on the log.
func (a attempt) check(log []events.Stored, atomic bool) (places []uint64, ok bool) {
	for _, e := range log {
		for _, own := range a.group {
			if equal(e.Encoded, own) {
				places = append(places, e.Sequence)
			}
		}
	}
	ok = true
	for i, place := range places {
		ok = ok && place == a.expect+uint64(i)+1
	}
	switch whole := len(places) == len(a.group); {
	case a.err == nil:
		ok = ok && whole
	case errors.Is(a.err, events.ErrConflict) && !atomic:
	case errors.Is(a.err, events.ErrConflict), errors.Is(a.err, events.ErrUnavailable):
		ok = ok && len(places) == 0
	case errors.Is(a.err, events.ErrUncertain):
		ok = ok && (!atomic || whole || len(places) == 0)
	default:
		ok = false
	}
	return places, ok
}
