package main

import (
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
)

// badInput is a request that must be refused.
type badInput struct {
	name    string // why
	request string // method and path
	body    string
	headers []string // name, value, ...; a value of "-" takes the header away
	status  int
	code    handlers.Code
	field   string // that the problem names, empty for none
}

var (
	invalid  = func(b badInput) badInput { b.status, b.code = 400, handlers.CodeInvalid; return b }
	notFound = func(b badInput, code handlers.Code) badInput { b.status, b.code = 404, code; return b }
)

// TestBadInputIsRefusedAndWritesNothing sends what no client should to a
// registry with the model fraud, its version 1, and the target prod/scorer.
func TestBadInputIsRefusedAndWritesNothing(t *testing.T) {
	s := newFixture(t)
	if got := s.send(t, badInput{request: "GET /v1/models", headers: []string{"Host", "registry.example:80"}}); got.code != http.StatusOK {
		t.Errorf("an allowed host is answered %s", got.body)
	}
	for _, b := range badInputs(s) {
		t.Run(b.name, func(t *testing.T) {
			before := s.sequence()
			wrong := s.refusal(t, b)
			if after := s.sequence(); after != before {
				wrong += "; an event was written"
			}
			if wrong != "" {
				t.Error(wrong)
			}
		})
	}
	if err := s.process.stop(); err != nil {
		t.Error(err)
	}
}

// fixture is a server for the bad requests.
type fixture struct {
	t       *testing.T
	process *process
	url     string
	client  *http.Client
	cursor  string // of the list of events
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	p, url := startOn(t, filepath.Join(t.TempDir(), "data"), "--allowed-host", "registry.example")
	client, done := oneConnection()
	t.Cleanup(done)
	s := &fixture{t: t, process: p, url: url, client: client}
	for _, args := range [][]string{
		{"register", "fraud", "--create-model", "--source", "s3://models/fraud/1", "--semver", "1.0.0", "--idempotency-key", "used"},
		{"target", "define", "prod/scorer"},
		{"model", "create", "second"},
	} {
		if code := testApp().run(t.Context(), append(args, "--server", s.url)); code != 0 {
			t.Fatalf("%v exits with %d", args, code)
		}
	}
	var page api.EventList
	if err := json.Unmarshal(s.get("/v1/events?limit=1"), &page); err != nil {
		t.Fatal(err)
	}
	s.cursor = page.NextCursor
	return s
}

func (s *fixture) get(path string) []byte {
	s.t.Helper()
	return s.send(s.t, badInput{request: "GET " + path}).body
}

// sequence gives the last sequence of the log.
func (s *fixture) sequence() uint64 {
	s.t.Helper()
	var state api.State
	if err := json.Unmarshal(s.get("/v1/state"), &state); err != nil || state.Sequence == 0 {
		s.t.Fatalf("the server gives no state: %v", err)
	}
	return state.Sequence
}

// reply is an answer that was read to its end.
type reply struct {
	status string
	code   int
	header http.Header
	body   []byte
}

func (s *fixture) send(t *testing.T, b badInput) reply {
	t.Helper()
	method, path, _ := strings.Cut(b.request, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(b.body))
	if err != nil {
		t.Fatal(err)
	}
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(b.headers); i += 2 {
		switch name, value := b.headers[i], b.headers[i+1]; {
		case name == "Host":
			r.Host = value
		case value == "-":
			r.Header.Del(name)
		default:
			r.Header.Set(name, value)
		}
	}
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatalf("no answer to %s: %v", b.request, err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read, or the read failed
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.Status, response.StatusCode, response.Header, data}
}

// refusal says what is wrong with the answer to a bad request, empty for
// nothing.
func (s *fixture) refusal(t *testing.T, b badInput) string {
	t.Helper()
	got := s.send(t, b)
	if media := got.header.Get("Content-Type"); media != "application/problem+json" {
		return "answered " + got.status + " as " + media + ": " + string(got.body)
	}
	var p api.Problem
	if err := json.Unmarshal(got.body, &p, json.RejectUnknownMembers(true)); err != nil {
		return "the problem can't be read: " + err.Error()
	}
	named := b.field == ""
	for _, f := range p.Errors {
		named = named || f.Pointer == b.field && f.Rule != "" && f.Detail != ""
	}
	// A refusal by the state names things in its text.
	named = named || len(p.Errors) == 0 && strings.Contains(p.Detail, b.field)
	whole := p.Type != "" && p.Title != "" && p.Detail != "" && p.Instance != "" && p.RequestID == got.header.Get("Modelog-Request-Id")
	if got.code != b.status || p.Status != b.status || p.Code != b.code || !named || !whole {
		return "answered " + string(got.body)
	}
	if allow := got.header.Get("Allow"); (b.status == http.StatusMethodNotAllowed) != (allow != "") {
		return "the header Allow is " + allow
	}
	return ""
}

