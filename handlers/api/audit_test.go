package api

import (
	"encoding/csv"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/handlers"
)

// tale tells a small history: fraud with three versions, the second of which
// displaces the first one, and is rolled back; risk, which is renamed and deleted.
func (r *registry) tale() {
	r.Helper()
	as := func(who string) []string { return []string{"Modelog-Actor", who} }
	r.call("POST", "/v1/models", `{"name":"fraud","tags":{"team":"risk"}}`, as("mara")...).want(201)                                                        // 2
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://1"}`, append(as("pipeline"), "Idempotency-Key", "run-1")...).want(201)                     // 3
	r.call("PUT", "/v1/models/fraud/aliases/champion", `{"version":1,"reason":"the first"}`, as("mara")...).want(200)                                       // 4
	r.call("POST", "/v1/models/fraud/versions/1/promote", `{"to":"Production","reason":"AUC 0.91"}`, as("mara")...).want(200)                               // 5
	r.call("PUT", "/v1/targets/prod/scorer", `{}`, as("olu")...).want(200)                                                                                  // 6
	r.call("POST", "/v1/targets/prod/scorer/deploy", `{"model":"fraud","ref":"1","reason":"go"}`, as("olu")...).want(200)                                   // 7
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://2"}`, as("pipeline")...).want(201)                                                         // 8
	r.call("POST", "/v1/models/fraud/versions/2/promote", `{"to":"Production","reason":"auc +0.02","archive_existing":true}`, as("mara")...).want(200)      // 9
	r.call("PUT", "/v1/models/fraud/aliases/champion", `{"version":2,"reason":"=2+2"}`, as("mara")...).want(200)                                            // 10
	r.call("POST", "/v1/targets/prod/scorer/deploy", `{"model":"fraud","ref":"2"}`, as("olu")...).want(200)                                                 // 11
	r.call("POST", "/v1/targets/prod/scorer/rollback", `{"reason":"`+strings.Repeat("latency doubled, ", 20)+`"}`, as("olu")...).want(200)                  // 12
	r.call("PATCH", "/v1/models/fraud/versions/1", `{"tags":{"checked":"yes"}}`).want(200)                                                                  // 13
	r.call("POST", "/v1/models", `{"name":"risk"}`, as("mara")...).want(201)                                                                                // 14
	r.call("POST", "/v1/models/risk/versions", `{"source":"s3://r"}`, append(as("pipeline"), "Modelog-Occurred-Time", "2026-11-01T00:00:00Z")...).want(201) // 15
	r.call("PUT", "/v1/models/risk/aliases/old", `{"version":1}`).want(200)                                                                                 // 16
	r.call("POST", "/v1/models/risk/rename", `{"to":"hazard"}`, as("mara")...).want(200)                                                                    // 17
	r.call("DELETE", "/v1/models/hazard?cascade=true&reason=unused", "", as("mara")...).want(204)                                                           // 18
}

func (r *registry) trail(query string) AuditList {
	r.Helper()
	return decode[AuditList](r.call("GET", "/v1/audit?"+query, "").want(200))
}

func sequencesOf(list AuditList) (s []uint64) {
	for _, e := range list.Entries {
		s = append(s, e.Sequence)
	}
	return s
}

