package openlineage

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
)

// reported reports that a run of a job read and made data sets, each "namespace name".
func (r *registry) reported(id, state, job string, inputs, outputs []string) {
	r.Helper()
	sets := func(names []string) string {
		var all []string
		for _, s := range names {
			namespace, name, _ := strings.Cut(s, " ")
			all = append(all, fmt.Sprintf(`{"namespace":%q,"name":%q}`, namespace, name))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	r.must(http.StatusCreated, "POST /api/v1/lineage", fmt.Sprintf(
		`{%s,"eventType":%q,"run":{"runId":%q},"job":{"namespace":"etl","name":%q},"inputs":%s,"outputs":%s}`,
		plain, state, id, job, sets(inputs), sets(outputs)), nil)
}

// pipeline is data that two jobs make a model of: raw -> clean -> fraud, with one
// data set beside that the first job reads too, and a second reader of clean.
func pipeline(t *testing.T) *registry {
	t.Helper()
	r := newRegistry(t)
	r.reported("11111111-1111-4111-8111-111111111111", "COMPLETE", "clean", []string{"postgres://db:5432 shop.raw", "s3://lake rates"}, []string{"s3://lake clean"})
	r.reported("22222222-2222-4222-8222-222222222222", "FAIL", "clean", []string{"postgres://db:5432 shop.raw"}, []string{"s3://lake wrong"})
	r.reported("33333333-3333-4333-8333-333333333333", "START", "train", []string{"s3://lake clean"}, nil)
	r.reported("44444444-4444-4444-8444-444444444444", "COMPLETE", "report", []string{"s3://lake clean"}, []string{"file sums:2026"})
	r.must(http.StatusCreated, "POST /v1/models", `{"name":"fraud"}`, nil)
	r.must(http.StatusCreated, "POST /v1/models/fraud/versions", `{"source":"s3://models/1","run_id":"33333333333343338333333333333333",
		"code":{"repository":"https://git/x","commit":"abc"}, "datasets":[{"name":"plain"}]}`, nil)
	return r
}

// marquez asks, and gives the edges of the answer, spelled "origin > destination",
// with the nodes that have none.
func (r *registry) marquez(nodeID string, more ...string) (edges []string, nodes map[string]MarquezNode) {
	r.Helper()
	var got MarquezLineage
	r.must(http.StatusOK, "GET /api/v1/lineage?nodeId="+url.QueryEscape(nodeID)+strings.Join(more, ""), "", &got)
	nodes = map[string]MarquezNode{}
	into := []string{}
	for _, n := range got.Graph {
		nodes[n.ID] = n
		for _, e := range n.OutEdges {
			edges = append(edges, e.Origin+" > "+e.Destination)
		}
		for _, e := range n.InEdges {
			into = append(into, e.Origin+" > "+e.Destination)
		}
		if len(n.OutEdges)+len(n.InEdges) == 0 {
			edges, into = append(edges, n.ID), append(into, n.ID)
		}
	}
	slices.Sort(edges)
	slices.Sort(into)
	if diff := cmp.Diff(edges, into); diff != "" {
		r.Errorf("%s: edges that leave and edges that lead in differ:\n%s", nodeID, diff)
	}
	return edges, nodes
}

func TestLineageIsToldAsMarquezTellsIt(t *testing.T) {
	r := pipeline(t)
	model := "dataset:modelregistry://" + r.run.Now().Registry().ID.String() + ":fraud"
	raw, rates, clean, wrong, sums := "dataset:postgres://db:5432:shop.raw", "dataset:s3://lake:rates", "dataset:s3://lake:clean", "dataset:s3://lake:wrong", "dataset:file:sums:2026"
	cleaning := []string{clean + " > job:etl:report", clean + " > job:etl:train", raw + " > job:etl:clean", rates + " > job:etl:clean", "job:etl:clean > " + clean}
	for _, c := range []struct {
		name, node string
		query      string
		edges      []string
	}{
		{"from its data to the model, and not what else is made of it", model, "", []string{
			"dataset::plain > " + model, clean + " > job:etl:train", raw + " > job:etl:clean", rates + " > job:etl:clean", "job:etl:clean > " + clean, "job:etl:train > " + model,
		}},
		{"a model by any registry's name", "dataset:modelregistry://elsewhere:fraud", "&depth=0", []string{
			"dataset::plain > " + model, clean + " > job:etl:train", "job:etl:train > " + model,
		}},
		{"a data set in the middle", clean, "", append(slices.Clone(cleaning), "job:etl:report > "+sums, "job:etl:train > "+model)},
		{"a data set whose namespace has a port", raw, "&depth=0", []string{raw + " > job:etl:clean", "job:etl:clean > " + clean}},
		{"a data set whose name has a colon", sums, "&depth=1", append(slices.Clone(cleaning)[2:], clean+" > job:etl:report", "job:etl:report > "+sums)},
		{"without a namespace", "dataset::plain", "", []string{"dataset::plain > " + model}},
		{"what a failed run made", wrong, "", []string{wrong}},
		{"a job, with what all its runs read", "job:etl:clean", "&depth=0", cleaning[2:]},
		{"a job that ends in a model", "job:etl:train", "&depth=0", []string{clean + " > job:etl:train", "job:etl:train > " + model}},
		{"as it was", clean, "&as_of=2", cleaning[2:]},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.T = t
			got, _ := r.marquez(c.node, c.query)
			slices.Sort(c.edges)
			if diff := cmp.Diff(c.edges, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.node, diff)
			}
		})
	}
}

