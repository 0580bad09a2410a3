package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
)

// object is JSON as a test spells it.
type object = map[string]any

// fakeMLflow answers as an MLflow server does, in small pages.
type fakeMLflow struct {
	models, versions []object
	webhooks         []object
	uris             map[string]string // by name/version
	page             int               // entries, 2 if 0
	token            string            // that it wants
	// hostile, unless nil, answers instead; it says whether it did.
	hostile func(w http.ResponseWriter, r *http.Request) bool
}

func (f *fakeMLflow) start(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

func (f *fakeMLflow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.hostile != nil && f.hostile(w, r) {
		return
	}
	q := r.URL.Query()
	switch path := strings.TrimPrefix(r.URL.Path, "/api/2.0/mlflow/"); {
	case f.token != "" && r.Header.Get("Authorization") != f.token:
		answerJSON(w, http.StatusUnauthorized, object{"error_code": "UNAUTHENTICATED", "message": "who are you?"})
	case path == "registered-models/search":
		f.list(w, q, "registered_models", without(f.models, "aliases"))
	case path == "model-versions/search":
		f.list(w, q, "model_versions", f.versions)
	case path == "webhooks" && f.webhooks != nil:
		f.list(w, q, "webhooks", f.webhooks)
	case path == "registered-models/get":
		i := slices.IndexFunc(f.models, func(m object) bool { return m["name"] == q.Get("name") })
		if i < 0 {
			answerJSON(w, http.StatusNotFound, object{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"})
			return
		}
		answerJSON(w, http.StatusOK, object{"registered_model": f.models[i]})
	case path == "model-versions/get-download-uri":
		answerJSON(w, http.StatusOK, object{"artifact_uri": f.uris[q.Get("name")+"/"+q.Get("version")]})
	default:
		answerJSON(w, http.StatusNotFound, object{"error_code": "ENDPOINT_NOT_FOUND", "message": path})
	}
}

func without(all []object, field string) []object {
	var less []object
	for _, o := range all {
		o = maps.Clone(o)
		delete(o, field)
		less = append(less, o)
	}
	return less
}

// list gives prompts to those who ask for them, and models to all others.
func (f *fakeMLflow) list(w http.ResponseWriter, q url.Values, field string, all []object) {
	prompts := q.Get("filter") == onlyPrompts
	all = slices.DeleteFunc(slices.Clone(all), func(o object) bool {
		tags, _ := o["tags"].([]object)
		return prompts != slices.ContainsFunc(tags, func(t object) bool { return t["key"] == "mlflow.prompt.is_prompt" })
	})
	size := f.page
	if size == 0 {
		size = 2
	}
	from, _ := strconv.Atoi(q.Get("page_token"))
	answer := object{}
	if rest := all[min(from, len(all)):]; len(rest) > size {
		answer[field], answer["next_page_token"] = rest[:size], strconv.Itoa(from+size)
	} else if len(rest) > 0 {
		answer[field] = rest
	}
	answerJSON(w, http.StatusOK, answer)
}

func answerJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(data)
}

func tagList(pairs ...string) (tags []object) {
	for i := 0; i < len(pairs); i += 2 {
		tags = append(tags, object{"key": pairs[i], "value": pairs[i+1]})
	}
	return tags
}

func with(o, more object) object {
	o = maps.Clone(o)
	maps.Copy(o, more)
	return o
}

const day1 = int64(1_700_000_000_000)

func thereModel(name string, created int64, more object) object {
	return with(object{"name": name, "creation_timestamp": created, "last_updated_timestamp": created}, more)
}

func thereVersion(name string, number int, created int64, more object) object {
	return with(object{
		"name": name, "version": strconv.Itoa(number), "creation_timestamp": created, "last_updated_timestamp": created,
		"current_stage": "None", "description": "", "source": fmt.Sprintf("s3://%s/%d", name, number), "run_id": "r1", "run_link": "", "status": "READY",
	}, more)
}

// usualMLflow has something of everything that can be brought along.
func usualMLflow() *fakeMLflow {
	prompt := tagList("mlflow.prompt.is_prompt", "true")
	return &fakeMLflow{
		models: []object{
			thereModel("churn", day1+100, object{"last_updated_timestamp": day1 + 110}),
			thereModel("fraud", day1, object{
				"description": "Is it fraud?", "tags": tagList("team", "risk"), "last_updated_timestamp": day1 + 60,
				"aliases": []object{{"alias": "champion", "version": "2"}, {"alias": "next", "version": "5"}},
			}),
			thereModel("greeting", day1+5, object{"last_updated_timestamp": day1 + 6, "tags": prompt, "aliases": []object{{"alias": "live", "version": 1}}}),
		},
		versions: []object{
			thereVersion("churn", 1, day1+110, object{"source": "models:/fraud/5", "last_updated_timestamp": strconv.FormatInt(day1+110, 10)}),
			thereVersion("fraud", 1, day1+10, object{"current_stage": "Archived", "last_updated_timestamp": day1 + 60, "description": "first", "tags": tagList("mlflow.user", "mara", "auc", "0.9")}),
			thereVersion("fraud", 2, day1+20, object{"current_stage": "Production", "last_updated_timestamp": day1 + 60, "tags": tagList("mlflow.user", "jo")}),
			thereVersion("fraud", 5, day1+30, object{"description": "described later", "last_updated_timestamp": day1 + 90, "tags": tagList("mlflow.user", "mara"), "run_link": "https://mlflow/runs/1"}),
			thereVersion("greeting", 1, day1+6, object{"source": "dummy-source", "run_id": "", "tags": append(tagList("mlflow.prompt.text", "Hello {{name}}"), prompt...)}),
		},
	}
}

// emptyRegistry is the sequence of a registry that has nothing yet.
const emptyRegistry = 1

// startRegistryHere starts a registry in this process.
func startRegistryHere(t *testing.T) string {
	t.Helper()
	s, err := startServer(t.Context(), serveConfig{data: t.TempDir(), listen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s.url()
}

// importInto runs the command, and gives its report, its exit code and what it says.
func importInto(t *testing.T, from, to string, flags ...string) (report importReport, code int, said string) {
	t.Helper()
	var out, errors bytes.Buffer
	a := &app{stdout: &out, stderr: &errors, getenv: func(name string) string {
		return map[string]string{"MLFLOW_TRACKING_TOKEN": "hunter2"}[name]
	}}
	code = a.run(t.Context(), append([]string{"import", "mlflow", "--from", from, "--server", to, "--json", "--actor", "importer"}, flags...))
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &report); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
	}
	if strings.Contains(out.String()+errors.String(), "hunter2") {
		t.Error("it shows the token")
	}
	return report, code, errors.String()
}

func sequenceOf(t *testing.T, server string) uint64 {
	t.Helper()
	c := &client{app: testApp(), server: server}
	state, err := c.state(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return state.Sequence
}

// holdings shows all that a registry has, without what no import can tell:
// sequences, ids and principals.
func holdings(t *testing.T, server string) (models []api.Model, versions []api.VersionSummary) {
	t.Helper()
	c := &client{app: testApp(), server: server}
	names := map[string]string{}
	list, err := call[api.PrincipalList](t.Context(), c, http.MethodGet, "/v1/principals", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Principals {
		names[p.ID] = p.Name
	}
	models, err = pages(t.Context(), c, "/v1/models", math.MaxInt, func(l api.ModelList) ([]api.Model, string) { return l.Models, l.NextCursor })
	if err != nil {
		t.Fatal(err)
	}
	for i := range models {
		m := &models[i]
		all, err := pages(t.Context(), c, path("models", m.Name, "versions"), math.MaxInt,
			func(l api.VersionList) ([]api.VersionSummary, string) { return l.Versions, l.NextCursor })
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			v.ModelID, v.Sequence, v.CreatedBy = "", 0, names[v.CreatedBy]
			if id, ok := v.Tags["mlflow.user"]; ok {
				v.Tags["mlflow.user"] = "principal of " + names[id]
			}
			versions = append(versions, v)
		}
		m.ID, m.Sequence, m.CreatedBy = "", 0, names[m.CreatedBy]
	}
	return models, versions
}

func at(ms int64) string { return milli(ms) }

func TestAnImportBringsEverythingAlong(t *testing.T) {
	to := startRegistryHere(t)
	from := usualMLflow().start(t)
	dry, code, said := importInto(t, from, to, "--dry-run")
	if code != 0 || !dry.DryRun || sequenceOf(t, to) != emptyRegistry {
		t.Errorf("the dry run: exit code %d, %s%+v", code, said, dry)
	}
	report, code, said := importInto(t, from, to)
	if code != 0 || len(report.Findings) > 0 || !report.Complete {
		t.Errorf("exit code %d: %s%+v", code, said, report.Findings)
	}
	want := importReport{
		From: from, To: to, Complete: true, Sequence: report.Sequence,
		Models: importTally{Copied: 2}, Prompts: importTally{Copied: 1}, Versions: importTally{Copied: 5}, Aliases: importTally{Copied: 3},
		Tags: importTally{Copied: 8}, Stages: importTally{Copied: 2}, Descriptions: importTally{Copied: 3}, Findings: report.Findings,
	}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	want.DryRun, want.Sequence, want.Complete = true, emptyRegistry, true
	if diff := cmp.Diff(want, dry); diff != "" {
		t.Errorf("report of the dry run (-want +got):\n%s", diff)
	}
	models, versions := holdings(t, to)
	got := map[string][]string{}
	for _, m := range models {
		got[m.Name] = []string{m.Description, sortedPairs(m.Tags), sortedPairs(m.Aliases), m.CreatedAt, m.UpdatedAt, m.CreatedBy}
	}
	for _, v := range versions {
		got[versionOf(v.Model, v.Version)] = []string{v.Stage, v.Description, v.Source, v.RunID, v.RunLink, v.BaseModel, sortedPairs(v.Tags), v.CreatedAt, v.UpdatedAt, v.CreatedBy}
	}
	wanted := map[string][]string{
		"fraud":      {"Is it fraud?", "team=risk", "champion=2 next=5", at(day1), at(day1 + 60), "importer"},
		"churn":      {"", "", "", at(day1 + 100), at(day1 + 110), "importer"},
		"greeting":   {"", "mlflow.prompt.is_prompt=true", "live=1", at(day1 + 5), at(day1 + 6), "importer"},
		"fraud/1":    {"Archived", "first", "s3://fraud/1", "r1", "", "", "auc=0.9 mlflow.user=principal of mara", at(day1 + 10), at(day1 + 60), "mara"},
		"fraud/2":    {"Production", "", "s3://fraud/2", "r1", "", "", "mlflow.user=principal of jo", at(day1 + 20), at(day1 + 60), "jo"},
		"fraud/5":    {"None", "described later", "s3://fraud/5", "r1", "https://mlflow/runs/1", "", "mlflow.user=principal of mara", at(day1 + 30), at(day1 + 90), "mara"},
		"churn/1":    {"None", "", "models:/fraud/5", "r1", "", "fraud/5", "", at(day1 + 110), at(day1 + 110), "importer"},
		"greeting/1": {"None", "", "dummy-source", "", "", "", "mlflow.prompt.is_prompt=true mlflow.prompt.text=Hello {{name}}", at(day1 + 6), at(day1 + 6), "importer"},
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("the registry has (-want +got):\n%s", diff)
	}

	// The log has nobody's name.
	c := &client{app: testApp(), server: to}
	if log, err := c.send(t.Context(), http.MethodGet, "/v1/events", nil); err != nil || bytes.Contains(log, []byte("mara")) || !bytes.Contains(log, []byte("fraud")) {
		t.Errorf("%v: %s", err, log)
	}

	before := sequenceOf(t, to)
	again, code, said := importInto(t, from, to)
	if code != 0 || again.Versions != (importTally{There: 5}) || again.Tags != (importTally{There: 8}) || again.Aliases != (importTally{There: 3}) {
		t.Errorf("again: exit code %d: %s%+v", code, said, again)
	}
	if after := sequenceOf(t, to); after != before {
		t.Errorf("the second import wrote %d events", after-before)
	}
}

// TestAnImportThatDiesAfterAnyWriteIsCompleted cuts the connection after each
// write, once before it gets to the registry and once before the answer comes back.
func TestAnImportThatDiesAfterAnyWriteIsCompleted(t *testing.T) {
	from := usualMLflow().start(t)
	clean := startRegistryHere(t)
	if _, code, said := importInto(t, from, clean); code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	for _, answerLost := range []bool{false, true} {
		to := startRegistryHere(t)
		address, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(address)
		for run, code := 0, -1; code != 0; run++ {
			if run > 100 {
				t.Fatal("it is never complete")
			}
			var written atomic.Int32
			flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				writes := written.Load()
				if r.Method != http.MethodGet {
					writes = written.Add(1)
				}
				if writes < 2 {
					proxy.ServeHTTP(w, r)
					return
				}
				if writes == 2 && answerLost {
					proxy.ServeHTTP(httptest.NewRecorder(), r)
				}
				panic(http.ErrAbortHandler)
			}))
			var report importReport
			report, code, _ = importInto(t, from, flaky.URL)
			flaky.Close()
			if code != 0 && code != handlers.ExitUnavailable || report.Complete != (code == 0) {
				t.Fatalf("exit code %d, %+v", code, report)
			}
		}
		if got, want := sequenceOf(t, to), sequenceOf(t, clean); got != want {
			t.Errorf("answer lost: %v: %d events, want %d", answerLost, got, want)
		}
		wantModels, wantVersions := holdings(t, clean)
		gotModels, gotVersions := holdings(t, to)
		if diff := cmp.Diff(wantModels, gotModels) + cmp.Diff(wantVersions, gotVersions); diff != "" {
			t.Errorf("answer lost: %v: (-want +got):\n%s", answerLost, diff)
		}
	}
}

