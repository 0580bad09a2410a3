package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// Deliveries are what the calls about deliveries need. What they show comes from the
// stores, so that every replica tells the same.
type Deliveries struct {
	Journal *attempts.Journal
	Cursors *cursors.Store
	// Engine begins and stops replays, and Sender makes a single delivery.
	Engine interface {
		Replay(ctx context.Context, job cursors.Replay) error
		StopReplay(ctx context.Context, subscription, job ulid.ULID) error
	}
	Sender interface {
		Exchange(ctx context.Context, r webhooks.Request) webhooks.Exchange
	}
}

// DeliveryStatus is how far a subscription has been delivered.
type DeliveryStatus struct {
	After        uint64                         `json:"after"` // all wanted events up to here have been delivered or given up, or are pending
	Lag          uint64                         `json:"lag"`   // events of the log that come after
	Status       projections.SubscriptionStatus `json:"status"`
	FailingSince string                         `json:"failing_since,omitempty"` // since when nothing but failures
	Pending      []PendingDelivery              `json:"pending"`                 // that failed and are tried again; the first ones
	PendingMore  int                            `json:"pending_more,omitzero"`
	DeadLetters  uint64                         `json:"dead_letters"` // that were given up so far
}

// PendingDelivery is an event that isn't delivered yet.
type PendingDelivery struct {
	Sequence uint64 `json:"sequence"`
	Attempts int    `json:"attempts"`               // so far
	NextAt   string `json:"next_attempt,omitempty"` // absent for at once
}

// DeliveryAttempt is one try to deliver an event.
type DeliveryAttempt struct {
	Sequence   uint64  `json:"sequence"` // of the event
	Attempt    int     `json:"attempt"`  // counts from 1
	StartedAt  string  `json:"started_at"`
	DurationMS float64 `json:"duration_ms"`
	Status     int     `json:"status,omitzero"`        // of HTTP, absent without an answer
	Class      string  `json:"class"`                  // ok, or what went wrong, in one word
	Body       string  `json:"body,omitempty"`         // the beginning of the answer's
	NextAt     string  `json:"next_attempt,omitempty"` // of the same event
	Replay     string  `json:"replay,omitempty"`       // that it was for
	Dead       bool    `json:"dead,omitzero"`          // it was the last one
}

// AttemptList is a page of attempts, the last ones first.
type AttemptList struct {
	Attempts   []DeliveryAttempt `json:"attempts"`
	NextCursor string            `json:"next_cursor,omitempty"` // absent on the last page; a page may have none and yet a next one
}

// DeadLetter is an event that was given up.
type DeadLetter struct {
	Sequence uint64 `json:"sequence"`
	At       string `json:"at"`
	Status   int    `json:"status,omitzero"` // of the last answer
	Class    string `json:"class"`           // of the last attempt
}

// DeadLetterList is a page of dead letters, in the order of their events.
type DeadLetterList struct {
	DeadLetters []DeadLetter `json:"dead_letters"`
	NextCursor  string       `json:"next_cursor,omitempty"` // absent on the last page
}

// maxPending is how many pending deliveries a status shows.
const maxPending = 100

var attemptQuery = append([]parameter{
	{"sequence", "integer", "Only those of this event"},
	{"status", "integer", "Only those with this status of HTTP"},
	{"class", "string", "Only those of this class, such as ok, status, timeout, refused, reset, redirect, dns, tls, forbidden"},
}, paging...)

func (s *server) deliveryRoutes() []endpoint {
	list := func(path, name, summary string, query []parameter, answer reflect.Type, serve func(*call, *projections.Subscription) error) endpoint {
		return endpoint{
			method: http.MethodGet, path: "/v1/subscriptions/{id}/" + path, name: name, summary: summary, status: http.StatusOK, timeless: true,
			query: query, answer: answer, serve: func(c *call) error {
				if err := c.onlyKnownQuery(query); err != nil {
					return err
				}
				return c.ofDeliveries(serve)
			},
		}
	}
	return append([]endpoint{
		list("status", "deliveryStatus", "How far a subscription has been delivered", nil, reflect.TypeFor[DeliveryStatus](), (*call).deliveryStatus),
		list("attempts", "listAttempts", "List the attempts to deliver, of a fortnight, the last ones first", attemptQuery, reflect.TypeFor[AttemptList](), (*call).attempts),
		list("dead-letters", "listDeadLetters", "List the events that were given up", paging, reflect.TypeFor[DeadLetterList](), (*call).deadLetters),
		{
			method: http.MethodPost, path: "/v1/subscriptions/{id}/test", name: "testSubscription", status: http.StatusOK, timeless: true,
			summary: "Send a ping to the sink, and show what came back", body: reflect.TypeFor[DeliveryTest](), answer: reflect.TypeFor[DeliveryExchange](),
			serve: func(c *call) error {
				if err := c.readCommand(&DeliveryTest{}); err != nil {
					return err
				}
				return c.ofDeliveries((*call).testDelivery)
			},
		},
	}, s.replayRoutes(list)...)
}

// ofDeliveries serves a call about the subscription of the path, as it is now.
func (c *call) ofDeliveries(serve func(*call, *projections.Subscription) error) error {
	if c.query.Has("as_of") {
		return handlers.InvalidField("as_of", "unknown_parameter", "is not a query parameter of this call: deliveries are shown as they stand")
	}
	s, _, err := handlers.FindSubscription(c.server.cfg.Runner.Now(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	if c.server.cfg.Deliveries == nil {
		return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "this server delivers nothing"}
	}
	return serve(c, s)
}

// storeAway tells a client that what is known of deliveries can't be read, and the log
// why.
func (c *call) storeAway(err error) error {
	c.server.cfg.Logger.LogAttrs(c.r.Context(), slog.LevelError, "what is known of deliveries can't be read", slog.Any("error", err), slog.String("request_id", c.id))
	return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "what is known of deliveries can't be read; ask again", RetryAfter: time.Second}
}

