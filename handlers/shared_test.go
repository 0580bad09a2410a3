package handlers

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
)

// replicasOn starts registrars that share a log.
func replicasOn(t *testing.T, n int, log func(i int) events.Log) []*Registrar {
	t.Helper()
	replicas := make([]*Registrar, n)
	for i := range replicas {
		cfg := configOf(log(i))
		cfg.Shared = true
		r, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
		replicas[i] = r
	}
	return replicas
}

func do(t *testing.T, r *Registrar, cmd Command) (Outcome, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	return r.Do(ctx, Request{Command: cmd})
}

func mustDo(t *testing.T, r *Registrar, cmd Command) Outcome {
	t.Helper()
	out, err := do(t, r, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantAlike waits until all replicas have seen what any of them has, and wants
// one digest of them.
func wantAlike(t *testing.T, replicas []*Registrar) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	last := uint64(0)
	for _, r := range replicas {
		last = max(last, r.cfg.Runner.Visible())
	}
	digests := map[string]bool{}
	for i, r := range replicas {
		if err := r.cfg.Runner.Wait(ctx, last); err != nil {
			t.Fatalf("replica %d is at %d and doesn't come to %d: %v", i, r.cfg.Runner.Visible(), last, err)
		}
		digest, err := r.cfg.Runner.Digest(ctx, last)
		if err != nil {
			t.Fatal(err)
		}
		digests[digest] = true
	}
	if len(digests) != 1 {
		t.Errorf("the replicas have %d digests", len(digests))
	}
}

// TestReplicasThatAllWriteAgree lets three replicas register versions of the same
// models, move an alias between them and deploy them, all at once.
func TestReplicasThatAllWriteAgree(t *testing.T) {
	log := openLog(t, natslog.Config{})
	replicas := replicasOn(t, 3, func(int) events.Log { return log })
	wantRivalsAgree(t, replicas, 2, 8, 6)
}

// wantRivalsAgree is the test of replicas on whatever log they share.
func wantRivalsAgree(t *testing.T, replicas []*Registrar, models, writers, each int) {
	t.Helper()
	for m := range models {
		mustDo(t, replicas[m%len(replicas)], &RegisterModel{ModelSpec{Name: fmt.Sprint("m", m)}})
	}
	mustDo(t, replicas[0], &DefineTarget{Target: prodScorer})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := replicas[w%len(replicas)]
			model := fmt.Sprint("m", w%models)
			for i := range each {
				out, err := do(t, r, &RegisterVersion{model, VersionSpec{Source: fmt.Sprintf("s3://%d/%d", w, i), Bump: bumpMinor}})
				if err != nil {
					t.Errorf("register: %v", err)
					return
				}
				version := out.Resource.Version
				if _, err := do(t, r, &AssignAlias{Model: model, Alias: "newest", Assignment: Assignment{Version: version}}); err != nil {
					t.Errorf("alias: %v", err)
				}
				if _, err := do(t, r, &DeployVersion{Target: prodScorer, Deployment: Deployment{Model: model, Ref: fmt.Sprint(version)}}); err != nil {
					t.Errorf("deploy: %v", err)
				}
			}
		})
	}
	wg.Wait()
	wantAlike(t, replicas)
	v := replicas[0].cfg.Runner.Now()
	total := 0
	for m := range v.Models("") {
		next, semvers := m.LastVersion, map[string]bool{}
		for version := range v.Versions(m.ID, m.LastVersion) {
			if version.ID.Version != next {
				t.Errorf("%s/%d is followed by %d", m.Name, next, version.ID.Version)
			}
			registration, _ := v.Registration(version.ID)
			if semvers[registration.Semver] {
				t.Errorf("%s has %s twice", m.Name, registration.Semver)
			}
			semvers[registration.Semver] = true
			next--
			total++
		}
	}
	if total != writers*each {
		t.Errorf("%d versions are there, of %d", total, writers*each)
	}
}

// deafLog follows nothing: a replica on it knows only what it finds out when it
// must.
type deafLog struct{ events.Log }

func (deafLog) Follow(ctx context.Context, _ uint64) iter.Seq2[events.Stored, error] {
	return func(yield func(events.Stored, error) bool) {
		<-ctx.Done()
		yield(events.Stored{}, ctx.Err())
	}
}

