package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers"
)

// TestWhatIfTakesEvents: each is read and decided as one that is published, on what
// the earlier ones give, and nothing of it stays.
func TestWhatIfTakesEvents(t *testing.T) {
	r := newRegistry(t)
	r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://m/1","datasets":[{"name":"d"}]}`).want(201)
	before := r.call("GET", "/v1/state", "").want(200).Body.String()
	event := func(id, kind, subject, data string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"urn:x","type":"dev.modelog.` + kind + `.v1","subject":"` + subject + `","data":` + data + `}`
	}
	for _, c := range []struct {
		name, events string
		outcomes     string
		code         handlers.Code // of the last
		pointer      string
		resources    string
	}{
		{"a withdrawal", event("1", "dataset.withdrawn", "datasets/d", `{"reason":"r"}`), "event", "", "", "datasets/d"},
		{"each on the ones before", event("1", "model.registered", "models/new", `{}`) + "," + event("2", "version.registered", "models/new/versions", `{"source":"s3://x"}`), "event event", "", "", "models/new"},
		{"what is so already", event("1", "version.promoted", "models/fraud/versions/1", `{"to":"None"}`), "nothing", "", "", ""},
		{"a rule against it", event("1", "dataset.withdrawn", "datasets/d", `{"reason":"r"}`) + "," + event("2", "version.promoted", "models/fraud/versions/1", `{"to":"Production"}`), "event refused", handlers.CodeDataWithdrawn, "", ""},
		{"nobody knows it", event("1", "version.promoted", "models/fraud/versions/9", `{"to":"Production"}`), "refused", handlers.CodeVersionNotFound, "", ""},
		{"a type that is not taken", event("1", "nothing.done", "models", `{}`), "refused", handlers.CodeEventTypeNotMapped, "/events/0/type", ""},
		{"data that are wrong", event("1", "model.registered", "models/x", `{}`) + "," + event("2", "model.registered", "models/y", `{"description":7}`), "event refused", handlers.CodeInvalid, "/events/1/data/description", ""},
		{"no id", strings.Replace(event("1", "model.registered", "models/x", `{}`), `"id":"1",`, "", 1), "refused", handlers.CodeInvalid, "/events/0/id", ""},
		{"an empty one", `{}`, "refused", handlers.CodeInvalid, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.T = t
			var got WhatIf
			if err := json.Unmarshal(r.call("POST", "/v1/what-if", `{"events":[`+c.events+`]}`).want(200).Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			var outcomes []string
			for _, result := range got.Results {
				outcomes = append(outcomes, result.Outcome)
			}
			if strings.Join(outcomes, " ") != c.outcomes {
				t.Fatalf("got %v, want %s: %+v", outcomes, c.outcomes, got.Results)
			}
			if last := got.Results[len(got.Results)-1]; c.code != "" {
				if last.Problem.Code != c.code || (c.pointer != "" && (len(last.Problem.Errors) == 0 || last.Problem.Errors[0].Pointer != c.pointer)) {
					t.Errorf("refused with %+v, want %s at %s", last.Problem, c.code, c.pointer)
				}
			}
			changed := map[string]bool{}
			for _, change := range got.Changes {
				changed[change.Resource] = true
			}
			if c.resources != "" && !changed[c.resources] {
				t.Errorf("changes %v, want %s", changed, c.resources)
			}
		})
	}
	r.T = t
	for _, c := range []struct{ name, body, pointer string }{
		{"neither", `{}`, "/requests"},
		{"no events", `{"events":[]}`, "/requests"},
		{"both", `{"events":[{}],"requests":[{"method":"POST","path":"/v1/models","body":{"name":"x"}}]}`, "/events"},
		{"too many", `{"events":[{}` + strings.Repeat(",{}", handlers.MaxWhatIf) + `]}`, "/events"},
		{"an object", `{"events":{}}`, "/events"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.T = t
			if p := r.call("POST", "/v1/what-if", c.body).problem(http.StatusBadRequest, handlers.CodeInvalid); p.Errors[0].Pointer != c.pointer {
				t.Errorf("got %+v, want %s", p.Errors, c.pointer)
			}
		})
	}
	r.T = t
	if after := r.call("GET", "/v1/state", "").want(200).Body.String(); after != before {
		t.Errorf("the state was %s and is %s", before, after)
	}
}
