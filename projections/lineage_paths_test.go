package projections_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

func featureOf(name string) events.LineageNode {
	return events.LineageNode{Kind: events.FeatureNode, Name: name}
}

// lineageOf folds events after the registry's creation: the first has sequence 2.
func lineageOf(told ...events.Data) *projections.State {
	s := projections.New()
	all := append([]events.Data{events.RegistryCreated{RegistryID: registryID, Level: events.Level}}, told...)
	for i, d := range all {
		s.Apply(events.Event{
			Sequence: uint64(i + 1), ID: registryID, Registry: registryID, Subject: "registry", Time: firstMoment.Add(time.Duration(i) * time.Second), Data: d,
		})
	}
	return s
}

func recorded(edges ...events.LineageEdge) events.LineageRecorded {
	return events.LineageRecorded{RegistryID: registryID, Edges: edges}
}

// spelled gives a path as a line: "a -used 3-> b", with the sequence, each step the
// way that it is gone.
func spelled(from events.LineageNode, path []projections.LineageStep) string {
	line := nameOf(from)
	for _, s := range path {
		next := s.To
		if next == from {
			next = s.From
		}
		line += fmt.Sprintf(" -%s %d-> %s", s.Type, s.Sequence, nameOf(next))
		from = next
	}
	return line
}

func nameOf(n events.LineageNode) string {
	if n.Version != "" {
		return n.Name + ":" + n.Version
	}
	return n.Name
}

func spelledAll(from events.LineageNode, paths [][]projections.LineageStep) (lines []string) {
	for _, p := range paths {
		lines = append(lines, spelled(from, p))
	}
	return lines
}

// bySteps compares paths by how long they are.
func bySteps(a, b string) int { return strings.Count(a, "->") - strings.Count(b, "->") }

func TestPathsBetweenTwoThings(t *testing.T) {
	a, b, c, lone := runOf("a"), runOf("b"), runOf("c"), runOf("lone")
	f, g := featureOf("f"), featureOf("g")
	informed := func(effect, cause events.LineageNode) events.Data {
		return recorded(events.LineageEdge{From: effect, To: cause, Type: events.WasInformedBy})
	}
	used := func(run, of events.LineageNode) events.Data {
		return recorded(events.LineageEdge{From: run, To: of, Type: events.Used})
	}
	made := func(of, run events.LineageNode) events.Data {
		return recorded(events.LineageEdge{From: of, To: run, Type: events.WasGeneratedBy})
	}
	diamond := []events.Data{made(f, a), made(g, a), used(b, f), used(b, g), informed(b, a)} // 2 to 6
	circle := []events.Data{informed(b, a), informed(c, b), informed(a, c)}
	for _, test := range []struct {
		name     string
		told     []events.Data
		from, to events.LineageNode
		at       uint64 // 0 for the end
		limit    int    // 0 for 10
		want     []string
		more     bool
	}{
		{name: "an effect", told: diamond[4:], from: a, to: b, want: []string{"a -wasInformedBy 2-> b"}},
		{name: "a cause", told: diamond[4:], from: b, to: a, want: []string{"b -wasInformedBy 2-> a"}},
		{name: "several, the shortest first", told: diamond, from: a, to: b, want: []string{
			"a -wasInformedBy 6-> b", "a -wasGeneratedBy 2-> f -used 4-> b", "a -wasGeneratedBy 3-> g -used 5-> b",
		}},
		{name: "several to the cause", told: diamond, from: b, to: a, want: []string{
			"b -wasInformedBy 6-> a", "b -used 4-> f -wasGeneratedBy 2-> a", "b -used 5-> g -wasGeneratedBy 3-> a",
		}},
		{name: "as of a moment", told: diamond, from: a, to: b, at: 4, want: []string{"a -wasGeneratedBy 2-> f -used 4-> b"}},
		{name: "before there was one", told: diamond, from: a, to: b, at: 3},
		{name: "as many as are asked for", told: diamond, from: a, to: b, limit: 1, want: []string{"a -wasInformedBy 6-> b"}, more: true},
		{name: "exactly as many", told: diamond, from: f, to: b, limit: 1, want: []string{"f -used 4-> b"}},
		{name: "no way down and up again", told: diamond, from: f, to: g},
		{name: "around a circle", told: circle, from: a, to: c, want: []string{"a -wasInformedBy 2-> b -wasInformedBy 3-> c"}},
		{name: "to itself", told: circle, from: a, to: a},
		{name: "to what nothing speaks of", told: circle, from: a, to: lone},
		{name: "from what nothing speaks of", told: circle, from: lone, to: a},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := lineageOf(test.told...)
			at, limit := test.at, test.limit
			if at == 0 {
				at = s.Applied()
			}
			if limit == 0 {
				limit = 10
			}
			paths, more := s.At(at).LineagePaths(test.from, test.to, limit)
			got := spelledAll(test.from, paths)
			if !slices.IsSortedFunc(got, bySteps) {
				t.Errorf("not the shortest first: %q", got)
			}
			slices.SortFunc(got, func(a, b string) int { return cmp.Or(bySteps(a, b), strings.Compare(a, b)) })
			if diff := gocmp.Diff(test.want, got); diff != "" || more != test.more {
				t.Errorf("more %v (-want +got):\n%s", more, diff)
			}
		})
	}
}

