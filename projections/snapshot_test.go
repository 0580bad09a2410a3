package projections_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/modelog/modelog/projections"
	"pgregory.net/rapid"
)

func snapshotOf(t rapid.TB, s *projections.State, sequence uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteSnapshot(context.Background(), &b, sequence); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func restored(t rapid.TB, data []byte) *projections.State {
	t.Helper()
	s, err := projections.ReadSnapshot(data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestASnapshotAndWhatFollowsGiveTheSameState takes a snapshot anywhere in a
// history, also one that knows more already, and goes on from it.
func TestASnapshotAndWhatFollowsGiveTheSameState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 5, 40)
		whole := fold(told)
		at := rapid.Uint64Range(1, whole.Applied()).Draw(t, "at")
		s := restored(t, snapshotOf(t, whole, at))
		if s.Applied() != at {
			t.Fatalf("it ends at %d instead of %d", s.Applied(), at)
		}
		for _, e := range told[at:] {
			s.Apply(e)
		}
		for sequence := uint64(1); sequence <= whole.Applied(); sequence++ {
			if digestAt(t, s, sequence) != digestAt(t, whole, sequence) {
				t.Fatalf("from a snapshot at %d, the digest as of %d is another", at, sequence)
			}
			wantShown(t, "from a snapshot", show(whole.At(sequence)), show(s.At(sequence)))
		}
		if last := whole.Applied(); !bytes.Equal(snapshotOf(t, s, last), snapshotOf(t, whole, last)) {
			t.Fatal("its own snapshot is another")
		}
	})
}

// TestASnapshotThatWasTakenFromCanBeCut: nothing that a snapshot holds is cut
// off, but what was applied on top of it is.
func TestWhatFollowsASnapshotCanBeCutOff(t *testing.T) {
	told := full()
	at := uint64(len(told) / 2)
	s := restored(t, snapshotOf(t, fold(told), at))
	before := digestAt(t, s, at)
	for _, e := range told[at:] {
		s.Apply(e)
	}
	s.CutAfter(at)
	if digestAt(t, s, at) != before {
		t.Error("what was cut off has left something")
	}
	for _, e := range told[at:] {
		s.Apply(e)
	}
	if last := uint64(len(told)); digestAt(t, s, last) != digestAt(t, fold(told), last) {
		t.Error("another state after a cut")
	}
}

// TestNoDamageOfASnapshotPanics: files carry a checksum, so that this is the
// second line only.
func TestNoDamageOfASnapshotPanics(t *testing.T) {
	whole := fold(full())
	good := snapshotOf(t, whole, whole.Applied())
	rapid.Check(t, func(t *rapid.T) {
		bad := bytes.Clone(good)
		for range rapid.IntRange(1, 3).Draw(t, "bytes") {
			bad[rapid.IntRange(0, len(bad)-1).Draw(t, "at")] ^= rapid.Byte().Draw(t, "flip")
		}
		bad = bad[:rapid.IntRange(0, len(bad)).Draw(t, "length")]
		if s, err := projections.ReadSnapshot(bad); err == nil && s == nil {
			t.Error("neither a state nor an error")
		}
	})
}

func TestASnapshotOfAnotherFoldIsRefused(t *testing.T) {
	whole := fold(full())
	data := snapshotOf(t, whole, whole.Applied())
	key := append([]byte{0xa4}, "fold"...)
	i := bytes.Index(data, key)
	if i < 0 || data[i+len(key)] != projections.FoldVersion {
		t.Fatal("the snapshot doesn't name its fold")
	}
	data[i+len(key)]++
	if _, err := projections.ReadSnapshot(data); !errors.Is(err, projections.ErrFold) {
		t.Errorf("got %v", err)
	}
}

func TestASnapshotEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	whole := fold(full())
	if err := whole.WriteSnapshot(ctx, &bytes.Buffer{}, whole.Applied()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type brokenWriter struct{ left int }

var errFull = errors.New("full")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestASnapshotThatCantBeWrittenFails(t *testing.T) {
	whole := fold(full())
	size := len(snapshotOf(t, whole, whole.Applied()))
	for left := range size {
		if err := whole.WriteSnapshot(t.Context(), &brokenWriter{left}, whole.Applied()); !errors.Is(err, errFull) {
			t.Fatalf("with room for %d of %d bytes: %v", left, size, err)
		}
	}
}
