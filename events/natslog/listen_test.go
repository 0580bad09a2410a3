package natslog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/events/natslog"
)

func TestLogWithReadersPassesTheSuite(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Harness {
		t.Helper()
		cfg := natslog.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"}
		return harness(t, func(t *testing.T) events.Log { t.Helper(); return openLog(t, cfg) })
	})
}

// reader connects to a log with three events as anybody may.
func reader(t *testing.T, options ...nats.Option) (*natslog.Log, *nats.Conn, jetstream.JetStream) {
	t.Helper()
	l := openLog(t, natslog.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	mustAppend(t, l, 0, group(1, 3)...)
	nc, err := nats.Connect(l.URL(), append(options, nats.NoReconnect())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return l, nc, js
}

func TestReadersReadWithTheirOwnClients(t *testing.T) {
	l, _, js := reader(t)
	ctx := timeLimit(t)
	stream, err := js.Stream(ctx, natslog.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.GetMsg(ctx, 2); err != nil || m.Header.Get("ce-id") != "2" {
		t.Errorf("event 2: %v, %v", m, err)
	}
	ordered, err := js.OrderedConsumer(ctx, natslog.StreamName, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"modelog.events.model.x.>"}})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := ordered.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	mustAppend(t, l, 3, event(4))
	for _, want := range []string{"1", "2", "3", "4"} {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil || m.Headers().Get("ce-id") != want {
			t.Fatalf("got %v, %v, want event %s", m, err, want)
		}
	}
	durable, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "trainer", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	m, err := durable.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.DoubleAck(ctx); err != nil {
		t.Error(err)
	}
}

// TestReadersCanWriteNothing tries what a reader could think of, and looks whether
// the log, the directory and the server's own streams are as they were.
func TestReadersCanWriteNothing(t *testing.T) {
	const victim = "modelog.events.model.x.model.described"
	create := func(to string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error {
			_, err := nc.Request("$JS.API.CONSUMER.CREATE."+natslog.StreamName+".x",
				[]byte(`{"stream_name":"MODELOG_EVENTS","config":{"name":"x","Deliver_Subject":"`+to+`","headers_only":true,"ack_policy":"none"}}`), 300*time.Millisecond)
			return err
		}
	}
	for name, try := range map[string]func(nc *nats.Conn) error{
		"an event":                            func(nc *nats.Conn) error { return nc.Publish(victim, []byte("x")) },
		"an event as the answer to a request": func(nc *nats.Conn) error { return nc.PublishRequest("$JS.API.STREAM.INFO.MODELOG_EVENTS", victim, nil) },
		"an event that a consumer delivers":   create(victim),
		"a deletion that a consumer delivers": create("$JS.API.STREAM.DELETE.MODELOG_EVENTS"),
		"a name that a consumer delivers":     create("other.x"),
		"another event as the answer to a get": func(nc *nats.Conn) error {
			return nc.PublishRequest("$JS.API.DIRECT.GET.MODELOG_EVENTS", victim, []byte(`{"seq":1}`))
		},
		"a deletion": func(nc *nats.Conn) error {
			_, err := nc.Request("$JS.API.STREAM.DELETE.MODELOG_EVENTS", nil, 300*time.Millisecond)
			return err
		},
		"a stream of its own": func(nc *nats.Conn) error {
			_, err := nc.Request("$JS.API.STREAM.CREATE.X", []byte(`{"name":"X","subjects":["x"]}`), 300*time.Millisecond)
			return err
		},
		"a request with an answer to everybody": func(nc *nats.Conn) error { return nc.PublishRequest("$JS.API.INFO", "other.x", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			l, nc, _ := reader(t, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
			ctx := timeLimit(t)
			if _, err := l.JetStream().CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other.>"}}); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(try(nc), nc.FlushTimeout(300*time.Millisecond)); err != nil {
				t.Log(err) // refused, or cut off
			}
			mustAppend(t, l, 3, event(4))
			wantLast(t, l, 4)
			other, err := l.JetStream().Stream(ctx, "OTHER")
			if err != nil {
				t.Fatal(err)
			}
			if n := other.CachedInfo().State.Msgs; n != 0 {
				t.Errorf("%d messages on another stream", n)
			}
			if names := streamNames(ctx, l.JetStream()); len(names) != 2 {
				t.Errorf("streams: %v", names)
			}
		})
	}
}

func streamNames(ctx context.Context, js jetstream.JetStream) (names []string) {
	for name := range js.StreamNames(ctx).Name() {
		names = append(names, name)
	}
	return names
}

func TestReadersHearOnlyWhatTheyAskedFor(t *testing.T) {
	failed := make(chan error, 10)
	_, nc, _ := reader(t, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { failed <- err }))
	for _, subject := range []string{">", "_MODELOG.>", "modelog.principals.>", "$JS.>", "$SYS.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-failed:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", subject, err)
			}
		case <-timeLimit(t).Done():
			t.Fatalf("%s may be heard", subject)
		}
	}
}
