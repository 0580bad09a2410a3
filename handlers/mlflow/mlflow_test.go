package mlflow

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry is a whole registry without a listener.
type registry struct {
	*testing.T
	handler   http.Handler
	server    *Server
	run       *runner.Runner
	log       events.Log
	directory *principals.Directory
	logged    *strings.Builder
	vault     *vault.Vault
	sent      *sender
}

// sender notes what is sent, and answers what it is told to.
type sender struct {
	requests []webhooks.Request
	answer   webhooks.Result
}

func (s *sender) Exchange(_ context.Context, r webhooks.Request) webhooks.Exchange {
	s.requests = append(s.requests, r)
	return webhooks.Exchange{Result: s.answer}
}

type options struct {
	denyLocal bool
	deadline  time.Duration
	wrap      func(events.Log) events.Log
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

func newRegistry(t *testing.T, o options) *registry {
	t.Helper()
	opened, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	var log events.Log = opened
	clock := &clock{now: time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)}
	run := runner.New(log)
	logged := &strings.Builder{}
	logger := slog.New(slog.NewTextHandler(logged, nil))
	var count uint64
	var lock sync.Mutex
	newID := func(at time.Time) ulid.ULID {
		lock.Lock()
		defer lock.Unlock()
		count++
		var id ulid.ULID
		_ = id.SetTime(ulid.Timestamp(at)) // a time of this century fits
		id[14], id[15] = byte(count>>8), byte(count)
		return id
	}
	if o.wrap != nil {
		log = o.wrap(log)
	}
	registrar, err := handlers.Start(t.Context(), handlers.Config{
		Log: log, Runner: run, Now: clock.Now, NewID: newID, Jitter: rand.Float64, Logger: slog.New(slog.DiscardHandler), Deadline: o.deadline,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registrar.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	directory, err := principals.Open(t.Context(), principals.Config{JetStream: opened.JetStream, Now: clock.Now, NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	key, err := vault.NewKey([]byte("the key of the tests, 32 bytes.."))
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := vault.Open(t.Context(), vault.Config{JetStream: opened.JetStream, Key: key, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	sent := &sender{answer: webhooks.Result{Status: http.StatusOK, Body: []byte("thanks")}}
	server := New(Config{
		Registrar: registrar, Runner: run, Principals: directory, Now: clock.Now, DenyLocalSources: o.denyLocal, Logger: logger,
		Vault: secrets, NewID: newID, Sender: sent,
	})
	return &registry{
		T: t, server: server, run: run, log: log, directory: directory, logged: logged, vault: secrets, sent: sent,
		handler: api.New(api.Config{
			Registrar: registrar, Runner: run, Log: log, Principals: directory, Now: clock.Now, NewID: newID,
			Vault: secrets, Release: "test", Logger: logger, Metrics: prometheus.NewRegistry(), Mounts: server.Mounts(),
		}),
	}
}

// call sends "METHOD path" with a body and headers given as pairs. A path without a
// slash is below the clients' prefix.
func (r *registry) call(request, body string, headers ...string) *httptest.ResponseRecorder {
	r.Helper()
	method, path, _ := strings.Cut(request, " ")
	if !strings.HasPrefix(path, "/") {
		path = prefixes[0] + path
	}
	req := httptest.NewRequestWithContext(r.Context(), method, "http://localhost:7670"+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	r.handler.ServeHTTP(recorder, req)
	return recorder
}

// must sends requests, each with its body after a space, that must succeed.
func (r *registry) must(requests ...string) string {
	r.Helper()
	last := ""
	for _, request := range requests {
		method, rest, _ := strings.Cut(request, " ")
		path, body, _ := strings.Cut(rest, " ")
		got := r.call(method+" "+path, body)
		if got.Code >= 300 {
			r.Fatalf("%s: %d %s", request, got.Code, got.Body)
		}
		last = got.Body.String()
	}
	return last
}

// holds compares JSON: the members of objects that are wanted, and whole lists.
func (r *registry) holds(got, want string) {
	r.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		r.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		r.Fatalf("%v: %s", err, want)
	}
	if diff := cmp.Diff(w, only(w, g)); diff != "" {
		r.Errorf("wanted -, got +:\n%s", diff)
	}
}

// only leaves of an answer what is wanted.
func only(want, got any) any {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(w) == 0 {
			return got
		}
		left := map[string]any{}
		for k, v := range w {
			if found, ok := g[k]; ok {
				left[k] = only(v, found)
			}
		}
		return left
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return got
		}
		left := make([]any, len(g))
		for i := range g {
			left[i] = only(w[i], g[i])
		}
		return left
	default:
		return got
	}
}

const (
	model    = `POST registered-models/create {"name":"fraud","description":"finds it","tags":[{"key":"team","value":"risk"},{"key":"team","value":"pay"}]}`
	versions = `POST model-versions/create {"name":"fraud","source":"s3://b/1","run_id":"r1","run_link":"https://t/r1","tags":[{"key":"k","value":"v"}]}` +
		"\n" + `POST model-versions/create {"name":"fraud","source":"s3://b/2"}` +
		"\n" + `POST model-versions/create {"name":"fraud","source":"s3://b/3","description":"third"}`
)

func withVersions() []string { return append([]string{model}, strings.Split(versions, "\n")...) }

var rpcCases = []struct {
	name  string
	given []string
	ask   string
	want  string
}{
	{
		"a model comes back with the last of the tags that have the same key", nil, model,
		`{"registered_model":{"name":"fraud","description":"finds it","tags":[{"key":"team","value":"pay"}]}}`,
	},
	{
		"a version comes back ready, with the texts that clients look for",
		[]string{model},
		`POST model-versions/create {"name":"fraud","source":"s3://b/1"}`,
		`{"model_version":{"name":"fraud","version":"1","current_stage":"None","description":"","source":"s3://b/1","run_id":"","run_link":"","status":"READY"}}`,
	},
	{
		"a version keeps its run, its link, its logged model and its tags",
		[]string{model},
		`POST model-versions/create {"name":"fraud","source":"models:/m-1","run_id":"r1","runLink":"https://t/r1","model_id":"m-1","tags":[{"key":"a"}]}`,
		`{"model_version":{"source":"models:/m-1","run_id":"r1","run_link":"https://t/r1","model_id":"m-1","tags":[{"key":"a","value":""}]}}`,
	},
	{
		"a source that is a logged model is echoed, and says which one it is",
		[]string{model, `POST model-versions/create {"name":"fraud","source":"models:/m-77"}`},
		`GET model-versions/get?name=fraud&version=1`, `{"model_version":{"source":"models:/m-77","model_id":"m-77"}}`,
	},
	{"a version's number may have zeros and spaces", withVersions(), `GET model-versions/get?name=fraud&version=%2002`, `{"model_version":{"version":"2"}}`},
	{"a version tells its run", withVersions(), `GET model-versions/get?name=fraud&version=1`, `{"model_version":{"run_id":"r1","run_link":"https://t/r1"}}`},
	{
		"a renamed model has its versions under the new name",
		append(withVersions(), `POST registered-models/rename {"name":"fraud","new_name":"risk"}`),
		`GET model-versions/get?name=risk&version=1`, `{"model_version":{"name":"risk"}}`,
	},
	{
		"renaming answers with the model",
		[]string{model},
		`POST registered-models/rename {"name":"fraud","new_name":"risk"}`,
		`{"registered_model":{"name":"risk"}}`,
	},
	{
		"a model's description is changed",
		[]string{model},
		`PATCH registered-models/update {"name":"fraud","description":"new"}`,
		`{"registered_model":{"description":"new"}}`,
	},
	{
		"a version's description is cleared when none is given", withVersions(), `PATCH model-versions/update {"name":"fraud","version":"3"}`,
		`{"model_version":{"description":""}}`,
	},
	{"a model is gone with its versions and aliases", append(withVersions(),
		`POST registered-models/alias {"name":"fraud","alias":"a","version":"1"}`), `DELETE registered-models/delete {"name":"fraud"}`, `{}`},
	{
		"numbers begin again under a new model of the same name", append(withVersions(), `DELETE registered-models/delete {"name":"fraud"}`, model),
		`POST model-versions/create {"name":"fraud","source":"s3://b/9"}`, `{"model_version":{"version":"1"}}`,
	},
	{
		"the number of a deleted version is not used again", append(withVersions(), `DELETE model-versions/delete {"name":"fraud","version":"3"}`),
		`POST model-versions/create {"name":"fraud","source":"s3://b/9"}`, `{"model_version":{"version":"4"}}`,
	},
	{
		"a stage is found whatever its case", withVersions(), `POST model-versions/transition-stage {"name":"fraud","version":"1","stage":"pRoduction"}`,
		`{"model_version":{"current_stage":"Production"}}`,
	},
	{
		"the others in a stage are archived along", append(withVersions(),
			`POST model-versions/transition-stage {"name":"fraud","version":"1","stage":"Production"}`,
			`POST model-versions/transition-stage {"name":"fraud","version":"2","stage":"Production","archive_existing_versions":true}`),
		`GET model-versions/get?name=fraud&version=1`, `{"model_version":{"current_stage":"Archived"}}`,
	},
	{
		"the latest versions are the highest of each stage, with their aliases", append(withVersions(),
			`POST model-versions/transition-stage {"name":"fraud","version":"1","stage":"Production"}`,
			`POST registered-models/alias {"name":"fraud","alias":"champ","version":"1"}`),
		`POST registered-models/get-latest-versions {"name":"fraud"}`,
		`{"model_versions":[{"version":"3"},{"version":"1","aliases":["champ"]}]}`,
	},
	{
		"the latest versions of some stages, over GET", append(withVersions(),
			`POST model-versions/transition-stage {"name":"fraud","version":"1","stage":"Production"}`),
		`GET registered-models/get-latest-versions?name=fraud&stages=production&stages=Staging`, `{"model_versions":[{"version":"1"}]}`,
	},
	{
		"a model shows its aliases and latest versions", append(withVersions(),
			`POST registered-models/alias {"name":"fraud","alias":"champ","version":"02"}`), `GET registered-models/get?name=fraud`,
		`{"registered_model":{"aliases":[{"alias":"champ","version":"2"}],"latest_versions":[{"version":"3"}]}}`,
	},
	{
		"an alias moves", append(withVersions(), `POST registered-models/alias {"name":"fraud","alias":"champ","version":"1"}`,
			`POST registered-models/alias {"name":"fraud","alias":"champ","version":"2"}`),
		`GET registered-models/alias?name=fraud&alias=champ`, `{"model_version":{"version":"2","aliases":["champ"]}}`,
	},
	{
		"latest is the newest version, not that of a stage", append(withVersions(),
			`POST model-versions/transition-stage {"name":"fraud","version":"1","stage":"Production"}`),
		`GET registered-models/alias?name=fraud&alias=Latest`, `{"model_version":{"version":"3"}}`,
	},
	{"removing an alias that isn't there is fine", []string{model}, `DELETE registered-models/alias {"name":"fraud","alias":"x"}`, `{}`},
	{
		"no alias dangles after its version is gone", append(withVersions(), `POST registered-models/alias {"name":"fraud","alias":"champ","version":"3"}`,
			`DELETE model-versions/delete {"name":"fraud","version":"3"}`, `POST registered-models/set-tag {"name":"fraud","key":"k","value":"v"}`),
		`GET registered-models/alias?name=fraud&alias=latest`, `{"model_version":{"version":"2"}}`,
	},
	{
		"tags of a model are set",
		[]string{model, `POST registered-models/set-tag {"name":"fraud","key":"a/b c","value":null}`},
		`GET registered-models/get?name=fraud`, `{"registered_model":{"tags":[{"key":"a/b c","value":""},{"key":"team","value":"pay"}]}}`,
	},
	{"tags of a model are removed", []string{
		model, `DELETE registered-models/delete-tag {"name":"fraud","key":"team"}`,
		`DELETE registered-models/delete-tag {"name":"fraud","key":"team"}`,
	}, `GET registered-models/get?name=fraud`, `{"registered_model":{"name":"fraud"}}`},
	{
		"tags of a version are set and removed", append(withVersions(), `POST model-versions/set-tag {"name":"fraud","version":"1","key":"n","value":"1"}`,
			`DELETE model-versions/delete-tag {"name":"fraud","version":"1","key":"k"}`),
		`GET model-versions/get?name=fraud&version=1`, `{"model_version":{"tags":[{"key":"n","value":"1"}]}}`,
	},
	{"the files of a version are where it says", withVersions(), `GET model-versions/get-download-uri?name=fraud&version=1`, `{"artifact_uri":"s3://b/1"}`},
	{
		"the files of a copy of a copy are where those of the first are, even when that is gone", append(withVersions(),
			`POST registered-models/create {"name":"copy"}`,
			`POST registered-models/alias {"name":"fraud","alias":"champ","version":"1"}`,
			`POST model-versions/create {"name":"copy","source":"models:/fraud@champ"}`,
			`POST model-versions/create {"name":"copy","source":"models:/copy/latest"}`,
			`DELETE registered-models/delete {"name":"fraud"}`),
		`GET model-versions/get-download-uri?name=copy&version=2`, `{"artifact_uri":"s3://b/1"}`,
	},
	{
		"a copy names the exact version, and has its run", append(withVersions(), `POST registered-models/create {"name":"copy"}`),
		`POST model-versions/create {"name":"copy","source":"models:/fraud/01"}`, `{"model_version":{"source":"models:/fraud/1","run_id":"r1"}}`,
	},
	{
		"a copy of a stage is of the highest version in it", append(withVersions(), `POST registered-models/create {"name":"copy"}`),
		`POST model-versions/create {"name":"copy","source":"models:/fraud/none"}`, `{"model_version":{"source":"models:/fraud/3"}}`,
	},
	{"a local source is stored", []string{model}, `POST model-versions/create {"name":"fraud","source":"/tmp/m"}`, `{"model_version":{"source":"/tmp/m"}}`},
	{
		"a prompt is a model with a tag",
		[]string{
			`POST registered-models/create {"name":"p","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}]}`,
		},
		`POST model-versions/create {"name":"p","source":"dummy-source","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"},{"key":"mlflow.prompt.text","value":"Hi"}]}`,
		`{"model_version":{"version":"1","source":"dummy-source"}}`,
	},
	{"prompts are hidden among the models", []string{
		model, `POST registered-models/create {"name":"p","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}]}`,
	}, `GET registered-models/search`, `{"registered_models":[{"name":"fraud"}]}`},
	{"prompts are found when they are asked for", []string{
		model, `POST registered-models/create {"name":"p","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}]}`,
	}, "GET registered-models/search?filter=tags.`mlflow.prompt.is_prompt`%20=%20'true'", `{"registered_models":[{"name":"p"}]}`},
	{"models are searched by how their names begin, and ordered", []string{
		model, `POST registered-models/create {"name":"free"}`, `POST registered-models/create {"name":"zoo"}`,
	}, `GET registered-models/search?filter=name%20LIKE%20'fr%25'&order_by=name%20DESC`, `{"registered_models":[{"name":"free"},{"name":"fraud"}]}`},
	{"models are ordered by their last update", []string{
		model, `POST registered-models/create {"name":"a"}`, `PATCH registered-models/update {"name":"fraud","description":"x"}`,
	}, `GET registered-models/search?order_by=last_updated_timestamp%20DESC`, `{"registered_models":[{"name":"fraud"},{"name":"a"}]}`},
	{
		"versions come by their last update, with their aliases", append(withVersions(),
			`PATCH model-versions/update {"name":"fraud","version":"1","description":"x"}`,
			`POST registered-models/alias {"name":"fraud","alias":"champ","version":"2"}`),
		`GET model-versions/search?filter=name='fraud'`,
		`{"model_versions":[{"version":"1"},{"version":"3"},{"version":"2","aliases":["champ"]}]}`,
	},
	{"versions of all models are searched by their run", withVersions(), `GET model-versions/search?filter=run_id%20=%20'r1'`, `{"model_versions":[{"version":"1"}]}`},
	{
		"versions are searched by a tag and ordered", withVersions(), `GET model-versions/search?filter=version_number%20%3E%201&order_by=version_number%20ASC`,
		`{"model_versions":[{"version":"2"},{"version":"3"}]}`,
	},
	{"nothing found is an empty object", nil, `GET model-versions/search?filter=name='x'`, `{}`},
	{"JSON in a string is read too", nil, `POST registered-models/create "{\"name\":\"fraud\"}"`, `{"registered_model":{"name":"fraud"}}`},
	{"what isn't known is ignored", nil, `POST registered-models/create {"name":"fraud","what":[1],"description":null}`, `{"registered_model":{"name":"fraud"}}`},
}

func TestRPCs(t *testing.T) {
	for _, test := range rpcCases {
		t.Run(test.name, func(t *testing.T) {
			r := newRegistry(t, options{})
			r.must(test.given...)
			got := r.must(test.ask)
			r.holds(got, test.want)
			if test.want == "{}" && got != "{}" {
				t.Errorf("got %s, want {}", got)
			}
		})
	}
}

// TestRPCsAreComplete holds the table of routes against MLflow's list.
func TestRPCsAreComplete(t *testing.T) {
	want := strings.Fields(`
		POST:registered-models/create POST:registered-models/rename PATCH:registered-models/update DELETE:registered-models/delete
		GET:registered-models/get GET:registered-models/search POST:registered-models/get-latest-versions
		GET:registered-models/get-latest-versions POST:registered-models/set-tag DELETE:registered-models/delete-tag
		POST:registered-models/alias DELETE:registered-models/alias GET:registered-models/alias
		POST:model-versions/create GET:model-versions/get PATCH:model-versions/update POST:model-versions/transition-stage
		DELETE:model-versions/delete GET:model-versions/search GET:model-versions/get-download-uri
		POST:model-versions/set-tag DELETE:model-versions/delete-tag
		POST:webhooks GET:webhooks GET:webhooks/x PATCH:webhooks/x DELETE:webhooks/x POST:webhooks/x/test`)
	if len(want) != 28 || len(routes()) != 28 {
		t.Errorf("%d routes, %d wanted of 28", len(routes()), len(want))
	}
	r := newRegistry(t, options{})
	for _, prefix := range prefixes {
		for _, route := range want {
			method, path, _ := strings.Cut(route, ":")
			got := r.call(method+" "+prefix+path, "")
			takesNothing := strings.HasSuffix(path, "/search") || strings.HasPrefix(path, "webhooks")
			if got.Code != 400 && !takesNothing {
				t.Errorf("%s %s%s: %d %s", method, prefix, path, got.Code, got.Body)
			}
			if strings.Contains(got.Body.String(), "ENDPOINT_NOT_FOUND") {
				t.Errorf("%s %s%s isn't there", method, prefix, path)
			}
		}
	}
}
