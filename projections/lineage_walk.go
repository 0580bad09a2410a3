package projections

import (
	"bytes"

	"github.com/modelog/modelog/events"
)

// Certainty is how sure it is that two things of lineage hang together. Along a
// path the least sure step counts.
type Certainty uint8

// The certainties, the surest first.
const (
	// ExactDigest: each step is told by an event, or the two have the same digest.
	ExactDigest Certainty = iota
	// SameVersion: they have the same name and the same version, or the same place.
	SameVersion
	// SameName: they have the same name, and which version was meant isn't known.
	SameName
	certainties
)

var certaintyNames = [certainties]string{"exact_digest", "same_version", "same_name"}

func (c Certainty) String() string { return certaintyNames[c] }

// lineageWalk goes through the graph as of a view, breadth first, either from
// causes to effects or the other way.
//
// Beside the edges it follows what is the same thing under another name: by its
// digest, by name and version, or by the name where the version isn't known. A data
// set without a namespace, as registrations name them, is the same as those of that
// name in any namespace. Of the latter two kinds of step there are never two without
// an edge between them: if the version of a read isn't known it may be this version
// or that one, but those two are not the same for it.
type lineageWalk struct {
	view    View
	lineage *lineage
	down    bool // to effects
	depth   int  // how many steps to go, 0 for any number
	// byDistance makes the nearest come first, however sure it is; with a depth it
	// is so anyway.
	byDistance bool
	limit      int // how many nodes to find, 0 for any number

	// A place is a node, and whether it was reached by such a step (identity), so
	// that only edges lead on. Of each the rank of the best visit so far.
	best   numberMap      // one more than the rank
	visits []lineageVisit // the first one stands for none
	queues [][]uint32     // visits by rank
	rank   int            // that is being walked
	nodes  numberMap      // the first visit of each node
	order  []uint32       // the visits that found a node, in that order
	spread map[spreading]struct{}

	taken  []uint32 // edges that were followed, also to what was found before
	more   bool     // the limit left something out
	latest uint64   // sequence of the last event that told of anything met
	// doubted says that an edge was passed over that a run's reports speak against.
	doubted bool
}

// lineageVisit is one way to get to a node. Visits lead back to where the walk
// began.
type lineageVisit struct {
	node, before, edge uint32 // edge is 0 where the nodes are the same thing
	depth              uint32
	certainty          Certainty
	identity           bool
}

// spreading is what was passed on from a data set to those of the same name: doing
// it again from another version of the same kind would find nothing new.
type spreading struct {
	dataset  uint32 // or, for digests, the last node that has it
	labelled bool
	digests  string // how they are made, empty for none
	identity bool
}

func (v View) newWalk(down bool, depth, limit int) *lineageWalk {
	return &lineageWalk{
		view: v, lineage: v.state.lineage, down: down, depth: depth, limit: limit,
		visits: make([]lineageVisit, 1), spread: map[spreading]struct{}{},
	}
}

// begin puts a node at the beginning, with the state's lock held.
func (w *lineageWalk) begin(n uint32, certainty Certainty) {
	w.push(lineageVisit{node: n, certainty: certainty, identity: certainty != ExactDigest})
}

// rankOf orders visits: where all is walked, the surest first, else the nearest.
func (w *lineageWalk) rankOf(v *lineageVisit) int {
	if w.depth == 0 && !w.byDistance {
		return int(v.certainty)
	}
	return int(v.depth)*int(certainties) + int(v.certainty)
}

func (w *lineageWalk) push(v lineageVisit) {
	rank := uint32(w.rankOf(&v)) //nolint:gosec // small
	place := v.node << 1
	if best := w.best.get(place); best != 0 && best <= rank+1 { // reached by an edge, from where more leads on
		return
	}
	if v.identity {
		place |= 1
		if best := w.best.get(place); best != 0 && best <= rank+1 {
			return
		}
	}
	w.best.set(place, rank+1)
	for len(w.queues) <= int(rank) {
		w.queues = append(w.queues, nil)
	}
	w.queues[rank] = append(w.queues[rank], uint32(len(w.visits))) //nolint:gosec // memory ends long before
	w.visits = append(w.visits, v)
}

// run walks until there is nothing left, or too much. It takes the state's lock for
// a while at a time.
func (w *lineageWalk) run() {
	for w.rank = 0; w.rank < len(w.queues); w.rank++ {
		for i := 0; i < len(w.queues[w.rank]); i++ {
			if !w.visit(w.queues[w.rank][i]) {
				return
			}
		}
	}
}

