package webhooks

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

const (
	saveEvery = 250 * time.Millisecond
	// behind is how many events the saved cursor of an idle subscription may lie back.
	behind = 5_000
	// catchers is how many lagging subscriptions read the log at a time.
	catchers = 4
	recents  = 2048 // events that are held for those who send them
	retryIO  = 500 * time.Millisecond
	closing  = 5 * time.Second
)

// session is what an engine does while it holds the lease.
type session struct {
	*Engine
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	moved  chan struct{} // the first of the wakes is another
	catch  chan struct{} // slots of catchers
	recent [recents]atomic.Pointer[fanout.Event]
	reader *fanout.Follower
	saving sync.Mutex // one writes cursors at a time

	mu      sync.Mutex
	flows   map[ulid.ULID]*flow // guarded by mu; by subscription, or by job
	inStep  []*flow             // guarded by mu; they are given what the reader reads
	place   uint64              // guarded by mu; of the reader
	flying  int                 // guarded by mu
	starved []*flow             // guarded by mu; they could send if others did less
	waiting []*flow             // guarded by mu; jobs that go on when the reader does
	wakes   wakeHeap            // guarded by mu
}

// openSession takes up everything from the saved cursors.
func openSession(e *Engine) (*session, error) {
	s := &session{Engine: e, moved: make(chan struct{}, 1), catch: make(chan struct{}, catchers), flows: map[ulid.ULID]*flow{}}
	s.ctx, s.cancel = context.WithCancel(e.ctx)
	view := e.cfg.Runner.Now()
	place := view.Sequence
	for sub := range view.Subscriptions(ulid.ULID{}) {
		f, err := s.load(sub, nil)
		if err != nil {
			s.cancel()
			return nil, err
		}
		s.flows[f.id] = f
		if after := f.core.seen; after+behind >= view.Sequence {
			place = min(place, after)
		}
	}
	if err := s.loadReplays(view); err != nil {
		s.cancel()
		return nil, err
	}
	reader, err := e.cfg.Hub.Follow(place, nil)
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.reader, s.place = reader, place
	s.mu.Lock()
	for _, f := range s.flows {
		s.step(f)
		s.pump(f)
	}
	s.mu.Unlock()
	s.wg.Go(s.read)
	s.wg.Go(s.tick)
	s.wg.Go(s.save)
	return s, nil
}

// close ends everything of the session, and saves the cursors if they are still its
// own.
func (s *session) close(save bool) {
	s.mu.Lock() // so that nobody begins anything after
	s.cancel()
	s.mu.Unlock()
	s.wg.Wait()
	s.reader.Close()
	if !save {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	s.told("cursors aren't saved; what was delivered since is delivered again", s.flush(ctx, true))
}

// read gives each event to all that are in step.
func (s *session) read() {
	for s.ctx.Err() == nil {
		taken, err := s.reader.Next(s.ctx)
		switch {
		case err == nil:
		case s.ctx.Err() != nil || errors.Is(err, fanout.ErrStopped):
			return
		default:
			s.told("deliveries wait for the log; it is tried again", err)
			s.pause()
			continue
		}
		for _, e := range taken {
			s.deal(e)
		}
	}
}

// pause is before what failed is tried again.
func (s *session) pause() {
	select {
	case <-time.After(retryIO):
	case <-s.ctx.Done():
	}
}

func (s *session) deal(e *fanout.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasPrefix(e.Type, "dev.modelog.subscription.") {
		s.sync(e)
	}
	var key uint64
	known := false
	for i := 0; i < len(s.inStep); i++ {
		f := s.inStep[i]
		if e.Sequence <= f.core.seen || !f.match.Matches(e.Attributes) {
			continue
		}
		if !f.core.room() {
			f.core.pass(e.Sequence - 1)
			s.inStep[i] = s.inStep[len(s.inStep)-1]
			s.inStep = s.inStep[:len(s.inStep)-1]
			f.inStep = false
			i--
			continue
		}
		if !known {
			key, known = laneKey(e), true
			s.recent[e.Sequence%recents].Store(e)
		}
		f.core.match(e.Sequence, key)
		f.dirty = true
		s.pump(f)
	}
	s.place = e.Sequence
	waiting := s.waiting
	s.waiting = nil
	for _, f := range waiting {
		f.waiting = false
		s.pump(f)
	}
}

// named is what the engine reads of an event.
type named struct {
	Subject      string `json:"subject"`
	PartitionKey string `json:"partitionkey"`
}

func parts(e *fanout.Event) named {
	var n named
	if err := json.Unmarshal(e.JSON, &n); err != nil { // the hub has made it
		panic(fmt.Sprintf("event %d: %v", e.Sequence, err))
	}
	return n
}

// laneKey is of the ordering key. Two that are the same by chance wait for each other,
// which does no harm.
func laneKey(e *fanout.Event) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(parts(e).PartitionKey))
	return h.Sum64()
}

// sync takes up what an event changed of its subscription. It is called with the lock
// held.
func (s *session) sync(e *fanout.Event) {
	id, err := ulid.ParseStrict(strings.TrimPrefix(parts(e).Subject, "subscriptions/"))
	if err != nil {
		return
	}
	sub, _, ok := s.cfg.Runner.Now().Subscription(id)
	f := s.flows[id]
	switch {
	case !ok:
		s.forget(id)
	case f == nil:
		s.wg.Go(func() { s.add(sub) })
	default:
		for _, f := range s.of(id) {
			s.change(f, sub)
		}
	}
}

