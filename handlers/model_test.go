package handlers

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
)

func TestRegisterModel(t *testing.T) {
	named := func(name string) Command { return &RegisterModel{ModelSpec{Name: name}} }
	tagged := func(tags map[string]string) Command { return &RegisterModel{ModelSpec{Name: "fraud", Tags: tags}} }
	plain := func(name string) events.Data { return events.ModelRegistered{ModelID: newID, Name: name} }
	runScenarios(t, []scenario{
		{
			name: "a new model has the id of its event, and what was said of it",
			when: &RegisterModel{ModelSpec{Name: "fraud", Description: "Scores payments", Tags: map[string]string{"team": "payments", "pii": ""}}},
			then: events.ModelRegistered{
				ModelID: newID, Name: "fraud", Description: events.Plain("Scores payments"),
				Tags: map[string]string{"team": "payments", "pii": ""},
			},
		},
		{
			name: "a name that is there already is refused", given: all(registered(fraud, "fraud")), when: named("fraud"),
			refused: ExistsError{What: CodeModelExists, Name: "model fraud"}, saying: "register a version under it",
		},
		{
			name: "the same name in another normal form is the same model", given: all(registered(fraud, "Größe")), when: named("Gro\u0308ße"),
			refused: ExistsError{What: CodeModelExists, Name: "model Größe"},
		},
		{name: "a name is kept in its composed form", when: named("Gro\u0308ße"), then: plain("Größe")},
		{name: "case makes another model", given: all(registered(fraud, "fraud")), when: named("Fraud"), then: plain("Fraud")},
		{name: "a name may have spaces inside, at signs and any letters", when: named("fraud @ 日本 100%"), then: plain("fraud @ 日本 100%")},
		{name: "a name may have 256 characters of any width", when: named(strings.Repeat("日", 256)), then: plain(strings.Repeat("日", 256))},
		{
			name: "a name's length counts after composing", when: named(strings.Repeat("o\u0308", 256)), then: plain(strings.Repeat("ö", 256)),
		},
		{name: "a name of 257 characters is refused", when: named(strings.Repeat("a", 257)), refused: invalid("/name max_length"), saying: "256"},
		{name: "no name is refused", when: named(""), refused: invalid("/name required")},
		{name: "a slash is refused, since it splits references", when: named("a/b"), refused: invalid("/name no_slash_or_colon")},
		{name: "a colon is refused", when: named("models:x"), refused: invalid("/name no_slash_or_colon")},
		{name: "a dot is refused, since clients take it for a path", when: named("."), refused: invalid("/name not_a_path")},
		{name: "two dots are refused", when: named(".."), refused: invalid("/name not_a_path")},
		{name: "three dots are a name", when: named("..."), then: plain("...")},
		{name: "a space at the beginning is refused", when: named(" fraud"), refused: invalid("/name no_edge_spaces")},
		{name: "a no-break space at the end is refused", when: named("fraud\u00a0"), refused: invalid("/name no_edge_spaces")},
		{name: "a control character is refused", when: named("fr\x00aud"), refused: invalid("/name no_control_characters"), saying: "U+0000"},
		{name: "an invisible format character is refused", when: named("fr\u200baud"), refused: invalid("/name no_control_characters"), saying: "U+200B"},
		{name: "a change of direction is refused", when: named("fr\u202eaud"), refused: invalid("/name no_control_characters")},
		{name: "a line separator is refused", when: named("fr\u2028aud"), refused: invalid("/name no_control_characters")},
		{name: "a line break at the edge breaks both rules", when: named("fraud\n"), refused: invalid("/name no_edge_spaces", "/name no_control_characters")},
		{name: "a name that isn't UTF-8 is refused", when: named("fr\xffaud"), refused: invalid("/name utf8")},

		{name: "200 tags are taken", when: tagged(numbered(200)), then: events.ModelRegistered{ModelID: newID, Name: "fraud", Tags: numbered(200)}},
		{name: "201 tags are refused", when: tagged(numbered(201)), refused: invalid("/tags max_items")},
		{name: "an empty tag key is refused", when: tagged(map[string]string{"": "x"}), refused: invalid("/tags/ required")},
		{name: "a tag key of 250 characters is taken", when: tagged(map[string]string{strings.Repeat("ö", 250): ""}), then: events.ModelRegistered{ModelID: newID, Name: "fraud", Tags: map[string]string{strings.Repeat("ö", 250): ""}}},
		{name: "a tag key of 251 characters is refused", when: tagged(map[string]string{strings.Repeat("k", 251): "x"}), refused: invalid("/tags/" + strings.Repeat("k", 251) + " max_length")},
		{name: "a tag key with a line break is refused, and its pointer is escaped", when: tagged(map[string]string{"a/~\n": "x"}), refused: invalid("/tags/a~1~0\n no_control_characters")},
		{name: "a tag value of 100000 characters is taken", when: tagged(map[string]string{"k": strings.Repeat("v", 100_000)}), then: events.ModelRegistered{ModelID: newID, Name: "fraud", Tags: map[string]string{"k": strings.Repeat("v", 100_000)}}},
		{name: "a tag value of 100001 characters is refused", when: tagged(map[string]string{"k": strings.Repeat("v", 100_001)}), refused: invalid("/tags/k max_length")},
		{name: "a tag value may have line breaks", when: tagged(map[string]string{"k": "a\nb"}), then: events.ModelRegistered{ModelID: newID, Name: "fraud", Tags: map[string]string{"k": "a\nb"}}},
		{name: "a tag value that isn't UTF-8 is refused", when: tagged(map[string]string{"k": "\xff"}), refused: invalid("/tags/k utf8")},
		{
			name: "bad tags are told in the order of their keys", when: tagged(map[string]string{"c\n": "", "a\n": "", "b\n": ""}),
			refused: invalid("/tags/a\n no_control_characters", "/tags/b\n no_control_characters", "/tags/c\n no_control_characters"),
		},
		{name: "a description of 100001 characters is refused", when: &RegisterModel{ModelSpec{Name: "fraud", Description: strings.Repeat("ö", 100_001)}}, refused: invalid("/description max_length")},
		{name: "everything that is wrong is told at once", when: &RegisterModel{ModelSpec{Name: "a/b", Tags: map[string]string{"": ""}}}, refused: invalid("/name no_slash_or_colon", "/tags/ required")},
	})
}

// numbered makes n pairs.
func numbered(n int) map[string]string {
	pairs := map[string]string{}
	for i := range n {
		pairs[fmt.Sprintf("k%04d", i)] = "v"
	}
	return pairs
}

func TestFieldErrorsEndAtTwenty(t *testing.T) {
	bad := map[string]string{}
	for i := range 100 {
		bad[fmt.Sprintf("%03d\n", i)] = ""
	}
	cmd := &RegisterModel{ModelSpec{Name: "fraud", Tags: bad}}
	if fields := cmd.check().(InvalidError).Fields; len(fields) != 20 || fields[19].Pointer != "/tags/019\n" { //nolint:errorlint // check wraps nothing
		t.Errorf("%d errors, the last %v", len(fields), fields[len(fields)-1])
	}
}
