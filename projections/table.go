package projections

import (
	"context"
	"iter"
	"sort"
	"sync"

	"github.com/tidwall/btree"
)

// table is an ordered map that keeps its past: each key has its revisions, and
// every read says as of which sequence it is made.
//
// put, remove, cutAfter, settle and at want the state's lock held; get and the
// scans take it themselves. Values must not be changed once put.
type table[K any, V comparable] struct {
	name    string // in the digest
	lock    *sync.RWMutex
	compare func(a, b K) int
	rows    *btree.BTreeG[entry[K, V]]

	// share makes what is read from a snapshot share its words, and what it can
	// with the value before, which may be zero; nil where nothing is to share.
	share func(w words, key *K, value, before V)

	// restored is told of each value that is read from a snapshot, and of the
	// sequence that put it; nil for nobody.
	restored func(sequence uint64, key K, value V)

	// recent has the revisions that may still be cut off, in the order of
	// their sequences.
	recent []recentRevision[K, V]

	// hint is where the writer last was: it searches each key twice or more.
	hint btree.PathHint
}

// entry holds the key by value, so that looking one up makes nothing.
type entry[K, V any] struct {
	key K
	row *row[V]
}

type row[V any] struct {
	revisions []revision[V] // sequences rise
}

// newRow makes a row with room for the one revision that most rows have.
func newRow[V any]() *row[V] {
	r := &struct {
		row[V]
		first [1]revision[V]
	}{}
	r.revisions = r.first[:0]
	return &r.row
}

// revision is a value from a sequence on, until the next revision.
type revision[V any] struct {
	value V      // first, since one that takes no room would take some at the end
	mark  uint64 // the sequence, shifted left once; the lowest bit says that the key is gone
}

func (r revision[V]) sequence() uint64 { return r.mark >> 1 }
func (r revision[V]) gone() bool       { return r.mark&1 == 1 }

func (r revision[V]) found() (found[V], bool) {
	return found[V]{r.value, r.sequence()}, !r.gone()
}

type recentRevision[K, V any] struct {
	sequence uint64
	entry[K, V]
}

// found is a value together with the sequence that set it.
type found[V any] struct {
	value    V
	sequence uint64
}

