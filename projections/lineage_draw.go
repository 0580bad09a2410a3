package projections

import (
	"slices"

	"github.com/modelog/modelog/events"
)

// drawing puts together what walks have found: each node, each edge, and each step
// between two names of a thing, once.
type drawing struct {
	view  View
	graph LineageGraph

	places numberMap                       // one more than a node's place in the graph, by its number
	edges  numberMap                       // by their numbers
	same   map[[2]uint32]struct{}          // steps between two names of a thing, by their nodes' numbers
	named  map[events.LineageNode]struct{} // nodes without a number: targets, and versions that have no lineage
}

func newDrawing(v View) *drawing {
	return &drawing{view: v, same: map[[2]uint32]struct{}{}, named: map[events.LineageNode]struct{}{}}
}

// oneWay adds what a node comes from, or what comes from it.
func (d *drawing) oneWay(start events.LineageNode, down bool, q LineageQuery) {
	if start.Kind == events.TargetNode {
		d.underTarget(start, down, q)
		return
	}
	w := d.view.newWalk(down, q.Depth, q.Limit)
	w.beginWith(start)
	w.run()
	d.add(w, 0)
	if len(w.order) == 0 { // a version that has no lineage
		d.name(LineageFound{LineageNode: start})
	}
	if !down {
		return
	}
	if len(w.order) == 0 {
		d.targetsOf(LineageFound{LineageNode: start}, q)
	}
	for _, n := range w.versions() {
		d.targetsOf(n, q)
	}
}

// underTarget adds what a target's route table leads to.
func (d *drawing) underTarget(start events.LineageNode, down bool, q LineageQuery) {
	d.name(LineageFound{LineageNode: start})
	table, generation, ok := d.view.Routes(start.TargetID)
	if !ok || down {
		return
	}
	w := d.view.newWalk(false, max(q.Depth-1, 0), q.Limit)
	for _, variant := range table.Variants {
		d.graph.Steps = append(d.graph.Steps, runsOn(start, versionOf(variant), generation))
		w.beginWith(versionOf(variant).Node())
	}
	if q.Depth != 1 {
		w.run()
	}
	d.add(w, 1)
	for _, variant := range table.Variants { // also those that nothing is known of
		if !d.has(versionOf(variant).Node()) {
			d.name(LineageFound{LineageNode: versionOf(variant).Node(), Depth: 1})
		}
	}
}

// targetsOf adds what a version that was found downstream serves.
func (d *drawing) targetsOf(n LineageFound, q LineageQuery) {
	if n.Kind != events.VersionNode || (q.Depth > 0 && n.Depth >= q.Depth) {
		return
	}
	for _, step := range d.view.RunsOn(n.VersionID()) {
		d.name(LineageFound{LineageNode: step.From, Sequence: step.Sequence, Depth: n.Depth + 1, Certainty: n.Certainty})
		d.graph.Steps = append(d.graph.Steps, step)
	}
}

// name adds a node that has no number.
func (d *drawing) name(n LineageFound) {
	if _, before := d.named[n.LineageNode]; !before {
		d.named[n.LineageNode] = struct{}{}
		d.graph.Nodes = append(d.graph.Nodes, n)
	}
}

// has says whether a node that has a number was drawn.
func (d *drawing) has(n events.LineageNode) bool {
	s := d.view.state
	s.lock.RLock()
	defer s.lock.RUnlock()
	number := s.lineage.find(n, d.view.Sequence)
	return number != 0 && d.places.get(number) != 0
}

// add draws what a walk has found, so many steps further away, and the edges
// between. It lets the writer in now and then.
func (d *drawing) add(w *lineageWalk, further int) {
	lock := &d.view.state.lock
	lock.RLock()
	defer lock.RUnlock()
	steps := 0
	breathe := func() {
		if steps++; steps%1024 == 0 {
			lock.RUnlock()
			lock.RLock()
		}
	}
	d.graph.More = d.graph.More || w.more
	d.graph.Nodes = slices.Grow(d.graph.Nodes, len(w.order))
	d.graph.Steps = slices.Grow(d.graph.Steps, len(w.taken))
	for _, at := range w.order {
		breathe()
		if n := w.visits[at].node; d.places.get(n) == 0 {
			found := w.found(at)
			found.Depth += further
			d.graph.Nodes = append(d.graph.Nodes, found)
			d.places.set(n, uint32(len(d.graph.Nodes))) //nolint:gosec // memory ends long before
		}
	}
	for _, edge := range w.taken {
		breathe()
		e := &w.lineage.edges[edge]
		if w.nodes.get(e.from) != 0 && w.nodes.get(e.to) != 0 && d.edges.get(edge) == 0 {
			d.edges.set(edge, 1)
			d.graph.Steps = append(d.graph.Steps, w.edgeStep(edge, d.node))
		}
	}
	for i := 1; i < len(w.visits); i++ {
		breathe()
		if v := &w.visits[i]; v.edge == 0 && v.before != 0 && w.nodes.get(v.node) == uint32(i) { //nolint:gosec // memory ends long before
			d.addSame(w, v)
		}
	}
}

func (d *drawing) addSame(w *lineageWalk, v *lineageVisit) {
	effect, cause := w.ends(v)
	if _, before := d.same[[2]uint32{effect, cause}]; before {
		return
	}
	d.same[[2]uint32{effect, cause}] = struct{}{}
	d.graph.Steps = append(d.graph.Steps, w.sameStep(v, d.node))
}

// node gives a node that was drawn, by its number.
func (d *drawing) node(n uint32) events.LineageNode {
	return d.graph.Nodes[d.places.get(n)-1].LineageNode
}
