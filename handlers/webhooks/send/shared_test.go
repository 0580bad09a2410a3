package send

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Documented by Standard Webhooks.
const (
	vectorID     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorBody   = `{"test": 2432232314}`
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// newSender makes one that may send to this machine, without TLS too.
func newSender(t *testing.T, change func(*Config)) *Sender {
	t.Helper()
	cfg := Config{Allow: loopback, AllowHTTP: true, UserAgent: "modelog/test", Now: time.Now}
	if change != nil {
		change(&cfg)
	}
	s := New(cfg)
	t.Cleanup(s.Close)
	return s
}

func requestTo(url string) webhooks.Request {
	return webhooks.Request{
		ID: vectorID, Time: time.Now(), Body: []byte(vectorBody), ContentType: "application/cloudevents+json",
		Endpoint: vault.Endpoint{URL: url, Secrets: []vault.Secret{{Key: vectorSecret}}},
	}
}

// received is a request as its receiver saw it.
type received struct {
	*http.Request
	body []byte
}

// receiver answers all requests, and keeps them.
type receiver struct {
	*httptest.Server
	mu          sync.Mutex
	requests    []received // guarded by mu
	connections int        // guarded by mu; made in all
}

func newReceiver(t *testing.T, answer http.HandlerFunc, prepare func(*httptest.Server)) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.requests = append(r.requests, received{q, body})
		r.mu.Unlock()
		if answer != nil {
			answer(w, q)
		}
	}))
	r.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			r.mu.Lock()
			r.connections++
			r.mu.Unlock()
		}
	}
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	if prepare != nil {
		prepare(r.Server)
	} else {
		r.Start()
	}
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

// all gives the requests so far, and how many connections were made.
func (r *receiver) all() ([]received, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests, r.connections
}

// bare takes connections, and has each one handled once its request has begun to come.
func bare(t *testing.T, address string, handle func(*net.TCPConn)) (hostPort string, accepted func() int) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := 0
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			count++
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close() //nolint:errcheck // a test's
				_, _ = conn.Read(make([]byte, 4096))
				handle(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		wg.Wait()
	})
	return listener.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

// names is a name server whose answers a test decides on, at each look-up.
func names(t *testing.T, lookUp func(name string) []netip.Addr) *net.Resolver {
	t.Helper()
	server, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for data := make([]byte, 4096); ; {
			n, from, err := server.ReadFrom(data)
			if err != nil {
				return
			}
			if _, err := server.WriteTo(answerName(t, data[:n], lookUp), from); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func answerName(t *testing.T, question []byte, lookUp func(name string) []netip.Addr) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		t.Errorf("a look-up can't be read: %v", err)
		return nil
	}
	q := m.Questions[0]
	addresses := lookUp(q.Name.String())
	m.Response, m.Additionals = true, nil
	if addresses == nil {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addresses {
		r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 0}}
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			r.Body = &dnsmessage.AResource{A: a.As4()}
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			r.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		default:
			continue
		}
		m.Answers = append(m.Answers, r)
	}
	data, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return data
}
