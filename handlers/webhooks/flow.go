package webhooks

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// errUnrenderable says that an event has no body in a format.
var errUnrenderable = errors.New("the event can't be rendered")

// flow is the deliveries of a subscription, or one of its replays. All of it is guarded
// by the session's lock, but for revision, which whoever saves has.
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
	dirty    bool // the cursor has moved
	saved    uint64
	revision uint64
	wake     time.Time
	index    int             // in the heap of wakes, -1 if it isn't
	wanted   map[uint64]bool // by a replay of dead letters, nil for all
}

// load takes up a subscription, or a job of it.
func (s *session) load(sub *projections.Subscription, job *cursors.Replay) (*flow, error) {
	f := &flow{id: sub.ID, sub: sub, job: job, index: -1}
	c := cursors.Cursor{After: sub.After}
	rate := sub.Settings.Rate
	key := cursors.CursorKey(sub.ID)
	var into any = &c
	if job != nil {
		f.id, key, into = job.Job, cursors.ReplayKey(sub.ID, job.Job), job
	}
	revision, err := s.cfg.Cursors.Get(s.ctx, key, into)
	if err != nil && (job != nil || !errors.Is(err, cursors.ErrNone)) {
		return nil, err
	}
	if job != nil {
		c, rate = job.Cursor, job.Rate
		if job.Mode == cursors.ReplayFailed {
			dead, err := s.cfg.Cursors.Dead(s.ctx, sub.ID)
			if err != nil {
				return nil, err
			}
			f.wanted = map[uint64]bool{}
			for _, sequence := range dead {
				f.wanted[sequence] = true
			}
		}
	}
	f.revision, f.saved = revision, c.After
	f.core = newCore(sub.Settings.Ordering, rate, c)
	f.match, err = subscription.For(sub)
	if f.bad = err != nil; f.bad {
		s.cfg.Logger.LogAttrs(s.ctx, slog.LevelError, "a subscription isn't delivered", slog.Any("error", err))
	}
	f.core.stopped = !f.active()
	f.dirty = f.done() // a job that is, and doesn't say so
	return f, nil
}

func (f *flow) active() bool {
	return f.sub.Status == projections.SubscriptionActive && !f.bad && !f.gone
}

// done says whether a job has come to its end.
func (f *flow) done() bool { return f.job != nil && f.core.seen >= f.job.To && f.core.idle() }

// record gives what is saved.
func (f *flow) record() (key string, record any, after uint64) {
	c := f.core.cursor()
	if f.job == nil {
		return cursors.CursorKey(f.id), c, c.After
	}
	job := *f.job
	job.Cursor, job.Done = c, f.done()
	return cursors.ReplayKey(f.sub.ID, f.id), job, c.After
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
	if f.inStep || f.catching || f.waiting || !f.active() || f.caught() {
		return
	}
	switch {
	case f.core.seen >= s.place && f.job != nil: // there is nothing to read yet
		f.waiting = true
		s.waiting = append(s.waiting, f)
	case f.core.seen >= s.place:
		s.step(f)
	case len(f.core.ready) < maxReady/2:
		f.catching = true
		s.wg.Go(func() { s.catchUp(f) })
	}
}

// caught says whether a job needs nothing of the log any more.
func (f *flow) caught() bool { return f.job != nil && f.core.seen >= f.job.To }

// slotFor says whether a flow may send one more. The last quarter is for those who
// have none in flight, so that endpoints that hang can't take it all.
func (s *session) slotFor(f *flow) bool {
	return s.flying < s.cfg.Flying*3/4 || f.core.flying == 0 && s.flying < s.cfg.Flying
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
		case s.moved <- struct{}{}:
		default:
		}
	}
}

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
	if again || f.inStep || f.caught() {
		f.dirty = f.dirty || f.caught()
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
	after, behind := f.core.seen, f.core.seen < s.place
	s.mu.Unlock()
	if !behind {
		return true
	}
	reader, err := s.cfg.Hub.Follow(after, nil)
	if err != nil {
		return s.waits("a lagging subscription waits for the log; it is tried again", err)
	}
	defer reader.Close()
	for range 8 { // pages, then it is somebody else's turn
		page, err := reader.Next(s.ctx)
		if err != nil {
			return s.waits("a lagging subscription waits for the log; it is tried again", err)
		}
		delivered, err := s.delivered(f, page)
		if err != nil {
			return s.waits("a replay waits for the journal; it is tried again", err)
		}
		if more := s.takePage(f, page, delivered); !more {
			return true
		}
	}
	return true
}

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
	delivered := map[uint64]bool{}
	for _, e := range page {
		if e.Sequence > f.job.To || !f.match.Matches(e.Attributes) {
			continue
		}
		ok, err := s.cfg.Journal.Delivered(s.ctx, f.sub.ID, e.Sequence)
		if err != nil {
			return nil, err
		}
		delivered[e.Sequence] = ok
	}
	return delivered, nil
}

// takePage gives a flow what it wants of a page, and says whether it goes on.
func (s *session) takePage(f *flow, page []*fanout.Event, delivered map[uint64]bool) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.pump(f)
	for _, e := range page {
		if e.Sequence > s.place || f.caught() || !f.active() {
			return false
		}
		if e.Sequence <= f.core.seen {
			continue
		}
		if e.Sequence != f.core.seen+1 { // it was rewound meanwhile
			return false
		}
		wanted := f.match.Matches(e.Attributes) && !delivered[e.Sequence] && (f.wanted == nil || f.wanted[e.Sequence])
		switch {
		case !wanted:
			f.core.pass(e.Sequence)
		case !f.core.room():
			return false
		default:
			s.recent[e.Sequence%recents].Store(e)
			f.core.match(e.Sequence, laneKey(e))
			f.dirty = true
		}
	}
	return f.core.seen < s.place
}

