package handlers

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/modelog/modelog/projections"
)

// A what-if is decided as requests are, on events that are applied above the
// visible tip and cut off again: the tables keep revisions by sequence, so that
// nothing has to be copied, and nobody else sees it. For this the registrar stands
// still: it takes a what-if up only when nothing is under way and nothing has been
// decided that isn't on the log, and does nothing else until all of it is cut.

// Supposed is what would become of a request.
type Supposed struct {
	Outcome Outcome // its Event has the place that it would have on the log
	Err     error   // as of Do
}

// WhatIfTime is how long a what-if may hold up the requests of others.
const WhatIfTime = 250 * time.Millisecond

// MaxWhatIf is how many requests a what-if may have.
const MaxWhatIf = 100

// supposition is a what-if that waits for its turn.
type supposition struct {
	ctx      context.Context
	requests []Request
	look     func(ctx context.Context, tip, fork projections.View, all []Supposed) error
	batch    []*pending // that is to be written in place of all that, nil for a what-if
	// claimed is set by loop when it takes it up, or by whoever waited when there is
	// no more waiting for it.
	claimed atomic.Bool
	done    chan struct{} // closed when err is final
	err     error
}

// WhatIf decides requests, one after another, as if each event that follows from
// one had been written, and writes nothing: no event, no state, and no idempotency
// key, since requests are decided without theirs. Then it calls look with the
// visible state, with the one that would be, and with what would become of each
// request. While look runs no request is decided, so it must be done soon, and
// keep neither view; its context ends after WhatIfTime.
//
// The error is the one of look, or an UnavailableError when there was no time for
// all of it. On a shared log the tip is the one that this replica knows.
func (r *Registrar) WhatIf(
	ctx context.Context, requests []Request, look func(ctx context.Context, tip, fork projections.View, all []Supposed) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Deadline)
	defer cancel()
	return r.stand(&supposition{ctx: ctx, requests: requests, look: look, done: make(chan struct{})})
}

// stand waits until the registrar has stood still for a what-if or for a batch.
func (r *Registrar) stand(s *supposition) error {
	queue := r.suppositions
	for {
		select {
		case queue <- s:
			queue = nil // loop has it now
		case <-s.done:
			return s.err
		case <-s.ctx.Done():
			if s.claimed.CompareAndSwap(false, true) {
				return UnavailableError{CodeBusy, "the registry was too busy to stand still for it; ask again later", time.Second}
			}
			<-s.done // look runs, and must have ended before its caller goes on
			return s.err
		case <-r.done:
			return UnavailableError{CodeUnavailable, "the registry has stopped; ask again", time.Second}
		}
	}
}

// still says whether nothing is under way, and nothing decided that isn't visible.
func (r *Registrar) still() bool { return r.flying == nil && len(r.next.requests) == 0 }

// suppose answers the what-if that waits.
func (r *Registrar) suppose() {
	s := r.supposing
	r.supposing = nil
	if !s.claimed.CompareAndSwap(false, true) {
		return
	}
	defer close(s.done)
	if s.batch != nil {
		s.err = r.takeAll(s.batch)
		return
	}
	tip := r.cfg.Runner.Tip()
	defer r.cfg.Runner.CutAfter(tip.Sequence)
	ctx, cancel := context.WithTimeout(s.ctx, WhatIfTime)
	defer cancel()
	all := make([]Supposed, len(s.requests))
	for i, request := range s.requests {
		if ctx.Err() != nil {
			break
		}
		all[i] = r.supposeOne(request)
	}
	if ctx.Err() == nil {
		s.err = s.look(ctx, tip, r.cfg.Runner.Tip(), all)
	}
	if ctx.Err() != nil {
		s.err = UnavailableError{CodeBusy, "the what-if took longer than others can be made to wait; ask for less at once", time.Second}
	}
}

func (r *Registrar) supposeOne(request Request) (s Supposed) {
	request.Key = ""
	if s.Err = request.Check(); s.Err != nil {
		return s
	}
	p := &pending{Request: request, id: r.cfg.NewID(r.cfg.Now())}
	if request.Origin != nil { // whose identity is a part of what is asked
		p.key, p.content = request.Origin.hashes()
	}
	s.Outcome, _, s.Err = r.decide(p)
	return s
}
