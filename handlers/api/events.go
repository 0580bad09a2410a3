package api

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// EventList is a page of events in the order of the log, each a structured
// CloudEvent.
type EventList struct {
	Events     []jsontext.Value `json:"events"`
	NextCursor string           `json:"next_cursor,omitempty"` // absent on the last page
}

func eventRoutes() []endpoint {
	after := parameter{"after", "integer", "Begin after this sequence; 0, the beginning, if absent"}
	return []endpoint{
		read("/v1/events", "listEvents", "List the events of the log", append([]parameter{after}, paging...), listEvents),
		read("/v1/events/{sequence}", "getEvent", "Get an event", nil,
			func(c *call, v projections.View) (answer[jsontext.Value], error) {
				sequence, err := strconv.ParseUint(c.r.PathValue("sequence"), 10, 64)
				if err != nil {
					return answer[jsontext.Value]{}, handlers.InvalidField("sequence", "sequence", "must be a whole number from 1")
				}
				if sequence == 0 || sequence > v.Sequence {
					return answer[jsontext.Value]{}, handlers.NotFoundError{What: handlers.CodeEventNotFound, Name: c.r.PathValue("sequence")}
				}
				e, err := c.server.event(c.r.Context(), sequence)
				if err != nil {
					return answer[jsontext.Value]{}, err
				}
				shown, err := showEvent(e)
				return answer[jsontext.Value]{value: shown, etag: sequence}, err
			}),
	}
}

// event reads one visible event from the log.
func (s *server) event(ctx context.Context, sequence uint64) (events.Event, error) {
	stored, err := s.cfg.Log.Get(ctx, sequence)
	if err != nil {
		return events.Event{}, logAway(err)
	}
	return events.Decode(stored)
}

func logAway(err error) error {
	if errors.Is(err, events.ErrUnavailable) {
		return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "the log, which this read needs, is away; try again", RetryAfter: time.Second}
	}
	return err
}

func showEvent(e events.Event) (jsontext.Value, error) {
	return events.AppendEvent(nil, e)
}

func listEvents(c *call, v projections.View) (answer[EventList], error) {
	page, v, err := c.page(v)
	if err != nil {
		return answer[EventList]{}, err
	}
	after, err := c.after(page)
	if err != nil {
		return answer[EventList]{}, err
	}
	to := min(after+uint64(page.limit), v.Sequence)
	list := EventList{Events: []jsontext.Value{}}
	for stored, err := range c.server.cfg.Log.Read(c.r.Context(), after+1, to) {
		if err != nil {
			return answer[EventList]{}, logAway(err)
		}
		e, err := events.Decode(stored)
		if err != nil {
			return answer[EventList]{}, err
		}
		shown, err := showEvent(e)
		if err != nil {
			return answer[EventList]{}, err
		}
		list.Events = append(list.Events, shown)
	}
	if to < v.Sequence {
		list.NextCursor = page.next(strconv.FormatUint(to, 10))
	}
	return answer[EventList]{value: list}, nil
}

func (c *call) after(p page) (uint64, error) {
	s := p.Last
	if s == "" {
		s = c.query.Get("after")
	}
	if s == "" {
		return 0, nil
	}
	after, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, handlers.InvalidField("after", "sequence", "must be a whole number from 0")
	}
	return after, nil
}
