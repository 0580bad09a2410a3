package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/cloudevents"
	"github.com/modelog/modelog/projections"
)

// PublishedList says what became of published events, or what would.
type PublishedList struct {
	DryRun  bool        `json:"dry_run,omitzero"` // nothing was written
	Results []Published `json:"results"`          // one of each event, in their order
}

// Published says what became of one published event.
type Published struct {
	Outcome  string         `json:"outcome"`
	Sequence uint64         `json:"sequence,omitzero"`  // of the event on the log, or of the state in which it was so already
	Resource string         `json:"resource,omitempty"` // what the event is about, absent for a refusal
	Event    jsontext.Value `json:"event,omitempty"`    // on the log
	// Subscriptions are the ids of those that would be told of it, in a dry run.
	Subscriptions []string `json:"subscriptions,omitempty"`
	Problem       *Problem `json:"problem,omitempty"` // that it was refused with
}

// What can become of a published event.
const (
	publishedEvent    = "event"    // it became one
	publishedRepeated = "repeated" // it became one before
	publishedNothing  = "nothing"  // what it says is so already
	publishedRefused  = "refused"
)

// clockSkew is how far the clock of a publisher may be ahead of ours. What happens
// then is taken to happen when it is recorded.
const clockSkew = time.Minute

var publishQuery = []parameter{
	{"dry_run", "boolean", "true says what would become of the events, and writes nothing"},
	{"atomic", "boolean", "true writes all events of a batch, or none if one is refused; a crash may leave the first ones, and the same batch sent again completes it"},
}

func (s *server) publishRoutes() []endpoint {
	return []endpoint{{
		method: http.MethodPost, path: "/v1/events", name: "publishEvents", summary: "Publish events", status: http.StatusCreated,
		timeless: true, query: publishQuery, serve: s.publish,
	}}
}

// proposal is a published event on its way to be one of the log.
type proposal struct {
	request handlers.Request
	call    cloudevents.Call
	at      string // pointer to the event in the body
	err     error  // why there is no request
}

