package openlineage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/projections/runner"
)

// Config is what the dialect needs. All fields are required.
type Config struct {
	Registrar  *handlers.Registrar
	Runner     *runner.Runner // the registrar's, to read from
	Principals *principals.Directory
	Now        func() time.Time
	Logger     *slog.Logger
}

// Server takes OpenLineage events.
type Server struct{ cfg Config }

// New makes the dialect. Its Mounts go into the Config of the API, whose server
// serves them.
func New(cfg Config) *Server { return &Server{cfg} }

// Mounts gives the routes for the API's server: the paths of the specification,
// and those below /api/v1 that Marquez made and every client uses unless told
// otherwise, with Marquez's question for the lineage of a node.
func (s *Server) Mounts() []api.Mount {
	return []api.Mount{
		s.mount(http.MethodPost, "/api/v1/lineage", (*call).event),
		s.mount(http.MethodPost, "/lineage", (*call).event),
		s.mount(http.MethodPost, "/api/v1/lineage/batch", (*call).batch),
		s.mount(http.MethodPost, "/lineage/batch", (*call).batch),
		s.mount(http.MethodGet, "/api/v1/lineage", (*call).lineage),
	}
}

func (s *Server) mount(method, path string, serve func(*call) error) api.Mount {
	return api.Mount{
		Method: method, Path: path,
		Serve: func(w http.ResponseWriter, r *http.Request, id string) int {
			c := &call{server: s, w: w, r: r, id: id}
			if err := serve(c); err != nil {
				return api.Refuse(w, r, id, s.cfg.Logger, err)
			}
			return c.status
		},
		Refuse: func(w http.ResponseWriter, r *http.Request, id string, err error) int {
			return api.Refuse(w, r, id, s.cfg.Logger, err)
		},
	}
}

// call is one request on its way. Credentials that it brings are looked at by
// nobody.
type call struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	id     string // of the request
	status int    // that was sent
}

// Received says what became of an event.
type Received struct {
	// Sequence is that of the event on the log.
	Sequence uint64 `json:"sequence"`
	// Marks are what was lenient about reading it.
	Marks []Mark `json:"marks,omitempty"`
}

// event takes a single event: 201 when it was written, 200 when the very same one
// had been written before.
func (c *call) event() error {
	body, err := readBody(c.w, c.r, eventLimits)
	if err != nil {
		return err
	}
	e, err := Parse(body, c.server.cfg.Now())
	if err != nil {
		return err
	}
	sequence, written, err := c.report(c.r.Context(), e)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if written {
		status = http.StatusCreated
	}
	c.w.Header().Set("Modelog-Sequence", strconv.FormatUint(sequence, 10))
	return c.send(status, Received{sequence, e.Marks})
}

// report has an event written, and gives its sequence. Its key is the hash of its
// bytes: a client that sends an event again, because an answer was lost, has it on
// the log once. The same bytes that an earlier release read otherwise are the same
// event all the same.
func (c *call) report(ctx context.Context, e Event) (sequence uint64, written bool, err error) {
	if len(e.Raw) > events.MaxEventBytes {
		return 0, false, handlers.TooLargeError{Limit: events.MaxEventBytes}
	}
	hash := sha256.Sum256([]byte(e.Raw))
	request := handlers.Request{
		Command: command(e), CorrelationID: c.id, TraceParent: api.TraceParent(c.r),
		Key: "openlineage-" + hex.EncodeToString(hash[:]), OccurredAt: e.Time,
	}
	if request.Principal, err = api.PrincipalOf(c.r, c.server.cfg.Principals, &request); err != nil {
		return 0, false, inEvent(err)
	}
	outcome, err := c.server.cfg.Registrar.Do(ctx, request)
	if known, ok := errors.AsType[handlers.KeyReusedError](err); ok {
		return known.Sequence, false, nil
	}
	return outcome.Sequence, outcome.Written(), inEvent(err)
}

func (c *call) send(status int, value any) error {
	data, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	c.status = status
	c.w.WriteHeader(status)
	// A client that has gone away can't be told so.
	_, _ = c.w.Write(data)
	return nil
}