func badInputs(s *fixture) []badInput {
	var all []badInput
	for _, rows := range [][]badInput{
		badBodies(), badNames(), badReferences(), badHeaders(), badQueries(s), badRoutes(), tooLarge(), badChanges(), badPublished(), badOpenLineage(), badHistory(), badWebhooks(), badEverywhere(routes(s)),
	} {
		all = append(all, rows...)
	}
	return all
}

const (
	models   = "POST /v1/models"
	versions = "POST /v1/models/fraud/versions"
	promote  = "POST /v1/models/fraud/versions/1/promote"
	champion = "PUT /v1/models/fraud/aliases/champion"
	scorer   = "PUT /v1/targets/prod/scorer"
	deploy   = "POST /v1/targets/prod/scorer/deploy"
	rollback = "POST /v1/targets/prod/scorer/rollback"
)

func badBodies() []badInput {
	rows := []badInput{
		{name: "an empty body", request: models},
		{name: "a body cut off", request: models, body: `{"name":"a"`},
		{name: "no JSON", request: models, body: `name=a`},
		{name: "JSON and more", request: models, body: `{"name":"a"} {}`},
		{name: "a byte order mark", request: models, body: "\ufeff" + `{"name":"a"}`},
		{name: "text that is not UTF-8", request: models, body: "{\"name\":\"\xff\"}"},
		{name: "an unpaired surrogate", request: models, body: `{"name":"\ud800"}`},
		{name: "a comment", request: models, body: `{"name":"a"} // b`},
		{name: "endless nesting", request: versions, body: `{"source":"s3://x","signature":{"inputs":[` + strings.Repeat(`{"a":`, 100_000)},

		{name: "an array", request: models, body: `[]`},
		{name: "a string", request: models, body: `"a"`},
		{name: "null", request: models, body: ` null `},
		{name: "a number for a name", request: models, body: `{"name":1}`, field: "/name"},
		{name: "a list for tags", request: models, body: `{"name":"a","tags":["b"]}`, field: "/tags"},
		{name: "a number in tags", request: models, body: `{"name":"a","tags":{"b":1}}`, field: "/tags/b"},
		{name: "an object for a description", request: models, body: `{"name":"a","description":{}}`, field: "/description"},
		{name: "a text for artifacts", request: versions, body: `{"source":"s3://x","artifacts":"model.onnx"}`, field: "/artifacts"},
		{name: "a text for a size", request: versions, body: `{"source":"s3://x","artifacts":[{"path":"a","sha256":"b","size":"1"}]}`, field: "/artifacts/0/size"},
		{name: "half a byte", request: versions, body: `{"source":"s3://x","artifacts":[{"path":"a","sha256":"b","size":0.5}]}`, field: "/artifacts/0/size"},
		{name: "a word for a metric", request: versions, body: `{"source":"s3://x","metrics":{"auc":"high"}}`, field: "/metrics/auc"},
		{name: "a text for a version", request: champion, body: `{"version":"1"}`, field: "/version"},
		{name: "half a version", request: champion, body: `{"version":1.5}`, field: "/version"},
		{name: "a version beyond all numbers", request: champion, body: `{"version":99999999999999999999}`, field: "/version"},
		{name: "a version below zero as a condition", request: champion, body: `{"version":1,"if_version":-1}`, field: "/if_version"},
		{name: "a text for a switch", request: promote, body: `{"to":"Staging","archive_existing":"yes"}`, field: "/archive_existing"},
		{name: "a number for a reason", request: rollback, body: `{"reason":1}`, field: "/reason"},

		{name: "an unknown field", request: models, body: `{"name":"a","owner":"b"}`, field: "/owner"},
		{name: "a field in another case", request: models, body: `{"Name":"a"}`, field: "/Name"},
		{name: "an unknown field further in", request: versions, body: `{"source":"s3://x","code":{"repo":"b"}}`, field: "/code/repo"},
		{name: "an unknown field of an artifact", request: versions, body: `{"source":"s3://x","artifacts":[{"path":"a","md5":"b"}]}`, field: "/artifacts/0/md5"},
		{name: "a field twice", request: models, body: `{"name":"a","name":"b"}`, field: "/name"},
		{name: "a tag twice", request: models, body: `{"name":"a","tags":{"b":"1","b":"2"}}`, field: "/tags/b"},
		{name: "a field twice in a signature", request: versions, body: `{"source":"s3://x","signature":{"inputs":[{"a":1,"a":2}]}}`, field: "/signature/inputs/0/a"},
	}
	for i := range rows {
		rows[i] = invalid(rows[i])
	}
	return rows
}

