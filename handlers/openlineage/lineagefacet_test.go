package openlineage

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// made spells what an event says was made of what.
func made(e Event) []string {
	all := []string{}
	for _, d := range e.Derived {
		all = append(all, d.Dataset.Name+d.Dataset.Version+" < "+d.From.Name+d.From.Version)
	}
	return all
}

func namesIn(all []Dataset) []string {
	list := []string{}
	for _, d := range all {
		list = append(list, d.Name)
	}
	return list
}

const facetBase = `"_producer":"https://example.com","_schemaURL":"https://example.com/s"`

// withLineage is an event whose job, or whose data set, has a lineage facet with
// these members.
func withLineage(of, members string) string {
	facets := `"facets":{"lineage":{` + facetBase + "," + members + `}}`
	switch of {
	case "job":
		return `{` + plain + `,"job":{"namespace":"n","name":"j",` + facets + `}}`
	case "run":
		return `{` + plain + `,"eventType":"COMPLETE","run":{"runId":"43d7db3b-8984-4cda-b237-8c6919b36670",` + facets + `},"job":{"namespace":"n","name":"j"},
			"inputs":[{"namespace":"n","name":"a","facets":{"version":{` + facetBase + `,"datasetVersion":"7"}}}],"outputs":[{"namespace":"n","name":"z","facets":{"version":{` + facetBase + `,"datasetVersion":"9"}}}]}`
	case "output":
		return runEvent(`,"outputs":[{"namespace":"n","name":"z",` + facets + `}]`)
	case "input":
		return runEvent(`,"inputs":[{"namespace":"n","name":"z",` + facets + `}]`)
	default:
		return `{` + plain + `,"dataset":{"namespace":"n","name":"z",` + facets + `}}`
	}
}

