package webhooks

import (
	"context"
	"errors"
	"fmt"

	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// ErrUnknown says that there is no such subscription.
var ErrUnknown = errors.New("no such subscription")

// Replay begins a job, which has an id and a subscription, a range up to a visible
// sequence, and a mode. It survives restarts, and is taken up by whoever delivers. It
// fails with ErrUnknown, or as the cursors do.
func (e *Engine) Replay(ctx context.Context, job cursors.Replay) error {
	sub, _, ok := e.cfg.Runner.Now().Subscription(job.Subscription)
	if !ok {
		return fmt.Errorf("%w: %s", ErrUnknown, job.Subscription)
	}
	job.Cursor = cursors.Cursor{After: max(job.From, 1) - 1}
	if _, err := e.cfg.Cursors.Put(ctx, cursors.ReplayKey(job.Subscription, job.Job), 0, job); err != nil {
		return err
	}
	if s := e.current(); s != nil {
		return s.addReplay(sub, job)
	}
	return nil
}

func (s *session) addReplay(sub *projections.Subscription, job cursors.Replay) error {
	f, err := s.load(sub, &job)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || s.flows[f.id] != nil { // it is taken up by the next session, or was
		return nil
	}
	s.flows[f.id] = f
	s.pump(f)
	return nil
}

// loadReplays takes up the jobs that have not come to their end.
func (s *session) loadReplays(view projections.View) error {
	jobs, err := s.cfg.Cursors.Replays(s.ctx, ulid.ULID{})
	if err != nil {
		return err
	}
	for _, job := range jobs {
		sub, _, ok := view.Subscription(job.Subscription)
		if !ok || job.Done {
			continue
		}
		f, err := s.load(sub, &job)
		if err != nil {
			return err
		}
		s.flows[f.id] = f
	}
	return nil
}
