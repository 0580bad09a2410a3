package webhooks

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
)

// Request is one delivery to an endpoint.
type Request struct {
	ID          string // the same in every attempt
	Time        time.Time
	Endpoint    vault.Endpoint
	Body        []byte
	ContentType string
	Header      http.Header // further ones
	Signature   events.SignatureScheme
	Format      events.DeliveryFormat // MLflow's is signed in its own way too
}

// Result is what became of a request.
type Result struct {
	Status     int    // of HTTP, 0 without an answer
	Class      string // attempts.ClassOK, or what went wrong
	Duration   time.Duration
	Body       []byte // the beginning of the answer's
	RetryAfter time.Duration
	Ours       bool // modelog's own fault, or its shutdown
}

// Exchange is a request and all that came back, for people to look at. The headers
// that may be secrets are left out of what was sent.
type Exchange struct {
	Sent   http.Header
	Got    http.Header // of the answer, nil without one
	Result Result
}

// Disabling asks to disable a subscription.
type Disabling struct {
	Subscription ulid.ULID
	Cause        events.DisableCause
	FailingSince time.Time
	Since        uint64 // sequence of the event that made it active
}

// Config is what an engine needs.
type Config struct {
	Hub    *fanout.Hub
	Runner *runner.Runner
	Log    events.Log
	Vault  interface {
		Get(ctx context.Context, id ulid.ULID) (vault.Endpoint, error)
	}
	Sender interface {
		Send(ctx context.Context, r Request) Result
	}
	// Render writes an event, of which structured is the CloudEvent, as a subscription
	// wants it: a body for each request, in order, or none if there is nothing to tell;
	// the CloudEvent itself if Render is nil. Events for which it fails are dead letters
	// at once.
	Render func(s *events.SubscriptionSettings, event events.Event, structured []byte) (bodies [][]byte, contentType string, err error)
	// Wants says whether Render can have anything for a type of event; always if nil.
	Wants   func(s *events.SubscriptionSettings, eventType string) bool
	Journal *attempts.Journal
	Cursors *cursors.Store
	// Matchers has the compiled filters of subscriptions; nil if nobody
	// shares them.
	Matchers *subscription.Cache
	// Disable asks the registrar; it is called again until the subscription isn't
	// active any more.
	Disable func(ctx context.Context, d Disabling) error
	Now     func() time.Time // monotonic
	Jitter  func() float64   // from 0 to 1
	Holder  string           // names this process among those that share the log
	Alone   bool             // no other can: a lease that is there has ended with its process
	Flying  int              // deliveries in flight at most, 1024 if 0
	Pace    *Pace            // nil for the ordinary one
	Logger  *slog.Logger     // nil means silence
}

// Of the lease. Another process takes it when it has seen no renewal for leaseDead,
// which is longer than what the holder takes it to be good for after a renewal, by what
// an attempt under way may still take.
const (
	leaseRenew = 2 * time.Second
	leaseValid = 5 * time.Second
	leaseDead  = 7 * time.Second
	leaseLook  = time.Second
	leaseWrite = 2 * time.Second
	leaseBack  = time.Second // to give it back in the end
)

// Engine delivers, while it holds the lease. Its methods are safe for concurrent use.
type Engine struct {
	cfg     Config
	ctx     context.Context
	cancel  context.CancelFunc
	ended   chan struct{}
	poke    chan struct{} // looks at the clock again
	metrics *metrics

	mu      sync.Mutex
	session *session // guarded by mu; nil without the lease
}

// Start begins to deliver as soon as it has the lease. The engine must be stopped,
// before the hub.
func Start(cfg Config) *Engine {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Flying == 0 {
		cfg.Flying = 1024
	}
	e := &Engine{cfg: cfg, ended: make(chan struct{}), poke: make(chan struct{}, 1), metrics: newMetrics()}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	go e.run()
	return e
}

// Stop ends all deliveries, saves how far they have come, and gives the lease back.
func (e *Engine) Stop() {
	e.cancel()
	<-e.ended
}

// holding is what a process knows of the lease.
type holding struct {
	revision uint64
	lease    cursors.Lease
	changed  time.Time     // when it was last seen to move
	until    time.Time     // good for us until then; zero if it isn't ours
	next     time.Time     // when to look again
	mine     bool          // we have written it last
	tried    cursors.Lease // what was written without an answer
}