func TestTheTrailIsFilteredByWhatAnEventChanged(t *testing.T) {
	r := newRegistry(t)
	r.tale()
	first := r.trail("order=oldest&limit=1").Entries[0]
	hazard := r.trail("resource=hazard&limit=1").Entries[0].ResourceID
	at := func(sequence uint64) string {
		return r.trail(fmt.Sprintf("from=%d&until=%[1]d", sequence)).Entries[0].RecordedAt
	}
	olu := r.trail("actor=olu&limit=1").Entries[0].Actor.ID
	for _, c := range []struct {
		query string
		want  []uint64
	}{
		{"", []uint64{18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}},
		{"order=oldest&until=3", []uint64{1, 2, 3}},
		{"resource=registry", []uint64{1}},
		{"resource=models/fraud", []uint64{13, 12, 11, 10, 9, 8, 7, 5, 4, 3, 2}},
		{"resource=fraud", []uint64{13, 12, 11, 10, 9, 8, 7, 5, 4, 3, 2}},
		{"resource=models/fraud/versions/1", []uint64{13, 12, 11, 10, 9, 7, 5, 4, 3}},
		{"resource=fraud/1", []uint64{13, 12, 11, 10, 9, 7, 5, 4, 3}},
		{"resource=fraud/1&as_of=9", []uint64{9, 7, 5, 4, 3}},
		{"resource=fraud@champion", []uint64{12, 11, 10, 9, 8}},
		{"resource=fraud@champion&as_of=5", []uint64{5, 4, 3}},
		{"resource=fraud/Production", []uint64{12, 11, 10, 9, 8}},
		{"resource=models/fraud/aliases/champion", []uint64{10, 4}},
		{"resource=targets/prod/scorer", []uint64{12, 11, 7, 6}},
		{"resource=models/risk", []uint64{18, 17, 16, 15, 14}},
		{"resource=models/hazard", []uint64{18, 17, 16, 15, 14}},
		{"resource=models/" + hazard, []uint64{18, 17, 16, 15, 14}},
		{"resource=hazard/1", []uint64{18, 16, 15}},
		{"resource=models/risk/aliases/old", []uint64{18, 16}},
		{"actor=olu", []uint64{12, 11, 7, 6}},
		{"actor=" + olu, []uint64{12, 11, 7, 6}},
		{"actor=pipeline&resource=fraud", []uint64{8, 3}},
		{"action=version.promoted", []uint64{9, 5}},
		{"action=dev.modelog.version.promoted.v1", []uint64{9, 5}},
		{"action=version", []uint64{15, 13, 9, 8, 5, 3}},
		{"action=deployment&resource=fraud/2", []uint64{12, 11}},
		{"reason=AUC", []uint64{9, 5}},
		{"reason=Latency", []uint64{12}},
		{"reason=nobody", nil},
		{"from=4&until=6", []uint64{6, 5, 4}},
		{"from=" + at(4) + "&until=" + at(6), []uint64{6, 5, 4}},
		{"from=" + at(17), []uint64{18, 17}},
		{"until=" + at(2), []uint64{2, 1}},
		{"from=" + first.RecordedAt + "&until=" + first.RecordedAt, []uint64{1}},
		{"from=2026-11-23T20:00:05.600Z&until=2026-11-23T20:00:05.700Z", nil}, // between two events
	} {
		if diff := cmp.Diff(c.want, sequencesOf(r.trail(c.query))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.query, diff)
		}
		var paged []uint64
		for cursor, pages := "", 0; ; pages++ {
			list := r.trail(c.query + "&limit=2&cursor=" + cursor)
			paged = append(paged, sequencesOf(list)...)
			if cursor = list.NextCursor; cursor == "" {
				break
			}
			if pages > 20 {
				t.Fatalf("%s: the pages don't end", c.query)
			}
		}
		if diff := cmp.Diff(c.want, paged); diff != "" {
			t.Errorf("%s, by pages: -want +got:\n%s", c.query, diff)
		}
	}
}

