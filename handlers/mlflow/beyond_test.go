package mlflow

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/filter"
)

// everything gives all that the log holds, as text.
func (r *registry) everything() string {
	r.Helper()
	var b strings.Builder
	for sequence := uint64(1); sequence <= r.run.Visible(); sequence++ {
		stored, err := r.log.Get(r.Context(), sequence)
		if err != nil {
			r.Fatal(err)
		}
		fmt.Fprintf(&b, "%v %s\n", stored.Header, stored.Data)
	}
	return b.String()
}

func TestUsersAreOpaqueInTheLog(t *testing.T) {
	r := newRegistry(t, options{})
	r.must(`POST registered-models/create {"name":"m","tags":[{"key":"mlflow.user","value":"alice@x.org"}]}`,
		`POST model-versions/create {"name":"m","source":"s3://b/1","tags":[{"key":"mlflow.user","value":"alice@x.org"}]}`,
		`POST model-versions/create {"name":"m","source":"s3://b/2"}`,
		`POST model-versions/set-tag {"name":"m","version":"2","key":"mlflow.user","value":"bob@x.org"}`)
	if all := r.everything(); strings.Contains(all, "@x.org") {
		t.Errorf("the log names somebody:\n%s", all)
	}
	r.holds(r.must(`GET registered-models/get?name=m`), `{"registered_model":{"tags":[{"key":"mlflow.user","value":"alice@x.org"}]}}`)
	r.holds(r.must(`GET model-versions/get?name=m&version=2`), `{"model_version":{"tags":[{"key":"mlflow.user","value":"bob@x.org"}]}}`)
	r.holds(r.must("GET model-versions/search?filter=tags.`mlflow.user`='bob@x.org'"), `{"model_versions":[{"version":"2"}]}`)
	r.holds(r.must("GET registered-models/search?filter=tags.`mlflow.user`%20LIKE%20'alice%25'"), `{"registered_models":[{"name":"m"}]}`)

	if _, err := r.directory.Erase(r.Context(), "alice@x.org"); err != nil {
		t.Fatal(err)
	}
	r.holds(r.must(`GET model-versions/get?name=m&version=1`), `{"model_version":{"tags":[{"key":"mlflow.user","value":"[erased]"}]}}`)
	if got := r.must("GET model-versions/search?filter=tags.`mlflow.user`='alice@x.org'"); got != "{}" {
		t.Errorf("found %s", got)
	}
}

func TestABadRequestBringsNobodyIntoTheDirectory(t *testing.T) {
	r := newRegistry(t, options{})
	r.call("POST model-versions/create", `{"name":"m","source":"https://u:p@h/a","tags":[{"key":"mlflow.user","value":"alice"}]}`, "Modelog-Actor", "bob")
	if all := r.directory.List(); len(all) > 0 {
		t.Errorf("%v", all)
	}
}

func TestActors(t *testing.T) {
	for _, test := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"the user of Basic credentials acts", []string{"Authorization", "Basic YWxpY2U6c2VjcmV0"}, "alice"}, // alice:secret
		{"the hash of a token acts", []string{"Authorization", "Bearer secret"}, "token:2bb80d537b1da3e3"},
		{"whom the header names acts", []string{"Modelog-Actor", "carol"}, "carol"},
		{"nobody needs to act", nil, ""},
		{"credentials that are none name nobody", []string{"Authorization", "Basic ???"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRegistry(t, options{})
			if got := r.call("POST registered-models/create", `{"name":"m"}`, test.headers...); got.Code != 200 {
				t.Fatalf("%d %s", got.Code, got.Body)
			}
			m, _, _ := r.run.Now().Model("m")
			got, _ := r.directory.Name(m.CreatedBy)
			if got != test.want {
				t.Errorf("%q acted, not %q", got, test.want)
			}
			if strings.Contains(r.logged.String()+r.everything(), "secret") {
				t.Error("a secret was kept")
			}
		})
	}
}

