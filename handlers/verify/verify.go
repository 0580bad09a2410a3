// Package verify has a registry check, while it serves, that its state is what its
// log gives: it rebuilds a second state from the first event on, in the background,
// and compares the two.
//
// It belongs here when it is about when a verification runs and what became of it.
// How two states are compared is in projections/runner.
package verify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/seal"
	"github.com/modelog/modelog/projections/runner"
)

// Config is what a verifier needs. Room, Sealed and Logger may be nil.
type Config struct {
	Log    events.Log
	Runner *runner.Runner // the live state, of Log
	Now    func() time.Time
	// Room makes room for a second state, as large as the live one, and gives
	// what to call when that has been let go.
	Room func() (done func())
	// Sealed makes what compares the log with its newest signed head; it may be nil,
	// and give nil, where nothing is signed.
	Sealed func() *seal.Reviewer
	Logger *slog.Logger
}

// Verifier runs one verification at a time. It is safe for concurrent use.
type Verifier struct {
	cfg     Config
	ctx     context.Context // of the rebuilds
	cancel  context.CancelFunc
	ended   sync.WaitGroup
	metrics *metrics

	lock    sync.Mutex
	stopped bool     // guarded by lock
	count   int      // guarded by lock; verifications that were begun
	running *Running // guarded by lock; nil while none runs
	last    *Result  // guarded by lock; nil before the first has ended
	differs *Result  // guarded by lock; since which the state is known to be wrong, nil if it isn't
}

// Running is a verification that has not ended yet.
type Running struct {
	Number    int       // counts from 1, from the start of the process
	StartedAt time.Time // UTC
	Until     uint64    // the sequence up to which the states are compared
	Applied   uint64    // how far the rebuild has come
}

// Outcome says what became of a verification.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"  // the live state is what the log gives
	Differs Outcome = "differs" // it isn't, or the log can't be read
	Failed  Outcome = "failed"  // nobody knows: it was cut short, or the log was away
)

// Result is a verification that has ended.
type Result struct {
	Running
	EndedAt     time.Time
	Outcome     Outcome
	Digest      string // of the rebuilt state, at the last sequence or where the two part
	Found       string // of the live state there
	Checkpoints int    // at how many the two agreed
	Sealed      uint64 // how many events were compared with a signed head, the first ones
	FirstBad    uint64 // the first event where they part, or that can't be read; 0 if none
	Err         error  // what is wrong, nil if it passed
}

// New makes a verifier. Stop ends it.
func New(cfg Config) *Verifier {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Room == nil {
		cfg.Room = func() func() { return func() {} }
	}
	if cfg.Sealed == nil {
		cfg.Sealed = func() *seal.Reviewer { return nil }
	}
	v := &Verifier{cfg: cfg, metrics: newMetrics()}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	return v
}

// Start begins a verification up to what is visible now, or joins the one that
// runs. After Stop it does nothing, and gives the zero value.
func (v *Verifier) Start() Running {
	v.lock.Lock()
	defer v.lock.Unlock()
	if v.running != nil || v.stopped {
		return v.status()
	}
	sealed := v.cfg.Sealed() // before what is visible, which is never less
	v.count++
	v.running = &Running{Number: v.count, StartedAt: v.cfg.Now().UTC(), Until: v.cfg.Runner.Visible()}
	v.ended.Add(1)
	go v.run(*v.running, sealed)
	return *v.running
}

// status is a copy of what runs. The caller holds the lock.
func (v *Verifier) status() Running {
	if v.running == nil {
		return Running{}
	}
	return *v.running
}

// Status gives the verification that runs, with the number 0 if there is none,
// and the last one that has ended, nil before that.
func (v *Verifier) Status() (Running, *Result) {
	v.lock.Lock()
	defer v.lock.Unlock()
	return v.status(), v.last
}

// Err says what a verification has found wrong, nil unless a state is known to
// differ from its log. A later verification that passes takes it back.
func (v *Verifier) Err() error {
	v.lock.Lock()
	defer v.lock.Unlock()
	if v.differs == nil {
		return nil
	}
	return v.differs.Err
}

