package webhooks

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry is a log with all that an engine needs beside it.
type registry struct {
	t         *testing.T
	log       events.Log
	run       *runner.Runner
	hub       *fanout.Hub
	registrar *handlers.Registrar
	journal   *attempts.Journal
	store     *cursors.Store
	sinks     *sinks
	holder    string
}

type servedLog interface {
	events.Log
	JetStream() jetstream.JetStream
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return registryOn(t, log, false, newSinks())
}

func registryOn(t *testing.T, log servedLog, shared bool, to *sinks) *registry {
	t.Helper()
	r := &registry{t: t, log: log, run: runner.New(log), sinks: to, holder: "holder"}
	ended := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { ended(log.Close()) })
	r.hub = fanout.New(fanout.Config{Log: log, Runner: r.run})
	var err error
	r.registrar, err = handlers.Start(t.Context(), handlers.Config{
		Log: log, Runner: r.run, Shared: shared, Now: time.Now, NewID: func(time.Time) ulid.ULID { return ulid.Make() }, Jitter: rand.Float64, Landed: r.hub.Landed,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.hub.Stop()
		ended(r.registrar.Stop(context.Background()))
	})
	if r.journal, err = attempts.Open(t.Context(), attempts.Config{JetStream: log.JetStream}); err != nil {
		t.Fatal(err)
	}
	if r.store, err = cursors.Open(t.Context(), cursors.Config{JetStream: log.JetStream}); err != nil {
		t.Fatal(err)
	}
	return r
}

