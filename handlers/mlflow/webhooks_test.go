package mlflow

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// hook makes a webhook, and gives its id.
func (r *registry) hook(more string) string {
	r.Helper()
	var made webhookAnswer
	body := r.must(`POST webhooks {"name":"on-call","url":"https://Hooks.example.com/a?t=1","events":[{"entity":"MODEL_VERSION","action":"CREATED"}]` + more + `}`)
	if err := json.Unmarshal([]byte(body), &made); err != nil {
		r.Fatal(err)
	}
	return made.Webhook.ID
}

func (r *registry) subscription(id string) *projections.Subscription {
	r.Helper()
	s, _, ok := r.run.Now().Subscription(ulid.MustParse(id))
	if !ok {
		r.Fatalf("there is no subscription %s", id)
	}
	return s
}

func (r *registry) endpoint(id string) vault.Endpoint {
	r.Helper()
	e, err := r.vault.Get(r.Context(), r.subscription(id).Settings.CredentialID)
	if err != nil {
		r.Fatal(err)
	}
	return e
}

func TestAWebhookIsASubscription(t *testing.T) {
	r := newRegistry(t, options{})
	id := r.hook(`,"description":"to the channel","secret":"hush","unknown":1`)
	want := `{"webhook":{"webhook_id":"` + id + `","name":"on-call","description":"to the channel","url":"https://Hooks.example.com/a?t=1",` +
		`"events":[{"entity":"MODEL_VERSION","action":"CREATED"}],"status":"ACTIVE","creation_timestamp":`
	got := r.must("GET webhooks/" + id)
	if !strings.HasPrefix(got, want) || strings.Contains(got, "hush") {
		t.Errorf("got %s", got)
	}
	s := r.subscription(id)
	settings := events.SubscriptionSettings{
		Name: "on-call", Description: events.Plain("to the channel"), SinkHost: "https://hooks.example.com", CredentialID: s.Settings.CredentialID,
		Format: events.FormatMLflow, MLflowEvents: []string{"model_version.created"}, Ordering: events.OrderByKey, Signature: events.SignHMAC,
	}
	if diff := cmp.Diff(settings, s.Settings); diff != "" {
		t.Errorf("the settings differ (-want +got):\n%s", diff)
	}
	endpoint := vault.Endpoint{URL: "https://Hooks.example.com/a?t=1", Secrets: []vault.Secret{{Key: "hush"}}}
	if diff := cmp.Diff(endpoint, r.endpoint(id)); diff != "" {
		t.Errorf("the endpoint differs (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/v1/events", "/v1/subscriptions", "/v1/audit"} {
		if body := r.call("GET "+path, "").Body.String(); strings.Contains(body, "hush") || strings.Contains(body, "t=1") {
			t.Errorf("%s tells a secret: %s", path, body)
		}
	}
}

func TestAWebhooksChanges(t *testing.T) {
	for _, test := range []struct {
		name, patch string
		want        string // of the answer
		settings    func(*events.SubscriptionSettings)
		endpoint    func(*vault.Endpoint)
		written     uint64 // events
	}{
		{"nothing", `{}`, `{"name":"on-call","status":"ACTIVE"}`, nil, nil, 0},
		{"what is empty", `{"name":"","url":"","events":[]}`, `{"name":"on-call"}`, nil, nil, 0},
		{"the name", `{"name":"a"}`, `{"name":"a"}`, func(s *events.SubscriptionSettings) { s.Name = "a" }, nil, 1},
		{"no description", `{"description":""}`, `{"name":"on-call"}`, func(s *events.SubscriptionSettings) { s.Description = events.Text{} }, nil, 1},
		{
			"the events, as a set", `{"events":[{"entity":"PROMPT","action":"CREATED"},{"entity":"MODEL_VERSION_TAG","action":"SET"},{"entity":"PROMPT","action":"CREATED"}]}`,
			`{"events":[{"entity":"MODEL_VERSION_TAG","action":"SET"},{"entity":"PROMPT","action":"CREATED"}]}`,
			func(s *events.SubscriptionSettings) {
				s.MLflowEvents = []string{"model_version_tag.set", "prompt.created"}
			}, nil, 1,
		},
		{"the URL", `{"url":"https://other/x"}`, `{"url":"https://other/x"}`, func(s *events.SubscriptionSettings) { s.SinkHost = "https://other" }, func(e *vault.Endpoint) { e.URL = "https://other/x" }, 1},
		{"the secret", `{"secret":"new"}`, `{"name":"on-call"}`, nil, func(e *vault.Endpoint) { e.Secrets = []vault.Secret{{Key: "new"}} }, 1},
		{"no secret", `{"secret":""}`, `{"name":"on-call"}`, nil, func(e *vault.Endpoint) { e.Secrets = nil }, 1},
		{"the status", `{"status":"DISABLED"}`, `{"status":"DISABLED"}`, nil, nil, 1},
		{"the same status", `{"status":"ACTIVE"}`, `{"status":"ACTIVE"}`, nil, nil, 0},
		{
			"all at once", `{"name":"a","url":"https://other/x","secret":"new","status":"DISABLED"}`, `{"name":"a","url":"https://other/x","status":"DISABLED"}`,
			func(s *events.SubscriptionSettings) { s.Name, s.SinkHost = "a", "https://other" },
			func(e *vault.Endpoint) { e.URL, e.Secrets = "https://other/x", []vault.Secret{{Key: "new"}} }, 3,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRegistry(t, options{})
			id := r.hook(`,"description":"d","secret":"old"`)
			settings, endpoint, before := r.subscription(id).Settings, r.endpoint(id), r.run.Visible()
			r.holds(r.must("PATCH webhooks/"+id+" "+test.patch), `{"webhook":`+test.want+`}`)
			if test.settings != nil {
				test.settings(&settings)
			}
			was := settings.CredentialID
			if test.endpoint != nil {
				test.endpoint(&endpoint)
				settings.CredentialID = r.subscription(id).Settings.CredentialID
				if _, err := r.vault.Get(t.Context(), was); !errors.Is(err, vault.ErrUnknown) {
					t.Errorf("the vault still has the endpoint of before: %v", err)
				}
			}
			if diff := cmp.Diff(settings, r.subscription(id).Settings); diff != "" {
				t.Errorf("the settings differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(endpoint, r.endpoint(id)); diff != "" {
				t.Errorf("the endpoint differs (-want +got):\n%s", diff)
			}
			if got := r.run.Visible() - before; got != test.written {
				t.Errorf("%d events were written, want %d", got, test.written)
			}
		})
	}
}

func TestAWebhookThatIsDisabledIsActiveAgain(t *testing.T) {
	r := newRegistry(t, options{})
	id := r.hook(`,"status":"DISABLED"`)
	r.holds(r.must("GET webhooks/"+id), `{"webhook":{"status":"DISABLED"}}`)
	r.holds(r.must(`PATCH webhooks/`+id+` {"status":"ACTIVE"}`), `{"webhook":{"status":"ACTIVE"}}`)
	r.holds(r.must("GET webhooks/"+id+"?as_of=3"), `{"webhook":{"status":"DISABLED"}}`)
}

func TestADeletedWebhookIsGone(t *testing.T) {
	r := newRegistry(t, options{})
	id := r.hook("")
	record := r.subscription(id).Settings.CredentialID
	if got := r.must("DELETE webhooks/" + id); got != "{}" {
		t.Errorf("the answer is %s", got)
	}
	for _, request := range []string{"GET webhooks/" + id, "DELETE webhooks/" + id, "PATCH webhooks/" + id} {
		if got := r.call(request, "{}"); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", request, got.Code, got.Body)
		}
	}
	if _, err := r.vault.Get(t.Context(), record); !errors.Is(err, vault.ErrUnknown) {
		t.Errorf("the vault still has the endpoint: %v", err)
	}
	if got := r.must("GET webhooks"); got != "{}" {
		t.Errorf("the list is %s", got)
	}
}

