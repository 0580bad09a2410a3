package webhooks

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
)

// Limits of one subscription.
const (
	maxReady = 10_000 // beyond, the subscription lags: it reads the log itself when there is room
	// maxUnsettled bounds what is due, held or in flight, and with it the cursor's
	// record. Nothing new is begun beyond.
	maxUnsettled = 2_000
	maxFlying    = 16
	rateBurst    = 100 * time.Millisecond // what a rate may be ahead
)

// Of failing endpoints.
const (
	breakerFailures = 5 // in a row open the breaker
	breakerFirst    = 30 * time.Second
	breakerMost     = 10 * time.Minute
	maxRetryAfter   = 24 * time.Hour
	disableAfter    = 5 * 24 * time.Hour // of nothing but failures
	ownFirst        = time.Second        // pause after what was modelog's own fault
	ownMost         = time.Minute
)

// schedule says how long after the attempt before each attempt is made.
var schedule = [...]time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// item is a wanted event that isn't settled.
type item struct {
	sequence uint64
	lane     uint64
	attempts int // that have failed
	due      time.Time
	flying   bool
	probe    bool // of an open breaker
}

// ready is an item before anything happened to it.
type ready struct{ sequence, lane uint64 }

type lane struct {
	begun int     // items due or in flight, at most one unless the ordering was changed
	held  []*item // in order
}

// core is the state machine of one subscription; see the package's comment. Times are
// given to it, and never go back. It is for one goroutine.
type core struct {
	ordering events.DeliveryOrdering
	rate     int
	pace     *Pace
	stopped  bool // nothing is sent

	seen  uint64  // everything up to here was matched
	ready []ready // in order, above all that is begun or held

	begun  map[uint64]*item // due or in flight
	due    dueHeap          // of those begun, the ones not in flight
	lanes  map[uint64]*lane // that have a begun item; empty for OrderNone
	held   int
	flying int
	window int // how many may be in flight now

	failures  int       // in a row
	open      time.Time // until when the breaker is open; a probe may be sent then; zero if closed
	openFor   time.Duration
	probing   bool
	failing   time.Time // when the first failure since the last success was
	waitUntil time.Time // asked for by the endpoint
	slot      time.Time // when the next delivery is due by the rate
	own       time.Time // when to go on after a fault of modelog's own
	ownFor    time.Duration
	dead      uint64
	retrying  int // items that have failed
}

// newCore gives the core as of a cursor.
func newCore(ordering events.DeliveryOrdering, rate int, c cursors.Cursor) core {
	k := core{ordering: ordering, rate: rate, seen: c.After, window: 1, dead: c.Dead}
	if c.FailingMilli != 0 {
		k.failing = time.UnixMilli(c.FailingMilli)
	}
	for _, p := range c.Pending {
		it := &item{sequence: p.Sequence, lane: p.Lane, attempts: p.Attempt}
		if p.DueMilli != 0 {
			it.due = time.UnixMilli(p.DueMilli)
		}
		if it.attempts > 0 {
			k.retrying++
		}
		k.begin(it)
	}
	return k
}

// after is the cursor's: everything up to it is settled, or pending.
func (k *core) after() uint64 {
	if len(k.ready) > 0 {
		return k.ready[0].sequence - 1
	}
	return k.seen
}

// cursor gives the cursor as of now.
func (k *core) cursor() cursors.Cursor {
	c := cursors.Cursor{After: k.after(), Dead: k.dead}
	if !k.failing.IsZero() {
		c.FailingMilli = k.failing.UnixMilli()
	}
	for _, it := range k.unsettled() {
		p := cursors.Pending{Sequence: it.sequence, Lane: it.lane, Attempt: it.attempts}
		if !it.due.IsZero() {
			p.DueMilli = it.due.UnixMilli()
		}
		c.Pending = append(c.Pending, p)
	}
	return c
}

// unsettled gives what is begun or held, in order.
func (k *core) unsettled() []*item {
	var all []*item
	for _, it := range k.begun {
		all = append(all, it)
	}
	for _, l := range k.lanes {
		all = append(all, l.held...)
	}
	slices.SortFunc(all, func(a, b *item) int { return cmp.Compare(a.sequence, b.sequence) })
	return all
}

// reorder takes another ordering. What is in flight stays there.
func (k *core) reorder(ordering events.DeliveryOrdering) {
	if ordering == k.ordering {
		return
	}
	all := k.unsettled()
	slices.SortStableFunc(all, func(a, b *item) int { // those in flight have begun
		switch {
		case a.flying == b.flying:
			return 0
		case a.flying:
			return -1
		}
		return 1
	})
	k.ordering, k.begun, k.due, k.lanes, k.held = ordering, nil, nil, nil, 0
	for _, it := range all {
		k.begin(it)
	}
}

