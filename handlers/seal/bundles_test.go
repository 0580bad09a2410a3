package seal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func recordOf(sequence uint64) []byte { return []byte{'{', byte(sequence), byte(sequence >> 8), '}'} }

func TestABundleIsKeptOnceItIsFull(t *testing.T) {
	b := bundles{dir: t.TempDir()}
	for sequence := uint64(1); sequence <= 2*tileWidth-1; sequence++ {
		b.add(sequence, recordOf(sequence))
	}
	for _, sequence := range []uint64{1, 2, 100, tileWidth} {
		if record := b.record(sequence); !bytes.Equal(record, recordOf(sequence)) {
			t.Errorf("record %d is %q, want %q", sequence, record, recordOf(sequence))
		}
	}
	if record := b.record(tileWidth + 1); record != nil {
		t.Errorf("record %d of a bundle that isn't full is %q", tileWidth+1, record)
	}
	b.add(2*tileWidth, recordOf(2*tileWidth))
	if record := b.record(2 * tileWidth); !bytes.Equal(record, recordOf(2*tileWidth)) {
		t.Errorf("the last record of the second bundle is %q", record)
	}
}

func TestABundleWithAGapIsNotKept(t *testing.T) {
	for name, sequences := range map[string]func(add func(uint64)){
		"its beginning wasn't seen": func(add func(uint64)) {
			for s := uint64(7); s <= tileWidth; s++ {
				add(s)
			}
		},
		"one is missing": func(add func(uint64)) {
			for s := uint64(1); s <= tileWidth; s++ {
				if s != 9 {
					add(s)
				}
			}
		},
		"the end of another": func(add func(uint64)) {
			for s := uint64(1); s <= 5; s++ {
				add(s)
			}
			for s := uint64(tileWidth + 6); s <= 2*tileWidth; s++ {
				add(s)
			}
		},
	} {
		b := bundles{dir: t.TempDir()}
		sequences(func(s uint64) { b.add(s, recordOf(s)) })
		if b.record(1) != nil || b.record(tileWidth+1) != nil {
			t.Errorf("%s: a bundle was kept", name)
		}
	}
}

// TestADamagedBundleIsNoMatter proves events with bundles that are cut, changed and
// exchanged: every proof is right all the same.
func TestADamagedBundleIsNoMatter(t *testing.T) {
	const events = 3 * tileWidth
	s := start(t, testConfig(t, t.TempDir(), newTape(events)))
	eventually(t, "all events are sealed", sealedUpTo(s, events))
	first, second := s.bundles.path(0), s.bundles.path(1)
	whole, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(whole)
	changed[len(changed)/2] ^= 1
	for name, content := range map[string][]byte{
		"whole": whole, "empty": {}, "cut": whole[:len(whole)/2], "changed": changed, "another": other, "missing": nil,
	} {
		if content == nil {
			err = os.Remove(first)
		} else {
			err = os.WriteFile(first, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, sequence := range []uint64{1, 100, tileWidth, tileWidth + 1} {
			p, err := s.Prove(t.Context(), sequence)
			if err != nil {
				t.Fatalf("%s: event %d: %v", name, sequence, err)
			}
			leaf, err := ParseLeaf(p.Record)
			if err != nil || leaf.Sequence != sequence || p.Verify(s.Checkpoint().Tree) != nil {
				t.Errorf("%s: event %d is proved as %+v (%v)", name, sequence, leaf, err)
			}
		}
	}
	if _, err := os.Stat(filepath.Dir(first)); err != nil {
		t.Error(err)
	}
}
