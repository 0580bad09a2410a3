package projections

import (
	"cmp"
	"slices"

	"github.com/modelog/modelog/events"
)

// LineageStep is one step of a path or of a graph. Its edge leads from the effect
// to the cause, whichever way one walks. Where the two are the same thing under
// another name, its type is specializationOf or alternateOf.
type LineageStep struct {
	events.LineageEdge
	Sequence  uint64 // of the event that tells it; of the same thing, of the one that spoke of the later of the two
	Certainty Certainty
}

// LineageFound is a node that was found.
type LineageFound struct {
	events.LineageNode
	Sequence  uint64 // of the event that first spoke of it
	Depth     int    // how many steps from where the search began
	Certainty Certainty
	State     string // of a run, as OpenLineage has it; empty if nobody said
}

// LineageGraph is a part of the graph, or what is on some paths.
type LineageGraph struct {
	Nodes []LineageFound // the one that was asked for first, then the surest, of those the nearest
	Steps []LineageStep
	More  bool // the limit left something out
}

// LineageDirection is which way to go.
type LineageDirection int

// The directions.
const (
	Upstream   LineageDirection = iota // to causes
	Downstream                         // to effects
	BothWays
)

// LineageQuery says what of the graph is asked for.
type LineageQuery struct {
	Direction LineageDirection
	Depth     int // how many steps to go, 0 for any number
	Limit     int // how many nodes at most each way, 0 for any number
}

