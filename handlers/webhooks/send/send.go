package send

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"time"

	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/vault"
)

// Limits of an attempt, and of the connections that are kept for the next.
const (
	defaultTimeout = 15 * time.Second // of a whole attempt
	// grace is how long an attempt may go on when its caller stops: most come to their
	// end in that time, and needn't be made again.
	grace = 2 * time.Second

	maxAnswerHeaders = 32 << 10 // bytes
	maxIdle          = 1024     // connections
	maxIdlePerHost   = 32       // as many as a subscription has in flight, twice
	idleTimeout      = 30 * time.Second
	maxSessions      = 1024 // of TLS, to be resumed
	http2Stream      = 128 << 10
	http2Connection  = 1 << 20
	http2Silence     = 15 * time.Second // before a connection is asked whether it is there
	http2Patience    = 5 * time.Second  // for its answer
)

// Config is what a sender needs.
type Config struct {
	// Allow has networks that may be sent to, at any port, beside the public Internet.
	Allow []netip.Prefix
	// AllowHTTP sends to URLs without TLS too.
	AllowHTTP bool
	Timeout   time.Duration // of a whole attempt, 15 s if 0
	UserAgent string
	// Origin names this registry to endpoints that ask who sends, as a DNS name does;
	// empty for none. See Handshake.
	Origin string
	Now    func() time.Time // monotonic

	Resolver *net.Resolver  // nil for the system's
	Roots    *x509.CertPool // of TLS, nil for the system's
}

// Sender sends deliveries. Its methods are safe for concurrent use.
type Sender struct {
	cfg       Config
	transport *http.Transport
	dialer    *net.Dialer
	ctx       context.Context
	cancel    context.CancelFunc
}

// New makes a sender, which must be closed.
func New(cfg Config) *Sender {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	s := &Sender{cfg: cfg, dialer: &net.Dialer{Control: newGuard(cfg.Allow).check, Resolver: cfg.Resolver}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.transport = &http.Transport{
		// No Proxy: the guard would see the proxy's address only.
		DialContext: s.dial, DialTLSContext: s.dialTLS,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots, ClientSessionCache: tls.NewLRUClientSessionCache(maxSessions), Time: cfg.Now,
		},
		ForceAttemptHTTP2:  true,
		DisableCompression: true, // nobody needs it, and it has no size before it is unpacked
		MaxIdleConns:       maxIdle, MaxIdleConnsPerHost: maxIdlePerHost, IdleConnTimeout: idleTimeout,
		MaxResponseHeaderBytes: maxAnswerHeaders,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: http2Stream, MaxReceiveBufferPerConnection: http2Connection,
			SendPingTimeout: http2Silence, PingTimeout: http2Patience,
		},
	}
	return s
}

// Close ends all attempts and closes all connections. Whoever is still sending gets a
// result that is Ours.
func (s *Sender) Close() {
	s.cancel()
	s.transport.CloseIdleConnections()
}

// dial may outlive the attempt that it began for, to serve the next one.
func (s *Sender) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return s.dialer.DialContext(ctx, network, address)
}

// tlsError tells what went wrong with TLS from all else.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

func (s *Sender) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	raw, err := s.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	cfg := s.transport.TLSClientConfig.Clone()
	cfg.ServerName = host
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(&tlsError{err}, raw.Close())
	}
	return conn, nil
}

// errStopping is the cause of an attempt's end when modelog ends it.
var errStopping = errors.New("the registry is stopping")

// attempt gives the context of an attempt. It outlives the caller's by the grace.
func (s *Sender) attempt(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	attempt, end := context.WithCancelCause(timed)
	stopped := context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { end(errStopping) }) })
	closed := context.AfterFunc(s.ctx, func() { end(errStopping) })
	return attempt, func() {
		stopped()
		closed()
		cancel()
	}
}

// Send makes one attempt. A result is Ours if modelog itself was at fault, or if the
// context ended before there was an answer: an attempt under way has a grace of 2 s
// then.
func (s *Sender) Send(ctx context.Context, r webhooks.Request) webhooks.Result {
	return s.exchange(ctx, &r).Result
}

// Exchange makes one attempt as Send does, for somebody to look at. The headers of the
// endpoint itself may be secrets and are left out of what was sent.
func (s *Sender) Exchange(ctx context.Context, r webhooks.Request) webhooks.Exchange {
	x := s.exchange(ctx, &r)
	x.Sent = x.Sent.Clone()
	for name := range r.Endpoint.Header {
		if x.Sent.Get(name) == r.Endpoint.Header[name] {
			x.Sent.Del(name)
		}
	}
	return x
}

func (s *Sender) exchange(ctx context.Context, r *webhooks.Request) (x webhooks.Exchange) {
	begin := s.cfg.Now()
	defer func() { x.Result.Duration = s.cfg.Now().Sub(begin) }()
	if err := errors.Join(ctx.Err(), s.ctx.Err()); err != nil {
		x.Result = ours()
		return x
	}
	ctx, cancel := s.attempt(ctx, s.cfg.Timeout)
	defer cancel()
	request, err := s.request(ctx, http.MethodPost, r.Endpoint, r.Body)
	if err == nil {
		x.Sent = request.Header
		for name, values := range r.Header {
			request.Header[http.CanonicalHeaderKey(name)] = values
		}
		request.Header["Content-Type"] = []string{r.ContentType}
		err = sign(request.Header, r)
	}
	if err != nil {
		x.Result = s.failed(ctx, err, false)
		return x
	}
	x.Result, x.Got = s.do(request)
	return x
}

// request makes a request with what they all have. It fails with ErrForbidden.
func (s *Sender) request(ctx context.Context, method string, to vault.Endpoint, body []byte) (*http.Request, error) {
	u, err := url.Parse(to.URL)
	switch {
	case err != nil: // whose text has the URL
		return nil, errURL
	case u.Scheme != "https" && (u.Scheme != "http" || !s.cfg.AllowHTTP):
		return nil, fmt.Errorf("%w: it is no https URL", ErrForbidden)
	}
	r, err := http.NewRequestWithContext(ctx, method, to.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errURL
	}
	r.Header["User-Agent"] = []string{s.cfg.UserAgent}
	for name, value := range to.Header {
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
	}
	if s.cfg.Origin != "" {
		r.Header["Webhook-Request-Origin"] = []string{s.cfg.Origin}
	}
	return r, nil
}

var errURL = errors.New("the URL of the endpoint is damaged; set the sink anew")

// do makes a request, and reads what is kept of the answer.
func (s *Sender) do(r *http.Request) (webhooks.Result, http.Header) {
	began := false
	trace := &httptrace.ClientTrace{GotFirstResponseByte: func() { began = true }}
	response, err := s.transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil {
		return s.failed(r.Context(), err, began), nil
	}
	defer response.Body.Close() //nolint:errcheck // nothing is to be had of it any more
	result := webhooks.Result{Status: response.StatusCode, Class: classOf(response.StatusCode), Body: beginning(response)}
	if result.Class != attempts.ClassOK {
		result.RetryAfter = retryAfter(response.Header.Get("Retry-After"), s.cfg.Now())
	}
	return result, response.Header
}