// room says whether more may become ready.
func (k *core) room() bool { return len(k.ready) < maxReady }

// match takes a wanted event, which is above all that was seen.
func (k *core) match(sequence, lane uint64) {
	k.ready = append(k.ready, ready{sequence, lane})
	k.seen = sequence
}

// pass says that all other events up to a sequence aren't wanted.
func (k *core) pass(sequence uint64) { k.seen = max(k.seen, sequence) }

// rewind forgets what is ready, so that it is matched again.
func (k *core) rewind() {
	if len(k.ready) > 0 {
		k.seen, k.ready = k.ready[0].sequence-1, nil
	}
}

// idle says whether nothing is unsettled.
func (k *core) idle() bool { return len(k.ready) == 0 && len(k.begun) == 0 && k.held == 0 }

// laneOf gives the lane of an item, false for none.
func (k *core) laneOf(of uint64) (uint64, bool) {
	if k.ordering == events.OrderStrict {
		return 0, true
	}
	return of, k.ordering == events.OrderByKey
}

// begin makes an item due, or holds it behind its lane.
func (k *core) begin(it *item) {
	if id, ok := k.laneOf(it.lane); ok {
		l := k.lanes[id]
		if l == nil {
			if k.lanes == nil {
				k.lanes = map[uint64]*lane{}
			}
			l = &lane{}
			k.lanes[id] = l
		}
		if l.begun > 0 && !it.flying {
			l.held = append(l.held, it)
			k.held++
			return
		}
		l.begun++
	}
	if k.begun == nil {
		k.begun = map[uint64]*item{}
	}
	k.begun[it.sequence] = it
	if !it.flying {
		heap.Push(&k.due, it)
	}
}

// opening says when something may be sent, and whether anything is to be.
func (k *core) opening() (at time.Time, some bool) {
	limit := min(k.window, maxFlying)
	if k.ordering == events.OrderStrict {
		limit = 1
	}
	if k.stopped || k.flying >= limit || k.probing {
		return at, false
	}
	switch {
	case k.fresh():
	case len(k.due) > 0:
		at = k.due[0].due
	default:
		return at, false
	}
	for _, t := range [...]time.Time{k.waitUntil, k.open, k.own} {
		if at.Before(t) {
			at = t
		}
	}
	if k.rate > 0 && at.Before(k.slot.Add(-rateBurst)) {
		at = k.slot.Add(-rateBurst)
	}
	return at, true
}

// fresh says whether one of those that are ready may be begun.
func (k *core) fresh() bool {
	if len(k.ready) == 0 || len(k.begun)+k.held >= maxUnsettled {
		return false
	}
	return k.ordering != events.OrderStrict || len(k.begun) == 0
}

// next gives what is to be sent now, if anything is, and takes it to be in flight.
func (k *core) next(now time.Time) (it item, ok bool) {
	if at, some := k.opening(); !some || at.After(now) {
		return item{}, false
	}
	for (len(k.due) == 0 || k.due[0].due.After(now)) && k.fresh() {
		first := k.ready[0]
		if k.ready = k.ready[1:]; len(k.ready) == 0 {
			k.ready = nil
		}
		k.begin(&item{sequence: first.sequence, lane: first.lane})
	}
	if len(k.due) == 0 || k.due[0].due.After(now) {
		return item{}, false
	}
	sent := heap.Pop(&k.due).(*item)
	sent.flying = true
	k.flying++
	if !k.open.IsZero() {
		sent.probe, k.probing = true, true
	}
	if k.rate > 0 {
		if k.slot.Before(now) {
			k.slot = now
		}
		k.slot = k.slot.Add(time.Second / time.Duration(k.rate))
	}
	return *sent, true
}

// outcome is what became of an attempt.
type outcome struct {
	ok         bool
	ours       bool // modelog's own fault: no attempt
	nothing    bool // there was nothing to tell: no attempt, and it is settled
	unsendable bool // it never can be, which says nothing of the endpoint
	gone       bool // 410
	slow       bool // the endpoint asks for less: retryAfter is good for everything
	retryAfter time.Duration
}

// verdict is what follows from an attempt.
type verdict struct {
	settled bool
	dead    bool
	next    time.Time // of the next attempt
	paused  bool      // a pause after a fault of modelog's own begins
	disable events.DisableCause
}

