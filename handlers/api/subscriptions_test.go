package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/endpoints"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/oklog/ulid/v2"
)

const someHook = `{"sink":"https://Hooks.example.com:8443/T0/secret?token=1","types":["dev.modelog.version.promoted.v1"],
	"filters":[{"prefix":{"subject":"models/fraud/"}},{"not":{"exact":{"authid":"prn_1"}}}],
	"protocolsettings":{"headers":{"authorization":"Bearer secret","X-Team":"risk"}},"description":"on call","rate":10}`

// endpointOf reads what the vault has of a subscription.
func (r *registry) endpointOf(s Subscription) vault.Endpoint {
	r.Helper()
	e, err := r.vault.Get(r.Context(), ulid.MustParse(s.Credential))
	if err != nil {
		r.Fatal(err)
	}
	return e
}

func (r *registry) wantErased(s Subscription) {
	r.Helper()
	if _, err := r.vault.Get(r.Context(), ulid.MustParse(s.Credential)); !errors.Is(err, vault.ErrUnknown) {
		r.Errorf("the vault still has the endpoint: %v", err)
	}
}

func (r *registry) subscribe(body string, headers ...string) SubscriptionWithSecret {
	r.Helper()
	return decode[SubscriptionWithSecret](r.call("POST", "/v1/subscriptions", body, headers...).want(201))
}

func TestASubscriptionIsShownAsTheCloudEventsObject(t *testing.T) {
	r := newRegistry(t)
	created := r.call("POST", "/v1/subscriptions", someHook, "Modelog-Actor", "mara").want(201)
	made := decode[SubscriptionWithSecret](created)
	if got := created.Header().Get("Location"); got != "/v1/subscriptions/"+made.ID || created.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("Location is %s, and the headers are %v", got, created.Header())
	}
	if !strings.HasPrefix(made.Secret, "whsec_") {
		t.Errorf("the secret is %q", made.Secret)
	}
	shown := r.call("GET", "/v1/subscriptions/"+made.ID, "").want(200)
	if shown.Header().Get("ETag") != `"2"` {
		t.Errorf("the ETag is %s", shown.Header().Get("ETag"))
	}
	s := made.Subscription
	same(t, shown.Body.String(), `{"id":"`+s.ID+`","source":"`+s.Source+`","types":["dev.modelog.version.promoted.v1"],"config":{},
		"filters":[{"prefix":{"subject":"models/fraud/"}},{"not":{"exact":{"authid":"prn_1"}}}],"sink":"https://hooks.example.com:8443/...",
		"protocol":"HTTP","protocolsettings":{"method":"POST"},"description":"on call","format":"cloudevents","ordering":"key","rate":10,"signature":"v1",
		"credential":"`+s.Credential+`","after":1,"status":"active","created_at":"`+s.CreatedAt+`","updated_at":"`+s.CreatedAt+`","created_by":"`+s.CreatedBy+`","sequence":2}`)
	if !strings.HasPrefix(s.Source, "urn:modelog:") || s.CreatedBy == "" {
		t.Errorf("got %+v", s)
	}
	want := vault.Endpoint{
		URL: "https://Hooks.example.com:8443/T0/secret?token=1", Header: map[string]string{"Authorization": "Bearer secret", "X-Team": "risk"},
		Secrets: []vault.Secret{{Key: made.Secret}},
	}
	if diff := cmp.Diff(want, r.endpointOf(s)); diff != "" {
		t.Errorf("the vault has something else:\n%s", diff)
	}
	for _, path := range []string{"/v1/events", "/v1/audit", "/v1/subscriptions", "/v1/subscriptions/" + s.ID + "/explain", "/v1/diff?from=1"} {
		for _, secret := range []string{"token", "Bearer", "T0", "risk", made.Secret} {
			if body := r.call("GET", path, "").want(200).Body.String(); strings.Contains(body, secret) {
				t.Errorf("%s tells %s: %s", path, secret, body)
			}
		}
	}
}

func TestASubscriptionToMLflowsEvents(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe(`{"sink":"https://h/","name":"on call","format":"mlflow","mlflow_events":["prompt.created","model_version.created","prompt.created"]}`).Subscription
	if s.Name != "on call" || !slices.Equal(s.MLflowEvents, []string{"model_version.created", "prompt.created"}) {
		t.Errorf("got %+v", s)
	}
	path := "/v1/subscriptions/" + s.ID
	got := decode[Subscription](r.call("PATCH", path, `{"name":null,"mlflow_events":null}`).want(200))
	if got.Name != "" || got.MLflowEvents != nil || got.Format != events.FormatMLflow {
		t.Errorf("without its name and events it is %+v", got)
	}
	r.call("PATCH", path, `{"mlflow_events":["model_version.deleted"]}`).problem(400, handlers.CodeInvalid)
	r.call("PATCH", path, `{"format":null,"mlflow_events":["prompt.created"]}`).problem(400, handlers.CodeInvalid)
}

