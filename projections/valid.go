package projections

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// What ran where has two times: the one at which it happened, and the one at which
// it was recorded. A View goes by the second, and says what was known as of its
// sequence. What follows goes by the first as well, and says what was in force at
// a moment, as far as was known as of the view's sequence.

// TargetInForce is a target with the route table that was in force on it at a
// moment.
type TargetInForce struct {
	Target     *Target
	Routes     *RouteTable // nil if nothing was ever deployed by then
	Generation uint64      // of Routes, 0 for none
	// Sequence is that of the last event that changed anything shown.
	Sequence uint64
}

// InForce gives the route table that was in force on a target at a moment: of
// those that the view knows, the one that was set last by then. Of two that were
// set in the same millisecond it is the one that was recorded later.
func (v View) InForce(target ulid.ULID, moment time.Time) (table *RouteTable, generation uint64, ok bool) {
	milli := moment.UnixMilli()
	for _, rev := range v.state.routes.past(v.Sequence, target) {
		if rev.gone() || rev.value.SetMilli > milli {
			continue
		}
		if table == nil || rev.value.SetMilli >= table.SetMilli {
			table, generation = rev.value, rev.sequence()
		}
	}
	return table, generation, table != nil
}

// TargetInForce finds the target that had a name at a moment.
func (v View) TargetInForce(name TargetName, moment time.Time) (TargetInForce, bool) {
	return v.bearer(v.state.targetNames.past(v.Sequence, name), moment)
}

// TargetsInForce yields the targets that were there at a moment, by environment
// and name, from a name on.
func (v View) TargetsInForce(from TargetName, moment time.Time) iter.Seq[TargetInForce] {
	return func(yield func(TargetInForce) bool) {
		for name, err := range v.state.targetNames.historyFrom(context.Background(), v.Sequence, from) {
			if err != nil { // of a context that never ends
				return
			}
			if t, ok := v.bearer(name.revisions, moment); ok && !yield(t) {
				return
			}
		}
	}
}

// bearer finds, among the targets that ever had a name, the one that had it at a
// moment. A name passes on when a target is removed.
func (v View) bearer(named []revision[ulid.ULID], moment time.Time) (TargetInForce, bool) {
	for _, rev := range slices.Backward(named) {
		if rev.gone() {
			continue
		}
		if t, ok := v.targetInForce(rev.value, moment); ok {
			return t, true
		}
	}
	return TargetInForce{}, false
}

// targetInForce says whether a target was there at a moment: it had been defined,
// or something ran on it, and it hadn't been removed. Nothing runs on a target
// that is removed, so that its removal counts from when it was recorded.
func (v View) targetInForce(id ulid.ULID, moment time.Time) (t TargetInForce, ok bool) {
	for _, rev := range v.state.targets.past(v.Sequence, id) {
		if rev.gone() && !v.At(rev.sequence()).Recorded().After(moment) {
			return TargetInForce{}, false
		}
		if !rev.gone() {
			t.Target, t.Sequence = rev.value, rev.sequence()
		}
	}
	if t.Target == nil {
		return TargetInForce{}, false
	}
	t.Routes, t.Generation, ok = v.InForce(id, moment)
	if !ok {
		return t, !t.Target.CreatedAt().After(moment)
	}
	t.Sequence = max(t.Sequence, t.Generation)
	for _, variant := range t.Routes.Variants {
		t.Sequence = max(t.Sequence, v.renamed(variant.ModelID))
	}
	return t, true
}
