package mlflow

import (
	"net/http"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/format"
)

// tryAnswer says what became of a trial.
type tryAnswer struct {
	Result tryResult `json:"result"`
}

type tryResult struct {
	Success bool   `json:"success"`
	Status  int    `json:"response_status,omitzero"`
	Body    string `json:"response_body,omitzero"`
	Error   string `json:"error_message,omitzero"`
}

// testWebhook sends MLflow's example of an event, the first that the webhook is for if
// none is named. It is tried once.
func testWebhook(c *call) (any, error) {
	s, err := findWebhook(c.server.cfg.Runner.Now(), c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	event := ""
	if of := format.MLflowEvents(&s.Settings); len(of) > 0 {
		event = of[0]
	}
	if len(c.params.events) > 0 {
		event = c.params.events[0]
	}
	if err := checkWebhookEvent(event); err != nil {
		return nil, err
	}
	keeper := c.endpoints()
	if err := keeper.Check(); err != nil {
		return nil, err
	}
	endpoint, err := keeper.Vault.Get(c.r.Context(), s.Settings.CredentialID)
	if err != nil {
		return nil, keeper.Away(c.r.Context(), err)
	}
	if c.server.cfg.Sender == nil {
		return nil, handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "this server delivers nothing"}
	}
	now := c.server.cfg.Now()
	body, _ := format.MLflowExample(event, now) // there is one of all
	got := c.server.cfg.Sender.Exchange(c.r.Context(), webhooks.Request{
		ID: "test_" + c.server.cfg.NewID(now).String(), Time: now, Endpoint: endpoint, Body: body, ContentType: "application/json",
		Signature: s.Settings.Signature, Format: events.FormatMLflow,
	}).Result
	return tryAnswer{resultOf(got)}, nil
}

// resultOf counts as a success what a delivery counts as one.
func resultOf(r webhooks.Result) tryResult {
	text := strings.ToValidUTF8(string(r.Body), "\uFFFD")
	if r.Status == 0 {
		return tryResult{Error: strings.TrimSuffix("Failed to test webhook: "+r.Class+": "+text, ": ")}
	}
	return tryResult{Success: r.Status >= http.StatusOK && r.Status < http.StatusMultipleChoices, Status: r.Status, Body: text}
}
