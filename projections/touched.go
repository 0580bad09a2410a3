package projections

import (
	"iter"
	"slices"
	"sort"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// Touched yields the resources of which the events after one sequence up to another
// may have changed anything shown, each once, in the order in which they were
// touched; of one event first the one that it is about. Both sequences must be
// the view's or earlier ones. A model that is deleted touches all that went with
// it. A renaming touches the model alone, although other things are shown with its
// new name; a change of what another version replaces, or is derived from, touches
// that version alone.
func (v View) Touched(after, until uint64) iter.Seq[events.Resource] {
	return func(yield func(events.Resource) bool) {
		var seen resourceSet
		for sequence := after + 1; sequence <= until; sequence++ {
			for r := range v.TouchedBy(sequence) {
				if seen.add(r) && !yield(r) {
					return
				}
			}
		}
	}
}

// resourceSet is a set that makes a map only for more than a few, as one event hardly
// touches.
type resourceSet struct {
	few  [8]events.Resource
	n    int
	many map[events.Resource]struct{}
}

// add says whether a resource is a new one.
func (s *resourceSet) add(r events.Resource) bool {
	if s.many != nil {
		before := len(s.many)
		s.many[r] = struct{}{}
		return len(s.many) > before
	}
	if slices.Contains(s.few[:s.n], r) {
		return false
	}
	if s.n < len(s.few) {
		s.few[s.n] = r
		s.n++
		return true
	}
	s.many = map[events.Resource]struct{}{r: {}}
	for _, other := range s.few {
		s.many[other] = struct{}{}
	}
	return true
}

// TouchedBy yields what one event touched, as Touched does, perhaps some of it
// twice.
func (v View) TouchedBy(sequence uint64) iter.Seq[events.Resource] {
	return func(yield func(events.Resource) bool) {
		r := v.auditReader()
		row := r.row(uint32(sequence)) //nolint:gosec // an event's
		own := r.resource(row)
		t := touching{before: v.At(sequence - 1), after: v.At(sequence), own: own}
		if !yield(own) {
			return
		}
		switch own.Root.Kind {
		case events.ModelRoot:
			t.model(yield)
		case events.TargetRoot:
			t.target(yield)
		case events.RegistryRoot, events.SubscriptionRoot:
		default:
		}
	}
}

// touching tells what an event touched beside what it is about.
type touching struct {
	before, after View
	own           events.Resource
}

func (t touching) part(version int, alias string) events.Resource {
	return events.Resource{Root: t.own.Root, Version: version, Alias: alias}
}

func (t touching) model(yield func(events.Resource) bool) {
	id := t.own.Root.ID
	if t.own.Alias != "" && !t.alias(yield) {
		return
	}
	if t.own.Version != 0 && !t.version(yield) {
		return
	}
	if t.own.Version != 0 || t.own.Alias != "" {
		yield(t.part(0, ""))
		return
	}
	if _, _, there := t.after.ModelByID(id); there {
		return
	}
	for version := range t.before.Versions(id, maxVersion) {
		if !yield(t.part(version.ID.Version, "")) {
			return
		}
	}
	for alias := range t.before.Aliases(id) {
		if !yield(t.part(0, alias)) {
			return
		}
	}
}

// alias yields the versions that an alias pointed at before and points at after.
func (t touching) alias(yield func(events.Resource) bool) bool {
	from, _, was := t.before.Alias(t.own.Root.ID, t.own.Alias)
	to, _, is := t.after.Alias(t.own.Root.ID, t.own.Alias)
	return (!is || yield(t.part(to, ""))) && (!was || yield(t.part(from, "")))
}

// version yields the versions that were displaced, and the aliases that went with
// one that is deleted.
func (t touching) version(yield func(events.Resource) bool) bool {
	for _, number := range t.after.updatedBy(t.after.Sequence) {
		if number != t.own.Version && !yield(t.part(number, "")) {
			return false
		}
	}
	id := events.VersionID{ModelID: t.own.Root.ID, Version: t.own.Version}
	if _, _, there := t.after.Version(id); there {
		return true
	}
	for alias := range t.before.AliasesOf(id) {
		if !yield(t.part(0, alias)) {
			return false
		}
	}
	return true
}

// target yields the versions that began or ceased to run.
func (t touching) target(yield func(events.Resource) bool) {
	was, now := t.before.variants(t.own.Root.ID), t.after.variants(t.own.Root.ID)
	for _, pair := range [][2][]events.Variant{{now, was}, {was, now}} {
		for _, variant := range pair[0] {
			if id := versionOf(variant); !runs(pair[1], id) && !yield(versionResource(id)) {
				return
			}
		}
	}
}

func versionResource(id events.VersionID) events.Resource {
	return events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: id.ModelID}, Version: id.Version}
}

func (v View) variants(target ulid.ULID) []events.Variant {
	table, _, ok := v.Routes(target)
	if !ok {
		return nil
	}
	return table.Variants
}

// updatedBy gives the numbers of the versions that an event updated, rising.
func (v View) updatedBy(sequence uint64) (versions []int) {
	v.state.lock.RLock()
	defer v.state.lock.RUnlock()
	touches := v.state.updates.touches
	from := sort.Search(len(touches), func(i int) bool { return touches[i].sequence >= sequence })
	for _, t := range touches[from:] {
		if t.sequence != sequence {
			break
		}
		versions = append(versions, int(t.version))
	}
	return versions
}
