package projections

import (
	"iter"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

type aliasKey struct {
	ModelID ulid.ULID `json:"model_id"`
	Alias   string    `json:"alias"`
}

func (k aliasKey) compare(o aliasKey) int {
	if c := k.ModelID.Compare(o.ModelID); c != 0 {
		return c
	}
	return strings.Compare(k.Alias, o.Alias)
}

type versionAliasKey struct {
	Version events.VersionID `json:"version"`
	Alias   string           `json:"alias"`
}

func (k versionAliasKey) compare(o versionAliasKey) int {
	if c := compareVersionIDs(k.Version, o.Version); c != 0 {
		return c
	}
	return strings.Compare(k.Alias, o.Alias)
}

func (s *State) aliasAssigned(c change, e events.AliasAssigned) {
	e.Alias = s.words.one(e.Alias)
	to := events.VersionID{ModelID: e.ModelID, Version: e.To}
	if e.From != 0 {
		from := events.VersionID{ModelID: e.ModelID, Version: e.From}
		s.versionAliases.remove(c.sequence, versionAliasKey{from, e.Alias})
		s.reviseVersion(c, from, nil)
	}
	s.aliases.put(c.sequence, aliasKey{e.ModelID, e.Alias}, e.To)
	s.versionAliases.put(c.sequence, versionAliasKey{to, e.Alias}, struct{}{})
	s.reviseVersion(c, to, nil)
	s.reviseModel(c, e.ModelID, nil)
}

func (s *State) aliasRemoved(c change, e events.AliasRemoved) {
	from := events.VersionID{ModelID: e.ModelID, Version: e.From}
	s.aliases.remove(c.sequence, aliasKey{e.ModelID, e.Alias})
	s.versionAliases.remove(c.sequence, versionAliasKey{from, e.Alias})
	s.reviseVersion(c, from, nil)
	s.reviseModel(c, e.ModelID, nil)
}

// Alias gives the version that an alias of a model points at, and the sequence
// of the event that made it so.
func (v View) Alias(model ulid.ULID, alias string) (version int, sequence uint64, ok bool) {
	f, ok := v.state.aliases.get(v.Sequence, aliasKey{model, alias})
	return f.value, f.sequence, ok
}

// Aliases yields a model's aliases and their versions, by alias.
func (v View) Aliases(model ulid.ULID) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		within := func(k aliasKey) bool { return k.ModelID == model }
		for k, version := range v.state.aliases.ascendWithin(v.Sequence, aliasKey{ModelID: model}, within) {
			if !yield(k.Alias, version) {
				return
			}
		}
	}
}

// AliasesOf yields the aliases that point at a version, sorted.
func (v View) AliasesOf(id events.VersionID) iter.Seq[string] {
	return func(yield func(string) bool) {
		within := func(k versionAliasKey) bool { return k.Version == id }
		for k := range v.state.versionAliases.ascendWithin(v.Sequence, versionAliasKey{Version: id}, within) {
			if !yield(k.Alias) {
				return
			}
		}
	}
}
