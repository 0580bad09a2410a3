package api

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/handlers/seal"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/handlers/verify"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what the API needs. All fields but Hosts are required.
type Config struct {
	Registrar  *handlers.Registrar
	Runner     *runner.Runner // the registrar's, to read from
	Log        events.Log
	Principals *principals.Directory
	Verifier   *verify.Verifier // of the same log and state
	Hub        *fanout.Hub      // of the same log, for live streams
	// Vault keeps the endpoints of subscriptions; nil if there is none, so that
	// nobody can subscribe.
	Vault *vault.Vault
	// Matchers has the compiled filters of subscriptions; nil for one of its own.
	Matchers *subscription.Cache
	// Handshake asks an endpoint whether it wants to be delivered to; nil asks none. It
	// fails with a handlers.Refusal.
	Handshake func(ctx context.Context, endpoint vault.Endpoint) error
	// Deliveries has what is known of deliveries; nil if this server delivers nothing.
	Deliveries *Deliveries
	// SinksOverHTTP takes sinks that are no https URLs.
	SinksOverHTTP bool
	// Sealer seals the log; nil if nobody does.
	Sealer  *seal.Sealer
	Now     func() time.Time
	NewID   func(time.Time) ulid.ULID // for request ids
	Release string                    // what /version says
	// Hosts are the host names that requests may be made to, beside the
	// loopback ones: any other is the name of somebody else's web page.
	Hosts  []string
	Logger *slog.Logger
	// Metrics gives what /metrics serves.
	Metrics prometheus.Gatherer
	// OpenLineage reads the OpenLineage event that a published event holds, and when
	// it happened; nil takes none. It fails with a handlers.InvalidError.
	OpenLineage func(data []byte, now time.Time) (handlers.Command, time.Time, error)
	// Mounts are the routes of other dialects on the same server.
	Mounts []Mount
}

// Mount is a route of another dialect. It has the API's check of the Host, request
// ids, log lines and metrics, and nothing else of it.
type Mount struct {
	Method string // empty for all that have no route of their own
	Path   string // as http.ServeMux takes it
	// Serve answers a request with this id, and gives the status that it sent.
	Serve func(w http.ResponseWriter, r *http.Request, id string) (status int)
	// Refuse answers a request that must not be served, in the dialect's own shape.
	Refuse func(w http.ResponseWriter, r *http.Request, id string, why error) (status int)
}

// endpoint makes the row of a mount. What lies beside the routes is counted as no
// route.
func (m Mount) endpoint() endpoint {
	e := endpoint{method: m.Method, serve: func(c *call) error {
		c.status = m.Serve(c.w, c.r, c.id)
		return nil
	}}
	if m.Method != "" {
		e.path = m.Path
	}
	return e
}

// AsOf gives the view that as_of names: a sequence, or a time. It fails with
// handlers.InvalidError.
func AsOf(run *runner.Runner, now func() time.Time, asOf string) (projections.View, error) {
	c := call{server: &server{cfg: Config{Runner: run, Now: now}}}
	return c.asOf(asOf)
}

// TraceParent gives a request's W3C trace context, empty for one that is none.
func TraceParent(r *http.Request) string {
	c := call{r: r}
	return c.traceParent()
}

type server struct {
	cfg     Config
	mux     *http.ServeMux
	writes  *http.ServeMux // the routes that a what-if may ask about
	digests digests
	diffs   diffs
	shown   shownVersions
	metrics *metrics
	streams *streams
}

// Server is the API's handler together with its metrics.
type Server struct {
	http.Handler
	server *server
}