func TestASubscriptionsLife(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe(someHook).Subscription
	path := "/v1/subscriptions/" + s.ID
	is := func(r reply) Subscription { return decode[Subscription](r.want(200)) }
	if got := is(r.call("POST", path+"/pause", `{"reason":"it moves"}`)); got.Status != "paused" || got.StatusReason != "it moves" {
		t.Errorf("paused it is %+v", got)
	}
	if got := is(r.call("POST", path+"/resume", `{}`)); got.Status != "active" || got.StatusReason != "" || got.Sequence != 4 {
		t.Errorf("resumed it is %+v", got)
	}
	if got := is(r.call("GET", path+"?as_of=3", "")); got.Status != "paused" {
		t.Errorf("as of 3 it is %+v", got)
	}
	r.call("POST", path+"/pause", `{}`, "If-Match", `"3"`).problem(412, handlers.CodePreconditionFailed)
	r.call("DELETE", path+"?reason=done", "").want(204)
	r.call("GET", path, "").problem(404, handlers.CodeSubscriptionNotFound)
	r.call("DELETE", path, "").problem(404, handlers.CodeSubscriptionNotFound)
	r.wantErased(s)
	if got := is(r.call("GET", path+"?as_of=4", "")); got.Status != "active" {
		t.Errorf("before it was deleted it is %+v", got)
	}
	trail := r.call("GET", "/v1/audit?resource=subscriptions/"+s.ID, "").want(200).Body.String()
	for _, action := range []string{"subscription.created", "subscription.paused", "subscription.resumed", "subscription.deleted"} {
		if !strings.Contains(trail, action) {
			t.Errorf("the trail doesn't tell of %s: %s", action, trail)
		}
	}
	r.call("GET", "/v1/audit?resource=subscriptions/x", "").problem(404, handlers.CodeSubscriptionNotFound)
}

func TestAPatchOfASubscription(t *testing.T) {
	for _, c := range []struct {
		name, patch string
		want        func(*Subscription)
		endpoint    func(*vault.Endpoint) // nil if the record stays
	}{
		{"nothing", `{}`, func(*Subscription) {}, nil},
		{"a description", `{"description":"d","rate":0}`, func(s *Subscription) { s.Description, s.Rate = "d", 0 }, nil},
		{"null brings back what it is without being said", `{"description":null,"types":null,"filters":null,"format":null,"ordering":null,"rate":null}`, func(s *Subscription) {
			s.Description, s.Types, s.Filters, s.Rate = "", nil, nil, 0
		}, nil},
		{"words", `{"format":"slack","ordering":"strict","types":[]}`, func(s *Subscription) { s.Format, s.Ordering, s.Types = "slack", "strict", nil }, nil},
		{"another path", `{"sink":"https://hooks.example.com:8443/other"}`, func(*Subscription) {}, func(e *vault.Endpoint) { e.URL = "https://hooks.example.com:8443/other" }},
		{"another host takes no headers along", `{"sink":"https://other.example.com"}`, func(s *Subscription) { s.Sink = "https://other.example.com/..." }, func(e *vault.Endpoint) {
			e.URL, e.Header = "https://other.example.com", nil
		}},
		{"headers", `{"protocolsettings":{"headers":{"x-team":null,"X-New":"n","Authorization":"Bearer other"}}}`, func(*Subscription) {}, func(e *vault.Endpoint) {
			e.Header = map[string]string{"Authorization": "Bearer other", "X-New": "n"}
		}},
		{"no headers", `{"protocolsettings":{"headers":null}}`, func(*Subscription) {}, func(e *vault.Endpoint) { e.Header = nil }},
		{"no settings", `{"protocolsettings":null}`, func(*Subscription) {}, func(e *vault.Endpoint) { e.Header = nil }},
		{"settings without anything", `{"protocolsettings":{"method":"POST"},"sink":"https://hooks.example.com:8443/x"}`, func(*Subscription) {}, func(e *vault.Endpoint) {
			e.URL = "https://hooks.example.com:8443/x"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(t)
			s := r.subscribe(someHook).Subscription
			endpoint, want := r.endpointOf(s), s
			c.want(&want)
			got := decode[Subscription](r.call("PATCH", "/v1/subscriptions/"+s.ID, c.patch, "Idempotency-Key", "k").want(200))
			if (got.Credential != s.Credential) != (c.endpoint != nil) {
				t.Errorf("the credential was %s and is %s", s.Credential, got.Credential)
			}
			if c.endpoint != nil {
				c.endpoint(&endpoint)
				r.wantErased(s)
			}
			if diff := cmp.Diff(endpoint, r.endpointOf(got), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("the vault has something else:\n%s", diff)
			}
			again := decode[Subscription](r.call("PATCH", "/v1/subscriptions/"+s.ID, c.patch, "Idempotency-Key", "k").want(200))
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("asked again, the answer is another one:\n%s", diff)
			}
			got.Credential, got.Sequence, got.UpdatedAt = s.Credential, s.Sequence, s.UpdatedAt
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("it is something else:\n%s", diff)
			}
		})
	}
}

