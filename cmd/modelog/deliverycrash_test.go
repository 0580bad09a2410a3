package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"golang.org/x/sync/errgroup"
)

// deliveriesVariable is how many events go out while the server is killed, if not
// crashEvents.
const deliveriesVariable = "MODELOG_TEST_DELIVERIES"

const (
	crashEvents      = 3_000
	crashSubscribers = 20
	crashModels      = 12
	crashWriters     = 4
	crashKills       = 12
	// crashPace is so that nothing becomes a dead letter, however often it fails, and that
	// some wait for longer than a cursor stays as it was saved.
	crashPace = paceVariable + "=2s 100ms 0s" + " 20ms 400ms 20ms 400ms 20ms 20ms 20ms 20ms 20ms 20ms 20ms 20ms 20ms 20ms 20ms"
)

// TestDeliveriesSurviveKills kills a registry at random moments while events go out to
// subscribers, of whom some fail. In the end every subscriber has every event that it
// wants, duplicates are duplicates, and what was to be in order was.
func TestDeliveriesSurviveKills(t *testing.T) {
	total := crashEvents
	if text := os.Getenv(deliveriesVariable); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d; -crash-seed=%d runs it again", seed, seed)
	k := &deliveryKills{chance: rand.New(rand.NewPCG(seed, 1)), data: filepath.Join(t.TempDir(), "data"), total: total}
	k.listen(t)
	k.start(t)
	for i := range crashModels {
		registerModel(t, k.client, modelName(i))
	}
	for i := range crashSubscribers {
		k.subscribe(t, i)
	}
	began := time.Now()
	kills := max(crashKills, total/1000)
	for range kills {
		k.round(t, total/(kills+1))
	}
	if err := k.write(t.Context(), k.total); err != nil { // what is left
		t.Fatal(err)
	}
	k.finish(t)
	received, duplicates := 0, 0
	for _, s := range k.subscribers {
		r, d := s.check(t, k.log)
		received, duplicates = received+r, duplicates+d
	}
	t.Logf("%v: %d kills, %d events; %d requests, of which %d were of events that the subscriber had taken already",
		time.Since(began).Round(time.Millisecond), k.kills, len(k.log), received, duplicates)
	if duplicates == 0 {
		t.Error("the kills changed nothing: the test shows too little")
	}
}

func modelName(i int) string { return fmt.Sprintf("m%d", i) }

// deliveryKills kills a server that delivers.
type deliveryKills struct {
	chance      *rand.Rand // of the test's goroutine
	data        string
	total       int
	receiver    *httptest.Server
	server      *process
	client      *client
	subscribers []*crashSubscriber
	log         []crashEvent
	acked       atomic.Int64
	kills       int
}

// crashEvent is what the test reads of an event.
type crashEvent struct {
	Sequence string `json:"sequence"`
	Subject  string `json:"subject"`
	Type     string `json:"type"`
}

// model gives the model of a version's event, empty for any other event.
func (e crashEvent) model() string {
	if e.Type != "dev.modelog.version.registered.v1" {
		return ""
	}
	return strings.Split(e.Subject, "/")[1]
}

// crashSubscriber is one of the endpoints, with its own log.
type crashSubscriber struct {
	ordering events.DeliveryOrdering
	model    string // that it wants, empty for all
	fails    float64
	resets   float64
	verifier *standardwebhooks.Webhook

	mu       sync.Mutex
	requests []crashRequest
	taken    map[string]bool // guarded by mu; ids that it has answered with 2xx
}

type crashRequest struct {
	id    string
	hash  [sha256.Size]byte
	event crashEvent
	taken bool
}

func (k *deliveryKills) listen(t *testing.T) {
	t.Helper()
	for i := range crashSubscribers {
		s := &crashSubscriber{ordering: events.OrderByKey, taken: map[string]bool{}}
		if i%5 == 3 {
			s.ordering = events.OrderNone
		}
		if i%10 == 5 {
			s.ordering = events.OrderStrict
		}
		if i%2 == 1 {
			s.model = modelName(i % crashModels)
		}
		switch i % 4 {
		case 0:
			s.fails = 0.2
		case 1:
			s.resets = 0.05
		}
		k.subscribers = append(k.subscribers, s)
	}
	k.receiver = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			t.Errorf("a request to %s", r.URL.Path)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost { // the other end was killed, or asks
			return
		}
		k.subscribers[i].serve(t, w, r, body)
	}))
	t.Cleanup(func() {
		k.receiver.CloseClientConnections()
		k.receiver.Close()
	})
}