func TestWhatHasNoPlaceHereIsReportedWithTheReason(t *testing.T) {
	long := strings.Repeat("x", 100_001)
	for name, c := range map[string]struct {
		there  *fakeMLflow
		code   int
		want   []string // outcome, what, of: a word of the reason
		copied int      // versions
	}{
		"a status other than READY": {
			&fakeMLflow{models: []object{thereModel("m", day1, object{"aliases": []object{{"alias": "a", "version": "1"}}})}, versions: []object{
				thereVersion("m", 1, day1, object{"status": "FAILED_REGISTRATION"}), thereVersion("m", 2, day1, nil),
			}},
			5,
			[]string{"not_mapped version m/1: FAILED_REGISTRATION", "not_mapped alias m@a: version 1"},
			1,
		},
		"tags": {
			&fakeMLflow{models: []object{thereModel("m", day1, object{"tags": tagList("k", long)})}, versions: []object{
				thereVersion("m", 1, day1, object{"tags": tagList("long", long, "a\nb", "", "modelog.deprecated", "true", "mlflow.user", "a\nb", "fits", "1")}),
			}},
			5,
			[]string{"not_mapped tag k m: 100000", "not_mapped tag long m/1: 100000", `not_mapped tag "a\nb" m/1: control`, "not_mapped tag modelog.deprecated m/1: deprecat", "not_mapped tag mlflow.user m/1: name"},
			1,
		},
		"fields": {
			&fakeMLflow{models: []object{thereModel("m", day1, nil)}, versions: []object{
				thereVersion("m", 1, day1, object{"run_id": strings.Repeat("r", 300), "description": long, "run_link": "https://u:p@host/"}),
				thereVersion("m", 2, day1, object{"source": "https://token@host/"}),
				thereVersion("m", 3, day1, object{"source": ""}),
			}},
			5,
			[]string{"not_mapped description m/1: 100000", "not_mapped run_id m/1: 255", "not_mapped run_link m/1: credentials", "not_mapped version m/2: credentials", "not_mapped version m/3: required"},
			1,
		},
		"numbers": {
			&fakeMLflow{models: []object{thereModel("m", day1, nil)}, versions: []object{
				thereVersion("m", 0, day1, nil), thereVersion("m", 1, day1, object{"version": "one"}), thereVersion("m", 2_147_483_648, day1, nil), thereVersion("m", 7, day1, object{"version": 7}),
			}},
			5,
			[]string{"not_mapped version m/-1: number", "not_mapped version m/0: number", "not_mapped version m/2147483648: number"},
			1,
		},
		"a name": {
			&fakeMLflow{models: []object{thereModel(" m ", day1, object{"aliases": []object{{"alias": "a", "version": "1"}}})}, versions: []object{thereVersion(" m ", 1, day1, nil)}},
			5,
			[]string{"not_mapped model  m : space"},
			0,
		},
		"names that are the same in the normal form": {
			&fakeMLflow{models: []object{thereModel("gr\u00f6\u00dfe", day1, nil), thereModel("gro\u0308\u00dfe", day1+1, nil)}, versions: []object{
				thereVersion("gr\u00f6\u00dfe", 1, day1, nil), thereVersion("gro\u0308\u00dfe", 2, day1+1, nil),
			}},
			5,
			[]string{"not_mapped model gro\u0308\u00dfe: same"},
			1,
		},
		"aliases": {
			&fakeMLflow{models: []object{thereModel("m", day1, object{"aliases": []object{{"alias": "v2", "version": "1"}, {"alias": "gone", "version": "9"}}})}, versions: []object{thereVersion("m", 1, day1, nil)}},
			5,
			[]string{"not_mapped alias m@gone: version 9", "not_mapped alias m@v2: reserved"},
			1,
		},
		"a stage": {
			&fakeMLflow{models: []object{thereModel("m", day1, nil)}, versions: []object{thereVersion("m", 1, day1, object{"current_stage": "Shadow"})}},
			5,
			[]string{"not_mapped stage m/1: Shadow"},
			1,
		},
		"what isn't the registry's": {
			&fakeMLflow{models: []object{thereModel("m", day1, object{"deployment_job_id": "77"})}, webhooks: []object{{"webhook_id": "1", "name": "hook"}}, versions: []object{
				thereVersion("m", 1, day1, object{"model_metrics": []object{{"key": "auc", "value": 0.9}}, "status_message": "fine"}),
			}},
			5,
			[]string{"not_mapped deployment job m: 77", "not_mapped model_metrics m/1: own", "not_mapped status message m/1: fine", "not_mapped webhook hook: secret"},
			1,
		},
		"times": {
			&fakeMLflow{models: []object{thereModel("m", 0, nil)}, versions: []object{
				thereVersion("m", 1, day1*1000, nil), thereVersion("m", 2, day1, object{"last_updated_timestamp": day1 + 5}),
			}},
			0,
			[]string{"noted creation time m: import", "noted creation time m/1: import", "noted last update m/2: 22:13:20.005Z"},
			2,
		},
		"a copy whose original is gone": {
			&fakeMLflow{models: []object{thereModel("m", day1, nil)}, uris: map[string]string{"m/1": "s3://files"}, versions: []object{
				thereVersion("m", 1, day1, object{"source": "models:/gone/3"}), thereVersion("m", 2, day1, object{"source": "models:/gone/4"}),
			}},
			0,
			[]string{"noted source m/1: s3://files", "noted source m/2: doesn't say"},
			2,
		},
		"copies in a circle": {
			&fakeMLflow{models: []object{thereModel("a", day1, nil), thereModel("b", day1, nil)}, versions: []object{
				thereVersion("a", 1, day1, object{"source": "models:/b/1"}), thereVersion("b", 1, day1, object{"source": "models:/a/1"}),
			}},
			0,
			[]string{"noted source b/1: doesn't say"},
			2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := startRegistryHere(t)
			from := c.there.start(t)
			report, code, said := importInto(t, from, to)
			if code != c.code || report.Versions.Copied != c.copied {
				t.Errorf("exit code %d, want %d; %d versions, want %d: %s", code, c.code, report.Versions.Copied, c.copied, said)
			}
			var got []string
			for _, f := range report.Findings {
				got = append(got, f.Outcome+" "+f.What+" "+f.Of+": "+f.Why)
			}
			slices.Sort(got)
			slices.Sort(c.want)
			same := len(got) == len(c.want)
			for i := range min(len(got), len(c.want)) {
				head, word, _ := strings.Cut(c.want[i], ": ")
				same = same && strings.HasPrefix(got[i], head+": ") && strings.Contains(got[i], word)
			}
			if !same {
				t.Errorf("reported\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
			before := sequenceOf(t, to)
			if _, again, _ := importInto(t, from, to); again != c.code || sequenceOf(t, to) != before {
				t.Errorf("again: exit code %d, %d more events", again, sequenceOf(t, to)-before)
			}
		})
	}
}

// TestWhatWasChangedHereIsLeft: the import brings a thing along once.
func TestWhatWasChangedHereIsLeft(t *testing.T) {
	there := usualMLflow()
	from, to := there.start(t), startRegistryHere(t)
	if _, code, said := importInto(t, from, to); code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	for line, command := range map[string][]string{
		"alias":       {"alias", "set", "fraud/1", "champion"},
		"other alias": {"alias", "rm", "fraud@next"},
		"stage":       {"promote", "fraud/2", "None"},
		"tag":         {"tag", "fraud/1", "auc-"},
		"description": {"model", "describe", "fraud", "--description", "Ours."},
		"version":     {"delete", "churn/1"},
		"model":       {"model", "rename", "greeting", "salute"},
	} {
		a := testApp()
		var said bytes.Buffer
		a.stderr = &said
		if code := a.run(t.Context(), append(command, "--server", to)); code != 0 {
			t.Fatalf("%s: exit code %d: %s", line, code, said.String())
		}
	}
	there.versions[2]["current_stage"] = "Production"
	there.versions = append(there.versions, thereVersion("fraud", 6, day1+95, nil)) // a late one is brought along
	before := sequenceOf(t, to)
	report, code, _ := importInto(t, from, to)
	if code != handlers.ExitConflict || sequenceOf(t, to) != before+1 || report.Versions.Copied != 1 {
		t.Errorf("exit code %d, %d more events, %+v", code, sequenceOf(t, to)-before, report)
	}
	var got []string
	for _, f := range report.Findings {
		got = append(got, f.Outcome+" "+f.What+" "+f.Of)
	}
	slices.Sort(got)
	want := []string{
		"differs alias fraud@champion", "differs alias fraud@next", "differs description fraud", "differs prompt greeting",
		"differs stage fraud/2", "differs tag auc fraud/1", "differs version churn/1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

// TestAModelOfTheSameNameIsNotTouched: it is another one.
func TestAModelOfTheSameNameIsNotTouched(t *testing.T) {
	to := startRegistryHere(t)
	if code := testApp().run(t.Context(), []string{"register", "fraud", "--create-model", "--source", "s3://own/1", "--server", to}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	report, code, said := importInto(t, usualMLflow().start(t), to)
	if code != handlers.ExitConflict || report.Models != (importTally{Copied: 1, Differ: 1}) || report.Versions.NotMapped != 3 || report.Aliases.NotMapped != 2 {
		t.Errorf("exit code %d: %s%+v", code, said, report)
	}
	if _, versions := holdings(t, to); !slices.ContainsFunc(versions, func(v api.VersionSummary) bool { return v.Source == "s3://own/1" }) || len(versions) != 3 {
		t.Errorf("versions: %+v", versions)
	}
}

// TestManyLargeTagsComeInSeveralWrites: one registration has no room for them.
func TestManyLargeTagsComeInSeveralWrites(t *testing.T) {
	var tags []string
	for i := range 15 {
		tags = append(tags, fmt.Sprintf("k%02d", i), strings.Repeat("x", 90_000))
	}
	to := startRegistryHere(t)
	from := (&fakeMLflow{models: []object{thereModel("m", day1, nil)}, versions: []object{thereVersion("m", 1, day1, object{"tags": tagList(tags...)})}}).start(t)
	report, code, said := importInto(t, from, to)
	if code != 0 || report.Tags.Copied != 15 || sequenceOf(t, to) != emptyRegistry+4 {
		t.Errorf("exit code %d, %d events: %s%+v", code, sequenceOf(t, to), said, report)
	}
	if report, code, _ = importInto(t, from, to); code != 0 || report.Tags.There != 15 || sequenceOf(t, to) != emptyRegistry+4 {
		t.Errorf("again: exit code %d: %+v", code, report)
	}
}

func TestAServerThatIsNotWellIsNotTrusted(t *testing.T) {
	endless := 0
	list := func(w http.ResponseWriter, token string, models ...object) bool {
		answerJSON(w, http.StatusOK, object{"registered_models": models, "next_page_token": token})
		return true
	}
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request) bool
		code   int
		says   string
	}{
		"a token that repeats": {func(w http.ResponseWriter, _ *http.Request) bool { return list(w, "same", thereModel("m", day1, nil)) }, 1, "never ends"},
		"pages without end": {func(w http.ResponseWriter, _ *http.Request) bool {
			endless++
			return list(w, strconv.Itoa(endless))
		}, 1, "never ends"},
		"a huge body": {func(w http.ResponseWriter, _ *http.Request) bool {
			part := bytes.Repeat([]byte(" "), 1<<20)
			for range 65 {
				_, _ = w.Write(part)
			}
			return true
		}, 2, "too large"},
		"a web page": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>Sign in</html>")
			return true
		}, 1, "text/html"},
		"an internal error": {func(w http.ResponseWriter, _ *http.Request) bool {
			answerJSON(w, http.StatusInternalServerError, object{"error_code": "INTERNAL_ERROR", "message": "no \x1b[31m disk"})
			return true
		}, 6, `no \x1b[31m disk`},
		"busy": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}, 6, "503"},
		"nothing there": {func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true }, 3, "check --from"},
		"another model than the one asked for": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/get") {
				answerJSON(w, http.StatusOK, object{"registered_model": thereModel("other", day1, nil)})
				return true
			}
			return false
		}, 1, "it gave other"},
		"a cut connection": {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, 6, "can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			f := usualMLflow()
			f.hostile = c.answer
			to := startRegistryHere(t)
			_, code, said := importInto(t, f.start(t), to)
			if code != c.code || !strings.Contains(said, c.says) || strings.Contains(said, "\x1b") {
				t.Errorf("exit code %d, want %d: %s", code, c.code, said)
			}
			if n := sequenceOf(t, to); n != emptyRegistry {
				t.Errorf("it wrote %d events", n-emptyRegistry)
			}
		})
	}
}

