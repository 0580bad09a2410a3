package natspublish

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func natsServer(t *testing.T) *server.Server {
	t.Helper()
	ns, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server doesn't start")
	}
	t.Cleanup(func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	return ns
}

func connected(t *testing.T, ns *server.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(ns), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// serving starts a service, and waits until it answers.
func serving(t *testing.T, connection func() *nats.Conn, client *nats.Conn, handler http.HandlerFunc) *Service {
	t.Helper()
	s := Start(Config{Connection: connection, Handler: handler, Release: "test", Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { s.Stop(context.Background()) })
	answers(t, client)
	return s
}

func answers(t *testing.T, client *nats.Conn) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := client.Request("$SRV.PING.modelog", nil, time.Second); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("nobody serves")
		}
	}
}

func TestAMessageIsARequestOverHTTP(t *testing.T) {
	ns := natsServer(t)
	nc, client := connected(t, ns), connected(t, ns)
	var got *http.Request
	var body string
	serving(t, func() *nats.Conn { return nc }, client, func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got, body = r, string(data)
		w.Header().Set("Modelog-Sequence", "7")
		w.Header().Set("Content-Type", "text/x")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("done"))
	})
	for name, c := range map[string]struct {
		header nats.Header
		uri    string
		want   map[string]string
	}{
		"without headers": {nil, "/v1/events?", map[string]string{"Content-Type": "application/cloudevents+json"}},
		"a batch": {
			nats.Header{"content-type": {"application/cloudevents-batch+json"}, "modelog-atomic": {"true"}},
			"/v1/events?atomic=true",
			map[string]string{"Content-Type": "application/cloudevents-batch+json"},
		},
		"binary": {
			nats.Header{"ce-id": {"1"}, "CE-Type": {"t"}, "content-type": {"application/json"}, "Modelog-Dry-Run": {"true"}, "Modelog-Actor": {"mara"}, "Traceparent": {"x"}},
			"/v1/events?dry_run=true",
			map[string]string{"Ce-Id": "1", "Ce-Type": "t", "Content-Type": "application/json", "Modelog-Actor": "mara", "Traceparent": "x"},
		},
		"binary without data":   {nats.Header{"ce-id": {"1"}}, "/v1/events?", map[string]string{"Ce-Id": "1", "Content-Type": ""}},
		"headers of other kind": {nats.Header{"Host": {"evil"}, "Idempotency-Key": {"k"}}, "/v1/events?", map[string]string{"Host": "", "Idempotency-Key": ""}},
	} {
		answer, err := client.RequestMsg(&nats.Msg{Subject: Subject, Header: c.header, Data: []byte("{}")}, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if string(answer.Data) != "done" || answer.Header.Get(StatusHeader) != "201" || answer.Header.Get("Modelog-Sequence") != "7" || answer.Header.Get("Content-Type") != "text/x" {
			t.Errorf("%s: the answer is %q, %v", name, answer.Data, answer.Header)
		}
		if got.Method != http.MethodPost || got.URL.RequestURI() != c.uri || body != "{}" || got.Host != "localhost" || got.ContentLength != 2 {
			t.Errorf("%s: it is %s %s to %s with %q", name, got.Method, got.URL.RequestURI(), got.Host, body)
		}
		for header, value := range c.want {
			if got.Header.Get(header) != value {
				t.Errorf("%s: %s is %q, want %q", name, header, got.Header.Get(header), value)
			}
		}
	}
}

func TestARefusalIsAnErrorOfTheService(t *testing.T) {
	ns := natsServer(t)
	nc, client := connected(t, ns), connected(t, ns)
	serving(t, func() *nats.Conn { return nc }, client, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = w.Write([]byte(`{"code":"x"}`))
	})
	answer, err := client.Request(Subject, nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	h := answer.Header
	if string(answer.Data) != `{"code":"x"}` || h.Get("Nats-Service-Error-Code") != "422" || h.Get("Nats-Service-Error") != "Unprocessable Entity" || h.Get("Retry-After") != "1" {
		t.Errorf("got %q, %v", answer.Data, h)
	}
	stats, err := client.Request("$SRV.STATS.modelog", nil, 10*time.Second)
	if err != nil || !strings.Contains(string(stats.Data), `"subject":"modelog.publish"`) || !strings.Contains(string(stats.Data), `"data":{"answered":1,"refused":1,`) {
		t.Errorf("its statistics are %s, %v", stats.Data, err)
	}
}

// TestRequestsDoNotWaitForEachOther has as many as there may be answered at once; one
// more is refused.
func TestRequestsDoNotWaitForEachOther(t *testing.T) {
	ns := natsServer(t)
	nc, client := connected(t, ns), connected(t, ns)
	release, inside := make(chan struct{}), make(chan struct{}, maxWaiting)
	serving(t, func() *nats.Conn { return nc }, client, func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-release
	})
	var all sync.WaitGroup
	var failed atomic.Int32
	for range maxWaiting {
		all.Go(func() {
			if _, err := client.Request(Subject, nil, 30*time.Second); err != nil {
				failed.Add(1)
			}
		})
	}
	for range maxWaiting {
		<-inside
	}
	answer, err := client.Request(Subject, nil, 10*time.Second)
	if err != nil || answer.Header.Get("Nats-Service-Error-Code") != strconv.Itoa(http.StatusTooManyRequests) {
		t.Errorf("one more: %v, %v", answer, err)
	}
	close(release)
	if all.Wait(); failed.Load() != 0 {
		t.Errorf("%d have no answer", failed.Load())
	}
}

func TestItServesOnAConnectionThatIsReplaced(t *testing.T) {
	first, second := natsServer(t), natsServer(t)
	var current atomic.Pointer[nats.Conn]
	current.Store(connected(t, first))
	s := serving(t, current.Load, connected(t, first), func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	current.Load().Close()
	current.Store(connected(t, second))
	client := connected(t, second)
	answers(t, client)
	if answer, err := client.Request(Subject, nil, 10*time.Second); err != nil || string(answer.Data) != "ok" {
		t.Errorf("got %v, %v", answer, err)
	}
	s.Stop(t.Context())
	answer, err := client.Request(Subject, nil, 10*time.Second)
	if !errors.Is(err, nats.ErrNoResponders) && answer.Header.Get("Nats-Service-Error-Code") != "503" {
		t.Errorf("after the stop: %v, %v", answer, err)
	}
}

func TestAStopGivesUpWhatTakesTooLong(t *testing.T) {
	ns := natsServer(t)
	nc, client := connected(t, ns), connected(t, ns)
	inside := make(chan struct{})
	s := serving(t, func() *nats.Conn { return nc }, client, func(w http.ResponseWriter, r *http.Request) {
		close(inside)
		<-r.Context().Done()
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	if err := client.Publish(Subject, nil); err != nil {
		t.Fatal(err)
	}
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Stop(ctx)
}
