package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/projections"
)

// Limits of a request (interface.md).
const (
	maxBody      = 1 << 20
	sequenceWait = 5 * time.Second
	aheadOfClock = time.Second
)

// endpoint is one row of the table of routes. The OpenAPI document is made from
// the same rows.
type endpoint struct {
	method, path string
	name         string // operationId
	summary      string
	status       int         // of success
	query        []parameter // beside as_of, which every GET has that isn't timeless
	timeless     bool
	personal     bool         // the path has a name of somebody, which stays out of the server's log
	body, answer reflect.Type // nil for none
	media        string       // of the answer, application/json if empty
	otherMedia   []string     // that the answer can be in too
	// command makes the command of a write from a call; nil for other endpoints.
	command func(c *call) (handlers.Command, error)
	serve   func(c *call) error
}

// parameter is a query parameter.
type parameter struct {
	name, kind, about string
}

// call is one request on its way.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	server *server
	id     string       // of the request
	status int          // that was sent
	wrote  events.Event // what this request wrote, zero for nothing
	query  url.Values   // as onlyKnownQuery parsed it, nil without one

	values  [6]string // of the answer's headers
	headers int       // how many of values are in use
}

// header sets a header of the answer by its canonical name. It does what
// http.Header.Set does, without making a slice for each.
func (c *call) header(name, value string) {
	if c.headers == len(c.values) {
		c.w.Header()[name] = []string{value}
		return
	}
	i := c.headers
	c.headers++
	c.values[i] = value
	c.w.Header()[name] = c.values[i:c.headers:c.headers]
}

// answer is what a read gives: a value, and the sequence for its ETag, 0 for
// none.
type answer[A any] struct {
	value A
	etag  uint64
	shown []byte // the value as it is sent, nil if it is to be made
	media string // of what is shown, application/json if empty
}

// read makes the row of a GET: render answers from a view.
func read[A any](path, name, summary string, query []parameter,
	render func(c *call, v projections.View) (answer[A], error),
) endpoint {
	return endpoint{
		method: http.MethodGet, path: path, name: name, summary: summary, status: http.StatusOK,
		query: query, answer: reflect.TypeFor[A](),
		serve: func(c *call) error {
			if err := c.onlyKnownQuery(query); err != nil {
				return err
			}
			v, err := c.view()
			if err != nil {
				return err
			}
			a, err := render(c, v)
			if err != nil {
				return err
			}
			if c.notModified(v.Sequence, a.etag) {
				return nil
			}
			if a.shown != nil {
				c.raw(http.StatusOK, cmp.Or(a.media, jsonMedia), a.shown)
				return nil
			}
			c.json(http.StatusOK, a.value)
			return nil
		},
	}
}

const (
	jsonMedia  = "application/json"
	patchMedia = "application/merge-patch+json" // which PATCH takes too
)

// also says in which media the answer can be too.
func (e endpoint) also(media ...string) endpoint {
	e.otherMedia = media
	return e
}

// write makes the row of a write: build makes a command of the body, render
// answers as of its event.
func write[B, A any](method, path, name, summary string, status int,
	build func(c *call, body B) (handlers.Command, error),
	render func(c *call, v projections.View, resource events.Resource) (answer[A], error),
) endpoint {
	command := func(c *call) (handlers.Command, error) {
		var body B
		if err := c.readCommand(&body); err != nil {
			return nil, err
		}
		return build(c, body)
	}
	return endpoint{
		method: method, path: path, name: name, summary: summary, status: status,
		body: reflect.TypeFor[B](), answer: reflect.TypeFor[A](), command: command,
		serve: func(c *call) error {
			cmd, err := command(c)
			if err != nil {
				return err
			}
			outcome, err := c.do(cmd)
			if err != nil {
				return err
			}
			c.wrote = outcome.Event
			v := c.server.cfg.Runner.At(outcome.Sequence)
			a, err := render(c, v, outcome.Resource)
			if err != nil {
				return err
			}
			c.setSequence(outcome.Sequence, a.etag)
			if status == http.StatusCreated {
				c.header("Location", "/v1/"+c.location(v, outcome.Resource))
			}
			c.json(status, a.value)
			return nil
		},
	}
}

// location gives the path of what was made. An event has the one of its time
// already.
func (c *call) location(v projections.View, r events.Resource) string {
	if c.wrote.Subject != "" {
		return c.wrote.Subject
	}
	return v.Path(r)
}

// remove makes the row of a DELETE, which answers with nothing but the sequence
// of its event.
func remove(path, name, summary string, query []parameter, build func(c *call) (handlers.Command, error)) endpoint {
	command := func(c *call) (handlers.Command, error) {
		if err := c.onlyKnownQuery(query); err != nil {
			return nil, err
		}
		return build(c)
	}
	return endpoint{
		method: http.MethodDelete, path: path, name: name, summary: summary, status: http.StatusNoContent, query: query,
		command: command,
		serve: func(c *call) error {
			cmd, err := command(c)
			if err != nil {
				return err
			}
			outcome, err := c.do(cmd)
			if err != nil {
				return err
			}
			c.setSequence(outcome.Sequence, 0)
			c.status = http.StatusNoContent
			c.w.WriteHeader(c.status)
			return nil
		},
	}
}