// TestAnEntryTellsBeforeAndAfter has each kind of change as it is told.
func TestAnEntryTellsBeforeAndAfter(t *testing.T) {
	r := newRegistry(t)
	r.tale()
	for _, c := range []struct {
		sequence int
		changes  string // of the resource
		also     []string
		summary  string
	}{
		{1, "", nil, "created"},
		{3, `model_id model=fraud version=1 stage=None aliases=[] source=s3://1 description= created_at created_by`, []string{"models/fraud changed latest_version=>1"}, "registered"},
		{4, `model=fraud model_id alias=champion version=1`, []string{"models/fraud/versions/1 changed aliases[]>[champion]", "models/fraud changed aliases.champion=>1"}, "assigned, also models/fraud/versions/1"},
		{9, `stage None>Production`, []string{"models/fraud/versions/1 changed stage Production>Archived"}, "promoted, stage None -> Production, also models/fraud/versions/1"},
		{10, `version 1>2`, []string{"models/fraud/versions/2", "models/fraud/versions/1", "models/fraud"}, "assigned, version 1 -> 2, also models/fraud/versions/2, models/fraud/versions/1"},
		{11, `variants generation previous_generation deployed_at reason`, []string{"models/fraud/versions/2", "models/fraud/versions/1"}, "deployed, variants fraud/1 -> fraud/2, also models/fraud/versions/2, models/fraud/versions/1"},
		{13, `tags.checked >yes`, nil, "described, tags.checked yes"},
		{17, `name risk>hazard`, nil, "renamed, name risk -> hazard"},
		{18, `id name description lifecycle aliases.old latest_version created_at created_by`, []string{"models/hazard/versions/1 removed", "models/hazard/aliases/old removed"}, "deleted, also models/hazard/versions/1, models/hazard/aliases/old"},
	} {
		e := r.trail(fmt.Sprintf("from=%d&until=%[1]d", c.sequence)).Entries[0]
		var fields []string
		for _, f := range e.Changes {
			fields = append(fields, f.Field)
		}
		wanted := map[string]bool{}
		for part := range strings.FieldsSeq(c.changes) {
			name, _, _ := strings.Cut(part, "=")
			if !strings.Contains(name, ">") {
				wanted[name] = true
			}
		}
		if len(wanted) != len(fields) || slices.ContainsFunc(fields, func(f string) bool { return !wanted[f] }) {
			t.Errorf("%d: the fields are %v, want %s", c.sequence, fields, c.changes)
		}
		var also []string
		for _, other := range e.Also {
			also = append(also, other.Resource)
		}
		for i, want := range c.also {
			if path, _, _ := strings.Cut(want, " "); i >= len(also) || also[i] != path {
				t.Errorf("%d: also %v, want %v", c.sequence, also, c.also)
				break
			}
		}
		if len(also) != len(c.also) {
			t.Errorf("%d: also %v, want %v", c.sequence, also, c.also)
		}
		if e.Summary != c.summary {
			t.Errorf("%d: %q, want %q", c.sequence, e.Summary, c.summary)
		}
	}
	promoted := r.trail("from=9&until=9").Entries[0]
	same(t, mustJSON(t, promoted.Changes), `[{"field":"stage","before":"None","after":"Production"}]`)
	same(t, mustJSON(t, promoted.Also), `[{"resource":"models/fraud/versions/1","change":"changed","fields":[{"field":"stage","before":"Production","after":"Archived"}]}]`)
	same(t, mustJSON(t, r.trail("from=13&until=13").Entries[0].Changes), `[{"field":"tags.checked","after":"yes"}]`)
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAnEntrySaysWhoWhenAndWhy(t *testing.T) {
	r := newRegistry(t)
	r.tale()
	e := r.trail("from=3&until=3").Entries[0]
	if e.Actor == nil || e.Actor.Name != "pipeline" || e.Actor.Erased || e.Action != "version.registered" || e.Type != "dev.modelog.version.registered.v1" ||
		e.Resource != "models/fraud/versions/1" || len(e.RequestID) != 26 || e.CorrelationID != e.RequestID || len(e.KeyHash) != 32 || e.HappenedAt != e.RecordedAt {
		t.Errorf("got %+v", e)
	}
	if e := r.trail("from=15&until=15").Entries[0]; e.HappenedAt != "2026-11-01T00:00:00.000Z" || e.RecordedAt <= e.HappenedAt || e.Resource != "models/risk/versions/1" {
		t.Errorf("got %+v", e)
	}
	if e := r.trail("from=12&until=12").Entries[0]; len(e.Reason) != 340 || !strings.HasPrefix(e.Reason, "latency") {
		t.Errorf("a long reason is %q", e.Reason)
	}
	if e := r.trail("from=13&until=13").Entries[0]; e.Actor != nil {
		t.Errorf("nobody is %+v", e.Actor)
	}
	r.call("DELETE", "/v1/principals/olu", "").want(200)
	e = r.trail("from=7&until=7").Entries[0]
	if e.Actor == nil || !e.Actor.Erased || e.Actor.Name != "" {
		t.Errorf("who was erased is %+v", e.Actor)
	}
	if got := sequencesOf(r.trail("actor=" + e.Actor.ID)); len(got) != 4 {
		t.Errorf("by the id of who was erased: %v", got)
	}
	if p := r.call("GET", "/v1/audit?actor=olu", "").problem(404, handlers.CodePrincipalNotFound); strings.Contains(r.call("GET", "/v1/audit", "").Body.String(), "olu") {
		t.Errorf("a name that was erased is shown: %+v", p)
	}
}

func TestTheTrailHasThreeFormats(t *testing.T) {
	r := newRegistry(t)
	r.tale()
	const query = "/v1/audit?from=9&until=12&limit=3"
	list := decode[AuditList](r.call("GET", query, "").want(200))
	lines := r.call("GET", query+"&format=jsonl", "").want(200)
	if lines.Header().Get("Content-Type") != "application/x-ndjson" || lines.Header().Get("Modelog-Next-Cursor") != decode[AuditList](r.call("GET", query, "")).NextCursor && list.NextCursor == "" {
		t.Errorf("headers are %v", lines.Header())
	}
	all := strings.Split(strings.TrimSuffix(lines.Body.String(), "\n"), "\n")
	if len(all) != len(list.Entries) {
		t.Fatalf("%d lines for %d entries", len(all), len(list.Entries))
	}
	for i, line := range all {
		same(t, line, mustJSON(t, list.Entries[i]))
	}
	if got := r.call("GET", query, "", "Accept", "application/x-ndjson").want(200).Body.String(); got != lines.Body.String() {
		t.Errorf("as Accept says: %s", got)
	}
	table := r.call("GET", query, "", "Accept", "text/csv;q=0.9, */*").want(200)
	rows, err := csv.NewReader(strings.NewReader(table.Body.String())).ReadAll()
	if err != nil || len(rows) != 4 || table.Header().Get("Content-Type") != "text/csv" {
		t.Fatalf("%v: %s", err, table.Body)
	}
	column := func(row int, name string) string { return rows[row][slices.Index(rows[0], name)] }
	if column(3, "reason") != "'=2+2" || column(3, "actor") != "mara" || column(3, "sequence") != "10" || column(3, "summary") != list.Entries[2].Summary {
		t.Errorf("rows are %q", rows)
	}
	if !strings.HasPrefix(table.Body.String(), "sequence,recorded_at,happened_at,actor,actor_id,action,resource,resource_id,summary,changes,reason,forced,request_id,idempotency_key_hash,correlation_id,causation_id\r\n") {
		t.Errorf("the head is %q", rows[0])
	}
	r.call("DELETE", "/v1/principals/mara", "").want(200)
	if got := r.call("GET", "/v1/audit?from=10&until=10&format=csv", "").want(200).Body.String(); !strings.Contains(got, ",[erased],prn_") {
		t.Errorf("who was erased: %s", got)
	}
}

func TestWhatATrailCantBeAskedIsRefused(t *testing.T) {
	r := newRegistry(t)
	r.call("GET", "/v1/audit?resource=fraud&as_of=0", "").problem(404, handlers.CodeModelNotFound)
	r.tale()
	for _, c := range []struct {
		query   string
		status  int
		code    handlers.Code
		pointer string
	}{
		{"from=9&until=4", 400, handlers.CodeInvalid, "until"},
		{"from=2026-11-23T20:00:30Z&until=2026-11-23T20:00:10Z", 400, handlers.CodeInvalid, "until"},
		{"from=2999-01-01T00:00:00Z", 400, handlers.CodeInvalid, "from"},
		{"until=2999-01-01T00:00:00Z", 400, handlers.CodeInvalid, "until"},
		{"from=4711", 400, handlers.CodeInvalid, "from"},
		{"until=4711", 400, handlers.CodeInvalid, "until"},
		{"from=0", 400, handlers.CodeInvalid, "from"},
		{"until=2020-01-01T00:00:00Z", 400, handlers.CodeInvalid, "until"},
		{"from=2020-01-01T00:00:00Z", 400, handlers.CodeInvalid, "from"},
		{"from=yesterday", 400, handlers.CodeInvalid, "from"},
		{"from=-1", 400, handlers.CodeInvalid, "from"},
		{"from=", 400, handlers.CodeInvalid, "from"},
		{"order=upwards", 400, handlers.CodeInvalid, "order"},
		{"format=xml", 400, handlers.CodeInvalid, "format"},
		{"action=version.loved", 400, handlers.CodeInvalid, "action"},
		{"action=", 400, handlers.CodeInvalid, "action"},
		{"cursor=x", 400, handlers.CodeInvalid, "cursor"},
		{"limit=1001", 400, handlers.CodeInvalid, "limit"},
		{"since=4", 400, handlers.CodeInvalid, "since"},
		{"reason=" + strings.Repeat("x", 4001), 400, handlers.CodeInvalid, "reason"},
		{"resource=models/fraud/colours/red", 400, handlers.CodeInvalid, "resource"},
		{"resource=/", 400, handlers.CodeInvalid, "resource"},
		{"resource=", 400, handlers.CodeInvalid, "resource"},
		{"actor=", 400, handlers.CodeInvalid, "actor"},
		{"resource=nothing", 404, handlers.CodeModelNotFound, ""},
		{"resource=models/nothing", 404, handlers.CodeModelNotFound, ""},
		{"resource=hazard&as_of=14", 404, handlers.CodeModelNotFound, ""},
		{"resource=fraud/9", 404, handlers.CodeVersionNotFound, ""},
		{"resource=hazard/latest", 404, handlers.CodeVersionNotFound, ""},
		{"resource=models/fraud/aliases/nothing", 404, handlers.CodeVersionNotFound, ""},
		{"resource=targets/prod/nothing", 404, handlers.CodeTargetNotFound, ""},
		{"actor=nobody", 404, handlers.CodePrincipalNotFound, ""},
		{"actor=prn_01KXFT0000REG1STRY00000000", 404, handlers.CodePrincipalNotFound, ""},
	} {
		p := r.call("GET", "/v1/audit?"+strings.ReplaceAll(c.query, " ", "%20"), "").problem(c.status, c.code)
		if c.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer) {
			t.Errorf("%s: %+v", c.query, p)
		}
	}
	cursor := r.trail("limit=1").NextCursor
	r.call("GET", "/v1/audit?actor=mara&cursor="+url.QueryEscape(cursor), "").problem(400, handlers.CodeInvalid)
}

