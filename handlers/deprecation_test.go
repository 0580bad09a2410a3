package handlers

import (
	"testing"
	"time"

	"github.com/modelog/modelog/events"
)

func TestDeprecateVersion(t *testing.T) {
	deprecate := func(ref string, d Deprecation) Command { return &DeprecateVersion{"fraud", ref, d} }
	model := all(registered(fraud, "fraud"), versions(fraud, 3))
	by := func(number, replacement int) events.Data {
		return events.VersionDeprecated{ModelID: fraud, Version: number, Replacement: &events.VersionID{ModelID: fraud, Version: replacement}}
	}
	sunset := time.Date(2026, 12, 31, 22, 0, 0, 0, time.UTC)
	full := Deprecation{Reason: "drift", Sunset: "2027-01-01T00:00:00+02:00", Replacement: "fraud/3"}
	fullEvent := events.VersionDeprecated{
		ModelID: fraud, Version: 1, Reason: events.Plain("drift"), Sunset: sunset, Replacement: &events.VersionID{ModelID: fraud, Version: 3},
	}
	one := versionResource(events.VersionID{ModelID: fraud, Version: 1})
	runScenarios(t, []scenario{
		{name: "a version is deprecated without a word", given: model, when: deprecate("1", Deprecation{}), then: events.VersionDeprecated{ModelID: fraud, Version: 1}},
		{name: "a version is deprecated with all that can be said", given: model, when: deprecate("1", full), then: fullEvent},
		{name: "the same again is nothing", given: all(model, fullEvent), when: deprecate("1", full), so: one},
		{name: "another reason is another event", given: all(model, fullEvent), when: deprecate("1", Deprecation{Reason: "bias"}), then: events.VersionDeprecated{ModelID: fraud, Version: 1, Reason: events.Plain("bias")}},
		{name: "a replacement may be of another model", given: all(model, registered(churn, "churn"), versions(churn, 1)), when: deprecate("1", Deprecation{Replacement: "churn/1"}), then: events.VersionDeprecated{ModelID: fraud, Version: 1, Replacement: &events.VersionID{ModelID: churn, Version: 1}}},
		{name: "the replacement must exist", given: model, when: deprecate("1", Deprecation{Replacement: "fraud/9"}), refused: NotFoundError{What: CodeVersionNotFound, Name: "fraud/9"}, saying: "/replacement"},
		{name: "a version doesn't replace itself", given: model, when: deprecate("1", Deprecation{Replacement: "fraud/1"}), refused: invalid("/replacement not_circular")},
		{name: "replacements don't go in circles", given: all(model, by(2, 3), by(3, 1)), when: deprecate("1", Deprecation{Replacement: "fraud/2"}), refused: invalid("/replacement not_circular")},
		{name: "a sunset is a time", given: model, when: deprecate("1", Deprecation{Sunset: "soon"}), refused: invalid("/sunset time")},
		{name: "a replacement is a reference", given: model, when: deprecate("1", Deprecation{Replacement: "nine"}), refused: invalid("/replacement reference")},
		{name: "an unknown version is not found", given: model, when: deprecate("9", Deprecation{}), refused: NotFoundError{What: CodeVersionNotFound, Name: "fraud/9"}},
		{name: "restoring undoes it", given: all(model, fullEvent), when: &RestoreVersion{"fraud", "1", Restoration{"fine"}}, then: events.VersionRestored{ModelID: fraud, Version: 1, Reason: events.Plain("fine")}},
		{name: "restoring what isn't deprecated is nothing", given: model, when: &RestoreVersion{"fraud", "1", Restoration{}}, so: one},
	})
}

func TestADeprecatedVersionIsNotNewlyUsed(t *testing.T) {
	gone := events.VersionDeprecated{ModelID: fraud, Version: 1, Replacement: &events.VersionID{ModelID: fraud, Version: 2}}
	model := all(registered(fraud, "fraud"), versions(fraud, 2), defined(scorer, "scorer"))
	deprecatedOne := all(model, gone) // event 6
	refusal := func(verb string) Refusal {
		return DeprecatedError{Version: "fraud/1", Since: firstMoment.Add(6 * time.Second), Replacement: "fraud/2", Verb: verb}
	}
	promote := func(p Promotion) Command { return &PromoteVersion{"fraud", "1", p} }
	deploy := func(d Deployment) Command {
		d.Model, d.Ref = "fraud", "1"
		return &DeployVersion{prodScorer, d}
	}
	runScenarios(t, []scenario{
		{name: "it isn't promoted", given: deprecatedOne, when: promote(Promotion{To: "Production"}), refused: refusal("promote"), saying: "fraud/1 is deprecated since 2026-11-24; promote fraud/2, or pass force with a reason"},
		{name: "it is promoted by force", given: deprecatedOne, when: promote(Promotion{To: "Production", Force: true, Reason: "incident"}), then: events.VersionPromoted{ModelID: fraud, Version: 1, From: "None", To: "Production", Reason: events.Plain("incident"), Forced: true}},
		{name: "it doesn't come back from the archive", given: all(deprecatedOne, events.VersionArchived{ModelID: fraud, Version: 1, From: "None", To: "Archived"}), when: promote(Promotion{To: "Production"}), refused: refusal("promote")},
		{name: "it comes back from the archive to no use", given: all(deprecatedOne, events.VersionArchived{ModelID: fraud, Version: 1, From: "None", To: "Archived"}), when: promote(Promotion{To: "None"}), then: events.VersionDemoted{ModelID: fraud, Version: 1, From: "Archived", To: "None"}},
		{name: "it can be archived", given: deprecatedOne, when: promote(Promotion{To: "Archived"}), then: events.VersionArchived{ModelID: fraud, Version: 1, From: "None", To: "Archived"}},
		{name: "it can be demoted", given: all(model, promoted(fraud, 1, "Production"), gone), when: promote(Promotion{To: "Staging"}), then: events.VersionDemoted{ModelID: fraud, Version: 1, From: "Production", To: "Staging"}},
		{name: "it stays where it is", given: all(model, promoted(fraud, 1, "Production"), gone), when: promote(Promotion{To: "Production"}), so: versionResource(events.VersionID{ModelID: fraud, Version: 1})},
		{name: "it isn't deployed", given: deprecatedOne, when: deploy(Deployment{}), refused: refusal("deploy"), saying: "deploy fraud/2"},
		{name: "it is deployed by force", given: deprecatedOne, when: deploy(Deployment{Force: true, Reason: "incident"}), then: events.DeploymentDeployed{TargetID: scorer, Strategy: "all_at_once", Variants: allOf(fraud, 1), Reason: events.Plain("incident"), Forced: true}},
		{name: "force needs a reason to deploy, too", given: deprecatedOne, when: deploy(Deployment{Force: true}), refused: invalid("/reason required_if_forced")},
		{
			name: "it can be rolled back to", given: all(model, deployed(scorer, fraud, 1), deployed(scorer, fraud, 2), gone),
			when: &RollBack{prodScorer, Rollback{}}, then: rolledBack(scorer, 7, 6, fraud, 1),
		},
		{name: "it is promoted once it is restored", given: all(deprecatedOne, events.VersionRestored{ModelID: fraud, Version: 1}), when: promote(Promotion{To: "Production"}), then: promoted(fraud, 1, "Production")},
	})
}
