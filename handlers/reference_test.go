package handlers

import (
	"errors"
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

func TestReferencesAreSplitAtTheFirstSlashElseAtTheLastAt(t *testing.T) {
	for _, c := range []struct{ whole, model, ref string }{
		{"fraud/8", "fraud", "8"},
		{"fraud/2.1.0", "fraud", "2.1.0"},
		{"fraud/^2", "fraud", "^2"},
		{"fraud/>=1.0, <2", "fraud", ">=1.0, <2"},
		{"fraud/Production", "fraud", "Production"},
		{"fraud/latest", "fraud", "latest"},
		{"fraud@champion", "fraud", "@champion"},
		{"fraud/@champion", "fraud", "@champion"},
		{"me@home@champion", "me@home", "@champion"},
		{"me@home/8", "me@home", "8"},
		{"@me/8", "@me", "8"},
		{"fraud/8@x", "fraud", "8@x"}, // no reference, as Resolve will say
		{"fraud/8/9", "fraud", "8/9"}, // nor this
		{"fraud/@", "fraud", "@"},     // and this names no alias
	} {
		model, ref, err := SplitReference("/ref", c.whole)
		if err != nil || model != c.model || ref != c.ref {
			t.Errorf("%q splits into %q and %q (%v), want %q and %q", c.whole, model, ref, err, c.model, c.ref)
		}
	}
	for _, whole := range []string{"", "fraud", "fraud/", "/8", "/", "fraud@", "@champion", "@", "/@champion"} {
		_, _, err := SplitReference("/base_model", whole)
		wantRefusal(t, err, invalid("/base_model reference"), "such as fraud/8")
	}
}

// referenced is a model with references of all kinds: versions 1 to 8 with
// semantic versions that don't rise, 2 and 4 in Production, 6 in Staging.
func referenced() (projections.View, *projections.Model) {
	given := all(registered(fraud, "fraud"))
	for i, semver := range []string{"1.0.0", "1.5.0", "2.0.0", "2.1.0", "2.2.0-rc.1", "", "1.6.0", "2.1.1+build.5"} {
		given = append(given, version(fraud, i+1, semver))
	}
	state := fold(all(
		given, promoted(fraud, 2, "Production"), promoted(fraud, 4, "Production"), promoted(fraud, 6, "Staging"),
		assigned(fraud, "champion", 4), assigned(fraud, "größe", 1),
		registered(churn, "churn"), version(churn, 1, "9.0.0"), promoted(churn, 1, "Archived"), assigned(churn, "other", 1),
	)...)
	v := state.At(state.Applied())
	m, _, _ := v.Model("fraud")
	return v, m
}

func TestReferencesResolve(t *testing.T) {
	v, m := referenced()
	for ref, want := range map[string]int{
		"latest": 8, "8": 8, "1": 1, "08": 8,
		"2.1.0": 4, "1.6.0": 7, "2.1.1": 8, "2.1.1+other": 8, "2.2.0-rc.1": 5,
		// A range gives the highest by precedence, not by number, and no pre-release.
		"^2": 8, "^1": 7, "~1.5": 2, "~1.5.0": 2, "2.1": 8, "2.0": 3, "1.x": 7, "*": 8, ">=1.0.0, <1.6.0": 2, "<1.5.0 || >2.1.0": 8, "=2.0.0": 3, ">=2.1.0 <2.1.1": 4, ">1.0.0-0": 8,
		"2":          2, // a whole number is a number, never a range
		"Production": 4, "production": 4, "PRODUCTION": 4, "Staging": 6, "None": 8,
		"@champion": 4, "@größe": 1, "@gro\u0308ße": 1,
	} {
		id, err := Resolve(v, m, ref)
		if wanted := (events.VersionID{ModelID: fraud, Version: want}); err != nil || id != wanted {
			t.Errorf("%q is %v (%v), want %v", ref, id.Version, err, want)
		}
	}
}

func TestReferencesToNothingAreNotFound(t *testing.T) {
	v, m := referenced()
	const stages = "its stages are None, Staging, Production, Archived"
	for ref, saying := range map[string]string{
		"9": "there is no version fraud/9", "0": "", "00": "", "99999999999999999999999": "there is no version fraud/99999999999999999999999",
		"9.0.0": "there is no version fraud/9.0.0", "2.2.0": "", "2.2.0-rc.2": "",
		"^9": "no semantic version is in that range", "^2.2.0-0": "no semantic version is in that range", ">2.1.1": "no semantic version is in that range",
		"Archived": "no version is in that stage", "Live": stages, "v1": stages, "v1.0.0": stages, "LATEST": stages, "日本": stages,
		"@nobody": "there is no version fraud@nobody; the model has no such alias", "@Champion": "", "@other": "", "@": "",
	} {
		_, err := Resolve(v, m, ref)
		name := "fraud/" + ref
		if ref[0] == '@' {
			name = "fraud" + ref
		}
		t.Run(ref, func(t *testing.T) { wantRefusal(t, err, NotFoundError{What: CodeVersionNotFound, Name: name}, saying) })
	}
	empty := fold(registered(fraud, "fraud"))
	v = empty.At(empty.Applied())
	m, _, _ = v.Model("fraud")
	for _, ref := range []string{"latest", "1", "1.0.0", "*", "None"} {
		_, err := Resolve(v, m, ref)
		if found, ok := errors.AsType[NotFoundError](err); !ok || found.Code() != CodeVersionNotFound {
			t.Errorf("%q of a model without versions: %v", ref, err)
		}
	}
}

func TestWhatIsNoReferenceIsRefused(t *testing.T) {
	v, m := referenced()
	for _, ref := range []string{"", " ", "!", "8/9", "8@x", "-1", "+8", "1.2.3.4", "2.1.0.", "²", "..", "\x00"} {
		_, err := Resolve(v, m, ref)
		t.Run(ref, func(t *testing.T) { wantRefusal(t, err, invalid("ref reference"), "is neither latest") })
	}
}

// Ranges are parsed by the one goroutine that decides.
func TestAReferenceIsNotLongerThanAnyAlias(t *testing.T) {
	v, m := referenced()
	_, err := Resolve(v, m, "@"+strings.Repeat("ö", 255))
	wantRefusal(t, err, NotFoundError{What: CodeVersionNotFound, Name: "fraud@" + strings.Repeat("ö", 255)}, "no such alias")
	_, err = Resolve(v, m, strings.Repeat(">1||", 64)+">")
	wantRefusal(t, err, invalid("ref max_length"), "256")
}

// Past versions of a reference are still there as of then.
func TestReferencesResolveAsOfTheView(t *testing.T) {
	v, m := referenced()
	for _, c := range []struct {
		ref  string
		at   uint64 // events 3 to 10 register the versions, 11 to 13 promote, 14 assigns champion
		want int
	}{{"latest", 3, 1}, {"latest", 7, 5}, {"^2", 5, 3}, {"^2", 6, 4}, {"Production", 11, 2}, {"Production", 12, 4}, {"@champion", 14, 4}, {"@champion", 13, 0}, {"8", 9, 0}} {
		then := v.At(c.at)
		m, _, ok := then.ModelByID(m.ID)
		if !ok {
			t.Fatalf("no model at %d", c.at)
		}
		if id, _ := Resolve(then, m, c.ref); id.Version != c.want {
			t.Errorf("%s at %d is %d, want %d", c.ref, c.at, id.Version, c.want)
		}
	}
}
