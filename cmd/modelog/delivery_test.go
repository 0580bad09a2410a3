package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/oklog/ulid/v2"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// paceVariable has durations with spaces between them: the time-out of an attempt, the
// pause of the breaker, and the schedule.
const paceVariable = "MODELOG_TEST_PACE"

// paced is modelog, with the pace of deliveries that the environment says.
func paced() {
	var all []time.Duration
	for text := range strings.FieldsSeq(os.Getenv(paceVariable)) {
		d, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		all = append(all, d)
	}
	if len(all) < 3 {
		main()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, sendTimeout: all[0], pace: &webhooks.Pace{Breaker: all[1], Schedule: all[2:]}}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

const quickPace = paceVariable + "=1s 100ms 0s 50ms 100ms 200ms"

// startWith starts a server with more environment. It ends with the test.
func startWith(t *testing.T, data string, environment []string, flags ...string) (*process, *client) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "modelog", append([]string{"serve", "--listen", "127.0.0.1:0", "--data", data}, flags...)...)
	cmd.Env = append(cleanEnvironment(), environment...)
	p, err := launch(cmd, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	url, err := p.listening()
	if err != nil {
		t.Fatal(err)
	}
	return p, &client{app: &app{}, server: url}
}

func subscribe(t *testing.T, c *client, body map[string]any) api.SubscriptionWithSecret {
	t.Helper()
	s, err := call[api.SubscriptionWithSecret](t.Context(), c, http.MethodPost, "/v1/subscriptions", body)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func registerModel(t *testing.T, c *client, name string) {
	t.Helper()
	if _, err := c.send(t.Context(), http.MethodPost, "/v1/models", handlers.ModelSpec{Name: name}); err != nil {
		t.Fatal(err)
	}
}

func registerVersion(t *testing.T, c *client, model string) uint64 {
	t.Helper()
	v, err := call[api.Version](t.Context(), c, http.MethodPost, "/v1/models/"+model+"/versions", handlers.VersionSpec{Source: "s3://" + model})
	if err != nil {
		t.Fatal(err)
	}
	return v.Sequence
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it doesn't come to that: %s", what)
		}
	}
}

// delivery is one request that a receiver got, in the words of its own log.
type delivery struct {
	path   string
	id     string
	status int    // that it answered, 0 for none
	class  string // that it must be in the journal
	header http.Header
	body   []byte
	at     time.Time
}

func (d delivery) sequence(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(d.id, "evt_"), 10, 64)
	if err != nil {
		t.Fatalf("the id %q: %v", d.id, err)
	}
	return n
}

// subscriber is a receiver with as many endpoints as it has paths.
type subscriber struct {
	*httptest.Server
	mu  sync.Mutex
	log []delivery // guarded by mu
}

// newSubscriber starts a receiver. answer gives the status, or 0 if it has seen to the
// answer itself, and the class that the attempt has by that; n is how many requests the
// path has had with this one.
func newSubscriber(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int) (status int, class string)) *subscriber {
	t.Helper()
	r := &subscriber{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil && q.Context().Err() == nil {
			t.Error(err)
		}
		if q.Method == http.MethodOptions {
			answer(w, q, 0)
			return
		}
		d := delivery{path: q.URL.Path, id: q.Header.Get("webhook-id"), header: q.Header, body: body, at: time.Now()}
		r.mu.Lock()
		r.log = append(r.log, d)
		line, n := len(r.log)-1, r.count(d.path)
		r.mu.Unlock()
		d.status, d.class = answer(w, q, n)
		r.mu.Lock()
		r.log[line].status, r.log[line].class = d.status, d.class
		r.mu.Unlock()
		if d.class == "ok" || d.class == "status" {
			w.WriteHeader(d.status)
		}
	}))
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

// count is called with the lock held.
func (r *subscriber) count(path string) (n int) {
	for _, d := range r.log {
		if d.path == path {
			n++
		}
	}
	return n
}

