package natslog_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
)

func TestAServerThatStoppedIsStartedAnewByTheNextCall(t *testing.T) {
	ctx := timeLimit(t)
	l := openLog(t, natslog.Config{Dir: t.TempDir()})
	mustAppend(t, l, 0, event(1))
	calls := map[string]func() error{
		"Append": func() error { return l.Append(ctx, 1, group(2, 3)) },
		"Last":   func() error { _, err := l.Last(ctx); return err },
		"Get":    func() error { _, err := l.Get(ctx, 1); return err },
		"Read":   func() error { wantEvents(t, l.Read(ctx, 1, 1), 1, 1); return nil },
		"Follow": func() error { wantEvents(t, l.Follow(ctx, 1), 1, 1); return nil },
		"Health": func() error { return l.Health(ctx) },
	}
	for name, call := range calls {
		l.StopServer()
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantLast(t, l, 3)
	wantEvents(t, l.Read(ctx, 1, 3), 1, 3)
}

func TestReadersGoOnWhereTheyWereWhenTheServerIsStartedAnew(t *testing.T) {
	ctx := timeLimit(t)
	l := openLog(t, natslog.Config{Dir: t.TempDir()})
	const last = 1500
	for at := 0; at < last; at += 500 {
		mustAppend(t, l, uint64(at), group(at+1, at+500)...)
	}
	want := uint64(1)
	for e, err := range l.Read(ctx, 1, last) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Sequence != want {
			t.Fatalf("got event %d instead of %d", e.Sequence, want)
		}
		if want++; e.Sequence%400 == 1 {
			l.StopServer()
		}
	}
	if want != last+1 {
		t.Fatalf("it ended before event %d", want)
	}

	waiting, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for e, err := range l.Follow(ctx, last) {
			switch {
			case err != nil || e.Sequence == last+2:
				done <- err
				return
			case e.Sequence == last:
				close(waiting)
			}
		}
	}()
	<-waiting
	for range 20 { // a reader that waits doesn't count how often
		l.StopServer()
		wantLast(t, l, last)
		wantEvents(t, l.Read(ctx, last, last), last, last)
	}
	mustAppend(t, l, last, group(last+1, last+2)...)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAnAppendWithoutAnswersIsUncertainAndShownByTheNextCall(t *testing.T) {
	ctx := timeLimit(t)
	var p syncProbe
	l := openLog(t, natslog.Config{Dir: t.TempDir(), AppendTimeout: 50 * time.Millisecond, Sync: p.sync})
	mustAppend(t, l, 0, event(1))
	l.LoseAnswers()
	calls := p.calls.Load()
	if err := l.Append(ctx, 1, group(2, 4)); !errors.Is(err, events.ErrUncertain) {
		t.Fatalf("got %v", err)
	}
	if n := p.calls.Load(); n != calls {
		t.Errorf("%d syncs of an append without answers", n-calls)
	}
	wantLast(t, l, 4)
	if n := p.calls.Load(); n != calls+1 {
		t.Errorf("%d syncs before the events were shown", n-calls)
	}
	mustAppend(t, l, 4, event(5))
	wantEvents(t, l.Read(ctx, 1, 5), 1, 5)
}

func TestAnAppendAfterALostOneFindsItsEndByItself(t *testing.T) {
	ctx := timeLimit(t)
	l := openLog(t, natslog.Config{Dir: t.TempDir(), AppendTimeout: 50 * time.Millisecond})
	l.LoseAnswers()
	if err := l.Append(ctx, 0, group(1, 2)); !errors.Is(err, events.ErrUncertain) {
		t.Fatalf("got %v", err)
	}
	if err := l.Append(ctx, 0, group(1, 2)); !errors.Is(err, events.ErrConflict) {
		t.Fatalf("got %v", err)
	}
	wantEvents(t, l.Read(ctx, 1, 2), 1, 2)
}

