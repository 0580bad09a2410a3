package mlflow

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/endpoints"
	"github.com/modelog/modelog/handlers/webhooks/format"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// MLflow's webhooks are the subscriptions that have the format mlflow and a sink; there
// are no others here. What MLflow calls disabled is paused: the registry's own disabling looks
// the same, and ends in the same way.

var webhookRoutes = []rpc{
	{http.MethodPost, "webhooks", []field{
		{name, true}, {hookURL, true}, {hookEvents, true}, {description, false}, {secret, false}, {hookStatus, false},
	}, createWebhook},
	{http.MethodGet, "webhooks", []field{{maxResults, false}, {pageToken, false}}, listWebhooks},
	{http.MethodGet, "webhooks/{id}", nil, getWebhook},
	{http.MethodPatch, "webhooks/{id}", []field{
		{name, false}, {description, false}, {hookURL, false}, {hookEvents, false}, {secret, false}, {hookStatus, false},
	}, updateWebhook},
	{http.MethodDelete, "webhooks/{id}", nil, deleteWebhook},
	{http.MethodPost, "webhooks/{id}/test", []field{{hookEvent, false}}, testWebhook},
}

// endpoints sees to where webhooks deliver to.
func (c *call) endpoints() *endpoints.Keeper {
	cfg := &c.server.cfg
	return &endpoints.Keeper{
		Vault: cfg.Vault, Handshake: cfg.Handshake, Runner: cfg.Runner, NewID: cfg.NewID, Now: cfg.Now, Logger: cfg.Logger.With(slog.String("request_id", c.id)),
	}
}

// askPlainly asks for a command that sets no tags.
func (c *call) askPlainly(cmd handlers.Command) (handlers.Outcome, error) { return c.ask(cmd, nil) }

func createWebhook(c *call) (any, error) {
	p := &c.params
	host, err := c.checkWebhook()
	if err != nil {
		return nil, err
	}
	keeper := c.endpoints()
	if err := keeper.Check(); err != nil {
		return nil, err
	}
	endpoint := vault.Endpoint{URL: p.text[hookURL], Secrets: secretsOf(p.text[secret])}
	cmd := &handlers.CreateSubscription{
		Spec: handlers.SubscriptionSpec{
			Name: p.text[name], Description: p.text[description], Format: events.FormatMLflow, MLflowEvents: p.events,
			Ordering: events.OrderByKey, Signature: events.SignHMAC,
		},
		Sink: handlers.Sink{Host: host, CredentialID: keeper.NewRecord(), Endpoint: c.server.cfg.Vault.Fingerprint(endpoint.URL, nil)},
	}
	outcome, err := keeper.Put(c.r.Context(), c.askPlainly, cmd, cmd.Sink.CredentialID, endpoint)
	if err != nil {
		return nil, webhookURLError(err)
	}
	return c.withStatus(outcome.Resource.Root.ID)
}

// secretsOf keeps a secret as it was given: MLflow signs with its letters. Without one
// there is no signature.
func secretsOf(secret string) []vault.Secret {
	if secret == "" {
		return nil
	}
	return []vault.Secret{{Key: secret}}
}

// withStatus gives a webhook the status that is asked for, if any, and shows it.
func (c *call) withStatus(id ulid.ULID) (any, error) {
	var cmd handlers.Command
	switch c.params.text[hookStatus] {
	case statusActive:
		cmd = &handlers.ResumeSubscription{Subscription: id.String()}
	case statusDisabled:
		cmd = &handlers.PauseSubscription{Subscription: id.String()}
	}
	if cmd != nil {
		if _, err := c.askPlainly(cmd); err != nil {
			return nil, err
		}
	}
	v := c.server.cfg.Runner.Now()
	s, err := findWebhook(v, id.String())
	if err != nil {
		return nil, err
	}
	return webhookAnswer{c.showWebhook(s)}, nil
}

func isWebhook(s *projections.Subscription) bool {
	return s.Settings.Format == events.FormatMLflow && s.Settings.SinkHost != ""
}

// findWebhook finds a webhook. Subscriptions of other formats are none.
func findWebhook(v projections.View, id string) (*projections.Subscription, error) {
	s, _, err := handlers.FindSubscription(v, id)
	if err != nil || !isWebhook(s) {
		return nil, refusal{handlers.CodeSubscriptionNotFound, "Webhook with ID " + clip(id) + " not found."}
	}
	return s, nil
}

