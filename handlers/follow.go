package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/modelog/modelog/events"
)

// On a shared log other replicas write too. Their events reach the state in two
// ways, both through loop: when an append of ours finds that the log has moved
// on (recover.go), and when nothing of ours is under way, from follow.
//
// What is answered without an event rests on a tip that may be old by then, so
// it waits until the log has confirmed that it isn't, or for the events that
// were missing.

// follow hands over what appears on the log, until the registrar ends.
func (r *Registrar) follow(from uint64) {
	defer close(r.followed)
	for {
		for e, err := range r.cfg.Log.Follow(r.ctx, from) {
			if err != nil {
				if r.ctx.Err() == nil {
					r.cfg.Logger.LogAttrs(r.ctx, slog.LevelWarn, "following the log failed; it is tried again", slog.Any("error", err))
				}
				break
			}
			select {
			case r.arrived <- e:
				from = e.Sequence + 1
			case <-r.ctx.Done():
				return
			}
		}
		if !r.pause(followPause) {
			return
		}
	}
}

// followPause is which attempt's pause lies between two attempts to follow.
const followPause = 5

// arrivals has what others wrote, unless something of ours is under way: then
// its append tells whether the log has moved on, and what follow has waits.
func (r *Registrar) arrivals() <-chan events.Stored {
	if r.flying != nil || len(r.next.events) > 0 {
		return nil
	}
	return r.arrived
}

// absorb applies an event that was seen on the log, unless it is known already.
func (r *Registrar) absorb(s events.Stored) {
	switch visible := r.cfg.Runner.Visible(); {
	case s.Sequence <= visible:
		return
	case s.Sequence != visible+1:
		r.fail(fmt.Errorf("event %d follows %d: %w", s.Sequence, visible, events.ErrMissing))
		return
	}
	e, err := events.Decode(s)
	if err == nil {
		err = r.cfg.Runner.Replay(e)
	}
	if err != nil {
		r.fail(err)
		return
	}
	r.cfg.Runner.Publish(s.Sequence)
	r.next.expect = s.Sequence
	r.cfg.Landed(s.Sequence, []events.Encoded{s.Encoded})
}

// commit makes a group's events durable. Without events it only asks whether the
// tip is still the one that the group was decided on.
func (r *Registrar) commit(g *group) error {
	if len(g.events) > 0 {
		return r.cfg.Log.Append(r.ctx, g.expect, g.events)
	}
	ctx, cancel := context.WithTimeout(r.ctx, catchUpTimeout)
	defer cancel()
	last, err := r.cfg.Log.Last(ctx)
	if err == nil && last != g.expect {
		err = fmt.Errorf("%w: it ends at %d", events.ErrConflict, last)
	}
	if err != nil && !errors.Is(err, events.ErrConflict) {
		err = fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	return err
}