// of gives the log of one path.
func (r *subscriber) of(path string) (all []delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.log {
		if d.path == path {
			all = append(all, d)
		}
	}
	return all
}

// trusted starts a receiver with TLS, and gives the variable with which a server trusts
// its certificate.
func (r *subscriber) trusted(t *testing.T) string {
	t.Helper()
	r.EnableHTTP2 = true
	r.StartTLS()
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return "SSL_CERT_FILE=" + file
}

func always(status int, class string) func(http.ResponseWriter, *http.Request, int) (int, string) {
	return func(http.ResponseWriter, *http.Request, int) (int, string) { return status, class }
}

func TestADeliveryIsSigned(t *testing.T) {
	to := newSubscriber(t, always(http.StatusOK, "ok"))
	trust := to.trusted(t)
	_, c := startWith(t, filepath.Join(t.TempDir(), "data"), []string{trust}, "--webhook-allow-cidr", "127.0.0.1/32")
	subscription := subscribe(t, c, map[string]any{
		"sink": to.URL + "/hook?token=x", "types": []string{"dev.modelog.version.registered.v1"},
		"protocolsettings": map[string]any{"headers": map[string]string{"Authorization": "Bearer y"}},
	})
	registerModel(t, c, "fraud")
	sequence := registerVersion(t, c, "fraud")
	eventually(t, "the event comes", func() bool { return len(to.of("/hook")) == 1 })
	verify := func(secret string, d delivery) {
		t.Helper()
		w, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Verify(d.body, d.header); err != nil {
			t.Error(err)
		}
		d.body[7] ^= 1
		if w.Verify(d.body, d.header) == nil {
			t.Error("a flipped byte verifies")
		}
		d.body[7] ^= 1
	}
	d := to.of("/hook")[0]
	verify(subscription.Secret, d)
	if d.sequence(t) != sequence || d.header.Get("Authorization") != "Bearer y" || d.header.Get("Content-Type") != "application/cloudevents+json" ||
		!strings.HasPrefix(d.header.Get("User-Agent"), "modelog/") || d.header.Get("WebHook-Request-Origin") != "modelog" {
		t.Errorf("event %d comes with %v", sequence, d.header)
	}
	shown, err := c.send(t.Context(), http.MethodGet, fmt.Sprintf("/v1/events/%d", sequence), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(shown)), string(d.body)); diff != "" {
		t.Errorf("another event than is shown: %s", diff)
	}

	rotated, err := call[api.SubscriptionWithSecret](t.Context(), c, http.MethodPost, "/v1/subscriptions/"+subscription.ID+"/rotate-secret", map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	registerVersion(t, c, "fraud")
	eventually(t, "the next event comes", func() bool { return len(to.of("/hook")) == 2 })
	verify(rotated.Secret, to.of("/hook")[1])
	verify(subscription.Secret, to.of("/hook")[1])
}

