package handlers

import (
	"testing"

	"github.com/modelog/modelog/events"
)

func TestDeleteVersion(t *testing.T) {
	remove := func(ref string, d Deletion) Command { return &DeleteVersion{"fraud", ref, d} }
	model := all(registered(fraud, "fraud"), versions(fraud, 3), defined(scorer, "scorer"))
	gone := func(number int) events.Data { return events.VersionDeleted{ModelID: fraud, Version: number} }
	at := func(number int) events.Resource {
		return versionResource(events.VersionID{ModelID: fraud, Version: number})
	}
	runScenarios(t, []scenario{
		{name: "a version is deleted", given: model, when: remove("2", Deletion{Reason: "withdrawn data"}), then: events.VersionDeleted{ModelID: fraud, Version: 2, Reason: events.Plain("withdrawn data")}},
		{name: "a version that was deleted is nothing to delete", given: all(model, gone(2)), when: remove("2", Deletion{}), so: at(2)},
		{name: "a version that never was is not found", given: model, when: remove("9", Deletion{}), refused: NotFoundError{What: CodeVersionNotFound, Name: "fraud/9"}},
		{name: "a version in a gap never was", given: all(model, version(fraud, 9, "")), when: remove("5", Deletion{}), refused: NotFoundError{What: CodeVersionNotFound, Name: "fraud/5"}},
		{name: "a deployed version can't be deleted, and the refusal names where", given: all(model, deployed(scorer, fraud, 2)), when: remove("2", Deletion{Cascade: true}), refused: RuleError{Rule: CodeVersionDeployed}, saying: "prod/scorer"},
		{name: "a version that was deployed can", given: all(model, deployed(scorer, fraud, 2), deployed(scorer, fraud, 3)), when: remove("2", Deletion{}), then: gone(2)},
		{name: "an aliased version needs cascade", given: all(model, assigned(fraud, "champion", 2)), when: remove("2", Deletion{}), refused: RuleError{Rule: CodeVersionAliased}, saying: "@champion"},
		{
			name: "with cascade its aliases go in the same event", given: all(model, assigned(fraud, "champion", 2), assigned(fraud, "best", 2)),
			when: remove("2", Deletion{Cascade: true}), then: events.VersionDeleted{ModelID: fraud, Version: 2, Aliases: []string{"best", "champion"}},
		},
		{name: "its number is not used again", given: all(model, gone(3)), when: &RegisterVersion{"fraud", VersionSpec{Source: "s3://x"}}, then: events.VersionRegistered{ModelID: fraud, Version: 4, Source: "s3://x"}},
		{name: "its semantic version is not used again", given: all(registered(fraud, "fraud"), version(fraud, 1, "1.0.0"), gone(1)), when: &RegisterVersion{"fraud", VersionSpec{Source: "s3://x", Semver: "1.0.0"}}, refused: ExistsError{What: CodeSemverExists, Name: "fraud/1.0.0"}},
		{name: "latest is the highest that is there", given: all(model, gone(3)), when: remove("latest", Deletion{}), then: gone(2)},
		{
			name: "a rollback to it is refused", given: all(model, deployed(scorer, fraud, 1), deployed(scorer, fraud, 2), gone(1)),
			when: &RollBack{prodScorer, Rollback{}}, refused: RuleError{Rule: CodeVersionGone}, saying: "fraud/1",
		},
	})
}

