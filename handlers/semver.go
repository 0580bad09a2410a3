package handlers

import (
	"strconv"

	"github.com/Masterminds/semver/v3"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// How a semantic version is chosen by the registry.
const (
	bumpMajor = "major"
	bumpMinor = "minor"
	bumpPatch = "patch"
	bumpAuto  = "auto"
)

// chooseSemver gives the semantic version of a new version: the one that was
// asked for, if it is free, or the next one after the highest. The first is
// 1.0.0.
func chooseSemver(v projections.View, m *projections.Model, s VersionSpec, base *events.VersionID) (string, error) {
	if s.Bump != "" {
		return bump(v, m, s, base), nil
	}
	if s.Semver == "" {
		return "", nil
	}
	sv, err := semver.StrictNewVersion(s.Semver)
	if err != nil {
		return "", err // check has let it through
	}
	if number, taken := v.WithSemver(m.ID, sv); taken {
		return "", ExistsError{
			CodeSemverExists, m.Name + "/" + s.Semver,
			"it is version " + strconv.Itoa(number) + "; choose a higher semantic version, or let the registry bump it",
		}
	}
	return s.Semver, nil
}

func bump(v projections.View, m *projections.Model, s VersionSpec, base *events.VersionID) string {
	for highest, number := range v.BySemver(m.ID) {
		part := s.Bump
		if part == bumpAuto {
			part = howDifferent(v, events.VersionID{ModelID: m.ID, Version: number}, s, base)
		}
		var next semver.Version
		switch part {
		case bumpMajor:
			next = highest.IncMajor()
		case bumpMinor:
			next = highest.IncMinor()
		default:
			next = highest.IncPatch()
		}
		return next.String()
	}
	return "1.0.0"
}

// howDifferent says which part auto bumps: major for another model signature,
// minor for other data, code or base model, else patch. What is there in one
// only is a change.
func howDifferent(v projections.View, than events.VersionID, s VersionSpec, base *events.VersionID) string {
	before, ok := v.Registration(than)
	if !ok {
		return bumpMajor
	}
	signature, datasets := projections.HashDetails(s.Signature, s.Datasets)
	signatureBefore, datasetsBefore := before.Hashes()
	switch {
	case signature != signatureBefore:
		return bumpMajor
	case datasets != datasetsBefore || !samePointed(s.Code, before.Code) || !samePointed(base, before.BaseModel):
		return bumpMinor
	default:
		return bumpPatch
	}
}

func samePointed[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
