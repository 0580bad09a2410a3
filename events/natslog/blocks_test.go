package natslog_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
)

// blockLog opens a log whose events fill three files of the store and begin a
// fourth, and gives the events too: some that can't be compressed, some that can.
func blockLog(t *testing.T) (*natslog.Log, string, []events.Stored) {
	t.Helper()
	dir := t.TempDir()
	l := openLog(t, natslog.Config{Dir: dir})
	chance := rand.NewChaCha8([32]byte{7})
	var all []events.Stored
	for range 12 {
		var group []events.Encoded
		for range 10 {
			e := event(len(all) + 1)
			e.Data = make([]byte, 200<<10)
			_, _ = chance.Read(e.Data[:150<<10+len(all)])
			if len(all)%7 == 0 {
				e.Header = nil
			}
			group = append(group, e)
			all = append(all, events.Stored{Sequence: uint64(len(all) + 1), Encoded: e})
		}
		mustAppend(t, l, uint64(len(all)-len(group)), group...)
	}
	return l, natslog.MessagesDirectory(dir), all
}

func wantStored(t *testing.T, got, want []events.Stored) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("read %d events, want %d", len(got), len(want))
	}
	for i := range got {
		if w, g := want[i], got[i]; w.Sequence != g.Sequence || w.Subject != g.Subject || !slices.Equal(w.Header, g.Header) || !bytes.Equal(w.Data, g.Data) {
			t.Fatalf("event %d isn't as it was appended, but has sequence %d and %d bytes", w.Sequence, g.Sequence, len(g.Data))
		}
	}
}

func TestLongStretchesAreReadFromTheFiles(t *testing.T) {
	l, dir, all := blockLog(t)
	files, err := filepath.Glob(filepath.Join(dir, "*.blk"))
	if err != nil || len(files) < 3 {
		t.Fatalf("the store has the files %v (%v), want 3 at least", files, err)
	}
	l.SetLeastInBlocks(10)
	inFiles, err := l.ReadBlocks(t.Context(), 1, uint64(len(all)))
	if err != nil || len(inFiles) < len(all)/2 {
		t.Fatalf("the files gave %d events (%v), want half of %d at least", len(inFiles), err, len(all))
	}
	wantStored(t, inFiles, all[:len(inFiles)])
	for from := 0; from < len(all); from += 7 {
		some, err := l.ReadBlocks(t.Context(), uint64(from+1), uint64(len(all)))
		if err != nil {
			t.Fatal(err)
		}
		wantStored(t, some, all[from:max(from, len(some)+from)])
		if from+len(some) < len(inFiles) && from+10 < len(all) {
			t.Errorf("from %d the files gave %d events, want those up to %d", from+1, len(some), len(inFiles))
		}
		var whole []events.Stored
		for e, err := range l.Read(t.Context(), uint64(from+1), uint64(len(all))) {
			if err != nil {
				t.Fatal(err)
			}
			whole = append(whole, e)
		}
		wantStored(t, whole, all[from:])
	}
	some, err := l.ReadBlocks(t.Context(), 3, 14)
	if err != nil {
		t.Fatal(err)
	}
	wantStored(t, some, all[2:14])
}

// TestADamagedFileIsLeftToTheServer damages each of some hundred places of a file
// that is read: what comes from the files is never wrong, and ends before it.
func TestADamagedFileIsLeftToTheServer(t *testing.T) {
	l, dir, all := blockLog(t)
	l.SetLeastInBlocks(10)
	path := filepath.Join(dir, "1.blk")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := l.ReadBlocks(t.Context(), 1, uint64(len(all)))
	if err != nil {
		t.Fatal(err)
	}
	places := []int{0, 3, 4, 5, 9, 20, 31, 40, 60, 80, 100, len(content) - 9, len(content) - 1}
	for p := 113; p < len(content); p += len(content) / 30 {
		places = append(places, p)
	}
	missed := 0
	for _, at := range places {
		damaged := bytes.Clone(content)
		damaged[at] ^= 0x40
		write(t, path, damaged)
		got, err := l.ReadBlocks(t.Context(), 1, uint64(len(all)))
		if err != nil {
			t.Fatalf("with byte %d changed: %v", at, err)
		}
		if len(got) == len(whole) {
			missed++
		}
		wantStored(t, got, all[:len(got)])
	}
	if missed > 2 { // a byte that nothing depends on, such as padding, may change
		t.Errorf("%d changes of %d were not noticed", missed, len(places))
	}
	for _, size := range []int{0, 1, 5, 12, len(content) / 2, len(content) - 1} {
		write(t, path, content[:size])
		got, err := l.ReadBlocks(t.Context(), 1, uint64(len(all)))
		if err != nil {
			t.Fatalf("with %d bytes: %v", size, err)
		}
		wantStored(t, got, all[:len(got)])
	}
	write(t, path, append(slices.Clone(content), "more"...))
	got, err := l.ReadBlocks(t.Context(), 1, uint64(len(all)))
	if err != nil {
		t.Fatal(err)
	}
	wantStored(t, got, all[:len(got)])
	if err := os.Rename(filepath.Join(dir, "2.blk"), path); err != nil { // a file in the place of another
		t.Fatal(err)
	}
	if got, err = l.ReadBlocks(t.Context(), 1, uint64(len(all))); err != nil || len(got) != 0 {
		t.Errorf("another file gave %d events (%v), want none", len(got), err)
	}
}

func TestAReaderOfFilesMayLeave(t *testing.T) {
	l, _, all := blockLog(t)
	l.SetLeastInBlocks(10)
	for stop := 1; stop < len(all); stop += 17 {
		n := 0
		for e, err := range l.Follow(t.Context(), 1) {
			if n++; err != nil || e.Sequence != uint64(n) {
				t.Fatalf("event %d: %d, %v", n, e.Sequence, err)
			}
			if n == stop {
				break
			}
		}
	}
	n := 0
	for e, err := range l.Follow(timeLimit(t), 1) { // goes on through the server, and with what is new
		if n++; err != nil || e.Sequence != uint64(n) {
			t.Fatalf("event %d: %d, %v", n, e.Sequence, err)
		}
		if n == len(all) {
			mustAppend(t, l, uint64(n), event(n+1))
		}
		if n > len(all) {
			if id := e.Header[0].Value; id != strconv.Itoa(n) {
				t.Errorf("the new event has id %s", id)
			}
			break
		}
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
