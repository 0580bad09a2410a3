package openlineage

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

type object = map[string]any

// anyReports draws OpenLineage events of few runs, jobs and data sets, so that
// many speak of the same. No two happened at the same moment.
func anyReports(t *rapid.T) (bodies []string, times []time.Time) {
	run := rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("019a9f49-11aa-7c54-b7a2-00000000000%d", rapid.IntRange(1, 4).Draw(t, "run"))
	})
	name := rapid.Custom(func(t *rapid.T) object {
		return object{"namespace": "s3://lake", "name": rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name")}
	})
	dataset := rapid.Custom(func(t *rapid.T) object {
		d, facets := name.Draw(t, "dataset"), object{}
		if v := rapid.IntRange(0, 2).Draw(t, "version"); v > 0 {
			facets["version"] = object{"datasetVersion": fmt.Sprint(v)}
		}
		if rapid.IntRange(0, 5).Draw(t, "other name") == 0 {
			other := name.Draw(t, "symlink")
			other["namespace"], other["type"] = "hive://m:1", "TABLE"
			facets["symlinks"] = object{"identifiers": []object{other}}
		}
		d["facets"] = facets
		return d
	})
	datasets := rapid.SliceOfN(dataset, 0, 3)
	n := rapid.IntRange(1, 12).Draw(t, "reports")
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	order = rapid.Permutation(order).Draw(t, "moments")
	for i := range n {
		happened := testNow.Add(time.Duration(order[i]-100) * time.Minute)
		body := object{
			"eventTime": happened.Format(time.RFC3339), "producer": "https://example.com/p", "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
		}
		job := object{"namespace": "jobs", "name": rapid.SampledFrom([]string{"load", "train"}).Draw(t, "job")}
		if c := rapid.IntRange(0, 3).Draw(t, "commit"); c > 0 {
			job["facets"] = object{"sourceCodeLocation": object{"type": "git", "url": "https://example.com/code", "repoUrl": "https://example.com/code", "version": strings.Repeat(fmt.Sprint(c), 40)}}
		}
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			body["dataset"] = dataset.Draw(t, "the data set")
		case 1:
			body["job"], body["inputs"], body["outputs"] = job, datasets.Draw(t, "inputs"), datasets.Draw(t, "outputs")
		default:
			facets := object{}
			if rapid.IntRange(0, 3).Draw(t, "has parent") == 0 {
				facets["parent"] = object{"run": object{"runId": run.Draw(t, "parent")}, "job": object{"namespace": "jobs", "name": "parent"}}
			}
			body["eventType"] = rapid.SampledFrom([]string{"START", "RUNNING", "COMPLETE", "COMPLETE", "ABORT", "FAIL", "OTHER"}).Draw(t, "state")
			body["run"], body["job"] = object{"runId": run.Draw(t, "run"), "facets": facets}, job
			body["inputs"], body["outputs"] = datasets.Draw(t, "inputs"), datasets.Draw(t, "outputs")
		}
		data, err := json.Marshal(body, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		bodies, times = append(bodies, string(data)), append(times, happened)
	}
	return bodies, times
}

// told folds reports in an order, and gives the graph without what depends on when
// they came: the sequences of the events.
func told(t *rapid.T, bodies []string, times []time.Time, order []int) []string {
	s := projections.New()
	registry := ulid.ULID{15: 1}
	apply := func(d events.Data, occurred time.Time) {
		s.Apply(events.Event{
			Sequence: s.Applied() + 1, ID: registry, Registry: registry, Subject: "registry", Time: testNow, Occurred: occurred, Data: d,
		})
	}
	apply(events.RegistryCreated{RegistryID: registry, Level: events.Level}, time.Time{})
	var nodes []events.LineageNode
	for _, i := range order {
		e, err := Parse([]byte(bodies[i]), testNow)
		if err != nil {
			t.Fatalf("%v: %s", err, bodies[i])
		}
		r := command(e).Report
		apply(events.LineageReported{
			RegistryID: registry, Format: r.Format, RunID: r.RunID, ParentRun: r.ParentRun, Job: r.Job, State: r.State,
			Inputs: r.Inputs, Outputs: r.Outputs, Same: r.Same, Derived: r.Derived, Code: r.Code, Raw: r.Raw,
		}, times[i])
		if r.RunID != "" {
			nodes = append(nodes, events.LineageNode{Kind: events.RunNode, Name: r.RunID})
		}
		for _, d := range slices.Concat(r.Inputs, r.Outputs) {
			nodes = append(nodes, d.Node(), events.LineageNode{Kind: events.DatasetNode, Namespace: d.Namespace, Name: d.Name})
		}
	}
	v := s.At(s.Applied())
	var shown []string
	for _, start := range nodes {
		for _, direction := range []projections.LineageDirection{projections.Upstream, projections.Downstream} {
			g := v.Lineage(start, projections.LineageQuery{Direction: direction})
			for _, n := range g.Nodes {
				shown = append(shown, fmt.Sprintf("from %v %d: %v, %d away, %v, state %s", start, direction, n.LineageNode, n.Depth, n.Certainty, n.State))
			}
			for _, e := range g.Steps {
				if e.Type == "specializationOf" || e.Type == "alternateOf" { // one of several that lead there, by when they came
					continue
				}
				shown = append(shown, fmt.Sprintf("from %v %d: %v, %v", start, direction, e.LineageEdge, e.Certainty))
			}
		}
	}
	slices.Sort(shown)
	return slices.Compact(shown)
}

// TestReportsInAnyOrderAndRepeatedGiveTheSameGraph: who sends them tries again, and
// from many machines.
func TestReportsInAnyOrderAndRepeatedGiveTheSameGraph(t *testing.T) {
	largest := 0
	rapid.Check(t, func(t *rapid.T) {
		bodies, times := anyReports(t)
		order := make([]int, len(bodies))
		for i := range order {
			order[i] = i
		}
		want := told(t, bodies, times, order)
		largest = max(largest, len(want))
		again := slices.Clone(order)
		for range rapid.IntRange(0, 6).Draw(t, "repeats") {
			again = append(again, rapid.SampledFrom(order).Draw(t, "repeated"))
		}
		chance := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 0))
		chance.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		if diff := cmp.Diff(want, told(t, bodies, times, again)); diff != "" {
			t.Fatalf("in the order %v (-want +got):\n%s\n%s", again, diff, strings.Join(bodies, "\n"))
		}
	})
	if largest < 20 {
		t.Errorf("the largest graph has %d lines: the test shows too little", largest)
	}
}
