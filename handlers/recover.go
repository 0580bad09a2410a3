package handlers

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
)

// What can happen to the append of a group, and what becomes of its requests:
//
//	error            on the log              its requests
//	ErrConflict      others' events          decided anew
//	ErrUnavailable   nothing of it           decided anew, until their deadline
//	ErrNoSpace       nothing of it           refused
//	ErrUncertain     nothing, some or all    found: answered; else decided anew, until their deadline
//	ErrBroken        nobody knows            unknown, and the process stops
//
// Deciding anew is also the fence: the new event has the same id and names the
// sequence that the log ends with, so only one of the two can ever be on it.

// recover takes back all that is not visible, follows the log to its end, and
// decides the requests of both groups anew.
func (r *Registrar) recover(failed *group, err error) {
	r.cfg.Logger.LogAttrs(r.ctx, slog.LevelWarn, "append failed",
		slog.Uint64("expect", failed.expect), slog.Int("events", len(failed.events)), slog.Any("error", err))
	r.metrics.failedAppends.Inc()
	requests := append(failed.requests, r.next.requests...)
	if errors.Is(err, events.ErrBroken) {
		r.fail(err)
		return
	}
	for _, p := range requests {
		// Only what was sent and may be there stays sent.
		if !p.sending || !errors.Is(err, events.ErrUncertain) {
			p.progress.CompareAndSwap(sent, waiting)
		}
	}
	r.cfg.Runner.CutAfter(0)
	found, ok := r.catchUp(errors.Is(err, events.ErrConflict))
	if !ok {
		return
	}
	r.next = &group{expect: r.cfg.Runner.Visible()}
	refused := errors.Is(err, events.ErrNoSpace)
	for i, p := range requests {
		if e, there := found[p.id]; there {
			p.reply <- answer{outcome: Outcome{Sequence: e.Sequence, Resource: e.Data.Resource(), ID: e.ID, Written: true}}
			continue
		}
		if refused && i < len(failed.requests) && p.sending {
			p.reply <- answer{err: UnavailableError{CodeDiskFull, "the disk of the log has no room above its reserve, nothing was written; free some space", 10 * time.Second}}
			continue
		}
		r.take(p)
	}
}

// catchUp follows the log to its end, however long it takes, and gives the
// events that were new. It says no when the registrar ends before that.
func (r *Registrar) catchUp(atOnce bool) (found map[ulid.ULID]events.Event, ok bool) {
	found = map[ulid.ULID]events.Event{}
	for attempt := 0; ; attempt++ {
		if !atOnce || attempt > 0 {
			if !r.pause(attempt) {
				return nil, false
			}
		}
		ctx, cancel := context.WithTimeout(r.ctx, catchUpTimeout)
		err := r.cfg.Runner.CatchUp(ctx, func(e events.Event) { found[e.ID] = e })
		cancel()
		if err == nil {
			return found, true
		}
		if hopeless(err) {
			r.fail(err)
			return nil, false
		}
		r.cfg.Logger.LogAttrs(r.ctx, slog.LevelWarn, "the log is away", slog.Int("attempt", attempt), slog.Any("error", err))
	}
}

const (
	catchUpTimeout = 5 * time.Second
	firstPause     = 10 * time.Millisecond
	longestPause   = time.Second
)

// pause waits longer from attempt to attempt, with jitter, so that replicas
// don't run into each other again and again.
func (r *Registrar) pause(attempt int) bool {
	d := min(firstPause<<min(attempt, 10), longestPause)
	timer := time.NewTimer(d/2 + time.Duration(r.cfg.Jitter()*float64(d)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// hopeless says that no retry makes an error go away: the log itself is wrong.
func hopeless(err error) bool {
	var unreadable *events.UnreadableError
	return errors.As(err, &unreadable) || errors.Is(err, events.ErrMissing) || errors.Is(err, events.ErrBroken) ||
		errors.Is(err, runner.ErrForeignLog) || errors.Is(err, runner.ErrLevel)
}

// fail ends the registrar for good. Whoever waits learns it from Done.
func (r *Registrar) fail(err error) {
	r.cfg.Logger.LogAttrs(r.ctx, slog.LevelError, "the registrar gives up; stop the process and start it again", slog.Any("error", err))
	r.failure.Store(&err)
}

// largestField names the field of a command that takes the most room.
func largestField(cmd Command) string {
	spec, ok := cmd.(*RegisterVersion)
	if !ok {
		return "/description"
	}
	s := spec.Spec
	name, most := "/description", len(s.Description)
	for pointer, v := range map[string]any{
		"/artifacts": s.Artifacts, "/datasets": s.Datasets, "/parameters": s.Parameters, "/metrics": s.Metrics, "/tags": s.Tags,
	} {
		if b, err := events.AppendCanonical(nil, v); err == nil && len(b) > most {
			name, most = pointer, len(b)
		}
	}
	if s.Signature != nil {
		if b, err := events.AppendCanonical(nil, *s.Signature); err == nil && len(b) > most {
			name = "/signature"
		}
	}
	return name
}
