package fanout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/projections/runner"
)

// Config is what a hub needs.
type Config struct {
	Log    events.Log
	Runner *runner.Runner // says what is visible
	Logger *slog.Logger   // nil means silence
	// Ring is how many of the last events are held, 4096 if 0.
	Ring int
}

// Event is an event that is visible, with what all followers need of it. It is shared
// and must not be changed. A follower with a matcher is given events that are shown;
// for one without, each is as it is stored until somebody shows it: to decode every
// event of a busy log for an engine that has nobody to deliver to would cost its
// writers a tenth of their time.
type Event struct {
	Sequence   uint64
	Type       string
	JSON       []byte              // the structured CloudEvent, on one line; once it is shown
	Attributes *subscription.Event // for matchers, once it is shown

	stored events.Stored
	once   sync.Once
	err    error
}

func eventOf(stored events.Stored) *Event {
	e := &Event{Sequence: stored.Sequence, stored: stored}
	for _, f := range stored.Header {
		if f.Name == "ce-type" {
			e.Type = f.Value
		}
	}
	return e
}

// Show decodes the event, once. It fails on one that can't be read.
func (e *Event) Show() error {
	e.once.Do(func() {
		decoded, err := events.Decode(e.stored)
		if err == nil {
			e.Attributes, err = subscription.Of(decoded)
		}
		if err == nil {
			e.JSON, err = events.AppendEvent(nil, decoded)
		}
		e.err = err
	})
	return e.err
}

// ErrStopped says that the hub has been stopped.
var ErrStopped = errors.New("the registry is stopping")

// Hub is the one reader of a log for all who follow it. Its methods are safe for
// concurrent use.
type Hub struct {
	cfg     Config
	batches chan batch
	waiting atomic.Int64 // bytes in batches
	missed  atomic.Bool  // a batch had no room
	active  atomic.Int64 // followers
	pages   chan struct{}
	done    chan struct{} // closed when run has ended
	ctx     context.Context
	cancel  context.CancelFunc

	lock  sync.Mutex
	ring  ring          // guarded by lock
	moved chan struct{} // guarded by lock; closed when the ring moves, nil while nobody waits
	err   error         // guarded by lock; why the hub has given up
}

// batch is what Landed was told. Without a group there are events from first on.
type batch struct {
	first uint64
	group []events.Encoded
	bytes int64
}

const (
	maxBatches      = 64
	maxBatchedBytes = 16 << 20
	// maxRingBytes bounds what is stored of the ring's events, beside their number; what
	// is shown takes as much again.
	maxRingBytes = 8 << 20
	// pageReaders is how many followers read the log at a time.
	pageReaders = 4
)

