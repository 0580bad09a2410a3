package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// What there may be of replays.
const (
	// MaxReplays is how many of a subscription may be under way.
	MaxReplays = 4

	maxEnded    = 20 // of a subscription that are still known; then the oldest are forgotten
	watchEvery  = time.Second
	maxWatched  = 100 // records that are looked at in one go
	stopRetries = 20  // whoever delivers saves how far it is four times a second
)

// Why a replay isn't begun, or stopped.
var (
	ErrUnknown       = errors.New("no such subscription")
	ErrNoSink        = errors.New("the subscription has no sink")
	ErrReplays       = errors.New("too many replays of the subscription are under way")
	ErrUnknownReplay = errors.New("no such replay")
)

// Replay begins a job, which has an id and a subscription, a range up to a visible
// sequence, and a mode. It survives restarts, and is taken up by whoever delivers,
// within a second or so. It fails with ErrUnknown, ErrNoSink and ErrReplays, or as the
// cursors do.
func (e *Engine) Replay(ctx context.Context, job cursors.Replay) error {
	sub, _, ok := e.cfg.Runner.Now().Subscription(job.Subscription)
	switch {
	case !ok:
		return fmt.Errorf("%w: %s", ErrUnknown, job.Subscription)
	case !delivers(sub):
		return fmt.Errorf("%w: %s", ErrNoSink, job.Subscription)
	}
	if err := e.makeRoom(ctx, job.Subscription); err != nil {
		return err
	}
	job.Cursor = cursors.Cursor{After: max(job.From, 1) - 1}
	if _, err := e.cfg.Cursors.Put(ctx, cursors.ReplayKey(job.Subscription, job.Job), 0, job); err != nil {
		return err
	}
	if s := e.current(); s != nil {
		return s.takeReplay(job)
	}
	return nil
}

// makeRoom counts the replays of a subscription, and forgets old ones.
func (e *Engine) makeRoom(ctx context.Context, id ulid.ULID) error {
	jobs, err := e.cfg.Cursors.Replays(ctx, id)
	if err != nil {
		return err
	}
	var ended []cursors.Replay
	for _, job := range jobs {
		if job.Done {
			ended = append(ended, job)
		}
	}
	if n := len(jobs) - len(ended); n >= MaxReplays {
		return fmt.Errorf("%w: %d of %s", ErrReplays, n, id)
	}
	for len(ended) >= maxEnded {
		if err := e.cfg.Cursors.Delete(ctx, cursors.ReplayKey(id, ended[0].Job)); err != nil {
			return err
		}
		ended = ended[1:]
	}
	return nil
}

// StopReplay ends a job before its end, for good; one that has ended stays as it is. It
// fails with ErrUnknownReplay, or as the cursors do.
func (e *Engine) StopReplay(ctx context.Context, subscription, id ulid.ULID) error {
	key := cursors.ReplayKey(subscription, id)
	for try := 0; ; try++ {
		var job cursors.Replay
		revision, err := e.cfg.Cursors.Get(ctx, key, &job)
		if errors.Is(err, cursors.ErrNone) {
			return fmt.Errorf("%w: %s", ErrUnknownReplay, id)
		}
		if err != nil || job.Done {
			return err
		}
		job.Done, job.Stopped = true, true
		if _, err = e.cfg.Cursors.Put(ctx, key, revision, job); err == nil {
			if s := e.current(); s != nil {
				return s.takeReplay(job)
			}
			return nil
		}
		if !errors.Is(err, cursors.ErrMoved) || try == stopRetries {
			return err
		}
	}
}

// loadReplays takes up the jobs that have not come to their end, and gives the revision
// of the last record.
func (s *session) loadReplays(view projections.View) (seen uint64, err error) {
	for r, err := range s.cfg.Cursors.Records(s.ctx, cursors.ReplaysBelow, 0) {
		if err != nil {
			return 0, err
		}
		seen = r.Revision
		var job cursors.Replay
		if err := json.Unmarshal(r.Data, &job); err != nil {
			return 0, err
		}
		f, err := s.newReplay(view, job, r.Revision)
		if err != nil {
			return 0, err
		}
		if f != nil {
			s.jobs[f.id] = f
		}
	}
	return seen, nil
}

// newReplay gives nil for a job with which there is nothing to do.
func (s *session) newReplay(view projections.View, job cursors.Replay, revision uint64) (*flow, error) {
	sub, _, ok := view.Subscription(job.Subscription)
	if !ok || job.Done || !delivers(sub) {
		return nil, nil
	}
	f := s.newFlow(sub, &job, job.Cursor, revision)
	if job.Mode != cursors.ReplayFailed {
		return f, nil
	}
	dead, err := s.cfg.Cursors.Dead(s.ctx, sub.ID)
	f.wanted = make(map[uint64]bool, len(dead))
	for _, sequence := range dead {
		f.wanted[sequence] = true
	}
	return f, err
}

// takeReplay takes up a job that somebody begins or stops. What is known of it may be
// old by now: it may even have come to its end here.
func (s *session) takeReplay(job cursors.Replay) error {
	s.taking.Lock()
	defer s.taking.Unlock()
	s.mu.Lock()
	f := s.jobs[job.Job]
	if f != nil && job.Done {
		s.drop(f)
	}
	s.mu.Unlock()
	if f != nil || job.Done {
		return nil
	}
	var now cursors.Replay
	revision, err := s.cfg.Cursors.Get(s.ctx, cursors.ReplayKey(job.Subscription, job.Job), &now)
	if errors.Is(err, cursors.ErrNone) {
		return nil
	}
	if err == nil {
		f, err = s.newReplay(s.cfg.Runner.Now(), now, revision)
	}
	if err != nil || f == nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs[f.id] = f
	s.pump(f)
	return nil
}

// watchReplays takes up what other processes write of jobs, after a revision.
func (s *session) watchReplays(seen uint64) {
	ticks := time.NewTicker(watchEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-s.ctx.Done():
			return
		}
		var err error
		if seen, err = s.newReplays(seen); err == nil {
			err = s.dropDeleted()
		}
		if s.ctx.Err() == nil {
			s.told("replays that others began or stopped are looked at later", err)
		}
	}
}

// newReplays gives the revision up to which records were looked at. Most of them are of
// this session itself.
func (s *session) newReplays(seen uint64) (uint64, error) {
	n := 0
	for r, err := range s.cfg.Cursors.Records(s.ctx, cursors.ReplaysBelow, seen) {
		var job cursors.Replay
		if err == nil {
			err = json.Unmarshal(r.Data, &job)
		}
		if err == nil {
			err = s.takeReplay(job)
		}
		if err != nil {
			return seen, err
		}
		seen = r.Revision
		if n++; n == maxWatched {
			break
		}
	}
	return seen, nil
}

// dropDeleted ends the jobs whose records somebody has deleted.
func (s *session) dropDeleted() error {
	s.mu.Lock()
	var some []*flow
	for _, f := range s.jobs { // by chance, if there are many
		if some = append(some, f); len(some) == maxWatched/4 {
			break
		}
	}
	s.mu.Unlock()
	for _, f := range some {
		var job cursors.Replay
		_, err := s.cfg.Cursors.Get(s.ctx, cursors.ReplayKey(f.sub.ID, f.id), &job)
		switch {
		case errors.Is(err, cursors.ErrNone):
			s.mu.Lock()
			s.drop(f)
			s.mu.Unlock()
		case err != nil:
			return err
		}
	}
	return nil
}
