package main

import (
	"strings"

	"github.com/modelog/modelog/handlers"
)

// badWebhooks has what subscriptions don't take. There are none.
func badWebhooks() []badInput {
	const (
		subscribe = "POST /v1/subscriptions"
		one       = "/v1/subscriptions/01KXFT0005H00K000000000000"
	)
	sink := func(more string) string { return `{"sink":"https://hooks.example.com/x",` + more + `}` }
	header := func(header string) string { return sink(`"protocolsettings":{"headers":{` + header + `}}`) }
	rows := []badInput{
		{name: "a subscription of nothing", request: subscribe, body: `{}`, field: "/sink"},
		{name: "a sink without TLS", request: subscribe, body: `{"sink":"http://hooks.example.com"}`, field: "/sink"},
		{name: "a sink in a file", request: subscribe, body: `{"sink":"file:///etc/passwd"}`, field: "/sink"},
		{name: "a sink with a password", request: subscribe, body: `{"sink":"https://a:b@hooks.example.com"}`, field: "/sink"},
		{name: "a sink with a line break", request: subscribe, body: `{"sink":"https://hooks.example.com/\r\nHost: x"}`, field: "/sink"},
		{name: "a sink twice", request: subscribe, body: sink(`"sink":"https://x"`), field: "/sink"},
		{name: "a filter of no dialect", request: subscribe, body: sink(`"filters":[{"regex":{"type":"a"}}]`), field: "/filters/0/regex"},
		{name: "a filter of two dialects", request: subscribe, body: sink(`"filters":[{"sql":"TRUE","exact":{"type":"a"}}]`), field: "/filters/0"},
		{name: "a filter in bad CESQL", request: subscribe, body: sink(`"filters":[{"not":{"sql":"type ="}}]`), field: "/filters/0/not/sql"},
		{name: "a filter with an attribute twice", request: subscribe, body: sink(`"filters":[{"exact":{"type":"a","type":"b"}}]`), field: "/filters/0/exact/type"},
		{name: "a filter of 100 levels", request: subscribe, body: sink(`"filters":[` + strings.Repeat(`{"not":`, 100) + `{"sql":"TRUE"}` + strings.Repeat(`}`, 100) + `]`), field: "/filters/0" + strings.Repeat("/not", 8)},
		{name: "a type that is none", request: subscribe, body: sink(`"types":["dev.modelog.model.exploded.v1"]`), field: "/types/0"},
		{name: "the header Host", request: subscribe, body: header(`"Host":"x"`), field: "/protocolsettings/headers/Host"},
		{name: "a header with a line break", request: subscribe, body: header(`"X-A":"a\r\nX-B: b"`), field: "/protocolsettings/headers/X-A"},
		{name: "a header of signatures", request: subscribe, body: header(`"Webhook-Id":"x"`), field: "/protocolsettings/headers/Webhook-Id"},
		{name: "a start in the future", request: subscribe, body: sink(`"start":1000000`), field: "/start"},
		{name: "a rate below 0", request: subscribe, body: sink(`"rate":-1`), field: "/rate"},
		{name: "a rate beyond numbers", request: subscribe, body: sink(`"rate":1e99`), field: "/rate"},
		{name: "an event that MLflow hasn't", request: subscribe, body: sink(`"format":"mlflow","mlflow_events":["model_version.deleted"]`), field: "/mlflow_events/0"},
		{name: "MLflow's events in another format", request: subscribe, body: sink(`"format":"slack","mlflow_events":["prompt.created"]`), field: "/mlflow_events"},
		{name: "a name on two lines", request: subscribe, body: sink(`"name":"a\nb"`), field: "/name"},
		{name: "another protocol", request: subscribe, body: sink(`"protocol":"KAFKA"`), field: "/protocol"},
		{name: "a patch with an unknown dialect", request: "PATCH " + one, body: `{"filters":[{"x":1}]}`, field: "/filters/0/x"},
		{name: "a patch of the start", request: "PATCH " + one, body: `{"start":1}`, field: "/start"},
		{name: "a rotation for ever", request: "POST " + one + "/rotate-secret", body: `{"valid_for":"1000h"}`, field: "/valid_for"},
		{name: "a pause with a long reason", request: "POST " + one + "/pause", body: `{"reason":"` + strings.Repeat("r", 4_001) + `"}`, field: "/reason"},
		{name: "a resumption with a number for a reason", request: "POST " + one + "/resume", body: `{"reason":1}`, field: "/reason"},
		{name: "a rotation for a word", request: "POST " + one + "/rotate-secret", body: `{"valid_for":"ever"}`, field: "/valid_for"},
		{name: "subscriptions before a cursor that is none", request: "GET /v1/subscriptions?cursor=x", field: "cursor"},
	}
	for _, call := range []string{"replays", "test", "commit", "seek"} {
		rows = append(rows, badInput{name: "an unknown field for " + call, request: "POST " + one + "/" + call, body: `{"x":1}`, field: "/x"})
	}
	for i := range rows {
		rows[i] = invalid(rows[i])
	}
	for _, request := range []string{
		"GET " + one + "/status", "GET " + one + "/attempts", "GET " + one + "/dead-letters", "GET " + one + "/replays", "GET " + one + "/poll",
		"GET " + one + "/replays/01KXFT0005H00K000000000000", "DELETE " + one + "/replays/01KXFT0005H00K000000000000",
		"GET " + one, "DELETE " + one, "GET " + one + "/explain", "GET /v1/subscriptions/x", "GET /v1/audit?resource=subscriptions/x",
	} {
		rows = append(rows, notFound(badInput{name: "no subscription: " + request, request: request}, handlers.CodeSubscriptionNotFound))
	}
	for request, body := range map[string]string{
		"POST " + one + "/replays": `{}`, "POST " + one + "/test": `{}`, "POST " + one + "/commit": `{"cursor":"x"}`, "POST " + one + "/seek": `{"to":"now"}`,
		"PATCH " + one: `{"sink":"https://hooks.example.com"}`, "POST " + one + "/pause": `{}`, "POST " + one + "/resume": `{}`, "POST " + one + "/rotate-secret": `{}`,
	} {
		rows = append(rows, notFound(badInput{name: "no subscription: " + request, request: request, body: body}, handlers.CodeSubscriptionNotFound))
	}
	return rows
}
