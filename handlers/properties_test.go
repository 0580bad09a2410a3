package handlers

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"pgregory.net/rapid"
)

// TestEveryCommandKeepsItsPromises drives a state with random commands, valid
// and not, over a few models and targets, and checks after each of them what
// holds for all.
func TestEveryCommandKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var given []events.Data
		if rapid.Bool().Draw(t, "on some state") { // else most commands find nothing
			given = all(registered(fraud, "fraud"), versions(fraud, 2), defined(scorer, "scorer"), subscribed(hook))
		}
		state := fold(given...)
		for range rapid.IntRange(1, 40).Draw(t, "commands") {
			cmd := randomCommand.Draw(t, "command")
			if err := cmd.check(); err != nil {
				if CodeOf(err) != CodeInvalid {
					t.Fatalf("check refuses %#v with %v", cmd, err)
				}
				continue
			}
			wantCheckedOnce(t, cmd)
			v := state.At(state.Applied())
			d := decideTwice(t, state, cmd)
			if d.event == nil {
				continue
			}
			e := factAfter(state, d.event)
			e.ID = idOf(v.Sequence + 1)
			e.Subject = "somewhere"
			wantRoundTrip(t, e)
			state.Apply(e)
			wantAlreadySo(t, state, cmd)
		}
		wantVersionsInOrder(t, state)
	})
}

// wantCheckedOnce checks a command again: nothing of it changes any more.
func wantCheckedOnce(t *rapid.T, cmd Command) {
	before, err := events.AppendCanonical(nil, cmd)
	if err != nil {
		return // it will be refused
	}
	if err := cmd.check(); err != nil {
		t.Fatalf("what was checked is refused: %v", err)
	}
	if after, _ := events.AppendCanonical(nil, cmd); !slices.Equal(before, after) {
		t.Fatalf("checking it again has changed %#v", cmd)
	}
}

// decideTwice decides as the registrar does, twice: a decision depends on
// nothing but the view, and leaves it as it was.
func decideTwice(t *rapid.T, state *projections.State, cmd Command) decision {
	v := state.At(state.Applied())
	before := digest(t, state)
	on := occasion{id: idOf(v.Sequence + 1)}
	d, err := cmd.decide(v, on)
	again, errAgain := cmd.decide(v, on)
	if diff := cmp.Diff(d, again, cmp.AllowUnexported(decision{}), cmpopts.EquateEmpty()); diff != "" || fmt.Sprint(err) != fmt.Sprint(errAgain) {
		t.Fatalf("%#v is decided in two ways: %v, %v\n%s", cmd, err, errAgain, diff)
	}
	if err != nil && CodeOf(err) == CodeInternal {
		t.Fatalf("%#v fails without a code: %v", cmd, err)
	}
	if state.Applied() != v.Sequence || digest(t, state) != before {
		t.Fatalf("deciding %#v has changed the state", cmd)
	}
	return d
}