func TestDeprecationsAreTagsThatACopyDoesNotTakeAlong(t *testing.T) {
	r := newRegistry(t, options{})
	r.must(withVersions()...)
	r.must(`POST /v1/models/fraud/versions/1/deprecate {"reason":"old","sunset":"2027-01-01T00:00:00Z","replacement":"fraud/3"}`,
		`POST /v1/models/fraud/versions/2/deprecate {}`)
	shown := `{"key":"k","value":"v"},{"key":"modelog.deprecated","value":"old"},{"key":"modelog.replacement","value":"fraud/3"},` +
		`{"key":"modelog.sunset","value":"2027-01-01T00:00:00.000Z"}`
	r.holds(r.must(`GET model-versions/get?name=fraud&version=1`), `{"model_version":{"tags":[`+shown+`]}}`)
	r.holds(r.must("GET model-versions/search?filter=tags.`modelog.deprecated`='true'"), `{"model_versions":[{"version":"2"}]}`)
	r.holds(r.must(`POST model-versions/create {"name":"fraud","source":"models:/fraud/1","tags":[`+shown+`]}`),
		`{"model_version":{"version":"4","tags":[{"key":"k","value":"v"}]}}`)
	if strings.Contains(r.everything(), deprecatedTag) {
		t.Error("the copy's event has the tag")
	}

	got := r.call("POST model-versions/transition-stage", `{"name":"fraud","version":"1","stage":"Production"}`)
	if got.Code != http.StatusConflict || strings.Contains(got.Body.String(), "force") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	r.holds(got.Body.String(), `{"error_code":"RESOURCE_CONFLICT"}`)
}

func TestAModelMayHaveStagesOfItsOwn(t *testing.T) {
	r := newRegistry(t, options{})
	r.must(withVersions()...)
	r.must(`PUT /v1/models/fraud/lifecycle {"stages":["None","Canary","Live","Old","Archived"],"archive":"Archived"}`)
	r.holds(r.must(`POST model-versions/transition-stage {"name":"fraud","version":"1","stage":"LIVE","archive_existing_versions":true}`),
		`{"model_version":{"current_stage":"Live"}}`)
	got := r.call("POST model-versions/transition-stage", `{"name":"fraud","version":"1","stage":"Production"}`)
	r.holds(got.Body.String(), `{"message":"Invalid Model Version stage: Production. Value must be one of None, Canary, Live, Old, Archived."}`)
}

func TestEveryReadTakesAsOf(t *testing.T) {
	r := newRegistry(t, options{})
	r.must(withVersions()...)
	r.must(`POST registered-models/alias {"name":"fraud","alias":"champ","version":"1"}`)
	then := r.run.Visible()
	r.must(`POST registered-models/alias {"name":"fraud","alias":"champ","version":"2"}`,
		`POST model-versions/transition-stage {"name":"fraud","version":"3","stage":"Production"}`,
		`DELETE model-versions/delete {"name":"fraud","version":"1"}`,
		`POST registered-models/rename {"name":"fraud","new_name":"risk"}`)
	for _, test := range []struct{ ask, want string }{
		{`GET registered-models/get?name=fraud&as_of=%d`, `{"registered_model":{"aliases":[{"alias":"champ","version":"1"}]}}`},
		{`GET registered-models/search?as_of=%d`, `{"registered_models":[{"name":"fraud"}]}`},
		{`GET registered-models/alias?name=fraud&alias=champ&as_of=%d`, `{"model_version":{"version":"1"}}`},
		{`POST registered-models/get-latest-versions?as_of=%d {"name":"fraud"}`, `{"model_versions":[{"version":"3","current_stage":"None"}]}`},
		{`GET model-versions/get?name=fraud&version=1&as_of=%d`, `{"model_version":{"source":"s3://b/1"}}`},
		{`GET model-versions/search?as_of=%d`, `{"model_versions":[{"version":"3"},{"version":"2"},{"version":"1"}]}`},
		{`GET model-versions/get-download-uri?name=fraud&version=1&as_of=%d`, `{"artifact_uri":"s3://b/1"}`},
	} {
		r.holds(r.must(fmt.Sprintf(test.ask, then)), test.want)
	}
}