func newTable[K any, V comparable](name string, lock *sync.RWMutex, compare func(a, b K) int) *table[K, V] {
	less := func(a, b entry[K, V]) bool { return compare(a.key, b.key) < 0 }
	return &table[K, V]{name: name, lock: lock, compare: compare, rows: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

func (t *table[K, V]) put(sequence uint64, key K, value V) {
	t.revise(key, revision[V]{value: value, mark: sequence << 1})
}

// remove ends a key. Removing one that isn't there changes nothing.
func (t *table[K, V]) remove(sequence uint64, key K) {
	if _, ok := t.at(sequence, key); ok {
		t.revise(key, revision[V]{mark: sequence<<1 | 1})
	}
}

// removeAll ends the keys from one on for which under says yes.
func (t *table[K, V]) removeAll(sequence uint64, from K, under func(K) bool) {
	var keys []K
	t.rows.Ascend(entry[K, V]{key: from}, func(e entry[K, V]) bool {
		if !under(e.key) {
			return false
		}
		keys = append(keys, e.key)
		return true
	})
	for _, k := range keys {
		t.remove(sequence, k)
	}
}

func (t *table[K, V]) revise(key K, rev revision[V]) {
	e, ok := t.rows.GetHint(entry[K, V]{key: key}, &t.hint)
	if !ok {
		e = entry[K, V]{key, newRow[V]()}
		t.rows.SetHint(e, &t.hint)
	}
	r := e.row
	if last := len(r.revisions) - 1; last >= 0 && r.revisions[last].sequence() == rev.sequence() {
		r.revisions[last] = rev // one event sets a key once, whatever its steps
		return
	}
	r.revisions = append(r.revisions, rev)
	t.recent = append(t.recent, recentRevision[K, V]{rev.sequence(), e})
}

// cutAfter takes back everything after a sequence that wasn't settled.
func (t *table[K, V]) cutAfter(sequence uint64) {
	for len(t.recent) > 0 {
		last := t.recent[len(t.recent)-1]
		if last.sequence <= sequence {
			return
		}
		t.recent = t.recent[:len(t.recent)-1]
		r := last.row
		r.revisions[len(r.revisions)-1] = revision[V]{} // let the value go
		r.revisions = r.revisions[:len(r.revisions)-1]
		if len(r.revisions) == 0 {
			t.rows.Delete(last.entry)
		}
	}
}

// settle says that nothing up to a sequence will be cut off any more.
func (t *table[K, V]) settle(sequence uint64) {
	n := 0
	for n < len(t.recent) && t.recent[n].sequence <= sequence {
		n++
	}
	switch n {
	case 0:
	case len(t.recent):
		clear(t.recent)
		t.recent = t.recent[:0]
	default:
		t.recent = append([]recentRevision[K, V](nil), t.recent[n:]...)
	}
}

// asOf gives the revision that holds at a sequence.
func (r *row[V]) asOf(sequence uint64) (found[V], bool) {
	high := len(r.revisions)
	if high > 0 && r.revisions[high-1].sequence() <= sequence { // the present is asked for most
		return r.revisions[high-1].found()
	}
	return r.search(sequence, high)
}

func (r *row[V]) search(sequence uint64, high int) (found[V], bool) {
	low := 0 // revisions below low are at or before sequence, those from high on are after it
	for low < high {
		if mid := (low + high) / 2; r.revisions[mid].sequence() <= sequence {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return found[V]{}, false
	}
	return r.revisions[low-1].found()
}

// upTo gives the revisions up to a sequence. If that is settled, they may be read
// without the lock.
func (r *row[V]) upTo(sequence uint64) []revision[V] {
	return r.revisions[:sort.Search(len(r.revisions), func(i int) bool { return r.revisions[i].sequence() > sequence })]
}

// past gives all revisions of a key up to a sequence, which must be settled.
func (t *table[K, V]) past(sequence uint64, key K) []revision[V] {
	t.lock.RLock()
	defer t.lock.RUnlock()
	r, ok := t.rowOf(key)
	if !ok {
		return nil
	}
	return r.upTo(sequence)
}

// at is for the writer: what it looks up it changes next, so both go by one hint.
func (t *table[K, V]) at(sequence uint64, key K) (found[V], bool) {
	e, ok := t.rows.GetHint(entry[K, V]{key: key}, &t.hint)
	if !ok {
		return found[V]{}, false
	}
	return e.row.asOf(sequence)
}

// rowOf is for readers, with the lock held already: it has no hint to change.
func (t *table[K, V]) rowOf(key K) (*row[V], bool) {
	e, ok := t.rows.Get(entry[K, V]{key: key})
	return e.row, ok
}

func (t *table[K, V]) get(sequence uint64, key K) (found[V], bool) {
	t.lock.RLock()
	defer t.lock.RUnlock()
	r, ok := t.rowOf(key)
	if !ok {
		return found[V]{}, false
	}
	return r.asOf(sequence)
}

// step gives the values before and after the event of a sequence, by one search; the
// zero value for one that isn't there.
func (t *table[K, V]) step(sequence uint64, key K) (was, is V) {
	t.lock.RLock()
	defer t.lock.RUnlock()
	r, ok := t.rowOf(key)
	if !ok || sequence == 0 {
		return was, is
	}
	if f, ok := r.asOf(sequence - 1); ok {
		was = f.value
	}
	if f, ok := r.asOf(sequence); ok {
		is = f.value
	}
	return was, is
}

// known gives the last value up to a sequence, also of a key that is gone.
func (t *table[K, V]) known(sequence uint64, key K) (found[V], bool) {
	t.lock.RLock()
	defer t.lock.RUnlock()
	r, ok := t.rowOf(key)
	if !ok {
		return found[V]{}, false
	}
	f, there := r.asOf(sequence)
	if !there && f.sequence > 0 { // gone: the revision before has the value
		return r.asOf(f.sequence - 1)
	}
	return f, there
}

// A scan visits a few rows at first, since most want one or two, then more and
// more, and lets the writer in after each step.
const (
	firstStep = 4
	lastStep  = 256
)

// ascend yields the keys from a key on that are there at a sequence, in order.
func (t *table[K, V]) ascend(sequence uint64, from K) iter.Seq2[K, V] {
	return t.scan(sequence, from, nil, t.rows.Ascend)
}

// ascendWithin ends with the first key that isn't within, whether it is there at the
// sequence or not: else a scan that finds little would go on over all that is there
// only later.
func (t *table[K, V]) ascendWithin(sequence uint64, from K, within func(K) bool) iter.Seq2[K, V] {
	return t.scan(sequence, from, within, t.rows.Ascend)
}

// descendWithin is ascendWithin from a key down.
func (t *table[K, V]) descendWithin(sequence uint64, from K, within func(K) bool) iter.Seq2[K, V] {
	return t.scan(sequence, from, within, t.rows.Descend)
}

type walk[K, V any] func(pivot entry[K, V], visit func(entry[K, V]) bool)

func (t *table[K, V]) scan(sequence uint64, from K, within func(K) bool, rows walk[K, V]) iter.Seq2[K, V] {
	type hit struct {
		key   K
		value V
	}
	return func(yield func(K, V) bool) {
		pivot := entry[K, V]{key: from}
		var last *row[V] // where the step before ended, not to be visited again
		hits := make([]hit, 0, firstStep)
		for step := firstStep; ; step = min(2*step, lastStep) {
			hits = hits[:0]
			visited := 0
			t.lock.RLock()
			rows(pivot, func(e entry[K, V]) bool {
				if e.row == last {
					return true
				}
				if within != nil && !within(e.key) {
					return false
				}
				if f, ok := e.row.asOf(sequence); ok {
					hits = append(hits, hit{e.key, f.value})
				}
				visited++
				pivot = e
				return visited < step
			})
			t.lock.RUnlock()
			for _, h := range hits {
				if !yield(h.key, h.value) {
					return
				}
			}
			if visited < step {
				return
			}
			last = pivot.row
		}
	}
}

// record is a key with its revisions up to some sequence.
type record[K, V any] struct {
	key       K
	revisions []revision[V]
}

// history yields every key that has revisions up to a sequence, in order, with
// those revisions. The sequence must be settled. It lets the writer in, and
// ends with the context's error.
func (t *table[K, V]) history(ctx context.Context, sequence uint64) iter.Seq2[record[K, V], error] {
	return t.records(ctx, sequence, t.rows.Scan)
}

// historyFrom is history from a key on.
func (t *table[K, V]) historyFrom(ctx context.Context, sequence uint64, from K) iter.Seq2[record[K, V], error] {
	return t.records(ctx, sequence, func(visit func(entry[K, V]) bool) { t.rows.Ascend(entry[K, V]{key: from}, visit) })
}

func (t *table[K, V]) records(
	ctx context.Context, sequence uint64, begin func(visit func(entry[K, V]) bool),
) iter.Seq2[record[K, V], error] {
	return func(yield func(record[K, V], error) bool) {
		var pivot entry[K, V]
		var records []record[K, V]
		for first, done := true, false; !done; first = false {
			if err := ctx.Err(); err != nil {
				yield(record[K, V]{}, err)
				return
			}
			records = records[:0]
			visited, last := 0, pivot.row
			visit := func(e entry[K, V]) bool {
				if e.row == last {
					return true
				}
				if upTo := e.row.upTo(sequence); len(upTo) > 0 {
					records = append(records, record[K, V]{e.key, upTo})
				}
				visited++
				pivot = e
				return visited < lastStep
			}
			t.lock.RLock()
			if first {
				begin(visit)
			} else {
				t.rows.Ascend(pivot, visit)
			}
			t.lock.RUnlock()
			done = visited < lastStep
			for _, r := range records {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}
