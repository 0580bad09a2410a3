package webhooks

import (
	"container/heap"
	"context"
	"errors"
	"hash/fnv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

const (
	recents = 2048 // events that are held for those who send them
	retryIO = 500 * time.Millisecond
	closing = 2 * time.Second // for what is written down in the end
)

// session is what an engine does while it holds the lease.
type session struct {
	*Engine
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	earlier chan struct{} // the first of the wakes is another
	catch   chan struct{} // slots of catchers
	books   chan struct{} // slots of bookers
	turns   chan struct{} // slots of deliveries that are being made
	recent  [recents]atomic.Pointer[fanout.Event]
	reader  *fanout.Follower
	saving  sync.Mutex // one writes cursors at a time
	taking  sync.Mutex // one takes up replays at a time

	mu      sync.Mutex
	flows   map[ulid.ULID]*flow // guarded by mu; by subscription
	jobs    map[ulid.ULID]*flow // guarded by mu
	inStep  index               // guarded by mu; they are given what the reader reads
	place   uint64              // guarded by mu; of the reader
	flying  int                 // guarded by mu
	starved []*flow             // guarded by mu; they could send if others did less
	waiting []*flow             // guarded by mu; jobs that go on when the reader does
	wakes   wakeHeap            // guarded by mu
	dirty   []*flow             // guarded by mu; their cursors have moved
	swept   uint64              // guarded by mu; the place at which all flows were looked at
}

// openSession takes up everything from the saved cursors.
func openSession(e *Engine) (*session, error) {
	s := &session{
		Engine: e, flows: map[ulid.ULID]*flow{}, jobs: map[ulid.ULID]*flow{},
		earlier: make(chan struct{}, 1), catch: make(chan struct{}, catchers), books: make(chan struct{}, bookers), turns: make(chan struct{}, turns),
	}
	s.ctx, s.cancel = context.WithCancel(e.ctx)
	if err := s.open(); err != nil {
		s.cancel()
		return nil, err
	}
	return s, nil
}

func (s *session) open() error {
	view := s.cfg.Runner.Now()
	place, err := s.load(view)
	if err != nil {
		return err
	}
	seen, err := s.loadReplays(view)
	if err != nil {
		return err
	}
	if s.reader, err = s.cfg.Hub.Follow(place, nil); err != nil {
		return err
	}
	s.mu.Lock()
	s.place, s.swept = place, place
	for _, all := range []map[ulid.ULID]*flow{s.flows, s.jobs} {
		for _, f := range all {
			if f.revision == 0 || f.done() {
				s.mark(f)
			}
			s.step(f)
			s.pump(f)
		}
	}
	s.mu.Unlock()
	s.wg.Go(s.follow)
	s.wg.Go(s.tick)
	s.wg.Go(s.save)
	s.wg.Go(func() { s.watchReplays(seen) })
	s.wg.Go(s.forgetLeftovers)
	return nil
}

// load takes up all subscriptions, and gives the place from which they are read. What
// lies further back than that catches up by itself.
func (s *session) load(view projections.View) (place uint64, err error) {
	saved := map[string]cursors.Stored{}
	for r, err := range s.cfg.Cursors.Records(s.ctx, cursors.CursorsBelow, 0) {
		if err != nil {
			return 0, err
		}
		saved[r.Key] = r
	}
	place = view.Sequence
	for sub := range view.Subscriptions(ulid.ULID{}) {
		if !delivers(sub) {
			continue
		}
		c := cursors.Cursor{After: sub.After}
		r, ok := saved[cursors.CursorKey(sub.ID)]
		if ok {
			if err := json.Unmarshal(r.Data, &c); err != nil {
				return 0, err
			}
		}
		f := s.newFlow(sub, nil, c, r.Revision)
		s.flows[f.id] = f
		if f.active() && c.After+behind >= view.Sequence {
			place = min(place, c.After)
		}
	}
	return place, nil
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

// follow gives each event to all that are in step.
func (s *session) follow() {
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
			for s.deal(e) != nil && s.ctx.Err() == nil { // it is never skipped
				s.pause()
			}
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

// deal gives an event to those in step that want it. It fails on one that can't be read.
func (s *session) deal(e *fanout.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ours := strings.HasPrefix(e.Type, "dev.modelog.subscription.")
	if ours || s.inStep.mayWant(e.Type) {
		if err := e.Show(); err != nil {
			s.told("deliveries stand still at an event that can't be read", err)
			return err
		}
		if ours {
			s.sync(e)
		}
		s.match(e)
	}
	s.place = e.Sequence
	waiting := s.waiting
	s.waiting = nil
	for _, f := range waiting {
		f.waiting = false
		s.pump(f)
	}
	return nil
}

// match is called with the lock held.
func (s *session) match(e *fanout.Event) {
	var key uint64
	known := false
	var full []*flow
	s.inStep.each(e.Attributes, func(f *flow) {
		switch {
		case e.Sequence <= f.core.seen || !s.wants(f, e):
			return
		case !f.core.room():
			full = append(full, f)
			return
		case !known:
			key, known = laneKey(e), true
			s.recent[e.Sequence%recents].Store(e)
		}
		f.core.match(e.Sequence, key)
		s.mark(f)
		s.pump(f)
	})
	for _, f := range full { // they read on by themselves when there is room
		f.core.pass(e.Sequence - 1)
		f.inStep = false
		s.inStep.remove(f)
	}
}

// laneKey is of the ordering key. Two that are the same by chance wait for each other,
// which does no harm.
func laneKey(e *fanout.Event) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(e.Attributes.Value("partitionkey")))
	return h.Sum64()
}

// sync takes up what an event changed of its subscription. It is called with the lock
// held.
func (s *session) sync(e *fanout.Event) {
	id, err := ulid.ParseStrict(strings.TrimPrefix(e.Attributes.Value("subject"), "subscriptions/"))
	if err != nil {
		return
	}
	sub, _, ok := s.cfg.Runner.Now().Subscription(id)
	switch {
	case !ok:
		s.forget(id)
	case !delivers(sub):
	case s.flows[id] == nil:
		s.wg.Go(func() { s.add(sub) })
	default:
		for _, f := range s.of(id) {
			s.change(f, sub)
		}
	}
}

// add takes a new subscription up.
func (s *session) add(sub *projections.Subscription) {
	var c cursors.Cursor
	revision, err := s.cfg.Cursors.Get(s.ctx, cursors.CursorKey(sub.ID), &c)
	for ; err != nil && !errors.Is(err, cursors.ErrNone); revision, err = s.cfg.Cursors.Get(s.ctx, cursors.CursorKey(sub.ID), &c) {
		s.told("deliveries of a new subscription can't begin; it is tried again", err)
		if s.pause(); s.ctx.Err() != nil {
			return
		}
	}
	if err != nil {
		c = cursors.Cursor{After: sub.After}
	}
	f := s.newFlow(sub, nil, c, revision)
	s.mu.Lock()
	defer s.mu.Unlock()
	now, _, ok := s.cfg.Runner.Now().Subscription(sub.ID)
	if !ok || s.flows[sub.ID] != nil {
		return
	}
	s.flows[f.id] = f
	s.change(f, now) // what the reader passed meanwhile
}

// of gives the flow of a subscription, and those of its replays.
func (s *session) of(id ulid.ULID) []*flow {
	var all []*flow
	if f := s.flows[id]; f != nil {
		all = append(all, f)
	}
	for _, f := range s.jobs {
		if f.sub.ID == id {
			all = append(all, f)
		}
	}
	return all
}

// change takes the newest state of a subscription. It is called with the lock held.
func (s *session) change(f *flow, sub *projections.Subscription) {
	s.unstep(f)
	was := f.sub
	f.sub = sub
	s.compile(f)
	f.core.reorder(sub.Settings.Ordering)
	if f.job == nil {
		f.core.rate = sub.Settings.Rate
	}
	switch {
	case !f.active():
		f.core.rewind()
		f.core.stopped = true
	case was.Status != projections.SubscriptionActive || was.Since != sub.Since:
		f.core.start()
	}
	s.mark(f)
	s.step(f)
	s.pump(f)
}

// drop takes a flow out. What is in flight ends by itself. It is called with the lock
// held.
func (s *session) drop(f *flow) {
	if f.gone {
		return
	}
	s.unstep(f)
	f.core.stopped, f.gone = true, true
	if f.index >= 0 {
		heap.Remove(&s.wakes, f.index)
	}
	if f.job != nil {
		delete(s.jobs, f.id)
	} else {
		delete(s.flows, f.id)
	}
}

// step puts a flow in step with the reader if it is. It is called with the lock held.
func (s *session) step(f *flow) {
	if !f.inStep && f.job == nil && f.active() && f.core.seen >= s.place && !f.catching {
		f.inStep = true
		s.inStep.add(f)
	}
}

func (s *session) unstep(f *flow) {
	if f.inStep {
		f.core.pass(s.place)
		f.inStep = false
		s.inStep.remove(f)
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
		case <-s.earlier:
		case <-s.ctx.Done():
		}
		timer.Stop()
	}
}
