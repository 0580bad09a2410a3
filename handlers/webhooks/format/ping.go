package format

import (
	"time"

	"github.com/modelog/modelog/events"
)

// Ping writes what says that nothing has happened, as a subscription is told of events:
// structured is that as a CloudEvent. Of MLflow's it is the example of the first event
// that is wanted.
func Ping(s *events.SubscriptionSettings, structured []byte, says string, now time.Time) (body []byte, contentType string, err error) {
	m := message{about: "modelog", what: oneLine(says), how: "ping, " + events.FormatTime(now)}
	switch s.Format {
	case events.FormatSlack:
		body, err = slack(m)
	case events.FormatTeams:
		body, err = teams(m)
	case events.FormatDiscord:
		body, err = discord(m)
	case events.FormatMLflow:
		if wanted := MLflowEvents(s); len(wanted) > 0 {
			body, _ = MLflowExample(wanted[0], now) // there is one of all
			return body, jsonType, nil
		}
		return structured, cloudEventsType, nil
	default:
		return structured, cloudEventsType, nil
	}
	return body, jsonType, err
}