func (s *server) publish(c *call) error {
	if err := c.onlyKnownQuery(publishQuery); err != nil {
		return err
	}
	dryRun, err := c.isSet("dry_run")
	if err != nil {
		return err
	}
	atomic, err := c.isSet("atomic")
	if err != nil {
		return err
	}
	for _, name := range []string{"Idempotency-Key", "Modelog-Occurred-Time"} {
		if c.r.Header.Get(name) != "" {
			return handlers.InvalidField(name, "not_for_events", "is not for events: source and id are an event's key, and time says when it happened")
		}
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	if err := ReadBody(c.w, c.r, buf); err != nil {
		return err
	}
	items, batch, err := cloudevents.Decode(c.r.Header, buf.Bytes())
	if err != nil {
		return err
	}
	ifMatch, err := c.ifMatch()
	if err != nil {
		return err
	}
	if batch && ifMatch != nil {
		return handlers.InvalidField("If-Match", "single", "is for a single event; what is in a batch has no one ETag")
	}
	proposals := make([]proposal, len(items))
	for i, item := range items {
		proposals[i] = s.propose(c, item, dryRun)
		proposals[i].request.IfMatch = ifMatch
		if batch {
			proposals[i].at = "/" + strconv.Itoa(i)
		}
	}
	switch {
	case dryRun:
		return s.rehearse(c, proposals)
	case !batch:
		return s.publishOne(c, proposals[0])
	case atomic:
		return s.publishAll(c, proposals)
	default:
		return s.publishEach(c, proposals)
	}
}

// isSet reads a query parameter that is true or false.
func (c *call) isSet(name string) (bool, error) {
	switch c.query.Get(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, handlers.InvalidField(name, "type", "must be true or false")
	}
}

// propose makes the request of an event. In a dry run nobody new comes into the
// directory.
func (s *server) propose(c *call, item cloudevents.Item, dryRun bool) (p proposal) {
	if p.err = item.Err; p.err != nil {
		return p
	}
	e := item.Event
	if p.call, p.err = cloudevents.Map(e); p.err != nil {
		return p
	}
	if p.request.Origin, p.err = cloudevents.OriginOf(e); p.err != nil {
		return p
	}
	if p.err = p.request.Origin.Check(); p.err != nil {
		return p
	}
	if p.request.OccurredAt, p.err = s.occurred(e.Time()); p.err != nil {
		return p
	}
	if p.err = c.trace(&p.request, e); p.err != nil {
		return p
	}
	if p.request.Command, p.err = s.commandOf(c, e, &p); p.err != nil {
		p.err = p.located(p.err)
		return p
	}
	if dryRun {
		p.request.Principal = c.knownPrincipal()
		return p
	}
	p.request.Principal, p.err = c.principal(c.r.Context(), &p.request)
	p.err = p.located(p.err)
	return p
}

// occurred gives when an event says that it happened, the zero time for now.
func (s *server) occurred(at time.Time) (time.Time, error) {
	if at.IsZero() {
		return at, nil
	}
	switch now := s.cfg.Now(); {
	case at.UnixMilli() < 0 || at.Year() > 9999:
		return at, handlers.InvalidField("/time", "time", "must be a time in the years 1970 to 9999")
	case at.After(now.Add(clockSkew)):
		return at, handlers.InvalidField("/time", "not_in_the_future", "is %s ahead of the registry's clock", at.Sub(now).Round(time.Second))
	case at.After(now):
		return time.Time{}, nil
	default:
		return at, nil
	}
}

// trace takes what an event says of its place among others.
func (c *call) trace(r *handlers.Request, e event.Event) error {
	r.CorrelationID, r.TraceParent = c.id, c.traceParent()
	for name, field := range map[string]*string{"correlationid": &r.CorrelationID, "causationid": &r.CausationID} {
		value, there := e.Extensions()[name]
		if !there {
			continue
		}
		text, ok := value.(string)
		if !ok || len(text) > handlers.MaxShort || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return handlers.InvalidField("/"+name, "visible_ascii", "must be a string of at most %d visible ASCII characters", handlers.MaxShort)
		}
		*field = text
	}
	if text, ok := e.Extensions()["traceparent"].(string); ok {
		own := call{r: &http.Request{Header: http.Header{"Traceparent": {text}}}}
		r.TraceParent = own.traceParent()
	}
	return nil
}

// commandOf makes the command of the call that an event stands for, as the call
// itself would.
func (s *server) commandOf(c *call, e event.Event, p *proposal) (handlers.Command, error) {
	if strings.HasPrefix(e.Type(), cloudevents.OpenLineage) {
		return s.lineageOf(e, p)
	}
	if p.call.Command != nil {
		return p.call.Command, nil
	}
	r, err := http.NewRequestWithContext(c.r.Context(), p.call.Method, "http://"+c.r.Host+p.call.Path, bytes.NewReader(p.call.Body))
	if err != nil {
		return nil, handlers.InvalidField("/subject", "subject", "is no path: %v", err)
	}
	r.Header.Set("Content-Type", jsonMedia)
	var command handlers.Command
	found := false
	s.writes.ServeHTTP(discard{}, r.WithContext(context.WithValue(r.Context(), planning{}, func(e endpoint, routed *http.Request) {
		found = true
		command, err = e.command(&call{w: c.w, r: routed, server: s, id: c.id})
	})))
	if !found {
		return nil, fmt.Errorf("%s stands for %s %s, which is no call that writes", e.Type(), p.call.Method, p.call.Path)
	}
	return command, err
}

func (s *server) lineageOf(e event.Event, p *proposal) (handlers.Command, error) {
	if s.cfg.OpenLineage == nil {
		return nil, cloudevents.NotMappedError{Type: e.Type()}
	}
	command, at, err := s.cfg.OpenLineage(e.Data(), s.cfg.Now())
	if e.Time().IsZero() {
		p.request.OccurredAt = at
	}
	return command, err
}