func TestTimestampsMoveAsInMLflow(t *testing.T) {
	r := newRegistry(t, options{})
	r.must(withVersions()...)
	times := func() (model, version int64) {
		var m modelAnswer
		var v versionAnswer
		for ask, into := range map[string]any{`GET registered-models/get?name=fraud`: &m, `GET model-versions/get?name=fraud&version=1`: &v} {
			if err := json.Unmarshal([]byte(r.must(ask)), into); err != nil {
				t.Fatal(err)
			}
		}
		return m.Model.Updated, v.Version.Updated
	}
	for _, test := range []struct {
		ask            string
		model, version bool // whether its time moves
	}{
		{`POST registered-models/alias {"name":"fraud","alias":"a","version":"1"}`, false, false},
		{`POST registered-models/set-tag {"name":"fraud","key":"a","value":"1"}`, false, false},
		{`POST model-versions/set-tag {"name":"fraud","version":"1","key":"a","value":"1"}`, false, false},
		{`PATCH model-versions/update {"name":"fraud","version":"1","description":"x"}`, false, true},
		{`POST model-versions/transition-stage {"name":"fraud","version":"1","stage":"Staging"}`, true, true},
		{`DELETE model-versions/delete {"name":"fraud","version":"2"}`, true, false},
		{`PATCH registered-models/update {"name":"fraud","description":"x"}`, true, false},
	} {
		model, version := times()
		r.must(test.ask)
		if m, v := times(); (m > model) != test.model || (v > version) != test.version {
			t.Errorf("%s: the model's time moved: %t, the version's: %t", test.ask, m > model, v > version)
		}
	}
}

// pages reads all pages of a search, writes after the first one, and gives the
// names or numbers.
func (r *registry) pages(search string, write func()) []string {
	r.Helper()
	var all []string
	token := ""
	for range 20 {
		var got struct {
			Models   []registeredModel `json:"registered_models"`
			Versions []modelVersion    `json:"model_versions"`
			Next     string            `json:"next_page_token"`
		}
		if err := json.Unmarshal([]byte(r.must("GET "+search+token)), &got); err != nil {
			r.Fatal(err)
		}
		for _, m := range got.Models {
			all = append(all, m.Name)
		}
		for _, v := range got.Versions {
			all = append(all, v.Version)
		}
		if got.Next == "" {
			return all
		}
		token = "&page_token=" + got.Next
		write()
	}
	r.Fatal("there is no end")
	return nil
}

func TestPagesStayRightUnderConcurrentWrites(t *testing.T) {
	for _, test := range []struct{ search, want string }{
		{"registered-models/search?max_results=2", "a b c d e"},
		{"registered-models/search?max_results=5", "a b c d e"},
		{"registered-models/search?max_results=2&order_by=name%20DESC", "e d c b a"},
		{"model-versions/search?max_results=2&filter=name='a'", "5 4 3 2 1"},
		{"model-versions/search?max_results=1&filter=name='a'", "5 4 3 2 1"},
		{"model-versions/search?max_results=2", "5 4 3 2 1"},
		{"model-versions/search?max_results=2&order_by=version_number", "1 2 3 4 5"},
	} {
		t.Run(test.search, func(t *testing.T) {
			r := newRegistry(t, options{})
			for _, m := range "edcba" {
				r.must(fmt.Sprintf(`POST registered-models/create {"name":"%c"}`, m))
			}
			for range 5 {
				r.must(`POST model-versions/create {"name":"a","source":"s3://b/1"}`)
			}
			got := r.pages(test.search, func() {
				r.must(fmt.Sprintf(`POST registered-models/create {"name":"aa%d"}`, r.run.Visible()),
					`POST model-versions/create {"name":"a","source":"s3://b/1"}`,
					`PATCH model-versions/update {"name":"a","version":"1","description":"`+fmt.Sprint(r.run.Visible())+`"}`)
				r.call("DELETE registered-models/delete", `{"name":"c"}`)
			})
			if strings.Join(got, " ") != test.want {
				t.Errorf("got %v, want %s", got, test.want)
			}
		})
	}
}