// New makes the API.
func New(cfg Config) *Server {
	if cfg.Matchers == nil {
		cfg.Matchers = &subscription.Cache{}
	}
	s := &server{cfg: cfg, mux: http.NewServeMux(), metrics: newMetrics(), streams: newStreams()}
	s.writes = planner(s.routes())
	for _, e := range s.routes() {
		s.mux.HandleFunc(e.method+" "+e.path, func(w http.ResponseWriter, r *http.Request) { s.handle(w, r, e) })
	}
	for _, m := range cfg.Mounts {
		e := m.endpoint()
		refuse := func(c *call, why error) { c.status = m.Refuse(c.w, c.r, c.id, why) }
		s.mux.HandleFunc(strings.TrimSpace(m.Method+" "+m.Path), func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, e, refuse) })
	}
	scrape := promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{})
	s.mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		s.handle(w, r, endpoint{path: "/metrics", serve: func(c *call) error {
			c.status = http.StatusOK
			scrape.ServeHTTP(w, r)
			return nil
		}})
	})
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.handle(w, r, endpoint{serve: s.noRoute}) })
	return &Server{Handler: s.mux, server: s}
}

// Collectors gives the API's metrics.
func (s *Server) Collectors() []prometheus.Collector {
	return slices.Concat(s.server.metrics.collectors(), s.server.streams.collectors())
}

func (s *server) routes() []endpoint {
	return slices.Concat(modelRoutes(), versionRoutes(), targetRoutes(), eventRoutes(), s.streamRoutes(), s.publishRoutes(), s.stateRoutes(), s.sealRoutes(), s.principalRoutes(), s.operationRoutes(), s.diffRoutes(), s.whatIfRoutes(), s.verifyRoutes(), s.deliveryRoutes(), s.pollRoutes(), auditRoutes(),
		lineageRoutes(), datasetRoutes(), s.subscriptionRoutes())
}

// Header values that every answer has. Nobody changes them.
var (
	noSniff = []string{"nosniff"}
	noStore = []string{"no-store"}
)

// handle takes a request through its endpoint, and logs one line of it.
func (s *server) handle(w http.ResponseWriter, r *http.Request, e endpoint) {
	s.answer(w, r, e, (*call).problem)
}

// answer does what handle does, and has errors shown by refuse.
func (s *server) answer(w http.ResponseWriter, r *http.Request, e endpoint, refuse func(*call, error)) {
	begin := s.cfg.Now()
	c := &call{w: w, r: r, server: s, id: s.cfg.NewID(begin).String()}
	c.header("Modelog-Request-Id", c.id)
	h := w.Header()
	h["X-Content-Type-Options"] = noSniff
	h["Cache-Control"] = noStore
	err := s.checkHost(r)
	if err == nil {
		err = e.serve(c)
	}
	if err != nil {
		refuse(c, err)
	}
	took := s.cfg.Now().Sub(begin)
	s.metrics.observe(r.Method, e.path, c.status, took)
	path := r.URL.EscapedPath()
	if e.personal {
		path = e.path
	}
	s.cfg.Logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
		slog.String("method", r.Method), slog.String("path", path), slog.Int("status", c.status),
		slog.Duration("took", took), slog.String("request_id", c.id))
}

// checkHost refuses requests to other names than ours: without it, a web page
// could point its own name at this server, and read the registry through the
// browser of somebody who can reach it (DNS rebinding).
func (s *server) checkHost(r *http.Request) error {
	host := r.Host
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	switch host {
	case "localhost", "127.0.0.1", "[::1]":
		return nil
	}
	if slices.Contains(s.cfg.Hosts, host) {
		return nil
	}
	return hostError{host}
}

type hostError struct{ host string }

func (hostError) Code() handlers.Code { return handlers.CodeForeignHost }

func (e hostError) Error() string {
	return "the Host " + strconv.Quote(e.host) + " is not one of this server's; start it with --allowed-host if it should be"
}

type routeError struct {
	code   handlers.Code
	detail string
}

func (e routeError) Code() handlers.Code { return e.code }
func (e routeError) Error() string       { return e.detail }

// noRoute answers what no endpoint takes: another method has a route, or none.
func (s *server) noRoute(c *call) error {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := c.r.Clone(context.Background())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return routeError{handlers.CodeRouteNotFound, "there is nothing at " + c.r.URL.EscapedPath() + "; /openapi.json lists what there is"}
	}
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return routeError{handlers.CodeMethodNotAllowed, c.r.URL.EscapedPath() + " takes " + strings.Join(allowed, ", ")}
}