// TestTheNewestWebhookIsTheFirst pages through webhooks while others come and go.
func TestTheNewestWebhookIsTheFirst(t *testing.T) {
	r := newRegistry(t, options{})
	var ids []string
	for range 5 {
		ids = append(ids, r.hook(""))
	}
	r.call("POST /v1/subscriptions", `{"sink":"https://h","format":"slack"}`)
	var got []string
	token := ""
	for pages := 0; pages == 0 || token != ""; pages++ {
		var page webhooksAnswer
		if err := json.Unmarshal([]byte(r.must("GET webhooks?max_results=2&page_token="+token)), &page); err != nil {
			t.Fatal(err)
		}
		for _, w := range page.Webhooks {
			got = append(got, w.ID)
		}
		token = page.Next
		if pages == 0 {
			r.hook("")
			r.must("DELETE webhooks/" + ids[0])
		}
	}
	want := fmt.Sprint([]string{ids[4], ids[3], ids[2], ids[1], ids[0]})
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestSubscriptionsOfTheNativeAPI are webhooks if they have the format.
func TestSubscriptionsOfTheNativeAPI(t *testing.T) {
	r := newRegistry(t, options{})
	subscribe := func(body string) string {
		var made api.Subscription
		if err := json.Unmarshal(r.call("POST /v1/subscriptions", body).Body.Bytes(), &made); err != nil {
			t.Fatal(err)
		}
		return made.ID
	}
	other := subscribe(`{"sink":"https://h","format":"cdevents"}`)
	for _, request := range []string{"GET webhooks/" + other, "PATCH webhooks/" + other, "DELETE webhooks/" + other, "POST webhooks/" + other + "/test"} {
		if got := r.call(request, "{}"); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", request, got.Code, got.Body)
		}
	}
	all := subscribe(`{"sink":"https://h","format":"mlflow"}`)
	var got webhookAnswer
	if err := json.Unmarshal([]byte(r.must("GET webhooks/"+all)), &got); err != nil || len(got.Webhook.Events) != 14 {
		t.Errorf("got %+v, %v", got, err)
	}
	some := subscribe(`{"sink":"https://h","format":"mlflow","types":["dev.modelog.model.registered.v1"]}`)
	r.holds(r.must("GET webhooks/"+some), `{"webhook":{"events":[{"entity":"PROMPT","action":"CREATED"},{"entity":"REGISTERED_MODEL","action":"CREATED"}]}}`)
}