func TestASecretIsRotated(t *testing.T) {
	r := newRegistry(t)
	first := r.subscribe(someHook)
	path := "/v1/subscriptions/" + first.ID + "/rotate-secret"
	rotate := func(body string) SubscriptionWithSecret {
		t.Helper()
		return decode[SubscriptionWithSecret](r.call("POST", path, body).want(200))
	}
	second := rotate(`{}`)
	secrets := r.endpointOf(second.Subscription).Secrets
	if len(secrets) != 2 || secrets[0].Key != second.Secret || !secrets[0].Until.IsZero() || secrets[1].Key != first.Secret || secrets[1].Until.IsZero() {
		t.Fatalf("after a rotation the secrets are %v", secrets)
	}
	if second.Secret == first.Secret || second.OldSecretUntil == "" {
		t.Errorf("got %+v", second)
	}
	r.wantErased(first.Subscription)
	third := rotate(`{"valid_for":"1h","reason":"it leaked"}`)
	if secrets = r.endpointOf(third.Subscription).Secrets; len(secrets) != 3 || secrets[2].Key != first.Secret || secrets[2].Until.After(secrets[1].Until) {
		t.Errorf("after another one they are %v", secrets)
	}
	for range 3 {
		third = rotate(`{"valid_for":"168h"}`)
	}
	if secrets = r.endpointOf(third.Subscription).Secrets; len(secrets) != endpoints.MaxSecrets {
		t.Errorf("there are %d secrets", len(secrets))
	}
	last := rotate(`{"valid_for":"0s"}`)
	if secrets = r.endpointOf(last.Subscription).Secrets; len(secrets) != 1 || last.OldSecretUntil != "" {
		t.Errorf("with no time left they are %v, until %s", secrets, last.OldSecretUntil)
	}
	r.call("POST", "/v1/subscriptions/"+newID+"/rotate-secret", `{}`).problem(404, handlers.CodeSubscriptionNotFound)
	pair := r.subscribe(`{"sink":"https://h","signature":"v1a"}`)
	if !strings.HasPrefix(pair.Secret, "whpk_") || !strings.HasPrefix(r.endpointOf(pair.Subscription).Secrets[0].Key, "whsk_") {
		t.Errorf("of a key pair the answer shows %s", pair.Secret)
	}
}

const newID = "01KXFT0009NEW0000000000000"

func TestARepeatedRequestHasTheFirstAnswer(t *testing.T) {
	r := newRegistry(t)
	first := r.subscribe(someHook, "Idempotency-Key", "k")
	if again := r.subscribe(someHook, "Idempotency-Key", "k"); !cmp.Equal(first, again) {
		t.Errorf("it was %+v, and is %+v", first, again)
	}
	for name, other := range map[string]string{
		"another path": strings.Replace(someHook, "/T0/", "/T1/", 1), "another header": strings.Replace(someHook, "Bearer secret", "Bearer other", 1),
		"another rate": strings.Replace(someHook, "10", "11", 1),
	} {
		t.Log(name)
		r.call("POST", "/v1/subscriptions", other, "Idempotency-Key", "k").problem(422, handlers.CodeKeyReused)
	}
	rotated := r.call("POST", "/v1/subscriptions/"+first.ID+"/rotate-secret", `{}`, "Idempotency-Key", "r").want(200)
	again := r.call("POST", "/v1/subscriptions/"+first.ID+"/rotate-secret", `{}`, "Idempotency-Key", "r").want(200)
	if rotated.Body.String() != again.Body.String() {
		t.Errorf("it was %s, and is %s", rotated.Body, again.Body)
	}
	if late := r.subscribe(someHook, "Idempotency-Key", "k"); late.Secret != "" || late.ID != first.ID {
		t.Errorf("a secret that was replaced is shown: %+v", late)
	}
	if n := r.credentials(); n != 1 {
		t.Errorf("the vault has %d records", n)
	}
}