// Stop ends the verification that runs, and waits for that. No other begins.
func (v *Verifier) Stop() {
	v.lock.Lock()
	v.stopped = true
	v.lock.Unlock()
	v.cancel()
	v.ended.Wait()
}

// run is one verification.
func (v *Verifier) run(r Running, sealed *seal.Reviewer) {
	defer v.ended.Done()
	done := v.cfg.Room()
	result := v.rebuild(r, sealed)
	done() // the second state is nobody's any more
	result.EndedAt = v.cfg.Now().UTC()
	v.metrics.ended(result)
	v.end(result)
	v.log(result)
}

// rebuild makes the second state, and forgets it.
func (v *Verifier) rebuild(r Running, sealed *seal.Reviewer) *Result {
	result := &Result{Running: r}
	verdict, err := v.compare(r, sealed)
	if err == nil && sealed != nil {
		result.Sealed = sealed.Size()
	}
	result.Applied = max(v.applied(), verdict.Events)
	result.Digest, result.Found, result.Checkpoints = verdict.Digest, verdict.Digest, verdict.Checkpoints
	result.Outcome, result.FirstBad, result.Err = judge(err)
	if differs, ok := errors.AsType[*runner.DiffersError](err); ok {
		result.Digest, result.Found = differs.Digest, differs.Found
	}
	return result
}

func (v *Verifier) compare(r Running, sealed *seal.Reviewer) (runner.Verdict, error) {
	b, log := runner.NewRebuild(v.cfg.Runner, r.Until), v.cfg.Log
	if sealed != nil {
		log = sealed.Watch(log)
	}
	if err := b.Read(v.ctx, log, r.Until, v.progress); err != nil {
		return runner.Verdict{}, err
	}
	verdict, err := b.Finish(v.ctx)
	if err == nil && sealed != nil {
		err = sealed.Finish()
	}
	return verdict, err
}

// judge says what an error of a rebuild means: that the log was away proves
// nothing, all else does.
func judge(err error) (Outcome, uint64, error) {
	if err == nil {
		return Passed, 0, nil
	}
	if errors.Is(err, events.ErrUnavailable) || errors.Is(err, context.Canceled) {
		return Failed, 0, err
	}
	first := uint64(0)
	if e, ok := errors.AsType[*runner.DiffersError](err); ok {
		first = e.Sequence
	} else if e, ok := errors.AsType[*events.UnreadableError](err); ok {
		first = e.Sequence
	} else if e, ok := errors.AsType[*runner.FoldError](err); ok {
		first = e.Sequence
	}
	return Differs, first, err
}

func (v *Verifier) progress(applied uint64) {
	v.lock.Lock()
	defer v.lock.Unlock()
	v.running.Applied = applied
}

func (v *Verifier) applied() uint64 {
	v.lock.Lock()
	defer v.lock.Unlock()
	return v.running.Applied
}

func (v *Verifier) end(result *Result) {
	v.lock.Lock()
	defer v.lock.Unlock()
	v.running, v.last = nil, result
	switch result.Outcome {
	case Passed:
		v.differs = nil
	case Differs:
		v.differs = result
	case Failed: // proves nothing
	}
}

func (v *Verifier) log(result *Result) {
	took := slog.Duration("took", result.EndedAt.Sub(result.StartedAt))
	switch result.Outcome {
	case Passed:
		v.cfg.Logger.LogAttrs(v.ctx, slog.LevelInfo, "the state equals its rebuild", slog.Uint64("events", result.Applied), slog.String("digest", result.Digest), took)
	case Differs:
		v.cfg.Logger.LogAttrs(v.ctx, slog.LevelError, "the state is not what the log gives, or the log is not what was sealed; stop writing, and keep the data directory as it is", slog.Any("error", result.Err), took)
	default:
		v.cfg.Logger.LogAttrs(v.ctx, slog.LevelWarn, "a verification came to no end", slog.Any("error", result.Err), took)
	}
}
