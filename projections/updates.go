package projections

import (
	"cmp"
	"iter"
	"sort"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// updates is the order in which versions were last updated, as of any sequence:
// each touch says that an event moved a version's time of update. The last touch
// of a version up to a sequence is its place as of that sequence; those before it
// are passed over by whoever walks the list from its end. Unlike a temporal table
// it keeps nothing that the versions don't tell: sixteen bytes a touch, and four
// more to find those of one model.
type updates struct {
	touches []touch // by sequence, within one event by version
	// models has the places in touches of each model's, by the number that the
	// model has here.
	models  []modelTouches
	numbers map[ulid.ULID]uint32
}

type touch struct {
	sequence uint64
	model    uint32
	version  uint32 // 0 for a renaming, which touches all that are there
}

type modelTouches struct {
	id     ulid.ULID
	places []uint32
}

// one notes that an event updated one version.
func (u *updates) one(sequence uint64, id events.VersionID) {
	u.add(sequence, id.ModelID, uint32(id.Version)) //nolint:gosec // MaxVersion fits
}

// all notes that an event updated all versions of a model.
func (u *updates) all(sequence uint64, model ulid.ULID) { u.add(sequence, model, 0) }

func (u *updates) add(sequence uint64, model ulid.ULID, version uint32) {
	number := u.number(model)
	m := &u.models[number]
	m.places = append(m.places, uint32(len(u.touches))) //nolint:gosec // memory ends long before
	u.touches = append(u.touches, touch{sequence, number, version})
	// An event's touches are all of one model, so that sorting them moves none out
	// of its model's places. They come sorted, but for the last one.
	for i := len(u.touches) - 1; i > 0 && u.touches[i].compare(u.touches[i-1]) < 0; i-- {
		u.touches[i], u.touches[i-1] = u.touches[i-1], u.touches[i]
	}
}

// number gives a model's number, a new one if it has none.
func (u *updates) number(model ulid.ULID) uint32 {
	number, known := u.numbers[model]
	if !known {
		if u.numbers == nil {
			u.numbers = map[ulid.ULID]uint32{}
		}
		number = uint32(len(u.models)) //nolint:gosec // fewer than events
		u.numbers[model] = number
		u.models = append(u.models, modelTouches{id: model})
	}
	return number
}

func (t touch) compare(o touch) int {
	return cmp.Or(cmp.Compare(t.sequence, o.sequence), cmp.Compare(t.version, o.version))
}

// cutAfter takes back the touches after a sequence. Models got their numbers in
// the order of their first touches, so that they lose them from the end.
func (u *updates) cutAfter(sequence uint64) {
	for last := len(u.touches) - 1; last >= 0 && u.touches[last].sequence > sequence; last-- {
		number := u.touches[last].model
		u.touches = u.touches[:last]
		m := &u.models[number]
		if m.places = m.places[:len(m.places)-1]; len(m.places) == 0 {
			delete(u.numbers, m.id)
			u.models = u.models[:number]
		}
	}
}

// gatherUpdates makes the index of what a snapshot says of versions and models: a
// value that its own event updated is a touch. It gathers while their tables are
// read, each in its goroutine; load is for afterwards.
func (s *State) gatherUpdates() (load func()) {
	var versions, models gathered
	s.versions.restored = func(sequence uint64, id events.VersionID, v *Version) {
		if v.UpdatedSequence == sequence {
			versions.take(sequence, id)
		}
	}
	s.models.restored = func(sequence uint64, id ulid.ULID, m *Model) {
		if m.Renamed == sequence {
			models.take(sequence, events.VersionID{ModelID: id})
		}
	}
	return func() {
		s.versions.restored, s.models.restored = nil, nil
		for i := range models.touches {
			models.touches[i].model += uint32(len(versions.ids)) //nolint:gosec // fewer than events
		}
		all := append(versions.touches, models.touches...)
		s.updates.load(sortTouches(all, s.applied), append(versions.ids, models.ids...))
	}
}

// gathered are touches by model and version. Models have numbers of their own.
type gathered struct {
	touches []touch
	ids     []ulid.ULID // of models, by number
}

func (g *gathered) take(sequence uint64, id events.VersionID) {
	if n := len(g.ids); n == 0 || g.ids[n-1] != id.ModelID {
		g.ids = append(g.ids, id.ModelID)
	}
	g.touches = append(g.touches, touch{sequence, uint32(len(g.ids) - 1), uint32(id.Version)}) //nolint:gosec // as in one and add
}

// sortTouches sorts touches up to a sequence that come by model and version, in a
// fifth of the time of a sort that compares.
func sortTouches(found []touch, last uint64) []touch {
	next := make([]uint32, last+2) // at first how many an event has, at the index after its own
	for _, t := range found {
		next[t.sequence+1]++
	}
	for i := range next[1:] {
		next[i+1] += next[i]
	}
	sorted := make([]touch, len(found))
	for _, t := range found {
		sorted[next[t.sequence]] = t
		next[t.sequence]++
	}
	return sorted
}

// load takes sorted touches whose models are numbered as ids has them, some of
// them perhaps twice.
func (u *updates) load(sorted []touch, ids []ulid.ULID) {
	u.touches, u.numbers = sorted, map[ulid.ULID]uint32{}
	numbers := make([]uint32, len(ids)) // one more than the model's own, 0 for not yet
	for i := range sorted {
		t := &sorted[i]
		if numbers[t.model] == 0 {
			numbers[t.model] = u.number(ids[t.model]) + 1
		}
		t.model = numbers[t.model] - 1
		m := &u.models[t.model]
		m.places = append(m.places, uint32(i)) //nolint:gosec // memory ends long before
	}
}

// Updated gives when a version was last updated, and the sequence of the event
// that did it: its registration, a change of its description, its stage or its
// deprecation, or, if that came later, the last renaming of its model. Changes of
// tags and aliases, and deployments, don't count, as MLflow has it; they move the
// version's sequence all the same.
func (v View) Updated(version *Version) (at time.Time, sequence uint64) {
	if m, ok := v.state.models.known(v.Sequence, version.ID.ModelID); ok {
		return m.value.VersionUpdated(version)
	}
	return fromMilli(version.UpdatedMilli), version.UpdatedSequence
}

// VersionUpdated is Updated of a version of this model.
func (m *Model) VersionUpdated(version *Version) (at time.Time, sequence uint64) {
	if m.Renamed > version.UpdatedSequence {
		return fromMilli(m.RenamedMilli), m.Renamed
	}
	return fromMilli(version.UpdatedMilli), version.UpdatedSequence
}

// UpdatePlace is a place in the order of updates: what the event with the sequence
// did to the version with the number. One event is about one model.
type UpdatePlace struct {
	Sequence uint64
	Version  int
}

// VersionsByUpdate yields a model's versions with the sequences of their last
// updates (Updated), the newest first, and of one event's the highest number
// first. It begins below a place, which an earlier walk of the same view has
// yielded, or with the newest if the place is zero.
func (v View) VersionsByUpdate(model ulid.ULID, below UpdatePlace) iter.Seq2[*Version, uint64] {
	if _, _, there := v.ModelByID(model); !there { // or it would be all in vain
		return func(func(*Version, uint64) bool) {}
	}
	return v.byUpdate(below, func(u *updates) touchList {
		number, ok := u.numbers[model]
		if !ok {
			return touchList{}
		}
		places := u.models[number].places
		return touchList{len(places), func(i int) touch { return u.touches[places[i]] }, true}
	})
}

// AllVersionsByUpdate yields the versions of all models as VersionsByUpdate does.
func (v View) AllVersionsByUpdate(below UpdatePlace) iter.Seq2[*Version, uint64] {
	return v.byUpdate(below, func(u *updates) touchList {
		return touchList{len(u.touches), func(i int) touch { return u.touches[i] }, false}
	})
}

// touchList is all touches, or those of one model.
type touchList struct {
	length int
	at     func(i int) touch
	one    bool // of one model
}

// before gives how many touches come before a place.
func (l touchList) before(place UpdatePlace) int {
	return sort.Search(l.length, func(i int) bool {
		t := l.at(i)
		return cmp.Or(cmp.Compare(t.sequence, place.Sequence), cmp.Compare(int(t.version), place.Version)) >= 0
	})
}

// byUpdate walks a list from its end. It lets the writer in now and then, as the
// scans of tables do: what the writer appends or cuts off in the meantime is above
// the view.
func (v View) byUpdate(below UpdatePlace, list func(*updates) touchList) iter.Seq2[*Version, uint64] {
	if below == (UpdatePlace{}) || below.Sequence > v.Sequence {
		below = UpdatePlace{Sequence: v.Sequence + 1}
	}
	return func(yield func(*Version, uint64) bool) {
		w := updateWalk{view: v, below: below, left: -1}
		for step := firstStep; ; step = min(2*step, lastStep) {
			w.step(list, step)
			for _, version := range w.hits {
				if !yield(version, version.UpdatedSequence) {
					return
				}
			}
			if w.renamed != nil && !w.expand(yield) {
				return
			}
			if w.left == 0 {
				return
			}
		}
	}
}

// updateWalk is how far a walk has come.
type updateWalk struct {
	view  View
	below UpdatePlace
	left  int // touches to visit, -1 before the first step

	// What the last step has found.
	hits    []*Version
	renamed *Model // and after them the versions of this one; nil for none
}

// step visits some touches, and ends early with a renaming.
func (w *updateWalk) step(list func(*updates) touchList, most int) {
	s := w.view.state
	w.hits, w.renamed = w.hits[:0], nil
	s.lock.RLock()
	defer s.lock.RUnlock()
	l := list(&s.updates)
	if w.left < 0 {
		w.left = l.before(w.below)
	}
	for ; most > 0 && w.left > 0 && w.renamed == nil; most-- {
		w.left--
		w.visit(l.at(w.left))
	}
	if w.renamed != nil && l.one {
		w.left = 0 // whatever was touched before was renamed after
	}
}

// visit takes a touch if it is the last one of what it touches.
func (w *updateWalk) visit(t touch) {
	s := w.view.state
	id := events.VersionID{ModelID: s.updates.models[t.model].id, Version: int(t.version)}
	row, ok := s.models.rowOf(id.ModelID)
	if !ok {
		return
	}
	m, ok := row.asOf(w.view.Sequence)
	if !ok || m.value.Renamed > t.sequence {
		return // gone, or all of its versions came with a later renaming
	}
	if t.version == 0 {
		w.renamed = m.value
		return
	}
	versions, ok := s.versions.rowOf(id)
	if !ok {
		return
	}
	if f, ok := versions.asOf(w.view.Sequence); ok && f.value.UpdatedSequence == t.sequence {
		w.hits = append(w.hits, f.value)
	}
}

// expand yields what a renaming was the last update of.
func (w *updateWalk) expand(yield func(*Version, uint64) bool) bool {
	from := maxVersion
	if w.below.Sequence == w.renamed.Renamed {
		from = w.below.Version - 1
	}
	for version := range w.view.Versions(w.renamed.ID, from) {
		if version.UpdatedSequence < w.renamed.Renamed && !yield(version, w.renamed.Renamed) {
			return false
		}
	}
	return true
}