// add takes a new subscription up.
func (s *session) add(sub *projections.Subscription) {
	f, err := s.load(sub, nil)
	for ; err != nil; f, err = s.load(sub, nil) {
		s.told("deliveries of a new subscription can't begin; it is tried again", err)
		if s.pause(); s.ctx.Err() != nil {
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, _, ok := s.cfg.Runner.Now().Subscription(sub.ID)
	if !ok || s.flows[sub.ID] != nil {
		return
	}
	s.flows[f.id] = f
	f.dirty = true
	s.change(f, now) // what the reader passed meanwhile
}

// of gives the flow of a subscription, and those of its replays.
func (s *session) of(id ulid.ULID) []*flow {
	var all []*flow
	for _, f := range s.flows {
		if f.sub.ID == id {
			all = append(all, f)
		}
	}
	return all
}

// change takes the newest state of a subscription. It is called with the lock held.
func (s *session) change(f *flow, sub *projections.Subscription) {
	was := f.sub
	f.sub = sub
	match, err := subscription.For(sub)
	if err != nil {
		s.cfg.Logger.LogAttrs(s.ctx, slog.LevelError, "a subscription isn't delivered", slog.Any("error", err))
	}
	f.match, f.bad = match, err != nil
	f.core.reorder(sub.Settings.Ordering)
	if f.job == nil {
		f.core.rate = sub.Settings.Rate
	}
	switch {
	case !f.active():
		s.unstep(f)
		f.core.rewind()
		f.core.stopped = true
	case was.Status != projections.SubscriptionActive || was.Since != sub.Since:
		f.core.start()
	}
	f.dirty = true
	s.step(f)
	s.pump(f)
}

// forget drops a subscription that is gone. It is called with the lock held.
func (s *session) forget(id ulid.ULID) {
	for _, f := range s.of(id) {
		s.unstep(f)
		s.drop(f)
	}
	s.wg.Go(func() {
		s.saving.Lock()
		defer s.saving.Unlock()
		s.told("what is known of the deliveries of a subscription that is gone isn't deleted", s.cfg.Cursors.Forget(s.ctx, id))
		s.told("attempts of a subscription that is gone aren't deleted", s.cfg.Journal.Forget(s.ctx, id))
	})
}

// drop takes a flow out. What is in flight ends by itself.
func (s *session) drop(f *flow) {
	f.core.stopped, f.gone = true, true
	if f.index >= 0 {
		heap.Remove(&s.wakes, f.index)
	}
	delete(s.flows, f.id)
}

// step puts a flow in step with the reader if it is. It is called with the lock held.
func (s *session) step(f *flow) {
	if !f.inStep && f.job == nil && f.active() && f.core.seen >= s.place && !f.catching {
		f.inStep = true
		s.inStep = append(s.inStep, f)
	}
}

func (s *session) unstep(f *flow) {
	if f.inStep {
		f.core.pass(s.place)
		f.inStep = false
		s.inStep = slices.DeleteFunc(s.inStep, func(other *flow) bool { return other == f })
	}
}

// tick wakes those that have something to send by now.
func (s *session) tick() {
	for s.ctx.Err() == nil {
		s.mu.Lock()
		now := s.cfg.Now()
		for len(s.wakes) > 0 && !s.wakes[0].wake.After(now) {
			f := heap.Pop(&s.wakes).(*flow)
			s.pump(f)
		}
		wait := time.Hour
		if len(s.wakes) > 0 {
			wait = s.wakes[0].wake.Sub(now)
		}
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.moved:
		case <-s.ctx.Done():
		}
		timer.Stop()
	}
}

// save writes the cursors that have moved, now and then.
func (s *session) save() {
	ticks := time.NewTicker(saveEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-s.ctx.Done():
			return
		}
		switch err := s.flush(s.ctx, false); {
		case errors.Is(err, cursors.ErrMoved): // somebody else delivers
			s.told("another registry delivers now", err)
			s.cancel()
		case s.ctx.Err() == nil:
			s.told("cursors aren't saved; it is tried again", err)
		}
	}
}

// flush writes the cursors that have moved; of those that only passed by events, the
// ones that lie far back, or all.
func (s *session) flush(ctx context.Context, all bool) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	var moved []*flow
	for _, f := range s.flows {
		if f.inStep {
			f.core.pass(s.place)
		}
		if f.dirty || f.core.seen > f.saved+behind || all && f.core.seen > f.saved {
			moved = append(moved, f)
		}
	}
	s.mu.Unlock()
	var failed error
	for _, f := range moved {
		s.mu.Lock()
		if f.gone {
			s.mu.Unlock()
			continue
		}
		key, record, after := f.record()
		f.dirty = false
		done := f.done()
		s.mu.Unlock()
		revision, err := s.cfg.Cursors.Put(ctx, key, f.revision, record)
		s.mu.Lock()
		switch {
		case err != nil:
			f.dirty = true
			failed = err
		default:
			f.revision, f.saved = revision, after
			if done {
				s.drop(f)
			}
		}
		s.mu.Unlock()
		if errors.Is(err, cursors.ErrMoved) && !s.mine(ctx, f, key, record) {
			return err
		}
	}
	return failed
}

// mine says whether a record that was written meanwhile is what a write without an
// answer left.
func (s *session) mine(ctx context.Context, f *flow, key string, record any) bool {
	want, err := json.Marshal(record, json.Deterministic(true))
	if err != nil || f.revision == 0 {
		return false
	}
	var got cursors.Cursor
	revision, err := s.cfg.Cursors.Get(ctx, key, &got)
	if err != nil {
		return false
	}
	found, err := json.Marshal(got, json.Deterministic(true))
	if err == nil && string(found) == string(want) {
		f.revision = revision
		return true
	}
	return false
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
