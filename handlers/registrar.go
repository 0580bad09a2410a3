package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
)

// Config is what a registrar needs.
type Config struct {
	Log    events.Log
	Runner *runner.Runner // at the beginning of Log; the registrar alone drives it
	Now    func() time.Time
	NewID  func(time.Time) ulid.ULID // never the same twice
	// Jitter spreads retries: a number from 0 to 1, by chance; always 0.5 if nil.
	Jitter func() float64
	// Shared says that others write to the log too.
	Shared bool
	Queue  int // how many requests may wait, 4096 if 0
	// Deadline is how long a request may take, 10 s if 0. Its context may end
	// sooner.
	Deadline time.Duration
	Logger   *slog.Logger // nil means silence
	// FirstKey, unless nil, gives the verifier key that signs the log's heads from
	// the beginning, when the registry is created.
	FirstKey func(registry ulid.ULID) (string, error)
	// Landed, unless nil, is told of events that have become visible: those of
	// a group, the first of which has the sequence first, or, with no group,
	// that there are some from first on. It must not block, nor change them.
	Landed func(first uint64, group []events.Encoded)
}

// Registrar is the only writer of a log. It decides requests one after another,
// each on the state that all earlier ones give, and appends the events of those
// that wait together as one group. While a group is being made durable, the
// next one gathers. Nobody is answered before what the answer rests on is
// durable and visible.
//
// One goroutine, loop, does all of it; it alone drives the runner. Do is safe
// for concurrent use.
type Registrar struct {
	cfg     Config
	queue   chan *pending
	landed  chan error    // the result of the append under way
	stopped chan struct{} // closed when Stop asks loop to end
	done    chan struct{} // closed when loop has ended
	failure atomic.Pointer[error]
	metrics *metrics

	deadlines deadlines // of those who wait for an answer

	// On a shared log, what follow has seen there.
	arrived  chan events.Stored
	followed chan struct{} // closed when follow has ended

	suppositions chan *supposition // what-ifs that nobody has taken up yet

	// What follows belongs to loop.
	supposing *supposition // waits until nothing is under way; nothing is taken from the queue before it is answered
	flying    *group       // being appended, nil for none
	next      *group       // gathering; decided on the state that includes flying
	again     []*pending   // to be decided anew, before anything of the queue
	failures  int          // appends that failed, one after another
	ctx       context.Context
	cancel    context.CancelFunc
}

// pending is a request that waits for its answer.
type pending struct {
	Request
	ctx          context.Context
	id           ulid.ULID // of its event, made on arrival
	key, content events.Hash
	progress     atomic.Int32
	left         atomic.Bool   // whoever waited has been told something
	replied      chan struct{} // closed when answer is final

	// What follows belongs to loop, the answer until replied is closed.
	answer answer
	at     uint64 // the sequence of its event in a group, 0 for none
	// doubt is the sequence at which an uncertain append may still put its
	// event, 0 for none. It can't any more once something else is there.
	doubt uint64
	// confirmed says that the state has been brought up to the end of a shared
	// log since the request came.
	confirmed bool
}

type answer struct {
	outcome Outcome
	err     error
}

// How far a request has come. Whoever waits for it may give it up unless its
// event may be on the log.
const (
	waiting   = iota // nothing of it is on the log, nor will be
	sent             // its event may be on the log, or come to be
	abandoned        // nobody waits for it any more
)

// group is what is answered together.
type group struct {
	expect   uint64 // the sequence before its first event
	requests []*pending
	events   []events.Encoded
	bytes    int
	// unconfirmed says that there is an answer without an event that may rest
	// on an old tip.
	unconfirmed bool
}

func (g *group) full() bool {
	return len(g.events) >= events.MaxGroupEvents || g.bytes > events.MaxGroupBytes-events.MaxEventBytes ||
		len(g.requests) >= maxGroupRequests
}

// maxGroupRequests bounds the answers that ride along without an event.
const maxGroupRequests = 4 * events.MaxGroupEvents

