package api

import (
	"bytes"
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/cloudevents"
	"github.com/modelog/modelog/projections"
)

// Hypothesis has requests as they would be sent, or events as they would be
// published, to be answered without being carried out.
type Hypothesis struct {
	Requests []SupposedRequest `json:"requests,omitempty"` // in their order, each on what the earlier ones give
	// Events are CloudEvents in JSON, as POST /v1/events takes them, in place of
	// requests.
	Events []jsontext.Value `json:"events,omitempty"`
}

// SupposedRequest is a request that writes an event.
type SupposedRequest struct {
	Method string         `json:"method"`
	Path   string         `json:"path"`           // with its query, such as /v1/models/fraud/versions/8/promote
	Body   jsontext.Value `json:"body,omitempty"` // absent for a DELETE
	// Headers may have If-Match and Modelog-Occurred-Time; what others say is of no
	// consequence when nothing is written.
	Headers map[string]string `json:"headers,omitempty"`
}

// WhatIf is what would become of requests. Nothing of it was written.
type WhatIf struct {
	Sequence uint64           `json:"sequence"` // of the state that the requests were decided on
	Results  []WhatIfResult   `json:"results"`  // one of each request or event
	Changes  []ResourceChange `json:"changes"`  // what all of it together would change, as in a Diff
	More     bool             `json:"more,omitzero"`
}

// WhatIfResult is what would become of one request.
type WhatIfResult struct {
	Outcome  string         `json:"outcome"`
	Resource string         `json:"resource,omitempty"` // what it is about, absent for a refusal
	Event    jsontext.Value `json:"event,omitempty"`    // that would be written, with the sequence that it would have now
	Problem  *Problem       `json:"problem,omitempty"`  // that it would be refused with
}

// What can become of a request.
const (
	wouldWrite  = "event"
	wouldKeep   = "nothing" // what is asked for is already so
	wouldRefuse = "refused"
)

// maxWhatIfChanges bounds the answer, and how long others wait for it.
const maxWhatIfChanges = maxLimit

func (s *server) whatIfRoutes() []endpoint {
	return []endpoint{{
		method: http.MethodPost, path: "/v1/what-if", name: "whatIf",
		summary: "Say what requests or events would change, without carrying them out", status: http.StatusOK, timeless: true,
		body: reflect.TypeFor[Hypothesis](), answer: reflect.TypeFor[WhatIf](), serve: s.whatIf,
	}}
}

// supposedCall is one request, or one event, of a hypothesis.
type supposedCall struct {
	*call

	request handlers.Request
	err     error     // why there is no request
	event   *proposal // nil for a request
}

func (s *server) whatIf(c *call) error {
	var h Hypothesis
	if err := c.readCommand(&h); err != nil {
		return err
	}
	calls, err := s.supposedAll(c, h)
	if err != nil {
		return err
	}
	answer, err := s.suppose(c, calls)
	if err != nil {
		return err
	}
	c.setSequence(answer.Sequence, 0)
	c.json(http.StatusOK, answer)
	return nil
}

// supposedAll makes the requests of a hypothesis. It takes requests or events, and
// not both: which of them would come first nobody could say.
func (s *server) supposedAll(c *call, h Hypothesis) (calls []supposedCall, err error) {
	switch requests, given := len(h.Requests), len(h.Events); {
	case requests > 0 && given > 0:
		return nil, handlers.InvalidField("/events", "not_with_requests", "must not be given together with requests; ask of one after the other")
	case given > handlers.MaxWhatIf:
		return nil, handlers.InvalidField("/events", "items", "must have 1 to %d events", handlers.MaxWhatIf)
	case given > 0:
		return s.supposedEvents(c, h.Events)
	case requests == 0 || requests > handlers.MaxWhatIf:
		return nil, handlers.InvalidField("/requests", "items", "must have 1 to %d requests", handlers.MaxWhatIf)
	}
	calls = make([]supposedCall, len(h.Requests))
	for i, r := range h.Requests {
		if calls[i], err = s.supposed(c, "/requests/"+strconv.Itoa(i), r); err != nil {
			return nil, err
		}
	}
	return calls, nil
}

// supposedEvents reads events as a batch that is published, and makes the requests
// that they would be. What is wrong with one is a part of the answer.
func (s *server) supposedEvents(c *call, list []jsontext.Value) ([]supposedCall, error) {
	batch := slices.Concat([]byte("["), bytes.Join(valuesOf(list), []byte(",")), []byte("]"))
	items, _, err := cloudevents.Decode(http.Header{"Content-Type": {cloudevents.BatchMedia}}, batch)
	if err != nil {
		return nil, err
	}
	calls := make([]supposedCall, len(items))
	for i, item := range items {
		p := s.propose(c, item, true)
		p.at = "/events/" + strconv.Itoa(i)
		calls[i] = supposedCall{call: c, request: p.request, err: p.err, event: &p}
	}
	return calls, nil
}

func valuesOf(list []jsontext.Value) [][]byte {
	values := make([][]byte, len(list))
	for i, v := range list {
		values[i] = v
	}
	return values
}

