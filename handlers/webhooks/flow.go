package webhooks

import (
	"container/heap"
	"log/slog"
	"time"

	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// flow is the deliveries of a subscription, or one of its replays. All of it is guarded
// by the session's lock, but for what whoever saves has.
type flow struct {
	id       ulid.ULID // of the subscription, or of the job
	sub      *projections.Subscription
	job      *cursors.Replay // nil for the deliveries themselves
	match    *subscription.Matcher
	bad      bool // it has no matcher
	core     core
	inStep   bool // with the reader
	catching bool // it reads the log
	starved  bool
	waiting  bool // for the reader
	gone     bool
	dirty    bool // it is among those to be saved
	wake     time.Time
	index    int             // in the heap of wakes, -1 if it isn't
	wanted   map[uint64]bool // by a replay of dead letters, nil for all
	saved    uint64          // after, as it was saved

	// Of whoever saves.
	revision uint64
	sum      uint64 // of what was saved
	unsure   *write // may have been written
}

// newFlow takes up a subscription, or a job of it, as of what was saved.
func (s *session) newFlow(sub *projections.Subscription, job *cursors.Replay, c cursors.Cursor, revision uint64) *flow {
	f := &flow{id: sub.ID, sub: sub, job: job, index: -1, revision: revision, saved: c.After}
	rate := sub.Settings.Rate
	if job != nil {
		f.id, rate = job.Job, job.Rate
	}
	f.core = newCore(sub.Settings.Ordering, rate, c)
	f.core.pace = s.cfg.Pace
	s.compile(f)
	f.core.stopped = !f.active()
	return f
}

// compile gives a flow the matcher of its subscription.
func (s *session) compile(f *flow) {
	match, err := s.matcher(f.sub)
	if f.match, f.bad = match, err != nil; f.bad {
		s.cfg.Logger.LogAttrs(s.ctx, slog.LevelError, "a subscription isn't delivered", slog.Any("error", err))
	}
}

// matcher gives the matcher of a subscription, which others share if it is of the
// newest state.
func (s *session) matcher(sub *projections.Subscription) (*subscription.Matcher, error) {
	if s.cfg.Matchers != nil {
		if now, sequence, ok := s.cfg.Runner.Now().Subscription(sub.ID); ok && now == sub {
			return s.cfg.Matchers.Matcher(now, sequence)
		}
	}
	return subscription.For(sub)
}

// delivers says whether anything is delivered to a subscription: what has no sink
// fetches its events itself.
func delivers(sub *projections.Subscription) bool { return sub.Settings.SinkHost != "" }

func (f *flow) active() bool {
	return f.sub.Status == projections.SubscriptionActive && !f.bad && !f.gone
}

// done says whether a job has come to its end.
func (f *flow) done() bool { return f.job != nil && f.core.seen >= f.job.To && f.core.idle() }

// caught says whether a job needs nothing of the log any more.
func (f *flow) caught() bool { return f.job != nil && f.core.seen >= f.job.To }

// wants says whether an event that matches is for a flow: its format can have something
// for it, and it is among the dead letters if those are asked for.
func (s *session) wants(f *flow, e *fanout.Event) bool {
	return (f.wanted == nil || f.wanted[e.Sequence]) && (s.cfg.Wants == nil || s.cfg.Wants(&f.sub.Settings, e.Type))
}

// pump sends what may be sent, and sees to what comes after. It is called with the
// lock held.
func (s *session) pump(f *flow) {
	if f.gone || s.ctx.Err() != nil {
		return
	}
	now := s.cfg.Now()
	for s.slotFor(f) {
		it, ok := f.core.next(now)
		if !ok {
			break
		}
		s.flying++
		sub := f.sub
		s.wg.Go(func() { s.deliver(f, sub, it) })
	}
	at, some := f.core.opening()
	switch {
	case some && !at.After(now) && !s.slotFor(f):
		if !f.starved {
			f.starved = true
			s.starved = append(s.starved, f)
		}
		some = false
	case some && !at.After(now): // all were held
		some = false
	}
	s.wakeAt(f, at, some)
	s.read(f)
}

// read has a flow that lags behind read the log, if it has room.
func (s *session) read(f *flow) {
	if f.inStep || f.catching || f.waiting || !f.active() || f.caught() {
		return
	}
	switch {
	case f.core.seen >= s.place && f.job != nil: // there is nothing to read yet
		f.waiting = true
		s.waiting = append(s.waiting, f)
	case f.core.seen >= s.place:
		s.step(f)
	case len(f.core.ready) < ahead/2:
		f.catching = true
		s.wg.Go(func() { s.catchUp(f) })
	}
}

// slotFor says whether a flow may send one more. The last quarter is for those who
// have none in flight, so that endpoints that hang can't take it all.
func (s *session) slotFor(f *flow) bool {
	return s.flying < s.cfg.Flying*3/4 || f.core.flying == 0 && s.flying < s.cfg.Flying
}

// feed lets those go on that waited for a slot, in turn, until one waits again.
func (s *session) feed() {
	for len(s.starved) > 0 && s.slotFor(s.starved[0]) {
		f := s.starved[0]
		if s.starved = s.starved[1:]; len(s.starved) == 0 {
			s.starved = nil
		}
		f.starved = false
		s.pump(f)
	}
}

func (s *session) wakeAt(f *flow, at time.Time, some bool) {
	switch {
	case !some && f.index >= 0:
		heap.Remove(&s.wakes, f.index)
	case some && f.index >= 0:
		f.wake = at
		heap.Fix(&s.wakes, f.index)
	case some:
		f.wake = at
		heap.Push(&s.wakes, f)
	}
	if some && f.index == 0 {
		select {
		case s.earlier <- struct{}{}:
		default:
		}
	}
}

// wakeHeap has the flow first that is to be looked at first.
type wakeHeap []*flow

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].wake.Before(h[j].wake) }
func (h wakeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *wakeHeap) Push(x any) {
	f := x.(*flow)
	f.index = len(*h)
	*h = append(*h, f)
}

func (h *wakeHeap) Pop() any {
	last := len(*h) - 1
	f := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	f.index = -1
	return f
}