// credentials counts what is in the vault.
func (r *registry) credentials() (n int) {
	r.Helper()
	for range 2 {
		n = 0
		err := r.vault.Sweep(r.Context(), func(ulid.ULID) bool { n++; return true })
		if err != nil {
			r.Fatal(err)
		}
		r.clock.lock.Lock()
		r.clock.now = r.clock.now.Add(2 * 60 * 60 * 1e9) // a sweep passes over what is young
		r.clock.lock.Unlock()
	}
	return n
}

func TestBadSubscriptions(t *testing.T) {
	r := newRegistry(t)
	many := func(n int, one func(i int) string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = one(i)
		}
		return strings.Join(all, ",")
	}
	header := func(name, value string) string {
		return fmt.Sprintf(`{"sink":"https://h","protocolsettings":{"headers":{%q:%q}}}`, name, value)
	}
	for _, c := range []struct{ name, body, pointer, rule string }{
		{"no sink", `{}`, "/sink", "required"},
		{"http", `{"sink":"http://h"}`, "/sink", "https"},
		{"another scheme", `{"sink":"file:///etc/passwd"}`, "/sink", "url"},
		{"no scheme", `{"sink":"hooks.example.com/x"}`, "/sink", "url"},
		{"no host", `{"sink":"https:///x"}`, "/sink", "url"},
		{"an opaque one", `{"sink":"https:h"}`, "/sink", "url"},
		{"a bad port", `{"sink":"https://h:x"}`, "/sink", "url"},
		{"a user", `{"sink":"https://user:pw@h"}`, "/sink", "no_credentials"},
		{"a fragment", `{"sink":"https://h/#a"}`, "/sink", "no_fragment"},
		{"a space", `{"sink":"https://h/a b"}`, "/sink", "visible_ascii"},
		{"a line break", `{"sink":"https://h/\r\nHost: x"}`, "/sink", "visible_ascii"},
		{"a host in letters", `{"sink":"https://größe.example.com"}`, "/sink", "visible_ascii"},
		{"a long one", `{"sink":"https://h/` + strings.Repeat("a", endpoints.MaxSink) + `"}`, "/sink", "max_length"},
		{"a long host", `{"sink":"https://` + strings.Repeat("a.", 200) + `com"}`, "/sink", "sink"},
		{"an unknown member", `{"sink":"https://h","sinkk":1}`, "/sinkk", "unknown_field"},
		{"a member twice", `{"sink":"https://h","sink":"https://h"}`, "/sink", "duplicate"},
		{"a filter twice", `{"sink":"https://h","filters":[{"exact":{"type":"a","type":"b"}}]}`, "/filters/0/exact/type", "duplicate"},
		{"an unknown dialect", `{"sink":"https://h","filters":[{"any":[{"regex":{"type":"a"}}]}]}`, "/filters/0/any/0/regex", "unknown_dialect"},
		{"two dialects", `{"sink":"https://h","filters":[{"exact":{"type":"a"},"suffix":{"type":"a"}}]}`, "/filters/0", "one_dialect"},
		{"bad CESQL", `{"sink":"https://h","filters":[{"sql":"type = "}]}`, "/filters/0/sql", "cesql"},
		{"an unknown attribute", `{"sink":"https://h","filters":[{"exact":{"a/b":"x"}}]}`, "/filters/0/exact/a~1b", "unknown_attribute"},
		{"an unknown type", `{"sink":"https://h","types":["a"]}`, "/types/0", "unknown_type"},
		{"101 types", `{"sink":"https://h","types":[` + many(101, func(int) string { return `"dev.modelog.version.promoted.v1"` }) + `]}`, "/types", "max_items"},
		{"filters that are too long", `{"sink":"https://h","filters":[` + many(20, func(int) string { return `{"exact":{"type":"` + strings.Repeat("a", 1000) + `"}}` }) + `]}`, "/filters", "max_length"},
		{"filters that are no list", `{"sink":"https://h","filters":{"sql":"true"}}`, "/filters", "type"},
		{"another source", `{"sink":"https://h","source":"urn:x"}`, "/source", "source"},
		{"something to configure", `{"sink":"https://h","config":{"a":1}}`, "/config/a", "unknown_field"},
		{"another protocol", `{"sink":"https://h","protocol":"NATS"}`, "/protocol", "protocol"},
		{"another method", `{"sink":"https://h","protocolsettings":{"method":"PUT"}}`, "/protocolsettings/method", "method"},
		{"another format", `{"sink":"https://h","format":"xml"}`, "/format", "one_of"},
		{"another ordering", `{"sink":"https://h","ordering":"random"}`, "/ordering", "one_of"},
		{"another signature", `{"sink":"https://h","signature":"v2"}`, "/signature", "one_of"},
		{"a rate that is too high", `{"sink":"https://h","rate":10001}`, "/rate", "range"},
		{"a rate that is no number", `{"sink":"https://h","rate":"1"}`, "/rate", "type"},
		{"a start that is none", `{"sink":"https://h","start":"soon"}`, "/start", "now_sequence_or_time"},
		{"a start in the future", `{"sink":"https://h","start":"2099-01-01T00:00:00Z"}`, "/start", "not_in_the_future"},
		{"a start beyond the log", `{"sink":"https://h","start":3}`, "/start", "not_in_the_future"},
		{"a start of another kind", `{"sink":"https://h","start":true}`, "/start", "type"},
		{"a long description", `{"sink":"https://h","description":"` + strings.Repeat("d", 100_001) + `"}`, "/description", "max_length"},
		{"the header Host", header("host", "x"), "/protocolsettings/headers/host", "forbidden_header"},
		{"the header Content-Length", header("Content-Length", "1"), "/protocolsettings/headers/Content-Length", "forbidden_header"},
		{"a header of a signature", header("webhook-signature", "v1,x"), "/protocolsettings/headers/webhook-signature", "forbidden_header"},
		{"a header for a proxy", header("Proxy-Authorization", "x"), "/protocolsettings/headers/Proxy-Authorization", "forbidden_header"},
		{"a header with a line break", header("X-A", "a\r\nX-B: b"), "/protocolsettings/headers/X-A", "header_value"},
		{"a header with a space at the edge", header("X-A", " a"), "/protocolsettings/headers/X-A", "header_value"},
		{"a header without a name", header("", "a"), "/protocolsettings/headers/", "header_name"},
		{"a header with a bad name", header("X A/B", "a"), "/protocolsettings/headers/X A~1B", "header_name"},
		{"a long header", header("X-A", strings.Repeat("a", 4_097)), "/protocolsettings/headers/X-A", "max_length"},
		{"a header twice", `{"sink":"https://h","protocolsettings":{"headers":{"X-A":"1","x-a":"1"}}}`, "/protocolsettings/headers", "duplicate"},
		{"21 headers", `{"sink":"https://h","protocolsettings":{"headers":{` + many(21, func(i int) string { return fmt.Sprintf(`"X-%d":""`, i) }) + `}}}`, "/protocolsettings/headers", "max_items"},
		{"no object", `[]`, "", "type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantField(t, r.call("POST", "/v1/subscriptions", c.body), c.pointer, c.rule)
		})
	}
	s := r.subscribe(someHook)
	for _, c := range []struct{ name, method, below, body, pointer, rule string }{
		{"no sink", "PATCH", "", `{"sink":null}`, "/sink", "required"},
		{"another scheme", "PATCH", "", `{"sink":"http://h"}`, "/sink", "https"},
		{"a bad header", "PATCH", "", `{"protocolsettings":{"headers":{"Host":"x"}}}`, "/protocolsettings/headers/Host", "forbidden_header"},
		{"21 headers in all", "PATCH", "", `{"protocolsettings":{"headers":{` + many(20, func(i int) string { return fmt.Sprintf(`"X-%d":""`, i) }) + `}}}`, "/protocolsettings/headers", "max_items"},
		{"another method", "PATCH", "", `{"protocolsettings":{"method":"PUT"}}`, "/protocolsettings/method", "method"},
		{"an unknown dialect", "PATCH", "", `{"filters":[{"x":1}]}`, "/filters/0/x", "unknown_dialect"},
		{"bad CESQL", "PATCH", "", `{"filters":[{"sql":"("}]}`, "/filters/0/sql", "cesql"},
		{"a start", "PATCH", "", `{"start":1}`, "/start", "unknown_field"},
		{"a signature", "PATCH", "", `{"signature":"v1a"}`, "/signature", "unknown_field"},
		{"another format", "PATCH", "", `{"format":"xml"}`, "/format", "one_of"},
		{"no duration", "POST", "/rotate-secret", `{"valid_for":"a day"}`, "/valid_for", "duration"},
		{"a long overlap", "POST", "/rotate-secret", `{"valid_for":"169h"}`, "/valid_for", "range"},
		{"an overlap below 0", "POST", "/rotate-secret", `{"valid_for":"-1s"}`, "/valid_for", "range"},
		{"a long reason", "POST", "/pause", `{"reason":"` + strings.Repeat("r", 4_001) + `"}`, "/reason", "max_length"},
	} {
		t.Run(c.name+" in "+c.method+c.below, func(t *testing.T) {
			wantField(t, r.call(c.method, "/v1/subscriptions/"+s.ID+c.below, c.body), c.pointer, c.rule)
		})
	}
	if n := r.credentials(); n != 1 {
		t.Errorf("what was refused left %d records in the vault", n-1)
	}
}