// TestTheJournalAgreesWithTheReceiver has receivers of all kinds, and compares the log
// that they keep themselves with the attempts, line by line.
func TestTheJournalAgreesWithTheReceiver(t *testing.T) {
	forbidden, reached := listenAt(t, "127.0.0.2:0")
	to := newSubscriber(t, func(w http.ResponseWriter, r *http.Request, n int) (int, string) {
		switch r.URL.Path {
		case "/flaky":
			if n%3 != 0 {
				return http.StatusInternalServerError, "status"
			}
		case "/failing":
			return http.StatusBadGateway, "status"
		case "/later":
			if n == 1 {
				w.Header().Set("Retry-After", "1")
				return http.StatusTooManyRequests, "status"
			}
		case "/gone":
			return http.StatusGone, "status"
		case "/hanging":
			<-r.Context().Done()
			return 0, "timeout"
		case "/reset":
			panic(http.ErrAbortHandler)
		case "/endless":
			w.WriteHeader(http.StatusAccepted)
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 1000))
			}
			return http.StatusAccepted, ""
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
			return http.StatusFound, ""
		case "/inside":
			http.Redirect(w, r, "http://"+forbidden+"/", http.StatusTemporaryRedirect)
			return http.StatusTemporaryRedirect, ""
		}
		return http.StatusNoContent, "ok"
	})
	to.Start()
	data := filepath.Join(t.TempDir(), "data")
	server, c := startWith(t, data, []string{quickPace}, "--webhook-allow-http", "--webhook-allow-cidr", "127.0.0.1/32", "--webhook-handshake", "off")
	ids := map[string]string{} // of subscriptions, by path
	for path, want := range map[string]struct {
		requests int
		kind     string
	}{
		"/good": {3, "version.registered.v1"}, "/flaky": {9, "version.registered.v1"}, "/failing": {4, "model.registered.v1"},
		"/later": {4, "version.registered.v1"}, "/gone": {1, "version.registered.v1"}, "/hanging": {4, "model.registered.v1"},
		"/reset": {4, "model.registered.v1"}, "/endless": {1, "model.registered.v1"}, "/metadata": {4, "model.registered.v1"}, "/inside": {4, "model.registered.v1"},
	} {
		ids[path] = subscribe(t, c, map[string]any{"sink": to.URL + path, "types": []string{"dev.modelog." + want.kind}}).ID
		defer func() {
			if n := len(to.of(path)); n != want.requests {
				t.Errorf("%s got %d requests, want %d", path, n, want.requests)
			}
		}()
	}
	hidden := subscribe(t, c, map[string]any{"sink": "http://" + forbidden, "types": []string{"dev.modelog.model.registered.v1"}})
	registerModel(t, c, "fraud")
	for range 3 {
		registerVersion(t, c, "fraud")
	}
	eventually(t, "the endpoint that is gone is disabled", func() bool {
		s, err := call[api.Subscription](t.Context(), c, http.MethodGet, "/v1/subscriptions/"+ids["/gone"], nil)
		return err == nil && s.Status == "disabled" && s.StatusCause == "gone"
	})
	eventually(t, "all was tried", func() bool {
		return len(to.of("/flaky")) == 9 && len(to.of("/later")) == 4 && len(to.of("/hanging")) == 4 && len(to.of("/reset")) == 4 && len(to.of("/inside")) == 4
	})
	eventually(t, "the last hanging one times out", func() bool { return to.of("/hanging")[3].class != "" })
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}

	journal := journalOf(t, data)
	for path, id := range ids {
		compareLogs(t, path, to.of(path), journal(id))
	}
	if n := len(journal(hidden.ID)); n != 4 {
		t.Errorf("a forbidden address was tried %d times", n)
	}
	for i, a := range journal(hidden.ID) {
		if a.Class != "forbidden" || a.Status != 0 || a.Number != i+1 {
			t.Errorf("an attempt at a forbidden address is %+v", a)
		}
	}
	if n := reached(); n > 0 {
		t.Errorf("%d connections came to a forbidden address", n)
	}
	if later := to.of("/later"); later[1].at.Sub(later[0].at) < time.Second {
		t.Errorf("after 429 with Retry-After it came again after %v", later[1].at.Sub(later[0].at))
	}
	var order []uint64
	for _, d := range to.of("/flaky") {
		if n := d.sequence(t); !slices.Contains(order, n) {
			order = append(order, n)
		}
	}
	if !slices.IsSorted(order) {
		t.Errorf("they came in the order %v", order)
	}
}

// listenAt counts the connections to an address.
func listenAt(t *testing.T, address string) (hostPort string, accepted func() int) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var mu sync.Mutex
	n := 0
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return listener.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// journalOf gives the attempts of subscriptions, the first ones first, from the data
// directory of a server that has ended.
func journalOf(t *testing.T, data string) func(subscription string) []attempts.Attempt {
	t.Helper()
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	journal, err := attempts.Open(t.Context(), attempts.Config{JetStream: log.JetStream})
	if err != nil {
		t.Fatal(err)
	}
	return func(subscription string) (all []attempts.Attempt) {
		for before := uint64(0); ; {
			page, next, err := journal.List(t.Context(), ulid.MustParseStrict(subscription), attempts.Filter{}, before, 100)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, page...)
			if before = next; next == 0 {
				slices.Reverse(all)
				return all
			}
		}
	}
}

