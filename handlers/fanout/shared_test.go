package fanout

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry is a log that is written to, and a hub.
type registry struct {
	t         *testing.T
	log       *watchedLog
	hub       *Hub
	run       *runner.Runner
	registrar *handlers.Registrar
	deaf      atomic.Bool // the hub isn't told what lands
}

// watchedLog counts how often it is read, and can be made to fail.
type watchedLog struct {
	events.Log
	reads atomic.Int64
	fails atomic.Int64  // so many times
	bad   atomic.Uint64 // this event is read as one that can't be decoded
}

var errRead = errors.New("a bad cable")

func (l *watchedLog) Read(ctx context.Context, from, to uint64) iter.Seq2[events.Stored, error] {
	l.reads.Add(1)
	return func(yield func(events.Stored, error) bool) {
		if l.fails.Add(-1) >= 0 {
			yield(events.Stored{}, errRead)
			return
		}
		for stored, err := range l.Log.Read(ctx, from, to) {
			if stored.Sequence == l.bad.Load() {
				stored.Encoded = unreadable
			}
			if !yield(stored, err) {
				return
			}
		}
	}
}

var unreadable = events.Encoded{Subject: "modelog.a", Data: []byte("{")}

func newRegistry(t *testing.T, ring int) *registry {
	t.Helper()
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &registry{t: t, log: &watchedLog{Log: log}, run: runner.New(log)}
	r.hub = New(Config{Log: r.log, Runner: r.run, Ring: ring})
	t.Cleanup(r.hub.Stop)
	r.registrar, err = handlers.Start(t.Context(), handlers.Config{
		Log: log, Runner: r.run, Now: time.Now, NewID: func(time.Time) ulid.ULID { return ulid.Make() }, Jitter: rand.Float64, Landed: r.landed,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.registrar.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *registry) landed(first uint64, group []events.Encoded) {
	if !r.deaf.Load() {
		r.hub.Landed(first, group)
	}
}

// write registers models, one after another, and gives the sequence of the last one.
func (r *registry) write(prefix string, n int) (last uint64) {
	r.t.Helper()
	for i := range n {
		outcome, err := r.registrar.Do(r.t.Context(), handlers.Request{Command: &handlers.RegisterModel{Spec: handlers.ModelSpec{Name: fmt.Sprintf("%s-%d", prefix, i)}}})
		if err != nil {
			r.t.Error(err)
			return last
		}
		last = outcome.Sequence
	}
	return last
}

// follow follows until the end of the test.
func (r *registry) follow(after uint64, match *subscription.Matcher) *Follower {
	r.t.Helper()
	f, err := r.hub.Follow(after, match)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(f.Close)
	return f
}

// matcher lets through the subjects that begin with a prefix.
func matcher(t *testing.T, prefix string) *subscription.Matcher {
	t.Helper()
	m, err := subscription.Compile([]subscription.Filter{{Prefix: map[string]string{"subject": prefix}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// until reads until a sequence has been passed, and gives all sequences.
func until(t *testing.T, f *Follower, last uint64) (all []uint64) {
	t.Helper()
	for f.Place() < last {
		taken, err := f.Next(t.Context())
		if err != nil {
			t.Errorf("after %d: %v", f.Place(), err)
			return all
		}
		all = append(all, sequencesOf(taken)...)
	}
	return all
}

func sequencesOf(taken []*Event) (all []uint64) {
	for _, e := range taken {
		all = append(all, e.Sequence)
	}
	return all
}

func span(from, to uint64) (all []uint64) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}