var (
	cascadeQuery = parameter{"cascade", "boolean", "true takes aliases along"}
	reasonQuery  = parameter{"reason", "string", "Why, for those who read the log"}
)

func (c *call) deletion() (handlers.Deletion, error) {
	d := handlers.Deletion{Reason: c.query.Get("reason")}
	switch c.query.Get("cascade") {
	case "", "false":
	case "true":
		d.Cascade = true
	default:
		return d, handlers.InvalidField("cascade", "type", "must be true or false")
	}
	return d, nil
}

// readCommand reads the body of a write.
func (c *call) readCommand(body any) error {
	if err := c.onlyKnownQuery(nil); err != nil {
		return err
	}
	if err := c.checkMedia(); err != nil {
		return err
	}
	return c.readBody(body)
}

// checkMedia asks for JSON: a form or a plain text could be sent by any web page
// that the user looks at; JSON can't, without being asked for.
func (c *call) checkMedia() error {
	kind, err := c.r.Header.Get("Content-Type"), error(nil)
	if kind != jsonMedia {
		kind, _, err = mime.ParseMediaType(kind)
	}
	patch := c.r.Method == http.MethodPatch && kind == patchMedia
	if err != nil || (kind != jsonMedia && !patch) {
		return mediaTypeError{c.r.Header.Get("Content-Type")}
	}
	return nil
}

type mediaTypeError struct{ got string }

func (mediaTypeError) Code() handlers.Code { return handlers.CodeUnsupportedMedia }

func (e mediaTypeError) Error() string {
	return fmt.Sprintf("the Content-Type is %q; send application/json", e.got)
}

// do hands a command to the registrar, with what its headers say.
func (c *call) do(cmd handlers.Command) (handlers.Outcome, error) {
	ifMatch, err := c.ifMatch()
	if err != nil {
		return handlers.Outcome{}, err
	}
	key, err := c.idempotencyKey()
	if err != nil {
		return handlers.Outcome{}, err
	}
	occurred, err := c.occurredAt()
	if err != nil {
		return handlers.Outcome{}, err
	}
	request := handlers.Request{
		Command: cmd, CorrelationID: c.id, TraceParent: c.traceParent(), Key: key, OccurredAt: occurred, IfMatch: ifMatch,
	}
	if request.Principal, err = c.principal(c.r.Context(), &request); err != nil {
		return handlers.Outcome{}, err
	}
	return c.server.cfg.Registrar.Do(c.r.Context(), request)
}

// principal gives the opaque id of who asks. A request that is wrong in itself
// brings nobody into the directory.
func (c *call) principal(ctx context.Context, request *handlers.Request) (string, error) {
	name := c.r.Header.Get("Modelog-Actor")
	if name == "" {
		return "", nil
	}
	if id, ok := c.server.cfg.Principals.Known(name); ok {
		return id, nil
	}
	if err := request.Check(); err != nil {
		return "", err
	}
	id, err := c.server.cfg.Principals.ID(ctx, name)
	switch {
	case errors.Is(err, principals.ErrName):
		return "", handlers.InvalidField("Modelog-Actor", "principal_name", "%v", err)
	case err != nil:
		return "", directoryAway("nothing was written")
	}
	return id, nil
}

func directoryAway(consequence string) error {
	return handlers.UnavailableError{
		Kind: handlers.CodeUnavailable, Detail: "the directory of principals is away, " + consequence + "; send it again", RetryAfter: time.Second,
	}
}

// idempotencyKey takes the key as the draft of the header has it, a quoted
// string (RFC 8941), or as it is. An empty one is a mistake: without a key the
// call would not be safe to repeat.
func (c *call) idempotencyKey() (string, error) {
	values := c.r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = keyEscapes.Replace(key[1 : len(key)-1])
	}
	if key == "" || len(values) > 1 {
		return "", handlers.InvalidField("Idempotency-Key", "required", "must be one key that isn't empty")
	}
	return key, nil
}

// occurredAt gives when the caller says that it happened, the zero time if it
// doesn't. A clock may be a little ahead of ours.
func (c *call) occurredAt() (time.Time, error) {
	values := c.r.Header.Values("Modelog-Occurred-Time")
	if len(values) == 0 {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, values[0])
	if err != nil || len(values) > 1 || at.IsZero() {
		return time.Time{}, handlers.InvalidField("Modelog-Occurred-Time", "time", "must be one time such as 2026-11-24T02:10:00Z")
	}
	if now := c.server.cfg.Now(); at.After(now.Add(aheadOfClock)) {
		return time.Time{}, handlers.InvalidField("Modelog-Occurred-Time", "not_in_the_future", "%s is in the future; it is %s", values[0], events.FormatTime(now))
	}
	return at, nil
}

var keyEscapes = strings.NewReplacer("\\\\", "\\", "\\\"", "\"")