func TestDeleteModel(t *testing.T) {
	remove := func(d Deletion) Command { return &DeleteModel{"fraud", d} }
	model := all(registered(fraud, "fraud"), versions(fraud, 3), defined(scorer, "scorer"))
	gone := events.ModelDeleted{ModelID: fraud, Name: "fraud", Versions: 3}
	runScenarios(t, []scenario{
		{name: "a model goes with its versions", given: model, when: remove(Deletion{}), then: gone},
		{name: "only the versions that are there are counted", given: all(model, events.VersionDeleted{ModelID: fraud, Version: 2}), when: remove(Deletion{Reason: "old"}), then: events.ModelDeleted{ModelID: fraud, Name: "fraud", Versions: 2, Reason: events.Plain("old")}},
		{name: "not while a version of it runs", given: all(model, deployed(scorer, fraud, 2)), when: remove(Deletion{Cascade: true}), refused: RuleError{Rule: CodeVersionDeployed}, saying: "fraud/2 runs on prod/scorer"},
		{name: "not with aliases, but for cascade", given: all(model, assigned(fraud, "champion", 2)), when: remove(Deletion{}), refused: RuleError{Rule: CodeVersionAliased}, saying: "fraud/2 is @champion"},
		{name: "with cascade its aliases go too", given: all(model, assigned(fraud, "champion", 2)), when: remove(Deletion{Cascade: true}), then: events.ModelDeleted{ModelID: fraud, Name: "fraud", Versions: 3, Aliases: 1}},
		{name: "it is gone then", given: all(model, gone), when: remove(Deletion{}), refused: NotFoundError{What: CodeModelNotFound, Name: "fraud"}},
		{name: "its name is free for another model", given: all(model, gone), when: &RegisterModel{ModelSpec{Name: "fraud"}}, then: events.ModelRegistered{ModelID: newID, Name: "fraud"}},
		{name: "a new model under its name begins anew", given: all(model, gone, registered(churn, "fraud")), when: &RegisterVersion{"fraud", VersionSpec{Source: "s3://x"}}, then: events.VersionRegistered{ModelID: churn, Version: 1, Source: "s3://x"}},
		{
			name: "what ran before it can't be rolled back to", given: all(registered(churn, "churn"), versions(churn, 1), model, deployed(scorer, fraud, 1), deployed(scorer, churn, 1), gone),
			when: &RollBack{prodScorer, Rollback{}}, refused: RuleError{Rule: CodeVersionGone}, saying: "fraud/1",
		},
	})
}

func TestRemoveAliasAndTarget(t *testing.T) {
	model := all(registered(fraud, "fraud"), versions(fraud, 2), defined(scorer, "scorer"))
	champion := all(model, assigned(fraud, "champion", 2))
	want := func(n uint64) *uint64 { return &n }
	removed := events.TargetRemoved{TargetID: scorer, Environment: "prod", Name: "scorer"}
	withdrawn := func(from uint64) events.Data { return events.DeploymentWithdrawn{TargetID: scorer, From: from} }
	running := all(model, deployed(scorer, fraud, 1)) // event 6
	runScenarios(t, []scenario{
		{name: "an alias is removed", given: champion, when: &RemoveAlias{Model: "fraud", Alias: "champion", Reason: "none"}, then: events.AliasRemoved{ModelID: fraud, Alias: "champion", From: 2, Reason: events.Plain("none")}},
		{name: "an alias that isn't there is nothing to remove", given: model, when: &RemoveAlias{Model: "fraud", Alias: "champion"}, so: events.AliasRemoved{ModelID: fraud, Alias: "champion"}.Resource()},
		{name: "if_version that doesn't hold is refused", given: champion, when: &RemoveAlias{Model: "fraud", Alias: "champion", IfVersion: want(1)}, refused: PreconditionError{Precondition: "if_version", Want: 1, Found: 2}},
		{name: "an alias of no model is not found", when: &RemoveAlias{Model: "fraud", Alias: "champion"}, refused: NotFoundError{What: CodeModelNotFound, Name: "fraud"}},
		{name: "a target is removed", given: model, when: &RemoveTarget{prodScorer, Deletion{}}, then: removed},
		{name: "not while something runs on it", given: running, when: &RemoveTarget{prodScorer, Deletion{}}, refused: RuleError{Rule: CodeTargetInUse}, saying: "prod/scorer runs fraud/1"},
		{name: "its name is free for another target", given: all(model, removed), when: &DefineTarget{Target: prodScorer}, then: events.TargetDefined{TargetID: newID, Environment: "prod", Name: "scorer"}},
		{name: "a deployment is withdrawn", given: running, when: &Undeploy{prodScorer, Withdrawal{"over"}}, then: events.DeploymentWithdrawn{TargetID: scorer, From: 6, Reason: events.Plain("over")}},
		{name: "where nothing runs there is nothing to withdraw", given: model, when: &Undeploy{prodScorer, Withdrawal{}}, so: targetAt(scorer)},
		{name: "nor a second time", given: all(running, withdrawn(6)), when: &Undeploy{prodScorer, Withdrawal{}}, so: targetAt(scorer)},
		{name: "a rollback after it restores what ran", given: all(running, withdrawn(6)), when: &RollBack{prodScorer, Rollback{}}, then: rolledBack(scorer, 7, 6, fraud, 1)},
		{name: "a rollback of what came after it goes to what ran before it", given: all(running, withdrawn(6), deployed(scorer, fraud, 2)), when: &RollBack{prodScorer, Rollback{}}, then: rolledBack(scorer, 8, 6, fraud, 1)},
		{name: "what was withdrawn can be deployed again", given: all(running, withdrawn(6)), when: &DeployVersion{prodScorer, Deployment{Model: "fraud", Ref: "1"}}, then: deployed(scorer, fraud, 1)},
	})
}
