package send

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
)

func write(conn *net.TCPConn, text string) { _, _ = io.WriteString(conn, text) }

// reset ends a connection with RST.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// TestEndpointsThatMisbehave are answered for by their class, and each is asked once.
func TestEndpointsThatMisbehave(t *testing.T) {
	const short = 300 * time.Millisecond
	long := strings.Repeat("x", 100<<10)
	for _, c := range []struct {
		name    string
		handle  func(*net.TCPConn)
		class   string
		status  int
		body    string // the beginning of it
		atLeast time.Duration
	}{
		{"nothing comes", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, "timeout", 0, "", short},
		{"headers come slowly", func(c *net.TCPConn) {
			for write(c, "HTTP/1.1 200 OK\r\nX: "); ; time.Sleep(10 * time.Millisecond) {
				if _, err := io.WriteString(c, "y"); err != nil {
					return
				}
			}
		}, "timeout", 0, "", short},
		{"headers never end", func(c *net.TCPConn) {
			for write(c, "HTTP/1.1 200 OK\r\nX: "); ; {
				if _, err := io.WriteString(c, long); err != nil {
					return
				}
			}
		}, "protocol", 0, "", 0},
		{"informational answers never end", func(c *net.TCPConn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"); err != nil {
					return
				}
			}
		}, "protocol", 0, "", 0},
		{"the body never ends", func(c *net.TCPConn) {
			for write(c, "HTTP/1.1 200 OK\r\n\r\n"); ; {
				if _, err := io.WriteString(c, long); err != nil {
					return
				}
			}
		}, "ok", 200, "xxx", 0},
		{"the body comes slowly", func(c *net.TCPConn) {
			for write(c, "HTTP/1.1 202 Accepted\r\n\r\n"); ; time.Sleep(10 * time.Millisecond) {
				if _, err := io.WriteString(c, "y"); err != nil {
					return
				}
			}
		}, "ok", 202, "yy", short},
		{"the body of a failure never ends", func(c *net.TCPConn) {
			write(c, "HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\nno")
			_, _ = io.Copy(io.Discard, c)
		}, "status", 500, "no", short},
		{"the body breaks off", func(c *net.TCPConn) { write(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") }, "ok", 200, "abc", 0},
		{"the connection is reset", reset, "reset", 0, "", 0},
		{"the connection is reset within the headers", func(c *net.TCPConn) { write(c, "HTTP/1.1 200"); reset(c) }, "reset", 0, "", 0},
		{"the connection is closed", func(*net.TCPConn) {}, "reset", 0, "", 0},
		{"the connection is closed within the headers", func(c *net.TCPConn) { write(c, "HTTP/1.1 200 OK\r\nA: b\r\n") }, "reset", 0, "", 0},
		{"it speaks something else", func(c *net.TCPConn) { write(c, "SSH-2.0-OpenSSH_9.9\r\n") }, "protocol", 0, "", 0},
		{"another protocol is switched to", func(c *net.TCPConn) {
			write(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}, "status", 101, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address, accepted := bare(t, "127.0.0.1:0", c.handle)
			s := newSender(t, func(cfg *Config) {
				if c.atLeast > 0 {
					cfg.Timeout = short
				}
			})
			got := s.Send(t.Context(), requestTo("http://"+address))
			if got.Class != c.class || got.Status != c.status || got.Ours || got.Duration < c.atLeast || got.Duration > 10*time.Second {
				t.Errorf("it is %+v", got)
			}
			if c.class != "protocol" && !strings.HasPrefix(string(got.Body), c.body) || len(got.Body) > attempts.MaxBody {
				t.Errorf("the body is %.50q, %d bytes", got.Body, len(got.Body))
			}
			if n := accepted(); n != 1 {
				t.Errorf("it was asked %d times", n)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	closed, _ := bare(t, "127.0.0.1:0", nil)
	port := netip.MustParseAddrPort(closed).Port()
	free := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), port).String()
	if got := newSender(t, nil).Send(t.Context(), requestTo("http://"+free)); got.Class != "refused" || got.Ours {
		t.Errorf("it is %+v", got)
	}
}

func TestANameThatIsNone(t *testing.T) {
	s := newSender(t, func(c *Config) { c.Resolver = names(t, func(string) []netip.Addr { return nil }) })
	if got := s.Send(t.Context(), requestTo("https://nowhere.example.com")); got.Class != "dns" || got.Ours {
		t.Errorf("it is %+v", got)
	}
	s = newSender(t, func(c *Config) { c.Resolver = names(t, func(string) []netip.Addr { return []netip.Addr{} }) })
	if got := s.Send(t.Context(), requestTo("https://empty.example.com")); got.Class != "dns" || got.Ours {
		t.Errorf("it is %+v", got)
	}
}

func TestTLS(t *testing.T) {
	good := newReceiver(t, nil, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	roots := x509.NewCertPool()
	roots.AddCert(good.Certificate())
	old := newReceiver(t, nil, func(s *httptest.Server) {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // that is the test
		s.StartTLS()
	})
	asking := newReceiver(t, nil, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.StartTLS()
	})
	plain := newReceiver(t, nil, nil)
	silent, _ := bare(t, "127.0.0.1:0", func(*net.TCPConn) {})
	resolver := names(t, func(string) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
	for _, c := range []struct {
		name, url string
		roots     *x509.CertPool
		class     string
	}{
		{"good", good.URL, roots, "ok"},
		{"of an unknown authority", good.URL, x509.NewCertPool(), "tls"},
		{"of another name", strings.Replace(good.URL, "127.0.0.1", "hooks.modelog.dev", 1), roots, "tls"},
		{"too old", old.URL, roots, "tls"},
		{"asking for a certificate", asking.URL, roots, "tls"},
		{"none at all", strings.Replace(plain.URL, "http:", "https:", 1), roots, "tls"},
		{"ended at once", "https://" + silent, roots, "tls"},
	} {
		s := newSender(t, func(cfg *Config) { cfg.Roots, cfg.Resolver = c.roots, resolver })
		got := s.Send(t.Context(), requestTo(c.url))
		if got.Class != c.class || got.Ours || (c.class == "tls") != (len(got.Body) > 0) {
			t.Errorf("%s: it is %s, %q", c.name, got.Class, got.Body)
		}
	}
	if requests, _ := good.all(); len(requests) != 1 || requests[0].ProtoMajor != 2 {
		t.Errorf("%d came, by %s", len(requests), requests[0].Proto)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(*httptest.Server)
		size  int
	}{
		{"HTTP/1.1", (*httptest.Server).Start, 0},
		{"HTTP/1.1 with long answers", (*httptest.Server).Start, attempts.MaxBody + 30_000},
		{"TLS", (*httptest.Server).StartTLS, 100},
		{"HTTP/2", func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = io.WriteString(w, strings.Repeat("x", c.size))
			}, c.start)
			s := newSender(t, func(cfg *Config) {
				if to.Certificate() != nil {
					cfg.Roots = x509.NewCertPool()
					cfg.Roots.AddCert(to.Certificate())
				}
			})
			for range 20 {
				if got := s.Send(t.Context(), requestTo(to.URL)); got.Status != 500 || len(got.Body) != min(c.size, attempts.MaxBody) {
					t.Fatalf("it is %+v", got)
				}
			}
			if requests, connections := to.all(); len(requests) != 20 || connections != 1 {
				t.Errorf("%d requests came over %d connections", len(requests), connections)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 120 ": 2 * time.Minute, "-1": 0, "1.5": 0, "soon": 0, "86401": maxRetryAfter,
		"99999999999999999999999": maxRetryAfter, "Tue, 24 Nov 2026 12:00:30 GMT": 30 * time.Second, "Tue, 24 Nov 2026 11:00:00 GMT": 0,
		"Tuesday, 24-Nov-26 12:01:00 GMT": time.Minute, "Tue Nov 24 12:01:00 2026": time.Minute, "Fri, 24 Nov 2096 12:00:00 GMT": maxRetryAfter,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
	to := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(http.StatusTooManyRequests)
	}, nil)
	if got := newSender(t, nil).Send(t.Context(), requestTo(to.URL)); got.RetryAfter != 9*time.Second || got.Class != "status" {
		t.Errorf("it is %+v", got)
	}
}

// TestAStopHasAGrace: what is answered soon after is a result, the rest is Ours.
func TestAStopHasAGrace(t *testing.T) {
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	hanging := newReceiver(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release }, nil)
	answering := newReceiver(t, func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		time.Sleep(100 * time.Millisecond) // not a wait for anything: it is within the grace
	}, nil)
	s := newSender(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan webhooks.Result, 2)
	for _, to := range []*receiver{hanging, answering} {
		go func() { results <- s.Send(ctx, requestTo(to.URL)) }()
	}
	<-arrived
	<-arrived
	cancel()
	if got := <-results; got.Class != "ok" || got.Ours {
		t.Errorf("what is answered is %+v", got)
	}
	if got := <-results; !got.Ours || got.Status != 0 || got.Duration < grace || got.Duration > grace+5*time.Second {
		t.Errorf("what hangs is %+v", got)
	}
	close(release)
	if got := s.Send(ctx, requestTo(answering.URL)); !got.Ours {
		t.Errorf("what begins after the end is %+v", got)
	}
	if requests, _ := answering.all(); len(requests) != 1 {
		t.Error("something was sent after the end")
	}
}

func TestCloseEndsEverything(t *testing.T) {
	arrived := make(chan struct{})
	address, _ := bare(t, "127.0.0.1:0", func(c *net.TCPConn) { close(arrived); _, _ = io.Copy(io.Discard, c) })
	s := newSender(t, nil)
	results := make(chan webhooks.Result)
	go func() { results <- s.Send(t.Context(), requestTo("http://"+address)) }()
	<-arrived
	s.Close()
	if got := <-results; !got.Ours || got.Duration > grace {
		t.Errorf("it is %+v", got)
	}
	if got := s.Send(t.Context(), requestTo("http://"+address)); !got.Ours {
		t.Errorf("what begins after is %+v", got)
	}
}

// TestWhatThisMachineLacksIsOurs looks at errors alone, which are hard to come by.
func TestWhatThisMachineLacksIsOurs(t *testing.T) {
	s := newSender(t, nil)
	if !s.routed() {
		t.Skip("this machine has no route to the Internet")
	}
	dial := func(e error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", e)}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{dial(syscall.EMFILE), "ours"},
		{dial(syscall.ENFILE), "ours"},
		{dial(syscall.ENOBUFS), "ours"},
		{dial(syscall.EADDRNOTAVAIL), "ours"},
		{dial(syscall.ENETUNREACH), "no_route"}, // since there are others
		{dial(syscall.EHOSTUNREACH), "no_route"},
		{dial(syscall.ECONNREFUSED), "refused"},
		{dial(syscall.ETIMEDOUT), "timeout"},
		{&net.DNSError{Err: "server misbehaving", IsTemporary: true}, "dns"},
		{errors.New("http: server closed idle connection"), "reset"},
		{fmt.Errorf("write: %w", os.NewSyscallError("write", syscall.EPIPE)), "reset"},
	} {
		if got := s.failed(t.Context(), c.err, false); got.Class != c.want || got.Ours != (c.want == "ours") {
			t.Errorf("%v is %+v", c.err, got)
		}
	}
}

func TestAnExchangeShowsNoSecrets(t *testing.T) {
	to := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Seen", "yes")
		_, _ = io.WriteString(w, "thanks")
	}, nil)
	r := requestTo(to.URL)
	r.Endpoint.Header = map[string]string{"Authorization": "Bearer x", "X-Api-Key": "y"}
	x := newSender(t, nil).Exchange(t.Context(), r)
	if x.Result.Class != "ok" || string(x.Result.Body) != "thanks" || x.Got.Get("X-Seen") != "yes" || x.Sent.Get("webhook-id") != vectorID {
		t.Errorf("it is %+v", x)
	}
	if x.Sent.Get("Authorization") != "" || x.Sent.Get("X-Api-Key") != "" {
		t.Errorf("secrets are shown: %v", x.Sent)
	}
	if requests, _ := to.all(); requests[0].Header.Get("X-Api-Key") != "y" {
		t.Error("the headers weren't sent")
	}
	to.Close()
	if x := newSender(t, nil).Exchange(t.Context(), r); x.Result.Class != "refused" || x.Got != nil || x.Sent.Get("webhook-id") != vectorID {
		t.Errorf("without an answer it is %+v", x)
	}
}