// Start catches up with the log, creates the registry if the log is empty, and
// starts to take requests. It fails with the errors of runner.CatchUp and
// events.Log.Append.
func Start(ctx context.Context, cfg Config) (*Registrar, error) {
	if cfg.Queue == 0 {
		cfg.Queue = 4096
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = 10 * time.Second
	}
	if cfg.Jitter == nil {
		cfg.Jitter = func() float64 { return 0.5 }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Landed == nil {
		cfg.Landed = func(uint64, []events.Encoded) {}
	}
	r := &Registrar{
		cfg: cfg, queue: make(chan *pending, cfg.Queue), landed: make(chan error, 1),
		stopped: make(chan struct{}), done: make(chan struct{}), metrics: newMetrics(),
		arrived: make(chan events.Stored), followed: make(chan struct{}), suppositions: make(chan *supposition),
		deadlines: deadlines{after: cfg.Deadline},
	}
	if err := cfg.Runner.CatchUp(ctx, nil); err != nil {
		return nil, err
	}
	if cfg.Runner.Visible() == 0 {
		if err := r.create(ctx); err != nil {
			return nil, fmt.Errorf("create the registry: %w", err)
		}
	}
	r.next = &group{expect: cfg.Runner.Visible()}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if cfg.Shared {
		go r.follow(cfg.Runner.Visible() + 1)
	} else {
		close(r.followed)
	}
	go r.loop()
	return r, nil
}

func (r *Registrar) create(ctx context.Context) error {
	now := recordedAt(r.cfg.Now(), time.Time{})
	id := r.cfg.NewID(now)
	created := events.RegistryCreated{RegistryID: id, Level: events.Level}
	if r.cfg.FirstKey != nil {
		var err error
		if created.VerifierKey, err = r.cfg.FirstKey(id); err != nil {
			return err
		}
	}
	e := events.Event{Sequence: 1, ID: r.cfg.NewID(now), Registry: id, Subject: "registry", Time: now, Data: created}
	encoded, err := events.Encode(e)
	if err != nil {
		return err
	}
	// Losing the race against another replica is as good as winning it.
	if err := r.cfg.Log.Append(ctx, 0, []events.Encoded{encoded}); err != nil && !errors.Is(err, events.ErrConflict) {
		return err
	}
	return r.cfg.Runner.CatchUp(ctx, nil)
}

// Do decides a request and, if an event follows from it, returns when that is
// durable and visible. The deadline or the context's end ends the wait.
//
// The error is a Refusal: InvalidError, NotFoundError, ExistsError, RuleError,
// PreconditionError, KeyReusedError or TooLargeError when the request can't be; UnavailableError
// when nothing was written; OutcomeUnknownError when perhaps something was. Any other
// error is a defect.
func (r *Registrar) Do(ctx context.Context, req Request) (Outcome, error) {
	outcome, err := r.do(ctx, req)
	r.metrics.answered(req.Command.Kind(), outcome, err)
	return outcome, err
}

func (r *Registrar) do(ctx context.Context, req Request) (Outcome, error) {
	p, err := r.submit(ctx, req)
	if err != nil {
		return Outcome{}, err
	}
	return r.await(p)
}

// submit puts a request at the end of the queue.
func (r *Registrar) submit(ctx context.Context, req Request) (*pending, error) {
	p, err := r.newPending(ctx, req)
	if err != nil {
		return nil, err
	}
	select {
	case r.queue <- p:
		return p, nil
	default:
		return nil, UnavailableError{CodeBusy, "too many requests are waiting; send it again later", time.Second}
	}
}

// newPending checks a request, and makes what waits for its answer.
func (r *Registrar) newPending(ctx context.Context, req Request) (p *pending, err error) {
	if err := req.Check(); err != nil {
		return nil, err
	}
	p = &pending{Request: req, ctx: ctx, id: r.cfg.NewID(r.cfg.Now()), replied: make(chan struct{})}
	p.key, p.content, err = req.hashes()
	return p, err
}

// await waits for the answer to a request, or for the end of its context.
func (r *Registrar) await(p *pending) (Outcome, error) {
	deadline := r.deadlines.begin()
	var beyond <-chan time.Time
	for {
		select {
		case <-p.replied:
			return p.answer.outcome, p.answer.err
		case <-deadline:
			if patience := p.Patience - r.cfg.Deadline; patience > 0 && p.progress.Load() == sent {
				timer := time.NewTimer(patience)
				defer timer.Stop()
				deadline, beyond = nil, timer.C
				continue
			}
			return p.giveUp("the log gave no answer in time")
		case <-beyond:
			return p.giveUp("the log gave no answer in time")
		case <-p.ctx.Done():
			return p.giveUp("the log gave no answer in time")
		case <-r.done:
			return p.giveUp("the registry has stopped")
		}
	}
}

// giveUp ends the wait, unless the answer has come in the meantime.
func (p *pending) giveUp(why string) (Outcome, error) {
	select {
	case <-p.replied:
		return p.answer.outcome, p.answer.err
	default:
	}
	p.left.Store(true)
	if p.progress.CompareAndSwap(waiting, abandoned) {
		return Outcome{}, UnavailableError{CodeUnavailable, why + ", nothing was written; send it again", time.Second}
	}
	return Outcome{}, p.unknown()
}

func (p *pending) reply(a answer) {
	p.answer = a
	close(p.replied)
}

func (p *pending) unknown() error { return OutcomeUnknownError{ID: p.id.String()} }

// Err says why the registrar gave up, and nil while it works. It gives up when a
// sync failed, or when an event can't be read: then the process must stop.
func (r *Registrar) Err() error {
	if p := r.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// Done is closed when the registrar has stopped or given up.
func (r *Registrar) Done() <-chan struct{} { return r.done }

// Stop finishes what is waiting and ends the registrar. Nobody may call Do any
// more. It returns early when the context ends, and the append under way is cut
// off then.
func (r *Registrar) Stop(ctx context.Context) error {
	close(r.stopped)
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		r.cancel()
		<-r.done
		return fmt.Errorf("stop the registrar: %w", ctx.Err())
	}
}

// loop gathers, launches and lands, until it is stopped with nothing left to do.
func (r *Registrar) loop() {
	defer close(r.done)
	defer func() {
		r.cancel()
		<-r.followed
	}()
	stopped := r.stopped
	for r.Err() == nil {
		r.gather()
		if r.launch() {
			continue // more may gather
		}
		if r.supposing != nil && r.still() {
			r.suppose()
			continue
		}
		if stopped == nil && r.flying == nil && len(r.queue) == 0 {
			return
		}
		select {
		case r.supposing = <-r.whatIfs():
		case p := <-r.intake():
			r.take(p)
		case err := <-r.landed:
			r.land(err)
		case s := <-r.arrivals():
			r.absorb(s)
		case <-stopped:
			stopped = nil
		case <-r.ctx.Done():
			unsent(r.next.requests)
			return
		}
	}
}

// intake is the queue, unless the next group is full, or a what-if waits.
func (r *Registrar) intake() <-chan *pending {
	if r.next.full() || r.supposing != nil {
		return nil
	}
	return r.queue
}

// whatIfs is where what-ifs come from, unless one waits already.
func (r *Registrar) whatIfs() <-chan *supposition {
	if r.supposing != nil {
		return nil
	}
	return r.suppositions
}

// gather takes what waits already, so that a group is as large as it can be
// without waiting for anything.
func (r *Registrar) gather() {
	for !r.next.full() && r.supposing == nil {
		if len(r.again) > 0 {
			p := r.again[0]
			r.again = r.again[1:]
			r.take(p)
			continue
		}
		select {
		case p := <-r.queue:
			r.take(p)
		default:
			return
		}
	}
}

// launch sends the next group on its way, unless one is under way or there is
// nothing to send.
func (r *Registrar) launch() bool {
	if r.flying != nil || len(r.next.requests) == 0 {
		return false
	}
	g := r.next
	r.next = &group{ // likely as large as the one before
		expect:   g.expect + uint64(len(g.events)),
		requests: make([]*pending, 0, len(g.requests)), events: make([]events.Encoded, 0, len(g.events)),
	}
	if len(g.events) == 0 && !g.unconfirmed { // all that these answers rest on is visible
		g.answer()
		return true
	}
	r.flying = g
	if len(g.events) > 0 {
		r.metrics.groupSize.Observe(float64(len(g.events)))
	}
	go func() { r.landed <- r.commit(g) }()
	return true
}

// land answers the group that was under way, or starts anew after its failure.
func (r *Registrar) land(err error) {
	g := r.flying
	r.flying = nil
	if err == nil {
		r.failures = 0
		r.cfg.Runner.Publish(g.expect + uint64(len(g.events)))
		g.answer()
		if len(g.events) > 0 {
			r.cfg.Landed(g.expect+1, g.events)
		}
		return
	}
	r.recover(g, err)
}

func (g *group) answer() {
	for _, p := range g.requests {
		close(p.replied)
	}
}

// take decides a request on the tip, and adds it to the next group.
func (r *Registrar) take(p *pending) {
	p.at = 0
	if p.doubt <= r.cfg.Runner.Visible() { // its event can't come any more, and hasn't
		p.doubt = 0
		p.progress.CompareAndSwap(sent, waiting)
	}
	if p.left.Load() || p.ctx.Err() != nil {
		p.progress.CompareAndSwap(waiting, abandoned)
		return
	}
	outcome, encoded, err := r.decide(p)
	switch {
	case encoded != nil:
		if p.progress.CompareAndSwap(waiting, sent); p.progress.Load() != sent {
			r.cfg.Runner.CutAfter(outcome.Sequence - 1)
			return
		}
		p.at = outcome.Sequence
		r.next.events = append(r.next.events, *encoded)
		r.next.bytes += encoded.Size()
	case p.doubt != 0: // its event may come yet, and give any answer the lie
		outcome, err = Outcome{}, p.unknown()
	default:
		r.next.unconfirmed = r.next.unconfirmed || (r.cfg.Shared && !p.confirmed)
	}
	p.answer = answer{outcome, err}
	r.next.requests = append(r.next.requests, p)
}

// decide gives a request's outcome and, if an event follows from it, that event
// as it goes on the log, already applied to the state.
func (r *Registrar) decide(p *pending) (Outcome, *events.Encoded, error) {
	tip := r.cfg.Runner.Tip()
	if p.key != (events.Hash{}) {
		if use, sequence, used := tip.KeyUse(p.key); used {
			if use.Request != p.content {
				return Outcome{}, nil, p.reused(sequence)
			}
			return Outcome{Sequence: sequence, Resource: use.Resource, Repeated: true}, nil, nil
		}
	}
	if p.IfMatch != nil {
		sequence, _ := p.Command.etag(tip)
		if err := precondition("If-Match", p.IfMatch, sequence); err != nil {
			return Outcome{}, nil, err
		}
	}
	d, err := p.Command.decide(tip, occasion{id: p.id})
	if err != nil {
		return Outcome{}, nil, err
	}
	if d.event == nil {
		return Outcome{Sequence: tip.Sequence, Resource: d.resource}, nil, nil
	}
	e := events.Event{
		Sequence: tip.Sequence + 1, ID: p.id, Registry: tip.Registry().ID, Time: recordedAt(r.cfg.Now(), tip.Recorded()),
		Occurred: p.occurred(), Principal: p.Principal, CorrelationID: p.CorrelationID, CausationID: p.CausationID, TraceParent: p.TraceParent,
		Key: p.key, Request: p.content, Data: d.event,
	}
	if p.Origin != nil {
		e.OriginSource, e.OriginID = p.Origin.Source, p.Origin.ID
	}
	return r.apply(p, e)
}

// occurred gives the request's OccurredAt as events spell times.
func (p *pending) occurred() time.Time { return p.OccurredAt.UTC().Truncate(time.Millisecond) }

// apply puts an event on top of the state, where nobody sees it yet.
func (r *Registrar) apply(p *pending, e events.Event) (Outcome, *events.Encoded, error) {
	e, err := e.WithCanonical()
	if err != nil {
		return Outcome{}, nil, err
	}
	before := r.cfg.Runner.Tip()
	r.cfg.Runner.Apply(e)
	resource := e.Data.Resource()
	if e.Subject = r.cfg.Runner.Tip().Path(resource); e.Subject == "" { // it is gone with this event
		e.Subject = before.Path(resource)
	}
	encoded, err := events.Encode(e)
	if err == nil && encoded.Size() > events.MaxEventBytes {
		err = TooLargeError{Pointer: largestField(p.Command), Limit: events.MaxEventBytes}
	}
	if err != nil {
		r.cfg.Runner.CutAfter(before.Sequence)
		return Outcome{}, nil, err
	}
	return Outcome{Sequence: e.Sequence, Resource: resource, Event: e}, &encoded, nil
}