func TestEachFieldHasTheEventThatSetIt(t *testing.T) {
	r := newRegistry(t)
	r.tale()
	explained := func(path string) map[string]string {
		t.Helper()
		e := decode[Explanation](r.call("GET", path, "").want(200))
		fields := map[string]string{}
		for _, f := range e.Fields {
			who := ""
			if f.Actor != nil {
				who = " " + f.Actor.Name
			}
			fields[f.Field] = fmt.Sprintf("%d %s%s", f.Sequence, f.Action, who)
		}
		return fields
	}
	registered := "3 version.registered pipeline"
	want := map[string]string{
		"model": registered, "model_id": registered, "version": registered, "stage": "9 version.promoted mara", "aliases": "10 alias.assigned mara",
		"source": registered, "tags.checked": "13 version.described", "description": registered, "deployed_to": "12 deployment.rolled_back olu",
		"created_at": registered, "created_by": registered, "updated_at": "9 version.promoted mara",
	}
	if diff := cmp.Diff(want, explained("/v1/models/fraud/versions/1/explain")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := explained("/v1/models/fraud/versions/1/explain?as_of=5"); got["stage"] != "5 version.promoted mara" || got["tags.checked"] != "" {
		t.Errorf("in the past: %v", got)
	}
	if got := explained("/v1/models/risk/explain?as_of=16"); got["aliases.old"] != "16 alias.assigned" || got["name"] != "14 model.registered mara" {
		t.Errorf("got %v", got)
	}
	if got := explained("/v1/models/hazard/versions/1/explain?as_of=17"); got["model"] != "17 model.renamed mara" || got["source"] != "15 version.registered pipeline" {
		t.Errorf("got %v", got)
	}
	if got := explained("/v1/targets/prod/scorer/explain"); got["variants"] != "12 deployment.rolled_back olu" || got["environment"] != "6 target.defined olu" {
		t.Errorf("got %v", got)
	}
	r.call("GET", "/v1/models/nothing/explain", "").problem(404, handlers.CodeModelNotFound)
	r.call("GET", "/v1/models/fraud/versions/7/explain", "").problem(404, handlers.CodeVersionNotFound)
	r.call("GET", "/v1/targets/prod/nothing/explain", "").problem(404, handlers.CodeTargetNotFound)
}