// deliver makes one attempt.
func (s *session) deliver(f *flow, sub *projections.Subscription, it item) {
	started := s.cfg.Now()
	a := &attempts.Attempt{Subscription: sub.ID, Sequence: it.sequence, Number: it.attempts + 1, StartedAt: started.UTC().Truncate(time.Millisecond)}
	r, err := s.request(f, sub, it.sequence, started)
	var res Result
	if err == nil {
		res = s.cfg.Sender.Send(s.ctx, r)
	}
	unsendable := errors.Is(err, errUnrenderable)
	if unsendable {
		s.told("an event is given up", err)
		res.Class, res.Body, err = attempts.ClassUnrenderable, []byte(err.Error()), nil
	}
	o := outcome{
		ok: err == nil && res.Status >= 200 && res.Status < 300 && !res.Ours, ours: err != nil || res.Ours, unsendable: unsendable,
		gone: res.Status == http.StatusGone, retryAfter: res.RetryAfter,
		slow: res.Status == http.StatusTooManyRequests || res.Status == http.StatusServiceUnavailable,
	}
	if s.ctx.Err() != nil && res.Status == 0 && !unsendable {
		o.ours = true
	}
	if !o.ok && !o.ours && (unsendable || it.last()) { // the pointer stands before the cursor moves on
		dead := cursors.DeadLetter{Sequence: it.sequence, AtMilli: started.UnixMilli(), Status: res.Status, Class: res.Class}
		if err = s.bury(sub.ID, dead); err != nil {
			o.ours = true
		}
	}
	if err != nil && s.ctx.Err() == nil {
		s.told("a delivery waits; it is tried again", err)
	}
	v := s.finish(f, it, o)
	if o.ours {
		return
	}
	a.Milliseconds, a.Status, a.Class, a.Body = float64(res.Duration)/float64(time.Millisecond), res.Status, res.Class, string(res.Body)
	a.NextAt, a.Dead = v.next, v.dead
	if f.job != nil {
		a.Replay = f.id
	}
	s.metrics.attempted(a)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), closing)
	defer cancel()
	s.told("an attempt isn't recorded", s.cfg.Journal.Record(ctx, a))
	if o.ok && f.job != nil {
		s.told("a dead letter that was delivered stays listed", s.cfg.Cursors.Delete(ctx, cursors.DeadKey(sub.ID, it.sequence)))
	}
}

// bury writes a dead letter down; one that is there already stays.
func (s *session) bury(sub ulid.ULID, dead cursors.DeadLetter) error {
	_, err := s.cfg.Cursors.Put(s.ctx, cursors.DeadKey(sub, dead.Sequence), 0, dead)
	if errors.Is(err, cursors.ErrMoved) {
		return nil
	}
	return err
}

// finish takes what became of an attempt, and lets others go on.
func (s *session) finish(f *flow, it item, o outcome) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := f.core.result(s.cfg.Now(), it.sequence, o, s.cfg.Jitter())
	s.flying--
	f.dirty = f.dirty || !o.ours
	if o.ok && f.job != nil {
		f.job.Sent++
	}
	if v.disable != "" {
		d := Disabling{Subscription: f.sub.ID, Cause: v.disable, Since: f.sub.Since}
		if v.disable == events.CauseFailing {
			d.FailingSince = f.core.failing
		}
		s.wg.Go(func() { s.disable(d) })
	}
	s.pump(f)
	if len(s.starved) > 0 && s.flying < s.cfg.Flying {
		waiting := s.starved
		s.starved = nil
		for _, other := range waiting {
			other.starved = false
			s.pump(other)
		}
	}
	return v
}

// disable asks until it is so.
func (s *session) disable(d Disabling) {
	for s.ctx.Err() == nil {
		err := s.cfg.Disable(s.ctx, d)
		if err == nil {
			return
		}
		s.told("a subscription can't be disabled; it is tried again", err)
		s.pause()
	}
}

// request makes what is sent.
func (s *session) request(f *flow, sub *projections.Subscription, sequence uint64, now time.Time) (Request, error) {
	body, contentType, err := s.body(sub.Settings.Format, sequence)
	if err != nil {
		return Request{}, err
	}
	endpoint, err := s.cfg.Vault.Get(s.ctx, sub.Settings.CredentialID)
	if err != nil {
		return Request{}, fmt.Errorf("endpoint of subscription %s: %w", sub.ID, err)
	}
	r := Request{
		ID: fmt.Sprintf("evt_%020d", sequence), Time: now, Endpoint: endpoint, Body: body, ContentType: contentType,
		Signature: sub.Settings.Signature, Format: sub.Settings.Format,
	}
	if f.job != nil {
		r.Header = http.Header{"Webhook-Replay": {f.id.String()}}
	}
	return r, nil
}

func (s *session) body(format events.DeliveryFormat, sequence uint64) (body []byte, contentType string, err error) {
	plain := s.cfg.Render == nil || format == events.FormatCloudEvents
	if e := s.recent[sequence%recents].Load(); e != nil && e.Sequence == sequence && plain {
		return e.JSON, "application/cloudevents+json", nil
	}
	stored, err := s.cfg.Log.Get(s.ctx, sequence)
	if err != nil {
		return nil, "", err
	}
	e, err := events.Decode(stored)
	if err != nil {
		return nil, "", err
	}
	structured, err := events.AppendEvent(nil, e)
	if err != nil || plain {
		return structured, "application/cloudevents+json", err
	}
	if body, contentType, err = s.cfg.Render(format, e, structured); err != nil {
		return nil, "", fmt.Errorf("%w: event %d as %s: %w", errUnrenderable, sequence, format, err)
	}
	return body, contentType, nil
}
