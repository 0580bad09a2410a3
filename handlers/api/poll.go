package api

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/projections"
)

// PolledEvents are the next events of a subscription without a sink.
type PolledEvents struct {
	Events []jsontext.Value `json:"events"` // structured CloudEvents, in order
	Cursor string           `json:"cursor"` // to commit when they are taken care of; it passes what doesn't match too
	More   bool             `json:"more"`   // whether there is more to look at already
}

// PollCommit says up to where a subscriber has taken care of its events.
type PollCommit struct {
	Cursor string `json:"cursor"`
}

// PollSeek moves to another place.
type PollSeek struct {
	To start `json:"to"` // a sequence or a time to go on with, start or now
}

// PollPosition is where the next poll begins.
type PollPosition struct {
	After  uint64 `json:"after"` // events after this sequence come next
	Cursor string `json:"cursor"`
}

// Limits of a poll.
const (
	maxPollWait   = 30 * time.Second
	pollScan      = 5_000 // events that are looked at in one go
	maxPollScan   = 50_000
	pollRetries   = 20 // of a compare-and-set
	startOfEvents = "start"
	maxPollCursor = 100 // characters
)

var pollQuery = []parameter{
	{"limit", "integer", "How many events at most"},
	{"wait", "string", "How long to wait for the first one, such as 20s; 30s at most, not at all if absent"},
}

func (s *server) pollRoutes() []endpoint {
	polled := func(serve func(c *call, s *projections.Subscription) error) func(c *call) error {
		return func(c *call) error {
			return c.ofDeliveries(func(c *call, s *projections.Subscription) error {
				if s.Settings.SinkHost != "" {
					return handlers.RuleError{Rule: handlers.CodeHasSink, Detail: "the subscription has a sink, to which its events are delivered; make one with the protocol POLL"}
				}
				return serve(c, s)
			})
		}
	}
	return []endpoint{
		{
			method: http.MethodGet, path: "/v1/subscriptions/{id}/poll", name: "pollEvents", status: http.StatusOK, timeless: true, query: pollQuery,
			summary: "Fetch the next events of a subscription without a sink: the same ones until they are committed", answer: reflect.TypeFor[PolledEvents](),
			serve: func(c *call) error {
				if err := c.onlyKnownQuery(pollQuery); err != nil {
					return err
				}
				return polled((*call).poll)(c)
			},
		},
		{
			method: http.MethodPost, path: "/v1/subscriptions/{id}/commit", name: "commitEvents", status: http.StatusOK, timeless: true,
			summary: "Say up to where events are taken care of; never backwards", body: reflect.TypeFor[PollCommit](), answer: reflect.TypeFor[PollPosition](),
			serve: func(c *call) error {
				var body PollCommit
				if err := c.readCommand(&body); err != nil {
					return err
				}
				return polled(func(c *call, s *projections.Subscription) error { return c.commitPoll(s, body.Cursor) })(c)
			},
		},
		{
			method: http.MethodPost, path: "/v1/subscriptions/{id}/seek", name: "seekEvents", status: http.StatusOK, timeless: true,
			summary: "Go on from another place, forwards or backwards", body: reflect.TypeFor[PollSeek](), answer: reflect.TypeFor[PollPosition](),
			serve: func(c *call) error {
				var body PollSeek
				if err := c.readSubscription(&body); err != nil {
					return err
				}
				return polled(func(c *call, s *projections.Subscription) error { return c.seekPoll(s, body.To) })(c)
			},
		},
	}
}

// pollCursor spells a place so that it is no other subscription's.
func pollCursor(s *projections.Subscription, after uint64) string {
	return encodePollCursor(s.ID.String() + "/" + strconv.FormatUint(after, 10))
}