func badNames() []badInput {
	rows := []badInput{
		{name: "no name", request: models, body: `{}`, field: "/name"},
		{name: "a name with a slash", request: models, body: `{"name":"a/b"}`, field: "/name"},
		{name: "a name with a colon", request: models, body: `{"name":"a:b"}`, field: "/name"},
		{name: "a name of two dots", request: models, body: `{"name":".."}`, field: "/name"},
		{name: "a name that ends with a space", request: models, body: `{"name":"a "}`, field: "/name"},
		{name: "a name of a line break", request: models, body: `{"name":"a\nb"}`, field: "/name"},
		{name: "a name that can't be seen", request: models, body: `{"name":"a\u200bb"}`, field: "/name"},
		{name: "a name that turns the text around", request: models, body: `{"name":"\u202eabc"}`, field: "/name"},
		{name: "a name of 257 characters", request: models, body: `{"name":"` + strings.Repeat("ä", 257) + `"}`, field: "/name"},
		{name: "a description of more than 100,000 characters", request: models, body: `{"name":"a","description":"` + strings.Repeat("a", 100_001) + `"}`, field: "/description"},
		{name: "a tag without a key", request: models, body: `{"name":"a","tags":{"":"b"}}`, field: "/tags/"},
		{name: "a tag with a slash and a control character", request: models, body: `{"name":"a","tags":{"b/c\u0000":"d"}}`, field: "/tags/b~1c\u0000"},
		{name: "a reserved alias", request: "PUT /v1/models/fraud/aliases/latest", body: `{"version":1}`, field: "alias"},
		{name: "an alias like a number", request: "PUT /v1/models/fraud/aliases/v1", body: `{"version":1}`, field: "alias"},
		{name: "an alias with a space", request: "PUT /v1/models/fraud/aliases/a%20b", body: `{"version":1}`, field: "alias"},
		{name: "an alias that isn't UTF-8", request: "PUT /v1/models/fraud/aliases/%ff", body: `{"version":1}`, field: "alias"},
		{name: "an environment in capitals", request: "PUT /v1/targets/Prod/scorer", body: `{}`, field: "environment"},
		{name: "a target with a space", request: "PUT /v1/targets/prod/a%20b", body: `{}`, field: "name"},
		{name: "a target that isn't UTF-8", request: "PUT /v1/targets/prod/%ff", body: `{}`, field: "name"},
		{name: "no source", request: versions, body: `{}`, field: "/source"},
		{name: "a source with a password", request: versions, body: `{"source":"https://a:b@models.example"}`, field: "/source"},
		{name: "half a semantic version", request: versions, body: `{"source":"s3://x","semver":"1.0"}`, field: "/semver"},
		{name: "a path out of the source", request: versions, body: `{"source":"s3://x","artifacts":[{"path":"../a","sha256":"` + strings.Repeat("0", 64) + `","size":1}]}`, field: "/artifacts/0/path"},
		{name: "a digest that is none", request: versions, body: `{"source":"s3://x","artifacts":[{"path":"a","sha256":"0","size":1}]}`, field: "/artifacts/0/sha256"},
		{name: "a size below zero", request: versions, body: `{"source":"s3://x","artifacts":[{"path":"a","sha256":"` + strings.Repeat("0", 64) + `","size":-1}]}`, field: "/artifacts/0/size"},
		{name: "a role of two words", request: versions, body: `{"source":"s3://x","datasets":[{"name":"a","role":"Train set"}]}`, field: "/datasets/0/role"},
		{name: "an unknown stage", request: promote, body: `{"to":"Live"}`, field: "/to"},
		{name: "no stage", request: promote, body: `{}`, field: "/to"},
		{name: "a verification up to an event", request: "POST /v1/verify", body: `{"until":3}`, field: "/until"},
		{name: "a reason of more than 4,000 characters", request: promote, body: `{"to":"Staging","reason":"` + strings.Repeat("a", 4_001) + `"}`, field: "/reason"},
		{name: "room made in the archive", request: promote, body: `{"to":"Archived","archive_existing":true}`, field: "/archive_existing"},
		{name: "version 0", request: champion, body: `{"version":0}`, field: "/version"},
		{name: "an unknown strategy", request: deploy, body: `{"model":"fraud","ref":"1","strategy":"big_bang"}`, field: "/strategy"},
		{name: "a deployment of nothing", request: deploy, body: `{}`, field: "/model"},
	}
	for i := range rows {
		rows[i] = invalid(rows[i])
	}
	return rows
}

