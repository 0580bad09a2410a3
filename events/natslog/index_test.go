package natslog_test

import (
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
	l = openLog(t, natslog.Config{Dir: dir})
	wantLast(t, l, 2)
	wantEvents(t, l.Read(timeLimit(t), 1, 2), 1, 2)
	mustAppend(t, l, 2, event(3))
	wantLast(t, l, 3)
}