// New makes a hub, which works until Stop.
func New(cfg Config) *Hub {
	if cfg.Ring == 0 {
		cfg.Ring = 4096
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hub{
		cfg: cfg, batches: make(chan batch, maxBatches), pages: make(chan struct{}, pageReaders), done: make(chan struct{}),
		ring: ring{slots: make([]*Event, cfg.Ring)},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	go h.run()
	return h
}

// Stop ends the hub and all that follow. It returns when the log isn't read any more
// by the hub itself.
func (h *Hub) Stop() {
	h.fail(ErrStopped)
	h.cancel()
	<-h.done
}

// Stopping is closed when the hub stops.
func (h *Hub) Stopping() <-chan struct{} { return h.ctx.Done() }

// Err says why the hub gives no more events, nil while it does.
func (h *Hub) Err() error {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.err
}

// fail tells all followers, once.
func (h *Hub) fail(err error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.err == nil {
		h.err = err
		h.wake()
	}
}

// wake is called with the lock held.
func (h *Hub) wake() {
	if h.moved != nil {
		close(h.moved)
		h.moved = nil
	}
}

// Landed takes a group of events that have become visible; see handlers.Config. It
// never blocks: what there is no room for is read from the log.
func (h *Hub) Landed(first uint64, group []events.Encoded) {
	if h.active.Load() == 0 {
		return
	}
	b := batch{first: first, group: group}
	for _, e := range group {
		b.bytes += int64(e.Size())
	}
	if h.waiting.Add(b.bytes) > maxBatchedBytes {
		h.waiting.Add(-b.bytes)
		b.group, b.bytes = nil, 0
	}
	select {
	case h.batches <- b:
	default: // those before it will make run look
		h.waiting.Add(-b.bytes)
		h.missed.Store(true)
		select {
		case h.batches <- batch{first: first}: // unless it was through with them before it was told
		default:
		}
	}
}

func (h *Hub) run() {
	defer close(h.done)
	for {
		select {
		case b := <-h.batches:
			h.waiting.Add(-b.bytes)
			h.take(b)
		case <-h.ctx.Done():
			return
		}
		if len(h.batches) == 0 && h.missed.Swap(false) {
			h.fill()
		}
	}
}

// take adds a batch to the ring, after what may be missing before it.
func (h *Hub) take(b batch) {
	if b.group == nil || b.first > h.head()+1 {
		h.fill()
	}
	for i, encoded := range b.group {
		stored := events.Stored{Sequence: b.first + uint64(i), Encoded: encoded}
		if h.Err() != nil || h.active.Load() == 0 {
			return
		}
		if stored.Sequence == h.head()+1 {
			h.add(stored)
		}
	}
}

func (h *Hub) head() uint64 {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.ring.head
}

// add makes an event the newest one of the ring. One that can't be read is never
// skipped: when that shows, nothing is given any more.
func (h *Hub) add(stored events.Stored) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if stored.Sequence == h.ring.head+1 { // else the ring was cleared meanwhile
		h.ring.add(eventOf(stored))
		h.wake()
	}
}

// unreadable ends all following.
func (h *Hub) unreadable(err error) {
	h.cfg.Logger.LogAttrs(h.ctx, slog.LevelError, "no events are handed on any more", slog.Any("error", err))
	h.fail(err)
}

// showIf gives nil for what doesn't match, without making its JSON.
func showIf(stored events.Stored, match *subscription.Matcher) (*Event, error) {
	e, err := events.Decode(stored)
	if err != nil {
		return nil, err
	}
	attributes, err := subscription.Of(e)
	if err != nil || !match.Matches(attributes) {
		return nil, err
	}
	data, err := events.AppendEvent(nil, e)
	shown := &Event{Sequence: e.Sequence, Type: e.Type(), JSON: data, Attributes: attributes}
	shown.once.Do(func() {})
	return shown, err
}

const refillPause = 200 * time.Millisecond

// fill reads what is visible and not in the ring from the log, as far as the ring can
// hold it. It tries until it has it: those who follow wait meanwhile.
func (h *Hub) fill() {
	for told := false; ; told = true {
		err := h.refill()
		if err == nil || h.ctx.Err() != nil || h.Err() != nil {
			return
		}
		if !told {
			h.cfg.Logger.LogAttrs(h.ctx, slog.LevelWarn, "those who follow the log wait for it; it is tried again", slog.Any("error", err))
		}
		select {
		case <-time.After(refillPause):
		case <-h.ctx.Done():
			return
		}
	}
}

func (h *Hub) refill() error {
	to := h.cfg.Runner.Visible()
	h.lock.Lock()
	if begin := to - min(to, uint64(h.cfg.Ring)); h.ring.head < begin {
		h.ring.reset(begin)
	}
	from := h.ring.head + 1
	h.lock.Unlock()
	if from > to {
		return nil
	}
	for stored, err := range h.cfg.Log.Read(h.ctx, from, to) {
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if h.add(stored); h.Err() != nil || h.active.Load() == 0 {
			return nil
		}
	}
	return nil
}

// ring holds the events tail..head.
type ring struct {
	slots      []*Event // by sequence, modulo their number
	tail, head uint64   // tail is head+1 for none
	bytes      int
}

func (r *ring) slot(sequence uint64) **Event { return &r.slots[sequence%uint64(len(r.slots))] }

// add puts head+1 in, and the oldest ones out if there is no room.
func (r *ring) add(e *Event) {
	for r.tail <= r.head && (r.head-r.tail+1 == uint64(len(r.slots)) || r.bytes+e.stored.Size() > maxRingBytes) {
		out := r.slot(r.tail)
		r.bytes -= (*out).stored.Size()
		*out = nil
		r.tail++
	}
	*r.slot(e.Sequence) = e
	r.head = e.Sequence
	r.bytes += e.stored.Size()
}

// reset empties the ring, so that head+1 is the next event.
func (r *ring) reset(head uint64) {
	clear(r.slots)
	r.tail, r.head, r.bytes = head+1, head, 0
}
