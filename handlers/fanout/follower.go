package fanout

import (
	"context"
	"fmt"

	"github.com/modelog/modelog/handlers/subscription"
)

// Limits of what Next gives at a time.
const (
	maxTaken     = 64        // events of the ring
	maxPage      = 500       // events read from the log
	maxPageBytes = 128 << 10 // of JSON, but for one event
	maxReadBytes = 1 << 20   // the same, of Read
)

// Follower reads the events of a log in order, from a place on. It is for one
// goroutine.
type Follower struct {
	hub    *Hub
	match  *subscription.Matcher
	after  uint64
	closed bool
}

// Follow begins after a visible sequence with the events that match; nil for all of
// them. It fails with ErrStopped, or with what ended the hub. The follower must be
// closed.
func (h *Hub) Follow(after uint64, match *subscription.Matcher) (*Follower, error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.err != nil {
		return nil, h.err
	}
	if h.active.Add(1) == 1 { // from now on Landed is heeded, so nothing is missed after what is visible now
		h.ring.reset(h.cfg.Runner.Visible())
	}
	return &Follower{hub: h, match: match, after: after}, nil
}

// Close ends the following. It is harmless twice.
func (f *Follower) Close() {
	if f.closed {
		return
	}
	f.closed = true
	h := f.hub
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.active.Add(-1) == 0 {
		h.ring.reset(h.ring.head)
	}
}

// Place is the sequence up to which everything has been given, or doesn't match.
func (f *Follower) Place() uint64 { return f.after }

// Next gives the next events that match, at least one, and waits for them. It fails
// with the context's error, with ErrStopped, with an error of the log, or with that of
// an event that can't be read; after that of the context it can be called again.
func (f *Follower) Next(ctx context.Context) ([]*Event, error) {
	for {
		taken, behind, moved, err := f.take()
		switch {
		case err != nil:
			return nil, err
		case behind:
			if taken, err = f.page(ctx, maxPage, maxPageBytes); err != nil {
				return nil, err
			}
		}
		if len(taken) > 0 {
			return taken, nil
		}
		if moved == nil {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Read gives the next events that match among at most as many as most, without waiting
// for what there isn't yet: perhaps none. Place says how far it has come. It fails as
// Next does.
func (f *Follower) Read(ctx context.Context, most uint64) ([]*Event, error) {
	taken, behind, _, err := f.take()
	if err != nil || !behind {
		return taken, err
	}
	return f.page(ctx, most, maxReadBytes)
}

// take gives events of the ring that match. If what comes next isn't in it any more,
// the follower is behind; if there is nothing new, moved says when to look again.
func (f *Follower) take() (taken []*Event, behind bool, moved <-chan struct{}, err error) {
	h := f.hub
	all, behind, moved, err := h.held(f.after)
	if f.match == nil {
		if len(all) > 0 {
			f.after = all[len(all)-1].Sequence
		}
		return all, behind, moved, err
	}
	for _, e := range all { // without the hub's lock: matching may take a while
		if err := e.Show(); err != nil {
			h.unreadable(err)
			if len(taken) > 0 { // Place says that they were given; the error comes again
				err = nil
			}
			return taken, false, nil, err
		}
		f.after = e.Sequence
		if f.match.Matches(e.Attributes) {
			taken = append(taken, e)
		}
	}
	return taken, behind, moved, err
}

// held gives what the ring has after a sequence.
func (h *Hub) held(after uint64) (all []*Event, behind bool, moved <-chan struct{}, err error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	switch {
	case h.err != nil:
		return nil, false, nil, h.err
	case after >= h.ring.head:
		if h.moved == nil {
			h.moved = make(chan struct{})
		}
		return nil, false, h.moved, nil
	case after+1 < h.ring.tail:
		return nil, true, nil, nil
	}
	for sequence := after + 1; sequence <= min(after+maxTaken, h.ring.head); sequence++ {
		all = append(all, *h.ring.slot(sequence))
	}
	return all, false, nil, nil
}

// page reads on in the log, up to the head of the ring at most.
func (f *Follower) page(ctx context.Context, most uint64, bytes int) ([]*Event, error) {
	h := f.hub
	select {
	case h.pages <- struct{}{}:
		defer func() { <-h.pages }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-h.Stopping():
		return nil, ErrStopped
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	page, err := f.read(ctx, min(f.after+most, h.head()), bytes)
	switch {
	case len(page) > 0: // what ended the reading comes again if it lasts
		return page, nil
	case h.ctx.Err() != nil:
		return nil, ErrStopped
	default:
		return nil, err
	}
}

// read gives what matches up to a sequence, or a page of it. Beside an error it gives
// what it has passed by.
func (f *Follower) read(ctx context.Context, to uint64, bytes int) (page []*Event, err error) {
	size := 0
	for stored, err := range f.hub.cfg.Log.Read(ctx, f.after+1, to) {
		if err != nil {
			return page, fmt.Errorf("read the log: %w", err)
		}
		e, err := showIf(stored, f.match)
		if err != nil {
			return page, err
		}
		f.after = stored.Sequence
		if e == nil {
			continue
		}
		page = append(page, e)
		if size += len(e.JSON); size >= bytes {
			break
		}
	}
	return page, nil
}
