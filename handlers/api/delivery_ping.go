package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/format"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// DeliveryTest asks for nothing in particular.
type DeliveryTest struct{}

// DeliveryExchange is a delivery, and what came back.
type DeliveryExchange struct {
	Sent       map[string]string `json:"sent"` // headers of the request, but for those of the subscription's own, which may be secrets
	SentBody   string            `json:"sent_body"`
	Status     int               `json:"status,omitzero"` // of HTTP, absent without an answer
	Class      string            `json:"class"`           // ok, or what went wrong, in one word
	DurationMS float64           `json:"duration_ms"`
	Headers    map[string]string `json:"headers,omitempty"` // of the answer
	Body       string            `json:"body,omitempty"`    // the beginning of the answer's, or more of what went wrong
}

// PingType is the type of the event that a test sends. It is on no log.
const PingType = "dev.modelog.ping.v1"

const pingMessage = "This is a test: nothing has happened."

// ping is what a test sends in the format of CloudEvents.
type ping struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        string    `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        pingShape `json:"data"`
}

type pingShape struct {
	Subscription ulid.ULID `json:"subscription_id"`
	Message      string    `json:"message"`
}

// testDelivery tries the sink once, whatever the status of the subscription.
func (c *call) testDelivery(s *projections.Subscription) error {
	if s.Settings.SinkHost == "" {
		return handlers.NoSink()
	}
	keeper := c.endpoints()
	if err := keeper.Check(); err != nil {
		return err
	}
	endpoint, err := keeper.Vault.Get(c.r.Context(), s.Settings.CredentialID)
	if err != nil {
		return keeper.Away(c.r.Context(), err)
	}
	now := c.server.cfg.Now()
	id := c.server.cfg.NewID(now)
	structured, err := json.Marshal(ping{
		SpecVersion: "1.0", ID: id.String(), Source: (events.Event{Registry: c.server.cfg.Runner.Now().Registry().ID}).Source(), Type: PingType,
		Subject: "subscriptions/" + s.ID.String(), Time: events.FormatTime(now), ContentType: jsonMedia,
		Data: pingShape{s.ID, pingMessage},
	})
	if err != nil {
		return err
	}
	body, contentType, err := format.Ping(&s.Settings, structured, pingMessage, now)
	if err != nil {
		return err
	}
	x := c.server.cfg.Deliveries.Sender.Exchange(c.r.Context(), webhooks.Request{
		ID: "ping_" + id.String(), Time: now, Endpoint: endpoint, Body: body, ContentType: contentType,
		Signature: s.Settings.Signature, Format: s.Settings.Format,
	})
	c.json(http.StatusOK, DeliveryExchange{
		Sent: plainHeaders(x.Sent), SentBody: string(body), Status: x.Result.Status, Class: x.Result.Class,
		DurationMS: float64(x.Result.Duration) / float64(time.Millisecond), Headers: plainHeaders(x.Got), Body: strings.ToValidUTF8(string(x.Result.Body), "\uFFFD"),
	})
	return nil
}

// Limits of the headers that are shown of an answer.
const (
	maxShownHeaders = 50
	maxShownHeader  = 1000 // bytes
)

// plainHeaders shows headers on one line each, the first ones if they are many.
func plainHeaders(h http.Header) map[string]string {
	shown := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if len(shown) == maxShownHeaders {
			break
		}
		value := strings.Join(h[name], ", ")
		shown[name] = strings.ToValidUTF8(value[:min(len(value), maxShownHeader)], "\uFFFD")
	}
	return shown
}