// compareLogs compares what a receiver says it got and answered with what the journal
// says was sent and came back.
func compareLogs(t *testing.T, path string, got []delivery, tried []attempts.Attempt) {
	t.Helper()
	type line struct {
		Sequence uint64
		Number   int
		Status   int
		Class    string
	}
	var theirs, ours []line
	numbers := map[uint64]int{}
	for _, d := range got {
		l := line{Sequence: d.sequence(t), Status: d.status, Class: d.class}
		numbers[l.Sequence]++
		l.Number = numbers[l.Sequence]
		switch path {
		case "/reset":
			l.Class = "reset"
		case "/endless":
			l.Class, l.Status = "ok", http.StatusAccepted
		case "/metadata", "/inside":
			l.Class = "redirect"
		}
		theirs = append(theirs, l)
	}
	for _, a := range tried {
		ours = append(ours, line{a.Sequence, a.Number, a.Status, a.Class})
		if last := a.Number == 4 && a.Class != "ok"; a.Dead != last {
			t.Errorf("%s: attempt %d has dead %v", path, a.Number, a.Dead)
		}
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("%s: the receiver (-) and the journal (+) differ:\n%s", path, diff)
	}
}

// TestAStopIsNotChargedToTheEndpoint stops a server while an endpoint hangs.
func TestAStopIsNotChargedToTheEndpoint(t *testing.T) {
	to := newSubscriber(t, func(_ http.ResponseWriter, r *http.Request, n int) (int, string) {
		if n == 1 {
			<-r.Context().Done()
			return 0, ""
		}
		return http.StatusOK, "ok"
	})
	to.Start()
	data := filepath.Join(t.TempDir(), "data")
	flags := []string{"--webhook-allow-http", "--webhook-allow-cidr", "127.0.0.0/8"}
	server, c := startWith(t, data, nil, flags...)
	subscription := subscribe(t, c, map[string]any{"sink": to.URL + "/hook", "types": []string{"dev.modelog.model.registered.v1"}})
	registerModel(t, c, "fraud")
	eventually(t, "the event comes", func() bool { return len(to.of("/hook")) == 1 })
	begin := time.Now()
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 6*time.Second {
		t.Errorf("the stop took %v", took)
	}
	server, _ = startWith(t, data, nil, flags...)
	eventually(t, "the event comes again", func() bool { return len(to.of("/hook")) == 2 && to.of("/hook")[1].class == "ok" })
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	if got := to.of("/hook"); got[0].id != got[1].id || string(got[0].body) != string(got[1].body) {
		t.Errorf("it came again as another one: %v, %v", got[0], got[1])
	}
	if tried := journalOf(t, data)(subscription.ID); len(tried) != 1 || tried[0].Number != 1 || tried[0].Class != "ok" {
		t.Errorf("the attempts are %+v", tried)
	}
}

