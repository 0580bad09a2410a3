package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
)

// What can happen to the append of a group, and what becomes of its requests:
//
//	error            on the log              its requests
//	ErrConflict      others' events, and     found: answered; else decided anew
//	                 perhaps some of it
//	ErrUnavailable   nothing of it           decided anew, until their deadline
//	ErrNoSpace       nothing of it           refused
//	ErrBadGroup      nothing of it           failed: it is a defect
//	ErrUncertain     nothing, some or all    found: answered; else decided anew, until their deadline
//	ErrBroken        nobody knows            unknown, and the process stops
//
// Deciding anew is also the fence: the new event has the same id and names the
// sequence that the log ends with, so only one of the two can ever be on it.
// Until then what was uncertain is in doubt, and is never refused.

// recover takes back all that is not visible, follows the log to its end, and
// has the requests of both groups decided anew.
func (r *Registrar) recover(failed *group, err error) {
	if len(failed.events) > 0 {
		r.cfg.Logger.LogAttrs(r.ctx, slog.LevelWarn, "append failed",
			slog.Uint64("expect", failed.expect), slog.Int("events", len(failed.events)), slog.Any("error", err))
		r.metrics.failedAppends.Inc()
	}
	// What is refused isn't tried again, so there is nothing to wait for.
	refusal := refusalAfter(err)
	if refusal == nil {
		r.failures++
	}
	// Whoever gives up from here on is told what is known.
	unsent(r.next.requests)
	if errors.Is(err, events.ErrBroken) {
		r.fail(err)
		return
	}
	if errors.Is(err, events.ErrUncertain) {
		for _, p := range failed.requests {
			p.doubt = max(p.doubt, p.at)
		}
	}
	if errors.Is(err, events.ErrUnavailable) || errors.Is(err, events.ErrNoSpace) || errors.Is(err, events.ErrBadGroup) {
		unsent(failed.requests)
	}
	r.cfg.Runner.CutAfter(0)
	known := r.cfg.Runner.Visible()
	found, ok := r.catchUp(refusal != nil || errors.Is(err, events.ErrConflict))
	if !ok {
		return
	}
	if len(found) > 0 {
		r.cfg.Landed(known+1, nil)
	}
	requests := slices.Concat(failed.requests, r.next.requests, r.again)
	r.again = nil
	r.next = &group{expect: r.cfg.Runner.Visible()}
	for i, p := range requests {
		p.confirmed = true
		e, there := found[p.id]
		switch {
		case there:
			p.reply(answer{outcome: Outcome{Sequence: e.Sequence, Resource: e.Data.Resource(), Event: e}})
		case refusal != nil && i < len(failed.requests) && p.at != 0:
			if p.doubt > r.cfg.Runner.Visible() {
				p.reply(answer{err: p.unknown()})
			} else {
				p.reply(answer{err: refusal})
			}
		default:
			r.again = append(r.again, p)
		}
	}
}

// unsent says that nothing of the events of requests is on the log, unless an
// earlier attempt is in doubt.
func unsent(requests []*pending) {
	for _, p := range requests {
		if p.doubt == 0 {
			p.progress.CompareAndSwap(sent, waiting)
		}
	}
}

// refusalAfter is what the requests of a group get when it is of no use to try
// it again, and nil when it is.
func refusalAfter(err error) error {
	switch {
	case errors.Is(err, events.ErrNoSpace):
		return UnavailableError{CodeDiskFull, "the disk of the log has no room above its reserve, nothing was written; free some space", 10 * time.Second}
	case errors.Is(err, events.ErrBadGroup):
		return fmt.Errorf("append: %w", err)
	default:
		return nil
	}
}

// catchUp follows the log to its end, however long it takes, and gives the
// events that were new. It says no when the registrar ends before that.
func (r *Registrar) catchUp(atOnce bool) (found map[ulid.ULID]events.Event, ok bool) {
	found = map[ulid.ULID]events.Event{}
	for attempt := r.failures; ; attempt++ {
		if !atOnce || attempt > 1 {
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

// pause waits longer from attempt to attempt, which count from 1, with jitter,
// so that replicas don't run into each other again and again.
func (r *Registrar) pause(attempt int) bool {
	d := min(firstPause<<min(attempt-1, 10), longestPause)
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
	name, most := "/description", 0
	weigh := func(pointer string, v any) {
		if b, err := events.AppendCanonical(nil, v); err == nil && len(b) > most {
			name, most = pointer, len(b)
		}
	}
	switch c := cmd.(type) {
	case *RegisterModel:
		weigh("/description", c.Spec.Description)
		weigh("/tags", c.Spec.Tags)
	case *RegisterVersion:
		s := c.Spec
		weigh("/description", s.Description)
		weigh("/artifacts", s.Artifacts)
		weigh("/datasets", s.Datasets)
		weigh("/parameters", s.Parameters)
		weigh("/metrics", s.Metrics)
		weigh("/tags", s.Tags)
		if s.Signature != nil {
			weigh("/signature", *s.Signature)
		}
	case *ReportLineage:
		weigh("/raw", c.Report.Raw)
		weigh("/inputs", c.Report.Inputs)
		weigh("/outputs", c.Report.Outputs)
	case *RecordEdges:
		weigh("/edges", c.Recording.Edges)
	}
	return name
}
