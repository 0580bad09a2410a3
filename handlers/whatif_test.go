package handlers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// suppose asks what would become of commands, and gives the names of the models
// that there would be.
func (r *registry) suppose(commands ...Command) (all []Supposed, models []string, err error) {
	r.t.Helper()
	requests := make([]Request, len(commands))
	for i, cmd := range commands {
		requests[i] = Request{Command: cmd, Key: fmt.Sprint("key-", i)}
	}
	err = r.WhatIf(r.t.Context(), requests, func(_ context.Context, tip, fork projections.View, supposed []Supposed) error {
		all = supposed
		if tip.Sequence != r.run.Visible() {
			r.t.Errorf("it is decided on %d, and %d is visible", tip.Sequence, r.run.Visible())
		}
		for m := range fork.Models("") {
			models = append(models, m.Name)
		}
		return nil
	})
	return all, models, err
}

func newModel(name string) Command { return &RegisterModel{ModelSpec{Name: name}} }

func TestAWhatIfDecidesEachRequestOnTheEarlierOnes(t *testing.T) {
	r := newRegistry(t)
	r.model("fraud").written()
	before, err := r.run.Digest(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	all, models, err := r.suppose(
		newModel("churn"), newModel("churn"), newModel("a/b"), &RegisterVersion{Model: "churn", Spec: VersionSpec{Source: "s3://x"}},
		&DefineTarget{Target: prodScorer}, &DefineTarget{Target: prodScorer}, &DeployVersion{prodScorer, Deployment{Model: "churn", Ref: "1"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		switch {
		case s.Err != nil:
			got = append(got, string(CodeOf(s.Err)))
		case s.Outcome.Written():
			got = append(got, fmt.Sprint(s.Outcome.Sequence, " ", s.Outcome.Event.Type()))
		default:
			got = append(got, fmt.Sprint(s.Outcome.Sequence, " nothing"))
		}
	}
	if diff := cmp.Diff([]string{
		"3 dev.modelog.model.registered.v1", string(CodeModelExists), string(CodeInvalid), "4 dev.modelog.version.registered.v1",
		"5 dev.modelog.target.defined.v1", "5 nothing", "6 dev.modelog.deployment.deployed.v1",
	}, got); diff != "" {
		t.Errorf("what would become of them (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"churn", "fraud"}, models); diff != "" {
		t.Errorf("the models that there would be:\n%s", diff)
	}
	if after, err := r.run.Digest(t.Context(), 2); err != nil || after != before || r.run.Visible() != 2 || r.run.Tip().Sequence != 2 {
		t.Errorf("something is left: %d is visible, and %d applied (%v)", r.run.Visible(), r.run.Tip().Sequence, err)
	}
	// The key that was used in it is free.
	r.send(Request{Command: newModel("other"), Key: "key-0"}).written()
	r.holds("fraud", "other")
}

// TestAWhatIfWaitsForWhatIsUnderWay asks while an append is held, with another
// request decided on it, and one that has only come.
func TestAWhatIfWaitsForWhatIsUnderWay(t *testing.T) {
	r := newRegistry(t)
	g := newGate()
	r.log.next(g.then(works))
	first := r.model("a")
	<-g.reached
	second := r.model("b")
	r.reach(3)
	answered := make(chan error, 1)
	go func() {
		_, models, err := r.suppose(newModel("x"))
		if fmt.Sprint(models) != "[a b x]" && fmt.Sprint(models) != "[a b c x]" {
			t.Errorf("there would be %v", models)
		}
		answered <- err
	}()
	third := r.model("c")
	select {
	case err := <-answered:
		t.Fatalf("answered on what isn't durable: %v", err)
	case <-time.After(20 * time.Millisecond): // nothing tells of what doesn't happen
	}
	close(g.open)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	for _, c := range []*call{first, second, third} {
		c.written()
	}
	r.holds("a", "b", "c")
}

func TestAWhatIfGivesUpInTime(t *testing.T) {
	r := newRegistry(t)
	g := newGate()
	r.log.next(g.then(works))
	held := r.model("a")
	<-g.reached
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := r.WhatIf(ctx, []Request{{Command: newModel("x")}}, func(context.Context, projections.View, projections.View, []Supposed) error {
		t.Error("it was looked at after it was given up")
		return nil
	})
	wantRefusal(t, err, UnavailableError{Kind: CodeBusy}, "later")
	close(g.open)
	held.written()
	// And one that takes too long is cut off.
	err = r.WhatIf(t.Context(), []Request{{Command: newModel("x")}}, func(ctx context.Context, _, _ projections.View, _ []Supposed) error {
		<-ctx.Done()
		return ctx.Err()
	})
	wantRefusal(t, err, UnavailableError{Kind: CodeBusy}, "less")
	if tip := r.run.Tip().Sequence; tip != 2 {
		t.Errorf("%d is applied", tip)
	}
	own := errors.New("test: of its own")
	if err := r.WhatIf(t.Context(), nil, func(context.Context, projections.View, projections.View, []Supposed) error { return own }); !errors.Is(err, own) {
		t.Errorf("got %v", err)
	}
	r.end()
	wantRefusal(t, r.WhatIf(t.Context(), nil, nil), UnavailableError{Kind: CodeUnavailable}, "stopped")
}

// TestWhatIfsLeaveNothingBehind lets many ask what would be while others write,
// on a log of one's own and on one that fails now and then. What is visible and
// each digest stay what the log gives, and each answer fits what was visible.
func TestWhatIfsLeaveNothingBehind(t *testing.T) {
	for name, flawed := range map[string]bool{"while all goes well": false, "while appends fail": true} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			if flawed {
				r.log.lock.Lock()
				r.log.chance = chaos(r.log, rand.New(rand.NewPCG(1, 2)))
				r.log.lock.Unlock()
			}
			const writers, askers, each = 4, 3, 40
			var writing, asking sync.WaitGroup
			for w := range writers {
				writing.Go(func() {
					for i := range each {
						r.tell(t, fmt.Sprintf("%d-%d", w, i), testTimeout)
					}
				})
			}
			for a := range askers {
				asking.Go(func() {
					for i := range each {
						r.wonder(t, fmt.Sprintf("what if %d-%d", a, i))
					}
				})
			}
			digests := r.watch(t)
			writing.Wait()
			asking.Wait()
			r.log.lock.Lock()
			r.log.chance = nil
			r.log.lock.Unlock()
			r.model("last").written() // and nothing is under way any more
			for sequence, digest := range digests() {
				if again, err := r.run.Digest(t.Context(), sequence); err != nil || again != digest {
					t.Errorf("the digest as of %d was another while it was the tip (%v)", sequence, err)
				}
			}
			r.wantOnce(t)
		})
	}
}

// wonder asks what would be if two models of a name were registered.
func (r *registry) wonder(t *testing.T, name string) {
	t.Helper()
	all, models, err := r.suppose(newModel(name), newModel(name), newModel(name+"!"))
	if err != nil {
		if CodeOf(err) != CodeBusy {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	if all[0].Err != nil || CodeOf(all[1].Err) != CodeModelExists || all[2].Err != nil || all[2].Outcome.Sequence != all[0].Outcome.Sequence+1 {
		t.Errorf("%s: what would be is %+v", name, all)
	}
	if uint64(len(models)) != all[2].Outcome.Sequence-1 { // each event but the first registers one
		t.Errorf("%s: there would be %d models at sequence %d", name, len(models), all[2].Outcome.Sequence)
	}
	if _, _, there := r.run.Now().Model(name); there {
		t.Errorf("%s is there", name)
	}
}

// watch takes digests of the visible state, until it is asked for them.
func (r *registry) watch(t *testing.T) (stop func() map[uint64]string) {
	t.Helper()
	digests := map[uint64]string{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			sequence := r.run.Visible()
			digest, err := r.run.Digest(t.Context(), sequence)
			if err != nil {
				t.Error(err)
			}
			digests[sequence] = digest
		}
	}()
	return func() map[uint64]string {
		cancel()
		<-done
		return digests
	}
}

// On a shared log a what-if is decided on what this replica knows, and what others
// write in the meantime isn't lost.
func TestAWhatIfOnASharedLog(t *testing.T) {
	r := newRegistry(t, func(cfg *Config) { cfg.Shared = true })
	other := startOn(t, r.log, func(cfg *Config) { cfg.Shared = true })
	for i := range 20 {
		other.model(fmt.Sprint("other ", i)).written()
		r.wonderShared(t, fmt.Sprint("what if ", i))
		r.model(fmt.Sprint("own ", i)).written()
	}
	until(t, func() bool { return other.run.Visible() == r.run.Visible() })
	if kinds := r.kinds(t); kinds["dev.modelog.model.registered.v1"] != 40 {
		t.Errorf("the log has %v", kinds)
	}
	r.wantOnce(t)
}

func (r *registry) wonderShared(t *testing.T, name string) {
	t.Helper()
	all, _, err := r.suppose(newModel(name))
	if err != nil || all[0].Err != nil {
		t.Errorf("%s: %v, %v", name, err, all)
	}
}

func (r *registry) kinds(t *testing.T) map[string]int {
	t.Helper()
	kinds := map[string]int{}
	for stored, err := range r.log.Read(t.Context(), 1, r.run.Visible()) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.Decode(stored)
		if err != nil {
			t.Fatal(err)
		}
		kinds[e.Type()]++
	}
	return kinds
}