func (e *Engine) run() {
	defer close(e.ended)
	var h holding
	for e.ctx.Err() == nil {
		now := e.cfg.Now()
		if !now.Before(h.next) {
			e.hold(&h, now)
		}
		s := e.current()
		lost := s != nil && (s.ctx.Err() != nil || !e.cfg.Now().Before(h.until))
		switch {
		case lost:
			e.leave(s, false)
			h.until = time.Time{}
		case s == nil && e.cfg.Now().Before(h.until):
			e.enter()
		}
		at := h.next
		if !h.until.IsZero() && h.until.Before(at) {
			at = h.until
		}
		var over <-chan struct{}
		if s := e.current(); s != nil {
			over = s.ctx.Done()
		}
		e.wait(at, over)
	}
	if s := e.current(); s != nil {
		e.leave(s, true)
	}
	if !h.until.IsZero() {
		ctx, cancel := context.WithTimeout(context.Background(), leaseBack)
		defer cancel()
		_, err := e.cfg.Cursors.Put(ctx, cursors.LeaseKey, h.revision, cursors.Lease{Count: h.lease.Count + 1})
		e.told("the lease of the deliveries runs out by itself", err)
	}
}

// wait returns at a time, when the clock is to be looked at, or at the end.
func (e *Engine) wait(at time.Time, over <-chan struct{}) {
	timer := time.NewTimer(at.Sub(e.cfg.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.poke:
	case <-over:
	case <-e.ctx.Done():
	}
}

func (e *Engine) told(what string, err error) {
	if err != nil {
		e.cfg.Logger.LogAttrs(e.ctx, slog.LevelWarn, what, slog.Any("error", err))
	}
}

// hold renews the lease, or takes it if it is free.
func (e *Engine) hold(h *holding, now time.Time) {
	patience := leaseWrite
	if !h.until.IsZero() {
		patience = min(patience, h.until.Sub(now))
	}
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	if h.until.IsZero() && !e.free(ctx, h, now) {
		return
	}
	next := cursors.Lease{Holder: e.cfg.Holder, Count: h.lease.Count + 1}
	revision, err := e.cfg.Cursors.Put(ctx, cursors.LeaseKey, h.revision, next)
	if errors.Is(err, cursors.ErrMoved) {
		if revision, err = e.written(ctx, h, err); err == nil {
			next = h.tried
		}
	}
	switch {
	case err == nil:
		*h = holding{revision: revision, lease: next, changed: now, until: now.Add(leaseValid), next: now.Add(leaseRenew), mine: true}
	case errors.Is(err, cursors.ErrMoved):
		h.until, h.next, h.mine = time.Time{}, now.Add(leaseLook), false
	default:
		e.told("the lease of the deliveries can't be renewed; it is tried again", err)
		h.tried, h.next = next, now.Add(leaseLook/2)
	}
}

// free looks whether the lease may be taken: it was given back, or nobody has renewed
// it for long. What nobody has written since is still ours.
func (e *Engine) free(ctx context.Context, h *holding, now time.Time) bool {
	h.next = now.Add(leaseLook)
	var found cursors.Lease
	revision, err := e.cfg.Cursors.Get(ctx, cursors.LeaseKey, &found)
	if err != nil && !errors.Is(err, cursors.ErrNone) {
		e.told("the lease of the deliveries can't be read; it is tried again", err)
		return false
	}
	if revision != h.revision || h.changed.IsZero() {
		h.revision, h.lease, h.changed, h.mine = revision, found, now, found == h.tried && found.Holder != ""
	}
	return h.lease.Holder == "" || h.mine || e.cfg.Alone || now.Sub(h.changed) >= leaseDead
}

// written gives the revision of the lease if it is what a write without an answer left,
// and fails as that other write did otherwise.
func (e *Engine) written(ctx context.Context, h *holding, moved error) (revision uint64, err error) {
	var found cursors.Lease
	revision, err = e.cfg.Cursors.Get(ctx, cursors.LeaseKey, &found)
	if err == nil && (found != h.tried || found.Holder == "") {
		err = moved
	}
	return revision, err
}

func (e *Engine) current() *session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.session
}

func (e *Engine) enter() {
	s, err := openSession(e)
	if err != nil {
		e.told("deliveries can't begin; it is tried again", err)
		return
	}
	e.mu.Lock()
	e.session = s
	e.mu.Unlock()
}

func (e *Engine) leave(s *session, save bool) {
	e.mu.Lock()
	e.session = nil
	e.mu.Unlock()
	s.close(save)
}
