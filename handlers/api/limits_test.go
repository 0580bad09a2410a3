package api

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/schemas"
)

// schemaOf is what the tests read of a schema in the OpenAPI document.
type schemaOf struct {
	Ref                  string              `json:"$ref"`
	Type                 any                 `json:"type"`
	Enum                 []any               `json:"enum"`
	Pattern              string              `json:"pattern"`
	Format               string              `json:"format"`
	AnyOf                []schemaOf          `json:"anyOf"`
	Items                *schemaOf           `json:"items"`
	Properties           map[string]schemaOf `json:"properties"`
	PropertyNames        *schemaOf           `json:"propertyNames"`
	AdditionalProperties any                 `json:"additionalProperties"`
	MaxLength            int                 `json:"maxLength"`
	MaxItems             int                 `json:"maxItems"`
	MaxProperties        int                 `json:"maxProperties"`
	Minimum              *float64            `json:"minimum"`
	Maximum              *float64            `json:"maximum"`
}

// documented reads the schemas of the document that is served.
func documented(t *testing.T) map[string]schemaOf {
	t.Helper()
	data, err := schemas.FS.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Components struct {
			Schemas map[string]schemaOf `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d.Components.Schemas
}

// unlimited says whether a field of a request may be of any size. Those that it
// refers to are asked too.
func unlimited(all map[string]schemaOf, s schemaOf) bool {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		switch name {
		case "Signature": // whatever a framework says of its model; the event's size limits it
			return false
		case "Filter": // there is a limit for all of them together
			return false
		}
		return slices.ContainsFunc(slices.Collect(maps.Values(all[name].Properties)), func(p schemaOf) bool { return unlimited(all, p) })
	}
	if len(s.AnyOf) > 0 {
		return slices.ContainsFunc(s.AnyOf, func(o schemaOf) bool { return unlimited(all, o) })
	}
	switch kind := fmt.Sprint(s.Type); {
	case strings.Contains(kind, "string"):
		return s.MaxLength == 0 && s.Pattern == "" && s.Enum == nil && s.Format == ""
	case strings.Contains(kind, "array"):
		return s.MaxItems == 0 || unlimited(all, *s.Items)
	case strings.Contains(kind, "object") && len(s.Properties) > 0:
		return slices.ContainsFunc(slices.Collect(maps.Values(s.Properties)), func(p schemaOf) bool { return unlimited(all, p) })
	case strings.Contains(kind, "object"):
		return s.PropertyNames == nil || s.PropertyNames.MaxLength == 0
	case strings.Contains(kind, "integer"):
		return s.Minimum == nil
	default:
		return !strings.Contains(kind, "boolean")
	}
}

func TestTheDocumentStatesALimitForEveryFieldOfARequest(t *testing.T) {
	all := documented(t)
	for _, e := range (&server{}).routes() {
		if e.body == nil || e.body == reflect.TypeFor[Hypothesis]() {
			continue // a what-if's requests have the limits of the calls that they are of
		}
		for field, s := range all[schemaName(e.body)].Properties {
			if schemaName(e.body)+"."+field == "NewSubscription.config" {
				continue // is empty
			}
			if unlimited(all, s) {
				t.Errorf("%s %s: %s.%s has no limit; the table of limits in openapi_test.go is short of a row", e.method, e.path, schemaName(e.body), field)
			}
		}
	}
}

// bodies are the least that is right for each kind of body.
var bodies = map[string]m{
	"ModelSpec": {"name": "second"}, "VersionSpec": {"source": "s3://x"}, "Promotion": {"to": "Staging"},
	"Assignment": {"version": 1}, "Deployment": {"model": "fraud", "ref": "1"}, "Renaming": {"to": "second"},
	"LifecycleSpec": {"stages": []any{"A", "B", "C"}, "archive": "C"},
	"Patch":         {}, "Deprecate": {}, "Restoration": {}, "TargetSpec": {}, "Rollback": {}, "Withdrawal": {},
	"LineageEdges": {"edges": []any{m{"from": "run:a", "to": "run:b", "type": "wasInformedBy"}}}, "DatasetChange": {"name": "payments"},
	"NewSubscription": {"sink": "https://h"}, "SubscriptionPatch": {}, "SecretRotation": {}, "Delivery": {},
}

// sized gives a body in which a field has a size, and is right for the rest.
func sized(kind, field string, s schemaOf, n int) m {
	body := maps.Clone(bodies[kind])
	text := func(prefix string) string { return prefix + strings.Repeat("a", n-len(prefix)) }
	switch kind + "." + field {
	case "VersionSpec.semver":
		body[field] = text("1.0.0-")
	case "VersionSpec.base_model", "Deprecate.replacement":
		body[field] = text("fraud/")
	case "VersionSpec.artifacts":
		body[field] = repeated(n, func(i int) any { return m{"path": fmt.Sprint(i), "sha256": digest, "size": 1} })
	case "VersionSpec.datasets":
		body[field] = repeated(n, func(i int) any { return m{"name": fmt.Sprint(i)} })
	case "LineageEdges.edges":
		body[field] = repeated(n, func(i int) any { return m{"from": "run:a", "to": fmt.Sprint("run:", i), "type": "wasInformedBy"} })
	case "LifecycleSpec.stages":
		body[field] = repeated(n, func(i int) any { return fmt.Sprintf("S%d", i) })
		body["archive"] = "S1"
	case "NewSubscription.sink", "SubscriptionPatch.sink":
		body[field] = text("https://h/")
	case "NewSubscription.types", "SubscriptionPatch.types":
		body[field] = repeated(n, func(int) any { return "dev.modelog.model.registered.v1" })
	case "NewSubscription.mlflow_events", "SubscriptionPatch.mlflow_events":
		body[field] = repeated(n, func(int) any { return "prompt.created" })
		body["format"] = "mlflow"
	case "NewSubscription.filters", "SubscriptionPatch.filters":
		body[field] = repeated(n, func(i int) any { return m{"exact": m{"type": fmt.Sprint(i)}} })
	case "LifecycleSpec.exclusive":
		body[field] = repeated(n, func(int) any { return "B" })
	default:
		switch {
		case strings.Contains(fmt.Sprint(s.Type), "object") && field == "metrics":
			body[field] = members(n, 0.5)
		case strings.Contains(fmt.Sprint(s.Type), "object"):
			body[field] = members(n, "v")
		default:
			body[field] = text("")
		}
	}
	return body
}

func repeated(n int, each func(int) any) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = each(i)
	}
	return list
}

func members(n int, value any) m {
	all := m{}
	for i := range n {
		all[fmt.Sprint("k", i)] = value
	}
	return all
}

// with gives the least body with a field beside it.
func with(kind, field string, value any) m {
	body := maps.Clone(bodies[kind])
	if body[field] = value; value == protocolPoll { // which has no sink
		delete(body, "sink")
	}
	return body
}

// tries gives bodies at a field's stated limits, and just over them.
func tries(kind, field string, s schemaOf) (at, over []m) {
	both := func(body func(n int) m, n int) { at, over = append(at, body(n)), append(over, body(n+1)) }
	if most := max(s.MaxLength, s.MaxItems, s.MaxProperties); most > 0 {
		both(func(n int) m { return sized(kind, field, s, n) }, most)
	}
	if s.PropertyNames != nil {
		var value any = "v"
		if field == "metrics" {
			value = 0.5
		}
		both(func(n int) m { return with(kind, field, m{strings.Repeat("k", n): value}) }, s.PropertyNames.MaxLength)
	}
	if values, ok := s.AdditionalProperties.(m); ok {
		if most, ok := values["maxLength"].(float64); ok {
			both(func(n int) m { return with(kind, field, m{"k": strings.Repeat("v", n)}) }, int(most))
		}
	}
	if s.Minimum != nil {
		at, over = append(at, with(kind, field, *s.Minimum)), append(over, with(kind, field, *s.Minimum-1))
	}
	if s.Maximum != nil {
		at, over = append(at, with(kind, field, *s.Maximum)), append(over, with(kind, field, *s.Maximum+1))
	}
	for _, word := range s.Enum {
		at = append(at, with(kind, field, word))
	}
	if s.Enum != nil || s.Format != "" {
		over = append(over, with(kind, field, "other"))
	}
	return at, over
}

// TestTheLimitsOfTheDocumentAreThoseOfTheServer sends bodies at each limit and over
// it. With an ETag that nothing has, what is right in itself is answered with
// 412, and nothing is written.
func TestTheLimitsOfTheDocumentAreThoseOfTheServer(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	all, tried := documented(t), 0
	hook := r.subscribe(`{"sink":"https://h"}`).ID
	there := strings.NewReplacer("{id}", hook, "{model}", "fraud", "{ref}", "1", "{alias}", "champion", "{environment}", "prod", "{name}", "scorer")
	for _, e := range (&server{}).routes() {
		if e.body == nil || e.body == reflect.TypeFor[Hypothesis]() || e.body == reflect.TypeFor[ReplayRequest]() ||
			e.body == reflect.TypeFor[PollCommit]() || e.body == reflect.TypeFor[PollSeek]() {
			continue // a what-if's requests have the limits of the calls that they are of; a replay has no If-Match
		}
		send := func(body m) reply {
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			return r.call(e.method, there.Replace(e.path), string(text), "If-Match", `"1000000"`)
		}
		kind := schemaName(e.body)
		for field, s := range all[kind].Properties {
			if kind+"."+field == "LifecycleSpec.archive" {
				continue // one of the stages, whose limit it has
			}
			at, over := tries(kind, field, s)
			for _, body := range at {
				if got := send(body); got.Code != http.StatusPreconditionFailed {
					t.Errorf("%s %s, %s at its limit: %s", e.method, e.path, field, got.Body)
				}
			}
			for _, body := range over {
				got := send(body)
				if p := decode[Problem](got); p.Code != handlers.CodeInvalid || len(p.Errors) != 1 || !strings.HasPrefix(p.Errors[0].Pointer, "/"+field) {
					t.Errorf("%s %s, %s over its limit: %s", e.method, e.path, field, got.Body)
				}
			}
			tried += len(at) + len(over)
		}
	}
	if tried < 100 {
		t.Errorf("%d bodies only were tried", tried)
	}
}
