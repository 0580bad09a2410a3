package projections

import (
	"slices"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// ModelNamed gives the model that has a name, or else the last one that had it.
func (v View) ModelNamed(name string) (ulid.ULID, bool) {
	f, ok := v.state.modelNames.known(v.Sequence, name)
	return f.value, ok
}

// TargetNamed gives the target that has a name, or else the last one that had it.
func (v View) TargetNamed(name TargetName) (ulid.ULID, bool) {
	f, ok := v.state.targetNames.known(v.Sequence, name)
	return f.value, ok
}

// TargetKnown says whether there is or was a target with an identity.
func (v View) TargetKnown(id ulid.ULID) bool {
	_, ok := v.state.targets.known(v.Sequence, id)
	return ok
}

// AliasKnown says whether a model has or had an alias.
func (v View) AliasKnown(model ulid.ULID, alias string) bool {
	_, ok := v.state.aliases.known(v.Sequence, aliasKey{model, alias})
	return ok
}

// Revisions gives the sequences of the events that changed anything shown of a
// model, a version, an alias or a target itself, not of what is under it, newest
// first; of a version also the renamings of its model.
func (v View) Revisions(r events.Resource) []uint64 {
	s := v.state
	s.lock.RLock()
	defer s.lock.RUnlock()
	var list places
	switch {
	case r.Version != 0:
		if list = s.auditPlaces(r); len(list) > 0 {
			list = slices.Concat(list, s.renamings(r.Root.ID).within(list[0], uint32(v.Sequence))) //nolint:gosec // as below
		}
	case r.Alias == "" && r.Root.Kind == events.ModelRoot:
		row, ok := s.models.rowOf(r.Root.ID)
		list = placesOf(row, ok)
	default:
		list = slices.Clone(s.auditPlaces(r))
	}
	slices.Sort(list)
	list = slices.Compact(list).within(1, uint32(v.Sequence)) //nolint:gosec // an event's
	sequences := make([]uint64, len(list))
	for i, sequence := range list {
		sequences[len(list)-1-i] = uint64(sequence)
	}
	return sequences
}

// renamings gives the events that renamed a model.
func (s *State) renamings(model ulid.ULID) (list places) {
	row, ok := s.models.rowOf(model)
	if !ok {
		return nil
	}
	for _, rev := range row.revisions {
		if !rev.gone() && rev.value.Renamed == rev.sequence() {
			list = append(list, uint32(rev.sequence())) //nolint:gosec // an event's
		}
	}
	return list
}
