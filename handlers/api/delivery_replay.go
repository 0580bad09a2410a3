package api

import (
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// ReplayRequest asks for a part of the past to be delivered again.
type ReplayRequest struct {
	From start        `json:"from,omitzero"` // sequence or time; absent for the subscription's beginning
	To   start        `json:"to,omitzero"`   // included; absent for all that there is
	Mode cursors.Mode `json:"mode,omitempty"`
	Rate int          `json:"rate,omitzero"` // deliveries a second at most, 0 for any
}

// Replay is a part of the past that is delivered again, beside what is new.
type Replay struct {
	ID    string       `json:"id"`
	From  uint64       `json:"from"`
	To    uint64       `json:"to"` // both included
	Mode  cursors.Mode `json:"mode"`
	Rate  int          `json:"rate,omitzero"` // deliveries a second at most
	After uint64       `json:"after"`         // how far it has come
	Sent  uint64       `json:"sent"`          // deliveries that were answered with 2xx
	// State is running, done or stopped.
	State     string `json:"state"`
	CreatedAt string `json:"created_at"`
}

// ReplayList has the replays that are still known, the oldest first.
type ReplayList struct {
	Replays []Replay `json:"replays"`
}

// States of replays.
const (
	replayRunning = "running"
	replayDone    = "done"
	replayStopped = "stopped"
)

func (s *server) replayRoutes(list func(path, name, summary string, query []parameter, answer reflect.Type, serve func(*call, *projections.Subscription) error) endpoint) []endpoint {
	return []endpoint{
		{
			method: http.MethodPost, path: "/v1/subscriptions/{id}/replays", name: "startReplay", status: http.StatusCreated, timeless: true,
			summary: "Deliver a part of the past again, beside what is new and under the same webhook-ids",
			body:    reflect.TypeFor[ReplayRequest](), answer: reflect.TypeFor[Replay](), serve: func(c *call) error {
				var body ReplayRequest
				if err := c.readSubscription(&body); err != nil {
					return err
				}
				return c.ofDeliveries(func(c *call, s *projections.Subscription) error { return c.startReplay(s, &body) })
			},
		},
		list("replays", "listReplays", "List the replays of a subscription", nil, reflect.TypeFor[ReplayList](), (*call).replays),
		list("replays/{job}", "getReplay", "How far a replay has come", nil, reflect.TypeFor[Replay](), (*call).replay),
		{
			method: http.MethodDelete, path: "/v1/subscriptions/{id}/replays/{job}", name: "stopReplay", status: http.StatusNoContent, timeless: true,
			summary: "Stop a replay for good", serve: func(c *call) error {
				if err := c.onlyKnownQuery(nil); err != nil {
					return err
				}
				return c.ofDeliveries((*call).stopReplay)
			},
		},
	}
}

func (c *call) startReplay(s *projections.Subscription, body *ReplayRequest) error {
	job := cursors.Replay{Subscription: s.ID, Mode: body.Mode, Rate: body.Rate, From: s.After + 1, To: c.server.cfg.Runner.Visible()}
	switch {
	case job.Mode == "":
		job.Mode = cursors.ReplayAll
	case job.Mode != cursors.ReplayAll && job.Mode != cursors.ReplayFailed && job.Mode != cursors.ReplayMissing:
		return handlers.InvalidField("/mode", "one_of", "must be all, failed or missing")
	}
	if job.Rate < 0 || job.Rate > handlers.MaxDeliveryRate {
		return handlers.InvalidField("/rate", "range", "must be a whole number from 0 to %d", handlers.MaxDeliveryRate)
	}
	var err error
	if job.From, err = c.replayEnd("/from", body.From, job.From, false); err != nil {
		return err
	}
	if job.To, err = c.replayEnd("/to", body.To, job.To, true); err != nil {
		return err
	}
	if job.From > job.To {
		return handlers.InvalidField("/from", "not_after_to", "%d is after %d, with which the part ends", job.From, job.To)
	}
	job.Job = c.server.cfg.NewID(c.server.cfg.Now())
	switch err := c.server.cfg.Deliveries.Engine.Replay(c.r.Context(), job); {
	case errors.Is(err, webhooks.ErrUnknown):
		return handlers.NotFoundError{What: handlers.CodeSubscriptionNotFound, Name: s.ID.String()}
	case errors.Is(err, webhooks.ErrNoSink):
		return handlers.RuleError{Rule: handlers.CodeNoSink, Detail: "the subscription has no sink to replay to: seek back and poll"}
	case errors.Is(err, webhooks.ErrReplays):
		return handlers.RuleError{Rule: handlers.CodeTooManyReplays, Detail: strconv.Itoa(webhooks.MaxReplays) + " replays of the subscription are under way; wait for one of them, or stop it"}
	case err != nil:
		return c.storeAway(err)
	}
	c.header("Location", c.r.URL.Path+"/"+job.Job.String())
	c.json(http.StatusCreated, showReplay(&job))
	return nil
}

// replayEnd gives the sequence of an end of a part. Of a time both ends have all of its
// millisecond.
func (c *call) replayEnd(pointer string, at start, otherwise uint64, last bool) (uint64, error) {
	if at.text == "" {
		return otherwise, nil
	}
	if sequence, err := strconv.ParseUint(at.text, 10, 64); err == nil {
		if now := c.server.cfg.Runner.Visible(); sequence == 0 || sequence > now {
			return 0, handlers.InvalidField(pointer, "range", "%d is not one of the events 1 to %d", sequence, now)
		}
		return sequence, nil
	}
	moment, err := time.Parse(time.RFC3339, at.text)
	if err != nil {
		return 0, handlers.InvalidField(pointer, "sequence_or_time", "%.100q is neither a sequence nor a time such as 2026-11-24T02:10:00Z", at.text)
	}
	if now := c.server.cfg.Now(); moment.After(now.Add(aheadOfClock)) {
		return 0, handlers.InvalidField(pointer, "not_in_the_future", "%s is in the future; it is %s", at.text, events.FormatTime(now))
	}
	run := c.server.cfg.Runner
	if last {
		return max(run.SequenceAt(moment), 1), nil
	}
	return min(run.SequenceAt(moment.Add(-time.Millisecond))+1, run.Visible()), nil
}

func showReplay(job *cursors.Replay) Replay {
	shown := Replay{
		ID: job.Job.String(), From: job.From, To: job.To, Mode: job.Mode, Rate: job.Rate, After: max(job.Cursor.After, job.From-1), Sent: job.Sent,
		State: replayRunning, CreatedAt: events.FormatTime(job.Job.Timestamp()),
	}
	switch {
	case job.Stopped:
		shown.State = replayStopped
	case job.Done:
		shown.State = replayDone
	}
	return shown
}

func (c *call) replays(s *projections.Subscription) error {
	jobs, err := c.server.cfg.Deliveries.Cursors.Replays(c.r.Context(), s.ID)
	if err != nil {
		return c.storeAway(err)
	}
	list := ReplayList{Replays: []Replay{}}
	for i := range jobs {
		list.Replays = append(list.Replays, showReplay(&jobs[i]))
	}
	c.json(http.StatusOK, list)
	return nil
}

// replayID reads the id of the path.
func (c *call) replayID() (ulid.ULID, error) {
	id, err := ulid.ParseStrict(c.r.PathValue("job"))
	if err != nil {
		return id, c.noReplay()
	}
	return id, nil
}

func (c *call) noReplay() error {
	return handlers.NotFoundError{What: handlers.CodeReplayNotFound, Name: c.r.PathValue("job"), Hint: "of those that have ended the last ones are known"}
}

func (c *call) replay(s *projections.Subscription) error {
	id, err := c.replayID()
	if err != nil {
		return err
	}
	var job cursors.Replay
	_, err = c.server.cfg.Deliveries.Cursors.Get(c.r.Context(), cursors.ReplayKey(s.ID, id), &job)
	switch {
	case errors.Is(err, cursors.ErrNone):
		return c.noReplay()
	case err != nil:
		return c.storeAway(err)
	}
	c.json(http.StatusOK, showReplay(&job))
	return nil
}

func (c *call) stopReplay(s *projections.Subscription) error {
	id, err := c.replayID()
	if err != nil {
		return err
	}
	err = c.server.cfg.Deliveries.Engine.StopReplay(c.r.Context(), s.ID, id)
	switch {
	case errors.Is(err, webhooks.ErrUnknownReplay):
		return c.noReplay()
	case err != nil:
		return c.storeAway(err)
	}
	c.status = http.StatusNoContent
	c.w.WriteHeader(c.status)
	return nil
}