func TestNodesHaveWhatMarquezShows(t *testing.T) {
	r := pipeline(t)
	model := "modelregistry://" + r.run.Now().Registry().ID.String()
	_, nodes := r.marquez("job:etl:train", "&depth=0")
	for _, want := range []MarquezNode{
		{
			ID: "job:etl:train", Type: "JOB",
			Data: MarquezData{
				ID: MarquezName{"etl", "train"}, Name: "train", Namespace: "etl", SimpleName: "train", Type: "BATCH",
				Inputs: []MarquezName{{"s3://lake", "clean"}}, Outputs: []MarquezName{{model, "fraud"}},
				LatestRun: &MarquezRun{"33333333-3333-4333-8333-333333333333", "RUNNING"},
			},
			InEdges:  []MarquezEdge{{"dataset:s3://lake:clean", "job:etl:train"}},
			OutEdges: []MarquezEdge{{"job:etl:train", "dataset:" + model + ":fraud"}},
		},
		{
			ID: "dataset:" + model + ":fraud", Type: "DATASET",
			Data: MarquezData{
				ID: MarquezName{model, "fraud"}, Name: "fraud", Namespace: model, Type: "MODEL", Physical: "fraud", Source: model,
			},
			InEdges: []MarquezEdge{{"job:etl:train", "dataset:" + model + ":fraud"}}, OutEdges: []MarquezEdge{},
		},
	} {
		got := nodes[want.ID]
		if want.Type == "DATASET" { // whose own data set comes from no job
			got.InEdges = slices.DeleteFunc(got.InEdges, func(e MarquezEdge) bool { return e.Origin == "dataset::plain" })
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestARunOfNoJobIsOne, and can be asked for by the id that it is shown with.
func TestARunOfNoJobIsOne(t *testing.T) {
	r := newRegistry(t)
	r.must(http.StatusCreated, "POST /v1/models", `{"name":"m"}`, nil)
	r.must(http.StatusCreated, "POST /v1/models/m/versions", `{"source":"s3://m","run_id":"r1"}`, nil)
	edges, _ := r.marquez("job:run:r1")
	if len(edges) != 1 || !strings.HasPrefix(edges[0], "job:run:r1 > dataset:modelregistry://") {
		t.Errorf("got %v", edges)
	}
}

func TestBadQuestionsForLineageAreRefused(t *testing.T) {
	r := pipeline(t)
	for _, c := range []struct {
		query  string
		status int
		code   handlers.Code
		rule   string
	}{
		{"", 400, handlers.CodeInvalid, "required"},
		{"?nodeId=", 400, handlers.CodeInvalid, "required"},
		{"?nodeId=clean", 400, handlers.CodeInvalid, "node_id"},
		{"?nodeId=dataset:clean", 400, handlers.CodeInvalid, "node_id"},
		{"?nodeId=dataset::", 400, handlers.CodeInvalid, "node_id"},
		{"?nodeId=run:a:b", 400, handlers.CodeInvalid, "node_id"},
		{"?nodeId=job:etl:" + strings.Repeat("x", handlers.MaxNode), 400, handlers.CodeInvalid, "max_length"},
		{"?nodeId=job:etl:clean&depth=-1", 400, handlers.CodeInvalid, "range"},
		{"?nodeId=job:etl:clean&depth=1001", 400, handlers.CodeInvalid, "range"},
		{"?nodeId=job:etl:clean&depth=all", 400, handlers.CodeInvalid, "range"},
		{"?nodeId=job:etl:clean&nodeId=job:etl:train", 400, handlers.CodeInvalid, "duplicate"},
		{"?nodeId=job:etl:clean&dept=1", 400, handlers.CodeInvalid, "unknown_parameter"},
		{"?nodeId=job:etl:clean&x=%zz", 400, handlers.CodeInvalid, "syntax"},
		{"?nodeId=job:etl:clean&as_of=1000000", 400, handlers.CodeInvalid, "not_in_the_future"},
		{"?nodeId=job:etl:clean&as_of=1", 404, handlers.CodeNodeNotFound, ""},
		{"?nodeId=job:etl:nothing", 404, handlers.CodeNodeNotFound, ""},
		{"?nodeId=dataset:s3://lake:nothing", 404, handlers.CodeNodeNotFound, ""},
		{"?nodeId=dataset:modelregistry://x:nothing", 404, handlers.CodeNodeNotFound, ""},
		{"?nodeId=" + strings.Repeat("job:", 5000), 404, handlers.CodeNodeNotFound, ""},
	} {
		t.Run(fmt.Sprintf("%.40s", c.query), func(t *testing.T) {
			var p api.Problem
			r.T = t
			r.must(c.status, "GET /api/v1/lineage"+c.query, "", &p)
			if p.Code != c.code || (c.rule != "" && (len(p.Errors) == 0 || p.Errors[0].Rule != c.rule)) {
				t.Errorf("got %+v, want %s and %s", p, c.code, c.rule)
			}
		})
	}
}