func (c *call) deliveryStatus(s *projections.Subscription) error {
	at := cursors.Cursor{After: s.After}
	_, err := c.server.cfg.Deliveries.Cursors.Get(c.r.Context(), cursors.CursorKey(s.ID), &at)
	if err != nil && !errors.Is(err, cursors.ErrNone) {
		return c.storeAway(err)
	}
	visible := c.server.cfg.Runner.Visible()
	shown := DeliveryStatus{After: at.After, Lag: visible - min(at.After, visible), Status: s.Status, Pending: []PendingDelivery{}, DeadLetters: at.Dead}
	if at.FailingMilli != 0 {
		shown.FailingSince = events.FormatTime(time.UnixMilli(at.FailingMilli))
	}
	for i, p := range at.Pending {
		if i == maxPending {
			shown.PendingMore = len(at.Pending) - maxPending
			break
		}
		one := PendingDelivery{Sequence: p.Sequence, Attempts: p.Attempt}
		if p.DueMilli != 0 {
			one.NextAt = events.FormatTime(time.UnixMilli(p.DueMilli))
		}
		shown.Pending = append(shown.Pending, one)
	}
	c.json(http.StatusOK, shown)
	return nil
}

func (c *call) attempts(s *projections.Subscription) error {
	filter, err := c.attemptFilter()
	if err != nil {
		return err
	}
	page, _, err := c.page(c.server.cfg.Runner.Now())
	if err != nil {
		return err
	}
	var before uint64
	if page.Last != "" {
		if before, err = strconv.ParseUint(page.Last, 10, 64); err != nil {
			return errCursor
		}
	}
	found, next, err := c.server.cfg.Deliveries.Journal.List(c.r.Context(), s.ID, filter, before, page.limit)
	if err != nil {
		return c.storeAway(err)
	}
	list := AttemptList{Attempts: []DeliveryAttempt{}}
	for i := range found {
		list.Attempts = append(list.Attempts, showAttempt(&found[i]))
	}
	if next != 0 {
		list.NextCursor = page.next(strconv.FormatUint(next, 10))
	}
	c.json(http.StatusOK, list)
	return nil
}

func (c *call) attemptFilter() (f attempts.Filter, err error) {
	if text := c.query.Get("sequence"); c.query.Has("sequence") {
		if f.Sequence, err = strconv.ParseUint(text, 10, 64); err != nil || f.Sequence == 0 {
			return f, handlers.InvalidField("sequence", "sequence", "%.40q is no sequence", text)
		}
	}
	if text := c.query.Get("status"); c.query.Has("status") {
		if f.Status, err = strconv.Atoi(text); err != nil || f.Status < 100 || f.Status > 599 {
			return f, handlers.InvalidField("status", "range", "must be a status of HTTP, from 100 to 599")
		}
	}
	if f.Class = c.query.Get("class"); c.query.Has("class") && !attempts.IsClass(f.Class) {
		return f, handlers.InvalidField("class", "one_of", "must be one of %s", attempts.Classes())
	}
	return f, nil
}

func showAttempt(a *attempts.Attempt) DeliveryAttempt {
	shown := DeliveryAttempt{
		Sequence: a.Sequence, Attempt: a.Number, StartedAt: events.FormatTime(a.StartedAt), DurationMS: a.Milliseconds, Status: a.Status, Class: a.Class,
		Body: a.Body, Dead: a.Dead,
	}
	if !a.NextAt.IsZero() {
		shown.NextAt = events.FormatTime(a.NextAt)
	}
	if !a.Replay.IsZero() {
		shown.Replay = a.Replay.String()
	}
	return shown
}

func (c *call) deadLetters(s *projections.Subscription) error {
	page, _, err := c.page(c.server.cfg.Runner.Now())
	if err != nil {
		return err
	}
	var after uint64
	if page.Last != "" {
		if after, err = strconv.ParseUint(page.Last, 10, 64); err != nil {
			return errCursor
		}
	}
	store := c.server.cfg.Deliveries.Cursors
	dead, err := store.Dead(c.r.Context(), s.ID)
	if err != nil {
		return c.storeAway(err)
	}
	list := DeadLetterList{DeadLetters: []DeadLetter{}}
	for _, sequence := range dead {
		if sequence <= after {
			continue
		}
		if n := len(list.DeadLetters); page.full(n) {
			list.NextCursor = page.next(strconv.FormatUint(list.DeadLetters[n-1].Sequence, 10))
			break
		}
		var letter cursors.DeadLetter
		switch _, err := store.Get(c.r.Context(), cursors.DeadKey(s.ID, sequence), &letter); {
		case errors.Is(err, cursors.ErrNone): // it was delivered meanwhile, by a replay
		case err != nil:
			return c.storeAway(err)
		default:
			list.DeadLetters = append(list.DeadLetters, DeadLetter{
				Sequence: letter.Sequence, At: events.FormatTime(time.UnixMilli(letter.AtMilli)), Status: letter.Status, Class: letter.Class,
			})
		}
	}
	c.json(http.StatusOK, list)
	return nil
}