// ifMatch takes one ETag. An empty one is a mistake: the call would be made
// without a precondition.
func (c *call) ifMatch() (*uint64, error) {
	values := c.r.Header.Values("If-Match")
	if len(values) == 0 {
		return nil, nil //nolint:nilnil // no precondition is not an error
	}
	sequence, err := strconv.ParseUint(strings.Trim(values[0], `"`), 10, 64)
	if err != nil || len(values) > 1 {
		return nil, handlers.InvalidField("If-Match", "etag", "must be one ETag as an answer gave it, such as \"4711\"")
	}
	return &sequence, nil
}

// traceParent takes a W3C trace context that is one, and forgets any other, as
// the specification says.
func (c *call) traceParent() string {
	header := c.r.Header.Get("Traceparent")
	if len(header) != len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") || strings.Trim(header, "0123456789abcdef-") != "" {
		return ""
	}
	return header
}

// onlyKnownQuery refuses query parameters that mean nothing here: a misspelt
// as_of must not answer with the present.
func (c *call) onlyKnownQuery(known []parameter) error {
	if c.r.URL.RawQuery == "" {
		return nil
	}
	query, err := url.ParseQuery(c.r.URL.RawQuery) // URL.Query drops what it can't parse
	if err != nil {
		return handlers.InvalidField("query", "syntax", "is not a query string: %v", err)
	}
	c.query = query
	for name, values := range query {
		name = strings.ToValidUTF8(name, "\uFFFD")
		reading := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
		asOf := name == "as_of" && reading
		if !asOf && !slices.ContainsFunc(known, func(p parameter) bool { return p.name == name }) {
			return handlers.InvalidField(name, "unknown_parameter", "is not a query parameter of this call")
		}
		if len(values) > 1 {
			return handlers.InvalidField(name, "duplicate", "is there twice")
		}
	}
	return nil
}

// view gives the state that a read is made on: as_of, or now.
func (c *call) view() (projections.View, error) {
	run := c.server.cfg.Runner
	if header := c.r.Header.Get("Modelog-Min-Sequence"); header != "" {
		sequence, err := strconv.ParseUint(header, 10, 64)
		if err != nil {
			return projections.View{}, handlers.InvalidField("Modelog-Min-Sequence", "sequence", "must be a sequence")
		}
		ctx, cancel := context.WithTimeout(c.r.Context(), sequenceWait)
		defer cancel()
		if err := run.Wait(ctx, sequence); err != nil {
			return projections.View{}, handlers.UnavailableError{
				Kind:   handlers.CodeSequenceNotReached,
				Detail: fmt.Sprintf("sequence %d was not reached in time; the state is at %d", sequence, run.Visible()), RetryAfter: time.Second,
			}
		}
	}
	if !c.query.Has("as_of") {
		return run.Now(), nil
	}
	return c.asOf(c.query.Get("as_of"))
}

func (c *call) asOf(asOf string) (projections.View, error) { return c.moment("as_of", asOf) }

// moment gives the view that a parameter names by a sequence, or by a time.
func (c *call) moment(name, text string) (projections.View, error) {
	run := c.server.cfg.Runner
	if sequence, err := strconv.ParseUint(text, 10, 64); err == nil {
		if now := run.Visible(); sequence > now {
			return projections.View{}, handlers.InvalidField(name, "not_in_the_future", "%d is beyond the last sequence, %d", sequence, now)
		}
		return run.At(sequence), nil
	}
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return projections.View{}, handlers.InvalidField(name, "sequence_or_time", "%q is neither a sequence nor a time such as 2026-11-24T02:10:00Z", text)
	}
	if now := c.server.cfg.Now(); moment.After(now.Add(aheadOfClock)) {
		return projections.View{}, handlers.InvalidField(name, "not_in_the_future", "%s is in the future; it is %s", text, events.FormatTime(now))
	}
	return run.At(run.SequenceAt(moment)), nil
}

func (c *call) setSequence(sequence, etag uint64) {
	c.header("Modelog-Sequence", strconv.FormatUint(sequence, 10))
	if etag > 0 {
		c.header("Etag", `"`+strconv.FormatUint(etag, 10)+`"`)
	}
}

func (c *call) notModified(sequence, etag uint64) bool {
	c.setSequence(sequence, etag)
	if etag == 0 || c.r.Header.Get("If-None-Match") != c.w.Header().Get("ETag") {
		return false
	}
	c.status = http.StatusNotModified
	c.w.WriteHeader(c.status)
	return true
}

func (c *call) json(status int, value any) { c.send(status, jsonMedia, value) }

func (c *call) send(status int, contentType string, value any) {
	buf := answers.Get().(*[]byte)
	defer answers.Put(buf)
	data, err := appendJSON((*buf)[:0], value)
	if err != nil {
		c.problem(fmt.Errorf("write the answer: %w", err))
		return
	}
	*buf = append(data, '\n')
	c.raw(status, contentType, *buf)
}

// answers has buffers, of which nothing is kept.
var answers = sync.Pool{New: func() any { return new([]byte) }}

func (c *call) raw(status int, contentType string, data []byte) {
	c.header("Content-Type", contentType)
	c.header("Content-Length", strconv.Itoa(len(data)))
	c.status = status
	c.w.WriteHeader(status)
	// A client that has gone away can't be told so.
	_, _ = c.w.Write(data)
}
