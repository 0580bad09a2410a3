package main

import (
	"bytes"
	"compress/gzip"
	"strings"

	"github.com/modelog/modelog/handlers"
)

// badOpenLineage has what the paths of OpenLineage's clients don't take. A batch
// is there as a whole, or not at all.
func badOpenLineage() []badInput {
	const (
		event = "POST /api/v1/lineage"
		batch = "POST /api/v1/lineage/batch"
		job   = `"eventTime":"2026-11-20T10:00:00Z","job":{"namespace":"n","name":"j"}`
		run   = job + `,"run":{"runId":"43d7db3b-8984-4cda-b237-8c6919b36670"}`
	)
	rows := []badInput{
		{name: "no OpenLineage event", request: event},
		{name: "an OpenLineage event cut off", request: event, body: `{"eventTime":`, field: "/eventTime"},
		{name: "an OpenLineage event that is a list", request: "POST /lineage", body: "[]"},
		{name: "an OpenLineage event about nothing", request: event, body: `{"eventTime":"2026-11-20T10:00:00Z"}`},
		{name: "a run without an id", request: event, body: `{` + job + `,"run":{}}`, field: "/run/runId"},
		{name: "a run of no job", request: event, body: `{"eventTime":"2026-11-20T10:00:00Z","run":{"runId":"x"}}`, field: "/job"},
		{name: "a job without a name", request: event, body: `{"eventTime":"2026-11-20T10:00:00Z","job":{"namespace":"n"}}`, field: "/job/name"},
		{name: "a run that is a string", request: event, body: `{` + job + `,"run":"x"}`, field: "/run"},
		{name: "a run at no time", request: event, body: `{"job":{"namespace":"n","name":"j"}}`, field: "/eventTime"},
		{name: "a run yesterday", request: event, body: `{"eventTime":"yesterday","job":{"namespace":"n","name":"j"}}`, field: "/eventTime"},
		{name: "a run with inputs that are no list", request: event, body: `{` + run + `,"inputs":{}}`, field: "/inputs"},
		{name: "an input without a namespace", request: event, body: `{` + run + `,"inputs":[{"name":"d"}]}`, field: "/inputs/0/namespace"},
		{name: "an input with a password", request: event, body: `{` + run + `,"inputs":[{"namespace":"postgres://a:b@c","name":"d"}]}`, field: "/inputs/0/namespace"},
		{name: "an event that is no gzip", request: event, body: `{` + run + `}`, headers: []string{"Content-Encoding", "gzip"}},
		{name: "a gzip cut off", request: event, body: gzipped(`{` + run + `}`)[:30], headers: []string{"Content-Encoding", "gzip"}},
		{name: "a batch that is no list", request: batch, body: `{` + run + `}`},
		{name: "a batch cut off", request: "POST /lineage/batch", body: `[{` + run + `},`},
		{name: "a batch of more than 1000 events", request: batch, body: `[` + strings.Repeat(`{},`, 1000) + `{}]`},
	}
	for i := range rows {
		rows[i] = invalid(rows[i])
	}
	packed := []string{"Content-Encoding", "gzip"}
	return append(
		rows,
		badInput{name: "an event packed in another way", request: event, body: `{` + run + `}`, headers: []string{"Content-Encoding", "zstd"}, status: 415, code: handlers.CodeUnsupportedMedia, field: "zstd"},
		badInput{name: "an event as a plain text", request: event, body: `{` + run + `}`, headers: []string{"Content-Type", "text/plain"}, status: 415, code: handlers.CodeUnsupportedMedia},
		badInput{name: "a gzip bomb", request: event, body: gzipped(strings.Repeat(" ", 100<<20)), headers: packed, status: 413, code: handlers.CodeTooLarge},
		badInput{name: "a batch that is a gzip bomb", request: batch, body: gzipped(strings.Repeat(" ", 100<<20)), headers: packed, status: 413, code: handlers.CodeTooLarge},
		badInput{name: "an event over the limit of the log", request: event, body: `{` + run + `,"pad":"` + strings.Repeat("x", 600<<10) + `"}`, status: 413, code: handlers.CodeTooLarge},
	)
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s)) // a buffer takes all there is
	_ = w.Close()
	return b.String()
}
