package handlers

import (
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

func TestDefineTarget(t *testing.T) {
	define := func(environment, name, description string) Command {
		return &DefineTarget{projections.TargetName{Environment: environment, Name: name}, TargetSpec{description}}
	}
	longest := strings.Repeat("a", 63)
	runScenarios(t, []scenario{
		{
			name: "a new target has the id of its event", when: define("prod", "scorer", "Scores payments"),
			then: events.TargetDefined{TargetID: newID, Environment: "prod", Name: "scorer", Description: events.Plain("Scores payments")},
		},
		{name: "a target that is there, described the same, is nothing", given: all(defined(scorer, "scorer")), when: define("prod", "scorer", ""), so: targetAt(scorer)},
		{
			name: "a target that is there gets the other description", given: all(defined(scorer, "scorer")), when: define("prod", "scorer", "new"),
			then: events.TargetDescribed{TargetID: scorer, Description: events.Plain("new")},
		},
		{
			name: "the same name in another environment is another target", given: all(defined(scorer, "scorer")), when: define("staging", "scorer", ""),
			then: events.TargetDefined{TargetID: newID, Environment: "staging", Name: "scorer"},
		},
		{name: "63 characters are taken", when: define(longest, "0.a_b-c", ""), then: events.TargetDefined{TargetID: newID, Environment: longest, Name: "0.a_b-c"}},
		{name: "64 characters are refused", when: define("prod", longest+"a", ""), refused: invalid("name target_characters")},
		{name: "no names are refused, both", when: define("", "", ""), refused: invalid("environment target_characters", "name target_characters")},
		{name: "capitals are refused", when: define("Prod", "scorer", ""), refused: invalid("environment target_characters")},
		{name: "a dot at the beginning is refused", when: define("prod", ".scorer", ""), refused: invalid("name target_characters")},
		{name: "a slash is refused", when: define("prod/eu", "scorer", ""), refused: invalid("environment target_characters")},
		{name: "a line break at the end is refused", when: define("prod", "scorer\n", ""), refused: invalid("name target_characters")},
		{name: "a description of 100001 characters is refused", when: define("prod", "scorer", strings.Repeat("d", 100_001)), refused: invalid("/description max_length")},
	})
}