// TestEndpointsAreAskedWhetherTheyWantDeliveries goes through the answers and the modes.
func TestEndpointsAreAskedWhetherTheyWantDeliveries(t *testing.T) {
	to := newSubscriber(t, func(w http.ResponseWriter, r *http.Request, _ int) (int, string) {
		if r.Method == http.MethodOptions {
			switch r.URL.Path {
			case "/yes":
				w.Header().Set("WebHook-Allowed-Origin", "*")
			case "/us":
				w.Header().Set("WebHook-Allowed-Origin", r.Header.Get("WebHook-Request-Origin"))
			case "/no":
				w.Header().Set("WebHook-Allowed-Origin", "other.example.com")
			}
		}
		return http.StatusOK, "ok"
	})
	to.Start()
	for mode, want := range map[string]string{"ask": "yes us silent", "require": "yes us", "off": "yes us silent no inside"} {
		_, c := startWith(t, filepath.Join(t.TempDir(), "data"), nil, "--webhook-allow-http", "--webhook-allow-cidr", "127.0.0.1/32", "--webhook-handshake", mode)
		var taken []string
		for _, path := range []string{"yes", "us", "silent", "no", "inside"} {
			sink := to.URL + "/" + path
			if path == "inside" {
				sink = "http://127.0.0.2:9/"
			}
			_, err := c.send(t.Context(), http.MethodPost, "/v1/subscriptions", map[string]any{"sink": sink})
			switch {
			case err == nil:
				taken = append(taken, path)
			case exitCode(err) != handlers.ExitInvalid || !strings.Contains(err.Error(), "/sink"):
				t.Errorf("%s: %s is refused with %v", mode, path, err)
			}
		}
		if got := strings.Join(taken, " "); got != want {
			t.Errorf("%s: it takes %s, want %s", mode, got, want)
		}
		list, err := call[api.SubscriptionList](t.Context(), c, http.MethodGet, "/v1/subscriptions", nil)
		if err != nil || len(list.Subscriptions) != len(taken) {
			t.Errorf("%s: there are %d subscriptions, %v", mode, len(list.Subscriptions), err)
		}
		if _, err = c.send(t.Context(), http.MethodPatch, "/v1/subscriptions/"+list.Subscriptions[0].ID, map[string]any{"sink": to.URL + "/no"}); (err == nil) != (mode == "off") {
			t.Errorf("%s: the change is answered with %v", mode, err)
		}
	}
}

// TestAnotherRegistryTakesDeliveriesOver kills the one of two that delivers.
func TestAnotherRegistryTakesDeliveriesOver(t *testing.T) {
	to := newSubscriber(t, always(http.StatusOK, "ok"))
	to.Start()
	nats, dir := logtest.StartServers(t, 1).URL(), t.TempDir()
	key := filepath.Join(dir, "secrets.key")
	if err := os.WriteFile(key, []byte("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(name string) (*process, *client) {
		return startWith(t, filepath.Join(dir, name), nil, "--nats", nats, "--secrets-key", key, "--webhook-allow-http", "--webhook-allow-cidr", "127.0.0.1/32")
	}
	first, one := start("1")
	subscribe(t, one, map[string]any{"sink": to.URL + "/hook", "types": []string{"dev.modelog.model.registered.v1"}})
	registerModel(t, one, "a")
	eventually(t, "the first one delivers", func() bool { return len(to.of("/hook")) == 1 })
	_, two := start("2")
	registerModel(t, two, "b")
	eventually(t, "the first one delivers what the other one wrote", func() bool { return len(to.of("/hook")) == 2 })
	first.kill()
	begin := time.Now()
	registerModel(t, two, "c")
	has := func() bool {
		return slices.ContainsFunc(to.of("/hook"), func(d delivery) bool { return strings.Contains(string(d.body), `"subject":"models/c"`) })
	}
	eventually(t, "the other one delivers", has)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took over after %v", took)
	}
}

// TestAKilledServerDeliversAtOnceWhenItIsBack has nobody to wait for.
func TestAKilledServerDeliversAtOnceWhenItIsBack(t *testing.T) {
	to := newSubscriber(t, always(http.StatusOK, "ok"))
	to.Start()
	data := filepath.Join(t.TempDir(), "data")
	flags := []string{"--webhook-allow-http", "--webhook-allow-cidr", "127.0.0.1/32"}
	server, c := startWith(t, data, nil, flags...)
	subscribe(t, c, map[string]any{"sink": to.URL + "/hook", "types": []string{"dev.modelog.model.registered.v1"}})
	registerModel(t, c, "a")
	eventually(t, "the event comes", func() bool { return len(to.of("/hook")) == 1 })
	server.kill()
	_, c = startWith(t, data, nil, flags...)
	begin := time.Now()
	registerModel(t, c, "b")
	eventually(t, "the next event comes", func() bool {
		all := to.of("/hook")
		return all[len(all)-1].id != all[0].id
	})
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("it came after %v", took)
	}
}