// SequencesOf gives the sequences of the events that tell steps, rising.
func SequencesOf(steps []LineageStep) []uint64 {
	all := make([]uint64, len(steps))
	for i, s := range steps {
		all[i] = s.Sequence
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// HasLineageEdge says whether an edge is there already, as it would be recorded.
func (v View) HasLineageEdge(e events.LineageEdge) bool {
	kind, known := edgeKindOf(e.Type)
	if !known {
		return false
	}
	v.state.lock.RLock()
	defer v.state.lock.RUnlock()
	l := v.state.lineage
	role := l.knownRole(e.Role)
	if e.Role == "" {
		role = 0
	} else if role == 0 && len(l.roles) < maxRoles {
		return false
	}
	from, to := l.find(e.From, v.Sequence), l.find(e.To, v.Sequence)
	if from == 0 || to == 0 {
		return false
	}
	wanted := lineageEdge{mark: uint64(kind)<<roleBits | uint64(role), from: from, to: to}
	place := l.lookupEdge(l.edgeHash(&wanted), &wanted)
	return place != 0 && l.edges[place].sequence() <= v.Sequence
}

// HasLineageNode says whether anything speaks of a node.
func (v View) HasLineageNode(n events.LineageNode) bool {
	if n.Kind == events.TargetNode {
		_, _, ok := v.TargetByID(n.TargetID)
		return ok
	}
	if n.Kind == events.VersionNode {
		_, ok := v.Registration(n.VersionID())
		return ok
	}
	w := v.newWalk(false, 0, 0)
	v.state.lock.RLock()
	defer v.state.lock.RUnlock()
	found := v.state.lineage.find(n, v.Sequence)
	return found != 0 && v.state.lineage.exists(found, v.Sequence, w.passed)
}

// Lineage gives what a node comes from, or what comes from it, with all edges
// between what was found. It is empty for a node that nothing speaks of.
func (v View) Lineage(start events.LineageNode, q LineageQuery) LineageGraph {
	if !v.HasLineageNode(start) {
		return LineageGraph{}
	}
	d := newDrawing(v)
	if q.Direction != Downstream {
		d.oneWay(start, false, q)
	}
	if q.Direction != Upstream {
		d.oneWay(start, true, q)
	}
	return d.graph
}

// beginWith begins with a node, if it is there.
func (w *lineageWalk) beginWith(start events.LineageNode) {
	w.view.state.lock.RLock()
	defer w.view.state.lock.RUnlock()
	if n := w.lineage.find(start, w.view.Sequence); n != 0 {
		w.begin(n, ExactDigest)
	}
}

// RunsOn gives what a version serves: the steps from the targets that it runs on.
func (v View) RunsOn(id events.VersionID) (steps []LineageStep) {
	for t := range v.DeployedTo(id) {
		_, generation, _ := v.Routes(t.ID)
		steps = append(steps, runsOn(events.LineageNode{Kind: events.TargetNode, TargetID: t.ID}, id, generation))
	}
	return steps
}

func runsOn(target events.LineageNode, id events.VersionID, generation uint64) LineageStep {
	return LineageStep{LineageEdge: events.LineageEdge{From: target, To: id.Node(), Type: events.Used}, Sequence: generation}
}

func (w *lineageWalk) found(at uint32) LineageFound {
	v, l := &w.visits[at], w.lineage
	f := LineageFound{LineageNode: l.describe(v.node), Sequence: l.nodes[v.node].sequence, Depth: int(v.depth), Certainty: v.certainty}
	if l.nodes[v.node].kind == runNode {
		if fact := l.factAt(v.node, stateFact, w.view.Sequence); fact != 0 {
			f.State = runStates[l.facts[fact].value]
		}
	}
	return f
}

// versions gives the model versions that a walk has found.
func (w *lineageWalk) versions() (found []LineageFound) {
	s := w.view.state
	s.lock.RLock()
	defer s.lock.RUnlock()
	for _, at := range w.order {
		if w.lineage.nodes[w.visits[at].node].kind == versionNode {
			found = append(found, w.found(at))
		}
	}
	return found
}

// edgeStep is the step along an edge, with its ends as node gives them.
func (w *lineageWalk) edgeStep(edge uint32, node func(n uint32) events.LineageNode) LineageStep {
	l := w.lineage
	e := &l.edges[edge]
	step := LineageStep{
		LineageEdge: events.LineageEdge{From: node(e.from), To: node(e.to), Type: edgeTypes[e.kind()], Role: l.roles[e.role()].text},
		Sequence:    e.sequence(), Certainty: w.certaintyOf(e, e.to),
	}
	if l.nodes[e.from].kind == datasetNode {
		step.Certainty = SameName
	}
	return step
}

// ends gives the two nodes of a visit's step, as an edge would have them.
func (w *lineageWalk) ends(v *lineageVisit) (effect, cause uint32) {
	if w.down {
		return v.node, w.visits[v.before].node
	}
	return w.visits[v.before].node, v.node
}

// sameStep is the step of a visit from one name of a thing to another.
func (w *lineageWalk) sameStep(v *lineageVisit, node func(n uint32) events.LineageNode) LineageStep {
	l := w.lineage
	effect, cause := w.ends(v)
	step := LineageStep{
		LineageEdge: events.LineageEdge{From: node(effect), To: node(cause), Type: events.AlternateOf},
		Sequence:    max(l.nodes[effect].sequence, l.nodes[cause].sequence),
	}
	switch {
	case l.nodes[effect].parent == cause:
		step.Type, step.Certainty = events.SpecializationOf, SameName
	case l.nodes[cause].kind == artifactNode || l.nodes[effect].kind == artifactNode:
		step.Certainty = ExactDigest
	default:
		step.Certainty, _ = sameDataset(step.From.Dataset(), step.To.Dataset())
	}
	return step
}

// path gives the steps from where a walk began to a visit, in that order.
func (w *lineageWalk) path(at uint32) []LineageStep {
	s := w.view.state
	s.lock.RLock()
	defer s.lock.RUnlock()
	var steps []LineageStep
	for v := &w.visits[at]; v.before != 0; v = &w.visits[v.before] {
		if v.edge != 0 {
			steps = append(steps, w.edgeStep(v.edge, w.lineage.describe))
		} else {
			steps = append(steps, w.sameStep(v, w.lineage.describe))
		}
	}
	slices.Reverse(steps)
	return steps
}

// Impact is everything that was trained on, derived from or serves anything that a
// data set has touched, the surest first, of those the nearest. It is for one
// goroutine.
type Impact struct {
	walk  *lineageWalk
	order []uint32 // visits that found what came of it
}

// Impact finds what came of a data set, or of one version of it, by any name that
// it may have.
func (v View) Impact(d events.DatasetVersion) *Impact {
	w := v.newWalk(true, 0, 0)
	v.state.lock.RLock()
	w.beginAt(d)
	v.state.lock.RUnlock()
	w.run()
	return &Impact{walk: w, order: w.order}
}

// Len gives how many nodes there are, without the targets that versions run on.
func (i *Impact) Len() int { return len(i.order) }

// At gives a node by its number from 0, in the order of the impact.
func (i *Impact) At(n int) LineageFound {
	s := i.walk.view.state
	s.lock.RLock()
	defer s.lock.RUnlock()
	return i.walk.found(i.order[n])
}

// Kind gives the kind of a node by its number.
func (i *Impact) Kind(n int) events.LineageKind {
	s := i.walk.view.state
	s.lock.RLock()
	defer s.lock.RUnlock()
	return lineageKinds[i.walk.lineage.nodes[i.walk.visits[i.order[n]].node].kind]
}

// IsDataset says whether a node, by its number, is the data set itself, by one of
// the names that it may have.
func (i *Impact) IsDataset(n int) bool { return i.walk.visits[i.order[n]].before == 0 }

// Path gives the steps from the data set to a node by its number, in that order;
// empty for what the data set is itself.
func (i *Impact) Path(n int) []LineageStep { return i.walk.path(i.order[n]) }

// UnknownLineage gives the versions that are there and of which nobody has said
// what they come from: they have no data set, no run, and nothing that they were
// derived from. They come by model and number, after one, so many at most.
func (v View) UnknownLineage(after events.VersionID, limit int) (unknown []events.VersionID, more bool) {
	for id := range v.state.versions.ascend(v.Sequence, after) {
		if compareVersionIDs(id, after) <= 0 || v.hasOrigin(id) {
			continue
		}
		if len(unknown) == limit {
			return unknown, true
		}
		unknown = append(unknown, id)
	}
	return unknown, false
}

func (v View) hasOrigin(id events.VersionID) bool {
	s := v.state
	s.lock.RLock()
	defer s.lock.RUnlock()
	l := s.lineage
	n := l.find(id.Node(), v.Sequence)
	if n == 0 {
		return false
	}
	for edge := l.nodes[n].out; edge != 0; edge = l.edges[edge].nextOut {
		e := &l.edges[edge]
		if _, passed := l.passed(e, v.Sequence); passed {
			continue
		}
		to := l.nodes[e.to].kind
		switch e.kind() {
		case wasGeneratedBy, alternateOf, specializationOf:
			return true
		case wasDerivedFrom, used, hadMember:
			if to != codeNode && to != artifactNode {
				return true
			}
		default:
		}
	}
	return false
}

// LineagePaths gives paths between two nodes, the shortest first, so many at most:
// each the steps from the first node to the second, the way that leads there, up or
// down. No path meets a node twice. More says that there may be others.
func (v View) LineagePaths(from, to events.LineageNode, limit int) (paths [][]LineageStep, more bool) {
	for _, down := range []bool{true, false} {
		if paths, more = v.pathsOneWay(from, to, down, limit); len(paths) > 0 {
			return paths, more
		}
	}
	return nil, false
}

func (v View) pathsOneWay(from, to events.LineageNode, down bool, limit int) (paths [][]LineageStep, more bool) {
	if to.Kind == events.TargetNode || from.Kind == events.TargetNode {
		return v.pathsByTarget(from, to, down, limit)
	}
	s := newPathSearch(v, from, to, down)
	if s == nil {
		return nil, false
	}
	return s.run(limit)
}

// pathsByTarget finds the paths of the versions that run on a target.
func (v View) pathsByTarget(from, to events.LineageNode, down bool, limit int) (paths [][]LineageStep, more bool) {
	target, other := to, from
	if !down {
		target, other = from, to
	}
	if target.Kind != events.TargetNode || other.Kind == events.TargetNode {
		return nil, false
	}
	table, generation, ok := v.Routes(target.TargetID)
	if !ok {
		return nil, false
	}
	for _, variant := range table.Variants {
		id := versionOf(variant)
		step := []LineageStep{runsOn(target, id, generation)}
		if other == id.Node() {
			paths = append(paths, step)
			continue
		}
		begin, end := other, id.Node()
		if !down {
			begin, end = end, begin
		}
		found, further := v.pathsOneWay(begin, end, down, limit)
		for _, path := range found {
			if down {
				paths = append(paths, slices.Concat(path, step))
			} else {
				paths = append(paths, slices.Concat(step, path))
			}
		}
		more = more || further
	}
	slices.SortStableFunc(paths, func(a, b []LineageStep) int { return cmp.Compare(len(a), len(b)) })
	if len(paths) > limit {
		return paths[:limit], true
	}
	return paths, more
}
