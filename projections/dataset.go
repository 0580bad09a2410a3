package projections

import (
	"cmp"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/modelog/modelog/events"
)

// Withdrawal says that a data set, or one version of it, must not be used any
// more.
type Withdrawal struct {
	Reason     events.Text `json:"reason,omitzero"`
	SinceMilli int64       `json:"since"`
	By         string      `json:"by,omitempty"` // principal
}

// Since is when it was withdrawn.
func (w *Withdrawal) Since() time.Time { return fromMilli(w.SinceMilli) }

func compareDatasetNames(a, b events.DatasetName) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

func compareDatasets(a, b events.DatasetVersion) int {
	return cmp.Or(compareDatasetNames(a.DatasetName(), b.DatasetName()), strings.Compare(a.Version, b.Version), strings.Compare(a.Digest, b.Digest))
}

func (s *State) datasetWithdrawn(c change, e events.DatasetWithdrawn) {
	s.addNode(c.sequence, e.Dataset.Node())
	s.withdrawals.put(c.sequence, e.Dataset, &Withdrawal{Reason: e.Reason, SinceMilli: c.at, By: c.by})
	s.withdrawn.changed()
}

func (s *State) datasetReinstated(c change, e events.DatasetReinstated) {
	s.withdrawals.remove(c.sequence, e.Dataset)
	s.withdrawn.changed()
}

// Withdrawal gives the withdrawal of the very same data set and version, and the
// sequence of the event that withdrew it.
func (v View) Withdrawal(d events.DatasetVersion) (w *Withdrawal, sequence uint64, ok bool) {
	if !v.state.withdrawn.ever.Load() {
		return nil, 0, false
	}
	f, ok := v.state.withdrawals.get(v.Sequence, d)
	return f.value, f.sequence, ok
}

// Withdrawals yields what is withdrawn of a data set, the data set itself first.
func (v View) Withdrawals(name events.DatasetName) iter.Seq2[events.DatasetVersion, *Withdrawal] {
	return func(yield func(events.DatasetVersion, *Withdrawal) bool) {
		from := events.DatasetVersion{Namespace: name.Namespace, Name: name.Name}
		for d, w := range v.state.withdrawals.ascend(v.Sequence, from) {
			if d.DatasetName() != name || !yield(d, w) {
				return
			}
		}
	}
}

// Datasets yields the data sets that anything speaks of, by namespace and name,
// from one on.
func (v View) Datasets(from events.DatasetName) iter.Seq[events.DatasetName] {
	return func(yield func(events.DatasetName) bool) {
		for name := range v.state.datasets.ascend(v.Sequence, from) {
			if !yield(name) {
				return
			}
		}
	}
}

// DatasetVersions gives the versions of a data set that anything speaks of, the
// last one first, so many at most.
func (v View) DatasetVersions(name events.DatasetName, limit int) (versions []events.DatasetVersion, more bool) {
	w := v.newWalk(false, 0, 0)
	l := w.lineage
	v.state.lock.RLock()
	defer v.state.lock.RUnlock()
	dataset := l.lookupDataset(name)
	if dataset == 0 {
		return nil, false
	}
	for n := l.nodes[dataset].first; n != 0; n = l.nodes[n].sibling {
		if !l.exists(n, v.Sequence, w.passed) {
			continue
		}
		if len(versions) == limit {
			return versions, true
		}
		versions = append(versions, l.describe(n).Dataset())
	}
	return versions, false
}

// datasetPath gives the path of a data set. One without a namespace has one
// segment less.
func datasetPath(d events.DatasetName) string {
	if d.Namespace == "" {
		return "datasets/" + url.PathEscape(d.Name)
	}
	return "datasets/" + url.PathEscape(d.Namespace) + "/" + url.PathEscape(d.Name)
}
