package natslog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
)

func TestASecondOpenerIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := openLog(t, natslog.Config{Dir: dir})
	_, err := natslog.Open(t.Context(), natslog.Config{Dir: dir})
	if !errors.Is(err, natslog.ErrLocked) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{dir, fmt.Sprintf("process %d", os.Getpid())} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q doesn't name %q", err, part)
		}
	}
	mustAppend(t, first, 0, event(1))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	wantLast(t, openLog(t, natslog.Config{Dir: dir}), 1)
}

func TestADirectoryThatCantBeMadeIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(file, "data")
	_, err := natslog.Open(t.Context(), natslog.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v", err)
	}
}

func TestAStoreThatCantBeOpenedIsRefusedAndTheDirectoryGivenBack(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "jetstream")
	if err := os.WriteFile(store, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := natslog.Open(t.Context(), natslog.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "JetStream") {
		t.Fatalf("got %v", err)
	}
	if err := os.Remove(store); err != nil {
		t.Fatal(err)
	}
	openLog(t, natslog.Config{Dir: dir})
}

func TestAStreamThatCouldLoseOrHideEventsIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*jetstream.StreamConfig)
		says   string
	}{
		"deletion":  {func(c *jetstream.StreamConfig) { c.DenyDelete = false }, "deny_delete is false, wanted true"},
		"age":       {func(c *jetstream.StreamConfig) { c.MaxAge = 1e12 }, "max_age is 16m40s, wanted 0s"},
		"count":     {func(c *jetstream.StreamConfig) { c.MaxMsgs = 100 }, "max_msgs is 100, wanted -1"},
		"retention": {func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, "retention is Interest, wanted Limits"},
		"subjects":  {func(c *jetstream.StreamConfig) { c.Subjects = []string{"modelog.>"} }, "subjects is [modelog.>], wanted [modelog.events.>]"},
		"numbering": {func(c *jetstream.StreamConfig) { c.FirstSeq = 10 }, "first_seq is 10, wanted 1"},
		"two at once": {
			func(c *jetstream.StreamConfig) { c.Discard, c.DenyPurge = jetstream.DiscardOld, false },
			"discard is DiscardOld, wanted DiscardNew; deny_purge is false, wanted true",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			withRawServer(t, dir, func(js jetstream.JetStream) {
				cfg := natslog.EmbeddedStream()
				test.change(&cfg)
				if _, err := js.CreateStream(t.Context(), cfg); err != nil {
					t.Fatal(err)
				}
			})
			_, err := natslog.Open(t.Context(), natslog.Config{Dir: dir})
			if !errors.Is(err, natslog.ErrStreamConfig) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want it to say %q", err, test.says)
			}
		})
	}
}

func TestAStreamThatDiffersInTasteIsTaken(t *testing.T) {
	dir := t.TempDir()
	withRawServer(t, dir, func(js jetstream.JetStream) {
		cfg := natslog.EmbeddedStream()
		cfg.Compression, cfg.MaxConsumers, cfg.Description = jetstream.NoCompression, 7, "mine"
		cfg.Metadata = map[string]string{"team": "a"}
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	})
	mustAppend(t, openLog(t, natslog.Config{Dir: dir}), 0, event(1))
}

// withRawServer runs a server on a data directory, without a log.
func withRawServer(t *testing.T, dir string, do func(jetstream.JetStream)) {
	t.Helper()
	ns, err := natslog.StartServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.WaitForShutdown()
	defer ns.Shutdown()
	withJetStream(t, "", do, nats.InProcessServer(ns))
}

func TestOtherStreamsLiveOnTheSameServer(t *testing.T) {
	l := openLog(t, natslog.Config{Dir: t.TempDir()})
	js := l.JetStream()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "other.a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 0, event(1))
	wantLast(t, l, 1)
}

func TestAFullDiskRefusesAppendsBeforeTheServerMeetsIt(t *testing.T) {
	cfg := natslog.Config{Dir: t.TempDir()}
	l := openLog(t, cfg)
	mustAppend(t, l, 0, event(1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Reserve = 1 << 62
	l = openLog(t, cfg)
	if err := l.Append(t.Context(), 1, group(2, 3)); !errors.Is(err, events.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	if err := l.Health(t.Context()); !errors.Is(err, events.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	if last := streamInfo(t, l.JetStream()).State.LastSeq; last != 1 {
		t.Errorf("the stream ends at %d", last)
	}
	wantEvents(t, l.Read(t.Context(), 1, 1), 1, 1)
}

func TestNoReserveIsARight(t *testing.T) {
	mustAppend(t, openLog(t, natslog.Config{Dir: t.TempDir(), Reserve: -1}), 0, event(1))
}
