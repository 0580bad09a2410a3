package api

import (
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// A deployment has two times: when it happened, and when the registry learned of
// it, which is later when it is reported late. as_of goes by the second, valid_at
// by the first.

var validAtQuery = parameter{
	"valid_at", "string",
	"Ask for what was in force at this time, such as 2026-11-01T00:00:00Z, by when deployments happened; as_of says as far as was known when",
}

// Asked says which moments an answer is about.
type Asked struct {
	ValidAt    string `json:"valid_at"`              // this was in force then
	Sequence   uint64 `json:"sequence"`              // as far as was known as of this event
	RecordedAt string `json:"recorded_at,omitempty"` // time of that event
}

// validAt reads valid_at, and says with it what the answer is about.
func (c *call) validAt(v projections.View) (time.Time, *Asked, error) {
	text := c.query.Get(validAtQuery.name)
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return moment, nil, handlers.InvalidField(validAtQuery.name, "time", "%q is not a time such as 2026-11-24T02:10:00Z", text)
	}
	if now := c.server.cfg.Now(); moment.After(now.Add(aheadOfClock)) {
		return moment, nil, handlers.InvalidField(validAtQuery.name, "not_in_the_future",
			"%s is in the future, and nobody knows what will run then; it is %s", text, events.FormatTime(now))
	}
	asked := &Asked{ValidAt: events.FormatTime(moment), Sequence: v.Sequence}
	if v.Sequence > 0 {
		asked.RecordedAt = events.FormatTime(v.Recorded())
	}
	return moment, asked, nil
}

func getTargetInForce(c *call, v projections.View) (answer[Target], error) {
	moment, asked, err := c.validAt(v)
	if err != nil {
		return answer[Target]{}, err
	}
	t, ok := v.TargetInForce(c.target(), moment)
	if !ok {
		return answer[Target]{}, handlers.NotFoundError{
			What: handlers.CodeTargetNotFound, Name: c.target().String(), Hint: "it was not there at " + asked.ValidAt + ", as far as was known",
		}
	}
	shown := showInForce(v, t)
	shown.Asked = asked
	return answer[Target]{value: shown, etag: t.Sequence}, nil
}

func listTargetsInForce(c *call, v projections.View, page page) (answer[TargetList], error) {
	moment, asked, err := c.validAt(v)
	if err != nil {
		return answer[TargetList]{}, err
	}
	list := TargetList{Targets: []Target{}, Asked: asked}
	for t := range v.TargetsInForce(page.fromTarget(), moment) {
		if page.skip(t.Target.Name.String()) {
			continue
		}
		if page.full(len(list.Targets)) {
			list.NextCursor = page.nextTarget(list.Targets)
			break
		}
		list.Targets = append(list.Targets, showInForce(v, t))
	}
	return answer[TargetList]{value: list}, nil
}

func showInForce(v projections.View, t projections.TargetInForce) Target {
	shown := describeTarget(t.Target, t.Sequence)
	if t.Routes != nil {
		shown.run(v, t.Routes, t.Generation)
	}
	return shown
}
