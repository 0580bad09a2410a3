package api

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/principals"
)

// membersOf gives the names of a JSON object's members, in their order.
func membersOf(t *testing.T, object string) []string {
	t.Helper()
	dec := jsontext.NewDecoder(strings.NewReader(object))
	if _, err := dec.ReadToken(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for dec.PeekKind() == jsontext.KindString {
		name, err := dec.ReadToken()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.String())
		if err := dec.SkipValue(); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// wantMembers wants the members that the interface names, in its order. Others
// may stand between them.
func wantMembers(t *testing.T, what, object, names string) {
	t.Helper()
	want := strings.Fields(names)
	got := slices.DeleteFunc(membersOf(t, object), func(s string) bool { return !slices.Contains(want, s) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members of %s, -want +got:\n%s", what, diff)
	}
}

// full registers what has every member that there is.
func (r *registry) full() {
	r.Helper()
	r.seed()
	const mara = "mara"
	r.call("PATCH", "/v1/models/fraud", `{"description":"d","tags":{"a":"b"}}`).want(200)
	r.call("POST", "/v1/models/fraud/versions", strings.Replace(wholeVersion, `"2.1.0"`, `"2.2.0","base_model":"fraud/1"`, 1), "Modelog-Actor", mara).want(201)
	r.call("PUT", "/v1/models/fraud/aliases/challenger", `{"version":2}`).want(200)
	r.call("POST", "/v1/targets/prod/scorer/deploy", `{"model":"fraud","ref":"2","reason":"better"}`, "Modelog-Actor", mara).want(200)
	r.call("POST", "/v1/models/fraud/versions/2/deprecate", `{"reason":"drift","sunset":"2027-01-31T00:00:00Z","replacement":"fraud/1"}`).want(200)
	r.call("POST", "/v1/models/fraud/versions/2/promote", `{"to":"Production","reason":"AUC +0.02","archive_existing":true,"force":true}`, "Modelog-Actor", mara).want(200)
}

func TestShapesHaveTheMembersOfTheInterfaceInItsOrder(t *testing.T) {
	r := newRegistry(t)
	r.full()
	get := func(path string) string { return r.call("GET", path, "").want(200).Body.String() }
	part := func(object, name string) string {
		var all map[string]jsontext.Value
		if err := json.Unmarshal([]byte(object), &all); err != nil {
			t.Fatal(err)
		}
		return string(all[name])
	}
	model := get("/v1/models/fraud")
	wantMembers(t, "a model", model, "id name description tags lifecycle aliases latest_version created_at updated_at created_by sequence")
	wantMembers(t, "a lifecycle", part(model, "lifecycle"), "stages archive transitions exclusive")
	version := get("/v1/models/fraud/versions/2")
	wantMembers(t, "a version", version, `model model_id version semver stage aliases source format artifacts run_id code datasets parameters metrics
		signature base_model tags description deprecation deployed_to created_at updated_at created_by sequence`)
	wantMembers(t, "code", part(version, "code"), "repository commit")
	wantMembers(t, "a signature", part(version, "signature"), "inputs outputs")
	wantMembers(t, "a deprecation", part(version, "deprecation"), "reason since sunset replacement")
	wantMembers(t, "an artifact", strings.Trim(part(version, "artifacts"), "[]"), "path sha256 size")
	wantMembers(t, "a data set", strings.Trim(part(version, "datasets"), "[]"), "name digest role")
	target := get("/v1/targets/prod/scorer")
	wantMembers(t, "a target", target, `id environment name description strategy variants generation previous_generation deployed_at deployed_by
		reason sequence`)
	wantMembers(t, "a variant", strings.Trim(part(target, "variants"), "[]"), "model model_id version role weight")
	event := get("/v1/events/" + strconv.Itoa(r.last()))
	attributes := membersOf(t, event)
	slices.Sort(attributes)
	if diff := cmp.Diff(strings.Fields("authid correlationid data datacontenttype dataschema id partitionkey sequence source specversion subject time type"), attributes); diff != "" {
		t.Errorf("members of an event, -want +got:\n%s", diff)
	}
	wantMembers(t, "an event's data", part(event, "data"), "model_id version from to displaced reason forced")
	problem := r.call("POST", "/v1/targets/prod/scorer/deploy", `{"model":"fraud","ref":"2.1.0","force":true}`).want(400).Body.String()
	wantMembers(t, "a problem", problem, "type title status code detail instance request_id errors")
	wantMembers(t, "a problem's error", strings.Trim(part(problem, "errors"), "[]"), "pointer rule detail")
}

// last gives the last sequence.
func (r *registry) last() int {
	r.Helper()
	return int(decode[State](r.call("GET", "/v1/state", "").want(200)).Sequence)
}

// What is absent is left out, but for descriptions, tags and aliases.
func TestWhatIsAbsentIsLeftOut(t *testing.T) {
	r := newRegistry(t)
	model := r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201).Body.String()
	m := decode[Model](r.call("GET", "/v1/models/fraud", "").want(200))
	same(t, model, `{"id":"`+m.ID+`","name":"fraud","description":"","tags":{},"lifecycle":{"stages":["None","Staging","Production","Archived"],
		"archive":"Archived","transitions":"any","exclusive":[]},"aliases":{},"created_at":"`+m.CreatedAt+`","updated_at":"`+m.UpdatedAt+`","sequence":2}`)
	version := r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`).want(201).Body.String()
	v := decode[Version](r.call("GET", "/v1/models/fraud/versions/1", "").want(200))
	same(t, version, `{"model":"fraud","model_id":"`+m.ID+`","version":1,"stage":"None","aliases":[],"source":"s3://x","tags":{},"description":"",
		"created_at":"`+v.CreatedAt+`","updated_at":"`+v.UpdatedAt+`","sequence":3}`)
	target := r.call("PUT", "/v1/targets/prod/scorer", `{}`).want(200)
	same(t, target.Body.String(), `{"id":"`+decode[Target](target).ID+`","environment":"prod","name":"scorer","description":"","variants":[],"sequence":4}`)
}

var (
	shownTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
	shownULID = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{26}$`)
)

func TestTimesAreUTCInMillisecondsAndIDsAreULIDs(t *testing.T) {
	r := newRegistry(t)
	r.clock.lock.Lock()
	r.clock.now = r.clock.now.Add(999_999 * time.Nanosecond).In(time.FixedZone("", 3600)) // truncated, not rounded
	r.clock.lock.Unlock()
	r.full()
	m := decode[Model](r.call("GET", "/v1/models/fraud", "").want(200))
	v := decode[Version](r.call("GET", "/v1/models/fraud/versions/2", "").want(200))
	to := decode[Target](r.call("GET", "/v1/targets/prod/scorer", "").want(200))
	for _, s := range []string{m.CreatedAt, m.UpdatedAt, v.CreatedAt, v.UpdatedAt, v.Deprecation.Since, v.Deprecation.Sunset, to.DeployedAt} {
		if !shownTime.MatchString(s) || !strings.HasSuffix(s, ".000Z") {
			t.Errorf("a time is %s", s)
		}
	}
	for _, s := range []string{m.ID, v.ModelID, to.ID, strings.TrimPrefix(v.CreatedBy, "prn_")} {
		if !shownULID.MatchString(s) {
			t.Errorf("an id is %s", s)
		}
	}
}

// TestEveryWriteTakesAnETagAndAKey makes each write of the API with an ETag that
// nothing has, with the one that is there, and again with the same key.
func TestEveryWriteTakesAnETagAndAKey(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	r.call("PUT", "/v1/targets/test/scorer", `{}`).want(200)
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`).want(201)
	alias := strings.Trim(r.call("PUT", "/v1/models/fraud/aliases/best", `{"version":2}`).want(200).Header().Get("ETag"), `"`)
	hook := "/v1/subscriptions/" + r.subscribe(`{"sink":"https://h"}`).ID
	const (
		model, version = "/v1/models/fraud", "/v1/models/fraud/versions/2"
		target         = "/v1/targets/test/scorer"
	)
	writes := []struct{ method, route, path, body, of string }{ // of: a resource, or an ETag
		{"POST", "/v1/models", "/v1/models", `{"name":"churn"}`, "0"},
		{"POST", "/v1/models/{model}/versions", model + "/versions", `{"source":"s3://y"}`, model},
		{"PATCH", "/v1/models/{model}", model, `{"description":"d"}`, model},
		{"PUT", "/v1/models/{model}/lifecycle", model + "/lifecycle", `{"stages":["None","Staging","Production","Archived"],"archive":"Archived","exclusive":["Staging"]}`, model},
		{"PUT", "/v1/models/{model}/aliases/{alias}", model + "/aliases/best", `{"version":1}`, alias},
		{"DELETE", "/v1/models/{model}/aliases/{alias}", model + "/aliases/champion", "", "4"},
		{"PATCH", "/v1/models/{model}/versions/{ref}", version, `{"tags":{"a":"b"}}`, version},
		{"POST", "/v1/models/{model}/versions/{ref}/promote", version + "/promote", `{"to":"Staging"}`, version},
		{"POST", "/v1/models/{model}/versions/{ref}/deprecate", version + "/deprecate", `{}`, version},
		{"POST", "/v1/models/{model}/versions/{ref}/restore", version + "/restore", `{}`, version},
		{"PUT", "/v1/targets/{environment}/{name}", target, `{"description":"d"}`, target},
		{"POST", "/v1/targets/{environment}/{name}/deploy", target + "/deploy", `{"model":"fraud","ref":"1"}`, target},
		{"POST", "/v1/targets/{environment}/{name}/deploy", target + "/deploy", `{"model":"fraud","ref":"3"}`, target},
		{"POST", "/v1/targets/{environment}/{name}/rollback", target + "/rollback", `{}`, target},
		{"POST", "/v1/targets/{environment}/{name}/undeploy", target + "/undeploy", `{}`, target},
		{"DELETE", "/v1/targets/{environment}/{name}", target, "", target},
		{"DELETE", "/v1/models/{model}/versions/{ref}", version, "", version},
		{"POST", "/v1/lineage/edges", "/v1/lineage/edges", `{"edges":[{"from":"version:fraud/1","to":"dataset:more","type":"wasDerivedFrom"}]}`, "0"},
		{"POST", "/v1/datasets/withdraw", "/v1/datasets/withdraw", `{"name":"more"}`, "0"},
		{"POST", "/v1/datasets/reinstate", "/v1/datasets/reinstate", `{"name":"more"}`, "last"},
		{"POST", "/v1/models/{model}/rename", "/v1/models/churn/rename", `{"to":"turnover"}`, "/v1/models/churn"},
		{"DELETE", "/v1/models/{model}", "/v1/models/turnover", "", "/v1/models/turnover"},
		{"POST", "/v1/subscriptions", "/v1/subscriptions", `{"sink":"https://h"}`, "0"},
		{"PATCH", "/v1/subscriptions/{id}", hook, `{"rate":1}`, hook},
		{"PATCH", "/v1/subscriptions/{id}", hook, `{"sink":"https://other"}`, hook},
		{"POST", "/v1/subscriptions/{id}/pause", hook + "/pause", `{}`, hook},
		{"POST", "/v1/subscriptions/{id}/resume", hook + "/resume", `{}`, hook},
		{"POST", "/v1/subscriptions/{id}/rotate-secret", hook + "/rotate-secret", `{}`, hook},
		{"DELETE", "/v1/subscriptions/{id}", hook, "", hook},
	}
	for i, w := range writes {
		if w.of[0] == '/' {
			w.of = strings.Trim(r.call("GET", w.of, "").want(200).Header().Get("ETag"), `"`)
		}
		if w.of == "last" { // that withdrew it
			w.of = strconv.Itoa(r.last())
		}
		key, before := fmt.Sprint("key-", i), r.last()
		r.call(w.method, w.path, w.body, "If-Match", `"1"`, "Idempotency-Key", key).problem(412, handlers.CodePreconditionFailed)
		if r.last() != before {
			t.Errorf("%s %s with another ETag wrote an event", w.method, w.path)
		}
		first := r.call(w.method, w.path, w.body, "If-Match", `"`+w.of+`"`, "Idempotency-Key", key)
		again := r.call(w.method, w.path, w.body, "If-Match", `"`+w.of+`"`, "Idempotency-Key", key)
		want := strconv.Itoa(before + 1)
		if first.Code >= 300 || first.Header().Get("Modelog-Sequence") != want || again.Code != first.Code || again.Header().Get("Modelog-Sequence") != want || r.last() != before+1 {
			t.Errorf("%s %s answers %d %s, and then %d %s", w.method, w.path, first.Code, first.Body, again.Code, again.Body)
		}
	}
	for _, e := range (&server{}).routes() {
		there := slices.ContainsFunc(writes, func(w struct{ method, route, path, body, of string }) bool {
			return w.method == e.method && w.route == e.path
		})
		if e.method != http.MethodGet && !e.timeless && !there {
			t.Errorf("%s %s is not tried", e.method, e.path)
		}
	}
}

// The ETag is the highest sequence that changed anything shown: names of others,
// too.
func TestAnETagFollowsTheNamesThatAreShown(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	r.call("POST", "/v1/models", `{"name":"base"}`).want(201)
	r.call("POST", "/v1/models/base/versions", `{"source":"s3://x"}`).want(201)
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x","base_model":"base/1"}`).want(201)
	r.call("POST", "/v1/models/fraud/versions/1/deprecate", `{"replacement":"base/1"}`).want(200)
	renamed := r.call("POST", "/v1/models/base/rename", `{"to":"basis"}`).want(200).Header().Get("ETag")
	for _, path := range []string{"/v1/models/fraud/versions/1", "/v1/models/fraud/versions/2", "/v1/models/basis", "/v1/models/basis/versions/1"} {
		if got := r.call("GET", path, "").want(200); got.Header().Get("ETag") != renamed || !strings.Contains(got.Body.String(), `"basis`) {
			t.Errorf("%s has the ETag %s, want %s: %s", path, got.Header().Get("ETag"), renamed, got.Body)
		}
	}
	renamed = r.call("POST", "/v1/models/fraud/rename", `{"to":"cards"}`).want(200).Header().Get("ETag")
	for _, path := range []string{"/v1/targets/prod/scorer", "/v1/models/cards/versions/2"} {
		if got := r.call("GET", path, "").want(200); got.Header().Get("ETag") != renamed || !strings.Contains(got.Body.String(), `"cards"`) {
			t.Errorf("%s has the ETag %s, want %s: %s", path, got.Header().Get("ETag"), renamed, got.Body)
		}
	}
}

// asking has what reads must be asked for.
var asking = map[string]string{
	"/v1/lineage": "node=version:fraud/1&", "/v1/lineage/paths": "from=version:fraud/1&to=target:prod/scorer&",
	"/v1/lineage/impact": "dataset=dataset:transactions&",
}

// Every read takes as_of, and says the sequence it was made on.
func TestEveryReadTakesAMoment(t *testing.T) {
	r := newRegistry(t)
	hook := r.subscribe(`{"sink":"https://h"}`).ID
	r.seed()
	moment := decode[map[string]any](r.call("GET", "/v1/events/7", "").want(200))["time"].(string)
	at, err := time.Parse(time.RFC3339, moment)
	if err != nil {
		t.Fatal(err)
	}
	r.call("PATCH", "/v1/models/fraud", `{"description":"later"}`).want(200)
	there := strings.NewReplacer("{id}", hook, "{model}", "fraud", "{ref}", "1", "{environment}", "prod", "{name}", "scorer", "{sequence}", "7")
	for _, e := range (&server{}).routes() {
		if e.method != http.MethodGet || e.timeless {
			continue
		}
		for _, asOf := range []string{"7", moment, at.Add(time.Millisecond - 1).Format(time.RFC3339Nano), at.In(time.FixedZone("", -5*3600)).Format(time.RFC3339)} {
			got := r.call("GET", there.Replace(e.path)+"?"+asking[e.path]+"as_of="+url.QueryEscape(asOf), "").want(200)
			if got.Header().Get("Modelog-Sequence") != "7" || strings.Contains(got.Body.String(), "later") {
				t.Errorf("%s as of %s is made on %s: %s", e.path, asOf, got.Header().Get("Modelog-Sequence"), got.Body)
			}
		}
	}
}

// A caller's clock may be a second ahead. A request reads the clock twice before
// it looks at as_of, and each reading takes a second.
func TestAMomentMayBeASecondAhead(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	ahead := func(d time.Duration) string {
		return "/v1/models/fraud?as_of=" + r.clock.now.Add(2*time.Second+d).Format(time.RFC3339Nano)
	}
	if got := r.call("GET", ahead(time.Second), "").want(200).Header().Get("Modelog-Sequence"); got != "7" {
		t.Errorf("the sequence is %s", got)
	}
	r.call("GET", ahead(time.Second+time.Millisecond), "").problem(400, handlers.CodeInvalid)
}

func TestListsAnswerSummaries(t *testing.T) {
	r := newRegistry(t)
	r.full()
	list := r.call("GET", "/v1/models/fraud/versions", "").want(200)
	for _, name := range []string{"artifacts", "datasets", "parameters", "metrics", "signature"} {
		if strings.Contains(list.Body.String(), `"`+name+`":`) {
			t.Errorf("the list has %s", name)
		}
	}
	var shown struct {
		Versions []jsontext.Value `json:"versions"`
	}
	if err := json.Unmarshal(list.Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	wantMembers(t, "a summary", string(shown.Versions[0]), `model model_id version semver stage aliases source format run_id code base_model tags
		description deprecation deployed_to created_at updated_at created_by sequence`)
}

func TestAPageHas100EntriesUnlessTold(t *testing.T) {
	r := newRegistry(t)
	for i := range 101 {
		r.call("POST", "/v1/models", fmt.Sprintf(`{"name":"m%03d"}`, i)).want(201)
	}
	page := decode[ModelList](r.call("GET", "/v1/models", "").want(200))
	if len(page.Models) != 100 || page.NextCursor == "" {
		t.Errorf("the page has %d models, and the cursor %q", len(page.Models), page.NextCursor)
	}
	text, err := base64.RawURLEncoding.DecodeString(page.NextCursor)
	if want := regexp.MustCompile(`^{"s":102,"l":"m099","q":\d+}$`); err != nil || !want.Match(text) {
		t.Errorf("the cursor is %s (%v), want the sequence, the last key and a hash of the query", text, err)
	}
	if all := decode[ModelList](r.call("GET", "/v1/models?limit=1000", "").want(200)); len(all.Models) != 101 || all.NextCursor != "" {
		t.Errorf("the page has %d models, and the cursor %q", len(all.Models), all.NextCursor)
	}
}

func TestAPatchIsAMergePatchAndOneEvent(t *testing.T) {
	for path, kind := range map[string]string{"/v1/models/fraud": "model.described", "/v1/models/fraud/versions/1": "version.described"} {
		r := newRegistry(t)
		r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
		r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`).want(201)
		patch := func(body, description string, tags map[string]string, events int) {
			t.Helper()
			before := r.last()
			var got struct {
				Description string            `json:"description"`
				Tags        map[string]string `json:"tags"`
			}
			answer := r.call("PATCH", path, body, "Content-Type", patchMedia).want(200)
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tags, got.Tags); diff != "" || got.Description != description {
				t.Errorf("%s %s: the description is %q, tags -want +got:\n%s", path, body, got.Description, diff)
			}
			if wrote := r.last() - before; wrote != events {
				t.Errorf("%s %s wrote %d events, want %d", path, body, wrote, events)
			}
		}
		patch(`{"description":"d","tags":{"a":"1","b":"2"}}`, "d", map[string]string{"a": "1", "b": "2"}, 1)
		if e := decode[map[string]any](r.call("GET", "/v1/events/4", "").want(200)); e["type"] != "dev.modelog."+kind+".v1" {
			t.Errorf("the event is %s", e["type"])
		}
		patch(`{}`, "d", map[string]string{"a": "1", "b": "2"}, 0)
		patch(`{"tags":{"a":null,"c":"3"}}`, "d", map[string]string{"b": "2", "c": "3"}, 1)
		patch(`{"tags":{"never":null}}`, "d", map[string]string{"b": "2", "c": "3"}, 0)
		patch(`{"description":null}`, "", map[string]string{"b": "2", "c": "3"}, 1)
		patch(`{"tags":null}`, "", map[string]string{}, 1)
		for _, other := range []string{`{"name":"x"}`, `{"lifecycle":{}}`, `{"stage":"Staging"}`, `null`, `[]`} {
			r.call("PATCH", path, other).problem(400, handlers.CodeInvalid)
		}
	}
}

// The path of the dataschema is served, without the host.
func TestEveryEventHasItsSchema(t *testing.T) {
	r := newRegistry(t)
	r.full()
	for _, raw := range decode[EventList](r.call("GET", "/v1/events", "").want(200)).Events {
		var e struct {
			Schema string `json:"dataschema"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		path, ok := strings.CutPrefix(e.Schema, "https://modelog.dev/")
		if got := r.call("GET", "/"+path, "").want(200).Body.String(); !ok || !strings.Contains(got, `"`+e.Schema+`"`) {
			t.Errorf("%s is %s", e.Schema, got)
		}
	}
}

func TestWhatIsAtTheLimitOfARequestIsTaken(t *testing.T) {
	r := newRegistry(t)
	name := `{"name":"fraud"}`
	r.call("POST", "/v1/models", strings.Repeat(" ", maxBody-len(name))+name).want(201)
	r.call("POST", "/v1/models", strings.Repeat(" ", maxBody-len(name)+1)+name).problem(413, handlers.CodeTooLarge)
	longest := strings.Repeat("~", handlers.MaxIdempotencyKey)
	for i, key := range []string{longest, "!", `"` + strings.Repeat("k", handlers.MaxIdempotencyKey) + `"`, `"\"\\"`} {
		r.call("POST", "/v1/models", fmt.Sprintf(`{"name":"m%d"}`, i), "Idempotency-Key", key).want(201)
	}
	r.call("POST", "/v1/models", `{"name":"m"}`, "Idempotency-Key", `"`+longest+`~"`).problem(400, handlers.CodeInvalid)
	r.call("POST", "/v1/models", `{"name":"m"}`, "Modelog-Actor", strings.Repeat("ä", principals.MaxName)).want(201)
}
