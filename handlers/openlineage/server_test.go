package openlineage

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
)

var singlePaths = []string{"POST /api/v1/lineage", "POST /lineage"}

func TestAnEventIsKeptByteForByteAndOnce(t *testing.T) {
	r := newRegistry(t)
	for i, path := range singlePaths {
		raw := runEvent(fmt.Sprintf(`, "custom": {"n":%d, "e":1.50e1, "s":"\u00e9"}`, i))
		var first, again Received
		r.must(http.StatusCreated, path, " "+raw+"\n", &first)
		r.must(http.StatusOK, path, raw, &again)
		if again.Sequence != first.Sequence {
			t.Errorf("%s: the same event is on the log as %d and %d", path, first.Sequence, again.Sequence)
		}
		kept := r.kept()
		if len(kept) != i+1 || kept[i].Raw != raw {
			t.Errorf("%s: kept %+v, want %s", path, kept, raw)
		}
	}
	r.must(http.StatusCreated, singlePaths[0], runEvent(`,"custom":2}`[:len(`,"custom":2}`)-1]), nil)
	if n := len(r.kept()); n != 3 {
		t.Errorf("another event makes %d on the log", n)
	}
}

func TestVectorsAreKept(t *testing.T) {
	r := newRegistry(t)
	for _, path := range vectors(t) {
		if strings.Contains(path, "dataset_event") {
			continue
		}
		raw := string(read(t, path))
		r.must(http.StatusCreated, singlePaths[0], zipped(raw), nil, "Content-Encoding", "gzip", "Authorization", "Bearer s3cr3t-token")
		kept := r.kept()
		if got := kept[len(kept)-1].Raw; got != strings.TrimSpace(raw) {
			t.Errorf("%s is kept as %s", path, got)
		}
	}
	if strings.Contains(r.logged.text.String(), "s3cr3t") {
		t.Error("the log of the server has the token")
	}
}

func TestAnAnswerTellsWhatWasOdd(t *testing.T) {
	r := newRegistry(t)
	var got Received
	r.must(http.StatusCreated, singlePaths[0], strings.Replace(runEvent(""), "2026-11-20T10:00:00Z", "2027-01-01T00:00:00", 1), &got)
	want := []Mark{{"/eventTime", RuleTimeZoneMissing}, {"/eventTime", RuleTimeAhead}}
	if diff := cmp.Diff(want, got.Marks); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	// What depends on when it came is no part of what was kept.
	if diff := cmp.Diff([]string{RuleTimeZoneMissing + " /eventTime"}, r.kept()[0].Marks); diff != "" {
		t.Errorf("kept marks (-want +got):\n%s", diff)
	}
}

// TestBadRequestsAreRefusedAndKeepNothing, each as a problem that says why.
func TestBadRequestsAreRefusedAndKeepNothing(t *testing.T) {
	r := newRegistry(t)
	bomb := zipped(`{"pad":"` + strings.Repeat("x", 2<<20) + `"}`)
	batchBomb := zipped(`["` + strings.Repeat("x", 9<<20) + `"]`)
	noise := strings.Repeat("0123456789abcdef", 1<<16+1) // over a mebibyte
	many := "[" + strings.Repeat("{},", maxBatch) + "{}]"
	for _, c := range []struct {
		name, request, body string
		headers             []string
		status              int
		code                handlers.Code
		rule                string
	}{
		{"no body", "POST /lineage", "", nil, 400, handlers.CodeInvalid, "required"},
		{"no JSON", "POST /lineage", "{", nil, 400, handlers.CodeInvalid, "json"},
		{"about nothing", "POST /api/v1/lineage", "{" + plain + "}", nil, 400, handlers.CodeInvalid, "run_job_or_dataset"},
		{"a form", "POST /api/v1/lineage", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, handlers.CodeUnsupportedMedia, ""},
		{"no content type", "POST /api/v1/lineage", runEvent(""), []string{"Content-Type", "-"}, 415, handlers.CodeUnsupportedMedia, ""},
		{"an encoding that nobody speaks", "POST /api/v1/lineage", runEvent(""), []string{"Content-Encoding", "br"}, 415, handlers.CodeUnsupportedMedia, ""},
		{"two encodings", "POST /api/v1/lineage", runEvent(""), []string{"Content-Encoding", "gzip, gzip"}, 415, handlers.CodeUnsupportedMedia, ""},
		{"gzip that is none", "POST /api/v1/lineage", runEvent(""), []string{"Content-Encoding", "gzip"}, 400, handlers.CodeInvalid, "gzip"},
		{"half of a gzip", "POST /api/v1/lineage", zipped(runEvent(""))[:40], []string{"Content-Encoding", "gzip"}, 400, handlers.CodeInvalid, "complete"},
		{"a changed gzip", "POST /api/v1/lineage", changed(zipped(runEvent(""))), []string{"Content-Encoding", "gzip"}, 400, handlers.CodeInvalid, "gzip"},
		{"a gzip bomb", "POST /api/v1/lineage", bomb, []string{"Content-Encoding", "gzip"}, 413, handlers.CodeTooLarge, ""},
		{"a bomb of a batch", "POST /lineage/batch", batchBomb, []string{"Content-Encoding", "gzip"}, 413, handlers.CodeTooLarge, ""},
		{"a body over the limit", "POST /lineage", `"` + noise + `"`, nil, 413, handlers.CodeTooLarge, ""},
		{"a packed body over the limit", "POST /lineage", noise, []string{"Content-Encoding", "gzip"}, 400, handlers.CodeInvalid, "gzip"},
		{"an event over the log's limit", "POST /lineage", runEvent(`,"pad":"` + strings.Repeat("x", 600<<10) + `"`), nil, 413, handlers.CodeTooLarge, ""},
		{"credentials in a name", "POST /lineage", runEvent(`,"inputs":[{"namespace":"postgres://me:secret@db","name":"t"}]`), nil, 400, handlers.CodeInvalid, "no_credentials"},
		{"a run id beyond all measure", "POST /lineage", `{` + plain + `,"run":{"runId":"` + strings.Repeat("x", 300) + `"},"job":{"namespace":"n","name":"j"}}`, nil, 400, handlers.CodeInvalid, "max_length"},
		{"an event as a batch", "POST /lineage/batch", runEvent(""), nil, 400, handlers.CodeInvalid, "type"},
		{"a batch as an event", "POST /lineage", "[" + runEvent("") + "]", nil, 400, handlers.CodeInvalid, "type"},
		{"half of a batch", "POST /api/v1/lineage/batch", "[" + runEvent("") + ",", nil, 400, handlers.CodeInvalid, "json"},
		{"a batch with something after it", "POST /api/v1/lineage/batch", "[" + runEvent("") + "] 1", nil, 400, handlers.CodeInvalid, "json"},
		{"an empty batch request", "POST /lineage/batch", "", nil, 400, handlers.CodeInvalid, "required"},
		{"too many events", "POST /api/v1/lineage/batch", many, nil, 400, handlers.CodeInvalid, "max_items"},
		{"another method", "PUT /lineage", runEvent(""), nil, 405, handlers.CodeMethodNotAllowed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := r.run.Visible()
			var p api.Problem
			(&registry{T: t, handler: r.handler}).must(c.status, c.request, c.body, &p, c.headers...)
			if p.Code != c.code || (c.rule != "" && (len(p.Errors) == 0 || p.Errors[0].Rule != c.rule)) || p.Detail == "" || p.RequestID == "" {
				t.Errorf("got %+v, want %s and %s", p, c.code, c.rule)
			}
			if after := r.run.Visible(); after != before {
				t.Error("an event was written")
			}
		})
	}
}