func TestATokenBelongsToItsSearch(t *testing.T) {
	r := newRegistry(t, options{})
	r.must(withVersions()...)
	var got versionsAnswer
	if err := json.Unmarshal([]byte(r.must("GET model-versions/search?max_results=1")), &got); err != nil {
		t.Fatal(err)
	}
	other := r.call("GET model-versions/search?max_results=1&filter=name='fraud'&page_token="+got.Next, "")
	r.holds(other.Body.String(), `{"error_code":"INVALID_PARAMETER_VALUE","message":"Invalid page token, it belongs to another search"}`)
}

func TestSearchesLookAtNoMoreThanTheyMust(t *testing.T) {
	r := newRegistry(t, options{})
	for i := range 20 {
		r.must(fmt.Sprintf(`POST registered-models/create {"name":"m%02d"}`, i))
		r.must(fmt.Sprintf(`POST model-versions/create {"name":"m%02d","source":"s3://b/1"}`, i))
	}
	for range 20 {
		r.must(`POST model-versions/create {"name":"m07","source":"s3://b/1"}`)
	}
	for _, test := range []struct {
		kind   filter.Kind
		filter string
		most   int
	}{
		{filter.Models, "", 3},
		{filter.Models, "name = 'm07'", 1},
		{filter.Models, "name LIKE 'm07%'", 1},
		{filter.Models, "name IN ('m07', 'm08')", 2},
		{filter.Versions, "", 3},
		{filter.Versions, "name = 'm07'", 3},
		{filter.Versions, "name = 'm19'", 1},
	} {
		request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		c := &call{server: r.server, r: request, w: discard{}}
		c.params.text[filterText], c.params.results = test.filter, 2
		c.params.given[maxResults] = true
		s, err := c.search(test.kind, 2, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if test.kind == filter.Models {
			_, _, err = s.models()
		} else {
			_, _, err = s.versionsByUpdate()
		}
		if err != nil || s.seen > test.most || s.seen == 0 {
			t.Errorf("%q looked at %d rows, not %d: %v", test.filter, s.seen, test.most, err)
		}
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// slow takes longer to append than requests may take.
type slow struct {
	events.Log
	late bool
	by   time.Duration
}

func (s *slow) Append(ctx context.Context, expect uint64, group []events.Encoded) error {
	if s.late {
		<-time.After(s.by)
	}
	return s.Log.Append(ctx, expect, group)
}

func TestAnUncertainOutcomeIsWaitedOut(t *testing.T) {
	log := &slow{by: 300 * time.Millisecond}
	r := newRegistry(t, options{deadline: 20 * time.Millisecond, wrap: func(l events.Log) events.Log {
		log.Log = l
		return log
	}})
	log.late = true
	if got := r.call("POST /v1/models", `{"name":"native"}`); got.Code != http.StatusServiceUnavailable {
		t.Errorf("the native API answered %d %s", got.Code, got.Body)
	}
	r.must(`POST registered-models/create {"name":"m"}`)
}

func TestCommandsAreCorrelatedWithTheirRequests(t *testing.T) {
	r := newRegistry(t, options{})
	got := r.call("POST registered-models/create", `{"name":"m"}`)
	if id := got.Header().Get("Modelog-Request-Id"); id == "" || !strings.Contains(r.everything(), id) {
		t.Errorf("the log doesn't know the request %q", id)
	}
	if got.Header().Get("Modelog-Sequence") != "2" {
		t.Errorf("answered as of %q", got.Header().Get("Modelog-Sequence"))
	}
}
