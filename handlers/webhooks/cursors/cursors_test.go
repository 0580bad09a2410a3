package cursors_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	anna = ulid.MustParse("01JDEV0000000000000000000A")
	ben  = ulid.MustParse("01JDEV0000000000000000000B")
)

func newLog(t *testing.T) *natslog.Log {
	t.Helper()
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

func open(t *testing.T, js func() jetstream.JetStream) *cursors.Store {
	t.Helper()
	s, err := cursors.Open(t.Context(), cursors.Config{JetStream: js})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *cursors.Store, key string, revision uint64, record any) uint64 {
	t.Helper()
	next, err := s.Put(t.Context(), key, revision, record)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestAWriteNeedsTheRevisionThatWasRead(t *testing.T) {
	log := newLog(t)
	s, other := open(t, log.JetStream), open(t, log.JetStream)
	key := cursors.CursorKey(anna)
	var found cursors.Cursor
	if _, err := s.Get(t.Context(), key, &found); !errors.Is(err, cursors.ErrNone) {
		t.Errorf("reading nothing gives %v", err)
	}
	if _, err := s.Put(t.Context(), key, 7, cursors.Cursor{}); !errors.Is(err, cursors.ErrMoved) {
		t.Errorf("writing over nothing gives %v", err)
	}
	first := put(t, s, key, 0, cursors.Cursor{After: 1})
	want := cursors.Cursor{After: 9, Pending: []cursors.Pending{{Sequence: 3, Lane: 1 << 63, Attempt: 2, DueMilli: 5}, {Sequence: 4}}, Dead: 2, FailingMilli: 6}
	second := put(t, other, key, first, want)
	for _, stale := range []uint64{0, first} {
		if _, err := s.Put(t.Context(), key, stale, cursors.Cursor{After: 2}); !errors.Is(err, cursors.ErrMoved) {
			t.Errorf("writing at %d gives %v", stale, err)
		}
	}
	put(t, s, cursors.CursorKey(ben), 0, cursors.Cursor{After: 5}) // another key is its own
	revision, err := s.Get(t.Context(), key, &found)
	if diff := cmp.Diff(want, found); err != nil || revision != second || diff != "" {
		t.Errorf("revision %d, %v\n%s", revision, err, diff)
	}
}

// deaf writes, and never hears that it did.
type deaf struct{ jetstream.JetStream }

func (d deaf) Publish(ctx context.Context, subject string, data []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if _, err := d.JetStream.Publish(ctx, subject, data, opts...); err != nil {
		return nil, err
	}
	return nil, context.DeadlineExceeded
}

func TestAWriteWithoutAnAnswerMayHaveBeenWritten(t *testing.T) {
	log := newLog(t)
	s, key := open(t, log.JetStream), cursors.CursorKey(anna)
	lossy := open(t, func() jetstream.JetStream { return deaf{log.JetStream()} })
	if _, err := lossy.Put(t.Context(), key, 0, cursors.Cursor{After: 4}); err == nil || errors.Is(err, cursors.ErrMoved) {
		t.Errorf("the write gives %v", err)
	}
	if _, err := s.Put(t.Context(), key, 0, cursors.Cursor{After: 4}); !errors.Is(err, cursors.ErrMoved) {
		t.Errorf("writing it again gives %v", err)
	}
	var found cursors.Cursor
	if _, err := s.Get(t.Context(), key, &found); err != nil || found.After != 4 {
		t.Errorf("it is %+v, %v", found, err)
	}
}

func TestASubscriptionIsForgottenAlone(t *testing.T) {
	log := newLog(t)
	s := open(t, log.JetStream)
	job := func(last string) ulid.ULID { return ulid.MustParse("01JDEV000000000000000000J" + last) }
	for _, sub := range []ulid.ULID{anna, ben} {
		put(t, s, cursors.CursorKey(sub), 0, cursors.Cursor{})
		put(t, s, cursors.PollKey(sub), 0, cursors.Poll{After: 3})
		for _, sequence := range []uint64{100, 9, 20} {
			put(t, s, cursors.DeadKey(sub, sequence), 0, cursors.DeadLetter{Sequence: sequence})
		}
		for _, last := range []string{"2", "1"} {
			put(t, s, cursors.ReplayKey(sub, job(last)), 0, cursors.Replay{Job: job(last), Subscription: sub, Mode: cursors.ReplayAll})
		}
	}
	put(t, s, cursors.LeaseKey, 0, cursors.Lease{Holder: "a"})
	if err := s.Delete(t.Context(), cursors.DeadKey(anna, 9)); err != nil {
		t.Fatal(err)
	}
	if dead, err := s.Dead(t.Context(), anna); err != nil || !slices.Equal(dead, []uint64{20, 100}) {
		t.Errorf("the dead letters are %v, %v", dead, err)
	}
	if jobs, err := s.Replays(t.Context(), anna); err != nil || len(jobs) != 2 || jobs[0].Job != job("1") {
		t.Errorf("the jobs are %v, %v", jobs, err)
	}
	if jobs, err := s.Replays(t.Context(), ulid.ULID{}); err != nil || len(jobs) != 4 {
		t.Errorf("all jobs are %v, %v", jobs, err)
	}
	for range 2 { // harmless again
		if err := s.Forget(t.Context(), anna); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{cursors.CursorKey(anna), cursors.PollKey(anna), cursors.DeadKey(anna, 20), cursors.ReplayKey(anna, job("1"))} {
		if _, err := s.Get(t.Context(), key, new(any)); !errors.Is(err, cursors.ErrNone) {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, key := range []string{cursors.LeaseKey, cursors.CursorKey(ben), cursors.PollKey(ben), cursors.DeadKey(ben, 9), cursors.ReplayKey(ben, job("1"))} {
		if _, err := s.Get(t.Context(), key, new(any)); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	put(t, s, cursors.CursorKey(anna), 0, cursors.Cursor{}) // a name may come again
}

func TestAStreamThatCouldLoseRecordsIsRefused(t *testing.T) {
	log := newLog(t)
	js := log.JetStream()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "MODELOG_CURSORS", Subjects: []string{"modelog.cursors.>"}, MaxMsgsPerSubject: 1, MaxAge: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cursors.Open(t.Context(), cursors.Config{JetStream: log.JetStream}); !errors.Is(err, cursors.ErrStream) {
		t.Errorf("opening gives %v", err)
	}
}