// TestPagesGetSmallerWhenAnswersAreTooLarge: a few versions may be large.
func TestPagesGetSmallerWhenAnswersAreTooLarge(t *testing.T) {
	f := usualMLflow()
	f.hostile = func(w http.ResponseWriter, r *http.Request) bool {
		if size, _ := strconv.Atoi(r.URL.Query().Get("max_results")); size <= 20 || strings.HasSuffix(r.URL.Path, "webhooks") {
			return false
		}
		_, _ = w.Write(bytes.Repeat([]byte(" "), mlflowBody+1))
		return true
	}
	if report, code, said := importInto(t, f.start(t), startRegistryHere(t)); code != 0 || report.Versions.Copied != 5 {
		t.Errorf("exit code %d: %s%+v", code, said, report)
	}
}

func TestCredentialsAreSentAndNotShown(t *testing.T) {
	f := usualMLflow()
	f.token = "Bearer hunter2"
	if _, code, said := importInto(t, f.start(t), startRegistryHere(t), "--dry-run"); code != 0 {
		t.Errorf("exit code %d: %s", code, said)
	}
	f.token = "Bearer other"
	if _, code, said := importInto(t, f.start(t), startRegistryHere(t)); code != 2 || !strings.Contains(said, "MLFLOW_TRACKING_TOKEN") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
