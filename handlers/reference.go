package handlers

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// SplitReference splits a whole reference, such as fraud/8, fraud/^2,
// fraud/latest or fraud@champion, into the model's name and the reference
// within it. The reference of an alias keeps its @. If there is a / it splits,
// else the last @ does. It fails with InvalidError, naming the pointer.
func SplitReference(pointer, s string) (model, ref string, err error) {
	if model, ref, ok := strings.Cut(s, "/"); ok && model != "" && ref != "" {
		return model, ref, nil
	}
	if i := strings.LastIndex(s, "@"); i > 0 && i < len(s)-1 && !strings.Contains(s, "/") {
		return s[:i], s[i:], nil
	}
	return "", "", InvalidField(pointer, "reference",
		"%q is not a reference such as fraud/8, fraud/2.1.0, fraud/Production, fraud/latest or fraud@champion", s)
}

// Resolve finds the version that a reference within a model points at: latest,
// a whole number, a full semantic version, a range of them (the highest in it
// that is no pre-release), a stage (the highest number in it), or, after an @,
// an alias. It fails with NotFoundError, or with InvalidError for what is no reference.
func Resolve(v projections.View, m *projections.Model, ref string) (events.VersionID, error) {
	number, err := resolve(v, m, ref)
	if err != nil {
		return events.VersionID{}, err
	}
	id := events.VersionID{ModelID: m.ID, Version: number}
	if _, _, ok := v.Version(id); !ok {
		return events.VersionID{}, versionNotFound(m, ref, "")
	}
	return id, nil
}

func resolve(v projections.View, m *projections.Model, ref string) (int, error) {
	if utf8.RuneCountInString(ref) > MaxReference { // a long range would keep the registrar busy
		return 0, InvalidField("ref", "max_length", "has more than %d characters", MaxReference)
	}
	if alias, ok := strings.CutPrefix(ref, "@"); ok {
		number, _, ok := v.Alias(m.ID, NormalName(alias))
		if !ok {
			return 0, versionNotFound(m, ref, "the model has no such alias")
		}
		return number, nil
	}
	if ref == "latest" {
		if m.LatestVersion == 0 {
			return 0, versionNotFound(m, ref, "the model has no versions")
		}
		return m.LatestVersion, nil
	}
	first, _ := utf8.DecodeRuneInString(ref)
	if unicode.IsLetter(first) {
		return resolveStage(v, m, ref)
	}
	if strings.Trim(ref, "0123456789") == "" && ref != "" {
		number, err := strconv.Atoi(ref)
		if err != nil {
			return 0, versionNotFound(m, ref, "")
		}
		return number, nil
	}
	return resolveSemver(v, m, ref)
}

func resolveStage(v projections.View, m *projections.Model, ref string) (int, error) {
	stage, ok := m.Lifecycle().Stage(ref)
	if !ok {
		return 0, versionNotFound(m, ref, "its stages are "+strings.Join(m.Lifecycle().Stages, ", "))
	}
	for number := range v.InStage(m.ID, stage) {
		return number, nil
	}
	return 0, versionNotFound(m, ref, "no version is in that stage")
}

func resolveSemver(v projections.View, m *projections.Model, ref string) (int, error) {
	if exact, err := semver.StrictNewVersion(ref); err == nil {
		number, ok := v.WithSemver(m.ID, exact)
		if !ok {
			return 0, versionNotFound(m, ref, "")
		}
		return number, nil
	}
	within, err := semver.NewConstraint(ref)
	if err != nil {
		return 0, InvalidField("ref", "reference",
			"%q is neither latest, a number, a semantic version or range, a stage nor an alias (@name)", ref)
	}
	for sv, number := range v.BySemver(m.ID) {
		if sv.Prerelease() == "" && within.Check(sv) {
			return number, nil
		}
	}
	return 0, versionNotFound(m, ref, "no semantic version is in that range")
}

func versionNotFound(m *projections.Model, ref, hint string) error {
	return NotFoundError{What: CodeVersionNotFound, Name: referenceName(m, ref), Hint: hint}
}

// referenceName spells a reference within a model as people write it.
func referenceName(m *projections.Model, ref string) string {
	if strings.HasPrefix(ref, "@") {
		return m.Name + ref
	}
	return m.Name + "/" + ref
}

// find resolves a model's name and a reference within it.
func find(v projections.View, model, ref string) (*projections.Model, events.VersionID, error) {
	m, _, err := FindModel(v, model)
	if err != nil {
		return nil, events.VersionID{}, err
	}
	id, err := Resolve(v, m, ref)
	return m, id, err
}

// findWhole resolves a whole reference.
func findWhole(v projections.View, pointer, whole string) (events.VersionID, error) {
	model, ref, err := SplitReference(pointer, whole)
	if err != nil {
		return events.VersionID{}, err
	}
	_, id, err := find(v, model, ref)
	if missing, ok := errors.AsType[NotFoundError](err); ok {
		err = fmt.Errorf("%s: %w", pointer, missing)
	}
	return id, pointingAt(pointer, err)
}

// pointingAt puts the field in which a reference was given into its refusal.
func pointingAt(pointer string, err error) error {
	if invalid, ok := errors.AsType[InvalidError](err); ok && len(invalid.Fields) == 1 {
		field := invalid.Fields[0]
		return InvalidField(pointer, field.Rule, "%s", field.Detail)
	}
	return err
}

func versionETag(v projections.View, model, ref string) (uint64, bool) {
	_, id, err := find(v, model, ref)
	if err != nil {
		return 0, false
	}
	_, sequence, ok := v.Version(id)
	return sequence, ok
}

func versionResource(id events.VersionID) events.Resource {
	return events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: id.ModelID}, Version: id.Version}
}