func getWebhook(c *call) (any, error) {
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	s, err := findWebhook(v, c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return webhookAnswer{c.showWebhook(s)}, nil
}

// Limits of a page of webhooks.
const (
	usualWebhooks = 100
	mostWebhooks  = 1000
)

func listWebhooks(c *call) (any, error) {
	size := usualWebhooks
	if n := c.params.results; n != 0 {
		if n < 1 || n > mostWebhooks {
			return nil, invalid("max_results must be between 1 and %d.", mostWebhooks)
		}
		size = int(n)
	}
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	at, v, err := c.page(v)
	if err != nil {
		return nil, err
	}
	var all []*projections.Subscription
	for s := range v.Subscriptions(ulid.ULID{}) {
		if isWebhook(s) {
			all = append(all, s)
		}
	}
	slices.Reverse(all) // the newest first
	rows, more := cut(&at, all, size)
	var answer webhooksAnswer
	for _, s := range rows {
		answer.Webhooks = append(answer.Webhooks, c.showWebhook(s))
	}
	if more {
		answer.Next = at.token()
	}
	return answer, nil
}

// updateWebhook changes what is given. The secret and the status are events of their
// own: what fails after one of them can be sent again whole.
func updateWebhook(c *call) (any, error) {
	p := &c.params
	host, err := c.checkWebhook()
	if err != nil {
		return nil, err
	}
	s, err := findWebhook(c.server.cfg.Runner.Now(), c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := c.changeWebhook(s, host); err != nil {
		return nil, err
	}
	if p.given[secret] {
		if err := c.replaceSecret(s); err != nil {
			return nil, err
		}
	}
	return c.withStatus(s.ID)
}

// changeWebhook changes all but the secret and the status.
func (c *call) changeWebhook(s *projections.Subscription, host string) error {
	p := &c.params
	cmd := handlers.ChangeSubscription{Subscription: s.ID.String()}
	if p.text[name] != "" {
		cmd.Changes.Name = &p.text[name]
	}
	if p.given[description] {
		cmd.Changes.Description = &p.text[description]
	}
	if len(p.events) > 0 {
		cmd.Changes.MLflowEvents = &p.events
	}
	if host == "" {
		_, err := c.askPlainly(&cmd)
		return err
	}
	keeper := c.endpoints()
	_, err := keeper.Replace(c.r.Context(), c.askPlainly, cmd.Subscription, func(s *projections.Subscription, before vault.Endpoint) (handlers.Command, ulid.ULID, vault.Endpoint, error) {
		next, again := before, cmd
		next.URL = p.text[hookURL]
		if host != s.Settings.SinkHost {
			next.Header = nil // they may be secrets of the one before
		}
		again.Instead = s.Settings.CredentialID
		again.Sink = &handlers.Sink{Host: host, CredentialID: keeper.NewRecord(), Endpoint: keeper.Vault.Fingerprint(next.URL, nil)}
		return &again, again.Sink.CredentialID, next, nil
	})
	return webhookURLError(err)
}

// replaceSecret signs with another secret at once, or with none.
func (c *call) replaceSecret(s *projections.Subscription) error {
	keeper := c.endpoints()
	_, err := keeper.Replace(c.r.Context(), c.askPlainly, s.ID.String(), func(s *projections.Subscription, before vault.Endpoint) (handlers.Command, ulid.ULID, vault.Endpoint, error) {
		next := before
		next.Secrets = secretsOf(c.params.text[secret])
		cmd := &handlers.RotateSecret{Subscription: s.ID.String(), CredentialID: keeper.NewRecord(), Instead: s.Settings.CredentialID}
		return cmd, cmd.CredentialID, next, nil
	})
	return err
}

func deleteWebhook(c *call) (any, error) {
	s, err := findWebhook(c.server.cfg.Runner.Now(), c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	outcome, err := c.askPlainly(&handlers.DeleteSubscription{Subscription: s.ID.String()})
	if err != nil {
		return nil, err
	}
	c.endpoints().EraseDeleted(c.r.Context(), outcome)
	return empty{}, nil
}

// Statuses of webhooks.
const (
	statusActive   = "ACTIVE"
	statusDisabled = "DISABLED"
)

// webhook is how MLflow shows a webhook. Its secret is never shown.
type webhook struct {
	ID          string         `json:"webhook_id"`
	Name        string         `json:"name"`
	Description string         `json:"description,omitzero"`
	URL         string         `json:"url"`
	Events      []webhookEvent `json:"events"`
	Status      string         `json:"status"`
	Created     int64          `json:"creation_timestamp"`
	Updated     int64          `json:"last_updated_timestamp"`
}

type webhookEvent struct {
	Entity string `json:"entity"`
	Action string `json:"action"`
}

type webhookAnswer struct {
	Webhook webhook `json:"webhook"`
}

type webhooksAnswer struct {
	Webhooks []webhook `json:"webhooks,omitempty"`
	Next     string    `json:"next_page_token,omitzero"`
}

// showWebhook shows the whole URL, as MLflow does, whose clients compare it; of one that
// the vault can't give it shows the host.
func (c *call) showWebhook(s *projections.Subscription) webhook {
	shown := webhook{
		ID: s.ID.String(), Name: s.Settings.Name, Description: s.Settings.Description.String(), URL: s.Settings.SinkHost,
		Status: statusDisabled, Created: s.CreatedMilli, Updated: s.UpdatedMilli,
	}
	if s.Status == projections.SubscriptionActive {
		shown.Status = statusActive
	}
	if keeper := c.endpoints(); keeper.Check() == nil {
		if endpoint, err := keeper.Vault.Get(c.r.Context(), s.Settings.CredentialID); err == nil {
			shown.URL = endpoint.URL
		}
	}
	for _, event := range format.MLflowEvents(&s.Settings) {
		entity, action, _ := strings.Cut(event, ".")
		shown.Events = append(shown.Events, webhookEvent{strings.ToUpper(entity), strings.ToUpper(action)})
	}
	return shown
}
