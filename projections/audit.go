package projections

import (
	"sort"
	"strings"
	"sync"
	"unicode"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// audit is the index behind the audit trail: of each event who did what, to what,
// why and for whom, so that a page of the trail reads nothing from the log. It
// takes about fifty bytes an event. What was changed is not in it: that is told by
// the tables before and after.
//
// What a row holds of texts and roots are numbers, given in the order in which
// events first name them, so that taking events back takes back their numbers too.
//
// Rows and lists only grow, and shrink only above every view, so that readers take
// what there is under the lock (auditAt), and read it without.
type audit struct {
	lock *sync.RWMutex // the state's

	blocks []*auditBlock // all full but the last
	length int           // of rows; the row of an event has the index sequence-1

	kinds numbers[string]      // event types
	roots numbers[events.Root] // what events are about
	words numbers[string]      // principals, aliases, and ids that are no ULIDs
	texts reasons

	// By number, the sequences of the events of a kind, of a principal (a word;
	// empty for other words), and about a root or something under it.
	byKind, byActor, byRoot []places

	// What only some events have, by sequence.
	occurred []auditMoment
	keys     []auditKey
	odd      []auditLink // correlation ids that are no ULIDs, to words
	causes   []auditLink // causation ids, to words
	also     []auditLink // further roots that an event changed something of

	// The events that have reasons, and the numbers of their texts.
	because   places
	becauseOf []uint32
}

// places are sequences that rise.
type places []uint32

const auditBlockRows = 4096

// auditBlock has rows by column.
type auditBlock struct {
	kind        [auditBlockRows]uint8
	flags       [auditBlockRows]uint8
	root        [auditBlockRows]uint32
	part        [auditBlockRows]uint32 // version of the root, or auditNamed and a word
	actor       [auditBlockRows]uint32 // word
	correlation [auditBlockRows]ulid.ULID
}

// auditNamed is above every number of a version: it says that the part has a name,
// an alias of a model or, of the registry, a data set, whose word has the namespace
// first.
const (
	auditNamed     = 1 << 31
	afterNamespace = "\x00"
)

// What a row has beside its columns.
const (
	auditTraced = 1 << iota // its correlation id is a ULID
	auditForced
	auditOccurred
	auditKeyed
	auditOdd
	auditCaused
	auditReasoned
	auditAlso
)

type auditMoment struct {
	sequence uint32
	milli    int64
}

type auditKey struct {
	sequence uint32
	key      events.Hash
}

// auditLink ties a sequence to the number of something.
type auditLink struct{ sequence, number uint32 }

func (m auditMoment) at() uint32 { return m.sequence }
func (k auditKey) at() uint32    { return k.sequence }
func (l auditLink) at() uint32   { return l.sequence }

// add takes the next event. Numbers are given in the order in which a snapshot has
// them.
func (a *audit) add(e events.Event) {
	row := auditRow{sequence: uint32(a.length + 1)} //nolint:gosec // memory ends long before
	resource := e.Data.Resource()
	row.kind = uint8(a.kinds.of(e.Type(), row.sequence)) //nolint:gosec // there are not so many types
	row.root = a.roots.of(resource.Root, row.sequence)
	row.actor = a.words.of(e.Principal, row.sequence)
	row.part = uint32(resource.Version) //nolint:gosec // MaxVersion fits
	if resource.Alias != "" {
		row.part = auditNamed | a.words.of(resource.Alias, row.sequence)
	} else if d := resource.Dataset; d != (events.DatasetName{}) {
		row.part = auditNamed | a.words.of(d.Namespace+afterNamespace+d.Name, row.sequence)
	}
	a.correlate(&row, e.CorrelationID)
	a.extras(&row, e)
	a.push(row)
}

// push takes the next row.
func (a *audit) push(row auditRow) {
	place := a.length % auditBlockRows
	if place == 0 {
		a.blocks = append(a.blocks, new(auditBlock))
	}
	b := a.blocks[len(a.blocks)-1]
	a.length++
	b.kind[place], b.flags[place], b.root[place] = row.kind, row.flags, row.root
	b.part[place], b.actor[place], b.correlation[place] = row.part, row.actor, row.correlation
	note(&a.byKind, uint32(row.kind), row.sequence)
	note(&a.byRoot, row.root, row.sequence)
	note(&a.byActor, row.actor, row.sequence)
}

// correlate takes a correlation id, nearly always a ULID.
func (a *audit) correlate(row *auditRow, id string) {
	switch parsed, err := ulid.ParseStrict(id); {
	case id == "":
	case err == nil && strings.IndexFunc(id, unicode.IsLower) < 0: // it is written as it was
		row.flags |= auditTraced
		row.correlation = parsed
	default:
		row.flags |= auditOdd
		a.odd = append(a.odd, auditLink{row.sequence, a.words.of(id, row.sequence)})
	}
}

// extras takes what only some events have.
func (a *audit) extras(row *auditRow, e events.Event) {
	if !e.Occurred.IsZero() {
		row.flags |= auditOccurred
		a.occurred = append(a.occurred, auditMoment{row.sequence, e.Occurred.UnixMilli()})
	}
	if e.Key != (events.Hash{}) {
		row.flags |= auditKeyed
		a.keys = append(a.keys, auditKey{row.sequence, e.Key})
	}
	if e.CausationID != "" {
		row.flags |= auditCaused
		a.causes = append(a.causes, auditLink{row.sequence, a.words.of(e.CausationID, row.sequence)})
	}
	reason, forced := events.Why(e.Data)
	if reason != (events.Text{}) {
		row.flags |= auditReasoned
		a.reason(row.sequence, a.texts.of(reason.String(), row.sequence))
	}
	if forced {
		row.flags |= auditForced
	}
}

func (a *audit) reason(sequence, text uint32) {
	a.because, a.becauseOf = append(a.because, sequence), append(a.becauseOf, text)
}

// touch notes that the last event changed something of another root too. A root
// that no event was about is none.
func (a *audit) touch(root events.Root) {
	if number, known := a.roots.known(root); known {
		a.touchNumber(number)
	}
}

func (a *audit) touchNumber(number uint32) {
	sequence := uint32(a.length) //nolint:gosec // as in add
	if l := a.byRoot[number]; len(l) > 0 && l[len(l)-1] == sequence {
		return
	}
	note(&a.byRoot, number, sequence)
	a.also = append(a.also, auditLink{sequence, number})
	a.blocks[len(a.blocks)-1].flags[(a.length-1)%auditBlockRows] |= auditAlso
}

// note puts a sequence into the list of a number.
func note(lists *[]places, number, sequence uint32) {
	for int(number) >= len(*lists) {
		*lists = append(*lists, nil)
	}
	(*lists)[number] = append((*lists)[number], sequence)
}

// cutAfter takes back the events after a sequence.
func (a *audit) cutAfter(sequence uint64) {
	if uint64(a.length) <= sequence {
		return
	}
	last := uint32(sequence) //nolint:gosec // as in add
	r := a.reader()
	for ; a.length > int(last); a.length-- {
		row := r.row(uint32(a.length)) //nolint:gosec // as in add
		drop(a.byKind, uint32(row.kind))
		drop(a.byActor, row.actor)
		drop(a.byRoot, row.root)
	}
	for i := len(a.also) - 1; i >= 0 && a.also[i].sequence > last; i-- {
		drop(a.byRoot, a.also[i].number)
	}
	a.blocks = a.blocks[:(a.length+auditBlockRows-1)/auditBlockRows]
	a.occurred, a.keys = cutExtras(a.occurred, last), cutExtras(a.keys, last)
	a.odd, a.causes, a.also = cutExtras(a.odd, last), cutExtras(a.causes, last), cutExtras(a.also, last)
	a.because = a.because.within(1, last)
	a.becauseOf = a.becauseOf[:len(a.because)]
	a.kinds.cutAfter(last)
	a.roots.cutAfter(last)
	a.words.cutAfter(last)
	a.texts.cutAfter(last)
	a.byKind, a.byRoot = a.byKind[:len(a.kinds.all)], a.byRoot[:len(a.roots.all)]
	a.byActor = a.byActor[:min(len(a.byActor), len(a.words.all))]
}

func drop(lists []places, number uint32) {
	l := lists[number]
	lists[number] = l[:len(l)-1]
}

func cutExtras[E interface{ at() uint32 }](all []E, last uint32) []E {
	return all[:sort.Search(len(all), func(i int) bool { return all[i].at() > last })]
}

// settle is of no interest: nothing is kept for a cut.
func (a *audit) settle(uint64) {}

// numbers gives things numbers in the order in which events first name them.
type numbers[K comparable] struct {
	numbers map[K]uint32
	all     []K      // by number
	first   []uint32 // by number, the sequence that named it first

	last uint32 // the number asked for before: events that are alike come in crowds
}

func (n *numbers[K]) of(k K, sequence uint32) uint32 {
	if int(n.last) < len(n.all) && n.all[n.last] == k {
		return n.last
	}
	number, known := n.known(k)
	if !known {
		number = n.add(k, sequence)
	}
	n.last = number
	return number
}

func (n *numbers[K]) known(k K) (uint32, bool) {
	number, ok := n.numbers[k]
	return number, ok
}

func (n *numbers[K]) add(k K, sequence uint32) uint32 {
	if n.numbers == nil {
		n.numbers = map[K]uint32{}
	}
	if text, ok := any(k).(string); ok {
		k, _ = any(strings.Clone(text)).(K)
	}
	number := uint32(len(n.all)) //nolint:gosec // fewer than events
	n.numbers[k] = number
	n.all, n.first = append(n.all, k), append(n.first, sequence)
	return number
}

func (n *numbers[K]) cutAfter(last uint32) {
	for i := len(n.all) - 1; i >= 0 && n.first[i] > last; i-- {
		delete(n.numbers, n.all[i])
		n.all, n.first = n.all[:i], n.first[:i]
	}
}