// supposed finds the endpoint that a request would go to, and has it make its
// command. It fails if there is none that writes; what is wrong with the request
// beyond that is a part of the answer.
func (s *server) supposed(c *call, pointer string, r SupposedRequest) (supposedCall, error) {
	request, err := http.NewRequestWithContext(c.r.Context(), r.Method, "http://"+c.r.Host+r.Path, bytes.NewReader(r.Body))
	if err != nil || !strings.HasPrefix(r.Path, "/v1/") {
		return supposedCall{}, handlers.InvalidField(pointer+"/path", "path", "must be the path of a call that writes, such as /v1/models/fraud/versions/8/promote")
	}
	request.Header.Set("Content-Type", jsonMedia)
	for name, value := range r.Headers {
		if name = http.CanonicalHeaderKey(name); name != "If-Match" && name != "Modelog-Occurred-Time" {
			return supposedCall{}, handlers.InvalidField(pointer+"/headers", "enum", "may have If-Match and Modelog-Occurred-Time, and not %s", name)
		}
		request.Header.Set(name, value)
	}
	got := supposedCall{call: &call{w: c.w, r: request, server: s, id: c.id}}
	found := false
	s.writes.ServeHTTP(discard{}, request.WithContext(context.WithValue(request.Context(), planning{}, func(e endpoint, routed *http.Request) {
		found, got.r = true, routed
		got.request, got.err = got.suppose(e)
	})))
	if !found {
		return got, handlers.InvalidField(pointer+"/path", "write", "%s %s is no call that writes an event; /openapi.json lists what there is", r.Method, r.Path)
	}
	return got, nil
}

// suppose makes the request that an endpoint would make of the call, but for what
// it would leave behind.
func (c *call) suppose(e endpoint) (r handlers.Request, err error) {
	if r.Command, err = e.command(c); err != nil {
		return r, err
	}
	if r.IfMatch, err = c.ifMatch(); err != nil {
		return r, err
	}
	r.OccurredAt, err = c.occurredAt()
	return r, err
}

// planning is under which a request of a hypothesis has what takes its endpoint.
type planning struct{}

// planner has the routes that write events, each of which hands its endpoint over.
func planner(routes []endpoint) *http.ServeMux {
	mux := http.NewServeMux()
	for _, e := range routes {
		if e.command == nil {
			continue
		}
		mux.HandleFunc(e.method+" "+e.path, func(_ http.ResponseWriter, r *http.Request) {
			if take, ok := r.Context().Value(planning{}).(func(endpoint, *http.Request)); ok {
				take(e, r)
			}
		})
	}
	return mux
}

// discard takes what a mux answers when it has no route.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// suppose has the commands decided, and tells what would follow.
func (s *server) suppose(c *call, calls []supposedCall) (WhatIf, error) {
	var requests []handlers.Request
	for _, supposed := range calls {
		if supposed.err == nil {
			if supposed.event == nil { // an event's is told by its attributes
				supposed.request.Principal, supposed.request.CorrelationID = c.knownPrincipal(), c.id
			}
			requests = append(requests, supposed.request)
		}
	}
	answer := WhatIf{Results: []WhatIfResult{}, Changes: []ResourceChange{}}
	err := s.cfg.Registrar.WhatIf(c.r.Context(), requests, func(ctx context.Context, tip, fork projections.View, all []handlers.Supposed) error {
		answer.Sequence = tip.Sequence
		for _, supposed := range calls {
			one := handlers.Supposed{Err: supposed.err}
			if supposed.err == nil {
				one, all = all[0], all[1:]
			}
			result, err := supposed.result(fork, one)
			if err != nil {
				return err
			}
			answer.Results = append(answer.Results, result)
		}
		return answer.compare(ctx, tip, fork)
	})
	return answer, err
}

// knownPrincipal gives the id of who asks, empty for somebody who isn't in the
// directory: a what-if doesn't bring anybody into it.
func (c *call) knownPrincipal() string {
	id, _ := c.server.cfg.Principals.Known(c.r.Header.Get("Modelog-Actor"))
	return id
}

func (c supposedCall) result(fork projections.View, s handlers.Supposed) (WhatIfResult, error) {
	if s.Err != nil {
		p := c.problemWith(s.Err)
		return WhatIfResult{Outcome: wouldRefuse, Problem: &p}, nil //nolint:nilerr // the problem tells it
	}
	if !s.Outcome.Written() {
		return WhatIfResult{Outcome: wouldKeep, Resource: fork.At(s.Outcome.Sequence).Path(s.Outcome.Resource)}, nil
	}
	event, err := showEvent(s.Outcome.Event)
	return WhatIfResult{Outcome: wouldWrite, Resource: s.Outcome.Event.Subject, Event: event}, err
}

// problemWith shows a refusal. That of an event says where in the event the reason
// lies.
func (c supposedCall) problemWith(err error) Problem {
	if c.event == nil {
		return c.problemOf(err)
	}
	if c.err == nil { // else it was located when the event was read
		err = c.event.located(err)
	}
	return c.event.problem(c.call, err)
}

// compare says what differs between the state and the fork.
func (w *WhatIf) compare(ctx context.Context, tip, fork projections.View) error {
	all, err := touchedUnder(ctx, diffOf{from: tip.Sequence, to: fork.Sequence}, fork)
	if err != nil {
		return err
	}
	for _, r := range all {
		if len(w.Changes) == maxWhatIfChanges {
			w.More = true
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		change, differs, err := changeOf(tip, fork, r)
		if err != nil {
			return err
		}
		if differs {
			w.Changes = append(w.Changes, change)
		}
	}
	return nil
}
