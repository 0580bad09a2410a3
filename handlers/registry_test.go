package handlers

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds whatever a test waits for, so that what hangs fails with
// its name.
const testTimeout = 20 * time.Second

// flawedLog is a real log whose appends go wrong as a test says. With no fault
// left it works.
type flawedLog struct {
	events.Log
	away  atomic.Int64  // how often the log's end can't be read from now on
	asked chan struct{} // takes one when somebody tries to, while the log is away

	lock   sync.Mutex
	faults []fault          // guarded by lock; one for each append to come
	chance func() fault     // guarded by lock; for those after that, nil if they work
	tried  []int            // guarded by lock; events in each append so far
	reads  int              // guarded by lock; events after which the next read breaks off, 0 for never
	held   []events.Encoded // guarded by lock; written before the next append
	at     uint64           // guarded by lock; what held expects
}

const forGood = 1 << 60

// fault takes the place of one append.
type fault func(ctx context.Context, l *flawedLog, expect uint64, group []events.Encoded) error

func (l *flawedLog) Append(ctx context.Context, expect uint64, group []events.Encoded) error {
	l.lock.Lock()
	l.tried = append(l.tried, len(group))
	fail := works
	switch {
	case len(l.faults) > 0:
		fail, l.faults = l.faults[0], l.faults[1:]
	case l.chance != nil:
		fail = l.chance()
	}
	held, at := l.held, l.at
	l.held = nil
	l.lock.Unlock()
	if held != nil { // as if it had been on its way all the time
		if err := l.Log.Append(ctx, at, held); err != nil && !errors.Is(err, events.ErrConflict) {
			return err
		}
	}
	return fail(ctx, l, expect, group)
}

func (l *flawedLog) Last(ctx context.Context) (uint64, error) {
	if l.away.Load() > 0 {
		l.away.Add(-1)
		select {
		case l.asked <- struct{}{}:
		default:
		}
		return 0, fmt.Errorf("test: %w", events.ErrUnavailable)
	}
	return l.Log.Last(ctx)
}

func (l *flawedLog) Read(ctx context.Context, from, to uint64) iter.Seq2[events.Stored, error] {
	l.lock.Lock()
	breakAfter := l.reads
	l.reads = 0
	l.lock.Unlock()
	if breakAfter == 0 {
		return l.Log.Read(ctx, from, to)
	}
	return func(yield func(events.Stored, error) bool) {
		n := 0
		for e, err := range l.Log.Read(ctx, from, to) {
			if n == breakAfter {
				yield(events.Stored{}, fmt.Errorf("test: %w", events.ErrUnavailable))
				return
			}
			if n++; !yield(e, err) {
				return
			}
		}
	}
}

func (l *flawedLog) next(faults ...fault) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.faults = append(l.faults, faults...)
}

// groups gives how many events each append so far had.
func (l *flawedLog) groups() []int {
	l.lock.Lock()
	defer l.lock.Unlock()
	return append([]int(nil), l.tried...)
}

func works(ctx context.Context, l *flawedLog, expect uint64, group []events.Encoded) error {
	return l.Log.Append(ctx, expect, group)
}

// lost: nothing was written.
func lost(err error) fault {
	return func(context.Context, *flawedLog, uint64, []events.Encoded) error { return fmt.Errorf("test: %w", err) }
}

// kept: everything was written, or as many events as there are in first.
func kept(err error, first ...int) fault {
	return func(ctx context.Context, l *flawedLog, expect uint64, group []events.Encoded) error {
		if len(first) > 0 {
			group = group[:min(first[0], len(group))]
		}
		if err := l.Log.Append(ctx, expect, group); err != nil {
			return err
		}
		return fmt.Errorf("test: %w", err)
	}
}

// late: nothing was written yet, but will be before the next append.
func late(_ context.Context, l *flawedLog, expect uint64, group []events.Encoded) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.held, l.at = group, expect
	return fmt.Errorf("test: %w", events.ErrUncertain)
}

// overtaken: another writer has registered models of these names first.
func overtaken(names ...string) fault {
	return func(ctx context.Context, l *flawedLog, expect uint64, group []events.Encoded) error {
		registry, err := l.Get(ctx, 1)
		if err != nil {
			return err
		}
		created, err := events.Decode(registry)
		if err != nil {
			return err
		}
		var rival []events.Encoded
		for i, name := range names {
			e := rivalEvent(created, name)
			e.Sequence = expect + uint64(i) + 1
			encoded, err := events.Encode(e)
			if err != nil {
				return err
			}
			rival = append(rival, encoded)
		}
		if err := l.Log.Append(ctx, expect, rival); err != nil {
			return err
		}
		return l.Log.Append(ctx, expect, group) // the log's own conflict
	}
}

func rivalEvent(created events.Event, name string) events.Event {
	id := newIDs(uint64(instances.Add(1)))(created.Time)
	return events.Event{
		ID: id, Registry: created.Registry, Subject: "models/" + name, Time: created.Time.Add(time.Hour),
		Data: events.ModelRegistered{ModelID: id, Name: name},
	}
}

// gate holds an append until it is opened.
type gate struct{ reached, open chan struct{} }

func newGate() gate { return gate{make(chan struct{}), make(chan struct{})} }

// then holds an append before a fault. It lets go when the context ends.
func (g gate) then(f fault) fault {
	return func(ctx context.Context, l *flawedLog, expect uint64, group []events.Encoded) error {
		close(g.reached)
		select {
		case <-g.open:
			return f(ctx, l, expect, group)
		case <-ctx.Done():
			return fmt.Errorf("test: %w: %w", events.ErrUncertain, ctx.Err())
		}
	}
}

