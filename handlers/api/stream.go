package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/prometheus/client_golang/prometheus"
)

// A live stream is server-sent events as the HTML standard has them: the id is the
// sequence, the event is the CloudEvents type, and the data is the structured
// CloudEvent on one line. A comment is sent when there is nothing to tell for a while;
// an id without data goes with it if the stream has passed events that don't match, so
// that a client which comes back doesn't pass them again.
const (
	streamMedia = "text/event-stream"
	// maxStreams is how many may be open at a time.
	maxStreams = 1000
	// streamHeartbeat is how long a stream says nothing at most.
	streamHeartbeat = 15 * time.Second
	// streamRetry is after what time a client that lost its stream comes back.
	streamRetry = 2 * time.Second
	// streamPatience is how long a write to a client may take. Whoever is slower is
	// dropped, and can come back to where it was.
	streamPatience = 10 * time.Second
	// replicaLag is how long a client that has seen more than this server is kept
	// waiting: it may have seen it from another replica.
	replicaLag = time.Second
)

// streams has what all live streams share.
type streams struct {
	open    atomic.Int64
	sent    prometheus.Counter
	dropped prometheus.Counter
	gauge   prometheus.GaugeFunc
}

func newStreams() *streams {
	s := &streams{
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "modelog_stream_events_total", Help: "Events sent to live streams.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "modelog_stream_dropped_total", Help: "Live streams that were ended because their client took a write too slowly.",
		}),
	}
	s.gauge = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "modelog_streams", Help: "Live streams that are open.",
	}, func() float64 { return float64(s.open.Load()) })
	return s
}

func (s *streams) collectors() []prometheus.Collector {
	return []prometheus.Collector{s.sent, s.dropped, s.gauge}
}

var streamQuery = []parameter{
	{"after", "integer", "Begin after this sequence; now, if absent. A Last-Event-ID header comes before it"},
	{"from", "string", "Begin with the first event recorded at this RFC 3339 time or later"},
	{"type", "string", "Only events of these CloudEvents types, separated by commas"},
	{"type_prefix", "string", "Only events whose type begins with this"},
	{"subject_prefix", "string", "Only events whose subject begins with this, such as models/fraud/"},
	{"filter", "string", "Only events that this CloudEvents SQL expression lets through"},
	{"filters", "string", "Only events that all of these filters let through: a JSON array in the dialects of the CloudEvents Subscriptions API"},
}

func (s *server) streamRoutes() []endpoint {
	return []endpoint{{
		method: http.MethodGet, path: "/v1/events/stream", name: "streamEvents", status: http.StatusOK, timeless: true,
		summary: "Follow the log live, as server-sent events: the id is the sequence, the data a structured CloudEvent",
		query:   streamQuery, answer: reflect.TypeFor[jsontext.Value](), media: streamMedia, serve: s.stream,
	}}
}

func (s *server) stream(c *call) error {
	match, err := c.streamMatcher()
	if err != nil {
		return err
	}
	after, err := c.streamPlace()
	if err != nil {
		return err
	}
	defer s.streams.open.Add(-1)
	if s.streams.open.Add(1) > maxStreams {
		return handlers.UnavailableError{
			Kind: handlers.CodeBusy, Detail: strconv.Itoa(maxStreams) + " live streams are open already; try again later, or read /v1/events", RetryAfter: 10 * time.Second,
		}
	}
	follower, err := s.cfg.Hub.Follow(after, match)
	if errors.Is(err, fanout.ErrStopped) {
		return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "the registry is stopping; come back to it later", RetryAfter: streamRetry}
	}
	if err != nil {
		return err
	}
	defer follower.Close()
	return c.follow(follower)
}

