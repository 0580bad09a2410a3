// Package runner keeps a state in step with a log: it reads the log, applies it,
// and says up to which sequence the state may be seen.
//
// Boot, catching up after a conflict and replay are one loop, CatchUp. In a
// serving process the registrar's goroutine alone drives the runner; verify and
// replay drive one without a registrar.
//
// It does not belong here when it decides anything (handlers) or knows how a
// log is kept (events/natslog).
package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// Runner applies a log to a state. CatchUp, Apply, Cut and Publish are for one
// goroutine; the other methods are safe for concurrent use.
type Runner struct {
	log   events.Log
	state *projections.State

	lock    sync.Mutex
	visible uint64        // guarded by lock; everything up to it is durable, and settled in state
	moved   chan struct{} // guarded by lock; closed when visible moves, nil while nobody waits
}

// New gives a runner at the beginning of a log.
func New(log events.Log) *Runner { return &Runner{log: log, state: projections.New()} }

// ErrForeignLog says that an event isn't of the registry that the log begins
// with.
var ErrForeignLog = errors.New("the log holds events of another registry")

// ErrLevel says that the log was written by a later release.
var ErrLevel = errors.New("the log was written by a later release of modelog; upgrade this one")

// CatchUp applies everything that is on the log, and makes it visible. Nothing
// may be applied that isn't on the log: CutAfter the visible sequence first. It
// shows each event to visit, unless that is nil.
//
// It fails with the log's errors, an *events.UnreadableError, ErrForeignLog or
// ErrLevel; what came before the bad event has been applied.
func (r *Runner) CatchUp(ctx context.Context, visit func(events.Event)) error {
	last, err := r.log.Last(ctx)
	if err != nil {
		return fmt.Errorf("catch up with the log: %w", err)
	}
	if applied := r.state.Applied(); last < applied {
		return fmt.Errorf("catch up with the log: %w: it ends at %d, but had %d events before", events.ErrMissing, last, applied)
	}
	for e, err := range decoded("catch up with the log", r.log.Read(ctx, r.state.Applied()+1, last)) {
		if err != nil {
			return err
		}
		if err := r.Replay(e); err != nil {
			return err
		}
		if visit != nil {
			visit(e)
		}
	}
	r.Publish(r.state.Applied())
	return nil
}

const settleEvery = 1000 // while catching up, so that what may be cut stays short

// Replay applies an event that is known to be on the log, and makes it visible
// now and then; Publish makes the last ones visible. It fails with ErrForeignLog
// or ErrLevel.
func (r *Runner) Replay(e events.Event) error {
	created, first := e.Data.(events.RegistryCreated)
	registry := r.state.At(r.state.Applied()).Registry().ID
	if first {
		registry = created.RegistryID
	}
	switch {
	case first != (e.Sequence == 1):
		return fmt.Errorf("event %d (%s): %w: registry.created is its first event, and only that", e.Sequence, e.Type(), ErrForeignLog)
	case e.Registry != registry:
		return fmt.Errorf("event %d (%s): %w: %s instead of %s", e.Sequence, e.Type(), ErrForeignLog, e.Registry, registry)
	case first && created.Level > events.Level:
		return fmt.Errorf("event 1 (%s): %w: it has level %d, this release reads up to %d", e.Type(), ErrLevel, created.Level, events.Level)
	}
	r.state.Apply(e)
	if e.Sequence%settleEvery == 0 {
		r.Publish(e.Sequence)
	}
	return nil
}

// Apply applies an event that is not yet known to be durable. It is not visible
// before Publish.
func (r *Runner) Apply(e events.Event) { r.state.Apply(e) }

// CutAfter takes back everything after a sequence. What is visible stays.
func (r *Runner) CutAfter(sequence uint64) { r.state.CutAfter(max(sequence, r.Visible())) }

// Publish makes everything up to a sequence visible. Those events are durable.
func (r *Runner) Publish(sequence uint64) {
	r.state.Settle(sequence)
	r.lock.Lock()
	defer r.lock.Unlock()
	if sequence <= r.visible {
		return
	}
	r.visible = sequence
	if r.moved != nil {
		close(r.moved)
		r.moved = nil
	}
}

// Visible is the last sequence that may be seen.
func (r *Runner) Visible() uint64 {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.visible
}

// Wait waits until a sequence is visible. It fails with the context's error.
func (r *Runner) Wait(ctx context.Context, sequence uint64) error {
	for {
		r.lock.Lock()
		if r.visible >= sequence {
			r.lock.Unlock()
			return nil
		}
		if r.moved == nil {
			r.moved = make(chan struct{})
		}
		moved := r.moved
		r.lock.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Now is the view as of the last visible sequence.
func (r *Runner) Now() projections.View { return r.state.At(r.Visible()) }

// At is the view as of a visible sequence; a later one gives the last visible.
func (r *Runner) At(sequence uint64) projections.View {
	return r.state.At(min(sequence, r.Visible()))
}

// Tip is the view as of the last event applied, visible or not. It is for the
// goroutine that drives the runner, to decide on.
func (r *Runner) Tip() projections.View { return r.state.At(r.state.Applied()) }

// SequenceAt gives the visible sequence that a moment resolves to.
func (r *Runner) SequenceAt(moment time.Time) uint64 {
	return r.state.SequenceAt(moment, r.Visible())
}

// Digest gives the digest of the state as of a visible sequence.
func (r *Runner) Digest(ctx context.Context, sequence uint64) (string, error) {
	return r.state.Digest(ctx, sequence)
}
