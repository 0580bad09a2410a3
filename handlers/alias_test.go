package handlers

import (
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
)

func TestAssignAlias(t *testing.T) {
	point := func(alias string, version int) *AssignAlias {
		return &AssignAlias{Model: "fraud", Alias: alias, Assignment: Assignment{Version: version}}
	}
	expecting := func(cmd *AssignAlias, was uint64) Command {
		cmd.Assignment.IfVersion = &was
		return cmd
	}
	two := all(registered(fraud, "fraud"), versions(fraud, 2))
	one := all(two, assigned(fraud, "champion", 1))
	champion := modelAt(fraud)
	champion.Alias = "champion"
	runScenarios(t, []scenario{
		{
			name: "a new alias points at a version", given: two,
			when: &AssignAlias{Model: "fraud", Alias: "champion", Assignment: Assignment{Version: 2, Reason: "AUC +0.02"}},
			then: events.AliasAssigned{ModelID: fraud, Alias: "champion", To: 2, Reason: events.Plain("AUC +0.02")},
		},
		{name: "an alias that moves says where it was", given: one, when: point("champion", 2), then: events.AliasAssigned{ModelID: fraud, Alias: "champion", From: 1, To: 2}},
		{name: "an alias that points there already is nothing", given: one, when: point("champion", 1), so: champion},
		{name: "another alias is independent", given: one, when: point("challenger", 1), then: events.AliasAssigned{ModelID: fraud, Alias: "challenger", To: 1}},
		{name: "case makes another alias", given: one, when: point("Champion", 1), then: events.AliasAssigned{ModelID: fraud, Alias: "Champion", To: 1}},
		{name: "an alias is kept in its composed form", given: two, when: point("gro\u0308ße", 1), then: events.AliasAssigned{ModelID: fraud, Alias: "größe", To: 1}},
		{
			name: "the model is found in any normal form", given: all(registered(churn, "Größe"), versions(churn, 1)),
			when: &AssignAlias{Model: "Gro\u0308ße", Alias: "a", Assignment: Assignment{Version: 1}},
			then: events.AliasAssigned{ModelID: churn, Alias: "a", To: 1},
		},
		{name: "an unknown model is not found", when: point("champion", 1), refused: NotFoundError{What: CodeModelNotFound, Name: "fraud"}, saying: "there is no model fraud"},
		{name: "an unknown version is not found", given: two, when: point("champion", 3), refused: NotFoundError{What: CodeVersionNotFound, Name: "fraud/3"}, saying: "there is no version fraud/3"},
		{name: "version 0 is refused", given: two, when: point("champion", 0), refused: invalid("/version minimum")},
		{name: "a negative version is refused", given: two, when: point("champion", -1), refused: invalid("/version minimum")},

		{name: "if_version 0 makes a new alias", given: two, when: expecting(point("champion", 2), 0), then: events.AliasAssigned{ModelID: fraud, Alias: "champion", To: 2}},
		{name: "if_version 0 refuses an alias that is there", given: one, when: expecting(point("champion", 2), 0), refused: PreconditionError{Precondition: "if_version", Want: 0, Found: 1}},
		{name: "if_version that holds moves the alias", given: one, when: expecting(point("champion", 2), 1), then: events.AliasAssigned{ModelID: fraud, Alias: "champion", From: 1, To: 2}},
		{name: "if_version that doesn't hold is refused", given: one, when: expecting(point("champion", 2), 2), refused: PreconditionError{Precondition: "if_version", Want: 2, Found: 1}, saying: "expects 2, but it is 1"},
		{name: "if_version refuses an alias that isn't there", given: two, when: expecting(point("champion", 2), 1), refused: PreconditionError{Precondition: "if_version", Want: 1, Found: 0}},
		{name: "if_version is checked before what is already so", given: one, when: expecting(point("champion", 1), 2), refused: PreconditionError{Precondition: "if_version", Want: 2, Found: 1}},
		{name: "if_version that holds with what is already so is nothing", given: one, when: expecting(point("champion", 1), 1), so: champion},

		{name: "latest is reserved", given: two, when: point("latest", 1), refused: invalid("alias reserved")},
		{name: "Latest is reserved", given: two, when: point("Latest", 1), refused: invalid("alias reserved")},
		{name: "v1 is reserved", given: two, when: point("v1", 1), refused: invalid("alias reserved")},
		{name: "V20 is reserved", given: two, when: point("V20", 1), refused: invalid("alias reserved")},
		{name: "v is an alias", given: two, when: point("v", 1), then: events.AliasAssigned{ModelID: fraud, Alias: "v", To: 1}},
		{name: "v1a is an alias", given: two, when: point("v1a", 1), then: events.AliasAssigned{ModelID: fraud, Alias: "v1a", To: 1}},
		{name: "digits, _ and - are an alias", given: two, when: point("2026_q4-blue", 1), then: events.AliasAssigned{ModelID: fraud, Alias: "2026_q4-blue", To: 1}},
		{name: "an alias of 255 characters is taken", given: two, when: point(strings.Repeat("ö", 255), 1), then: events.AliasAssigned{ModelID: fraud, Alias: strings.Repeat("ö", 255), To: 1}},
		{name: "an alias of 256 characters is refused", given: two, when: point(strings.Repeat("a", 256), 1), refused: invalid("alias max_length")},
		{name: "no alias is refused", given: two, when: point("", 1), refused: invalid("alias required")},
		{name: "a space is refused", given: two, when: point("the champion", 1), refused: invalid("alias alias_characters")},
		{name: "an at sign is refused", given: two, when: point("a@b", 1), refused: invalid("alias alias_characters")},
		{name: "a dot is refused", given: two, when: point("a.b", 1), refused: invalid("alias alias_characters")},
		{name: "a slash is refused", given: two, when: point("a/b", 1), refused: invalid("alias alias_characters")},
		{name: "a line break at the end is refused", given: two, when: point("champion\n", 1), refused: invalid("alias alias_characters")},
		{
			name: "a reason of 4001 characters is refused", given: two,
			when:    &AssignAlias{Model: "fraud", Alias: "champion", Assignment: Assignment{Version: 1, Reason: strings.Repeat("r", 4_001)}},
			refused: invalid("/reason max_length"),
		},
	})
}
