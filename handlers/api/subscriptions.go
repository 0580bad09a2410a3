package api

import (
	"net/http"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// Subscription is how a subscription is shown: as in the CloudEvents Subscriptions API,
// and with what is ours. Its headers are never shown, and of its sink only the host:
// the rest may be a secret.
type Subscription struct {
	ID               string                  `json:"id"`
	Source           string                  `json:"source"`
	Types            []string                `json:"types,omitempty"`
	Config           struct{}                `json:"config"`
	Filters          []subscription.Filter   `json:"filters,omitempty"`
	Sink             string                  `json:"sink,omitempty"` // absent where events are fetched
	Protocol         string                  `json:"protocol"`
	ProtocolSettings ProtocolSettings        `json:"protocolsettings"`
	Name             string                  `json:"name,omitempty"`
	Description      string                  `json:"description"`
	Format           events.DeliveryFormat   `json:"format"`
	MLflowEvents     []string                `json:"mlflow_events,omitempty"` // that are wanted in the format mlflow; absent for all
	Ordering         events.DeliveryOrdering `json:"ordering"`
	Rate             int                     `json:"rate"` // deliveries a second at most, 0 for any
	Signature        events.SignatureScheme  `json:"signature,omitempty"`
	// Credential names the sealed record of the sink, the headers and the secrets.
	Credential     string `json:"credential,omitempty"`
	OldSecretUntil string `json:"old_secret_until,omitempty"` // until when it signs too
	After          uint64 `json:"after"`                      // events after this sequence are delivered

	Status       projections.SubscriptionStatus `json:"status"`
	StatusCause  events.DisableCause            `json:"status_cause,omitempty"` // of a disabled one
	StatusReason string                         `json:"status_reason,omitempty"`
	FailingSince string                         `json:"failing_since,omitempty"` // of one that is disabled for it

	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
	CreatedBy string `json:"created_by,omitempty"`
	Sequence  uint64 `json:"sequence"` // of the last event that changed it
}

// SubscriptionWithSecret is a subscription with what its receiver verifies signatures
// with. It is shown once.
type SubscriptionWithSecret struct {
	Subscription
	// Secret is the key of an HMAC, whsec_..., or the public key of a pair, whpk_...
	Secret string `json:"secret,omitempty"` // absent from the answer to a repeated request, if it has been replaced
}

// SubscriptionList is a page of subscriptions, the oldest first.
type SubscriptionList struct {
	Subscriptions []Subscription `json:"subscriptions"`
	NextCursor    string         `json:"next_cursor,omitempty"` // absent on the last page
}

// Protocols of subscriptions.
const (
	protocolHTTP = "HTTP"
	protocolPoll = "POLL" // events are fetched
)

func (s *server) subscriptionRoutes() []endpoint {
	status := func(action, name, summary string, build func(id string, body handlers.Delivery) handlers.Command) endpoint {
		return write(http.MethodPost, "/v1/subscriptions/{id}/"+action, name, summary, http.StatusOK,
			func(c *call, body handlers.Delivery) (handlers.Command, error) {
				return build(c.r.PathValue("id"), body), nil
			}, renderSubscription)
	}
	return []endpoint{
		s.createSubscription(),
		read("/v1/subscriptions", "listSubscriptions", "List the subscriptions", paging, listSubscriptions),
		read("/v1/subscriptions/{id}", "getSubscription", "Get a subscription", nil,
			func(c *call, v projections.View) (answer[Subscription], error) {
				shown, _, err := c.subscription(v)
				return answer[Subscription]{value: shown, etag: shown.Sequence}, err
			}),
		s.changeSubscription(),
		s.deleteSubscription(),
		status("pause", "pauseSubscription", "Deliver nothing until it is resumed", func(id string, body handlers.Delivery) handlers.Command {
			return &handlers.PauseSubscription{Subscription: id, Delivery: body}
		}),
		status("resume", "resumeSubscription", "Go on with deliveries", func(id string, body handlers.Delivery) handlers.Command {
			return &handlers.ResumeSubscription{Subscription: id, Delivery: body}
		}),
		s.rotateSecret(),
	}
}

// subscription gives the subscription of the path.
func (c *call) subscription(v projections.View) (Subscription, *projections.Subscription, error) {
	s, sequence, err := handlers.FindSubscription(v, c.r.PathValue("id"))
	if err != nil {
		return Subscription{}, nil, err
	}
	shown, err := showSubscription(v, s, sequence)
	return shown, s, err
}

func showSubscription(v projections.View, s *projections.Subscription, sequence uint64) (Subscription, error) {
	shown := Subscription{
		ID: s.ID.String(), Source: (events.Event{Registry: v.Registry().ID}).Source(), Types: s.Settings.Types, Sink: showSink(s.Settings.SinkHost),
		Protocol: protocolHTTP, ProtocolSettings: ProtocolSettings{Method: http.MethodPost},
		Name: s.Settings.Name, Description: s.Settings.Description.String(), Format: s.Settings.Format, MLflowEvents: s.Settings.MLflowEvents, Ordering: s.Settings.Ordering, Rate: s.Settings.Rate,
		Signature: s.Settings.Signature, Credential: s.Settings.CredentialID.String(), After: s.After,
		Status: s.Status, StatusCause: s.Cause, StatusReason: s.Reason.String(),
		CreatedAt: events.FormatTime(s.CreatedAt()), UpdatedAt: events.FormatTime(s.UpdatedAt()), CreatedBy: s.CreatedBy, Sequence: sequence,
	}
	if s.Settings.SinkHost == "" {
		shown.Protocol, shown.ProtocolSettings, shown.Sink, shown.Signature, shown.Credential = protocolPoll, ProtocolSettings{}, "", "", ""
	}
	if until := s.OldSecretUntil(); !until.IsZero() {
		shown.OldSecretUntil = events.FormatTime(until)
	}
	if since := s.FailingSince(); !since.IsZero() {
		shown.FailingSince = events.FormatTime(since)
	}
	if s.Settings.Filters == "" {
		return shown, nil
	}
	var err error
	shown.Filters, err = subscription.ParseFilters([]byte(s.Settings.Filters))
	return shown, err
}

func renderSubscription(_ *call, v projections.View, r events.Resource) (answer[Subscription], error) {
	s, sequence, ok := v.Subscription(r.Root.ID)
	if !ok {
		return answer[Subscription]{}, handlers.NotFoundError{What: handlers.CodeSubscriptionNotFound, Name: r.Root.ID.String()}
	}
	shown, err := showSubscription(v, s, sequence)
	return answer[Subscription]{value: shown, etag: sequence}, err
}

func listSubscriptions(c *call, v projections.View) (answer[SubscriptionList], error) {
	page, v, err := c.page(v)
	if err != nil {
		return answer[SubscriptionList]{}, err
	}
	var from ulid.ULID
	if page.Last != "" {
		if from, err = ulid.ParseStrict(page.Last); err != nil {
			return answer[SubscriptionList]{}, errCursor
		}
	}
	list := SubscriptionList{Subscriptions: []Subscription{}}
	for s := range v.Subscriptions(from) {
		if page.skip(s.ID.String()) {
			continue
		}
		if n := len(list.Subscriptions); page.full(n) {
			list.NextCursor = page.next(list.Subscriptions[n-1].ID)
			break
		}
		_, sequence, _ := v.Subscription(s.ID)
		shown, err := showSubscription(v, s, sequence)
		if err != nil {
			return answer[SubscriptionList]{}, err
		}
		list.Subscriptions = append(list.Subscriptions, shown)
	}
	return answer[SubscriptionList]{value: list}, nil
}

// subscribers gives the ids of the subscriptions that would be told of an event.
func (s *server) subscribers(v projections.View, e events.Event) (ids []string, err error) {
	attributes, err := subscription.Of(e)
	if err != nil {
		return nil, err
	}
	for sub := range v.Subscriptions(ulid.ULID{}) {
		if sub.Status != projections.SubscriptionActive || v.Sequence <= sub.After {
			continue
		}
		_, sequence, _ := v.Subscription(sub.ID)
		matcher, err := s.cfg.Matchers.Matcher(sub, sequence)
		if err == nil && matcher.Matches(attributes) { // one that can't be compiled here is told of nothing
			ids = append(ids, sub.ID.String())
		}
	}
	return ids, nil
}