func TestHandshake(t *testing.T) {
	for _, c := range []struct {
		name, allowed string
		status        int
		want          error
	}{
		{"everybody", "*", 200, nil},
		{"this one", "Registry.Example.com", 200, nil},
		{"with a failure's status, which proves nothing", "*", 500, nil},
		{"another one", "other.example.com", 200, ErrRefused},
		{"a list", "other.example.com, registry.example.com", 200, ErrRefused},
		{"no word", "", 200, ErrSilent},
		{"no such method", "", 405, ErrSilent},
		{"a redirect", "", 302, ErrSilent},
	} {
		to := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.allowed != "" {
				w.Header().Set("WebHook-Allowed-Origin", c.allowed)
				w.Header().Set("WebHook-Allowed-Rate", "120")
			}
			w.WriteHeader(c.status)
		}, nil)
		s := newSender(t, func(cfg *Config) { cfg.Origin = "registry.example.com" })
		endpoint := requestTo(to.URL + "/hook").Endpoint
		endpoint.Header = map[string]string{"Authorization": "Bearer x"}
		if err := s.Handshake(t.Context(), endpoint); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		requests, _ := to.all()
		if q := requests[0]; len(requests) != 1 || q.Method != http.MethodOptions || q.RequestURI != "/hook" ||
			q.Header.Get("WebHook-Request-Origin") != "registry.example.com" || q.Header.Get("Authorization") != "Bearer x" || len(q.body) > 0 {
			t.Errorf("%s: it asked %s %s with %v", c.name, q.Method, q.RequestURI, q.Header)
		}
	}
	s := newSender(t, func(cfg *Config) { cfg.Allow, cfg.Timeout = loopback[:1], 200*time.Millisecond })
	hanging, _ := bare(t, "127.0.0.1:0", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	for url, want := range map[string]error{"http://" + hanging: ErrSilent, "http://10.0.0.1": ErrForbidden, "http://127.0.0.9:9": ErrSilent} {
		if err := s.Handshake(t.Context(), requestTo(url).Endpoint); !errors.Is(err, want) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	s := New(Config{Allow: loopback, AllowHTTP: true, Now: time.Now})
	defer s.Close()
	r := requestTo(server.URL)
	b.ReportAllocs()
	for b.Loop() {
		if got := s.Send(b.Context(), r); got.Class != "ok" {
			b.Fatal(got)
		}
	}
}