// changed gives a text with a byte near its end that is another.
func changed(s string) string {
	b := []byte(s)
	b[len(b)-6] ^= 0xff
	return string(b)
}

func TestABatchIsAllOrSaysWhatIsMissing(t *testing.T) {
	r := newRegistry(t)
	event := func(n int) string { return runEvent(fmt.Sprintf(`,"n":%d`, n)) }
	var all []string
	for n := range 200 {
		all = append(all, event(n))
	}
	whole := "[" + strings.Join(all, ",\n") + "]"
	r.must(http.StatusNoContent, "POST /api/v1/lineage/batch", whole, nil)
	r.must(http.StatusNoContent, "POST /lineage/batch", zipped(whole), nil, "Content-Encoding", "gzip")
	r.must(http.StatusNoContent, "POST /lineage/batch", "[]", nil)
	kept := map[string]bool{}
	for _, report := range r.kept() {
		kept[report.Raw] = true
	}
	if len(kept) != len(all) || len(r.kept()) != len(all) {
		t.Errorf("%d events are on the log, %d different ones", len(r.kept()), len(kept))
	}

	var got BatchResult
	r.must(http.StatusOK, "POST /api/v1/lineage/batch", "["+event(1000)+`,{"run":{}},`+event(0)+`,7]`, &got)
	reasons := [2]string{got.Failed[0].Reason, got.Failed[1].Reason}
	got.Failed[0].Reason, got.Failed[1].Reason = "", ""
	want := BatchResult{
		Status: "partial_success", Summary: BatchSummary{Received: 4, Successful: 2, Failed: 2, NonRetriable: 2},
		Failed: []FailedEvent{{Index: 1}, {Index: 3}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a batch of which half is wrong (-want +got):\n%s", diff)
	}
	if !strings.Contains(reasons[0], "/run/runId") || !strings.Contains(reasons[1], "object") {
		t.Errorf("the reasons are %q", reasons)
	}
	r.must(http.StatusOK, "POST /api/v1/lineage/batch", `[{}]`, &got)
	if got.Status != "failure" || got.Summary.Successful != 0 {
		t.Errorf("a batch of which nothing is right: %+v", got)
	}
}

// TestABatchWithoutALogIsRefusedAsAWhole, so that clients send it again.
func TestABatchWithoutALogIsRefusedAsAWhole(t *testing.T) {
	away := handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "away"}
	got := resultOf([]error{away, nil, handlers.InvalidField("/x", "required", "is missing"), handlers.UnavailableError{Kind: handlers.CodeBusy}, fmt.Errorf("secret")})
	want := BatchSummary{Received: 5, Successful: 1, Failed: 4, Retriable: 3, NonRetriable: 1}
	if diff := cmp.Diff(want, got.Summary); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if data, _ := json.Marshal(got); strings.Contains(string(data), "secret") {
		t.Error("the text of an internal error is in the answer")
	}
	if handlers.Errors[handlers.CodeOutcomeUnknown].Status < http.StatusInternalServerError {
		t.Error("an unknown outcome must be retriable")
	}
}
