package projections

import (
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// AuditEntry is what the index of the audit trail says of one event.
type AuditEntry struct {
	Sequence      uint64
	Type          string // dev.modelog.version.promoted.v1
	Resource      events.Resource
	Principal     string    // opaque, empty for nobody
	Occurred      time.Time // zero for when it was recorded
	CorrelationID string
	CausationID   string
	Key           events.Hash // of the idempotency key, zero for none
	Reason        string      // empty if ReasonInLog
	ReasonInLog   bool        // the reason is too long to be kept in memory
	Forced        bool
}

// auditReader reads the rows that were there when it was made.
type auditReader struct {
	blocks   []*auditBlock
	kinds    []string
	roots    []events.Root
	words    []string
	texts    []string
	marks    []signature
	occurred []auditMoment
	keys     []auditKey

	odd, causes, also []auditLink

	because   places
	becauseOf []uint32
}

// reader wants the state's lock held.
func (a *audit) reader() auditReader {
	return auditReader{
		blocks: a.blocks, kinds: a.kinds.all, roots: a.roots.all, words: a.words.all, texts: a.texts.all, marks: a.texts.signatures,
		occurred: a.occurred, keys: a.keys, odd: a.odd, causes: a.causes, also: a.also,
		because: a.because, becauseOf: a.becauseOf,
	}
}

// auditRow is a row by its numbers.
type auditRow struct {
	sequence    uint32
	kind, flags uint8
	root, part  uint32
	actor       uint32
	correlation ulid.ULID
}

func (r *auditReader) row(sequence uint32) auditRow {
	b, i := r.blocks[(sequence-1)/auditBlockRows], (sequence-1)%auditBlockRows
	return auditRow{sequence, b.kind[i], b.flags[i], b.root[i], b.part[i], b.actor[i], b.correlation[i]}
}

func (r *auditReader) resource(row auditRow) events.Resource {
	resource := events.Resource{Root: r.roots[row.root]}
	switch name := row.part &^ auditNamed; {
	case row.part&auditNamed == 0:
		resource.Version = int(row.part)
	case resource.Root.Kind == events.RegistryRoot:
		resource.Dataset.Namespace, resource.Dataset.Name, _ = strings.Cut(r.words[name], afterNamespace)
	default:
		resource.Alias = r.words[name]
	}
	return resource
}

func (r *auditReader) entry(sequence uint32) AuditEntry {
	row := r.row(sequence)
	e := AuditEntry{
		Sequence: uint64(sequence), Type: r.kinds[row.kind], Resource: r.resource(row), Principal: r.words[row.actor],
		CorrelationID: r.correlation(row), Forced: row.flags&auditForced != 0,
	}
	if row.flags&auditOccurred != 0 {
		e.Occurred = fromMilli(extra(r.occurred, sequence).milli)
	}
	if row.flags&auditKeyed != 0 {
		e.Key = extra(r.keys, sequence).key
	}
	if row.flags&auditCaused != 0 {
		e.CausationID = r.words[extra(r.causes, sequence).number]
	}
	if row.flags&auditReasoned != 0 {
		e.Reason = r.texts[r.reasonOf(sequence)]
		e.ReasonInLog = e.Reason == ""
	}
	return e
}

func (r *auditReader) correlation(row auditRow) string {
	switch {
	case row.flags&auditOdd != 0:
		return r.words[extra(r.odd, row.sequence).number]
	case row.flags&auditTraced != 0:
		return row.correlation.String()
	default:
		return ""
	}
}

// reasonOf gives the number of the text of an event that has a reason.
func (r *auditReader) reasonOf(sequence uint32) uint32 {
	i, _ := slices.BinarySearch(r.because, sequence)
	return r.becauseOf[i]
}

// others gives the further roots of an event that has some.
func (r *auditReader) others(sequence uint32) []auditLink {
	from := sort.Search(len(r.also), func(i int) bool { return r.also[i].sequence >= sequence })
	until := from
	for until < len(r.also) && r.also[until].sequence == sequence {
		until++
	}
	return r.also[from:until]
}

// extra finds what an event is known to have.
func extra[E interface{ at() uint32 }](all []E, sequence uint32) E {
	return all[sort.Search(len(all), func(i int) bool { return all[i].at() >= sequence })]
}

// AuditEntry gives what the index says of an event, which must be one of the view.
func (v View) AuditEntry(sequence uint64) AuditEntry {
	r := v.auditReader()
	return r.entry(uint32(sequence)) //nolint:gosec // an event's
}

func (v View) auditReader() auditReader {
	v.state.lock.RLock()
	defer v.state.lock.RUnlock()
	return v.state.audit.reader()
}
