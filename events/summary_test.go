package events

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSummariesTellPeopleWhatHappened(t *testing.T) {
	const displacing = ", displacing 1-3, 7 (forced): AUC +0.02"
	const variants = "version 8 as champion (95 %), version 1 as challenger (5 %)"
	want := map[string]string{
		"registry.signing_key_changed.v1": "changed the signing key from 0b1c2d3e to 5a6c1d0e",

		"lineage.reported.v1":   "run 01890a5d-ac96-774b-bcce-b302099a8057 of train.fit reported COMPLETE, 1 input, 1 output",
		"lineage.recorded.v1":   "recorded 2 edges of lineage: from the wiki",
		"dataset.withdrawn.v1":  "withdrew version 7 with digest sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: no consent",
		"dataset.reinstated.v1": "reinstated version 7 with digest sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: consent found",

		"subscription.created.v1":        "created the subscription of https://hooks.example.com",
		"subscription.changed.v1":        "changed the subscription of https://hooks.example.com",
		"subscription.paused.v1":         "paused the subscription: the receiver moves",
		"subscription.resumed.v1":        "resumed the subscription: it moved",
		"subscription.disabled.v1":       "disabled the subscription, since its endpoint fails since 2026-11-18T08:00:00.000Z: status 500",
		"subscription.secret_rotated.v1": "rotated the secret, the old one signs too until 2026-11-24T20:03:00.000Z: it leaked",
		"subscription.deleted.v1":        "deleted the subscription of https://hooks.example.com: nobody listens",

		"registry.created.v1":        "created the registry",
		"model.registered.v1":        "registered the model",
		"model.described.v1":         "changed the description, set 1 tag, removed 2 tags",
		"model.renamed.v1":           `renamed from "fraud" to "card-fraud": there is another one`,
		"model.lifecycle_changed.v1": "changed the lifecycle to Draft, Live, Retired: one at a time",
		"model.deleted.v1":           "deleted the model with 8 versions: replaced",
		"version.described.v1":       "changed the description, set 1 tag, removed 1 tag",
		"version.deprecated.v1":      "deprecated until 2026-12-31T00:00:00.000Z, replaced by version 9 of another model: drift",
		"version.restored.v1":        "restored from deprecation: it was the monitor",
		"version.deleted.v1":         "deleted the version with @challenger, @champion: withdrawn data",
		"alias.removed.v1":           "removed @champion, which pointed at 8: no champion",
		"target.described.v1":        "changed the description",
		"target.removed.v1":          "removed the target: moved",
		"deployment.withdrawn.v1":    "withdrew generation 4720: the experiment is over",
		"version.registered.v1":      "registered the version as 2.1.0, 2 artifacts, source s3://models/fraud/8/",
		"version.promoted.v1":        "promoted from Staging to Production" + displacing,
		"version.demoted.v1":         "demoted from Production to Staging" + displacing,
		"version.archived.v1":        "archived from Staging to Archived" + displacing,
		"alias.assigned.v1":          "pointed @champion at 8 instead of 7: AUC +0.02",
		"target.defined.v1":          "defined the target",
		"deployment.deployed.v1":     "deployed " + variants + " (forced): weekly release",
		"deployment.rolled_back.v1":  "rolled back from generation 4720 to 18446744073709551615, to " + variants + ": [sealed]",
	}
	got := map[string]string{}
	for kind, e := range examples() {
		got[kind] = e.Data.Summary()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSummariesLeaveOutWhatIsNotThere(t *testing.T) {
	for _, c := range []struct {
		data Data
		want string
	}{
		{VersionRegistered{Source: "s3://m", Artifacts: make([]Artifact, 1)}, "registered the version, 1 artifact, source s3://m"},
		{VersionPromoted{From: "None", To: "Staging"}, "promoted from None to Staging"},
		{AliasAssigned{Alias: "champion", To: 1}, "pointed @champion at 1"},
		{SubscriptionDisabled{Cause: CauseGone}, "disabled the subscription, since its endpoint is gone"},
		{SubscriptionDisabled{Cause: CauseFailing}, "disabled the subscription, since its endpoint fails"},
		{SubscriptionSecretRotated{}, "rotated the secret"},
		{DatasetWithdrawn{Dataset: DatasetVersion{Name: "x"}}, "withdrew all versions"},
		{DatasetWithdrawn{Dataset: DatasetVersion{Name: "x", Version: "7"}}, "withdrew version 7"},
		{DatasetReinstated{Dataset: DatasetVersion{Name: "x", Digest: "md5:1"}}, "reinstated what has digest md5:1"},
	} {
		if got := c.data.Summary(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestRangesPackRunsOfNumbers(t *testing.T) {
	for _, c := range []struct {
		numbers []int
		want    []Range
	}{
		{nil, nil},
		{[]int{7}, []Range{{7, 7}}},
		{[]int{1, 2, 3, 7, 9, 10}, []Range{{1, 3}, {7, 7}, {9, 10}}},
	} {
		if diff := cmp.Diff(c.want, Ranges(c.numbers)); diff != "" {
			t.Error(diff)
		}
	}
}
