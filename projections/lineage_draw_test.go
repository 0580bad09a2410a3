package projections_test

import (
	"slices"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"pgregory.net/rapid"
)

// drawn is a graph as sets; each node and each step must be there once.
func drawn(t *rapid.T, g projections.LineageGraph) (nodes map[events.LineageNode]bool, steps map[projections.LineageStep]bool) {
	nodes, steps = map[events.LineageNode]bool{}, map[projections.LineageStep]bool{}
	for _, n := range g.Nodes {
		if nodes[n.LineageNode] {
			t.Errorf("%v is there twice", n.LineageNode)
		}
		nodes[n.LineageNode] = true
	}
	for _, s := range g.Steps {
		if steps[s] {
			t.Errorf("%v is there twice", s)
		}
		steps[s] = true
		if !nodes[s.From] || !nodes[s.To] {
			t.Errorf("%v has an end that isn't there", s)
		}
	}
	return nodes, steps
}

func TestBothWaysAreEachWayTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 5, 60)
		s := fold(told)
		v := s.At(s.Applied())
		starts := slices.Clone(someStarts)
		for m := range v.Models("") {
			for version := range v.Versions(m.ID, 0) {
				starts = append(starts, version.ID.Node())
			}
		}
		for target := range v.Targets(projections.TargetName{}) {
			starts = append(starts, events.LineageNode{Kind: events.TargetNode, TargetID: target.ID})
		}
		depth := rapid.IntRange(0, 3).Draw(t, "depth")
		for _, start := range starts {
			ask := func(d projections.LineageDirection) (map[events.LineageNode]bool, map[projections.LineageStep]bool) {
				return drawn(t, v.Lineage(start, projections.LineageQuery{Direction: d, Depth: depth}))
			}
			upNodes, upSteps := ask(projections.Upstream)
			downNodes, downSteps := ask(projections.Downstream)
			nodes, steps := ask(projections.BothWays)
			sameSets(t, "nodes", nodes, upNodes, downNodes)
			sameSets(t, "steps", steps, upSteps, downSteps)
			if len(nodes) > 0 && !nodes[start] {
				t.Errorf("%v isn't in its own graph", start)
			}
		}
	})
}

func sameSets[K comparable](t *rapid.T, what string, both, up, down map[K]bool) {
	for k := range both {
		if !up[k] && !down[k] {
			t.Errorf("%s both ways: %v is neither up nor down", what, k)
		}
	}
	for _, way := range []map[K]bool{up, down} {
		for k := range way {
			if !both[k] {
				t.Errorf("%s both ways: %v is missing", what, k)
			}
		}
	}
}
