package webhooks

import (
	"errors"

	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
)

// Of those who read the log since they lag behind.
const (
	catchers = 4 // at a time
	// ahead is how many events one of them takes before it sends them, and how many it
	// looks at in one go. All of them should still be among the recent ones when they
	// are sent.
	ahead      = 1_000
	catchPages = 8 // then it is somebody else's turn
)

// catchUp reads the log for a flow that isn't in step, until it is, or until there is
// no room.
func (s *session) catchUp(f *flow) {
	again := s.catchTurn(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	f.catching = false
	if f.gone {
		return
	}
	s.step(f)
	if f.caught() {
		s.mark(f)
	}
	if again || f.inStep || f.caught() {
		s.pump(f)
	}
}

// catchTurn says whether there may be more to read.
func (s *session) catchTurn(f *flow) (again bool) {
	select {
	case s.catch <- struct{}{}:
		defer func() { <-s.catch }()
	case <-s.ctx.Done():
		return false
	}
	s.mu.Lock()
	after, match, behind, room := f.core.seen, f.match, f.core.seen < s.place, f.room()
	s.mu.Unlock()
	if !behind {
		return true
	}
	reader, err := s.cfg.Hub.Follow(after, match)
	if err != nil {
		return s.waits("a lagging subscription waits for the log; it is tried again", err)
	}
	defer reader.Close()
	for range catchPages {
		from := reader.Place()
		page, err := reader.Read(s.ctx, room)
		if err != nil {
			return s.waits("a lagging subscription waits for the log; it is tried again", err)
		}
		delivered, err := s.delivered(f, page)
		if err != nil {
			return s.waits("a replay waits for the journal; it is tried again", err)
		}
		if room = s.takePage(f, match, page, from, reader.Place(), delivered); room == 0 {
			return true
		}
	}
	return true
}

// room is how many events a flow takes that reads the log.
func (f *flow) room() uint64 { return uint64(max(ahead-len(f.core.ready), 0)) }

// waits makes a pause after an error, and says whether there is an after.
func (s *session) waits(why string, err error) (again bool) {
	if s.ctx.Err() != nil || errors.Is(err, fanout.ErrStopped) {
		return false
	}
	s.told(why, err)
	s.pause()
	return s.ctx.Err() == nil
}

// delivered gives those of a page that a replay of what is missing leaves out.
func (s *session) delivered(f *flow, page []*fanout.Event) (map[uint64]bool, error) {
	if f.job == nil || f.job.Mode != cursors.ReplayMissing {
		return nil, nil
	}
	var sequences []uint64
	for _, e := range page {
		if e.Sequence <= f.job.To {
			sequences = append(sequences, e.Sequence)
		}
	}
	return s.cfg.Journal.Delivered(s.ctx, f.sub.ID, sequences)
}

// takePage gives a flow what it wants of a page, which has what matches of all after
// from up to a sequence, and gives how many events it takes next, 0 if it doesn't go on.
func (s *session) takePage(f *flow, match *subscription.Matcher, page []*fanout.Event, from, to uint64, delivered map[uint64]bool) (room uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.active() || f.match != match || f.core.seen != from { // it was changed meanwhile
		return 0
	}
	defer s.pump(f)
	limit := min(to, s.place)
	if f.job != nil {
		limit = min(limit, f.job.To)
	}
	for _, e := range page {
		if e.Sequence > limit {
			break
		}
		if delivered[e.Sequence] || !s.wants(f, e) {
			continue
		}
		s.recent[e.Sequence%recents].Store(e)
		f.core.match(e.Sequence, laneKey(e))
		s.mark(f)
	}
	f.core.pass(limit)
	if f.core.seen >= s.place || f.caught() {
		return 0
	}
	return f.room()
}
