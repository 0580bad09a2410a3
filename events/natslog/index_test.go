package natslog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/modelog/modelog/events/natslog"
)

// TestASummaryNewerThanTheMessagesIsForgotten cuts off the last event behind the
// back of the server's summary, as a power cut can: what is left is the log.
func TestASummaryNewerThanTheMessagesIsForgotten(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, natslog.Config{Dir: dir})
	mustAppend(t, l, 0, group(1, 2)...)
	msgs := filepath.Join(dir, "jetstream", "$G", "streams", natslog.StreamName, "msgs")
	block := filepath.Join(msgs, "1.blk")
	two, err := os.Stat(block)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 2, event(3))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(msgs, "index.db")); err != nil {
		t.Fatalf("there is no summary to forget: %v", err)
	}
	if err := os.Truncate(block, two.Size()); err != nil {
		t.Fatal(err)
	}
	powerCut(t, dir)
	l = openLog(t, natslog.Config{Dir: dir})
	wantLast(t, l, 2)
	wantEvents(t, l.Read(timeLimit(t), 1, 2), 1, 2)
	mustAppend(t, l, 2, event(3))
	wantLast(t, l, 3)
}

// powerCut makes a directory look as if its process had never closed it.
func powerCut(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "LOCK"), []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTheSummaryIsKeptAfterACloseInOrderOnly looks whether the next start leaves
// the summary's file alone.
func TestTheSummaryIsKeptAfterACloseInOrderOnly(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, natslog.Config{Dir: dir})
	mustAppend(t, l, 0, group(1, 2)...)
	if lock := lockOf(t, dir); lock != fmt.Sprintln(os.Getpid()) {
		t.Errorf("an open log's lock says %q", lock)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if lock := lockOf(t, dir); lock != "closed in order\n" {
		t.Errorf("a closed log's lock says %q", lock)
	}
	for inOrder, cut := range map[bool]func(){true: func() {}, false: func() { powerCut(t, dir) }} {
		cut()
		index := filepath.Join(dir, "jetstream", "$G", "streams", natslog.StreamName, "msgs", "index.db")
		before, err := os.Stat(index)
		if err != nil {
			t.Fatal(err)
		}
		l = openLog(t, natslog.Config{Dir: dir})
		wantLast(t, l, 2)
		after, err := os.Stat(index)
		if kept := err == nil && os.SameFile(before, after); kept != inOrder {
			t.Errorf("closed in order: %v, kept: %v", inOrder, kept)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestALogThatCantBeSyncedIsNotClosedInOrder: what its summary says may be more
// than what is on the disk.
func TestALogThatCantBeSyncedIsNotClosedInOrder(t *testing.T) {
	dir := t.TempDir()
	fails := false
	l, err := natslog.Open(t.Context(), natslog.Config{Dir: dir, Sync: func() error {
		if fails {
			return errors.New("test: the disk is gone")
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 0, group(1, 2)...)
	fails = true
	if err := l.Close(); err == nil {
		t.Error("no error")
	}
	if lock := lockOf(t, dir); lock != fmt.Sprintln(os.Getpid()) {
		t.Errorf("the lock says %q", lock)
	}
}

func lockOf(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "LOCK"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