// streamMatcher compiles what the query says of the events that are wanted.
func (c *call) streamMatcher() (*subscription.Matcher, error) {
	if err := c.onlyKnownQuery(streamQuery); err != nil {
		return nil, err
	}
	for name, values := range c.query {
		if values[0] == "" || name == "as_of" {
			rule, detail := "required", "must not be empty"
			if name == "as_of" {
				rule, detail = "unknown_parameter", "is not a query parameter of this call; a stream begins after, or from"
			}
			return nil, handlers.InvalidField(name, rule, "%s", detail)
		}
	}
	var types []string
	if c.query.Has("type") {
		types = strings.Split(c.query.Get("type"), ",")
	}
	match, err := compileParameter("type", "/types", nil, types)
	if err != nil {
		return nil, err
	}
	for _, p := range []struct {
		name, pointer string
		filters       func(value string) ([]subscription.Filter, error)
	}{
		{"type_prefix", "/filters/0/prefix/type", prefixOf("type")},
		{"subject_prefix", "/filters/0/prefix/subject", prefixOf("subject")},
		{"filter", "/filters/0/sql", func(sql string) ([]subscription.Filter, error) { return []subscription.Filter{{SQL: &sql}}, nil }},
		{"filters", "/filters", func(text string) ([]subscription.Filter, error) { return subscription.ParseFilters([]byte(text)) }},
	} {
		if !c.query.Has(p.name) {
			continue
		}
		filters, err := p.filters(c.query.Get(p.name))
		if err != nil {
			return nil, underParameter(p.name, "", err)
		}
		also, err := compileParameter(p.name, p.pointer, filters, nil)
		if err != nil {
			return nil, err
		}
		match = match.And(also)
	}
	return match, nil
}

func prefixOf(attribute string) func(string) ([]subscription.Filter, error) {
	return func(value string) ([]subscription.Filter, error) {
		return []subscription.Filter{{Prefix: map[string]string{attribute: value}}}, nil
	}
}

func compileParameter(name, pointer string, filters []subscription.Filter, types []string) (*subscription.Matcher, error) {
	m, err := subscription.Compile(filters, types)
	return m, underParameter(name, pointer, err)
}

// underParameter makes pointers lead into a query parameter, in place of where it
// stands in what was compiled.
func underParameter(name, pointer string, err error) error {
	invalid, ok := errors.AsType[handlers.InvalidError](err)
	if !ok {
		return err
	}
	for i, f := range invalid.Fields {
		invalid.Fields[i].Pointer = name + strings.TrimPrefix(f.Pointer, pointer)
	}
	return invalid
}

// streamPlace gives the sequence after which a stream begins.
func (c *call) streamPlace() (uint64, error) {
	run := c.server.cfg.Runner
	last := c.r.Header.Get("Last-Event-Id")
	switch {
	case c.query.Has("after") && c.query.Has("from"):
		return 0, handlers.InvalidField("from", "one_of", "goes without after; a stream has one beginning")
	case last != "":
		return c.reached("Last-Event-ID", last)
	case c.query.Has("after"):
		return c.reached("after", c.query.Get("after"))
	case !c.query.Has("from"):
		return run.Visible(), nil
	}
	from, err := time.Parse(time.RFC3339, c.query.Get("from"))
	if err != nil {
		return 0, handlers.InvalidField("from", "time", "%q is no time such as 2026-11-24T02:10:00Z", c.query.Get("from"))
	}
	if now := c.server.cfg.Now(); from.After(now.Add(aheadOfClock)) {
		return 0, handlers.InvalidField("from", "not_in_the_future", "%s is in the future; it is %s", c.query.Get("from"), events.FormatTime(now))
	}
	return run.SequenceAt(from.Add(-1)), nil // events of just that time are yet to come
}

// reached reads a sequence that must not be beyond the end of the log.
func (c *call) reached(name, text string) (uint64, error) {
	sequence, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, handlers.InvalidField(name, "sequence", "must be a whole number from 0")
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), replicaLag)
	defer cancel()
	if err := c.server.cfg.Runner.Wait(ctx, sequence); err != nil {
		return 0, handlers.InvalidField(name, "not_in_the_future", "%d is beyond the last sequence, %d", sequence, c.server.cfg.Runner.Visible())
	}
	return sequence, nil
}

// eventWriter writes a stream to one client.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buf     []byte
	told    uint64 // the last id that the client was given
}