func (w *lineageWalk) visit(at uint32) bool {
	v := &w.visits[at]
	place := v.node << 1
	if v.identity {
		place |= 1
	}
	if w.best.get(place) <= uint32(w.rank) { //nolint:gosec // small
		return true // a better one was made
	}
	found := w.nodes.get(v.node) != 0
	if !found {
		if w.limit > 0 && len(w.order) == w.limit {
			w.more = true
			return false
		}
		w.nodes.set(v.node, at)
		w.order = append(w.order, at)
	}
	w.view.state.lock.RLock()
	defer w.view.state.lock.RUnlock()
	w.latest = max(w.latest, w.lineage.nodes[v.node].sequence)
	if w.depth > 0 && int(v.depth) == w.depth {
		return true
	}
	if !found { // else its edges were followed from the visit before
		w.follow(at)
	}
	w.sameThings(at)
	return true
}

// follow takes the edges of a node. It lets the writer in now and then.
func (w *lineageWalk) follow(at uint32) {
	l := w.lineage
	from := w.visits[at]
	edge := l.nodes[from.node].out
	if w.down {
		edge = l.nodes[from.node].in
	}
	for steps := 1; edge != 0; steps++ {
		e := &l.edges[edge]
		next, neighbour := e.nextOut, e.to
		if w.down {
			next, neighbour = e.nextIn, e.from
		}
		if !w.passed(e) {
			w.taken = append(w.taken, edge)
			w.push(lineageVisit{
				node: neighbour, before: at, edge: edge, depth: from.depth + 1, certainty: max(from.certainty, w.certaintyOf(e, neighbour)),
			})
		}
		edge = next
		if steps%1024 == 0 {
			w.view.state.lock.RUnlock()
			w.view.state.lock.RLock()
		}
	}
}

// passed says whether an edge does not hold, and notes what says so.
func (w *lineageWalk) passed(e *lineageEdge) bool {
	fact, passed := w.lineage.passed(e, w.view.Sequence)
	if fact != 0 {
		w.latest = max(w.latest, w.lineage.facts[fact].sequence)
		w.doubted = w.doubted || passed
	}
	if !passed {
		w.latest = max(w.latest, e.sequence())
	}
	return passed
}

// certaintyOf gives how sure a step along an edge is: which version of a data set
// was meant isn't known where the data set itself is named.
func (w *lineageWalk) certaintyOf(e *lineageEdge, neighbour uint32) Certainty {
	switch {
	case w.lineage.nodes[neighbour].kind == datasetNode:
		return SameName
	case e.kind() == alternateOf:
		return SameVersion
	default:
		return ExactDigest
	}
}

// sameThings takes the steps to what is the same as a node.
func (w *lineageWalk) sameThings(at uint32) {
	l, v := w.lineage, w.visits[at]
	switch l.nodes[v.node].kind {
	case datasetVersionNode:
		w.sameDigest(at)
		if !v.identity {
			w.sameDataset(at, l.nodes[v.node].parent)
		}
	case datasetNode:
		if !v.identity {
			w.sameDataset(at, v.node)
		}
	case artifactNode:
		w.sameDigest(at)
	default:
	}
}

func (w *lineageWalk) same(at, n uint32, certainty Certainty) {
	v := w.visits[at]
	if n == v.node || !w.lineage.exists(n, w.view.Sequence, w.passed) {
		return
	}
	w.push(lineageVisit{
		node: n, before: at, depth: v.depth + 1, certainty: max(v.certainty, certainty), identity: v.identity || certainty != ExactDigest,
	})
}

func (w *lineageWalk) once(s spreading) bool {
	_, done := w.spread[s]
	w.spread[s] = struct{}{}
	return !done
}

func (w *lineageWalk) sameDigest(at uint32) {
	l, v := w.lineage, w.visits[at]
	digest := l.digestOf(v.node)
	if len(digest) == 0 {
		return
	}
	head := l.withDigest(digest)
	if !w.once(spreading{dataset: head, digests: "=", identity: v.identity}) {
		return
	}
	for n := head; n != 0; n = l.nodes[n].next {
		w.same(at, n, ExactDigest)
	}
}

func (w *lineageWalk) sameDataset(at, dataset uint32) {
	l, v := w.lineage, w.visits[at]
	isVersion := v.node != dataset
	if l.alone(dataset) {
		if other := l.nodes[dataset].first; !isVersion && other != 0 {
			w.same(at, other, SameName)
		}
		w.same(at, dataset, SameName)
		return
	}
	var s spreading
	if isVersion {
		digest, label := splitDigest(l.texts.get(l.nodes[v.node].text))
		if len(label) > 0 {
			spelled := string(label)
			l.eachNamesake(dataset, func(other uint32) {
				for n := l.labelled(other, spelled); n != 0; n = l.nodes[n].label {
					w.same(at, n, SameVersion)
				}
			})
		}
		s = spreading{labelled: len(label) > 0, digests: digestMaking(digest)}
	} else {
		s.identity = true // tells it from a version of which nothing is known
	}
	s.dataset = dataset
	if !w.once(s) {
		return
	}
	l.eachNamesake(dataset, func(other uint32) {
		w.same(at, other, SameName)
		for n := l.nodes[other].first; n != 0; n = l.nodes[n].sibling {
			if !isVersion || l.vague(v.node, n) {
				w.same(at, n, SameName)
			}
		}
	})
}

