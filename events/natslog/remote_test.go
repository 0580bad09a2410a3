package natslog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/events/natslog"
)

func TestAServerThatCantHoldALogIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*server.Options)
		want   error
		says   string
	}{
		"without JetStream":   {func(o *server.Options) { o.JetStream = false }, events.ErrUnavailable, "is it enabled?"},
		"with small messages": {func(o *server.Options) { o.MaxPayload = 64 << 10 }, natslog.ErrServerConfig, "max_payload is 65536, wanted is 525312"},
	} {
		t.Run(name, func(t *testing.T) {
			s := logtest.StartServers(t, 1, test.change)
			_, err := natslog.Connect(t.Context(), natslog.RemoteConfig{URL: s.URL()})
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want it to say %q", err, test.says)
			}
		})
	}
}

func TestNoServerIsUnavailable(t *testing.T) {
	line := openLine(t) // leads nowhere
	_, err := natslog.Connect(t.Context(), natslog.RemoteConfig{URL: line.url()})
	if !errors.Is(err, events.ErrUnavailable) || !strings.Contains(err.Error(), line.url()) {
		t.Fatalf("got %v", err)
	}
}

func TestACredentialsFileThatIsNotThereIsNamed(t *testing.T) {
	s := logtest.StartServers(t, 1)
	_, err := natslog.Connect(t.Context(), natslog.RemoteConfig{URL: s.URL(), Credentials: "/none.creds"})
	if err == nil || !strings.Contains(err.Error(), "/none.creds") {
		t.Fatalf("got %v", err)
	}
}

func TestMoreReplicasThanServersAreRefused(t *testing.T) {
	s := logtest.StartServers(t, 1)
	_, err := natslog.Connect(t.Context(), natslog.RemoteConfig{URL: s.URL(), Replicas: 3})
	if err == nil || !strings.Contains(err.Error(), "3 replicas") {
		t.Fatalf("got %v", err)
	}
}

func TestWhatCantBeCheckedIsSaidOnceAtEachStart(t *testing.T) {
	s := logtest.StartServers(t, 1)
	var out bytes.Buffer
	l := connect(t, natslog.RemoteConfig{URL: s.URL(), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if err := l.Append(t.Context(), 0, group(1, 2)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "level=WARN"); n != 1 || !strings.Contains(out.String(), "sync_interval: always") {
		t.Errorf("%d warnings: %s", n, out.String())
	}
}

// TestAClusterAndItsStream starts one cluster for all that needs one.
func TestAClusterAndItsStream(t *testing.T) {
	s := logtest.StartServers(t, 3, func(o *server.Options) { o.JetStreamLimits.MaxBatchSize = 7 })
	for name, run := range map[string]func(*testing.T, *logtest.Servers){
		"several that open an absent log at once make one": openAtOnce,
		"a stream that is not as it must be is refused":    refusesStreams,
		"a stream with other replicas than wanted is used": takesReplicas,
		"a group goes in parts where batches are limited":  limitedBatches,
		"readers leave no consumers behind":                leavesNoConsumers,
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() { deleteStream(t, s) })
			run(t, s)
		})
	}
}

func deleteStream(t *testing.T, s *logtest.Servers) {
	t.Helper()
	withJetStream(t, s.URL(), func(js jetstream.JetStream) {
		err := js.DeleteStream(context.WithoutCancel(t.Context()), natslog.StreamName)
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Fatal(err)
		}
	})
}