// follow sends a follower's events until the client, the hub or the log ends.
func (c *call) follow(f *fanout.Follower) error {
	w := &eventWriter{w: c.w, control: http.NewResponseController(c.w), told: f.Place()}
	// The server's time limit for reading a request would end the stream. A writer
	// that knows no deadlines has none that could.
	_ = w.control.SetReadDeadline(time.Time{})
	hub := c.server.cfg.Hub
	ended := make(chan struct{})
	defer close(ended)
	go func() { // a write under way must not hold up the end of the server
		select {
		case <-hub.Stopping():
			_ = w.control.SetWriteDeadline(c.server.cfg.Now().Add(replicaLag))
		case <-ended:
		}
	}()
	c.header("Content-Type", streamMedia)
	c.header("X-Accel-Buffering", "no") // nginx would collect events
	c.status = http.StatusOK
	c.w.WriteHeader(c.status)
	err := w.begin(c.server.cfg.Now())
	for err == nil {
		err = c.relay(w, f)
	}
	c.streamEndErrored(err)
	return nil
}

// relay sends the next events, or a sign of life.
func (c *call) relay(w *eventWriter, f *fanout.Follower) error {
	ctx, cancel := context.WithTimeout(c.r.Context(), streamHeartbeat)
	defer cancel()
	next, err := f.Next(ctx)
	now := c.server.cfg.Now()
	switch {
	case err == nil:
		if err := w.events(now, next); err != nil {
			return err
		}
		c.server.streams.sent.Add(float64(len(next)))
		return nil
	case errors.Is(err, context.DeadlineExceeded) && c.r.Context().Err() == nil:
		return w.heartbeat(now, f.Place())
	default:
		return streamEndError{err}
	}
}

// streamEndError says that there is nothing more to send.
type streamEndError struct{ error }

func (c *call) streamEndErrored(err error) {
	end, ended := errors.AsType[streamEndError](err)
	switch {
	case c.r.Context().Err() != nil || ended && errors.Is(end.error, fanout.ErrStopped):
	case ended:
		c.server.cfg.Logger.LogAttrs(c.r.Context(), slog.LevelWarn, "a live stream has ended; its client may come back",
			slog.String("request_id", c.id), slog.Any("error", end.error))
	default:
		c.server.streams.dropped.Inc()
	}
}

// begin tells a client how to come back, even if it is cut off before the first event.
func (w *eventWriter) begin(now time.Time) error {
	w.buf = append(w.buf[:0], "retry: "...)
	w.buf = strconv.AppendInt(w.buf, streamRetry.Milliseconds(), 10)
	w.buf = append(w.buf, "\nid: "...)
	w.buf = strconv.AppendUint(w.buf, w.told, 10)
	return w.send(now, append(w.buf, "\n\n"...), true)
}

// heartbeat is a comment, with the place if that has moved.
func (w *eventWriter) heartbeat(now time.Time, place uint64) error {
	w.buf = append(w.buf[:0], ":\n"...)
	if place > w.told {
		w.buf = append(w.buf, "id: "...)
		w.buf = strconv.AppendUint(w.buf, place, 10)
		w.buf = append(w.buf, '\n')
		w.told = place
	}
	return w.send(now, append(w.buf, '\n'), true)
}

func (w *eventWriter) events(now time.Time, all []*fanout.Event) error {
	for i, e := range all {
		w.buf = append(w.buf[:0], "id: "...)
		w.buf = strconv.AppendUint(w.buf, e.Sequence, 10)
		w.buf = append(append(w.buf, "\nevent: "...), e.Type...)
		w.buf = append(w.buf, "\ndata: "...)
		if err := w.send(now, w.buf, false); err != nil {
			return err
		}
		if err := w.send(now, e.JSON, false); err != nil { // it is nobody's own, and may be large
			return err
		}
		if err := w.send(now, lineEnds, i == len(all)-1); err != nil {
			return err
		}
		w.told = e.Sequence
	}
	return nil
}

var lineEnds = []byte("\n\n")

// send writes within the time that a client has.
func (w *eventWriter) send(now time.Time, data []byte, flush bool) error {
	if err := w.control.SetWriteDeadline(now.Add(streamPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := w.w.Write(data); err != nil {
		return err
	}
	if flush {
		return w.control.Flush()
	}
	return nil
}
