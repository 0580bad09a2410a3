package natslog_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
)

func openLog(tb testing.TB, cfg natslog.Config) *natslog.Log {
	tb.Helper()
	l, err := natslog.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	closeAfter(tb, l)
	return l
}

func closeAfter(tb testing.TB, c io.Closer) {
	tb.Helper()
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
}

// withJetStream looks at a server as an operator does.
func withJetStream(t *testing.T, url string, do func(jetstream.JetStream), options ...nats.Option) {
	t.Helper()
	nc, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	do(js)
}

// timeLimit bounds a test, so that a log that hangs fails with its name.
func timeLimit(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

func event(n int) events.Encoded {
	return events.Encoded{
		Subject: "modelog.events.model.x.model.described",
		Header:  []events.HeaderField{{Name: "ce-id", Value: fmt.Sprint(n)}},
		Data:    []byte("data"),
	}
}

func group(from, to int) []events.Encoded {
	var g []events.Encoded
	for n := from; n <= to; n++ {
		g = append(g, event(n))
	}
	return g
}

func mustAppend(t *testing.T, l *natslog.Log, expect uint64, g ...events.Encoded) {
	t.Helper()
	if err := l.Append(t.Context(), expect, g); err != nil {
		t.Fatal(err)
	}
}

func wantLast(t *testing.T, l *natslog.Log, want uint64) {
	t.Helper()
	if last, err := l.Last(t.Context()); err != nil || last != want {
		t.Fatalf("the log ends at %d (%v), want %d", last, err, want)
	}
}

// wantEvents reads the events from..to, made by group, to the end of seq.
func wantEvents(t *testing.T, seq iter.Seq2[events.Stored, error], from, to int) {
	t.Helper()
	n := from
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		if e.Sequence != uint64(n) || e.Header[0].Value != fmt.Sprint(n) {
			t.Fatalf("got event %d with id %v, want %d", e.Sequence, e.Header[0].Value, n)
		}
		if n++; n > to {
			return
		}
	}
	if n <= to {
		t.Fatalf("it ended before event %d of %d", n, to)
	}
}

// streamInfo asks the server itself.
func streamInfo(t *testing.T, js jetstream.JetStream) *jetstream.StreamInfo {
	t.Helper()
	s, err := js.Stream(t.Context(), natslog.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo()
}