func (s *crashSubscriber) serve(t *testing.T, w http.ResponseWriter, r *http.Request, body []byte) {
	t.Helper()
	q := crashRequest{id: r.Header.Get("webhook-id"), hash: sha256.Sum256(body)}
	if err := json.Unmarshal(body, &q.event); err != nil || q.id != "evt_"+q.event.Sequence {
		t.Errorf("%s has a body with sequence %q, %v", q.id, q.event.Sequence, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verifier != nil {
		if err := s.verifier.Verify(body, r.Header); err != nil {
			t.Errorf("%s: %v", q.id, err)
		}
	}
	switch chance := rand.Float64(); {
	case chance < s.resets:
		s.requests = append(s.requests, q)
		panic(http.ErrAbortHandler)
	case chance < s.resets+s.fails:
		w.WriteHeader(http.StatusInternalServerError)
	default:
		q.taken = true
		s.taken[q.id] = true
	}
	s.requests = append(s.requests, q)
}

func (k *deliveryKills) start(t *testing.T) {
	t.Helper()
	k.server, k.client = startWith(t, k.data, []string{crashPace}, "--webhook-allow-http", "--webhook-allow-cidr", "127.0.0.1/32")
}

func (k *deliveryKills) subscribe(t *testing.T, i int) {
	t.Helper()
	s := k.subscribers[i]
	body := map[string]any{
		"sink": k.receiver.URL + "/" + strconv.Itoa(i), "ordering": s.ordering, "types": []string{"dev.modelog.version.registered.v1"},
	}
	if s.model != "" {
		body["filters"] = []any{map[string]any{"prefix": map[string]string{"subject": "models/" + s.model + "/"}}}
	}
	verifier, err := standardwebhooks.NewWebhook(subscribe(t, k.client, body).Secret)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.verifier = verifier
	s.mu.Unlock()
}

// write registers versions until so many have been acknowledged, or the server is gone.
func (k *deliveryKills) write(ctx context.Context, until int) error {
	var group errgroup.Group
	for i := range crashWriters {
		group.Go(func() error {
			chance := rand.New(rand.NewPCG(uint64(until), uint64(i)))
			for k.acked.Load() < int64(until) {
				path := "/v1/models/" + modelName(chance.IntN(crashModels)) + "/versions"
				if _, err := k.client.send(ctx, http.MethodPost, path, handlers.VersionSpec{Source: "s3://weights"}); err != nil {
					return err
				}
				k.acked.Add(1)
			}
			return nil
		})
	}
	return group.Wait()
}

// round writes a part of the events, kills the server at a moment of its own, be it
// while they are written or while they go out, and starts it.
func (k *deliveryKills) round(t *testing.T, part int) {
	t.Helper()
	ended := make(chan struct{})
	until := int(k.acked.Load()) + part
	go func() {
		defer close(ended)
		_ = k.write(t.Context(), until) // the kill comes between
	}()
	time.Sleep(time.Duration(k.chance.Int64N(int64(700 * time.Millisecond)))) // the moment of the kill, not a wait for anything
	k.server.kill()
	k.kills++
	<-ended
	k.start(t)
}

// finish waits until all have all, and reads the log.
func (k *deliveryKills) finish(t *testing.T) {
	t.Helper()
	all, err := pages(t.Context(), k.client, "/v1/events", 1_000_000, func(l api.EventList) ([]jsontext.Value, string) { return l.Events, l.NextCursor })
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range all {
		var e crashEvent
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		if e.model() != "" {
			k.log = append(k.log, e)
		}
	}
	if len(k.log) < int(k.acked.Load()) {
		t.Fatalf("of %d acknowledged events %d are on the log", k.acked.Load(), len(k.log))
	}
	for i, s := range k.subscribers {
		last, since := -1, time.Now()
		for {
			missing := s.missing(k.log)
			if missing == 0 {
				break
			}
			if missing != last {
				last, since = missing, time.Now()
			}
			if time.Since(since) > 20*time.Second {
				t.Fatalf("subscriber %d lacks %d events, and gets no more", i, missing)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err := k.server.stop(); err != nil {
		t.Error(err)
	}
}

func (s *crashSubscriber) wants(e crashEvent) bool { return s.model == "" || s.model == e.model() }

func (s *crashSubscriber) missing(log []crashEvent) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range log {
		if s.wants(e) && !s.taken["evt_"+e.Sequence] {
			n++
		}
	}
	return n
}

// check looks at what a subscriber got.
func (s *crashSubscriber) check(t *testing.T, log []crashEvent) (received, duplicates int) {
	t.Helper()
	onLog := map[string]crashEvent{}
	for _, e := range log {
		onLog["evt_"+e.Sequence] = e
	}
	first, taken := map[string]crashRequest{}, map[string]bool{}
	order := map[string][]string{} // of first appearances, by what is in order
	for _, q := range s.requests {
		e, ok := onLog[q.id]
		if !ok || e != q.event || !s.wants(e) {
			t.Errorf("%s with %+v isn't what it wants, or on the log", q.id, q.event)
		}
		if was, again := first[q.id]; again && was.hash != q.hash {
			t.Errorf("%s comes with two bodies", q.id)
		} else if !again {
			first[q.id] = q
			lane := e.model()
			if s.ordering == events.OrderStrict {
				lane = ""
			}
			order[lane] = append(order[lane], e.Sequence)
		}
		if taken[q.id] {
			duplicates++
		}
		taken[q.id] = taken[q.id] || q.taken
	}
	for lane, sequences := range order {
		if s.ordering != events.OrderNone && !slices.IsSorted(sequences) {
			t.Errorf("%s of order %s doesn't come in order", lane, s.ordering)
		}
	}
	return len(s.requests), duplicates
}