func digest(t *rapid.T, state *projections.State) string {
	d, err := state.Digest(context.Background(), state.Applied())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantRoundTrip(t *rapid.T, e events.Event) {
	encoded, err := events.Encode(e)
	if err != nil {
		t.Fatalf("%#v can't be written: %v", e.Data, err)
	}
	got, err := events.Decode(events.Stored{Sequence: e.Sequence, Encoded: encoded})
	if err != nil {
		t.Fatalf("%#v can't be read again: %v", e.Data, err)
	}
	if diff := cmp.Diff(e, got, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(events.Event{})); diff != "" {
		t.Fatalf("another event is read than was written:\n%s", diff)
	}
}

// wantAlreadySo: asking for what is so adds nothing, but for commands that make
// something new each time.
func wantAlreadySo(t *rapid.T, state *projections.State, cmd Command) {
	v := state.At(state.Applied())
	d, err := cmd.decide(v, occasion{id: idOf(v.Sequence + 1)})
	switch c := cmd.(type) {
	case *RegisterModel:
		if CodeOf(err) != CodeModelExists {
			t.Fatalf("registering it again gives %v, %v", d, err)
		}
		return
	case *RegisterVersion:
		if c.Spec.Version != 0 && CodeOf(err) != CodeVersionNumberTaken {
			t.Fatalf("registering its number again gives %v, %v", d, err)
		}
		if c.Spec.Version == 0 && c.Spec.Semver != "" && CodeOf(err) != CodeSemverExists {
			t.Fatalf("registering it again gives %v, %v", d, err)
		}
		return
	case *ReportLineage:
		return // each report is kept
	case *CreateSubscription:
		return // two may be alike
	case *DeleteSubscription:
		if CodeOf(err) != CodeSubscriptionNotFound {
			t.Fatalf("deleting it again gives %v, %v", d, err)
		}
		return
	case *RollBack:
		return // goes further back each time
	case *AssignAlias:
		if c.Assignment.IfVersion != nil { // what was expected isn't there any more
			return
		}
	case *DeployVersion:
		if c.Deployment.IfGeneration != nil {
			return
		}
	case *PromoteVersion:
		if !slices.Contains([]string{"1", "2", "3"}, c.Ref) {
			return // the reference may name another version by now
		}
	}
	if err != nil || d.event != nil {
		t.Fatalf("%#v once more gives %#v, %v", cmd, d.event, err)
	}
}

// wantVersionsInOrder: numbers rise as versions are registered, from 1.
func wantVersionsInOrder(t *rapid.T, state *projections.State) {
	v := state.At(state.Applied())
	for m := range v.Models("") {
		registered := v.Sequence + 1
		for version := range v.Versions(m.ID, m.LastVersion) {
			r, ok := v.Registration(version.ID)
			if !ok || r.Sequence >= registered || version.ID.Version < 1 {
				t.Fatalf("%s/%d was registered with event %d, the one above it with %d", m.Name, version.ID.Version, r.Sequence, registered)
			}
			registered = r.Sequence
		}
		if m.LatestVersion != m.LastVersion { // nothing is deleted here
			t.Fatalf("%s has version %d where the last number is %d", m.Name, m.LatestVersion, m.LastVersion)
		}
	}
}

// mostly draws one of the usual values, and now and then one of the others.
func mostly[T any](usual []T, others ...T) *rapid.Generator[T] {
	return rapid.Custom(func(t *rapid.T) T {
		if rapid.IntRange(0, 15).Draw(t, "now and then") == 11 {
			return rapid.SampledFrom(others).Draw(t, "other")
		}
		return rapid.SampledFrom(usual).Draw(t, "usual")
	})
}

// Few values, so that commands meet each other.
var (
	someModel   = mostly([]string{"fraud", "churn"}, "Größe", "Gro\u0308ße", "no/name", "")
	someRef     = mostly([]string{"1", "2", "3", "latest"}, "@champion", "Production", "staging", "1.0.0", "^1", "9", "!")
	someStage   = mostly([]string{"Production", "Staging", "Archived", "None", "production"}, "Live", "")
	someAlias   = mostly([]string{"champion", "challenger"}, "latest", "a b")
	someTarget  = mostly([]projections.TargetName{prodScorer, {Environment: "staging", Name: "scorer"}}, projections.TargetName{Environment: "Prod"})
	someSemver  = mostly([]string{"", "1.0.0", "1.0.0+x", "1.1.0", "2.0.0-rc.1"}, "2.0")
	someText    = mostly([]string{"", "because", "größe\n"}, "\xff")
	someVersion = mostly([]int{1, 2, 3}, 0, 4)
	someTags    = mostly([]map[string]string{nil, {"team": "payments"}}, map[string]string{"": "x"})
	someNumber  = mostly([]int{0}, 1, 2, 3, 4, 9, -1)
	someSource  = mostly([]string{"s3://models/x", "/models/x"}, "https://user:secret@example.org", "")
	someBase    = mostly([]string{""}, "fraud/1", "churn@champion", "fraud/latest", "fraud")
	someUnsure  = mostly([]*uint64{nil}, new(uint64))
	someTo      = mostly([]uint64{0}, 5, 6, 7, 8, 9, 10, 11, 12)
)

var (
	someDataset = mostly([]events.DatasetVersion{{Name: "payments"}, {Namespace: "s3://lake", Name: "payments", Version: "7"}, {Name: "payments", Digest: "md5:1"}}, events.DatasetVersion{})
	someData    = rapid.SliceOfN(someDataset, 0, 2)
	someNode    = mostly([]string{"version:fraud/1", "version:churn/latest", "dataset:payments", "dataset:s3://lake:payments@7", "run:r", "feature:f"},
		"target:prod/scorer", "base_model:x", "artifact:#md5:1", "code:r@c", "job:j:k", "version:no", "\xff")
	someEdge = rapid.Custom(func(t *rapid.T) LineageEdge {
		return LineageEdge{
			From: someNode.Draw(t, "from"), To: someNode.Draw(t, "to"),
			Type: mostly([]events.LineageType{events.WasDerivedFrom, events.Used, events.WasGeneratedBy}, events.HadMember, events.AlternateOf).Draw(t, "type"),
			Role: mostly([]string{"", "train"}, "No Role").Draw(t, "role"),
		}
	})
	someChange = rapid.Custom(func(t *rapid.T) DatasetChange {
		d := someDataset.Draw(t, "data set")
		return DatasetChange{Namespace: d.Namespace, Name: d.Name, Version: d.Version, Digest: d.Digest, Reason: someText.Draw(t, "reason")}
	})
)

var randomCommand = rapid.OneOf(
	rapid.Custom(func(t *rapid.T) Command {
		return &RegisterModel{ModelSpec{Name: someModel.Draw(t, "model"), Description: someText.Draw(t, "description"), Tags: someTags.Draw(t, "tags")}}
	}),
	rapid.Custom(func(t *rapid.T) Command {
		return &RegisterVersion{someModel.Draw(t, "model"), VersionSpec{
			Version: someNumber.Draw(t, "number"), Semver: someSemver.Draw(t, "semver"), Source: someSource.Draw(t, "source"), BaseModel: someBase.Draw(t, "base"),
			Tags: someTags.Draw(t, "tags"), Description: someText.Draw(t, "description"),
			Metrics: rapid.MapOfN(rapid.SampledFrom([]string{"auc", "größe", "a/b"}), rapid.Float64(), 0, 3).Draw(t, "metrics"),
		}}
	}),
	rapid.Custom(func(t *rapid.T) Command {
		return &PromoteVersion{someModel.Draw(t, "model"), someRef.Draw(t, "ref"), Promotion{
			To: someStage.Draw(t, "stage"), Reason: someText.Draw(t, "reason"), ArchiveExisting: rapid.Bool().Draw(t, "archive_existing"),
		}}
	}),
	rapid.Custom(func(t *rapid.T) Command {
		return &AssignAlias{someModel.Draw(t, "model"), someAlias.Draw(t, "alias"), Assignment{
			Version: someVersion.Draw(t, "version"), Reason: someText.Draw(t, "reason"), IfVersion: someUnsure.Draw(t, "if_version"),
		}}
	}),
	rapid.Custom(func(t *rapid.T) Command {
		return &DefineTarget{someTarget.Draw(t, "target"), TargetSpec{someText.Draw(t, "description")}}
	}),
	rapid.Custom(func(t *rapid.T) Command {
		return &DeployVersion{someTarget.Draw(t, "target"), Deployment{
			Model: someModel.Draw(t, "model"), Ref: someRef.Draw(t, "ref"), Reason: someText.Draw(t, "reason"), IfGeneration: someUnsure.Draw(t, "if_generation"),
		}}
	}),
	rapid.Custom(func(t *rapid.T) Command {
		return &RollBack{someTarget.Draw(t, "target"), Rollback{To: someTo.Draw(t, "to"), Reason: someText.Draw(t, "reason")}}
	}),
	rapid.Custom(func(t *rapid.T) Command { return &WithdrawDataset{someChange.Draw(t, "change")} }),
	rapid.Custom(func(t *rapid.T) Command { return &ReinstateDataset{someChange.Draw(t, "change")} }),
	rapid.Custom(func(t *rapid.T) Command {
		return &RecordEdges{LineageEdges{Reason: someText.Draw(t, "reason"), Edges: rapid.SliceOfN(someEdge, 1, 3).Draw(t, "edges")}}
	}),
	rapid.Custom(func(t *rapid.T) Command {
		return &ReportLineage{LineageReport{
			Format: events.OpenLineage, RunID: rapid.SampledFrom([]string{"", "r", "b1946ac92492d2347c6235b4d2611184"}).Draw(t, "run"),
			Job: events.Job{Name: "fit"}, State: rapid.SampledFrom(runStates).Draw(t, "state"),
			Inputs: someData.Draw(t, "inputs"), Outputs: someData.Draw(t, "outputs"), Raw: someText.Draw(t, "raw"),
		}}
	}),
	randomSubscription,
)

// ran is a table that ran on a target: its generation, and the version in it.
type ran struct {
	generation uint64
	version    int
}

// TestARollbackIsAStack compares deployments and rollbacks of a target with the
// plainest thing that has their rule: a stack. A deployment pushes; a rollback
// pops what runs, and what it uncovers gets a new generation.
func TestARollbackIsAStack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := fold(all(registered(fraud, "fraud"), versions(fraud, 3), defined(scorer, "scorer"))...)
		var stack []ran
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			generation := state.Applied() + 1
			if rapid.IntRange(0, 2).Draw(t, "deploy") > 0 {
				version := rapid.IntRange(1, 3).Draw(t, "version")
				if n := len(stack); n > 0 && stack[n-1].version == version {
					continue // runs already
				}
				stack = append(stack, ran{generation, version})
				wantEvent(t, state, &DeployVersion{prodScorer, Deployment{Model: "fraud", Ref: fmt.Sprint(version)}}, deployed(scorer, fraud, version))
				continue
			}
			to := rapid.Uint64Range(0, state.Applied()).Draw(t, "to")
			cmd := &RollBack{prodScorer, Rollback{To: to}}
			at := len(stack) - 2
			if to != 0 && at >= 0 {
				at = slices.IndexFunc(stack[:at+1], func(r ran) bool { return r.generation == to })
			}
			if at < 0 {
				wantNoEvent(t, state, cmd, len(stack) >= 2)
				continue
			}
			restored := stack[at]
			wantEvent(t, state, cmd, rolledBack(scorer, stack[len(stack)-1].generation, restored.generation, fraud, restored.version))
			stack = append(stack[:at], ran{generation, restored.version})
		}
	})
}

func wantEvent(t *rapid.T, state *projections.State, cmd Command, want events.Data) {
	d, err := decide(state.At(state.Applied()), cmd, newID)
	if err != nil {
		t.Fatalf("%+v is refused: %v", cmd, err)
	}
	if diff := cmp.Diff(want, d.event, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("another event (-want +got):\n%s", diff)
	}
	state.Apply(factAfter(state, d.event))
}

func wantNoEvent(t *rapid.T, state *projections.State, cmd Command, somethingBefore bool) {
	want := CodeNothingToRollBack
	if somethingBefore {
		want = CodeNotAGeneration
	}
	if d, err := decide(state.At(state.Applied()), cmd, newID); CodeOf(err) != want {
		t.Fatalf("%+v gives %+v, %v, want %s", cmd, d.event, err, want)
	}
}