// plainPaths finds all ways from one node to another along edges by trying each.
func plainPaths(edges map[events.LineageEdge]uint64, from, to events.LineageNode, down bool) (lines []string) {
	var walk func(at events.LineageNode, path []projections.LineageStep, on map[events.LineageNode]bool)
	walk = func(at events.LineageNode, path []projections.LineageStep, on map[events.LineageNode]bool) {
		if at == to {
			lines = append(lines, spelled(from, path))
			return
		}
		on[at] = true
		for e, sequence := range edges {
			next, here := e.To, e.From
			if down {
				next, here = e.From, e.To
			}
			if here == at && !on[next] {
				walk(next, append(slices.Clip(path), projections.LineageStep{LineageEdge: e, Sequence: sequence}), on)
			}
		}
		delete(on, at)
	}
	if from != to {
		walk(from, nil, map[events.LineageNode]bool{})
	}
	return lines
}

// TestPathsAreThoseThatTryingEachWayFinds on small graphs with circles.
func TestPathsAreThoseThatTryingEachWayFinds(t *testing.T) {
	longest, most := 0, 0
	for seed := range uint64(400) {
		chance := rand.New(rand.NewPCG(seed, 0))
		var nodes []events.LineageNode
		for i := range 3 + chance.IntN(4) {
			n := runOf(fmt.Sprint("r", i))
			if i%3 == 2 {
				n = featureOf(fmt.Sprint("f", i))
			}
			nodes = append(nodes, n)
		}
		edges := map[events.LineageEdge]uint64{}
		var told []events.Data
		for range 2 + chance.IntN(24) {
			e := events.LineageEdge{From: nodes[chance.IntN(len(nodes))], To: nodes[chance.IntN(len(nodes))]}
			switch {
			case e.From == e.To || e.From.Kind == events.FeatureNode && e.To.Kind == events.FeatureNode:
				continue
			case e.From.Kind == events.FeatureNode:
				e.Type = events.WasGeneratedBy
			case e.To.Kind == events.FeatureNode:
				e.Type = events.Used
			default:
				e.Type = events.WasInformedBy
			}
			told = append(told, recorded(e))
			if _, there := edges[e]; !there {
				edges[e] = uint64(len(told) + 1)
			}
		}
		s := lineageOf(told...)
		at := s.Applied()
		if chance.IntN(3) == 0 {
			at = 1 + chance.Uint64N(at)
		}
		for e, sequence := range edges {
			if sequence > at {
				delete(edges, e)
			}
		}
		from, to := nodes[chance.IntN(len(nodes))], nodes[chance.IntN(len(nodes))]
		want := plainPaths(edges, from, to, true)
		if len(want) == 0 {
			want = plainPaths(edges, from, to, false)
		}
		most = max(most, len(want))

		// All of them, none twice, the shortest first.
		paths, more := s.At(at).LineagePaths(from, to, len(want)+1)
		got := spelledAll(from, paths)
		if more || !slices.IsSortedFunc(got, bySteps) {
			t.Errorf("graph %d: more %v: %q", seed, more, got)
		}
		slices.Sort(want)
		sorted := slices.Sorted(slices.Values(got))
		if diff := gocmp.Diff(want, sorted); diff != "" {
			t.Fatalf("graph %d: from %s to %s as of %d (-want +got):\n%s", seed, nameOf(from), nameOf(to), at, diff)
		}
		if len(want) == 0 {
			continue
		}
		longest = max(longest, strings.Count(got[len(got)-1], "->"))

		// Fewer: the shortest is there, and it says whether there are others.
		limit := 1 + chance.IntN(len(want))
		paths, more = s.At(at).LineagePaths(from, to, limit)
		few := spelledAll(from, paths)
		if len(few) != limit || more != (limit < len(want)) || bySteps(few[0], got[0]) != 0 {
			t.Fatalf("of %d paths %d were asked for, and are %q, more %v", len(want), limit, few, more)
		}
		for i, line := range few {
			if _, there := slices.BinarySearch(want, line); !there || slices.Contains(few[:i], line) {
				t.Errorf("%s is no path, or is there twice", line)
			}
		}
	}
	if longest < 5 || most < 8 {
		t.Errorf("the longest path had %d steps, and there were %d at most: the test shows too little", longest, most)
	}
}

// TestPathsOfManyAreGivenUp: there are more than anybody could count between the ends
// of a ladder, and some are given at once.
func TestPathsOfManyAreGivenUp(t *testing.T) {
	var told []events.Data
	const rungs = 60
	node := func(i, side int) events.LineageNode { return runOf(fmt.Sprintf("%d.%d", i, side)) }
	for i := range rungs {
		var edges []events.LineageEdge
		for side := range 4 {
			edges = append(edges, events.LineageEdge{From: node(i+1, side/2), To: node(i, side%2), Type: events.WasInformedBy})
		}
		told = append(told, recorded(edges...))
	}
	s := lineageOf(told...)
	paths, more := s.At(s.Applied()).LineagePaths(node(0, 0), node(rungs, 1), 25)
	if len(paths) != 25 || !more {
		t.Errorf("%d paths, more %v", len(paths), more)
	}
	for i, p := range paths {
		if len(p) != rungs {
			t.Errorf("path %d has %d steps", i, len(p))
		}
	}
}
