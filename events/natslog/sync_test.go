package natslog_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
)

// syncProbe is a Config.Sync that runs what a test puts into it.
type syncProbe struct {
	calls atomic.Int64
	do    atomic.Pointer[func() error]
}

func (p *syncProbe) sync() error {
	p.calls.Add(1)
	if do := p.do.Load(); do != nil {
		return (*do)()
	}
	return nil
}

func (p *syncProbe) set(do func() error) { p.do.Store(&do) }

func TestALogIsSyncedBeforeItIsRead(t *testing.T) {
	cfg := natslog.Config{Dir: t.TempDir()}
	l := openLog(t, cfg)
	mustAppend(t, l, 0, event(1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var p syncProbe
	cfg.Sync = p.sync
	l = openLog(t, cfg)
	if n := p.calls.Load(); n != 1 {
		t.Errorf("%d syncs at open", n)
	}
	wantLast(t, l, 1)
}

func TestADirectoryThatDoesntSyncIsRefusedAndGivenBack(t *testing.T) {
	dir := t.TempDir()
	failed := errors.New("input/output error")
	_, err := natslog.Open(t.Context(), natslog.Config{Dir: dir, Sync: func() error { return failed }})
	if !errors.Is(err, events.ErrBroken) || !errors.Is(err, failed) {
		t.Fatalf("got %v", err)
	}
	openLog(t, natslog.Config{Dir: dir})
}

func TestEachGroupIsSyncedOnceAfterItsLastAnswer(t *testing.T) {
	var p syncProbe
	l := openLog(t, natslog.Config{Dir: t.TempDir(), Sync: p.sync})
	before := p.calls.Load()
	at := 0
	for _, size := range []int{1, 2, 64, 500} {
		p.set(func() error {
			if last := streamInfo(t, l.JetStream()).State.LastSeq; last != uint64(at+size) {
				t.Errorf("synced when the stream ended at %d instead of %d", last, at+size)
			}
			return nil
		})
		mustAppend(t, l, uint64(at), group(at+1, at+size)...)
		at += size
	}
	if n := p.calls.Load() - before; n != 4 {
		t.Errorf("%d syncs for 4 groups", n)
	}
	p.set(func() error { return nil }) // at the close nobody can be asked any more
}

// TestNothingIsAnsweredOrVisibleBeforeTheSync holds a sync back, looks at the
// log through every call, and lets the sync end.
func TestNothingIsAnsweredOrVisibleBeforeTheSync(t *testing.T) {
	ctx := timeLimit(t)
	var p syncProbe
	l := openLog(t, natslog.Config{Dir: t.TempDir(), Sync: p.sync})
	mustAppend(t, l, 0, event(1))

	followed := make(chan uint64)
	go func() {
		defer close(followed)
		for e, err := range l.Follow(ctx, 1) {
			if err != nil || e.Sequence > 3 {
				return
			}
			followed <- e.Sequence
		}
	}()
	<-followed

	entered, release := make(chan struct{}), make(chan struct{})
	p.set(func() error {
		close(entered)
		<-release
		return nil
	})
	answered := make(chan error, 1)
	go func() { answered <- l.Append(ctx, 1, group(2, 3)) }()
	<-entered

	wantLast(t, l, 1)
	if _, err := l.Get(ctx, 2); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("Get of an event that isn't durable: %v", err)
	}
	for e, err := range l.Read(ctx, 2, 3) {
		if !errors.Is(err, events.ErrMissing) {
			t.Errorf("Read of an event that isn't durable: %d, %v", e.Sequence, err)
		}
	}
	if err := l.Health(ctx); err != nil {
		t.Error(err)
	}
	select {
	case n := <-followed:
		t.Errorf("Follow gave event %d, which isn't durable", n)
	case err := <-answered:
		t.Errorf("Append answered (%v) before the sync had ended", err)
	default:
	}

	close(release)
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	wantLast(t, l, 3)
	for want := uint64(2); want <= 3; want++ {
		if n := <-followed; n != want {
			t.Errorf("Follow gave %d instead of %d", n, want)
		}
	}
	p.set(func() error { return nil })
	mustAppend(t, l, 3, event(4)) // ends the follower
	<-followed
}

func TestAFailedSyncIsFinal(t *testing.T) {
	ctx := timeLimit(t)
	cfg := natslog.Config{Dir: t.TempDir()}
	var p syncProbe
	cfg.Sync = p.sync
	l := openLog(t, cfg)
	mustAppend(t, l, 0, event(1))

	failed := errors.New("input/output error")
	p.set(func() error { return failed })
	if err := l.Append(ctx, 1, group(2, 3)); !errors.Is(err, events.ErrBroken) || !errors.Is(err, failed) {
		t.Fatalf("got %v", err)
	}
	p.set(func() error { return nil })
	calls := p.calls.Load()
	for _, expect := range []uint64{1, 3} {
		if err := l.Append(ctx, expect, group(2, 3)); !errors.Is(err, events.ErrBroken) {
			t.Errorf("the next append got %v", err)
		}
	}
	if err := l.Health(ctx); !errors.Is(err, events.ErrBroken) {
		t.Errorf("Health: %v", err)
	}
	if n := p.calls.Load(); n != calls {
		t.Errorf("%d more syncs", n-calls)
	}
	// What was durable stays visible, and nothing else becomes so.
	wantLast(t, l, 1)
	wantEvents(t, l.Read(ctx, 1, 1), 1, 1)
	l.StopServer()
	if _, err := l.Get(ctx, 1); !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, events.ErrBroken) {
		t.Errorf("Get from a broken log without its server: %v", err)
	}
	// A new start reads what survived, here all of it.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, openLog(t, cfg).Read(ctx, 1, 3), 1, 3)
}
