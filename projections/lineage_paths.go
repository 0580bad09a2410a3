package projections

import (
	"cmp"
	"slices"

	"github.com/modelog/modelog/events"
)

// pathSearch finds paths between two nodes: it goes ahead by what is nearest to
// the end, as a walk back from there has told, and takes back steps that lead
// nowhere. There can be more paths than anybody could count, so that it gives up
// after so many steps.
type pathSearch struct {
	forward, back *lineageWalk
	from, to      uint32
	budget        int
	path          []pathStep
	on            map[uint32]bool // nodes of the path
}

// pathStep is a visit of the forward walk, with the steps from there that are still
// to be tried, the nearest to the end first.
type pathStep struct {
	visit uint32
	tries []uint32 // visits
}

const pathBudget = 200_000

func newPathSearch(v View, from, to events.LineageNode, down bool) *pathSearch {
	s := &pathSearch{forward: v.newWalk(down, 0, 0), back: v.newWalk(!down, 0, 0), budget: pathBudget, on: map[uint32]bool{}}
	v.state.lock.RLock()
	s.from, s.to = v.state.lineage.find(from, v.Sequence), v.state.lineage.find(to, v.Sequence)
	if s.from == 0 || s.to == 0 {
		v.state.lock.RUnlock()
		return nil
	}
	s.back.begin(s.to, ExactDigest)
	v.state.lock.RUnlock()
	s.back.byDistance = true
	s.back.run()
	if s.back.nodes.get(s.from) == 0 {
		return nil
	}
	return s
}

func (s *pathSearch) run(limit int) (paths [][]LineageStep, more bool) {
	s.forward.visits = append(s.forward.visits, lineageVisit{node: s.from})
	s.enter(1)
	for len(s.path) > 0 {
		last := &s.path[len(s.path)-1]
		if len(last.tries) == 0 || s.budget <= 0 {
			if s.budget <= 0 {
				return s.sorted(paths), true
			}
			delete(s.on, s.forward.visits[last.visit].node)
			s.path = s.path[:len(s.path)-1]
			continue
		}
		visit := last.tries[0]
		last.tries = last.tries[1:]
		s.budget--
		node := s.forward.visits[visit].node
		switch {
		case s.on[node]:
		case node != s.to:
			s.enter(visit)
		case len(paths) == limit:
			return s.sorted(paths), true
		default:
			paths = append(paths, s.forward.path(visit))
		}
	}
	return s.sorted(paths), false
}

func (s *pathSearch) sorted(paths [][]LineageStep) [][]LineageStep {
	slices.SortStableFunc(paths, func(a, b []LineageStep) int { return cmp.Compare(len(a), len(b)) })
	return paths
}

// enter goes on to a visit, and looks where it leads.
func (s *pathSearch) enter(visit uint32) {
	w := s.forward
	s.on[w.visits[visit].node] = true
	if s.from == s.to { // the path of no steps is none
		s.path = append(s.path, pathStep{visit: visit})
		return
	}
	first := len(w.visits)
	w.best, w.queues = numberMap{}, w.queues[:0]
	clear(w.spread)
	state := w.view.state
	state.lock.RLock()
	w.follow(visit)
	w.sameThings(visit)
	state.lock.RUnlock()
	w.taken = w.taken[:0]
	var tries []uint32
	for at := first; at < len(w.visits); at++ {
		if s.back.nodes.get(w.visits[at].node) != 0 {
			tries = append(tries, uint32(at)) //nolint:gosec // memory ends long before
		}
	}
	s.budget -= len(w.visits) - first
	slices.SortStableFunc(tries, func(a, b uint32) int { return cmp.Compare(s.distance(a), s.distance(b)) })
	s.path = append(s.path, pathStep{visit, tries})
}

func (s *pathSearch) distance(visit uint32) uint32 {
	return s.back.visits[s.back.nodes.get(s.forward.visits[visit].node)].depth
}
