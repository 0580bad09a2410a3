package webhooks

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/oklog/ulid/v2"
)

// replayOf is a job over a part of the log.
func replayOf(s *sink, mode cursors.Mode, from, to uint64) cursors.Replay {
	return cursors.Replay{Job: ulid.Make(), Subscription: s.id, From: from, To: to, Mode: mode}
}

// job reads the record of a job.
func (r *registry) job(of cursors.Replay) (job cursors.Replay) {
	r.t.Helper()
	if _, err := r.store.Get(r.t.Context(), cursors.ReplayKey(of.Subscription, of.Job), &job); err != nil {
		r.t.Fatal(err)
	}
	return job
}

// replay runs a job to its end, and gives what was sent by it.
func (r *registry) replay(e *Engine, s *sink, job cursors.Replay) (sent []uint64) {
	r.t.Helper()
	before := s.count()
	if err := e.Replay(r.t.Context(), job); err != nil {
		r.t.Fatal(err)
	}
	logtest.WaitFor(r.t, "the end of the replay", func() bool { return r.job(job).Done })
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.got[before:] {
		if got := &s.got[before+i]; got.Header.Get("Webhook-Replay") == job.Job.String() {
			sent = append(sent, sequenceOf(got))
		}
	}
	if n := r.job(job).Sent; int(n) != len(sent) {
		r.t.Errorf("the job says that %d were sent, it were %v", n, sent)
	}
	return sent
}

func TestReplaysSendAllFailedOrMissing(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderStrict))
	failing := true
	s.answers(func(_ int, q *Request) Result {
		if failing && sequenceOf(q)%2 == 0 {
			return status(500)
		}
		return ok
	})
	e := r.start(func(cfg *Config) { cfg.Pace = &Pace{Schedule: []time.Duration{0}, Breaker: time.Millisecond} })
	all := r.models("a", "b", "c", "d", "e")
	s.wait(t, all...)
	r.models("later")
	logtest.WaitFor(t, "dead letters", func() bool { return r.cursor(s).Dead > 1 })
	var dead []uint64
	for _, sequence := range all {
		if sequence%2 == 0 {
			dead = append(dead, sequence)
		}
	}
	if found, err := r.store.Dead(t.Context(), s.id); err != nil || !slices.Equal(found[:len(dead)], dead) {
		t.Fatalf("dead letters are %v, %v; want %v", found, err, dead)
	}
	s.answers(always(ok))
	first, last := all[0], all[len(all)-1]
	s.mu.Lock()
	id := s.got[0].ID
	s.mu.Unlock()
	if diff := cmp.Diff(all[:3], r.replay(e, s, replayOf(s, cursors.ReplayAll, all[0], all[2]))); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	s.mu.Lock()
	replayed := s.got[len(s.got)-3]
	s.mu.Unlock()
	if replayed.ID != id {
		t.Errorf("the replay has the id %s, the delivery had %s", replayed.ID, id)
	}
	wantDead := func(want ...uint64) {
		t.Helper()
		if found, err := r.store.Dead(t.Context(), s.id); err != nil || !slices.Equal(slices.DeleteFunc(found, func(n uint64) bool { return n > last }), want) {
			t.Errorf("dead letters are %v, %v; want %v", found, err, want)
		}
	}
	var left, within []uint64
	for _, sequence := range dead {
		if sequence <= all[2] {
			within = append(within, sequence)
		} else {
			left = append(left, sequence)
		}
	}
	if len(within) == 0 || len(left) == 0 {
		t.Fatalf("dead are %v of %v, which tests nothing", dead, all)
	}
	logtest.WaitFor(t, "the dead letters are told", func() bool {
		found, err := r.store.Dead(t.Context(), s.id)
		return err == nil && !slices.Contains(found, within[len(within)-1])
	})
	wantDead(left...)
	if diff := cmp.Diff(left, r.replay(e, s, replayOf(s, cursors.ReplayMissing, first, last))); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if got := r.replay(e, s, replayOf(s, cursors.ReplayMissing, first, last)); len(got) > 0 {
		t.Errorf("missing afterwards are %v", got)
	}
	if _, err := r.store.Put(t.Context(), cursors.DeadKey(s.id, all[2]), 0, cursors.DeadLetter{Sequence: all[2]}); err != nil && !errors.Is(err, cursors.ErrMoved) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{all[2]}, r.replay(e, s, replayOf(s, cursors.ReplayFailed, first, last))); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
}