// alone says whether a data set is the only one of its name, and has one version at
// most, as is so of most.
func (l *lineage) alone(dataset uint32) bool {
	x := &l.nodes[dataset]
	if x.first != 0 && l.nodes[x.first].sibling != 0 {
		return false
	}
	name := l.texts.get(x.text)
	_, last := l.byCalled.find(l.hash(0, name), func(n uint32) bool { return bytes.Equal(l.texts.get(l.nodes[n].text), name) })
	return last == dataset && x.next == 0
}

// eachNamesake visits the data sets that may be the same as one: itself, and those
// of the same name of which one has no namespace.
func (l *lineage) eachNamesake(dataset uint32, visit func(n uint32)) {
	x := &l.nodes[dataset]
	name := string(l.texts.get(x.text))
	if x.parent == 0 {
		for n := l.called(name); n != 0; n = l.nodes[n].next {
			visit(n)
		}
		return
	}
	visit(dataset)
	if n := l.lookup(datasetNode, 0, []byte(name)); n != 0 {
		visit(n)
	}
}

// vague says whether there is nothing that tells two versions of data sets of the
// same name apart, or that says they are the same.
func (l *lineage) vague(a, b uint32) bool {
	digestA, labelA := splitDigest(l.texts.get(l.nodes[a].text))
	digestB, labelB := splitDigest(l.texts.get(l.nodes[b].text))
	if len(labelA) > 0 && len(labelB) > 0 {
		return false
	}
	return len(digestA) == 0 || len(digestB) == 0 || digestMaking(digestA) != digestMaking(digestB)
}

// digestMaking tells digests that can be compared from those that can't: what
// stands before the colon.
func digestMaking(kept []byte) string {
	switch {
	case len(kept) == 0:
		return ""
	case kept[0] == sha256Bytes:
		return "sha256"
	}
	making, _, ok := bytes.Cut([]byte(spellDigest(kept)), []byte(":"))
	if !ok {
		return "plain"
	}
	return string(making)
}

// exists says whether a node is there as of a sequence: a data set version of which
// nothing speaks but a failed run that would have made it isn't. It asks passed
// which edges don't hold.
func (l *lineage) exists(n uint32, sequence uint64, passed func(*lineageEdge) bool) bool {
	x := &l.nodes[n]
	if x.sequence > sequence {
		return false
	}
	if x.kind != datasetVersionNode {
		return true
	}
	spoken := false
	for e := x.out; e != 0; e = l.edges[e].nextOut {
		if !passed(&l.edges[e]) {
			return true
		}
		spoken = spoken || l.edges[e].sequence() <= sequence
	}
	for e := x.in; e != 0; e = l.edges[e].nextIn {
		if !passed(&l.edges[e]) {
			return true
		}
		spoken = spoken || l.edges[e].sequence() <= sequence
	}
	return !spoken
}

// beginAt begins with everything that a data set may be, by name or by digest,
// with the state's lock held.
func (w *lineageWalk) beginAt(d events.DatasetVersion) {
	l := w.lineage
	put := func(n uint32, certainty Certainty) {
		if l.exists(n, w.view.Sequence, w.passed) {
			w.begin(n, certainty)
		}
	}
	digest, _ := splitDigest(appendDigest(nil, d.Digest))
	if len(digest) > 0 {
		for n := l.withDigest(digest); n != 0; n = l.nodes[n].next {
			put(n, ExactDigest)
		}
	}
	for n := l.called(d.Name); n != 0; n = l.nodes[n].next {
		namespace := l.parentText(n)
		if namespace != d.Namespace && namespace != "" && d.Namespace != "" {
			continue
		}
		put(n, SameName)
		for v := l.nodes[n].first; v != 0; v = l.nodes[v].sibling {
			if certainty, same := sameDataset(d, l.describe(v).Dataset()); same {
				put(v, certainty)
			}
		}
	}
}

// sameDataset says whether two names may be of the same data, and how sure that
// is.
func sameDataset(a, b events.DatasetVersion) (Certainty, bool) {
	if a.Digest != "" && a.Digest == b.Digest {
		return ExactDigest, true
	}
	if a.Name != b.Name || (a.Namespace != b.Namespace && a.Namespace != "" && b.Namespace != "") {
		return 0, false
	}
	if a.Version != "" && a.Version == b.Version {
		return SameVersion, true
	}
	if (a.Version == "" && a.Digest == "") || (b.Version == "" && b.Digest == "") {
		return SameName, true
	}
	told := a.Version != "" && b.Version != ""
	digestA, _ := splitDigest(appendDigest(nil, a.Digest))
	digestB, _ := splitDigest(appendDigest(nil, b.Digest))
	differ := a.Digest != "" && b.Digest != "" && digestMaking(digestA) == digestMaking(digestB)
	return SameName, !told && !differ
}