func openAtOnce(t *testing.T, s *logtest.Servers) {
	t.Helper()
	type opened struct {
		log *natslog.RemoteLog
		err error
	}
	const openers = 4
	results := make(chan opened, openers)
	for range openers {
		go func() {
			l, err := natslog.Connect(t.Context(), natslog.RemoteConfig{URL: s.URL()})
			results <- opened{l, err}
		}()
	}
	for i := range openers {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
			continue
		}
		defer func() { _ = r.log.Close() }() // it was of use
		// A leader that was just elected may refuse for a moment.
		logtest.WaitFor(t, "an append", func() bool {
			err := r.log.Append(t.Context(), uint64(2*i), group(1, 2))
			if err != nil && !errors.Is(err, events.ErrUnavailable) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
}

func refusesStreams(t *testing.T, s *logtest.Servers) {
	t.Helper()
	for says, change := range map[string]func(*jetstream.StreamConfig){
		"allow_atomic is false, wanted true":        func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"deny_delete is false, wanted true":         func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"max_age is 16m40s, wanted 0s":              func(c *jetstream.StreamConfig) { c.MaxAge = 1e12 },
		"discard is DiscardOld, wanted DiscardNew":  func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"max_msgs_per_subject is 1, wanted -1":      func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"allow_direct is false, wanted true":        func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"storage is memory, wanted file":            func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"allow_rollup_hdrs is true, wanted false":   func(c *jetstream.StreamConfig) { c.AllowRollup, c.DenyPurge = true, false },
		"max_msg_size is 1000, wanted -1":           func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 },
		"subjects is [modelog.events.model.>], wan": func(c *jetstream.StreamConfig) { c.Subjects = []string{"modelog.events.model.>"} },
	} {
		makeStream(t, s, 3, change)
		_, err := natslog.Connect(t.Context(), natslog.RemoteConfig{URL: s.URL()})
		if !errors.Is(err, natslog.ErrStreamConfig) || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(says)) {
			t.Errorf("got %v, want it to say %q", err, says)
		}
		deleteStream(t, s)
	}
}

func makeStream(t *testing.T, s *logtest.Servers, replicas int, change func(*jetstream.StreamConfig)) {
	t.Helper()
	withJetStream(t, s.URL(), func(js jetstream.JetStream) {
		cfg := natslog.SharedStream(replicas)
		change(&cfg)
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	})
}

func takesReplicas(t *testing.T, s *logtest.Servers) {
	t.Helper()
	makeStream(t, s, 1, func(*jetstream.StreamConfig) {})
	var out bytes.Buffer
	l := connect(t, natslog.RemoteConfig{URL: s.URL(), Replicas: 3, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if n := l.Replicas(); n != 1 {
		t.Errorf("%d replicas", n)
	}
	if !strings.Contains(out.String(), "fewer replicas") {
		t.Errorf("it said %s", out.String())
	}
	if err := l.Append(t.Context(), 0, group(1, 3)); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, l.Read(t.Context(), 1, 3), 1, 3)
}

func limitedBatches(t *testing.T, s *logtest.Servers) {
	t.Helper()
	l := connect(t, natslog.RemoteConfig{URL: s.URL()})
	for at := 0; at < 150; at += 50 {
		if err := l.Append(t.Context(), uint64(at), group(at+1, at+50)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Append(t.Context(), 149, group(1, 50)); !errors.Is(err, events.ErrConflict) {
		t.Errorf("got %v", err)
	}
	wantEvents(t, l.Read(t.Context(), 1, 150), 1, 150)
}

func leavesNoConsumers(t *testing.T, s *logtest.Servers) {
	t.Helper()
	ctx := timeLimit(t)
	l := connect(t, natslog.RemoteConfig{URL: s.URL()})
	if err := l.Append(ctx, 0, group(1, 5)); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, l.Read(ctx, 1, 5), 1, 5)
	wantEvents(t, l.Read(ctx, 1, 5), 1, 2) // left early
	wantEvents(t, l.Follow(ctx, 1), 1, 5)
	// A replica that is asked may not have heard of it yet.
	logtest.WaitFor(t, "the consumers' end", func() bool { return streamInfo(t, l.JetStream()).State.Consumers == 0 })
}

// BenchmarkSharedAppend measures groups of 600-byte events on servers in this
// process that sync to one disk, one append after another. ns/op is the time of
// one group.
func BenchmarkSharedAppend(b *testing.B) {
	for _, servers := range []int{1, 3} {
		s := logtest.StartServers(b, servers)
		l := connect(b, natslog.RemoteConfig{URL: s.URL()})
		for _, size := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("servers=%d/group=%d", servers, size), func(b *testing.B) {
				benchAppends(b, l, size)
			})
		}
	}
}

func TestReleasesAreCompared(t *testing.T) {
	for version, older := range map[string]bool{
		"2.12.0": false, "2.12.1": false, "2.15.2": false, "3.0.0": false, "2.12.0-RC.1": false, "2.100.0": false,
		"2.11.99": true, "2.9.0": true, "1.20.0": true, "2": true, "": true, "nightly": true,
	} {
		if got := natslog.OlderThan(version, natslog.MinServerVersion); got != older {
			t.Errorf("%q: %v", version, got)
		}
	}
}