// A job that was written by another process than the one that delivers is taken up, and
// stopped, by the one that does.
func TestReplaysOfOtherProcessesAreTakenUpAndStopped(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderStrict))
	e := r.start()
	all := r.models("a", "b", "c")
	s.wait(t, all...)
	other := &Engine{cfg: e.cfg} // it never gets the lease
	job := replayOf(s, cursors.ReplayAll, all[0], all[2])
	if err := other.Replay(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	logtest.WaitFor(t, "the replay", func() bool { return r.job(job).Done })
	s.wait(t, all[0], all[1], all[2], all[0], all[1], all[2])
	s.answers(always(hangs))
	for name, stop := range map[string]func(job cursors.Replay) error{
		"stopped": func(job cursors.Replay) error { return other.StopReplay(t.Context(), s.id, job.Job) },
		"deleted": func(job cursors.Replay) error {
			return r.store.Delete(t.Context(), cursors.ReplayKey(s.id, job.Job))
		},
		"stopped here": func(job cursors.Replay) error { return e.StopReplay(t.Context(), s.id, job.Job) },
	} {
		before := s.count()
		job := replayOf(s, cursors.ReplayAll, all[0], all[2])
		if err := other.Replay(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		logtest.WaitFor(t, "the first of it", func() bool { return s.count() == before+1 })
		logtest.WaitFor(t, "its record", func() bool { return len(r.job(job).Cursor.Pending) == 1 }) // nothing is saved after that
		if err := stop(job); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		session := e.current()
		logtest.WaitFor(t, "its end", func() bool {
			session.mu.Lock()
			defer session.mu.Unlock()
			return len(session.jobs) == 0
		})
		s.answers(always(hangs))
		if n := s.count(); n != before+1 {
			t.Errorf("%s: %d were sent", name, n-before)
		}
		if name != "deleted" {
			if job := r.job(job); !job.Done || !job.Stopped {
				t.Errorf("%s: the record is %+v", name, job)
			}
		}
	}
	s.answers(always(ok))
	if e.current() == nil {
		t.Error("the lease was lost over it")
	}
	later := r.models("d")[0]
	logtest.WaitFor(t, "deliveries go on", func() bool { return slices.Contains(s.sequences(), later) })
}

func TestReplaysAreBounded(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s")
	e := r.start()
	sequence := r.models("a")[0]
	s.wait(t, sequence)
	for range maxEnded + 3 {
		r.replay(e, s, replayOf(s, cursors.ReplayAll, sequence, sequence))
	}
	s.answers(always(hangs))
	var last cursors.Replay
	for range MaxReplays {
		last = replayOf(s, cursors.ReplayAll, sequence, sequence)
		if err := e.Replay(t.Context(), last); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Replay(t.Context(), replayOf(s, cursors.ReplayAll, 1, 1)); !errors.Is(err, ErrReplays) {
		t.Errorf("one more gives %v", err)
	}
	if jobs, err := r.store.Replays(t.Context(), s.id); err != nil || len(jobs) > maxEnded+MaxReplays {
		t.Errorf("%d are known, %v", len(jobs), err)
	}
	if err := e.StopReplay(t.Context(), s.id, last.Job); err != nil {
		t.Error(err)
	}
	if err := e.Replay(t.Context(), replayOf(s, cursors.ReplayAll, 1, 1)); err != nil {
		t.Errorf("one in its place gives %v", err)
	}
	if err := e.StopReplay(t.Context(), s.id, ulid.Make()); !errors.Is(err, ErrUnknownReplay) {
		t.Errorf("stopping an unknown one gives %v", err)
	}
	if err := e.Replay(t.Context(), cursors.Replay{Job: ulid.Make(), Subscription: ulid.Make()}); !errors.Is(err, ErrUnknown) {
		t.Errorf("a replay of an unknown subscription gives %v", err)
	}
}

// A replay goes on after a restart where it was.
func TestAReplaySurvivesARestartAndWaitsWhilePaused(t *testing.T) {
	r := newRegistry(t)
	s := r.subscribe("s", ordered(events.OrderStrict))
	e := r.start()
	all := r.models("a", "b", "c")
	s.wait(t, all...)
	s.answers(func(_ int, q *Request) Result {
		if sequenceOf(q) == all[1] {
			return hangs
		}
		return ok
	})
	job := replayOf(s, cursors.ReplayAll, all[0], all[2])
	if err := e.Replay(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	s.wait(t, all[0], all[1], all[2], all[0], all[1])
	e.Stop()
	r.do(&handlers.PauseSubscription{Subscription: s.id.String()})
	s.answers(always(ok))
	e = r.start()
	e.inPlace(t, r.run.Visible())
	if n := s.count(); n != 5 {
		t.Errorf("%d were sent while paused", n-5)
	}
	r.do(&handlers.ResumeSubscription{Subscription: s.id.String()})
	logtest.WaitFor(t, "the end", func() bool { return r.job(job).Done })
	s.wait(t, all[0], all[1], all[2], all[0], all[1], all[1], all[2])
	if sent := r.job(job).Sent; sent != 3 {
		t.Errorf("the job says that %d were sent", sent)
	}
}