// located says of an error of the call where in the event the reason lies.
func (p *proposal) located(err error) error {
	if invalid, ok := errors.AsType[handlers.InvalidError](err); ok {
		return handlers.InvalidError{Fields: p.call.Located(invalid.Fields)}
	}
	return err
}

// problem shows why an event was refused.
func (p *proposal) problem(c *call, err error) Problem {
	shown := c.problemOf(err)
	if _, ok := errors.AsType[handlers.InvalidError](err); !ok {
		shown.Errors = p.call.Located(shown.Errors)
	}
	switch shown.Code {
	case handlers.CodeEventTypeNotMapped:
		shown.Errors = []handlers.FieldError{{Pointer: "/type", Rule: string(shown.Code), Detail: "is not a type that is taken"}}
	case handlers.CodeKeyReused:
		shown.Errors = []handlers.FieldError{{Pointer: "/id", Rule: string(shown.Code), Detail: "was used with other content"}}
	default:
	}
	for i := range shown.Errors {
		shown.Errors[i].Pointer = p.at + shown.Errors[i].Pointer
	}
	return shown
}

// refuse answers with why an event was refused.
func (p *proposal) refuse(c *call, err error) {
	shown := p.problem(c, err)
	if p.at != "" {
		shown.Detail = "event " + p.at[1:] + " of the batch: " + shown.Detail + "; nothing was written"
		if len(shown.Errors) == 0 {
			shown.Errors = []handlers.FieldError{{Pointer: p.at, Rule: string(shown.Code), Detail: "was refused"}}
		}
	}
	if unavailable, ok := errors.AsType[handlers.UnavailableError](err); ok && unavailable.RetryAfter > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(unavailable.RetryAfter.Seconds()))))
	}
	c.send(shown.Status, "application/problem+json", shown)
}

// publishOne answers with the event that a published one became: 201 the first
// time, and 200 when it had before.
func (s *server) publishOne(c *call, p proposal) error {
	if p.err == nil {
		var outcome handlers.Outcome
		if outcome, p.err = s.cfg.Registrar.Do(c.r.Context(), p.request); p.err == nil {
			return s.answerOne(c, outcome)
		}
		p.err = p.located(p.err)
	}
	p.refuse(c, p.err)
	return nil
}

func (s *server) answerOne(c *call, outcome handlers.Outcome) error {
	result, err := s.published(c, outcome)
	if err != nil {
		return err
	}
	c.setSequence(outcome.Sequence, 0)
	if result.Event == nil {
		c.json(http.StatusOK, result)
		return nil
	}
	c.header("Location", "/v1/events/"+strconv.FormatUint(outcome.Sequence, 10))
	status := http.StatusOK
	if outcome.Written() {
		status = http.StatusCreated
	}
	c.raw(status, cloudevents.StructuredMedia, append(result.Event, '\n'))
	return nil
}

// published shows an outcome. The event of one that was repeated comes from the log.
func (s *server) published(c *call, outcome handlers.Outcome) (Published, error) {
	result := Published{Outcome: publishedNothing, Sequence: outcome.Sequence}
	e := outcome.Event
	switch {
	case outcome.Written():
		result.Outcome = publishedEvent
	case outcome.Repeated:
		result.Outcome = publishedRepeated
		var err error
		if e, err = s.event(c.r.Context(), outcome.Sequence); err != nil {
			return result, err
		}
	default:
		result.Resource = s.cfg.Runner.At(outcome.Sequence).Path(outcome.Resource)
		return result, nil
	}
	var err error
	result.Resource = e.Subject
	result.Event, err = showEvent(e)
	return result, err
}

// publishEach answers for each event of a batch. When none could be written, and
// all of them may be later, the batch is refused, so that it is sent again.
func (s *server) publishEach(c *call, proposals []proposal) error {
	var requests []handlers.Request
	for _, p := range proposals {
		if p.err == nil {
			requests = append(requests, p.request)
		}
	}
	return s.answerEach(c, proposals, s.cfg.Registrar.DoEach(c.r.Context(), requests))
}