// start starts an engine. It is stopped at the end of the test, or by the test.
func (r *registry) start(change ...func(cfg *Config)) *Engine {
	r.t.Helper()
	cfg := Config{
		Hub: r.hub, Runner: r.run, Log: r.log, Vault: r.sinks, Journal: r.journal, Cursors: r.store, Sender: r.sinks,
		Now: time.Now, Jitter: func() float64 { return 0.5 }, Holder: r.holder,
		Disable: func(ctx context.Context, d Disabling) error {
			_, err := r.registrar.Do(ctx, handlers.Request{Command: &handlers.DisableSubscription{
				Subscription: d.Subscription.String(), Cause: d.Cause, FailingSince: d.FailingSince, Since: d.Since,
			}})
			return err
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	e := Start(cfg)
	r.t.Cleanup(e.Stop)
	return e
}

func (r *registry) do(cmd handlers.Command) handlers.Outcome {
	r.t.Helper()
	outcome, err := r.registrar.Do(r.t.Context(), handlers.Request{Command: cmd})
	if err != nil {
		r.t.Fatal(err)
	}
	return outcome
}

// models registers models, and gives the sequences of their events. The partition key
// of each is its own.
func (r *registry) models(names ...string) (sequences []uint64) {
	r.t.Helper()
	for _, name := range names {
		sequences = append(sequences, r.do(&handlers.RegisterModel{Spec: handlers.ModelSpec{Name: name}}).Sequence)
	}
	return sequences
}

// subscribe makes a subscription to the models that are registered, or to what change
// makes of it, and gives its sink.
func (r *registry) subscribe(name string, change ...func(cmd *handlers.CreateSubscription)) *sink {
	r.t.Helper()
	to := &sink{answer: func(int, *Request) Result { return ok }}
	cmd := &handlers.CreateSubscription{
		Spec: handlers.SubscriptionSpec{
			Format: events.FormatCloudEvents, Ordering: events.OrderByKey, Signature: events.SignHMAC, Types: []string{events.TypeOf(events.ModelRegistered{})},
		},
		Sink: handlers.Sink{Host: "https://" + name, CredentialID: r.sinks.put(name, to)},
	}
	for _, c := range change {
		c(cmd)
	}
	to.id = r.do(cmd).Resource.Root.ID
	return to
}

func ordered(by events.DeliveryOrdering) func(cmd *handlers.CreateSubscription) {
	return func(cmd *handlers.CreateSubscription) { cmd.Spec.Ordering = by }
}

// attempts gives the attempts of a subscription, the first ones first, in short.
func (r *registry) attempts(of *sink) (all []string) {
	r.t.Helper()
	page, _, err := r.journal.List(r.t.Context(), of.id, attempts.Filter{}, 0, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, a := range slices.Backward(page) {
		all = append(all, fmt.Sprintf("%d/%d %s", a.Sequence, a.Number, a.Class))
	}
	return all
}

// cursor gives the saved cursor of a subscription.
func (r *registry) cursor(of *sink) (c cursors.Cursor) {
	_, _ = r.store.Get(r.t.Context(), cursors.CursorKey(of.id), &c) // none is an empty one
	return c
}

// sinks are all endpoints: the vault that has them, and the sender to them.
type sinks struct {
	mu   sync.Mutex
	urls map[ulid.ULID]string // guarded by mu
	of   map[string]*sink     // guarded by mu; by URL
	hook func()               // guarded by mu; called once, before an endpoint is looked up
}

func newSinks() *sinks { return &sinks{urls: map[ulid.ULID]string{}, of: map[string]*sink{}} }

func (s *sinks) put(name string, to *sink) ulid.ULID {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := ulid.Make()
	s.urls[id], s.of[name] = name, to
	return id
}

func (s *sinks) erase(id ulid.ULID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.urls, id)
}

func (s *sinks) whenGot(hook func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

func (s *sinks) Get(_ context.Context, id ulid.ULID) (vault.Endpoint, error) {
	s.mu.Lock()
	hook := s.hook
	s.hook = nil
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	url, ok := s.urls[id]
	if !ok {
		return vault.Endpoint{}, vault.ErrUnknown
	}
	return vault.Endpoint{URL: url}, nil
}

func (s *sinks) Send(ctx context.Context, r Request) Result {
	s.mu.Lock()
	to := s.of[r.Endpoint.URL]
	s.mu.Unlock()
	return to.send(ctx, &r)
}

// sink is an endpoint.
type sink struct {
	id ulid.ULID // of the subscription

	mu     sync.Mutex
	answer func(n int, r *Request) Result // guarded by mu; of the nth request. hangs is no answer
	got    []Request                      // guarded by mu
	flying int                            // guarded by mu
	most   int                            // guarded by mu; that were in flight at once
	freed  chan struct{}                  // closed when those that hang are answered
}

var (
	ok    = Result{Status: http.StatusOK, Class: attempts.ClassOK}
	hangs = Result{Status: -1}
)

var quiet = slog.New(slog.DiscardHandler)

func status(code int) Result { return Result{Status: code, Class: attempts.ClassStatus} }

func (s *sink) send(ctx context.Context, r *Request) Result {
	s.mu.Lock()
	s.got = append(s.got, *r)
	s.flying++
	s.most = max(s.most, s.flying)
	n, answer := len(s.got), s.answer
	if s.freed == nil {
		s.freed = make(chan struct{})
	}
	freed := s.freed
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flying--
	}()
	res := answer(n, r)
	if res.Status != hangs.Status {
		return res
	}
	select {
	case <-freed:
		return ok
	case <-ctx.Done():
		return Result{Class: attempts.ClassReset}
	}
}

// answers sets what is answered from now on, also to those that hang, which get a yes.
func (s *sink) answers(answer func(n int, r *Request) Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
}

func always(res Result) func(int, *Request) Result { return func(int, *Request) Result { return res } }

// sequences gives what was sent.
func (s *sink) sequences() (all []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.got {
		all = append(all, sequenceOf(&s.got[i]))
	}
	return all
}

func sequenceOf(r *Request) uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(r.ID, "evt_"), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

// wait waits until all of some events, and nothing else, have been sent.
func (s *sink) wait(t *testing.T, want ...uint64) {
	t.Helper()
	logtest.WaitFor(t, fmt.Sprintf("%d deliveries", len(want)), func() bool { return s.count() >= len(want) })
	if got := s.sequences(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Fatalf("%v were sent, want %v", got, want)
	}
}

// unique gives the sequences that were sent, each where it came first.
func unique(all []uint64) (first []uint64) {
	seen := map[uint64]bool{}
	for _, n := range all {
		if !seen[n] {
			seen[n] = true
			first = append(first, n)
		}
	}
	return first
}

func (r *registry) subscription(of *sink) *projections.Subscription {
	r.t.Helper()
	s, _, ok := r.run.Now().Subscription(of.id)
	if !ok {
		r.t.Fatal("there is no such subscription")
	}
	return s
}
