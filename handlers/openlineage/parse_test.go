package openlineage

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/handlers"
)

var update = flag.Bool("update", false, "write the golden files anew")

var testNow = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func vectors(tb testing.TB) []string {
	tb.Helper()
	paths, err := filepath.Glob("testdata/events/*.json")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no vectors: %v", err)
	}
	return paths
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// TestEventsOfRealProducersAreRead reads events such as the producers' own clients
// send, and shows what is taken from each.
func TestEventsOfRealProducersAreRead(t *testing.T) {
	for _, path := range vectors(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			raw := read(t, path)
			e, err := Parse(raw, testNow)
			if err != nil {
				t.Fatal(err)
			}
			if e.Raw != strings.TrimSpace(string(raw)) {
				t.Error("the raw event is not what came")
			}
			e.Raw = ""
			got, err := json.Marshal(e, jsontext.WithIndent("  "), json.Deterministic(true), json.OmitZeroStructFields(true))
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(path, ".json") + ".golden"
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(bytes.TrimSpace(read(t, golden))), string(got)); diff != "" {
				t.Errorf("read otherwise than %s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

const plain = `"eventTime":"2026-11-20T10:00:00Z","producer":"https://example.com","schemaURL":"https://example.com/s"`

func runEvent(members string) string {
	return `{` + plain + `,"run":{"runId":"43d7db3b-8984-4cda-b237-8c6919b36670"},"job":{"namespace":"n","name":"j"}` + members + `}`
}

// TestWhatIsOddIsTakenAndMarked: producers break the schema, and are not made to
// lose their lineage for it.
func TestWhatIsOddIsTakenAndMarked(t *testing.T) {
	uuid := "43d7db3b-8984-4cda-b237-8c6919b36670"
	for _, c := range []struct {
		name, event string
		want        []Mark
	}{
		{"an event as the schema has it", runEvent(""), nil},
		{"no producer", `{"eventTime":"2026-11-20T10:00:00Z","schemaURL":"s","run":{"runId":"` + uuid + `"},"job":{"namespace":"n","name":"j"}}`, []Mark{{"/producer", RuleProducerMissing}}},
		{"a producer that is no URI", `{"eventTime":"2026-11-20T10:00:00Z","producer":"me","schemaURL":"s","run":{"runId":"` + uuid + `"},"job":{"namespace":"n","name":"j"}}`, []Mark{{"/producer", RuleProducerNotURI}}},
		{"no schema URL", `{"eventTime":"2026-11-20T10:00:00Z","producer":"https://e.com","run":{"runId":"` + uuid + `"},"job":{"namespace":"n","name":"j"}}`, []Mark{{"/schemaURL", RuleSchemaURLMissing}}},
		{"MLflow's run id, a UUID without dashes", `{` + plain + `,"run":{"runId":"43d7db3b89844cdab2378c6919b36670"},"job":{"namespace":"n","name":"j"}}`, []Mark{{"/run/runId", RuleRunIDNotUUID}}},
		{"dashes in other places", `{` + plain + `,"run":{"runId":"43d7db3b8-984-4cda-b237-8c6919b36670"},"job":{"namespace":"n","name":"j"}}`, []Mark{{"/run/runId", RuleRunIDNotUUID}}},
		{"a state in small letters", runEvent(`,"eventType":"start"`), []Mark{{"/eventType", RuleStateCase}}},
		{"a state that isn't known", runEvent(`,"eventType":"PAUSED"`), []Mark{{"/eventType", RuleStateUnknown}}},
		{"no time zone", strings.Replace(runEvent(""), "10:00:00Z", "10:00:00.5", 1), []Mark{{"/eventTime", RuleTimeZoneMissing}}},
		{"a zone without a colon", strings.Replace(runEvent(""), "10:00:00Z", "10:00:00+0100", 1), []Mark{{"/eventTime", RuleTimeFormat}}},
		{"a second ahead of our clock", strings.Replace(runEvent(""), "2026-11-20T10:00:00Z", "2026-11-24T12:00:01Z", 1), nil},
		{"more than a second ahead of it", strings.Replace(runEvent(""), "2026-11-20T10:00:00Z", "2026-11-24T12:00:01.001Z", 1), []Mark{{"/eventTime", RuleTimeAhead}}},
		{"a data set beside a run", runEvent(`,"dataset":{"namespace":"n","name":"d"}`), []Mark{{"/dataset", RuleMixedKinds}}},
		{"a version that is a number", runEvent(`,"inputs":[{"namespace":"n","name":"d","facets":{"version":{"_producer":"p","_schemaURL":"s","datasetVersion":3}}}]`), []Mark{{"/inputs/0/facets/version/datasetVersion", RuleFacetUnreadable}}},
		{"a facet that is no object", runEvent(`,"outputs":[{"namespace":"n","name":"d","facets":{"symlinks":[]}}]`), []Mark{{"/outputs/0/facets/symlinks", RuleFacetUnreadable}}},
		{"a facet without its schema", runEvent(`,"outputs":[{"namespace":"n","name":"d","facets":{"version":{"datasetVersion":"1"}}}]`), []Mark{{"/outputs/0/facets/version", RuleFacetIncomplete}}},
		{"a parent without a run", strings.Replace(runEvent(""), `36670"}`, `36670","facets":{"parent":{"_producer":"p","_schemaURL":"s"}}}`, 1), []Mark{{"/run/facets/parent", RuleFacetUnreadable}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Parse([]byte(c.event), testNow)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, e.Marks); diff != "" {
				t.Errorf("marks (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWhatNobodyCouldReadIsRefused names the place and the rule.
func TestWhatNobodyCouldReadIsRefused(t *testing.T) {
	for _, c := range []struct{ name, event, pointer, rule string }{
		{"nothing", "", "", "required"},
		{"white space", " \n", "", "required"},
		{"no JSON", "lineage", "", "json"},
		{"half of an event", `{"eventTime":"2026-11-20T10:00:00Z","run":{"runId"`, "/run/runId", "json"},
		{"two events", runEvent("") + runEvent(""), "", "json"},
		{"a list", "[]", "", "type"},
		{"a string", `"{}"`, "", "type"},
		{"null", "null", "", "type"},
		{"bytes that are no UTF-8", "{\"eventTime\":\"\xff\"}", "/eventTime", "json"},
		{"a member that is there twice", `{"eventTime":"2026-11-20T10:00:00Z","eventTime":"2026-11-21T10:00:00Z"}`, "/eventTime", "duplicate"},
		{"about nothing", `{` + plain + `}`, "", "run_job_or_dataset"},
		{"a run of no job", `{` + plain + `,"run":{"runId":"x"}}`, "/job", "required"},
		{"a run without an id", `{` + plain + `,"run":{},"job":{"namespace":"n","name":"j"}}`, "/run/runId", "required"},
		{"a job without a namespace", `{` + plain + `,"job":{"name":"j"}}`, "/job/namespace", "required"},
		{"a job without a name", `{` + plain + `,"job":{"namespace":"n","name":null}}`, "/job/name", "required"},
		{"a data set without a name", `{` + plain + `,"dataset":{"namespace":"n"}}`, "/dataset/name", "required"},
		{"an input that is null", runEvent(`,"inputs":[{"namespace":"n","name":"d"},null]`), "/inputs/1/namespace", "required"},
		{"no time", `{"producer":"p","job":{"namespace":"n","name":"j"}}`, "/eventTime", "required"},
		{"a time that is none", strings.Replace(runEvent(""), "2026-11-20T10:00:00Z", "yesterday", 1), "/eventTime", "time"},
		{"a time before there were computers", strings.Replace(runEvent(""), "2026", "1926", 1), "/eventTime", "range"},
		{"a time that is a number", strings.Replace(runEvent(""), `"2026-11-20T10:00:00Z"`, "1763632800", 1), "/eventTime", "type"},
		{"a run that is a string", `{` + plain + `,"run":"43d7db3b","job":{"namespace":"n","name":"j"}}`, "/run", "type"},
		{"a run id that is a number", `{` + plain + `,"run":{"runId":7},"job":{"namespace":"n","name":"j"}}`, "/run/runId", "type"},
		{"inputs that are an object", runEvent(`,"inputs":{}`), "/inputs", "type"},
		{"an output that is a string", runEvent(`,"outputs":["d"]`), "/outputs/0", "type"},
		{"facets that are a list", runEvent(`,"outputs":[{"namespace":"n","name":"d","facets":[]}]`), "/outputs/0/facets", "type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Parse([]byte(c.event), testNow)
			if err == nil {
				t.Fatalf("was read as %+v", e)
			}
			if handlers.CodeOf(err) != handlers.CodeInvalid {
				t.Fatalf("is refused as %s: %v", handlers.CodeOf(err), err)
			}
			f := handlers.FieldsOf(err)[0]
			if f.Pointer != c.pointer || f.Rule != c.rule || f.Detail == "" {
				t.Errorf("got %q %s %q, want %q %s", f.Pointer, f.Rule, f.Detail, c.pointer, c.rule)
			}
		})
	}
}

func TestAllThatIsMissingIsNamedAtOnce(t *testing.T) {
	_, err := Parse([]byte(`{"run":{},"job":{},"inputs":[{}]}`), testNow)
	var got []string
	for _, f := range handlers.FieldsOf(err) {
		got = append(got, f.Pointer)
	}
	want := []string{"/eventTime", "/run/runId", "/job/namespace", "/job/name", "/inputs/0/namespace", "/inputs/0/name"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pointers (-want +got):\n%s", diff)
	}
}

// FuzzParse: whatever comes, it is read or refused as invalid, and what is read
// says whom it is about.
func FuzzParse(f *testing.F) {
	for _, path := range vectors(f) {
		f.Add(read(f, path))
	}
	f.Add([]byte(runEvent(`,"inputs":[{"namespace":"s3://b","name":"k","facets":{"version":{"datasetVersion":null}}}]`)))
	f.Add([]byte(`{"eventTime":"2026-11-20T10:00:00Z","job":{"namespace":"n","name":"j","facets":{"lineage":{"entries":[{"inputs":[{}]}]}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := Parse(raw, testNow)
		if err != nil {
			if handlers.CodeOf(err) != handlers.CodeInvalid || len(handlers.FieldsOf(err)) == 0 {
				t.Fatalf("is refused without naming what is wrong: %v", err)
			}
			return
		}
		if !jsontext.Value(e.Raw).IsValid() {
			t.Error("the raw event is no JSON")
		}
		if (e.Kind == KindRun) != (e.RunID != "") || (e.Kind == KindDataset) != (e.Dataset != nil) {
			t.Errorf("an event of kind %s with run %q", e.Kind, e.RunID)
		}
		for _, d := range append(e.Inputs, e.Outputs...) {
			if d.Namespace == "" || d.Name == "" {
				t.Error("a data set without a name")
			}
		}
		again, err := Parse([]byte(e.Raw), testNow)
		if diff := cmp.Diff(e, again); err != nil || diff != "" {
			t.Errorf("read again it is another event: %v\n%s", err, diff)
		}
	})
}