func wantField(t *testing.T, r reply, pointer, rule string) {
	t.Helper()
	p := r.problem(http.StatusBadRequest, handlers.CodeInvalid)
	if len(p.Errors) != 1 || p.Errors[0].Pointer != pointer || p.Errors[0].Rule != rule || p.Errors[0].Detail == "" {
		t.Errorf("got %+v, want %s %s", p.Errors, pointer, rule)
	}
}

func TestWhereASubscriptionStarts(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	at := decode[Model](r.call("GET", "/v1/models/fraud", "").want(200)).CreatedAt // event 2
	for _, c := range []struct {
		start string
		after uint64
	}{{`"now"`, 0}, {`0`, 0}, {`1`, 0}, {`3`, 2}, {`"3"`, 2}, {`"` + at + `"`, 1}, {`"2001-01-01T00:00:00Z"`, 0}} {
		t.Run(c.start, func(t *testing.T) {
			s := r.subscribe(`{"sink":"https://h","start":` + c.start + `}`)
			if c.start == `"now"` {
				c.after = s.Sequence - 1
			}
			if s.After != c.after {
				t.Errorf("it begins after %d, want %d", s.After, c.after)
			}
		})
	}
}

func TestSubscriptionsArePaged(t *testing.T) {
	r := newRegistry(t)
	var want []string
	for range 3 {
		want = append(want, r.subscribe(`{"sink":"https://h"}`).ID)
	}
	first := decode[SubscriptionList](r.call("GET", "/v1/subscriptions?limit=2", "").want(200))
	r.call("DELETE", "/v1/subscriptions/"+want[2], "").want(204) // a page stays at its sequence
	second := decode[SubscriptionList](r.call("GET", "/v1/subscriptions?limit=2&cursor="+first.NextCursor, "").want(200))
	var got []string
	for _, s := range slices.Concat(first.Subscriptions, second.Subscriptions) {
		got = append(got, s.ID)
	}
	if !slices.Equal(got, want) || second.NextCursor != "" {
		t.Errorf("got %v, want %v", got, want)
	}
	r.call("GET", "/v1/subscriptions?cursor=x", "").problem(400, handlers.CodeInvalid)
}

func TestADryRunNamesTheSubscriptionsThatWouldBeTold(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	wide := r.subscribe(`{"sink":"https://h"}`).ID
	narrow := r.subscribe(`{"sink":"https://h","filters":[{"sql":"type LIKE '%model.registered%'"}]}`).ID
	r.subscribe(`{"sink":"https://h","types":["dev.modelog.version.promoted.v1"]}`)
	paused := r.subscribe(`{"sink":"https://h"}`).ID
	r.call("POST", "/v1/subscriptions/"+paused+"/pause", `{}`).want(200)
	event := `{"specversion":"1.0","id":"1","source":"urn:ci","type":"dev.modelog.model.registered.v1","subject":"models/churn","data":{"name":"churn"}}`
	list := decode[PublishedList](r.call("POST", "/v1/events?dry_run=true", event, "Content-Type", "application/cloudevents+json").want(200))
	if len(list.Results) != 1 || !slices.Equal(list.Results[0].Subscriptions, []string{wide, narrow}) {
		t.Errorf("got %+v, want %s and %s", list.Results, wide, narrow)
	}
}
