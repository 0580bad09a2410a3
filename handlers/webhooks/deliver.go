package webhooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections"
)

// errUnrenderable says that an event has no body in a format.
var errUnrenderable = errors.New("the event can't be rendered")

// bookers is how many attempts are written down at a time.
const bookers = 256

// turns is how many deliveries are made at a time by those whose endpoints answer at
// once: with a thousand of them a request to the registry would wait for all. Whoever
// takes longer than a turn lasts waits for the network, and lets another in.
const (
	turns    = 32
	turnMost = 20 * time.Millisecond
)

// turn waits for a turn; end gives it back.
func (s *session) turn() (end func()) {
	select {
	case s.turns <- struct{}{}:
	case <-s.ctx.Done():
		return func() {}
	}
	var once sync.Once
	release := func() { once.Do(func() { <-s.turns }) }
	timer := time.AfterFunc(turnMost, release)
	return func() {
		timer.Stop()
		release()
	}
}

// deliver makes one attempt.
func (s *session) deliver(f *flow, sub *projections.Subscription, it item) {
	end := s.turn()
	defer end()
	started := s.cfg.Now()
	requests, err := s.requests(f, sub, it.sequence, started)
	if err == nil && len(requests) == 0 {
		s.finish(f, it, outcome{nothing: true})
		return
	}
	var res Result
	if err == nil {
		res = s.send(requests)
	}
	end()
	o, err := s.judge(&res, err)
	if !o.ok && !o.ours && (o.unsendable || s.cfg.Pace.last(it.attempts)) { // the pointer stands before the cursor moves on
		dead := cursors.DeadLetter{Sequence: it.sequence, AtMilli: started.UnixMilli(), Status: res.Status, Class: res.Class}
		if err = s.bury(sub, dead); err != nil {
			o.ours = true
		}
	}
	s.books <- struct{}{} // whoever writes too slowly holds up what is sent next
	defer func() { <-s.books }()
	v := s.finish(f, it, o)
	if o.ours {
		if v.paused && s.ctx.Err() == nil {
			s.told("deliveries of a subscription wait; they are tried again", err)
		}
		return
	}
	a := &attempts.Attempt{
		Subscription: sub.ID, Sequence: it.sequence, Number: it.attempts + 1, StartedAt: started.UTC().Truncate(time.Millisecond),
		Milliseconds: float64(res.Duration) / float64(time.Millisecond), Status: res.Status, Class: res.Class, Body: string(res.Body),
		NextAt: v.next, Dead: v.dead,
	}
	if f.job != nil {
		a.Replay = f.id
	}
	s.book(a)
}

// judge gives the outcome of an attempt, and why it is modelog's own fault if it is.
func (s *session) judge(res *Result, err error) (outcome, error) {
	if errors.Is(err, errUnrenderable) {
		s.told("an event is given up", err)
		res.Class, res.Body = attempts.ClassUnrenderable, []byte(err.Error())
		return outcome{unsendable: true}, nil
	}
	if err == nil && res.Ours {
		err = errOurs
	}
	if err != nil || s.ctx.Err() != nil && res.Status == 0 {
		return outcome{ours: true}, err
	}
	return outcome{
		ok: res.Status >= 200 && res.Status < 300, gone: res.Status == http.StatusGone, retryAfter: res.RetryAfter,
		slow: res.Status == http.StatusTooManyRequests || res.Status == http.StatusServiceUnavailable,
	}, nil
}

var errOurs = errors.New("nothing can be sent from here")

// book writes an attempt down, in the end too.
func (s *session) book(a *attempts.Attempt) {
	s.metrics.attempted(a)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), closing)
	defer cancel()
	s.told("an attempt isn't recorded", s.cfg.Journal.Record(ctx, a))
	if !a.Replay.IsZero() && a.Class == attempts.ClassOK {
		s.told("a dead letter that was delivered stays listed", s.cfg.Cursors.Delete(ctx, cursors.DeadKey(a.Subscription, a.Sequence)))
	}
}

// send sends the requests of an event in turn. What became of the first that failed, or
// else of the last, is what became of the attempt.
func (s *session) send(requests []Request) (res Result) {
	var took time.Duration
	for _, r := range requests {
		res = s.cfg.Sender.Send(s.ctx, r)
		took += res.Duration
		if res.Ours || res.Status < 200 || res.Status > 299 {
			break
		}
	}
	res.Duration = took
	return res
}

// bury writes a dead letter down; one that is there already stays.
func (s *session) bury(sub *projections.Subscription, dead cursors.DeadLetter) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), closing)
	defer cancel()
	_, err := s.cfg.Cursors.Put(ctx, cursors.DeadKey(sub.ID, dead.Sequence), 0, dead)
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
	if !o.ours {
		s.mark(f)
	}
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
	s.feed()
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

// requests makes what is sent, none if there is nothing to tell.
func (s *session) requests(f *flow, sub *projections.Subscription, sequence uint64, now time.Time) ([]Request, error) {
	bodies, contentType, err := s.bodies(&sub.Settings, sequence)
	if err != nil || len(bodies) == 0 {
		return nil, err
	}
	endpoint, err := s.endpoint(sub)
	if err != nil {
		return nil, err
	}
	var header http.Header
	if f.job != nil {
		header = http.Header{"Webhook-Replay": {f.id.String()}}
	}
	requests := make([]Request, len(bodies))
	for i, body := range bodies {
		id := fmt.Sprintf("evt_%020d", sequence)
		if i > 0 {
			id = fmt.Sprintf("%s-%d", id, i+1)
		}
		requests[i] = Request{
			ID: id, Time: now, Endpoint: endpoint, Body: body, ContentType: contentType, Header: header,
			Signature: sub.Settings.Signature, Format: sub.Settings.Format,
		}
	}
	return requests, nil
}

// endpoint gives where a subscription is delivered to. If that is erased since there is
// another by now, it is the other.
func (s *session) endpoint(sub *projections.Subscription) (vault.Endpoint, error) {
	id := sub.Settings.CredentialID
	endpoint, err := s.cfg.Vault.Get(s.ctx, id)
	if errors.Is(err, vault.ErrUnknown) {
		if now, _, ok := s.cfg.Runner.Now().Subscription(sub.ID); ok && now.Settings.CredentialID != id {
			endpoint, err = s.cfg.Vault.Get(s.ctx, now.Settings.CredentialID)
		}
	}
	if err != nil {
		return endpoint, fmt.Errorf("endpoint of subscription %s: %w", sub.ID, err)
	}
	return endpoint, nil
}

func (s *session) bodies(settings *events.SubscriptionSettings, sequence uint64) (bodies [][]byte, contentType string, err error) {
	plain := s.cfg.Render == nil || settings.Format == events.FormatCloudEvents
	if e := s.recent[sequence%recents].Load(); e != nil && e.Sequence == sequence && plain {
		return [][]byte{e.JSON}, "application/cloudevents+json", nil
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
		return [][]byte{structured}, "application/cloudevents+json", err
	}
	if bodies, contentType, err = s.cfg.Render(settings, e, structured); err != nil {
		return nil, "", fmt.Errorf("%w: event %d as %s: %w", errUnrenderable, sequence, settings.Format, err)
	}
	return bodies, contentType, nil
}
