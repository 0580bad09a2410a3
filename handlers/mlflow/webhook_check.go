package mlflow

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/endpoints"
	"github.com/modelog/modelog/handlers/webhooks/vault"
)

var webhookName = regexp.MustCompile(`^(?i:[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?)$`)

// checkWebhook checks what is said of a webhook, and gives the host of the URL, empty if
// none is given.
func (c *call) checkWebhook() (host string, err error) {
	p := &c.params
	if p.given[hookStatus] && p.text[hookStatus] != statusActive && p.text[hookStatus] != statusDisabled {
		return "", invalidParam("status", pythonJSON(p.text[hookStatus]), "str")
	}
	for _, event := range p.events {
		if err := checkWebhookEvent(event); err != nil {
			return "", err
		}
	}
	if p.text[name] != "" && !webhookName.MatchString(p.text[name]) {
		return "", invalid("Webhook name %s is invalid. It must start and end with a letter or digit, be less than 63 characters long, "+
			"and contain only letters, digits, dots (.), underscores (_), and hyphens (-).", pythonRepr(p.text[name]))
	}
	if longer(p.text[secret], maxSecret) {
		return "", tooLong("secret", maxSecret)
	}
	if s := (vault.Secret{Key: p.text[secret]}); s.Key != "" && !s.Usable() {
		return "", invalid("Invalid value for parameter 'secret' supplied: It begins like a key of Standard Webhooks, and is none. Give another secret.")
	}
	if p.text[hookURL] == "" {
		return "", nil
	}
	if host, err = c.checkWebhookURL(p.text[hookURL]); err != nil {
		return "", err
	}
	if c.r.Method == http.MethodPost && len(p.events) == 0 {
		return "", invalid("Webhook events must be a non-empty list of WebhookEvent objects: [].")
	}
	return host, nil
}

// maxSecret is how many characters a secret may have, as in MLflow's database.
const maxSecret = 1000

// checkWebhookURL gives the host of a URL.
func (c *call) checkWebhookURL(given string) (host string, err error) {
	allowed := []string{"https"}
	if c.server.cfg.SinksOverHTTP {
		allowed = []string{"http", "https"}
	}
	if u, err := url.Parse(given); err == nil {
		switch {
		case !slices.Contains(allowed, u.Scheme):
			return "", invalid("Invalid webhook URL scheme: %s. Allowed schemes are: %s.", pythonRepr(u.Scheme), strings.Join(allowed, ", "))
		case u.Hostname() == "":
			return "", invalid("Webhook URL must include a hostname: %s", pythonRepr(given))
		}
	}
	host, err = endpoints.ParseSink(given, c.server.cfg.SinksOverHTTP)
	return host, webhookURLError(err)
}

// webhookURLError speaks of the URL where the core speaks of a sink.
func webhookURLError(err error) error {
	bad, ok := errors.AsType[handlers.InvalidError](err)
	if !ok || bad.Fields[0].Pointer != "/sink" {
		return err
	}
	detail, _, _ := strings.Cut(bad.Fields[0].Detail, "; put an Authorization header") // which MLflow can't
	return invalid("Invalid webhook URL: it %s.", detail)
}

// checkWebhookEvent refuses what MLflow has no such event for.
func checkWebhookEvent(event string) error {
	if slices.Contains(handlers.MLflowEvents, event) {
		return nil
	}
	entity, action, _ := strings.Cut(event, ".")
	var valid []string
	for _, e := range handlers.MLflowEvents {
		if can, ok := strings.CutPrefix(e, entity+"."); ok {
			valid = append(valid, pythonRepr(can))
		}
	}
	return invalid("Invalid action '%s' for entity '%s'. Valid actions are: [%s]", action, entity, strings.Join(valid, ", "))
}

// The words of MLflow's events; which of them go together checkWebhookEvent says.
var (
	webhookEntities = []string{
		"REGISTERED_MODEL", "MODEL_VERSION", "MODEL_VERSION_TAG", "MODEL_VERSION_ALIAS",
		"PROMPT", "PROMPT_VERSION", "PROMPT_TAG", "PROMPT_VERSION_TAG", "PROMPT_ALIAS", "BUDGET_POLICY",
	}
	webhookActions = []string{"CREATED", "UPDATED", "DELETED", "SET", "EXCEEDED"}
)

// addEvent takes an event of a webhook, and says whether it is one in MLflow's words.
func (p *params) addEvent(raw jsontext.Value) bool {
	var e webhookEvent
	if raw.Kind() != jsontext.KindBeginObject || json.Unmarshal(raw, &e, lenient) != nil {
		return false
	}
	p.events = append(p.events, strings.ToLower(e.Entity+"."+e.Action))
	return slices.Contains(webhookEntities, e.Entity) && slices.Contains(webhookActions, e.Action) && len(p.events) <= handlers.MaxSubscriptionTypes
}