func TestHeadersDontGoAlongToAnotherHost(t *testing.T) {
	r := newRegistry(t, options{})
	var made api.Subscription
	body := `{"sink":"https://h/a","format":"mlflow","protocolsettings":{"headers":{"Authorization":"Bearer x"}}}`
	if err := json.Unmarshal(r.call("POST /v1/subscriptions", body).Body.Bytes(), &made); err != nil {
		t.Fatal(err)
	}
	r.must(`PATCH webhooks/` + made.ID + ` {"url":"https://h/b"}`)
	if got := r.endpoint(made.ID); got.URL != "https://h/b" || got.Header["Authorization"] != "Bearer x" {
		t.Errorf("another path has %+v", got)
	}
	r.must(`PATCH webhooks/` + made.ID + ` {"url":"https://other/b"}`)
	if got := r.endpoint(made.ID); got.URL != "https://other/b" || got.Header != nil {
		t.Errorf("another host has %+v", got)
	}
}

func TestAWebhookIsTriedOut(t *testing.T) {
	r := newRegistry(t, options{})
	id := r.hook(`,"secret":"hush"`)
	if got := r.must("POST webhooks/" + id + "/test {}"); got != `{"result":{"success":true,"response_status":200,"response_body":"thanks"}}` {
		t.Errorf("got %s", got)
	}
	sent := r.sent.requests[0]
	if sent.Endpoint.URL != "https://Hooks.example.com/a?t=1" || sent.Endpoint.Secrets[0].Key != "hush" || sent.Format != events.FormatMLflow ||
		sent.Signature != events.SignHMAC || sent.Time.IsZero() || strings.Contains(sent.ID, ".") || sent.ContentType != "application/json" {
		t.Errorf("sent %+v", sent)
	}
	r.holds(string(sent.Body), `{"entity":"model_version","action":"created","data":{"name":"example_model","version":"1"}}`)
	r.must(`POST webhooks/` + id + `/test {"event":{"entity":"PROMPT_TAG","action":"DELETED"}}`)
	r.holds(string(r.sent.requests[1].Body), `{"entity":"prompt_tag","action":"deleted","data":{"name":"example_prompt","key":"example_key"}}`)
	for _, test := range []struct {
		answer webhooks.Result
		want   string
	}{
		{webhooks.Result{Status: 500, Class: attempts.ClassOK, Body: []byte("a\xff")}, `{"success":false,"response_status":500,"response_body":"a` + "\uFFFD" + `"}`},
		{webhooks.Result{Status: 302}, `{"success":false,"response_status":302}`},
		{webhooks.Result{Class: attempts.ClassForbidden}, `{"success":false,"error_message":"Failed to test webhook: ` + attempts.ClassForbidden + `"}`},
		{webhooks.Result{Class: attempts.ClassTLS, Body: []byte("expired")}, `{"success":false,"error_message":"Failed to test webhook: ` + attempts.ClassTLS + `: expired"}`},
	} {
		r.sent.answer = test.answer
		if got := r.must("POST webhooks/" + id + "/test {}"); got != `{"result":`+test.want+`}` {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
	if got := r.call("POST webhooks/"+id+"/test", `{"event":{"entity":"PROMPT","action":"SET"}}`); got.Code != http.StatusBadRequest {
		t.Errorf("an event that isn't one: %d %s", got.Code, got.Body)
	}
}

func TestAnEndpointThatRefusesIsNoWebhook(t *testing.T) {
	r := newRegistry(t, options{})
	id := r.hook("")
	r.server.cfg.Handshake = func(context.Context, vault.Endpoint) error {
		return handlers.InvalidField("/sink", "handshake", "doesn't take deliveries")
	}
	before := r.run.Visible()
	for request, body := range map[string]string{
		"POST webhooks":        `{"name":"a","url":"https://h","events":[{"entity":"PROMPT","action":"CREATED"}]}`,
		"PATCH webhooks/" + id: `{"url":"https://other"}`,
	} {
		got := r.call(request, body)
		if want := `{"error_code":"INVALID_PARAMETER_VALUE","message":"Invalid webhook URL: it doesn't take deliveries."}`; got.Code != http.StatusBadRequest || got.Body.String() != want {
			t.Errorf("%s: %d %s", request, got.Code, got.Body)
		}
	}
	if r.run.Visible() != before {
		t.Error("something was written")
	}
}

func TestWithoutAVaultThereAreNoWebhooks(t *testing.T) {
	r := newRegistry(t, options{})
	id := r.hook("")
	r.server.cfg.Vault = nil
	for request, body := range map[string]string{
		"POST webhooks":        `{"name":"a","url":"https://h","events":[{"entity":"PROMPT","action":"CREATED"}]}`,
		"PATCH webhooks/" + id: `{"secret":"x"}`, "POST webhooks/" + id + "/test": `{}`,
	} {
		if got := r.call(request, body); got.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", request, got.Code, got.Body)
		}
	}
	r.holds(r.must("GET webhooks/"+id), `{"webhook":{"url":"https://hooks.example.com"}}`)
}