// TestNoAnswerRestsOnAnOldTip asks a replica that has heard nothing of what
// another one wrote, for things that it would have refused, or found so already,
// on the tip that it knows.
func TestNoAnswerRestsOnAnOldTip(t *testing.T) {
	log := openLog(t, natslog.Config{})
	replicas := replicasOn(t, 2, func(i int) events.Log {
		if i == 1 {
			return deafLog{log}
		}
		return log
	})
	writer, deaf := replicas[0], replicas[1]
	mustDo(t, writer, &RegisterModel{ModelSpec{Name: "fraud"}})
	if _, err := do(t, deaf, &RegisterModel{ModelSpec{Name: "fraud"}}); CodeOf(err) != CodeModelExists {
		t.Errorf("a name that is taken: %v", err)
	}
	mustDo(t, writer, &RegisterVersion{"fraud", VersionSpec{Source: "s3://a"}})
	if _, err := do(t, deaf, &AssignAlias{Model: "fraud", Alias: "champion", Assignment: Assignment{Version: 1}}); err != nil {
		t.Errorf("a version that is there: %v", err)
	}
	mustDo(t, writer, &RegisterVersion{"fraud", VersionSpec{Source: "s3://b"}})
	mustDo(t, writer, &AssignAlias{Model: "fraud", Alias: "champion", Assignment: Assignment{Version: 2}})
	out, err := do(t, deaf, &AssignAlias{Model: "fraud", Alias: "champion", Assignment: Assignment{Version: 1}})
	if err != nil || !out.Written() {
		t.Errorf("an alias that was moved away in the meantime: %+v, %v", out, err)
	}
	wantAlike(t, []*Registrar{writer, deaf})
}

// TestWhatAnotherReplicaWroteIsSeenWithoutAWrite: reads of an idle replica go on.
func TestWhatAnotherReplicaWroteIsSeenWithoutAWrite(t *testing.T) {
	log := openLog(t, natslog.Config{})
	replicas := replicasOn(t, 2, func(int) events.Log { return log })
	for i := range 50 {
		out := mustDo(t, replicas[i%2], &RegisterModel{ModelSpec{Name: fmt.Sprint(i)}})
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		err := replicas[(i+1)%2].cfg.Runner.Wait(ctx, out.Sequence)
		cancel()
		if err != nil {
			t.Fatalf("event %d doesn't come: %v", out.Sequence, err)
		}
	}
	wantAlike(t, replicas)
}

// TestATipThatCantBeConfirmedIsNoAnswer: with the log away, nobody knows whether
// a refusal would be true.
func TestATipThatCantBeConfirmedIsNoAnswer(t *testing.T) {
	log := openLog(t, natslog.Config{})
	r := replicasOn(t, 1, func(int) events.Log { return log })[0]
	log.away.Store(forGood)
	ctx, cancel := context.WithCancel(t.Context())
	p, err := r.submit(ctx, Request{Command: &RegisterVersion{"nothing", VersionSpec{Source: "s3://a"}}})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-log.asked:
	case <-time.After(testTimeout):
		t.Fatal("nobody asks the log")
	}
	cancel()
	if _, err := r.await(p); CodeOf(err) != CodeUnavailable {
		t.Errorf("got %v", err)
	}
	log.away.Store(0)
	if _, err := do(t, r, &RegisterVersion{"nothing", VersionSpec{Source: "s3://a"}}); CodeOf(err) != CodeModelNotFound {
		t.Errorf("got %v", err)
	}
}

// TestAnEventThatCantBeReadStopsAReplica: a fold that goes on without it would
// give a state that never was.
func TestAnEventThatCantBeReadStopsAReplica(t *testing.T) {
	log := openLog(t, natslog.Config{})
	r := replicasOn(t, 1, func(int) events.Log { return log })[0]
	unreadable := events.Encoded{Subject: "modelog.events.model.01KXFT0000REG1STRY00000000.model.exploded", Header: []events.HeaderField{{Name: "ce-id", Value: "1"}}}
	if err := log.Log.Append(t.Context(), r.cfg.Runner.Visible(), []events.Encoded{unreadable}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	select {
	case <-r.Done():
	case <-ctx.Done():
		t.Fatal("it goes on")
	}
	if _, ok := errors.AsType[*events.UnreadableError](r.Err()); !ok {
		t.Errorf("got %v", r.Err())
	}
}
