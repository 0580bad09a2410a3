package handlers

import (
	"testing"

	"github.com/modelog/modelog/events"
)

// Verifier keys of signed notes, which differ in the key, not in the name.
const (
	firstVerifier  = "modelog.dev/log/01KXFT0000REG1STRY00000000+1ec442a9+AQvQELNmeGvrkScLmhOA693KJgd1HhzpENLqJz3Ry2Pt"
	secondVerifier = "modelog.dev/log/01KXFT0000REG1STRY00000000+7ef173a2+AbzNUaTICbJPim+amQSfU0py4ItK0rf1jLI5YYbFgNyB"
	thirdVerifier  = "modelog.dev/log/01KXFT0000REG1STRY00000000+c490b53c+AeqlhOaWzZWt6ClNfa2BGLUKh4En+zl7Ys1z+Q4RXtLq"
)

func TestChangeSigningKey(t *testing.T) {
	change := func(to, from string) Command { return &ChangeSigningKey{VerifierKey: to, Previous: from} }
	event := func(to, from string) events.Data {
		return events.RegistrySigningKeyChanged{RegistryID: registryID, VerifierKey: to, Previous: from}
	}
	first, second := event(firstVerifier, ""), event(secondVerifier, firstVerifier)
	differs := RuleError{Rule: CodeSigningKey}
	malformed := invalid("/verifier_key verifier_key")
	runScenarios(t, []scenario{
		{name: "a registry without a key gets one", when: change(firstVerifier, ""), then: first},
		{name: "a key is replaced by another", given: all(first), when: change(secondVerifier, firstVerifier), then: second},
		{name: "the key in force again is nothing", given: all(first), when: change(firstVerifier, ""), so: first.Resource()},
		{name: "the change that was made is nothing", given: all(first, second), when: change(secondVerifier, firstVerifier), so: first.Resource()},
		{name: "an old key may come back", given: all(first, second), when: change(firstVerifier, secondVerifier), then: event(firstVerifier, secondVerifier)},
		{
			name: "a first key that another was faster with is refused", given: all(first), when: change(secondVerifier, ""),
			refused: differs, saying: `is signed with the key "` + firstVerifier + `", not with ""`,
		},
		{
			name: "a change of a key that isn't in force any more is refused", given: all(first, second), when: change(thirdVerifier, firstVerifier),
			refused: differs, saying: "record the change with --rotate-signing-key",
		},
		{name: "a change of a key that never was is refused", when: change(secondVerifier, firstVerifier), refused: differs},
		{name: "a key has an id that fits", when: change("name+00000000+AQvQELNmeGvrkScLmhOA693KJgd1HhzpENLqJz3Ry2Pt", ""), refused: malformed},
		{name: "no key is none", when: change("", ""), refused: malformed},
		{name: "a key that signs stays where it is", when: change("PRIVATE+KEY+name+adbfa85d+AZE71dg5", ""), refused: malformed},
	})
}
