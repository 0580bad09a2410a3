package projections

import (
	"context"
	"slices"
	"sort"

	"github.com/modelog/modelog/events"
)

// AuditQuery says which events a page of the audit trail is of. What is zero lets
// all through.
type AuditQuery struct {
	// Resource is what they changed something of: a root or something under it.
	Resource events.Resource
	// Actor is who asked for them, by principal.
	Actor string
	// Types are their types; nil for all.
	Types []string
	// From and Until are sequences, both included; 0 for the ends of the view.
	From, Until uint64
	// Reason is what their reasons hold, whatever the case. An entry whose reason
	// stays in the log may be one that doesn't hold it.
	Reason string
	// Oldest has the oldest first, else the newest.
	Oldest bool
	// After is where the page before ended, 0 for the first page.
	After uint64
}

// AuditPage is a page of the audit trail.
type AuditPage struct {
	Entries []AuditEntry
	// Next is where the next page goes on, 0 for nowhere. A page that finds little
	// ends before it is full.
	Next    uint64
	Visited int // events looked at
}

// usualAuditPage is how many entries there is room for at once.
const usualAuditPage = 100

// mostAuditVisits is how many events a page may look at: some milliseconds.
const mostAuditVisits = 1 << 17

// auditCheck is after how many of them it is seen whether anybody still waits.
const auditCheck = 1 << 12

// Audit gives a page of the audit trail, of so many entries at most. It ends with
// the context's error.
func (v View) Audit(ctx context.Context, q AuditQuery, limit int) (page AuditPage, err error) {
	w, ok := v.auditWalk(q)
	if !ok {
		return page, nil
	}
	page.Entries = make([]AuditEntry, 0, min(limit, usualAuditPage))
	for {
		sequence, more := w.step()
		if !more {
			page.Next = 0
			return page, nil
		}
		if page.Visited++; page.Visited%auditCheck == 0 && ctx.Err() != nil {
			return page, ctx.Err()
		}
		if w.passes(sequence) {
			if len(page.Entries) == limit {
				return page, nil
			}
			page.Entries = append(page.Entries, w.rows.entry(sequence))
		}
		if page.Next = uint64(sequence); page.Visited >= mostAuditVisits {
			return page, nil
		}
	}
}

// AuditKnows says whether any event of the view has this actor.
func (v View) AuditKnows(actor string) bool {
	v.state.lock.RLock()
	defer v.state.lock.RUnlock()
	number, ok := v.state.audit.words.known(actor)
	return ok && int(number) < len(v.state.audit.byActor) && v.state.audit.byActor[number].any(uint32(v.Sequence)) //nolint:gosec // an event's
}

// within gives the sequences from one to another, both included.
func (p places) within(from, until uint32) places {
	low := sort.Search(len(p), func(i int) bool { return p[i] >= from })
	high := sort.Search(len(p), func(i int) bool { return p[i] > until })
	return p[low:max(low, high)]
}

// any says whether there are any up to a sequence.
func (p places) any(until uint32) bool { return len(p) > 0 && p[0] <= until }

func (p places) has(sequence uint32) bool {
	_, ok := slices.BinarySearch(p, sequence)
	return ok
}

// auditWalk goes through the events of the shortest list that a query can be
// answered from, and looks at each whether it passes the rest.
type auditWalk struct {
	rows   auditReader
	needle needle
	oldest bool

	lists []places  // to go through, merged; each is short of what was passed
	all   [2]uint32 // if lists is nil: the sequences from one to another

	resource places // nil for all
	actor    uint32
	byActor  bool
	kinds    []bool          // by number; nil for all
	known    map[uint32]bool // texts that were looked into
	reasonAt int             // where the reason was that was looked into last
}

// auditWalk plans a walk. It says no when nothing can be found.
func (v View) auditWalk(q AuditQuery) (*auditWalk, bool) {
	from, until := q.bounds(v.Sequence)
	if from > until {
		return nil, false
	}
	s := v.state
	s.lock.RLock()
	defer s.lock.RUnlock()
	w := &auditWalk{rows: s.audit.reader(), needle: newNeedle(q.Reason), oldest: q.Oldest, all: [2]uint32{from, until}}
	shortest := int(until-from) + 1
	use := func(lists ...places) bool {
		length := 0
		for i := range lists {
			lists[i] = lists[i].within(from, until)
			length += len(lists[i])
		}
		if length < shortest {
			w.lists, shortest = lists, length
		}
		return length > 0
	}
	if q.Resource != (events.Resource{}) {
		if w.resource = s.auditPlaces(q.Resource); !use(w.resource) {
			return nil, false
		}
	}
	if w.byActor = q.Actor != ""; w.byActor {
		number, ok := s.audit.words.known(q.Actor)
		if !ok || int(number) >= len(s.audit.byActor) || !use(s.audit.byActor[number]) {
			return nil, false
		}
		w.actor = number
	}
	if q.Types != nil && !w.useKinds(&s.audit, q.Types, use) {
		return nil, false
	}
	if q.Reason != "" {
		w.known = map[uint32]bool{}
		return w, use(w.rows.because)
	}
	return w, true
}

