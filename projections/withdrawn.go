package projections

import (
	"math"
	"slices"
	"sync/atomic"

	"github.com/modelog/modelog/events"
)

// withdrawn finds withdrawals by what they are of. It is made anew of their table
// when that has changed: they are rare.
type withdrawn struct {
	ever  atomic.Bool // whether anything was withdrawn, and perhaps taken back
	index atomic.Pointer[withdrawnIndex]
}

type withdrawnIndex struct {
	first    uint64 // sequence of the first withdrawal
	spans    []withdrawnSpan
	byName   map[string][]int
	byDigest map[string][]int
}

// withdrawnSpan is a withdrawal from a sequence until another, 0 for none.
type withdrawnSpan struct {
	dataset     events.DatasetVersion
	from, until uint64
}

// changed wants the state's lock held for writing.
func (w *withdrawn) changed() {
	w.ever.Store(true)
	w.index.Store(nil)
}

// withdrawnNow gives the index, with the state's lock held.
func (s *State) withdrawnNow() *withdrawnIndex {
	if x := s.withdrawn.index.Load(); x != nil {
		return x
	}
	x := &withdrawnIndex{first: math.MaxUint64, byName: map[string][]int{}, byDigest: map[string][]int{}}
	s.withdrawals.rows.Scan(func(e entry[events.DatasetVersion, *Withdrawal]) bool {
		for _, r := range e.row.revisions {
			if r.gone() {
				x.spans[len(x.spans)-1].until = r.sequence()
				continue
			}
			x.byName[e.key.Name] = append(x.byName[e.key.Name], len(x.spans))
			if e.key.Digest != "" {
				x.byDigest[e.key.Digest] = append(x.byDigest[e.key.Digest], len(x.spans))
			}
			x.spans = append(x.spans, withdrawnSpan{dataset: e.key, from: r.sequence()})
			x.first = min(x.first, r.sequence())
		}
		return true
	})
	s.withdrawn.index.Store(x)
	return x
}

// WithdrawnData is data that a model version comes from, and that must not be used
// any more.
type WithdrawnData struct {
	Dataset   events.DatasetVersion // as it was withdrawn
	Sequence  uint64                // of the event that withdrew it
	Certainty Certainty             // that the version comes from it
}

// WithdrawnData gives the withdrawn data that a version comes from, by name, nil
// for none. It costs nothing as long as nothing was ever withdrawn.
func (v View) WithdrawnData(id events.VersionID) []WithdrawnData {
	found, _ := v.withdrawnUnder(id.Node())
	return found
}

// withdrawnUnder walks up from a node. The sequence is that of the last event that
// may have changed what is found, 0 if nothing could ever be found.
func (v View) withdrawnUnder(start events.LineageNode) (found []WithdrawnData, sequence uint64) {
	if !v.state.withdrawn.ever.Load() {
		return nil, 0
	}
	s := v.state
	s.lock.RLock()
	index, n := s.withdrawnNow(), s.lineage.find(start, v.Sequence)
	if n == 0 || index.first > v.Sequence {
		s.lock.RUnlock()
		return nil, 0
	}
	w := v.newWalk(false, 0, 0)
	w.begin(n, ExactDigest)
	s.lock.RUnlock()
	w.run()
	s.lock.RLock()
	defer s.lock.RUnlock()
	m := withdrawnMatch{walk: w, index: index, best: map[int]Certainty{}}
	for i := range w.visits[1:] {
		m.visit(&w.visits[i+1])
	}
	for i, certainty := range m.best {
		span := m.index.spans[i]
		sequence = max(sequence, span.from)
		if span.until != 0 && span.until <= v.Sequence {
			sequence = max(sequence, span.until)
			continue
		}
		found = append(found, WithdrawnData{span.dataset, span.from, certainty})
	}
	if len(m.best) > 0 || w.doubted {
		sequence = max(sequence, w.latest)
	}
	slices.SortFunc(found, func(a, b WithdrawnData) int { return compareDatasets(a.Dataset, b.Dataset) })
	return found, sequence
}

// withdrawnMatch compares what a walk has met with what was withdrawn.
type withdrawnMatch struct {
	walk  *lineageWalk
	index *withdrawnIndex
	best  map[int]Certainty // by span
}

func (m *withdrawnMatch) visit(visit *lineageVisit) {
	l := m.walk.lineage
	kind := l.nodes[visit.node].kind
	if kind != datasetNode && kind != datasetVersionNode && kind != artifactNode {
		return
	}
	d := l.describe(visit.node).Dataset()
	if kind == artifactNode {
		d.Name = ""
	}
	for _, i := range m.index.byDigest[d.Digest] {
		m.match(i, visit, d)
	}
	if d.Name != "" && !visit.identity {
		for _, i := range m.index.byName[d.Name] {
			m.match(i, visit, d)
		}
	}
}

func (m *withdrawnMatch) match(i int, visit *lineageVisit, d events.DatasetVersion) {
	span := &m.index.spans[i]
	certainty, same := sameDataset(span.dataset, d)
	if !same || span.from > m.walk.view.Sequence || (visit.identity && certainty != ExactDigest) {
		return
	}
	certainty = max(certainty, visit.certainty)
	if best, known := m.best[i]; !known || certainty < best {
		m.best[i] = certainty
	}
}