// result takes the outcome of what was in flight. jitter is from 0 to 1.
func (k *core) result(now time.Time, sequence uint64, o outcome, jitter float64) verdict {
	it := k.begun[sequence]
	if it == nil || !it.flying {
		return verdict{}
	}
	k.flying--
	it.flying = false
	probe := it.probe
	if it.probe = false; probe {
		k.probing = false
	}
	switch {
	case o.nothing:
		return k.settle(it)
	case o.ours:
		paused := !now.Before(k.own)
		if paused {
			k.ownFor = min(max(2*k.ownFor, ownFirst), ownMost)
			k.own = now.Add(k.ownFor)
		}
		v := k.again(it, k.own)
		v.paused = paused
		return v
	case o.unsendable:
		v := k.settle(it)
		v.dead = true
		k.dead++
		return v
	}
	k.own, k.ownFor = time.Time{}, 0
	if o.ok {
		k.failures, k.open, k.openFor, k.failing = 0, time.Time{}, 0, time.Time{}
		k.window = min(k.window+1, maxFlying)
		return k.settle(it)
	}
	k.fail(now, probe)
	if it.attempts == 0 {
		k.retrying++
	}
	if o.slow && o.retryAfter > 0 {
		k.waitUntil = now.Add(min(o.retryAfter, maxRetryAfter))
	}
	var v verdict
	last := k.pace.last(it.attempts)
	if it.attempts++; last {
		v = k.settle(it)
		v.dead = true
		k.dead++
	} else {
		delay := time.Duration(float64(k.pace.schedule()[it.attempts]) * (0.8 + 0.4*jitter))
		v = k.again(it, now.Add(max(delay, min(o.retryAfter, maxRetryAfter))))
	}
	switch {
	case o.gone:
		v.disable, k.stopped = events.CauseGone, true
	case now.Sub(k.failing) >= disableAfter:
		v.disable, k.stopped = events.CauseFailing, true
	}
	return v
}

// fail counts a failure for the breaker. Those that were in flight when it opened
// don't open it for longer.
func (k *core) fail(now time.Time, probe bool) {
	k.failures++
	k.window = 1
	if k.failing.IsZero() {
		k.failing = now
	}
	if probe || k.open.IsZero() && k.failures >= breakerFailures {
		k.openFor = min(max(2*k.openFor, k.pace.breaker()), breakerMost)
		k.open = now.Add(k.openFor)
	}
}

// again makes an item due at a time. If others of its lane come before it, which is so
// when it was in flight while the ordering was changed, it is held behind them.
func (k *core) again(it *item, at time.Time) verdict {
	it.due = at
	v := verdict{next: at}
	id, ok := k.laneOf(it.lane)
	if l := k.lanes[id]; ok && (l.begun > 1 || len(l.held) > 0 && l.held[0].sequence < it.sequence) {
		delete(k.begun, it.sequence)
		i, _ := slices.BinarySearchFunc(l.held, it.sequence, func(held *item, sequence uint64) int { return cmp.Compare(held.sequence, sequence) })
		l.held = slices.Insert(l.held, i, it)
		k.held++
		k.leave(id, l)
		return v
	}
	heap.Push(&k.due, it)
	return v
}

// settle lets the lane of an item go on.
func (k *core) settle(it *item) verdict {
	delete(k.begun, it.sequence)
	if it.attempts > 0 {
		k.retrying--
	}
	if len(k.begun) == 0 {
		k.begun = nil
	}
	if id, ok := k.laneOf(it.lane); ok {
		k.leave(id, k.lanes[id])
	}
	return verdict{settled: true}
}

// leave says that an item of a lane isn't begun any more: the first of those that were
// held is next.
func (k *core) leave(id uint64, l *lane) {
	l.begun--
	switch {
	case l.begun > 0:
	case len(l.held) == 0:
		if delete(k.lanes, id); len(k.lanes) == 0 {
			k.lanes = nil
		}
	default:
		first := l.held[0]
		l.held = l.held[1:]
		k.held--
		k.begin(first)
	}
}

// start lets deliveries go on after they were stopped, with all forgiven: what waits
// for another attempt needn't wait any longer.
func (k *core) start() {
	k.stopped, k.failures, k.open, k.openFor, k.failing, k.waitUntil = false, 0, time.Time{}, 0, time.Time{}, time.Time{}
	k.own, k.ownFor = time.Time{}, 0
	for _, it := range k.due {
		it.due = time.Time{}
	}
	heap.Init(&k.due)
	for _, l := range k.lanes {
		for _, it := range l.held {
			it.due = time.Time{}
		}
	}
}

// dueHeap has the earliest first, and of the same time the lowest sequence.
type dueHeap []*item

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if c := h[i].due.Compare(h[j].due); c != 0 {
		return c < 0
	}
	return h[i].sequence < h[j].sequence
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(*item)) }
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	if *h = (*h)[:last]; last == 0 {
		*h = nil
	}
	return it
}