// after holds an append once it has done its work.
func (g gate) after(f fault) fault {
	return func(ctx context.Context, l *flawedLog, expect uint64, group []events.Encoded) error {
		err := f(ctx, l, expect, group)
		close(g.reached)
		<-g.open
		return err
	}
}

// registry is a registrar under test.
type registry struct {
	*Registrar
	t   *testing.T
	log *flawedLog
	run *runner.Runner
}

func openLog(t *testing.T, cfg natslog.Config) *flawedLog {
	t.Helper()
	cfg.Dir, cfg.Reserve = t.TempDir(), -1
	l, err := natslog.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &flawedLog{Log: l, asked: make(chan struct{}, 1)}
}

// configOf is what a registrar on a log needs.
func configOf(log events.Log) Config {
	return Config{
		Log: log, Runner: runner.New(log), Now: time.Now, NewID: newIDs(uint64(instances.Add(1))),
		Jitter: func() float64 { return 0 }, Logger: slog.New(slog.DiscardHandler),
	}
}

// instances tells the ids of one registrar from those of another.
var instances atomic.Uint32

func newIDs(instance uint64) func(time.Time) ulid.ULID {
	var count atomic.Uint64
	return func(time.Time) ulid.ULID {
		id := idOf(count.Add(1))
		for i := range 6 {
			id[5-i] = byte(instance >> (8 * i))
		}
		return id
	}
}

func newRegistry(t *testing.T, change ...func(*Config)) *registry {
	t.Helper()
	return startOn(t, openLog(t, natslog.Config{}), change...)
}

func startOn(t *testing.T, log *flawedLog, change ...func(*Config)) *registry {
	t.Helper()
	cfg := configOf(log)
	for _, c := range change {
		c(&cfg)
	}
	r, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	reg := &registry{Registrar: r, t: t, log: log, run: cfg.Runner}
	t.Cleanup(reg.end)
	return reg
}

// end stops the registrar, unless the test did.
func (r *registry) end() {
	select {
	case <-r.Done():
		return
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		r.t.Error(err)
	}
}

// call is a request under way.
type call struct {
	t      *testing.T
	cancel context.CancelFunc
	id     ulid.ULID
	done   chan struct{} // closed when it has its answer
	out    Outcome
	err    error
}

// send puts a request into the queue before it returns, so that calls are in
// the order in which a test sends them.
func (r *registry) send(req Request) *call {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), testTimeout)
	p, err := r.submit(ctx, req)
	if err != nil {
		r.t.Fatal(err)
	}
	c := &call{t: r.t, cancel: cancel, id: p.id, done: make(chan struct{})}
	go func() {
		defer cancel()
		defer close(c.done)
		c.out, c.err = r.await(p)
	}()
	return c
}

func (r *registry) model(name string) *call {
	r.t.Helper()
	return r.send(Request{Command: &RegisterModel{ModelSpec{Name: name}}})
}

// target defines the target t.
func (r *registry) target() *call {
	r.t.Helper()
	return r.send(Request{Command: &DefineTarget{Target: projections.TargetName{Environment: "prod", Name: "t"}}})
}

// written waits for an answer that tells of an event of this call's own.
func (c *call) written() Outcome {
	c.t.Helper()
	<-c.done
	if c.err != nil || !c.out.Written() || c.out.Event.ID != c.id {
		c.t.Fatalf("got %+v, %v; want an event with the id %s", c.out, c.err, c.id)
	}
	return c.out
}

// found waits for an answer without an event.
func (c *call) found() Outcome {
	c.t.Helper()
	<-c.done
	if c.err != nil || c.out.Written() {
		c.t.Fatalf("got %+v, %v; want an answer without an event", c.out, c.err)
	}
	return c.out
}

func (c *call) refused(want Refusal, saying string) {
	c.t.Helper()
	<-c.done
	wantRefusal(c.t, c.err, want, saying)
}

// waits fails if the call has its answer already.
func (c *call) waits() {
	c.t.Helper()
	select {
	case <-c.done:
		c.t.Fatalf("answered too early: %+v, %v", c.out, c.err)
	default:
	}
}

// reach waits until the events up to a sequence are decided, whether visible or
// not.
func (r *registry) reach(sequence uint64) {
	r.t.Helper()
	until(r.t, func() bool { return r.run.Tip().Sequence >= sequence })
}

// until waits for what nothing tells of.
func until(t *testing.T, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it never comes to be")
		}
	}
}

// holds compares the names of the models and targets on the log, in order. It
// checks, too, that what is seen is what the log says.
func (r *registry) holds(names ...string) {
	r.t.Helper()
	var got []string
	fresh := runner.New(r.log.Log)
	if err := fresh.CatchUp(r.t.Context(), func(e events.Event) {
		if m, ok := e.Data.(events.ModelRegistered); ok {
			got = append(got, m.Name)
		}
		if t, ok := e.Data.(events.TargetDefined); ok {
			got = append(got, t.Name)
		}
	}); err != nil {
		r.t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		r.t.Errorf("the log holds %v, want %v", got, names)
	}
	r.seen(fresh)
}

func (r *registry) seen(fresh *runner.Runner) {
	r.t.Helper()
	if got, want := r.run.Visible(), fresh.Visible(); got != want {
		r.t.Fatalf("%d is visible, and the log ends at %d", got, want)
	}
	got, err := r.run.Digest(r.t.Context(), r.run.Visible())
	if err != nil {
		r.t.Fatal(err)
	}
	if want, err := fresh.Digest(r.t.Context(), fresh.Visible()); err != nil || got != want {
		r.t.Errorf("the state is not what the log says (%v)", err)
	}
}