// badChanges has bad input for what changes, ends and comes back.
func badChanges() []badInput {
	const (
		model     = "PATCH /v1/models/fraud"
		rename    = "POST /v1/models/fraud/rename"
		lifecycle = "PUT /v1/models/fraud/lifecycle"
		version   = "PATCH /v1/models/fraud/versions/1"
		deprecate = "POST /v1/models/fraud/versions/1/deprecate"
		restore   = "POST /v1/models/fraud/versions/1/restore"
		undeploy  = "POST /v1/targets/prod/scorer/undeploy"
	)
	reason := `"reason":"` + strings.Repeat("a", handlers.MaxReason+1) + `"`
	longReason := "?reason=" + strings.Repeat("a", handlers.MaxReason+1)
	rows := []badInput{
		{name: "a number for a new description", request: model, body: `{"description":1}`, field: "/description"},
		{name: "a number for a new tag", request: model, body: `{"tags":{"a":1}}`, field: "/tags/a"},
		{name: "a new name among the changes", request: model, body: `{"name":"b"}`, field: "/name"},
		{name: "a new tag with a control character", request: model, body: `{"tags":{"a\n":"b"}}`, field: "/tags/a\n"},
		{name: "a list of a version's tags", request: version, body: `{"tags":["a"]}`, field: "/tags"},
		{name: "a new source", request: version, body: `{"source":"s3://y"}`, field: "/source"},
		{name: "a new semantic version", request: version, body: `{"semver":"9.0.0"}`, field: "/semver"},
		{name: "a new stage among the changes", request: version, body: `{"stage":"Staging"}`, field: "/stage"},
		{name: "a lifecycle among the changes", request: model, body: `{"lifecycle":{"stages":["A","B"],"archive":"B"}}`, field: "/lifecycle"},
		{name: "a model changed by null", request: model, body: `null`},
		{name: "a version restored by null", request: restore, body: `null`},
		{name: "a target emptied by null", request: undeploy, body: `null`},
		{name: "a description of a version that is too long", request: version, body: `{"description":"` + strings.Repeat("a", 100_001) + `"}`, field: "/description"},
		{name: "no new name", request: rename, body: `{}`, field: "/to"},
		{name: "a new name with a slash", request: rename, body: `{"to":"a/b"}`, field: "/to"},
		{name: "a new name of 257 characters", request: rename, body: `{"to":"` + strings.Repeat("ä", 257) + `"}`, field: "/to"},
		{name: "a renaming with too many reasons", request: rename, body: `{"to":"b",` + reason + `}`, field: "/reason"},
		{name: "no stages", request: lifecycle, body: `{"archive":"A"}`, field: "/stages"},
		{name: "one stage", request: lifecycle, body: `{"stages":["A"],"archive":"A"}`, field: "/stages"},
		{name: "65 stages", request: lifecycle, body: `{"stages":["A` + strings.Repeat(`","B`, 64) + `"],"archive":"B"}`, field: "/stages"},
		{name: "a stage twice", request: lifecycle, body: `{"stages":["A","a"],"archive":"a"}`, field: "/stages/1"},
		{name: "a stage called latest", request: lifecycle, body: `{"stages":["A","Latest"],"archive":"Latest"}`, field: "/stages/1"},
		{name: "a stage like a number", request: lifecycle, body: `{"stages":["A","1"],"archive":"1"}`, field: "/stages/1"},
		{name: "an archive that is no stage", request: lifecycle, body: `{"stages":["A","B"],"archive":"C"}`, field: "/archive"},
		{name: "the first stage for an archive", request: lifecycle, body: `{"stages":["A","B"],"archive":"A"}`, field: "/archive"},
		{name: "a transition to no stage", request: lifecycle, body: `{"stages":["A","B"],"archive":"B","transitions":[["A","C"]]}`, field: "/transitions/0"},
		{name: "a transition of three", request: lifecycle, body: `{"stages":["A","B"],"archive":"B","transitions":[["A","B","A"]]}`},
		{name: "some transitions", request: lifecycle, body: `{"stages":["A","B"],"archive":"B","transitions":"some"}`},
		{name: "an exclusive archive", request: lifecycle, body: `{"stages":["A","B"],"archive":"B","exclusive":["B"]}`, field: "/exclusive/0"},
		{name: "a sunset in words", request: deprecate, body: `{"sunset":"soon"}`, field: "/sunset"},
		{name: "a sunset on a day", request: deprecate, body: `{"sunset":"2027-01-31"}`, field: "/sunset"},
		{name: "a replacement that is no reference", request: deprecate, body: `{"replacement":"fraud"}`, field: "/replacement"},
		{name: "a replacement by itself", request: deprecate, body: `{"replacement":"fraud/1"}`, field: "/replacement"},
		{name: "a deprecation with too many reasons", request: deprecate, body: `{` + reason + `}`, field: "/reason"},
		{name: "a restoration with too many reasons", request: restore, body: `{` + reason + `}`, field: "/reason"},
		{name: "a number for a reason", request: restore, body: `{"reason":1}`, field: "/reason"},
		{name: "a withdrawal with too many reasons", request: undeploy, body: `{` + reason + `}`, field: "/reason"},
		{name: "a generation below zero", request: rollback, body: `{"to":-1}`, field: "/to"},
		{name: "force without a reason", request: deploy, body: `{"model":"fraud","ref":"1","force":true}`, field: "/reason"},
		{name: "a promotion by force without a reason", request: promote, body: `{"to":"Staging","force":true}`, field: "/reason"},
		{name: "a description of a target that is too long", request: scorer, body: `{"description":"` + strings.Repeat("a", 100_001) + `"}`, field: "/description"},
		{name: "a model deleted with perhaps a cascade", request: "DELETE /v1/models/fraud?cascade=maybe", field: "cascade"},
		{name: "a model deleted with too many reasons", request: "DELETE /v1/models/fraud" + longReason, field: "reason"},
		{name: "a version deleted with perhaps a cascade", request: "DELETE /v1/models/fraud/versions/1?cascade=1", field: "cascade"},
		{name: "a version deleted that is no reference", request: "DELETE /v1/models/fraud/versions/!", field: "ref"},
		{name: "an alias removed from less than nothing", request: "DELETE /v1/models/fraud/aliases/champion?if_version=-1", field: "if_version"},
		{name: "an alias removed on a condition that says nothing", request: "DELETE /v1/models/fraud/aliases/champion?if_version=", field: "if_version"},
		{name: "a target removed with a cascade", request: "DELETE /v1/targets/prod/scorer?cascade=true", field: "cascade"},
		{name: "a principal erased by force", request: "DELETE /v1/principals/anna?force=true", field: "force"},
	}
	for i := range rows {
		rows[i] = invalid(rows[i])
	}
	return append(
		rows,
		notFound(badInput{name: "changes of an unknown model", request: "PATCH /v1/models/churn", body: `{"description":"b"}`, field: "churn"}, handlers.CodeModelNotFound),
		notFound(badInput{name: "an unknown model deleted", request: "DELETE /v1/models/churn", field: "churn"}, handlers.CodeModelNotFound),
		notFound(badInput{name: "an unknown model renamed", request: "POST /v1/models/churn/rename", body: `{"to":"b"}`, field: "churn"}, handlers.CodeModelNotFound),
		notFound(badInput{name: "a lifecycle of an unknown model", request: "PUT /v1/models/churn/lifecycle", body: `{"stages":["A","B"],"archive":"B"}`, field: "churn"}, handlers.CodeModelNotFound),
		notFound(badInput{name: "changes of an unknown version", request: "PATCH /v1/models/fraud/versions/9", body: `{"description":"b"}`, field: "fraud/9"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "an unknown version deleted", request: "DELETE /v1/models/fraud/versions/9", field: "fraud/9"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "an unknown version deprecated", request: "POST /v1/models/fraud/versions/9/deprecate", body: `{}`, field: "fraud/9"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "an unknown replacement", request: deprecate, body: `{"replacement":"fraud/9"}`, field: "/replacement"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "an unknown version restored", request: "POST /v1/models/fraud/versions/9/restore", body: `{}`, field: "fraud/9"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "an alias of an unknown model removed", request: "DELETE /v1/models/churn/aliases/champion", field: "churn"}, handlers.CodeModelNotFound),
		notFound(badInput{name: "an unknown target removed", request: "DELETE /v1/targets/prod/other", field: "prod/other"}, handlers.CodeTargetNotFound),
		notFound(badInput{name: "an unknown target rolled back", request: "POST /v1/targets/prod/other/rollback", body: `{}`, field: "prod/other"}, handlers.CodeTargetNotFound),
		notFound(badInput{name: "an unknown target undeployed", request: "POST /v1/targets/prod/other/undeploy", body: `{}`, field: "prod/other"}, handlers.CodeTargetNotFound),
		notFound(badInput{name: "an unknown principal erased", request: "DELETE /v1/principals/anna", field: "anna"}, handlers.CodePrincipalNotFound),
		notFound(badInput{name: "a principal erased whose name isn't UTF-8", request: "DELETE /v1/principals/%ff"}, handlers.CodePrincipalNotFound),
		badInput{name: "a name that is taken by renaming", request: "POST /v1/models/fraud/rename", body: `{"to":"second"}`, status: 409, code: handlers.CodeModelExists, field: "second"},
		badInput{name: "an ETag of another version", request: "DELETE /v1/models/fraud/versions/1", headers: []string{"If-Match", `"1"`}, status: 412, code: handlers.CodePreconditionFailed, field: "If-Match"},
	)
}

