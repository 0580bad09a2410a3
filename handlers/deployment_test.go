package handlers

import (
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

func TestDeployVersion(t *testing.T) {
	deploy := func(d Deployment) Command { return &DeployVersion{prodScorer, d} }
	generation := func(n uint64) *uint64 { return &n }
	// Events 2 to 5: the model, its two versions and the target.
	ready := all(registered(fraud, "fraud"), versions(fraud, 2), defined(scorer, "scorer"))
	running := all(ready, deployed(scorer, fraud, 1)) // event 6
	runScenarios(t, []scenario{
		{
			name: "a version runs alone, with all of the traffic", given: ready, when: deploy(Deployment{Model: "fraud", Ref: "2", Reason: "weekly release"}),
			then: events.DeploymentDeployed{TargetID: scorer, Strategy: "all_at_once", Variants: allOf(fraud, 2), Reason: events.Plain("weekly release")},
		},
		{name: "a reference is resolved once, to a number", given: all(ready, assigned(fraud, "champion", 1)), when: deploy(Deployment{Model: "fraud", Ref: "@champion"}), then: deployed(scorer, fraud, 1)},
		{name: "the newest version can be deployed by latest", given: ready, when: deploy(Deployment{Model: "fraud", Ref: "latest"}), then: deployed(scorer, fraud, 2)},
		{name: "another version takes the place of the one that runs", given: running, when: deploy(Deployment{Model: "fraud", Ref: "2"}), then: deployed(scorer, fraud, 2)},
		{name: "what runs already is nothing", given: running, when: deploy(Deployment{Model: "fraud", Ref: "1", Reason: "again"}), so: targetAt(scorer)},
		{
			name: "what runs already after a rollback is nothing", given: all(running, deployed(scorer, fraud, 2), rolledBack(scorer, 7, 6, fraud, 1)),
			when: deploy(Deployment{Model: "fraud", Ref: "1"}), so: targetAt(scorer),
		},
		{
			name: "what was rolled back from can be deployed again", given: all(running, deployed(scorer, fraud, 2), rolledBack(scorer, 7, 6, fraud, 1)),
			when: deploy(Deployment{Model: "fraud", Ref: "2"}), then: deployed(scorer, fraud, 2),
		},
		{
			name: "the same number of another model is another version", given: all(running, registered(churn, "churn"), versions(churn, 1)),
			when: deploy(Deployment{Model: "churn", Ref: "1"}), then: deployed(scorer, churn, 1),
		},
		{name: "the strategy can be named", given: ready, when: deploy(Deployment{Model: "fraud", Ref: "1", Strategy: "all_at_once"}), then: deployed(scorer, fraud, 1)},
		{name: "an unknown strategy is refused", given: ready, when: deploy(Deployment{Model: "fraud", Ref: "1", Strategy: "canary"}), refused: invalid("/strategy enum"), saying: "all_at_once"},
		{name: "if_generation 0 deploys for the first time", given: ready, when: deploy(Deployment{Model: "fraud", Ref: "1", IfGeneration: generation(0)}), then: deployed(scorer, fraud, 1)},
		{name: "if_generation 0 refuses a target that something ran on", given: running, when: deploy(Deployment{Model: "fraud", Ref: "2", IfGeneration: generation(0)}), refused: PreconditionError{Precondition: "if_generation", Want: 0, Found: 6}},
		{name: "if_generation that holds deploys", given: running, when: deploy(Deployment{Model: "fraud", Ref: "2", IfGeneration: generation(6)}), then: deployed(scorer, fraud, 2)},
		{name: "if_generation that doesn't hold is refused", given: running, when: deploy(Deployment{Model: "fraud", Ref: "2", IfGeneration: generation(5)}), refused: PreconditionError{Precondition: "if_generation", Want: 5, Found: 6}},
		{name: "if_generation is checked before what is already so", given: running, when: deploy(Deployment{Model: "fraud", Ref: "1", IfGeneration: generation(5)}), refused: PreconditionError{Precondition: "if_generation", Want: 5, Found: 6}},
		{name: "an unknown target is not found", given: all(registered(fraud, "fraud"), versions(fraud, 1)), when: deploy(Deployment{Model: "fraud", Ref: "1"}), refused: NotFoundError{What: CodeTargetNotFound, Name: "prod/scorer"}, saying: "define it first"},
		{name: "an unknown model is not found", given: ready, when: deploy(Deployment{Model: "churn", Ref: "1"}), refused: NotFoundError{What: CodeModelNotFound, Name: "churn"}},
		{name: "an unknown version is not found", given: ready, when: deploy(Deployment{Model: "fraud", Ref: "3"}), refused: NotFoundError{What: CodeVersionNotFound, Name: "fraud/3"}},
		{name: "what is no reference is refused, naming the field", given: ready, when: deploy(Deployment{Model: "fraud", Ref: "!"}), refused: invalid("/ref reference")},
		{name: "a reference of 257 characters is refused, naming the field", given: ready, when: deploy(Deployment{Model: "fraud", Ref: strings.Repeat("1", 257)}), refused: invalid("/ref max_length")},
		{name: "a model's name of 257 characters is refused", given: ready, when: deploy(Deployment{Model: strings.Repeat("m", 257), Ref: "1"}), refused: invalid("/model max_length")},
		{name: "model and reference are required", given: ready, when: deploy(Deployment{}), refused: invalid("/model required", "/ref required")},
		{name: "a reason of 4001 characters is refused", given: ready, when: deploy(Deployment{Model: "fraud", Ref: "1", Reason: strings.Repeat("r", 4_001)}), refused: invalid("/reason max_length")},
	})
}

func TestRollBack(t *testing.T) {
	back := func(to uint64) Command { return &RollBack{prodScorer, Rollback{To: to}} }
	// Events 2 to 6: the model, its three versions and the target.
	ready := all(registered(fraud, "fraud"), versions(fraud, 3), defined(scorer, "scorer"))
	one := all(ready, deployed(scorer, fraud, 1)) // generation 7
	two := all(one, deployed(scorer, fraud, 2))   // generation 8
	three := all(two, deployed(scorer, fraud, 3)) // generation 9
	once := all(three, rolledBack(scorer, 9, 8, fraud, 2))
	twice := all(once, rolledBack(scorer, 10, 7, fraud, 1))
	anew := all(once, deployed(scorer, fraud, 3)) // generation 11, after a rollback at 10
	runScenarios(t, []scenario{
		{
			name: "a rollback restores the table before, whole", given: three, when: &RollBack{prodScorer, Rollback{Reason: "errors"}},
			then: events.DeploymentRolledBack{TargetID: scorer, From: 9, To: 8, Strategy: "all_at_once", Variants: allOf(fraud, 2), Reason: events.Plain("errors")},
		},
		{name: "a rollback again goes further back, not to what was rolled back from", given: once, when: back(0), then: rolledBack(scorer, 10, 7, fraud, 1)},
		{name: "a rollback beyond the first deployment is refused", given: twice, when: back(0), refused: RuleError{Rule: CodeNothingToRollBack}, saying: "prod/scorer has no earlier deployment"},
		{name: "the first deployment has nothing to go back to", given: one, when: back(0), refused: RuleError{Rule: CodeNothingToRollBack}},
		{name: "a target on which nothing ever ran has nothing to go back to", given: ready, when: back(0), refused: RuleError{Rule: CodeNothingToRollBack}},
		{name: "after a new deployment a rollback restores what the rollback before it restored", given: anew, when: back(0), then: rolledBack(scorer, 11, 10, fraud, 2)},
		{
			name: "and from there it goes further back", given: all(anew, rolledBack(scorer, 11, 10, fraud, 2)), when: back(0),
			then: rolledBack(scorer, 12, 7, fraud, 1),
		},
		{name: "a rollback to a named generation skips those in between", given: three, when: back(7), then: rolledBack(scorer, 9, 7, fraud, 1)},
		{
			name: "and what it skipped is not gone back to", given: all(three, rolledBack(scorer, 9, 7, fraud, 1)), when: back(0),
			refused: RuleError{Rule: CodeNothingToRollBack},
		},
		{name: "a rollback to the generation before can name it", given: three, when: back(8), then: rolledBack(scorer, 9, 8, fraud, 2)},
		{name: "what was rolled back from is no generation to go to", given: once, when: back(9), refused: RuleError{Rule: CodeNotAGeneration}, saying: "can't go back to generation 9; the previous one is 7"},
		{name: "what was rolled back from stays out after a new deployment", given: anew, when: back(9), refused: RuleError{Rule: CodeNotAGeneration}},
		{name: "a restored generation is gone to by its new number", given: anew, when: back(8), refused: RuleError{Rule: CodeNotAGeneration}},
		{name: "a rollback to what runs now is refused", given: three, when: back(9), refused: RuleError{Rule: CodeNotAGeneration}},
		{name: "a rollback to the future is refused", given: three, when: back(99), refused: RuleError{Rule: CodeNotAGeneration}},
		{name: "a rollback to a sequence that set no table is refused", given: three, when: back(3), refused: RuleError{Rule: CodeNotAGeneration}},
		{
			name:  "a rollback to another target's generation is refused",
			given: all(ready, defined(churn, "other"), deployed(churn, fraud, 1), deployed(scorer, fraud, 1), deployed(scorer, fraud, 2)), when: back(8),
			refused: RuleError{Rule: CodeNotAGeneration},
		},
		{name: "an unknown target is not found", when: back(0), refused: NotFoundError{What: CodeTargetNotFound, Name: "prod/scorer"}},
		{name: "a reason of 4001 characters is refused", given: three, when: &RollBack{prodScorer, Rollback{Reason: strings.Repeat("r", 4_001)}}, refused: invalid("/reason max_length")},
		{
			name: "a target's name is taken as it is", given: three, when: &RollBack{projections.TargetName{Environment: "PROD", Name: "scorer"}, Rollback{}},
			refused: NotFoundError{What: CodeTargetNotFound, Name: "PROD/scorer"},
		},
	})
}
