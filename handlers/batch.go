package handlers

import (
	"context"
	"fmt"
	"time"

	"github.com/modelog/modelog/events"
)

// MaxBatch is how many requests may be decided together.
const MaxBatch = events.MaxGroupEvents

// Answer is what became of one request of a batch, as Do gives it.
type Answer struct {
	Outcome Outcome
	Err     error
}

// BatchError says which request stood in the way of a batch, of which nothing was
// written.
type BatchError struct {
	Index int // from 0
	Err   error
}

func (e BatchError) Error() string { return fmt.Sprintf("event %d of the batch: %v", e.Index, e.Err) }

// Unwrap gives the refusal of the request.
func (e BatchError) Unwrap() error { return e.Err }

// DoEach decides requests in their order, each for itself, and waits for all of
// them. Requests of others may come in between.
func (r *Registrar) DoEach(ctx context.Context, requests []Request) []Answer {
	answers := make([]Answer, len(requests))
	waiting := make([]*pending, len(requests))
	for i, request := range requests {
		waiting[i], answers[i].Err = r.submit(ctx, request)
	}
	r.awaitAll(requests, waiting, answers)
	return answers
}

// DoAll decides MaxBatch requests at most, one after another with nothing in
// between, and writes all events that follow from them as one group, or none: it
// fails with a BatchError if one of them is refused, or with an UnavailableError.
//
// All or nothing is what the rules say. What becomes of a group that the log fails
// is told by the Answers: a part of it may stand, and requests with an identity or
// a key can be sent again to complete it.
func (r *Registrar) DoAll(ctx context.Context, requests []Request) ([]Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Deadline)
	defer cancel()
	batch := make([]*pending, len(requests))
	for i, request := range requests {
		p, err := r.newPending(ctx, request)
		if err != nil {
			return nil, BatchError{i, err}
		}
		batch[i] = p
	}
	if err := r.stand(&supposition{ctx: ctx, batch: batch, done: make(chan struct{})}); err != nil {
		return nil, err
	}
	answers := make([]Answer, len(requests))
	r.awaitAll(requests, batch, answers)
	return answers, nil
}

// awaitAll waits for the answers to those requests that wait.
func (r *Registrar) awaitAll(requests []Request, waiting []*pending, answers []Answer) {
	for i, p := range waiting {
		if p != nil {
			answers[i].Outcome, answers[i].Err = r.await(p)
		}
		r.metrics.answered(requests[i].Command.Kind(), answers[i].Outcome, answers[i].Err)
	}
}

// takeAll decides a batch while nothing else is under way, so that the next group
// is this batch and nothing else, or takes all of it back.
func (r *Registrar) takeAll(batch []*pending) error {
	tip := r.cfg.Runner.Tip().Sequence
	for i, p := range batch {
		r.take(p)
		var err error
		switch {
		case p.progress.Load() == abandoned:
			err = UnavailableError{CodeBusy, "there was no time for the whole batch, nothing was written; send it again", time.Second}
		case p.answer.err != nil:
			err = BatchError{i, p.answer.err}
		case r.next.bytes > events.MaxGroupBytes:
			err = BatchError{i, TooLargeError{Limit: events.MaxGroupBytes}}
		}
		if err != nil {
			r.cfg.Runner.CutAfter(tip)
			r.next = &group{expect: tip}
			return err
		}
	}
	return nil
}
