package mlflow

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
)

// Config is what the dialect needs. All fields are required, but for DenyLocalSources
// and those of webhooks.
type Config struct {
	Registrar  *handlers.Registrar
	Runner     *runner.Runner // the registrar's, to read from
	Principals *principals.Directory
	Now        func() time.Time
	// DenyLocalSources refuses versions whose files are on a local path. Otherwise
	// such a source is stored as any other, and never opened.
	DenyLocalSources bool
	Logger           *slog.Logger

	// Vault keeps the endpoints of webhooks; nil if there is none, so that there are no
	// webhooks.
	Vault *vault.Vault
	NewID func(time.Time) ulid.ULID // for what the vault keeps, and for tests of webhooks
	// SinksOverHTTP takes webhooks' URLs that are no https URLs.
	SinksOverHTTP bool
	// Handshake asks an endpoint whether it wants to be delivered to; nil asks none. It
	// fails with a handlers.Refusal.
	Handshake func(ctx context.Context, endpoint vault.Endpoint) error
	// Sender tries webhooks out; nil if nothing is delivered from here.
	Sender interface {
		Exchange(ctx context.Context, r webhooks.Request) webhooks.Exchange
	}
}

// Server answers MLflow's registry RPCs.
type Server struct{ cfg Config }

// New makes the dialect. Its Mounts go into the Config of the API, whose server
// serves them.
func New(cfg Config) *Server { return &Server{cfg} }

// The prefixes of every RPC: that of the clients, and that of MLflow's web pages.
var prefixes = []string{"/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/"}

// elsewhere is what lies around the prefixes: a client that asks for more than the
// registry learns so in its own terms.
var elsewhere = []string{"/api/", "/ajax-api/"}

// rpc is one row of the table of routes.
type rpc struct {
	method, path string // the path below a prefix
	schema       []field
	serve        func(c *call) (any, error) // gives the answer to encode
}

// routes lists all RPCs. Routes of another subject join here.
func routes() []rpc {
	var all []rpc
	for _, subject := range [][]rpc{modelRoutes, versionRoutes, aliasRoutes, tagRoutes, searchRoutes, webhookRoutes} {
		all = append(all, subject...)
	}
	return all
}

// Mounts gives the routes for the API's server.
func (s *Server) Mounts() []api.Mount {
	var mounts []api.Mount
	for _, prefix := range prefixes {
		for _, e := range routes() {
			mounts = append(mounts, s.mount(e.method, prefix+e.path, e))
		}
	}
	for _, path := range elsewhere {
		mounts = append(mounts, s.mount("", path, rpc{serve: noSuchEndpoint}))
	}
	return mounts
}

func (s *Server) mount(method, path string, e rpc) api.Mount {
	return api.Mount{
		Method: method, Path: path,
		Serve: func(w http.ResponseWriter, r *http.Request, id string) int {
			c := &call{server: s, w: w, r: r, id: id}
			return c.run(e)
		},
		Refuse: func(w http.ResponseWriter, r *http.Request, id string, err error) int {
			c := &call{server: s, w: w, r: r, id: id}
			return c.refuse(err)
		},
	}
}

func noSuchEndpoint(c *call) (any, error) {
	return nil, refusal{handlers.CodeRouteNotFound, "No such endpoint: " + c.r.Method + " " + c.r.URL.EscapedPath() +
		". This server has MLflow's model registry only."}
}

// call is one request on its way.
type call struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	id     string // of the request
	params params
	// version is the one that the request is about, in its normal spelling; empty
	// when it is about a model.
	version string
	asOf    string // as the request has it, set by view
}

// empty is the answer of RPCs that have nothing to say.
type empty struct{}

// run takes the request through its RPC, and gives the status that was sent.
func (c *call) run(e rpc) int {
	if e.schema != nil {
		if err := c.decode(e.schema); err != nil {
			return c.refuse(err)
		}
	}
	value, err := e.serve(c)
	if err != nil {
		return c.refuse(err)
	}
	return c.send(http.StatusOK, value)
}

// send answers with a value as JSON.
func (c *call) send(status int, value any) int {
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	if err := json.MarshalWrite(buf, value); err != nil {
		c.server.cfg.Logger.LogAttrs(c.r.Context(), slog.LevelError, "internal error", slog.String("request_id", c.id), slog.Any("error", err))
		status = http.StatusInternalServerError
		buf.Reset()
		buf.WriteString(`{"error_code":"INTERNAL_ERROR","message":"The answer could not be written."}`)
	}
	h := c.w.Header()
	h["Content-Type"] = jsonMedia
	h["Content-Length"] = []string{strconv.Itoa(buf.Len())}
	c.w.WriteHeader(status)
	// A client that has gone away can't be told so.
	_, _ = c.w.Write(buf.Bytes())
	return status
}

var jsonMedia = []string{"application/json"} // nobody changes it

// buffers are for bodies, of which nothing is kept.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// view gives the state that a read is made on: that of as_of, or now.
func (c *call) view() (projections.View, error) {
	v := c.server.cfg.Runner.Now()
	if c.r.URL.RawQuery != "" {
		if query := c.r.URL.Query(); query.Has("as_of") {
			c.asOf = query.Get("as_of")
			var err error
			if v, err = api.AsOf(c.server.cfg.Runner, c.server.cfg.Now, c.asOf); err != nil {
				return v, err
			}
		}
	}
	c.setSequence(v.Sequence)
	return v, nil
}

func (c *call) setSequence(sequence uint64) {
	c.w.Header()["Modelog-Sequence"] = []string{strconv.FormatUint(sequence, 10)}
}

// patience is how long an uncertain outcome is waited out: the client would post
// again, and without a key that would be another event.
const patience = time.Minute

// do hands a command to the registrar, and gives the view as of its outcome. tags
// are those that the command sets, nil for none.
func (c *call) do(cmd handlers.Command, tags map[string]string) (projections.View, events.Resource, error) {
	outcome, err := c.ask(cmd, tags)
	if err != nil {
		return projections.View{}, events.Resource{}, err
	}
	return c.server.cfg.Runner.At(outcome.Sequence), outcome.Resource, nil
}

// ask hands a command to the registrar, as do does.
func (c *call) ask(cmd handlers.Command, tags map[string]string) (outcome handlers.Outcome, err error) {
	request := handlers.Request{
		Command: cmd, CorrelationID: c.id, TraceParent: api.TraceParent(c.r), Patience: patience,
	}
	// A request that is wrong in itself brings nobody into the directory.
	if err := request.Check(); err != nil {
		return outcome, err
	}
	if request.Principal, err = c.actor(c.r.Context()); err != nil {
		return outcome, err
	}
	if err := c.hideUser(tags); err != nil {
		return outcome, err
	}
	if outcome, err = c.server.cfg.Registrar.Do(c.r.Context(), request); err == nil {
		c.setSequence(outcome.Sequence)
	}
	return outcome, err
}
