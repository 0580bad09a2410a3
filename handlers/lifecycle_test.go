package handlers

import (
	"testing"

	"github.com/modelog/modelog/events"
)

// review is a lifecycle in which one version is live, and none gets there
// without a review.
func review() LifecycleSpec {
	return LifecycleSpec{
		Stages: []string{"Draft", "Review", "Live", "Retired"}, Archive: "Retired",
		Transitions: [][2]string{{"Draft", "Review"}, {"Review", "Live"}, {"Review", "Draft"}, {"Live", "Retired"}},
		Exclusive:   []string{"Live"},
	}
}

func reviewed() events.Data {
	s := review()
	return events.ModelLifecycleChanged{ModelID: fraud, Lifecycle: events.Lifecycle{
		Stages: s.Stages, Archive: s.Archive, Transitions: s.Transitions, Exclusive: s.Exclusive,
	}}
}

func moved(number int, from, to string) events.Data {
	return events.VersionPromoted{ModelID: fraud, Version: number, From: from, To: to}
}

func TestChangeLifecycle(t *testing.T) {
	change := func(edit func(*LifecycleSpec)) Command {
		s := review()
		if edit != nil {
			edit(&s)
		}
		return &ChangeLifecycle{"fraud", s}
	}
	model := all(registered(fraud, "fraud"))
	runScenarios(t, []scenario{
		{name: "a model gets a lifecycle of its own", given: model, when: change(nil), then: reviewed()},
		{name: "the same lifecycle again is nothing", given: all(model, reviewed()), when: change(nil), so: modelAt(fraud)},
		{name: "an unknown model is not found", when: change(nil), refused: NotFoundError{What: CodeModelNotFound, Name: "fraud"}},
		{
			name: "a stage that holds a version can't go", given: all(model, versions(fraud, 1), promoted(fraud, 1, "Staging")),
			when: change(nil), refused: RuleError{Rule: CodeStageInUse}, saying: "fraud/1 is in Staging",
		},
		{
			name: "a stage that holds two versions can't hold one only", given: all(model, reviewedWithoutExclusive(), versions(fraud, 2), moved(1, "Draft", "Live"), moved(2, "Draft", "Live")),
			when: change(nil), refused: RuleError{Rule: CodeStageInUse}, saying: "fraud/2 and fraud/1 are in Live",
		},
		{name: "one stage is too few", given: model, when: change(func(s *LifecycleSpec) {
			s.Stages, s.Archive = []string{"One"}, "One"
			s.Transitions, s.Exclusive = nil, nil
		}), refused: invalid("/stages min_items", "/archive stage")},
		{name: "stages are unique, ignoring case", given: model, when: change(func(s *LifecycleSpec) { s.Stages = []string{"Draft", "draft", "Review", "Live", "Retired"} }), refused: invalid("/stages/1 unique")},
		{name: "a stage is not called latest", given: model, when: change(func(s *LifecycleSpec) { s.Stages = append([]string{"Latest"}, s.Stages...) }), refused: invalid("/stages/0 reserved")},
		{name: "a stage begins with a letter", given: model, when: change(func(s *LifecycleSpec) { s.Stages = append([]string{"1st"}, s.Stages...) }), refused: invalid("/stages/0 begins_with_letter")},
		{name: "the archive is not the first stage", given: model, when: change(func(s *LifecycleSpec) { s.Archive = "Draft" }), refused: invalid("/archive stage")},
		{name: "transitions name stages", given: model, when: change(func(s *LifecycleSpec) { s.Transitions[1] = [2]string{"Review", "Production"} }), refused: invalid("/transitions/1 stage")},
		{name: "the first stage holds any number", given: model, when: change(func(s *LifecycleSpec) { s.Exclusive = []string{"Draft"} }), refused: invalid("/exclusive/0 active_stage")},
	})
}

func reviewedWithoutExclusive() events.Data {
	e := reviewed().(events.ModelLifecycleChanged)
	e.Lifecycle.Exclusive = nil
	return e
}

func TestAModelsOwnLifecycleRulesItsVersions(t *testing.T) {
	promote := func(number, to string, force bool, reason string) Command {
		return &PromoteVersion{"fraud", number, Promotion{To: to, Force: force, Reason: reason}}
	}
	model := all(registered(fraud, "fraud"), reviewed(), versions(fraud, 2))
	live := all(model, moved(1, "Draft", "Review"), moved(1, "Review", "Live"), moved(2, "Draft", "Review"))
	runScenarios(t, []scenario{
		{name: "a new version is in the first stage", given: model, when: promote("1", "Review", false, ""), then: moved(1, "Draft", "Review")},
		{name: "a transition that isn't allowed is refused, and says which are", given: model, when: promote("1", "Live", false, ""), refused: RuleError{Rule: CodeTransition}, saying: "it can go to Review"},
		{name: "force with a reason passes over it, and is recorded", given: model, when: promote("1", "Live", true, "incident 7"), then: events.VersionPromoted{ModelID: fraud, Version: 1, From: "Draft", To: "Live", Reason: events.Plain("incident 7"), Forced: true}},
		{name: "force needs a reason", given: model, when: promote("1", "Live", true, ""), refused: invalid("/reason required_if_forced")},
		{name: "force where no rule speaks against it is not recorded", given: model, when: promote("1", "Review", true, "sure"), then: events.VersionPromoted{ModelID: fraud, Version: 1, From: "Draft", To: "Review", Reason: events.Plain("sure")}},
		{
			name: "promoting into a stage that holds one version displaces the holder", given: live, when: promote("2", "Live", false, ""),
			then: events.VersionPromoted{ModelID: fraud, Version: 2, From: "Review", To: "Live", Displaced: []events.Range{{1, 1}}},
		},
		{
			name: "the displaced version is in this lifecycle's archive", given: all(live, events.VersionPromoted{ModelID: fraud, Version: 2, From: "Review", To: "Live", Displaced: []events.Range{{1, 1}}}),
			when: promote("1", "Retired", false, ""), so: versionResource(events.VersionID{ModelID: fraud, Version: 1}),
		},
		{name: "back is a demotion", given: live, when: promote("2", "Draft", false, ""), then: events.VersionDemoted{ModelID: fraud, Version: 2, From: "Review", To: "Draft"}},
		{name: "the archive is an archiving", given: live, when: promote("1", "retired", false, ""), then: events.VersionArchived{ModelID: fraud, Version: 1, From: "Live", To: "Retired"}},
		{name: "a stage of another lifecycle is none", given: model, when: promote("1", "Production", false, ""), refused: invalid("/to stage"), saying: "Draft, Review, Live, Retired"},
	})
}