// TestAnotherWriterIsNoticed publishes behind the log's back, which nobody
// should be able to do.
func TestAnotherWriterIsNoticed(t *testing.T) {
	l := openLog(t, natslog.Config{Dir: t.TempDir()})
	intrude := func() {
		t.Helper()
		if _, err := l.JetStream().Publish(t.Context(), event(0).Subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	intrude()
	if err := l.Append(t.Context(), 0, group(1, 1)); !errors.Is(err, events.ErrConflict) {
		t.Errorf("one event: %v", err)
	}
	wantLast(t, l, 1)
	intrude()
	// The first event is refused, and the second fits by accident.
	if err := l.Append(t.Context(), 1, group(1, 3)); !errors.Is(err, events.ErrUncertain) {
		t.Errorf("three events: %v", err)
	}
	wantLast(t, l, 4)
	mustAppend(t, l, 4, event(5))
}

func TestAStreamThatIsGoneMakesAppendsUnavailable(t *testing.T) {
	l := openLog(t, natslog.Config{Dir: t.TempDir()})
	if err := l.JetStream().DeleteStream(t.Context(), natslog.StreamName); err != nil {
		t.Fatal(err)
	}
	if err := l.Health(t.Context()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Health: %v", err)
	}
	if err := l.Append(t.Context(), 0, group(1, 3)); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Append: %v", err)
	}
}

func TestAMissingEventIsNamed(t *testing.T) {
	for name, sequence := range map[string]uint64{"the first": 1, "one in the middle": 3, "the last": 5} {
		t.Run(name, func(t *testing.T) {
			ctx := timeLimit(t)
			dir := t.TempDir()
			withRawServer(t, dir, func(js jetstream.JetStream) { makeHole(t, js, 5, sequence) })
			l := openLog(t, natslog.Config{Dir: dir})
			l.SetStall(500 * time.Millisecond)
			var got uint64
			var last error
			for e, err := range l.Read(ctx, 1, 5) {
				if last = err; err == nil {
					got = e.Sequence
				}
			}
			if got != sequence-1 || !errors.Is(last, events.ErrMissing) || !strings.Contains(last.Error(), "sequence "+string('0'+rune(sequence))) {
				t.Errorf("it read up to %d, then %v", got, last)
			}
			if _, err := l.Get(ctx, sequence); !errors.Is(err, events.ErrMissing) || !errors.Is(err, events.ErrNotFound) {
				t.Errorf("Get: %v", err)
			}
			wantLast(t, l, 5)
		})
	}
}

// makeHole makes an event stream of n events and takes one out.
func makeHole(t *testing.T, js jetstream.JetStream, n int, sequence uint64) {
	t.Helper()
	cfg := natslog.EmbeddedStream()
	cfg.DenyDelete = false
	s, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := js.Publish(t.Context(), event(0).Subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteMsg(t.Context(), sequence); err != nil {
		t.Fatal(err)
	}
	cfg.DenyDelete = true
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func TestReadersLeaveNoConsumersBehind(t *testing.T) {
	ctx := timeLimit(t)
	l := openLog(t, natslog.Config{Dir: t.TempDir()})
	mustAppend(t, l, 0, group(1, 100)...)
	wantEvents(t, l.Read(ctx, 1, 100), 1, 100)
	wantEvents(t, l.Read(ctx, 1, 100), 1, 7) // left early
	wantEvents(t, l.Follow(ctx, 1), 1, 100)
	wantEvents(t, l.Read(ctx, 2, 1), 2, 1)
	if n := streamInfo(t, l.JetStream()).State.Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}

func TestLargeEventsAreReadWithinTheReadAhead(t *testing.T) {
	ctx := timeLimit(t)
	l := openLog(t, natslog.Config{Dir: t.TempDir()})
	large := event(1)
	large.Data = make([]byte, events.MaxEventBytes-1024)
	const last = 64 // twice the read-ahead's 16 MiB
	for at := uint64(0); at < last; at += 8 {
		mustAppend(t, l, at, large, large, large, large, large, large, large, large)
	}
	n := 0
	for e, err := range l.Read(ctx, 1, last) {
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Data) != len(large.Data) {
			t.Fatalf("event %d has %d bytes", e.Sequence, len(e.Data))
		}
		n++
	}
	if n != last {
		t.Errorf("read %d of %d", n, last)
	}
}