// publishAll writes all events of a batch, or refuses it for the first that can't
// be.
func (s *server) publishAll(c *call, proposals []proposal) error {
	requests := make([]handlers.Request, len(proposals))
	for i, p := range proposals {
		if p.err != nil {
			p.refuse(c, p.err)
			return nil //nolint:nilerr // it is answered
		}
		requests[i] = p.request
	}
	answers, err := s.cfg.Registrar.DoAll(c.r.Context(), requests)
	if refused, ok := errors.AsType[handlers.BatchError](err); ok {
		p := proposals[refused.Index]
		p.refuse(c, p.located(refused.Err))
		return nil
	}
	if err != nil {
		return err
	}
	return s.answerEach(c, proposals, answers)
}

// answerEach has an answer for each proposal that has no error.
func (s *server) answerEach(c *call, proposals []proposal, answers []handlers.Answer) error {
	list, last, later := PublishedList{Results: []Published{}}, uint64(0), 0
	for i := range proposals {
		p := &proposals[i]
		if p.err == nil {
			one := answers[0]
			answers = answers[1:]
			if p.err = p.located(one.Err); p.err == nil {
				result, err := s.published(c, one.Outcome)
				if err != nil {
					return err
				}
				list.Results = append(list.Results, result)
				last = max(last, one.Outcome.Sequence)
				continue
			}
		}
		shown := p.problem(c, p.err)
		if shown.Status == http.StatusTooManyRequests || shown.Status == http.StatusServiceUnavailable {
			later++
		}
		list.Results = append(list.Results, Published{Outcome: publishedRefused, Problem: &shown})
	}
	if later > 0 && later == len(proposals) {
		return proposals[0].err
	}
	if last == 0 {
		last = s.cfg.Runner.Visible()
	}
	c.setSequence(last, 0)
	c.json(http.StatusOK, list)
	return nil
}

// rehearse says what would become of events, each on what the earlier ones give.
func (s *server) rehearse(c *call, proposals []proposal) error {
	var requests []handlers.Request
	for _, p := range proposals {
		if p.err == nil {
			requests = append(requests, p.request)
		}
	}
	list, visible := PublishedList{DryRun: true, Results: []Published{}}, uint64(0)
	err := s.cfg.Registrar.WhatIf(c.r.Context(), requests, func(_ context.Context, tip, fork projections.View, all []handlers.Supposed) error {
		visible = tip.Sequence
		for i := range proposals {
			p := &proposals[i]
			var outcome handlers.Outcome
			if p.err == nil {
				outcome, p.err = all[0].Outcome, p.located(all[0].Err)
				all = all[1:]
			}
			result, err := p.supposed(c, fork, outcome)
			if err != nil {
				return err
			}
			list.Results = append(list.Results, result)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, result := range list.Results {
		if result.Outcome == publishedRepeated && result.Sequence <= visible { // else it repeats another of the same batch
			if list.Results[i], err = s.published(c, handlers.Outcome{Sequence: result.Sequence, Repeated: true}); err != nil {
				return err
			}
		}
	}
	c.setSequence(visible, 0)
	c.json(http.StatusOK, list)
	return nil
}

// supposed shows what would become of an event.
func (p *proposal) supposed(c *call, fork projections.View, outcome handlers.Outcome) (result Published, err error) {
	switch {
	case p.err != nil:
		shown := p.problem(c, p.err)
		return Published{Outcome: publishedRefused, Problem: &shown}, nil //nolint:nilerr // it is the answer
	case outcome.Written():
		result = Published{Outcome: publishedEvent, Sequence: outcome.Sequence, Resource: outcome.Event.Subject}
		if result.Event, err = showEvent(outcome.Event); err == nil {
			result.Subscriptions, err = c.server.subscribers(fork.At(outcome.Sequence), outcome.Event)
		}
		return result, err
	case outcome.Repeated:
		result.Outcome = publishedRepeated
	default:
		result.Outcome = publishedNothing
	}
	result.Sequence, result.Resource = outcome.Sequence, fork.At(outcome.Sequence).Path(outcome.Resource)
	return result, nil
}
