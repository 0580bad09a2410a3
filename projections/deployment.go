package projections

import (
	"iter"
	"slices"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// RouteTable says what runs on a target. Its generation is the sequence of the
// event that set it, which is that of its revision.
type RouteTable struct {
	Strategy string           `json:"strategy,omitempty"` // empty for a withdrawn table
	Variants []events.Variant `json:"variants,omitempty"`
	// Previous is the generation that a rollback goes to, 0 for none. A table
	// that was rolled back from is in no later table's chain of them.
	Previous uint64 `json:"previous,omitzero"`
	// RestoredFrom is the generation that a rollback restored, 0 for a table
	// that a deployment set.
	RestoredFrom uint64      `json:"restored_from,omitzero"`
	SetMilli     int64       `json:"set_at"`
	SetBy        string      `json:"set_by,omitempty"` // principal
	Reason       events.Text `json:"reason,omitzero"`
}

// SetAt is when the table was set.
func (r *RouteTable) SetAt() time.Time { return fromMilli(r.SetMilli) }

type deployedKey struct {
	Version  events.VersionID `json:"version"`
	TargetID ulid.ULID        `json:"target_id"`
}

func (k deployedKey) compare(o deployedKey) int {
	if c := compareVersionIDs(k.Version, o.Version); c != 0 {
		return c
	}
	return k.TargetID.Compare(o.TargetID)
}

func (s *State) deploymentDeployed(c change, e events.DeploymentDeployed) {
	s.setRoutes(c, e.TargetID, &RouteTable{
		Strategy: e.Strategy, Variants: slices.Clone(e.Variants), Previous: s.ranBefore(c, e.TargetID),
		SetMilli: c.at, SetBy: c.by, Reason: e.Reason,
	})
}

// ranBefore gives the generation that a rollback from a new table goes to: the
// present one, or, when nothing runs at present, what ran before that.
func (s *State) ranBefore(c change, target ulid.ULID) uint64 {
	current, ok := s.routes.at(c.sequence, target)
	if !ok {
		return 0
	}
	if len(current.value.Variants) == 0 {
		return current.value.Previous
	}
	return current.sequence
}

func (s *State) deploymentWithdrawn(c change, e events.DeploymentWithdrawn) {
	s.setRoutes(c, e.TargetID, &RouteTable{
		Previous: s.ranBefore(c, e.TargetID), SetMilli: c.at, SetBy: c.by, Reason: e.Reason,
	})
}

func (s *State) deploymentRolledBack(c change, e events.DeploymentRolledBack) {
	next := &RouteTable{
		Strategy: e.Strategy, Variants: slices.Clone(e.Variants), RestoredFrom: e.To,
		SetMilli: c.at, SetBy: c.by, Reason: e.Reason,
	}
	if restored, ok := s.routes.at(e.To, e.TargetID); ok {
		next.Previous = restored.value.Previous
	}
	s.setRoutes(c, e.TargetID, next)
}

func (s *State) setRoutes(c change, target ulid.ULID, next *RouteTable) {
	next.share(s.words)
	var before []events.Variant
	if current, ok := s.routes.at(c.sequence, target); ok {
		before = current.value.Variants
	}
	s.routes.put(c.sequence, target, next)
	for _, variant := range before {
		if id := versionOf(variant); !runs(next.Variants, id) {
			s.deployed.remove(c.sequence, deployedKey{id, target})
			s.reviseVersion(c, id, nil)
			s.audit.touch(events.Root{Kind: events.ModelRoot, ID: id.ModelID})
		}
	}
	for _, variant := range next.Variants {
		if id := versionOf(variant); !runs(before, id) {
			s.deployed.put(c.sequence, deployedKey{id, target}, struct{}{})
			s.reviseVersion(c, id, nil)
			s.audit.touch(events.Root{Kind: events.ModelRoot, ID: id.ModelID})
		}
	}
}

// share makes a table that nobody has seen yet share its words.
func (r *RouteTable) share(w words) {
	r.Strategy, r.SetBy = w.one(r.Strategy), w.one(r.SetBy)
	for i := range r.Variants {
		r.Variants[i].Role = w.one(r.Variants[i].Role)
	}
}

func versionOf(v events.Variant) events.VersionID {
	return events.VersionID{ModelID: v.ModelID, Version: v.Version}
}

func runs(variants []events.Variant, id events.VersionID) bool {
	return slices.ContainsFunc(variants, func(v events.Variant) bool { return versionOf(v) == id })
}

// Routes gives what runs on a target, and the table's generation.
func (v View) Routes(target ulid.ULID) (table *RouteTable, generation uint64, ok bool) {
	f, ok := v.state.routes.get(v.Sequence, target)
	return f.value, f.sequence, ok
}

// DeployedTo yields the targets that a version runs on, in the order in which
// the targets were defined.
func (v View) DeployedTo(id events.VersionID) iter.Seq[*Target] {
	return func(yield func(*Target) bool) {
		within := func(k deployedKey) bool { return k.Version == id }
		for k := range v.state.deployed.ascendWithin(v.Sequence, deployedKey{Version: id}, within) {
			if t, _, ok := v.TargetByID(k.TargetID); ok && !yield(t) {
				return
			}
		}
	}
}

// Deployed yields the versions of a model that run somewhere, by number.
func (v View) Deployed(model ulid.ULID) iter.Seq[events.VersionID] {
	return func(yield func(events.VersionID) bool) {
		last := events.VersionID{}
		within := func(k deployedKey) bool { return k.Version.ModelID == model }
		for k := range v.state.deployed.ascendWithin(v.Sequence, deployedKey{Version: events.VersionID{ModelID: model}}, within) {
			if k.Version != last && !yield(k.Version) {
				return
			}
			last = k.Version
		}
	}
}
