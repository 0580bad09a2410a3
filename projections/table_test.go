package projections

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// naive keeps a whole copy of the map for every sequence.
type naive map[uint64]map[int]found[int]

func (n naive) change(sequence uint64, edit func(map[int]found[int])) {
	next := maps.Clone(n[sequence-1])
	if next == nil {
		next = map[int]found[int]{}
	}
	if at, ok := n[sequence]; ok {
		next = at
	}
	edit(next)
	n[sequence] = next
}

// TestTableAgreesWithWholeCopies drives a table and a naive model of it with
// random puts, removals, cuts and settlings, and compares every read.
func TestTableAgreesWithWholeCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := newTable[int, int]("t", &sync.RWMutex{}, cmp.Compare[int])
		model := naive{0: {}}
		tip, settled := uint64(0), uint64(0)
		key := rapid.IntRange(0, 20)
		advance := func() {
			tip++
			model[tip] = maps.Clone(model[tip-1])
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				advance()
				for range rapid.IntRange(1, 3).Draw(t, "keys") {
					k, v := key.Draw(t, "key"), rapid.Int().Draw(t, "value")
					tab.put(tip, k, v)
					model.change(tip, func(m map[int]found[int]) { m[k] = found[int]{v, tip} })
				}
			},
			"remove": func(t *rapid.T) {
				advance()
				k := key.Draw(t, "key")
				tab.remove(tip, k)
				model.change(tip, func(m map[int]found[int]) { delete(m, k) })
			},
			"cut": func(t *rapid.T) {
				to := rapid.Uint64Range(settled, tip).Draw(t, "to")
				tab.cutAfter(to)
				for s := to + 1; s <= tip; s++ {
					delete(model, s)
				}
				tip = to
			},
			"settle": func(t *rapid.T) {
				settled = rapid.Uint64Range(settled, tip).Draw(t, "to")
				tab.settle(settled)
			},
			"": func(t *rapid.T) {
				at := rapid.Uint64Range(0, tip).Draw(t, "at")
				compareWithModel(t, tab, at, model[at], key.Draw(t, "from"))
			},
		})
	})
}

func compareWithModel(t *rapid.T, tab *table[int, int], at uint64, want map[int]found[int], from int) {
	for k := range 21 {
		got, ok := tab.get(at, k)
		if w, there := want[k]; ok != there || (ok && got != w) {
			t.Fatalf("get(%d, %d) = %v, %v; want %v, %v", at, k, got, ok, w, there)
		}
	}
	keys := slices.Sorted(maps.Keys(want))
	up := slices.DeleteFunc(slices.Clone(keys), func(k int) bool { return k < from })
	down := slices.DeleteFunc(slices.Clone(keys), func(k int) bool { return k > from })
	slices.Reverse(down)
	if diff := gocmp.Diff(up, keysOf(tab.ascend(at, from)), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("ascend(%d, %d):\n%s", at, from, diff)
	}
	const width = 5
	up = slices.DeleteFunc(up, func(k int) bool { return k > from+width })
	down = slices.DeleteFunc(down, func(k int) bool { return k < from-width })
	near := func(k int) bool { return from-width <= k && k <= from+width }
	if diff := gocmp.Diff(up, keysOf(tab.ascendWithin(at, from, near)), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("ascendWithin(%d, %d):\n%s", at, from, diff)
	}
	if diff := gocmp.Diff(down, keysOf(tab.descendWithin(at, from, near)), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("descendWithin(%d, %d):\n%s", at, from, diff)
	}
}

// TestAScanEndsWhereItsKeysEnd looks for a few keys before many that came later:
// the scan must not go over those.
func TestAScanEndsWhereItsKeysEnd(t *testing.T) {
	tab := newTable[int, int]("t", &sync.RWMutex{}, cmp.Compare[int])
	for i := range 10_000 {
		tab.put(2, i, i)
	}
	for name, scan := range map[string]func(within func(int) bool) iter.Seq2[int, int]{
		"up":   func(within func(int) bool) iter.Seq2[int, int] { return tab.ascendWithin(1, 5_000, within) },
		"down": func(within func(int) bool) iter.Seq2[int, int] { return tab.descendWithin(1, 5_000, within) },
	} {
		asked := 0
		keys := keysOf(scan(func(k int) bool {
			asked++
			return 4_990 <= k && k <= 5_010
		}))
		if len(keys) > 0 || asked > 12 {
			t.Errorf("%s: found %v, having looked at %d keys, want none of 11 and one more", name, keys, asked)
		}
	}
}

func keysOf(seq func(func(int, int) bool)) []int {
	var keys []int
	for k := range seq {
		keys = append(keys, k)
	}
	return keys
}

// TestScanLetsTheWriterIn puts keys while a scan is under way: the scan neither
// blocks the writer nor sees what is newer than its sequence.
func TestScanLetsTheWriterIn(t *testing.T) {
	var lock sync.RWMutex
	tab := newTable[int, int]("t", &lock, cmp.Compare[int])
	for i := range 1000 {
		tab.put(1, 2*i, i)
	}
	seen := 0
	for k := range tab.ascend(1, 0) {
		lock.Lock() // would deadlock if the scan held its lock here
		tab.put(2, k+1, 0)
		lock.Unlock()
		seen++
	}
	if seen != 1000 {
		t.Fatalf("saw %d keys, want 1000", seen)
	}
}

// TestHistoryHasEveryRowOnce reads more rows than one step takes, while the
// writer adds some and takes back others in between.
func TestHistoryHasEveryRowOnce(t *testing.T) {
	const rows = 4 * lastStep
	var lock sync.RWMutex
	tab := newTable[int, int]("t", &lock, cmp.Compare[int])
	for i := range rows {
		tab.put(1, 2*i, i)
		tab.put(2, 2*i, -i)
	}
	tab.settle(2)
	want := 0
	for r, err := range tab.history(t.Context(), 2) {
		if err != nil {
			t.Fatal(err)
		}
		if r.key != want || len(r.revisions) != 2 {
			t.Fatalf("row %d has %d revisions, want row %d with 2", r.key, len(r.revisions), want)
		}
		lock.Lock()
		tab.put(3, r.key+1, 0) // behind the reader and before it
		tab.put(3, 2*rows-r.key-1, 0)
		if r.key%3 == 0 {
			tab.cutAfter(2)
		}
		lock.Unlock()
		want += 2
	}
	if want != 2*rows {
		t.Fatalf("it ended before row %d of %d", want, 2*rows)
	}
	for r, err := range tab.history(t.Context(), 2) { // and it can be left
		if err != nil || r.key == 2*lastStep {
			return
		}
	}
	t.Error("it ended by itself")
}
