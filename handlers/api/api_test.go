package api

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/handlers/verify"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections/runner"
	"github.com/modelog/modelog/schemas"
	"github.com/oklog/ulid/v2"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry is a whole registry without a listener.
type registry struct {
	*testing.T
	handler http.Handler
	clock   *clock
	check   validator.Validator
	ended   endings // of verifications
	vault   *vault.Vault

	delivering *delivering
}

// clock goes on by a second whenever it is read.
type clock struct {
	lock sync.Mutex
	now  time.Time
}

func (c *clock) Now() time.Time {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.now = c.now.Add(time.Second)
	return c.now
}

// document is parsed once: it is the one that the server serves.
var document = sync.OnceValue(func() libopenapi.Document {
	data, err := schemas.FS.ReadFile("openapi.json")
	if err != nil {
		panic(err)
	}
	d, err := libopenapi.NewDocument(data)
	if err != nil {
		panic(err)
	}
	return d
})

func newRegistry(t *testing.T) *registry {
	t.Helper()
	log := openLog(t)
	return startRegistry(t, log, runner.New(log))
}

func openLog(t *testing.T) *natslog.Log {
	t.Helper()
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

// startRegistry starts a registry on a log, with a state that may have come further.
func startRegistry(t *testing.T, log *natslog.Log, run *runner.Runner) *registry {
	t.Helper()
	clock := &clock{now: time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)}
	ids := newIDs()
	logger := slog.New(slog.DiscardHandler)
	registrar, err := handlers.Start(t.Context(), handlers.Config{
		Log: log, Runner: run, Now: clock.Now, NewID: ids, Jitter: rand.Float64, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registrar.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	directory, err := principals.Open(t.Context(), principals.Config{JetStream: log.JetStream, Now: clock.Now, NewID: ids})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(endings, 10)
	verifier := verify.New(verify.Config{Log: log, Runner: run, Now: clock.Now, Logger: slog.New(ended)})
	t.Cleanup(verifier.Stop)
	check, errs := validator.NewValidator(document())
	if errs != nil {
		t.Fatal(errs)
	}
	key, err := vault.NewKey([]byte("the key of the tests, 32 bytes.."))
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := vault.Open(t.Context(), vault.Config{JetStream: log.JetStream, Key: key, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	delivering := newDelivering(t, log)
	return &registry{T: t, clock: clock, check: check, ended: ended, vault: secrets, delivering: delivering, handler: New(Config{
		Vault: secrets, Deliveries: &Deliveries{Journal: delivering.journal, Cursors: delivering.cursors, Engine: delivering, Sender: delivering},
		Registrar: registrar, Runner: run, Log: log, Principals: directory, Verifier: verifier, Now: clock.Now, NewID: ids,
		Release: "test", Logger: logger, Metrics: prometheus.NewRegistry(),
	})}
}

// newIDs gives ULIDs that count.
func newIDs() func(time.Time) ulid.ULID {
	var lock sync.Mutex
	n := byte(0)
	return func(at time.Time) ulid.ULID {
		lock.Lock()
		defer lock.Unlock()
		n++
		var id ulid.ULID
		_ = id.SetTime(ulid.Timestamp(at)) // a time of this century fits
		id[15] = n
		return id
	}
}

// reply is an answer of the API.
type reply struct {
	*httptest.ResponseRecorder
	t *testing.T
}

// call sends a request with headers given as pairs, and holds the answer
// against the OpenAPI document.
func (r *registry) call(method, path, body string, headers ...string) reply {
	r.Helper()
	request := httptest.NewRequestWithContext(r.Context(), method, "http://localhost:7670"+path, strings.NewReader(body))
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	r.handler.ServeHTTP(recorder, request)
	if recorder.Code < 300 {
		request.Body = io.NopCloser(strings.NewReader(body))
		if ok, errs := r.check.ValidateHttpRequest(request); !ok {
			for _, e := range errs {
				r.Errorf("%s %s is not as the OpenAPI document says: %s: %s %v", method, path, e.Message, e.Reason, e.SchemaValidationErrors)
			}
		}
	}
	manyValues := recorder.Header().Get("Content-Type") == linesMedia // which the validator takes for one
	if recorder.Code != http.StatusNotModified && recorder.Code != http.StatusMethodNotAllowed && !manyValues {
		response := recorder.Result()
		response.Body = io.NopCloser(bytes.NewReader(recorder.Body.Bytes()))
		if ok, errs := r.check.GetResponseBodyValidator().ValidateResponseBody(request, response); !ok && !unrouted(recorder) {
			for _, e := range errs {
				r.Errorf("the answer to %s %s is not as the OpenAPI document says: %s: %s %v\n%s", method, path, e.Message, e.Reason, e.SchemaValidationErrors, recorder.Body)
			}
		}
	}
	return reply{recorder, r.T}
}

// unrouted says whether an answer is to a path that the document doesn't have.
func unrouted(r *httptest.ResponseRecorder) bool {
	return strings.Contains(r.Body.String(), `"route_not_found"`)
}

func (r reply) want(status int) reply {
	r.t.Helper()
	if r.Code != status {
		r.t.Fatalf("status is %d, want %d: %s", r.Code, status, r.Body)
	}
	return r
}

func (r reply) problem(status int, code handlers.Code) Problem {
	r.t.Helper()
	r.want(status)
	var p Problem
	if err := json.Unmarshal(r.Body.Bytes(), &p); err != nil {
		r.t.Fatal(err)
	}
	if p.Code != code || r.Header().Get("Content-Type") != "application/problem+json" {
		r.t.Errorf("problem is %+v of type %s, want code %s", p, r.Header().Get("Content-Type"), code)
	}
	return p
}

func decode[A any](r reply) A {
	r.t.Helper()
	var a A
	if err := json.Unmarshal(r.Body.Bytes(), &a, jsonOptions); err != nil {
		r.t.Fatalf("%v: %s", err, r.Body)
	}
	return a
}

// same compares JSON, whatever its order and spaces.
func same(t *testing.T, got, want string) {
	t.Helper()
	normal := func(s string) string {
		v := jsontext.Value(s)
		if err := v.Canonicalize(); err != nil {
			t.Fatalf("%v: %s", err, s)
		}
		if err := v.Indent(); err != nil {
			t.Fatal(err)
		}
		return string(v)
	}
	if diff := cmp.Diff(normal(want), normal(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

const (
	digest = "634dbccd5a7ac3579f1902639eaf25ff0b7adfa2cec9cae9cbff007fb6b8cf62"

	wholeVersion = `{"semver":"2.1.0","source":"s3://models/fraud/1","format":"onnx",
		"artifacts":[{"path":"model.onnx","sha256":"` + digest + `","size":1234}],
		"run_id":"4f2a","code":{"repository":"https://example.com/fraud","commit":"9a1b"},
		"datasets":[{"name":"transactions","digest":"sha256:` + digest + `","role":"train"}],
		"parameters":{"C":"1.0"},"metrics":{"auc":0.91,"loss":"NaN"},
		"signature":{"inputs":[{"name":"X","shape":[-1,30]}],"outputs":[{"name":"p"}]},
		"tags":{"team":"risk"},"description":"first"}`
)

// seed registers fraud with one version, which is champion, in production, and
// runs on prod/scorer.
func (r *registry) seed() {
	r.Helper()
	r.call("POST", "/v1/models", `{"name":"fraud"}`, "Modelog-Actor", "mara").want(201)
	r.call("POST", "/v1/models/fraud/versions", wholeVersion, "Modelog-Actor", "mara").want(201)
	r.call("PUT", "/v1/models/fraud/aliases/champion", `{"version":1}`).want(200)
	r.call("POST", "/v1/models/fraud/versions/1/promote", `{"to":"production","reason":"good"}`).want(200)
	r.call("PUT", "/v1/targets/prod/scorer", `{}`).want(200)
	r.call("POST", "/v1/targets/prod/scorer/deploy", `{"model":"fraud","ref":"@champion"}`).want(200)
}

func TestWhoBringsVersionsAlongGivesTheirNumbersAndTimes(t *testing.T) {
	r := newRegistry(t)
	then := func(at string) []string { return []string{"Modelog-Occurred-Time", at} }
	r.call("POST", "/v1/models", `{"name":"fraud"}`, then("2021-03-04T05:06:07.8Z")...).want(201)
	made := r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x","version":7,"run_id":"b4f1",
		"run_link":"https://tracker.example.org/#/runs/b4f1","logged_model":"m-5a0c"}`, then("2021-03-04T06:06:07+01:00")...).want(201)
	shown := decode[Version](made)
	if shown.Version != 7 || shown.RunLink != "https://tracker.example.org/#/runs/b4f1" || shown.LoggedModel != "m-5a0c" ||
		shown.CreatedAt != "2021-03-04T05:06:07.000Z" || shown.UpdatedAt != shown.CreatedAt {
		t.Errorf("got %+v", shown)
	}
	same(t, r.call("GET", "/v1/models/fraud/versions/7", "").want(200).Body.String(), made.Body.String())
	list := decode[VersionList](r.call("GET", "/v1/models/fraud/versions", "").want(200))
	if len(list.Versions) != 1 || list.Versions[0].RunLink != shown.RunLink || list.Versions[0].LoggedModel != shown.LoggedModel {
		t.Errorf("the list is %+v", list)
	}
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x","version":7}`).problem(409, handlers.CodeVersionNumberTaken)
	if next := decode[Version](r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`).want(201)); next.Version != 8 {
		t.Errorf("the next number is %d", next.Version)
	}
	m := decode[Model](r.call("GET", "/v1/models/fraud", "").want(200))
	if m.CreatedAt != "2021-03-04T05:06:07.800Z" || m.UpdatedAt <= m.CreatedAt {
		t.Errorf("the model was created at %s and updated at %s", m.CreatedAt, m.UpdatedAt)
	}
	if e := r.call("GET", "/v1/events/2", "").want(200).Body.String(); !strings.Contains(e, `"occurredtime":"2021-03-04T05:06:07.800Z"`) {
		t.Errorf("the event is %s", e)
	}
	// What was known when goes by what was recorded.
	r.call("GET", "/v1/models/fraud?as_of=2021-03-05T00:00:00Z", "").problem(404, handlers.CodeModelNotFound)
	for _, bad := range []string{"", "yesterday", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2999-01-01T00:00:00Z", "2021-03-04"} {
		p := r.call("POST", "/v1/models", `{"name":"other"}`, then(bad)...).problem(400, handlers.CodeInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != "Modelog-Occurred-Time" {
			t.Errorf("%q: %+v", bad, p)
		}
	}
	soon := events.FormatTime(r.clock.Now().Add(1_500 * time.Millisecond)) // the clock is a second further by then
	r.call("DELETE", "/v1/models/fraud", "", then(soon)...).want(204)
}

func TestOnlySomeChangesMoveTheTimeOfTheLastOne(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	get := func() Version {
		t.Helper()
		return decode[Version](r.call("GET", "/v1/models/fraud/versions/1", "").want(200))
	}
	before := get()
	r.call("PATCH", "/v1/models/fraud/versions/1", `{"tags":{"a":"b"}}`).want(200)
	r.call("PUT", "/v1/models/fraud/aliases/other", `{"version":1}`).want(200)
	tagged := get()
	if tagged.UpdatedAt != before.UpdatedAt || tagged.Sequence <= before.Sequence {
		t.Errorf("tags move updated_at from %s to %s, and the sequence from %d to %d", before.UpdatedAt, tagged.UpdatedAt, before.Sequence, tagged.Sequence)
	}
	r.call("POST", "/v1/models/fraud/rename", `{"to":"other"}`).want(200)
	renamed := decode[Version](r.call("GET", "/v1/models/other/versions/1", "").want(200))
	if m := decode[Model](r.call("GET", "/v1/models/other", "").want(200)); renamed.UpdatedAt <= before.UpdatedAt || renamed.UpdatedAt != m.UpdatedAt {
		t.Errorf("a renaming at %s is shown at its version as %s", m.UpdatedAt, renamed.UpdatedAt)
	}
}

func TestTheFiveActionsGiveTheShapesOfTheInterface(t *testing.T) {
	r := newRegistry(t)
	r.seed()

	version := r.call("GET", "/v1/models/fraud/versions/@champion", "").want(200)
	shown := decode[Version](version)
	if !strings.HasPrefix(shown.CreatedBy, "prn_") || len(shown.CreatedBy) != len("prn_")+26 {
		t.Errorf("created_by is %q", shown.CreatedBy)
	}
	same(t, version.Body.String(), `{"model":"fraud","model_id":"`+shown.ModelID+`","version":1,"semver":"2.1.0","stage":"Production",
		"aliases":["champion"],"source":"s3://models/fraud/1","format":"onnx",
		"artifacts":[{"path":"model.onnx","sha256":"`+digest+`","size":1234}],
		"run_id":"4f2a","code":{"repository":"https://example.com/fraud","commit":"9a1b"},
		"datasets":[{"name":"transactions","digest":"sha256:`+digest+`","role":"train"}],
		"parameters":{"C":"1.0"},"metrics":{"auc":0.91,"loss":"NaN"},
		"signature":{"inputs":[{"name":"X","shape":[-1,30]}],"outputs":[{"name":"p"}]},
		"tags":{"team":"risk"},"description":"first","deployed_to":["prod/scorer"],
		"created_at":"`+shown.CreatedAt+`","updated_at":"`+shown.UpdatedAt+`","created_by":"`+shown.CreatedBy+`","sequence":7}`)
	if version.Header().Get("ETag") != `"7"` || version.Header().Get("Modelog-Sequence") != "7" {
		t.Errorf("headers are %v", version.Header())
	}

	model := r.call("GET", "/v1/models/fraud", "").want(200)
	m := decode[Model](model)
	same(t, model.Body.String(), `{"id":"`+shown.ModelID+`","name":"fraud","description":"","tags":{},
		"lifecycle":{"stages":["None","Staging","Production","Archived"],"archive":"Archived","transitions":"any","exclusive":[]},
		"aliases":{"champion":1},"latest_version":1,"created_at":"`+m.CreatedAt+`","updated_at":"`+m.UpdatedAt+`","created_by":"`+shown.CreatedBy+`","sequence":5}`)

	target := r.call("GET", "/v1/targets/prod/scorer", "").want(200)
	to := decode[Target](target)
	same(t, target.Body.String(), `{"id":"`+to.ID+`","environment":"prod","name":"scorer","description":"","strategy":"all_at_once",
		"variants":[{"model":"fraud","model_id":"`+shown.ModelID+`","version":1,"role":"champion","weight":10000}],
		"generation":7,"deployed_at":"`+to.DeployedAt+`","sequence":7}`)

	event := r.call("GET", "/v1/events/5", "").want(200)
	e := decode[map[string]jsontext.Value](event)
	same(t, event.Body.String(), `{"specversion":"1.0","id":`+string(e["id"])+`,"source":`+string(e["source"])+`,
		"type":"dev.modelog.version.promoted.v1","subject":"models/fraud/versions/1","time":`+string(e["time"])+`,
		"sequence":"00000000000000000005","partitionkey":"`+shown.ModelID+`","correlationid":`+string(e["correlationid"])+`,
		"datacontenttype":"application/json","dataschema":"https://modelog.dev/schemas/version/promoted/v1.json",
		"data":{"model_id":"`+shown.ModelID+`","version":1,"from":"None","to":"Production","reason":"good"}}`)
}

func TestCreatedResourcesAreWhereLocationSays(t *testing.T) {
	r := newRegistry(t)
	created := r.call("POST", "/v1/models", `{"name":"Größe 100% & mehr"}`).want(201)
	location := created.Header().Get("Location")
	if want := "/v1/models/Gr%C3%B6%C3%9Fe%20100%25%20&%20mehr"; location != want {
		t.Errorf("Location is %s, want %s", location, want)
	}
	same(t, r.call("GET", location, "").want(200).Body.String(), created.Body.String())
	version := r.call("POST", location+"/versions", `{"source":"s3://x"}`).want(201)
	same(t, r.call("GET", version.Header().Get("Location"), "").want(200).Body.String(), version.Body.String())
}

func TestNamesAreOneInAnyNormalForm(t *testing.T) {
	r := newRegistry(t)
	r.call("POST", "/v1/models", `{"name":"cafe\u0301"}`).want(201)
	r.call("POST", "/v1/models", `{"name":"caf\u00e9"}`).problem(409, handlers.CodeModelExists)
	for _, name := range []string{"cafe\u0301", "caf\u00e9"} {
		if m := decode[Model](r.call("GET", "/v1/models/"+url.PathEscape(name), "").want(200)); m.Name != "caf\u00e9" {
			t.Errorf("%q is shown as %q", name, m.Name)
		}
	}
}

func TestARepeatedKeyIsOneEvent(t *testing.T) {
	r := newRegistry(t)
	r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
	first := r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`, "Idempotency-Key", `"k1"`).want(201)
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://y"}`).want(201)
	again := r.call("POST", "/v1/models/fraud/versions", `{ "source": "s3://x" }`, "Idempotency-Key", "k1").want(201)
	same(t, again.Body.String(), first.Body.String())
	if got, want := again.Header().Get("Modelog-Sequence"), first.Header().Get("Modelog-Sequence"); got != want {
		t.Errorf("the second answer names sequence %s, the first %s", got, want)
	}
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://z"}`, "Idempotency-Key", "k1").problem(422, handlers.CodeKeyReused)
	if s := decode[State](r.call("GET", "/v1/state", "").want(200)); s.Sequence != 4 {
		t.Errorf("the log has %d events, want 4", s.Sequence)
	}
}

func TestPreconditionsCompareWithWhatIsThere(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`).want(201)
	etag := r.call("GET", "/v1/models/fraud/versions/2", "").want(200).Header().Get("ETag")
	r.call("POST", "/v1/models/fraud/versions/2/promote", `{"to":"Staging"}`, "If-Match", `"1"`).problem(412, handlers.CodePreconditionFailed)
	r.call("POST", "/v1/models/fraud/versions/2/promote", `{"to":"Staging"}`, "If-Match", etag).want(200)
	r.call("POST", "/v1/models/fraud/versions/2/promote", `{"to":"None"}`, "If-Match", etag).problem(412, handlers.CodePreconditionFailed)
	r.call("POST", "/v1/models/fraud/versions/2/promote", `{"to":"None"}`, "If-Match", "W/x").problem(400, handlers.CodeInvalid)
	r.call("PUT", "/v1/models/fraud/aliases/champion", `{"version":2,"if_version":2}`).problem(412, handlers.CodePreconditionFailed)
	r.call("PUT", "/v1/models/fraud/aliases/champion", `{"version":2,"if_version":1}`).want(200)
	r.call("PUT", "/v1/models/fraud/aliases/champion", `{"version":1,"if_version":0}`).problem(412, handlers.CodePreconditionFailed)
	r.call("POST", "/v1/targets/prod/scorer/deploy", `{"model":"fraud","ref":"2","if_generation":3}`).problem(412, handlers.CodePreconditionFailed)
	r.call("POST", "/v1/targets/prod/scorer/deploy", `{"model":"fraud","ref":"2","if_generation":7}`).want(200)
}

func TestAnETagAnswersNotModifiedUntilSomethingShownChanges(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	const version = "/v1/models/fraud/versions/1"
	etag := r.call("GET", version, "").want(200).Header().Get("ETag")
	if got := r.call("GET", version, "", "If-None-Match", etag).want(304); got.Body.Len() > 0 {
		t.Errorf("a 304 has a body: %s", got.Body)
	}
	r.call("PUT", "/v1/models/fraud/aliases/best", `{"version":1}`).want(200)
	r.call("GET", version, "", "If-None-Match", etag).want(200)
}

func TestReadsAnswerAsOfAnyMoment(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	promoted := decode[map[string]any](r.call("GET", "/v1/events/5", "").want(200))["time"].(string)
	r.call("POST", "/v1/models/fraud/versions/1/promote", `{"to":"Archived"}`).want(200)
	for asOf, stage := range map[string]string{"3": "None", "5": "Production", promoted: "Production", "": "Archived"} {
		query := ""
		if asOf != "" {
			query = "?as_of=" + url.QueryEscape(asOf)
		}
		got := r.call("GET", "/v1/models/fraud/versions/1"+query, "").want(200)
		if v := decode[Version](got); v.Stage != stage {
			t.Errorf("as of %q the stage is %s, want %s", asOf, v.Stage, stage)
		}
		if asOf == promoted && got.Header().Get("Modelog-Sequence") != "5" {
			t.Errorf("%s resolves to sequence %s, want 5", asOf, got.Header().Get("Modelog-Sequence"))
		}
	}
	r.call("GET", "/v1/models/fraud?as_of=1", "").problem(404, handlers.CodeModelNotFound)
	r.call("GET", "/v1/models/fraud?as_of=2020-01-01T00:00:00Z", "").problem(404, handlers.CodeModelNotFound)
	for _, asOf := range []string{"99", "2999-01-01T00:00:00Z", "yesterday", "-1"} {
		p := r.call("GET", "/v1/models/fraud?as_of="+asOf, "").problem(400, handlers.CodeInvalid)
		if p.Errors[0].Pointer != "as_of" {
			t.Errorf("as_of=%s is refused for %s", asOf, p.Errors[0].Pointer)
		}
	}
}

func TestAReadWaitsForTheSequenceThatItNames(t *testing.T) {
	r := newRegistry(t)
	r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
	read := make(chan reply)
	go func() { read <- r.call("GET", "/v1/models/fraud/versions/1", "", "Modelog-Min-Sequence", "3") }()
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`).want(201)
	(<-read).want(200)
	r.call("GET", "/v1/models/fraud", "", "Modelog-Min-Sequence", "soon").problem(400, handlers.CodeInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // stands in for the 5 s that the wait may take
	request := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/v1/models/fraud", nil)
	request.Header.Set("Modelog-Min-Sequence", "99")
	recorder := httptest.NewRecorder()
	r.handler.ServeHTTP(recorder, request)
	p := reply{recorder, t}.problem(503, handlers.CodeSequenceNotReached)
	if !strings.Contains(p.Detail, "the state is at 3") {
		t.Errorf("the detail is %q", p.Detail)
	}
}

func TestPagesStayAtTheSequenceOfTheFirst(t *testing.T) {
	r := newRegistry(t)
	for i := range 7 {
		r.call("POST", "/v1/models", `{"name":"m`+strconv.Itoa(2*i)+`"}`).want(201)
	}
	var names []string
	cursor := ""
	for {
		page := decode[ModelList](r.call("GET", "/v1/models?limit=3"+cursor, "").want(200))
		for _, m := range page.Models {
			names = append(names, m.Name)
		}
		if page.NextCursor == "" {
			break
		}
		// Written between the pages, before and after where they are.
		r.call("POST", "/v1/models", `{"name":"a`+strconv.Itoa(len(names))+`"}`).want(201)
		r.call("POST", "/v1/models", `{"name":"z`+strconv.Itoa(len(names))+`"}`).want(201)
		cursor = "&cursor=" + page.NextCursor
	}
	if diff := cmp.Diff([]string{"m0", "m10", "m12", "m2", "m4", "m6", "m8"}, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, bad := range []string{"x", "e30", strings.Repeat("A", 1000)} {
		r.call("GET", "/v1/models?cursor="+bad, "").problem(400, handlers.CodeInvalid)
	}
	page := decode[ModelList](r.call("GET", "/v1/models?limit=1", "").want(200))
	r.call("GET", "/v1/targets?cursor="+page.NextCursor, "").problem(400, handlers.CodeInvalid)
	for _, bad := range []string{"0", "1001", "x"} {
		r.call("GET", "/v1/models?limit="+bad, "").problem(400, handlers.CodeInvalid)
	}
}

func TestListsOfVersionsTargetsAndEventsPageToTheirEnd(t *testing.T) {
	r := newRegistry(t)
	r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
	for i := range 5 {
		r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`).want(201)
		r.call("PUT", "/v1/targets/prod/t"+strconv.Itoa(i), `{}`).want(200)
	}
	var versions []int
	for cursor, more := "", true; more; more = cursor != "" {
		page := decode[VersionList](r.call("GET", "/v1/models/fraud/versions?limit=2"+cursor, "").want(200))
		for _, v := range page.Versions {
			versions = append(versions, v.Version)
		}
		if cursor = page.NextCursor; cursor != "" {
			cursor = "&cursor=" + cursor
		}
	}
	if diff := cmp.Diff([]int{5, 4, 3, 2, 1}, versions); diff != "" {
		t.Errorf("versions -want +got:\n%s", diff)
	}
	var targets []string
	for cursor, more := "", true; more; more = cursor != "" {
		page := decode[TargetList](r.call("GET", "/v1/targets?limit=2"+cursor, "").want(200))
		for _, target := range page.Targets {
			targets = append(targets, target.Name)
		}
		if cursor = page.NextCursor; cursor != "" {
			cursor = "&cursor=" + cursor
		}
	}
	if diff := cmp.Diff([]string{"t0", "t1", "t2", "t3", "t4"}, targets); diff != "" {
		t.Errorf("targets -want +got:\n%s", diff)
	}
	var sequences []string
	for cursor, more := "", true; more; more = cursor != "" {
		page := decode[EventList](r.call("GET", "/v1/events?after=2&limit=4"+cursor, "").want(200))
		for _, raw := range page.Events {
			var e struct {
				Sequence string `json:"sequence"`
			}
			if err := json.Unmarshal(raw, &e); err != nil {
				t.Fatal(err)
			}
			sequences = append(sequences, strings.TrimLeft(e.Sequence, "0"))
		}
		if cursor = page.NextCursor; cursor != "" {
			cursor = "&cursor=" + cursor
		}
	}
	if diff := cmp.Diff([]string{"3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}, sequences); diff != "" {
		t.Errorf("events -want +got:\n%s", diff)
	}
}

func TestBulkyDetailsComeFromTheLog(t *testing.T) {
	r := newRegistry(t)
	r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
	var artifacts []string
	for i := range 50 {
		artifacts = append(artifacts, `{"path":"part-`+strconv.Itoa(i)+`","sha256":"`+digest+`","size":1}`)
	}
	body := `{"source":"s3://x","artifacts":[` + strings.Join(artifacts, ",") + `],"metrics":{"auc":1}}`
	r.call("POST", "/v1/models/fraud/versions", body).want(201)
	v := decode[Version](r.call("GET", "/v1/models/fraud/versions/latest", "").want(200))
	if len(v.Artifacts) != 50 || v.Artifacts[49].Path != "part-49" || v.Metrics["auc"] != 1 {
		t.Errorf("the version shows %d artifacts and metrics %v", len(v.Artifacts), v.Metrics)
	}
}

func TestAnActorIsAnOpaqueIDInEveryAnswer(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	first := decode[map[string]any](r.call("GET", "/v1/events/2", "").want(200))["authid"]
	second := decode[map[string]any](r.call("GET", "/v1/events/3", "").want(200))["authid"]
	if first != second || first == nil {
		t.Errorf("mara is %v and then %v", first, second)
	}
	if log := r.call("GET", "/v1/events", "").want(200).Body.String(); strings.Contains(log, "mara") {
		t.Error("the name of an actor is in the log")
	}
	r.call("POST", "/v1/models", `{"name":"x"}`, "Modelog-Actor", "a\u200bb").problem(400, handlers.CodeInvalid)
}

// A request that is wrong in itself brings nobody into the directory; one that
// the state refuses does.
func TestARefusedRequestBringsNobodyIntoTheDirectory(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	for name, send := range map[string]func(actor string){
		"a bad body": func(actor string) {
			r.call("POST", "/v1/models", `{"name":`, "Modelog-Actor", actor).problem(400, handlers.CodeInvalid)
		},
		"a bad field": func(actor string) {
			r.call("POST", "/v1/models", `{"name":"a/b"}`, "Modelog-Actor", actor).problem(400, handlers.CodeInvalid)
		},
		"a bad key": func(actor string) {
			r.call("POST", "/v1/models", `{"name":"x"}`, "Modelog-Actor", actor, "Idempotency-Key", "two words").problem(400, handlers.CodeInvalid)
		},
		"an empty key": func(actor string) {
			r.call("POST", "/v1/models", `{"name":"x"}`, "Modelog-Actor", actor, "Idempotency-Key", "").problem(400, handlers.CodeInvalid)
		},
		"no ETag": func(actor string) {
			r.call("POST", "/v1/models", `{"name":"x"}`, "Modelog-Actor", actor, "If-Match", "yesterday").problem(400, handlers.CodeInvalid)
		},
		"a bad query": func(actor string) {
			r.call("DELETE", "/v1/models/fraud?all=true", "", "Modelog-Actor", actor).problem(400, handlers.CodeInvalid)
		},
		"a reason of 4 k": func(actor string) {
			r.call("DELETE", "/v1/models/fraud?reason="+strings.Repeat("a", handlers.MaxReason+1), "", "Modelog-Actor", actor).problem(400, handlers.CodeInvalid)
		},
	} {
		send("anna, with " + name)
	}
	list := decode[PrincipalList](r.call("GET", "/v1/principals", "").want(200))
	if len(list.Principals) != 1 || list.Principals[0].Name != "mara" {
		t.Errorf("the directory has %v, want mara alone", list.Principals)
	}
}

func TestAnErasedPrincipalIsAnOpaqueIDForEver(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	r.call("POST", "/v1/models", `{"name":"second"}`, "Modelog-Actor", "b/e n").want(201)
	list := decode[PrincipalList](r.call("GET", "/v1/principals", "").want(200)).Principals
	if len(list) != 2 || list[0].Name != "b/e n" || list[1].Name != "mara" || list[1].CreatedAt == "" {
		t.Fatalf("the directory has %+v", list)
	}
	before := r.call("GET", "/v1/events", "").want(200).Body.String()
	if got := decode[Erased](r.call("DELETE", "/v1/principals/mara", "").want(200)); got.ID != list[1].ID {
		t.Errorf("erased %+v, want %+v", got, list[1])
	}
	r.call("DELETE", "/v1/principals/mara", "").problem(404, handlers.CodePrincipalNotFound)
	r.call("DELETE", "/v1/principals/"+list[1].ID, "").problem(404, handlers.CodePrincipalNotFound)
	if got := decode[Erased](r.call("DELETE", "/v1/principals/b%2Fe%20n", "").want(200)); got.ID != list[0].ID {
		t.Errorf("erased %+v, want %+v", got, list[0])
	}
	same(t, r.call("GET", "/v1/principals", "").want(200).Body.String(), `{"principals":[]}`)
	same(t, r.call("GET", "/v1/events", "").want(200).Body.String(), before)
	r.call("GET", "/v1/principals?as_of=1", "").problem(400, handlers.CodeInvalid)
	r.call("DELETE", "/v1/principals/mara?force=true", "").problem(400, handlers.CodeInvalid)
}

func TestAWrongTypeIsToldWhatTheRightOneIs(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	for _, c := range []struct{ method, path, body, detail string }{
		{"PATCH", "/v1/models/fraud", `{"description":1}`, "/description must be a string or null"},
		{"PATCH", "/v1/models/fraud", `{"tags":[]}`, "/tags must be an object or null"},
		{"PATCH", "/v1/models/fraud", `{"tags":{"a":[]}}`, "/tags/a must be a string or null"},
		{"PUT", "/v1/models/fraud/lifecycle", `{"stages":["A","B"],"archive":"B","transitions":"some"}`, `/transitions must be "any" or an array of pairs`},
		{"POST", "/v1/models/fraud/versions", `{"source":"s3://x","metrics":{"auc":"high"}}`, `/metrics/auc must be a number, "NaN", "Infinity" or "-Infinity"`},
	} {
		p := decode[Problem](r.call(c.method, c.path, c.body).want(400))
		if p.Detail != c.detail {
			t.Errorf("%s says %q, want %q", c.body, p.Detail, c.detail)
		}
	}
}

func TestTheStateHasADigestOnRequest(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	if s := decode[State](r.call("GET", "/v1/state", "").want(200)); s.Digest != nil || s.Sequence != 7 || s.Level != 1 {
		t.Errorf("the state is %+v, want sequence 7 without a digest", s)
	}
	computed := decode[State](r.call("GET", "/v1/state?compute=true&as_of=5", "").want(200))
	if computed.Digest == nil || computed.Digest.Sequence != 5 || len(computed.Digest.SHA256) != 64 {
		t.Fatalf("the state is %+v, want a digest as of 5", computed)
	}
	if s := decode[State](r.call("GET", "/v1/state", "").want(200)); s.Digest == nil || *s.Digest != *computed.Digest {
		t.Errorf("the last digest is %+v, want %+v", s.Digest, computed.Digest)
	}
	r.call("GET", "/v1/state?compute=maybe", "").problem(400, handlers.CodeInvalid)
}

func TestOperationsAnswer(t *testing.T) {
	r := newRegistry(t)
	for _, path := range []string{"/healthz", "/health", "/readyz"} {
		same(t, r.call("GET", path, "").want(200).Body.String(), `{"status":"ok"}`)
	}
	if v := decode[Release](r.call("GET", "/version", "").want(200)); v.Release != "test" {
		t.Errorf("the version is %+v", v)
	}
	if got := r.call("GET", "/schemas/version/promoted/v1.json", "").want(200).Body.String(); !strings.Contains(got, `"$id"`) {
		t.Errorf("the schema is %s", got)
	}
	r.call("GET", "/schemas/version/promoted/v9.json", "").problem(404, handlers.CodeRouteNotFound)
	r.call("GET", "/openapi.json", "").want(200)
}