// useKinds takes the lists of types.
func (w *auditWalk) useKinds(a *audit, types []string, use func(...places) bool) bool {
	w.kinds = make([]bool, len(a.kinds.all))
	var lists []places
	for _, name := range types {
		if number, ok := a.kinds.known(name); ok {
			w.kinds[number] = true
			lists = append(lists, a.byKind[number])
		}
	}
	return use(lists...)
}

// bounds gives the sequences that a page can be of, both included.
func (q AuditQuery) bounds(last uint64) (from, until uint32) {
	low, high := max(q.From, 1), last
	if q.Until != 0 {
		high = min(high, q.Until)
	}
	if q.After != 0 && q.Oldest {
		low = max(low, q.After+1)
	} else if q.After != 0 {
		high = min(high, q.After-1)
	}
	if low > high {
		return 1, 0
	}
	return uint32(low), uint32(high) //nolint:gosec // events' sequences
}

// auditPlaces gives the events that changed something of a resource.
func (s *State) auditPlaces(r events.Resource) places {
	id := events.VersionID{ModelID: r.Root.ID, Version: r.Version}
	switch {
	case r.Alias != "":
		row, ok := s.aliases.rowOf(aliasKey{r.Root.ID, r.Alias})
		return placesOf(row, ok)
	case r.Version != 0:
		row, ok := s.versions.rowOf(id)
		return placesOf(row, ok)
	case r.Dataset != events.DatasetName{}:
		return s.datasetPlaces(r.Dataset)
	}
	number, ok := s.audit.roots.known(r.Root)
	if !ok {
		return nil
	}
	return s.audit.byRoot[number]
}

// datasetPlaces gives the events that withdrew or reinstated a data set or a version
// of it.
func (s *State) datasetPlaces(name events.DatasetName) (list places) {
	from := entry[events.DatasetVersion, *Withdrawal]{key: events.DatasetVersion{Namespace: name.Namespace, Name: name.Name}}
	s.withdrawals.rows.Ascend(from, func(e entry[events.DatasetVersion, *Withdrawal]) bool {
		if e.key.DatasetName() != name {
			return false
		}
		list = append(list, placesOf(e.row, true)...)
		return true
	})
	slices.Sort(list)
	return list
}

// placesOf gives the events that revised a row: whatever changes what is shown of
// it does.
func placesOf[V any](r *row[V], ok bool) places {
	if !ok {
		return nil
	}
	list := make(places, len(r.revisions))
	for i, rev := range r.revisions {
		list[i] = uint32(rev.sequence()) //nolint:gosec // an event's
	}
	return list
}

// step gives the next sequence to look at.
func (w *auditWalk) step() (uint32, bool) {
	if w.lists == nil {
		return w.stepAll()
	}
	next := -1
	for i, l := range w.lists {
		if len(l) > 0 && (next < 0 || w.first(l, w.lists[next])) {
			next = i
		}
	}
	if next < 0 {
		return 0, false
	}
	l := w.lists[next]
	if w.oldest {
		w.lists[next] = l[1:]
		return l[0], true
	}
	w.lists[next] = l[:len(l)-1]
	return l[len(l)-1], true
}

func (w *auditWalk) stepAll() (uint32, bool) {
	switch {
	case w.all[0] > w.all[1]:
		return 0, false
	case w.oldest:
		w.all[0]++
		return w.all[0] - 1, true
	default:
		w.all[1]--
		return w.all[1] + 1, true
	}
}

// first says whether one list's turn comes before another's.
func (w *auditWalk) first(a, b places) bool {
	if w.oldest {
		return a[0] < b[0]
	}
	return a[len(a)-1] > b[len(b)-1]
}

// passes says whether an event is one of those that are looked for.
func (w *auditWalk) passes(sequence uint32) bool {
	row := w.rows.row(sequence)
	return (!w.byActor || row.actor == w.actor) &&
		(w.kinds == nil || w.kinds[row.kind]) &&
		(w.resource == nil || w.resource.has(sequence)) &&
		(w.needle.text == "" || w.says(row))
}

// says looks into a reason, into each text once.
func (w *auditWalk) says(row auditRow) bool {
	if row.flags&auditReasoned == 0 {
		return false
	}
	number := w.rows.becauseOf[w.reasonPlace(row.sequence)]
	if w.rows.marks[number]&w.needle.signature != w.needle.signature {
		return false
	}
	holds, known := w.known[number]
	if !known {
		holds = w.needle.in(w.rows.texts[number])
		w.known[number] = holds
	}
	return holds
}

// reasonPlace gives where the reason of an event is, most often beside the one that
// was asked for before.
func (w *auditWalk) reasonPlace(sequence uint32) int {
	list := w.rows.because
	next := w.reasonAt - 1
	if w.oldest {
		next = w.reasonAt + 1
	}
	if next < 0 || next >= len(list) || list[next] != sequence {
		next, _ = slices.BinarySearch(list, sequence)
	}
	w.reasonAt = next
	return next
}