func encodePollCursor(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func readPollCursor(s *projections.Subscription, cursor string) (uint64, error) {
	if len(cursor) > maxPollCursor {
		return 0, handlers.InvalidField("/cursor", "max_length", "has more than %d characters", maxPollCursor)
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	text, ours := strings.CutPrefix(string(data), s.ID.String()+"/")
	after, wrong := strconv.ParseUint(text, 10, 64)
	if err != nil || !ours || wrong != nil {
		return 0, handlers.InvalidField("/cursor", "cursor", "is not the cursor of a poll of this subscription")
	}
	return after, nil
}

// pollPlace gives the committed place, and the revision of its record.
func (c *call) pollPlace(s *projections.Subscription) (after, revision uint64, err error) {
	at := cursors.Poll{After: s.After}
	revision, err = c.server.cfg.Deliveries.Cursors.Get(c.r.Context(), cursors.PollKey(s.ID), &at)
	if err != nil && !errors.Is(err, cursors.ErrNone) {
		return 0, 0, c.storeAway(err)
	}
	return at.After, revision, nil
}

func (c *call) poll(s *projections.Subscription) error {
	limit, wait, err := c.pollLimits()
	if err != nil {
		return err
	}
	if s.Status != projections.SubscriptionActive {
		return handlers.RuleError{Rule: handlers.CodeNotActive, Detail: "the subscription is " + string(s.Status) + "; resume it first"}
	}
	after, _, err := c.pollPlace(s)
	if err != nil {
		return err
	}
	_, sequence, _ := c.server.cfg.Runner.Now().Subscription(s.ID)
	match, err := c.server.cfg.Matchers.Matcher(s, sequence)
	if err != nil {
		return err
	}
	defer c.server.streams.open.Add(-1)
	if c.server.streams.open.Add(1) > maxStreams {
		return handlers.UnavailableError{Kind: handlers.CodeBusy, Detail: strconv.Itoa(maxStreams) + " live streams and polls are open already; try again later", RetryAfter: 10 * time.Second}
	}
	follower, err := c.server.cfg.Hub.Follow(after, match)
	if err == nil {
		defer follower.Close()
		ctx, cancel := context.WithTimeout(c.r.Context(), wait)
		defer cancel()
		var taken []*fanout.Event
		if taken, err = c.nextPolled(ctx, follower, wait > 0); err == nil {
			return c.answerPoll(s, follower.Place(), taken, limit)
		}
	}
	if errors.Is(err, fanout.ErrStopped) {
		return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "the registry is stopping; come back to it later", RetryAfter: streamRetry}
	}
	return c.storeAway(err)
}

func (c *call) pollLimits() (limit int, wait time.Duration, err error) {
	limit = defaultLimit
	if text := c.query.Get("limit"); c.query.Has("limit") {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxLimit {
			return 0, 0, handlers.InvalidField("limit", "range", "must be a whole number from 1 to %d", maxLimit)
		}
	}
	if text := c.query.Get("wait"); c.query.Has("wait") {
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 || wait > maxPollWait {
			return 0, 0, handlers.InvalidField("wait", "range", "must be a duration from 0s to %v", maxPollWait)
		}
	}
	return limit, wait, nil
}

// nextPolled reads on until something matches, until there is nothing more, or until it
// has looked at much; then it waits for more, if it may.
func (c *call) nextPolled(waiting context.Context, f *fanout.Follower, waits bool) ([]*fanout.Event, error) {
	for begin := f.Place(); f.Place() < min(c.server.cfg.Runner.Visible(), begin+maxPollScan); {
		place := f.Place()
		taken, err := f.Read(c.r.Context(), pollScan)
		if err != nil || len(taken) > 0 {
			return taken, err
		}
		if f.Place() == place { // the hub has not come as far as the state
			break
		}
	}
	if !waits {
		return nil, nil
	}
	taken, err := f.Next(waiting)
	if waiting.Err() != nil && c.r.Context().Err() == nil {
		return taken, nil
	}
	return taken, err
}

func (c *call) answerPoll(s *projections.Subscription, place uint64, taken []*fanout.Event, limit int) error {
	if len(taken) > limit {
		taken = taken[:limit]
		place = taken[limit-1].Sequence
	}
	answer := PolledEvents{Events: []jsontext.Value{}, Cursor: pollCursor(s, place), More: place < c.server.cfg.Runner.Visible()}
	for _, e := range taken {
		answer.Events = append(answer.Events, e.JSON)
	}
	c.json(http.StatusOK, answer)
	return nil
}

// commitPoll moves forwards only: of two who poll at once the later one counts.
func (c *call) commitPoll(s *projections.Subscription, cursor string) error {
	after, err := readPollCursor(s, cursor)
	if err != nil {
		return err
	}
	if now := c.server.cfg.Runner.Visible(); after > now {
		return handlers.InvalidField("/cursor", "not_in_the_future", "is of %d, which is beyond the last sequence, %d", after, now)
	}
	return c.movePoll(s, func(before uint64) uint64 { return max(before, after) })
}

func (c *call) seekPoll(s *projections.Subscription, to start) error {
	if to.text == "" {
		return handlers.InvalidField("/to", "required", "is required: a sequence, a time, start or now")
	}
	after := s.After
	switch visible := c.server.cfg.Runner.Visible(); to.text {
	case startOfEvents:
	case "now":
		after = visible
	default:
		from, err := c.replayEnd("/to", to, 0, false)
		if err != nil {
			return err
		}
		after = from - 1
		if moment, err := time.Parse(time.RFC3339, to.text); err == nil {
			after = c.server.cfg.Runner.SequenceAt(moment.Add(-time.Millisecond))
		}
	}
	return c.movePoll(s, func(uint64) uint64 { return after })
}

func (c *call) movePoll(s *projections.Subscription, to func(before uint64) uint64) error {
	for range pollRetries {
		before, revision, err := c.pollPlace(s)
		if err != nil {
			return err
		}
		after := to(before)
		if after != before || revision == 0 {
			_, err = c.server.cfg.Deliveries.Cursors.Put(c.r.Context(), cursors.PollKey(s.ID), revision, cursors.Poll{After: after})
			if errors.Is(err, cursors.ErrMoved) {
				continue
			}
			if err != nil {
				return c.storeAway(err)
			}
		}
		c.json(http.StatusOK, PollPosition{After: after, Cursor: pollCursor(s, after)})
		return nil
	}
	return c.storeAway(cursors.ErrMoved)
}
