package projections

import "github.com/modelog/modelog/events"

// JobOf gives the job that a run is one of. Where reports disagree it is the one
// that was told last; ok is false if nobody said.
func (v View) JobOf(run events.LineageNode) (job events.LineageNode, ok bool) {
	s := v.state
	s.lock.RLock()
	defer s.lock.RUnlock()
	l := s.lineage
	n := l.find(run, v.Sequence)
	if n == 0 {
		return job, false
	}
	for edge := l.nodes[n].out; edge != 0; edge = l.edges[edge].nextOut {
		e := &l.edges[edge]
		if _, passed := l.passed(e, v.Sequence); !passed && e.kind() == wasAssociatedWith {
			return l.describe(e.to), true
		}
	}
	return job, false
}