func TestLineageFacetsSayWhatWasMadeOfWhat(t *testing.T) {
	const a, b, job = `{"namespace":"n","name":"a","type":"DATASET"}`, `{"namespace":"n","name":"b","type":"DATASET","field":"f"}`, `{"namespace":"n","name":"x","type":"JOB"}`
	const at = "/dataset/facets/lineage"
	for _, c := range []struct {
		name, of, members string
		made              []string
		inputs, outputs   []string
		marks             []Mark
	}{
		{"a data set's own, as a whole and by field", "dataset", `"inputs":[` + a + `],"fields":{"f":{"inputs":[` + b + `,` + a + `]}}`, []string{"z < a", "z < b"}, nil, nil, nil},
		{"an output's, which the run reads", "output", `"inputs":[` + a + `]`, []string{"z < a"}, []string{"a"}, []string{"z"}, nil},
		{"an input's, which the run does not read", "input", `"inputs":[` + a + `]`, []string{"z < a"}, []string{"z"}, nil, nil},
		{"a job's entries", "job", `"lineage":[{"namespace":"n","name":"y","type":"DATASET","inputs":[` + a + `]},{"namespace":"n","name":"z","type":"DATASET","inputs":[` + b + `]}]`, []string{"y < a", "z < b"}, []string{"a", "b"}, []string{"y", "z"}, nil},
		{"a run's entries, in the versions that it names", "run", `"lineage":[{"namespace":"n","name":"z","type":"DATASET","inputs":[` + a + `,` + b + `]}]`, []string{"z9 < a7", "z9 < b"}, []string{"a", "b"}, []string{"z"}, nil},
		{"entries of drafts", "job", `"entries":[{"namespace":"n","name":"z","type":"dataset","inputs":[` + a + `]}]`, []string{"z < a"}, []string{"a"}, []string{"z"}, nil},
		{"a job that only reads", "job", `"lineage":[{"namespace":"n","name":"j","type":"JOB","inputs":[` + a + `]}]`, []string{}, []string{"a"}, nil, nil},
		{"data that a job begins", "dataset", `"inputs":[` + job + `]`, []string{}, nil, nil, nil},
		{"made of itself", "dataset", `"inputs":[{"namespace":"n","name":"z","type":"DATASET"}]`, []string{}, nil, nil, nil},
		{"nothing flows in", "dataset", `"inputs":[]`, []string{}, nil, nil, nil},
		{"taken back", "dataset", `"_deleted":true,"inputs":[` + a + `]`, []string{}, nil, nil, nil},
		{"no type", "dataset", `"inputs":[{"namespace":"n","name":"a"}]`, []string{"z < a"}, nil, nil, []Mark{{at + "/inputs/0", RuleFacetIncomplete}}},
		{"a type that nobody knows", "dataset", `"inputs":[{"namespace":"n","name":"a","type":"FILE"},` + b + `]`, []string{"z < b"}, nil, nil, []Mark{{at + "/inputs/0", RuleFacetUnreadable}}},
		{"no name", "dataset", `"fields":{"f/g":{"inputs":[` + a + `,{"namespace":"n","type":"DATASET"}]}}`, []string{"z < a"}, nil, nil, []Mark{{at + "/fields/f~1g/inputs/1", RuleFacetUnreadable}}},
		{"no namespace", "job", `"lineage":[{"name":"z","type":"DATASET","inputs":[` + a + `]}]`, []string{}, []string{"a"}, nil, []Mark{{"/job/facets/lineage/lineage/0", RuleFacetUnreadable}}},
		{"inputs that are an object", "dataset", `"inputs":{}`, []string{}, nil, nil, []Mark{{at, RuleFacetUnreadable}}},
		{"fields that are a list", "dataset", `"fields":[]`, []string{}, nil, nil, []Mark{{at, RuleFacetUnreadable}}},
		{"an input that is a string", "output", `"inputs":["a"]`, []string{}, nil, []string{"z"}, []Mark{{"/outputs/0/facets/lineage", RuleFacetUnreadable}}},
		{"an entry that is null", "job", `"lineage":[null]`, []string{}, nil, nil, []Mark{{"/job/facets/lineage/lineage/0", RuleFacetUnreadable}}},
		{"a name that is a number", "run", `"lineage":[{"namespace":"n","name":7,"type":"DATASET"}]`, []string{}, []string{"a"}, []string{"z"}, []Mark{{"/run/facets/lineage", RuleFacetUnreadable}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Parse([]byte(withLineage(c.of, c.members)), testNow)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.made, made(e)); diff != "" {
				t.Errorf("made of what (-want +got):\n%s", diff)
			}
			if !slices.Equal(c.inputs, namesIn(e.Inputs)) || !slices.Equal(c.outputs, namesIn(e.Outputs)) {
				t.Errorf("reads %v and makes %v", namesIn(e.Inputs), namesIn(e.Outputs))
			}
			if diff := cmp.Diff(c.marks, e.Marks); diff != "" {
				t.Errorf("marks (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDerivedDataSetsAreJoined in the graph, though no run tells how the one came of
// the other; by a run only once it is complete, since of one that fails nothing comes.
func TestDerivedDataSetsAreJoined(t *testing.T) {
	const source = `"inputs":[{"namespace":"n","name":"a","type":"DATASET"}]`
	derived := "dataset:n:a > dataset:n:z"
	for _, c := range []struct {
		name, event string
		want        bool
	}{
		{"a data set event", withLineage("dataset", source), true},
		{"a job event", withLineage("job", `"lineage":[{"namespace":"n","name":"z","type":"DATASET",`+source+`}]`), true},
		{"a run that is complete", withLineage("run", `"lineage":[{"namespace":"n","name":"z","type":"DATASET",`+source+`}]`), true},
		{"a run that has begun", strings.Replace(withLineage("output", source), `"eventTime"`, `"eventType":"START","eventTime"`, 1), false},
		{"a run that failed", strings.Replace(withLineage("output", source), `"eventTime"`, `"eventType":"FAIL","eventTime"`, 1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(t)
			r.must(http.StatusCreated, "POST /lineage", c.event, nil)
			edges, _ := r.marquez("dataset:n:a")
			if slices.Contains(edges, derived) != c.want {
				t.Errorf("got %v", edges)
			}
		})
	}
}
