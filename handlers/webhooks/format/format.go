package format

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// Types of content.
const (
	jsonType        = "application/json"
	cloudEventsType = "application/cloudevents+json"
)

const typePrefix = "dev.modelog." // of our events' types

// Formats renders events. It is safe for concurrent use.
type Formats struct {
	// At gives the view as of a sequence, as the runner's does.
	At func(sequence uint64) projections.View
}

// Wants says whether there can be anything for a type of event.
func Wants(s *events.SubscriptionSettings, eventType string) bool {
	kind := strings.TrimPrefix(eventType, typePrefix)
	switch s.Format {
	case events.FormatMLflow:
		return slices.ContainsFunc(mlflowKinds[kind], func(e string) bool { return wantsMLflow(s, e) })
	case events.FormatCDEvents:
		return cdKinds[kind]
	default:
		return true
	}
}

// Render writes an event, of which structured is the CloudEvent: one body for each
// request, in order, and none if the format, or the subscription's choice of it, has
// nothing for the event. It fails on a format that isn't known here.
func (f *Formats) Render(s *events.SubscriptionSettings, e events.Event, structured []byte) (bodies [][]byte, contentType string, err error) {
	contentType = jsonType
	switch s.Format {
	case events.FormatCloudEvents:
		bodies, contentType = [][]byte{structured}, cloudEventsType
	case events.FormatMLflow:
		bodies, err = f.mlflow(s, e)
	case events.FormatCDEvents:
		contentType = cloudEventsType
		bodies, err = f.cdEvent(e)
	case events.FormatSlack:
		bodies, err = one(slack(messageOf(e)))
	case events.FormatTeams:
		bodies, err = one(teams(messageOf(e)))
	case events.FormatDiscord:
		bodies, err = one(discord(messageOf(e)))
	default:
		err = fmt.Errorf("there is no format %q", s.Format)
	}
	return bodies, contentType, err
}

func one(body []byte, err error) ([][]byte, error) { return [][]byte{body}, err }

// named takes the subject of an event apart, and gives the names in it as they are.
func named(subject string) []string {
	names := strings.Split(subject, "/")
	for i, name := range names {
		if plain, err := url.PathUnescape(name); err == nil {
			names[i] = plain
		}
	}
	return names
}