// route is one call of the API, as its document has it.
type route struct {
	method, path  string
	takesBody     bool
	takesPath     bool
	ofTheRegistry bool // not an operation
}

func (r route) String() string { return r.method + " " + r.path }

// routes reads the document that the server serves.
func routes(s *fixture) []route {
	var document struct {
		Paths map[string]map[string]struct {
			RequestBody map[string]any `json:"requestBody"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(s.get("/openapi.json"), &document); err != nil {
		s.t.Fatal(err)
	}
	var all []route
	for path, methods := range document.Paths {
		for method, operation := range methods {
			all = append(all, route{
				method: strings.ToUpper(method), path: path, takesBody: operation.RequestBody != nil,
				takesPath: strings.Contains(path, "{"), ofTheRegistry: strings.HasPrefix(path, "/v1/"),
			})
		}
	}
	return all
}

// badEverywhere has what no call of the registry takes.
func badEverywhere(routes []route) []badInput {
	there := strings.NewReplacer("{model}", "fraud", "{ref}", "1", "{alias}", "champion", "{environment}", "prod", "{name}", "scorer", "{sequence}", "1", "{principal}", "anna",
		"{id}", "01KXFT0005H00K000000000000")
	var rows []badInput
	for _, r := range routes {
		if !r.ofTheRegistry || r.String() == "POST /v1/events" { // which takes no plain JSON; see badPublished
			continue
		}
		request := r.method + " " + there.Replace(r.path)
		body := ""
		if r.takesBody {
			body = "{}"
			rows = append(rows,
				invalid(badInput{name: "an empty body: " + r.String(), request: request}),
				invalid(badInput{name: "an array: " + r.String(), request: request, body: "[]"}),
				invalid(badInput{name: "a body cut off: " + r.String(), request: request, body: "{"}),
				invalid(badInput{name: "an unknown field: " + r.String(), request: request, body: `{"frobnicate":1}`, field: "/frobnicate"}),
				badInput{name: "a plain text: " + r.String(), request: request, body: "{}", headers: []string{"Content-Type", "text/plain"}, status: 415, code: handlers.CodeUnsupportedMedia},
				badInput{name: "a body of more than 1 MiB: " + r.String(), request: request, body: strings.Repeat(" ", 1<<20+1) + "{}", status: 413, code: handlers.CodeTooLarge},
			)
		}
		rows = append(rows, invalid(badInput{name: "an unknown parameter: " + r.String(), request: request + "?frobnicate=1", body: body, field: "frobnicate"}))
		if r.method != http.MethodGet {
			rows = append(rows, invalid(badInput{name: "a write in the past: " + r.String(), request: request + "?as_of=1", body: body, field: "as_of"}))
		}
	}
	return rows
}

// TestEveryCallHasBadInput: every call that takes a body or a path has rows of
// its own, beside those that all have.
func TestEveryCallHasBadInput(t *testing.T) {
	s := newFixture(t)
	all := routes(s)
	if len(all) < 30 {
		t.Fatalf("the document has %d calls only", len(all))
	}
	var own []badInput
	for _, rows := range [][]badInput{badBodies(), badNames(), badReferences(), badHeaders(), badQueries(s), badRoutes(), tooLarge(), badChanges(), badPublished(), badHistory(), badWebhooks()} {
		own = append(own, rows...)
	}
	for _, r := range all {
		pattern := regexp.MustCompile("^" + r.method + " " + regexp.MustCompile(`\{\w+\}`).ReplaceAllString(r.path, "[^/?]+") + `(\?.*)?$`)
		has := func(statuses ...int) bool {
			return slices.ContainsFunc(own, func(b badInput) bool { return slices.Contains(statuses, b.status) && pattern.MatchString(b.request) })
		}
		if r.takesBody && !has(400) {
			t.Errorf("no body is refused by %s", r)
		}
		if r.takesPath && !has(400, 404) {
			t.Errorf("no path is refused by %s", r)
		}
	}
	if err := s.process.stop(); err != nil {
		t.Error(err)
	}
}

func badReferences() []badInput {
	const x = `{"source":"s3://x"}`
	return []badInput{
		notFound(badInput{name: "an unknown model", request: "GET /v1/models/churn", field: "churn"}, handlers.CodeModelNotFound),
		notFound(badInput{name: "an unknown model's versions", request: "GET /v1/models/churn/versions", field: "churn"}, handlers.CodeModelNotFound),
		notFound(badInput{name: "a version of an unknown model", request: "POST /v1/models/churn/versions", body: x, field: "churn"}, handlers.CodeModelNotFound),
		notFound(badInput{name: "a model's name that isn't UTF-8", request: "GET /v1/models/%ff"}, handlers.CodeModelNotFound),
		notFound(badInput{name: "an unknown version", request: "GET /v1/models/fraud/versions/2", field: "fraud/2"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "an unknown alias", request: "GET /v1/models/fraud/versions/@champion", field: "fraud@champion"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "an empty stage", request: "GET /v1/models/fraud/versions/Production", field: "fraud/Production"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "an unknown semantic version", request: "GET /v1/models/fraud/versions/2.0.0", field: "fraud/2.0.0"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "a number beyond all versions", request: "GET /v1/models/fraud/versions/99999999999999999999"}, handlers.CodeVersionNotFound),
		invalid(badInput{name: "what is no reference", request: "GET /v1/models/fraud/versions/!", field: "ref"}),
		invalid(badInput{name: "a reference that isn't UTF-8", request: "GET /v1/models/fraud/versions/%ff", field: "ref"}),
		notFound(badInput{name: "an alias for an unknown version", request: champion, body: `{"version":2}`, field: "fraud/2"}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "a promotion of an unknown version", request: "POST /v1/models/fraud/versions/2/promote", body: `{"to":"Staging"}`}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "an unknown base model", request: versions, body: `{"source":"s3://x","base_model":"churn/1"}`, field: "/base_model"}, handlers.CodeModelNotFound),
		invalid(badInput{name: "a base model that is no reference", request: versions, body: `{"source":"s3://x","base_model":"churn"}`, field: "/base_model"}),
		notFound(badInput{name: "an unknown target", request: "GET /v1/targets/prod/other", field: "prod/other"}, handlers.CodeTargetNotFound),
		notFound(badInput{name: "a deployment to an unknown target", request: "POST /v1/targets/prod/other/deploy", body: `{"model":"fraud","ref":"1"}`}, handlers.CodeTargetNotFound),
		notFound(badInput{name: "a deployment of an unknown version", request: deploy, body: `{"model":"fraud","ref":"2"}`}, handlers.CodeVersionNotFound),
		notFound(badInput{name: "an event of the future", request: "GET /v1/events/1000", field: "1000"}, handlers.CodeEventNotFound),
		notFound(badInput{name: "event 0", request: "GET /v1/events/0"}, handlers.CodeEventNotFound),
		invalid(badInput{name: "an event that is no number", request: "GET /v1/events/last", field: "sequence"}),
		{name: "a name that is taken", request: models, body: `{"name":"fraud"}`, status: 409, code: handlers.CodeModelExists, field: "fraud"},
		{name: "a semantic version that is taken", request: versions, body: `{"source":"s3://x","semver":"1.0.0"}`, status: 409, code: handlers.CodeSemverExists, field: "1.0.0"},
		{name: "nothing to roll back to", request: rollback, body: `{}`, status: 409, code: handlers.CodeNothingToRollBack},
		{name: "an alias that is not as expected", request: champion, body: `{"version":1,"if_version":1}`, status: 412, code: handlers.CodePreconditionFailed, field: "if_version"},
		{name: "a generation that is not as expected", request: deploy, body: `{"model":"fraud","ref":"1","if_generation":1}`, status: 412, code: handlers.CodePreconditionFailed, field: "if_generation"},
	}
}

func badHeaders() []badInput {
	const body = `{"name":"a"}`
	media := func(name, value string) badInput {
		return badInput{name: name, request: models, body: body, headers: []string{"Content-Type", value}, status: 415, code: handlers.CodeUnsupportedMedia}
	}
	foreign := func(name, request, host string) badInput {
		return badInput{name: name, request: request, headers: []string{"Host", host}, status: 403, code: handlers.CodeForeignHost}
	}
	bad := func(name, header, value string) badInput {
		return invalid(badInput{name: name, request: models, body: body, headers: []string{header, value}, field: header})
	}
	metrics := foreign("metrics read through a foreign name", "GET /metrics", "evil.example")
	noKey := bad("a key of nothing", "Idempotency-Key", `""`)
	return []badInput{
		media("a plain text", "text/plain"),
		media("a form", "application/x-www-form-urlencoded"),
		media("no content type", "-"),
		media("a content type that is none", "application json"),
		media("a content type like JSON", "application/json5"),
		foreign("a foreign name", "GET /v1/models", "evil.example"),
		foreign("a name below an allowed one", "GET /v1/models", "a.registry.example"),
		foreign("a foreign name with a port", "GET /v1/state", "evil.example:80"),
		foreign("a name that begins like ours", "GET /healthz", "127.0.0.1.evil.example"),
		foreign("a write through a foreign name", models, "evil.example"),
		foreign("a route that isn't there, through a foreign name", "GET /nothing", "evil.example"),
		metrics,
		bad("a key with a space", "Idempotency-Key", "two words"),
		bad("a key of 129 characters", "Idempotency-Key", strings.Repeat("k", 129)),
		noKey,
		{name: "a key that was used", request: versions, body: `{"source":"s3://other"}`, headers: []string{"Idempotency-Key", "used"}, status: 422, code: handlers.CodeKeyReused},
		bad("an ETag that is none", "If-Match", "yesterday"),
		bad("two ETags", "If-Match", `"1", "2"`),
		bad("an ETag of nothing", "If-Match", ""),
		bad("an ETag of nothing, quoted", "If-Match", `""`),
		bad("any ETag", "If-Match", "*"),
		{name: "an ETag of something else", request: scorer, body: `{}`, headers: []string{"If-Match", `"1"`}, status: 412, code: handlers.CodePreconditionFailed, field: "If-Match"},
		bad("an actor of 257 characters", "Modelog-Actor", strings.Repeat("a", 257)),
		bad("an actor that isn't UTF-8", "Modelog-Actor", "\xff"),
		invalid(badInput{name: "a least sequence that is none", request: "GET /v1/models", headers: []string{"Modelog-Min-Sequence", "now"}, field: "Modelog-Min-Sequence"}),
	}
}

func badQueries(s *fixture) []badInput {
	future := url.QueryEscape(time.Now().Add(time.Minute).Format(time.RFC3339))
	rows := []badInput{
		{name: "an unknown parameter", request: "GET /v1/models?asof=1", field: "asof"},
		{name: "an unknown parameter of a write", request: "POST /v1/models?dry_run=true", body: `{"name":"a"}`, field: "dry_run"},
		{name: "a write in the past", request: "POST /v1/models?as_of=1", body: `{"name":"a"}`, field: "as_of"},
		{name: "paging where there are no pages", request: "GET /v1/models/fraud?limit=1", field: "limit"},
		{name: "two moments", request: "GET /v1/models?as_of=1&as_of=2", field: "as_of"},
		{name: "a parameter that isn't UTF-8", request: "GET /v1/models?%ff=1"},
		{name: "an escape that is none", request: "GET /v1/models?as_of=%zz"},
		{name: "a semicolon", request: "GET /v1/models?as_of=1;limit=2"},
		{name: "an empty moment", request: "GET /v1/models?as_of=", field: "as_of"},
		{name: "a moment of the future", request: "GET /v1/models?as_of=" + future, field: "as_of"},
		{name: "a sequence of the future", request: "GET /v1/models?as_of=1000", field: "as_of"},
		{name: "a sequence below zero", request: "GET /v1/models?as_of=-1", field: "as_of"},
		{name: "a sequence beyond all numbers", request: "GET /v1/models?as_of=99999999999999999999", field: "as_of"},
		{name: "a day", request: "GET /v1/models?as_of=2026-11-24", field: "as_of"},
		{name: "a moment that never was", request: "GET /v1/models?as_of=2026-02-30T00:00:00Z", field: "as_of"},
		{name: "a moment in words", request: "GET /v1/state?as_of=yesterday", field: "as_of"},
		{name: "a limit of 0", request: "GET /v1/models?limit=0", field: "limit"},
		{name: "a limit of 1001", request: "GET /v1/events?limit=1001", field: "limit"},
		{name: "a limit in words", request: "GET /v1/models/fraud/versions?limit=all", field: "limit"},
		{name: "a cursor that is none", request: "GET /v1/models?cursor=!!", field: "cursor"},
		{name: "a cursor of nonsense", request: "GET /v1/targets?cursor=bm9uc2Vuc2U", field: "cursor"},
		{name: "a cursor of another list", request: "GET /v1/models?cursor=" + s.cursor, field: "cursor"},
		{name: "a cursor of another moment", request: "GET /v1/events?as_of=1&cursor=" + s.cursor, field: "cursor"},
		{name: "a filter that is none", request: "GET /v1/models?filter=name", field: "filter"},
		{name: "a filter by what isn't there", request: "GET /v1/models/fraud/versions?filter=stage%20%3D%20%27x%27", field: "filter"},
		{name: "events after a word", request: "GET /v1/events?after=yesterday", field: "after"},
		{name: "events after less than nothing", request: "GET /v1/events?after=-1", field: "after"},
		{name: "a verification of the past", request: "GET /v1/verify?as_of=1", field: "as_of"},
		{name: "a digest, perhaps", request: "GET /v1/state?compute=maybe", field: "compute"},
	}
	for i := range rows {
		rows[i] = invalid(rows[i])
	}
	return rows
}

func badRoutes() []badInput {
	var rows []badInput
	for _, request := range []string{
		"POST /v1/state", "PUT /v1/models", "DELETE /v1/events", "GET /v1/targets/prod/scorer/deploy",
		"POST /v1/targets/prod/scorer", "PATCH /healthz", "POST /metrics", "OPTIONS /v1/models", "BREW /v1/models",
	} {
		rows = append(rows, badInput{name: "not the method: " + request, request: request, status: 405, code: handlers.CodeMethodNotAllowed})
	}
	for _, request := range []string{
		"GET /", "GET /v1", "GET /v2/models", "POST /v1/model", "GET /v1/models/fraud/versions/1/weights", "DELETE /nothing",
		"GET /v1/models/a%2Fb/versions/1/more", "GET /schemas/alias/assigned/v0.json", "GET /schemas/..%2F/x/y",
	} {
		rows = append(rows, notFound(badInput{name: "no such route: " + request, request: request}, handlers.CodeRouteNotFound))
	}
	return rows
}

func tooLarge() []badInput {
	large := func(name, request, body, field string) badInput {
		return badInput{name: name, request: request, body: body, status: 413, code: handlers.CodeTooLarge, field: field}
	}
	long := strings.Repeat("a", 99_999)
	parameters := ""
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		parameters += `,"` + key + `":"` + long + `"`
	}
	return []badInput{
		large("a body of more than 1 MiB", models, `{"name":"`+strings.Repeat("a", 1<<20)+`"}`, ""),
		large("a body of more than 1 MiB of nothing", models, strings.Repeat(" ", 1<<20)+`{"name":"a"}`, ""),
		large("an event of more than 512 KiB", versions, `{"source":"s3://x","parameters":{`+parameters[1:]+`}}`, "/parameters"),
		large("a model of more than 512 KiB", models, `{"name":"large","tags":{`+parameters[1:]+`}}`, "/tags"),
	}
}
