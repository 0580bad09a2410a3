package main

import (
	"strings"

	"github.com/modelog/modelog/handlers"
)

// badPublished has events that can't be published. The pointers are those of the
// structured mode, whatever mode an event comes in.
func badPublished() []badInput {
	const (
		publish = "POST /v1/events"
		core    = `"specversion":"1.0","id":"1","source":"/ci","type":"dev.modelog.model.registered.v1","subject":"models/new"`
	)
	structured, batch := []string{"Content-Type", "application/cloudevents+json"}, []string{"Content-Type", "application/cloudevents-batch+json"}
	binary := func(more ...string) []string {
		return append([]string{"Content-Type", "application/json", "ce-specversion", "1.0", "ce-id", "1", "ce-source", "/ci", "ce-type", "dev.modelog.model.registered.v1"}, more...)
	}
	rows := []badInput{
		{name: "no event", request: publish, headers: structured},
		{name: "an event that is a list", request: publish, body: `[{` + core + `}]`, headers: structured},
		{name: "an event cut off", request: publish, body: `{` + core, headers: structured},
		{name: "an event and more", request: publish, body: `{` + core + `} {}`, headers: structured},
		{name: "an event that is not UTF-8", request: publish, body: "{" + core + ",\"a\":\"\xff\"}", headers: structured},
		{name: "an attribute with a capital", request: publish, body: `{` + core + `,"BadExt":"a"}`, headers: structured, field: "/BadExt"},
		{name: "an attribute with an underscore", request: publish, body: `{` + core + `,"bad_ext":"a"}`, headers: structured, field: "/bad_ext"},
		{name: "data in two forms", request: publish, body: `{` + core + `,"data":{},"data_base64":"e30="}`, headers: structured, field: "/data_base64"},
		{name: "data that is no base64", request: publish, body: `{` + core + `,"data_base64":"e30"}`, headers: structured, field: "/data_base64"},
		{name: "data that is no JSON in base64", request: publish, body: `{` + core + `,"data_base64":"YQ=="}`, headers: structured, field: "/data_base64"},
		{name: "an attribute twice", request: publish, body: `{` + core + `,"id":"2"}`, headers: structured, field: "/id"},
		{name: "a member of the data twice", request: publish, body: `{` + core + `,"data":{"tags":{"a":"1","a":"2"}}}`, headers: structured, field: "/data/tags/a"},
		{name: "a relative dataschema", request: publish, body: `{` + core + `,"dataschema":"schema.json"}`, headers: structured, field: "/dataschema"},
		{name: "an event at no time", request: publish, body: `{` + core + `,"time":"yesterday"}`, headers: structured, field: "/time"},
		{name: "an event on a day", request: publish, body: `{` + core + `,"time":"2026-11-24"}`, headers: structured, field: "/time"},
		{name: "an event in the future", request: publish, body: `{` + core + `,"time":"9999-01-01T00:00:00Z"}`, headers: structured, field: "/time"},
		{name: "an attribute that is an object", request: publish, body: `{` + core + `,"a":{}}`, headers: structured, field: "/a"},
		{name: "an integer beyond 32 bits", request: publish, body: `{` + core + `,"a":2147483648}`, headers: structured, field: "/a"},
		{name: "an attribute that is half a number", request: publish, body: `{` + core + `,"a":0.5}`, headers: structured, field: "/a"},
		{name: "an attribute with a control character", request: publish, body: `{` + core + `,"a":"b\u0000"}`, headers: structured, field: "/a"},
		{name: "an empty attribute", request: publish, body: `{` + core + `,"a":""}`, headers: structured, field: "/a"},
		{name: "data that is a list", request: publish, body: `{` + core + `,"data":[]}`, headers: structured, field: "/data"},
		{name: "data that is XML", request: publish, body: `{` + core + `,"datacontenttype":"application/xml","data":"<a/>"}`, headers: structured, field: "/datacontenttype"},
		{name: "another version of CloudEvents", request: publish, body: strings.Replace(`{`+core+`}`, "1.0", "1.1", 1), headers: structured, field: "/specversion"},
		{name: "an id that is a number", request: publish, body: strings.Replace(`{`+core+`}`, `"1"`, `1`, 1), headers: structured, field: "/id"},
		{name: "an id with a space", request: publish, body: strings.Replace(`{`+core+`}`, `"1"`, `"a b"`, 1), headers: structured, field: "/id"},
		{name: "an id that isn't ASCII", request: publish, body: strings.Replace(`{`+core+`}`, `"1"`, `"ä"`, 1), headers: structured, field: "/id"},
		{name: "an event of nobody", request: publish, body: `{"specversion":"1.0","id":"1","type":"a"}`, headers: structured, field: "/source"},
		{name: "a source with a password", request: publish, body: strings.Replace(`{`+core+`}`, `/ci`, `https://a:b@ci.example`, 1), headers: structured, field: "/source"},
		{name: "a header with half a percent-encoding", request: publish, body: `{}`, headers: binary("ce-subject", "models/a%2"), field: "/subject"},
		{name: "a header that isn't UTF-8", request: publish, body: `{}`, headers: binary("ce-subject", "models/%ff"), field: "/subject"},
		{name: "a header for the type of the data", request: publish, body: `{}`, headers: binary("ce-datacontenttype", "application/json"), field: "/datacontenttype"},
		{name: "a header for the data", request: publish, body: `{}`, headers: binary("ce-data", "a"), field: "/data"},
		{name: "headers without an event", request: publish, body: `{}`, field: "/specversion"},
		{name: "data of headers cut off", request: publish, body: `{"a`, headers: binary()},
		{name: "a batch of events that is none", request: publish, body: `{` + core + `}`, headers: batch},
		{name: "a batch of events cut off", request: publish, body: `[{` + core + `}`, headers: batch},
		{name: "a batch of 501 events", request: publish, body: `[` + strings.Repeat(`{},`, 500) + `{}]`, headers: batch},
		{name: "an event that is perhaps tried", request: publish + "?dry_run=yes", body: `{` + core + `}`, headers: structured, field: "dry_run"},
		{name: "an event with a key", request: publish, body: `{` + core + `}`, headers: append([]string{"Idempotency-Key", "k"}, structured...), field: "Idempotency-Key"},
	}
	for i := range rows {
		rows[i] = invalid(rows[i])
	}
	return append(
		rows,
		badInput{name: "an event of an unknown type", request: publish, body: strings.Replace(`{`+core+`}`, "registered", "trained", 1), headers: structured, status: 400, code: handlers.CodeEventTypeNotMapped, field: "/type"},
		badInput{name: "an event as a plain text", request: publish, body: `{` + core + `}`, headers: []string{"Content-Type", "text/plain"}, status: 415, code: handlers.CodeUnsupportedMedia},
		badInput{name: "an event in XML", request: publish, body: `{` + core + `}`, headers: []string{"Content-Type", "application/cloudevents+xml"}, status: 415, code: handlers.CodeUnsupportedMedia},
		badInput{name: "an event of 10 MB", request: publish, body: `{` + core + `,"data":{"description":"` + strings.Repeat("a", 10<<20) + `"}}`, headers: structured, status: 413, code: handlers.CodeTooLarge},
	)
}
