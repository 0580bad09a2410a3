package projections_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"pgregory.net/rapid"
)

const (
	longStory      = 4_000 // events
	rebuilds       = 200
	seedOfTheStory = 20_261_124
)

// record tells one long story, the same each time, and gives it as it is read
// from a log.
func record(t *testing.T) []events.Event {
	t.Helper()
	story := rapid.Custom(func(t *rapid.T) []events.Event { return history(t, longStory, longStory) }).Example(seedOfTheStory)
	for i, e := range story {
		encoded, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if story[i], err = events.Decode(events.Stored{Sequence: e.Sequence, Encoded: encoded}); err != nil {
			t.Fatal(err)
		}
	}
	return story
}

func rebuild(told []events.Event) *projections.State {
	s := fold(told)
	s.Settle(s.Applied())
	return s
}

func dumpOf(t *testing.T, s *projections.State, sequence uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Dump(t.Context(), &b, sequence); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestThePastIsWhatARebuildGives replays a recorded history of several thousand
// events of every kind. At 200 of its sequences, the state that knows all of it
// gives as of that sequence what a state does that was rebuilt from the log and
// stopped there: byte for byte in the canonical dump, and in all that is shown.
func TestThePastIsWhatARebuildGives(t *testing.T) {
	log := record(t)
	whole, told := rebuild(log), map[string]int{}
	for _, e := range log {
		told[e.Type()]++
	}
	for _, zero := range events.Kinds() {
		if told[events.TypeOf(zero)] == 0 {
			t.Errorf("the history has no %s", events.TypeOf(zero))
		}
	}
	chance := rand.New(rand.NewPCG(seedOfTheStory, 0))
	for _, i := range append(chance.Perm(len(log))[:rebuilds-2], -1, len(log)-1) {
		at := uint64(i + 1)
		rebuilt := rebuild(log[:at])
		if want, got := dumpOf(t, rebuilt, at), dumpOf(t, whole, at); !bytes.Equal(want, got) {
			t.Fatalf("as of %d of %d, the dump parts from that of a rebuild at byte %d of %d", at, len(log), firstDifference(want, got), len(want))
		}
		wantShown(t, fmt.Sprintf("as of %d of %d", at, len(log)), show(rebuilt.At(at)), show(whole.At(at)))
		if a, b := etags(rebuilt.At(at)), etags(whole.At(at)); !maps.Equal(a, b) {
			t.Fatalf("sequences shown as of %d of %d:\n%s", at, len(log), cmp.Diff(a, b))
		}
	}
}

// firstDifference gives the index at which two texts part.
func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestTheDigestIsThatOfTheDump(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		told := history(rt, 5, 40)
		s := rebuild(told)
		at := rapid.Uint64Range(0, s.Applied()).Draw(rt, "as of")
		dump := dumpOf(t, s, at)
		sum := sha256.Sum256(dump)
		if digest := digestAt(rt, s, at); digest != hex.EncodeToString(sum[:]) {
			rt.Fatalf("the digest is %s, that of the dump %x", digest, sum)
		}
		if at > 0 && bytes.Equal(dump, dumpOf(t, s, at-1)) {
			rt.Fatal("the event before gives the same dump")
		}
	})
}

// short takes some bytes, and then fails.
type short struct{ room int }

var errShort = errors.New("test: no room")

func (s *short) Write(b []byte) (int, error) {
	if s.room -= len(b); s.room < 0 {
		return 0, errShort
	}
	return len(b), nil
}

func TestADumpEndsWithTheWriterAndTheContext(t *testing.T) {
	s := rebuild(record(t)[:200])
	size := len(dumpOf(t, s, s.Applied()))
	for _, room := range []int{0, 8, size / 2, size - 1} {
		if err := s.Dump(t.Context(), &short{room}, s.Applied()); !errors.Is(err, errShort) {
			t.Errorf("with room for %d bytes of %d it ends with %v", room, size, err)
		}
	}
	if err := s.Dump(t.Context(), &short{size}, s.Applied()); err != nil {
		t.Errorf("with room for all %d bytes it ends with %v", size, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Dump(ctx, io.Discard, s.Applied()); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
}
