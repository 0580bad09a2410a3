package handlers

import (
	"strconv"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// Assignment says which version an alias is to point at.
type Assignment struct {
	Version int    `json:"version"`
	Reason  string `json:"reason,omitempty"`
	// IfVersion, unless absent, is the version that the alias must point at
	// now; 0 says that there must be no such alias.
	IfVersion *uint64 `json:"if_version,omitempty"`
}

// AssignAlias asks to point an alias of a model at a version.
type AssignAlias struct {
	Model      string     `json:"model"`
	Alias      string     `json:"alias"`
	Assignment Assignment `json:"assignment"`
}

// Kind names the command.
func (*AssignAlias) Kind() string { return "assign_alias" }

func (cmd *AssignAlias) check() error {
	var c checker
	c.length("model", cmd.Model, MaxName)
	cmd.Alias = c.alias("alias", cmd.Alias)
	if cmd.Assignment.Version < 1 {
		c.fail("/version", "minimum", "must be a version number from 1")
	}
	c.length("/reason", cmd.Assignment.Reason, MaxReason)
	return c.err()
}

func (cmd *AssignAlias) decide(v projections.View, _ occasion) (decision, error) {
	m, id, err := find(v, cmd.Model, strconv.Itoa(cmd.Assignment.Version))
	if err != nil {
		return decision{}, err
	}
	from, _, _ := v.Alias(m.ID, cmd.Alias)
	if err := precondition("if_version", cmd.Assignment.IfVersion, uint64(from)); err != nil {
		return decision{}, err
	}
	e := events.AliasAssigned{
		ModelID: m.ID, Alias: cmd.Alias, From: from, To: id.Version, Reason: events.Plain(cmd.Assignment.Reason),
	}
	if e.From == e.To {
		return alreadySo(e.Resource())
	}
	return write(e)
}

func (cmd *AssignAlias) etag(v projections.View) (uint64, bool) {
	return aliasETag(v, cmd.Model, cmd.Alias)
}

func aliasETag(v projections.View, model, alias string) (uint64, bool) {
	m, _, ok := v.Model(NormalName(model))
	if !ok {
		return 0, false
	}
	_, sequence, ok := v.Alias(m.ID, alias)
	return sequence, ok
}

// RemoveAlias asks that an alias of a model be gone.
type RemoveAlias struct {
	Model string `json:"model"`
	Alias string `json:"alias"`
	// IfVersion, unless absent, is the version that the alias must point at
	// now.
	IfVersion *uint64 `json:"if_version,omitempty"`
	Reason    string  `json:"reason,omitempty"`
}

// Kind names the command.
func (*RemoveAlias) Kind() string { return "remove_alias" }

func (cmd *RemoveAlias) check() error {
	var c checker
	cmd.Alias = NormalName(cmd.Alias)
	c.length("reason", cmd.Reason, MaxReason)
	return c.err()
}

func (cmd *RemoveAlias) decide(v projections.View, _ occasion) (decision, error) {
	m, _, err := FindModel(v, cmd.Model)
	if err != nil {
		return decision{}, err
	}
	from, _, ok := v.Alias(m.ID, cmd.Alias)
	if err := precondition("if_version", cmd.IfVersion, uint64(from)); err != nil {
		return decision{}, err
	}
	e := events.AliasRemoved{ModelID: m.ID, Alias: cmd.Alias, From: from, Reason: events.Plain(cmd.Reason)}
	if !ok {
		return alreadySo(e.Resource())
	}
	return write(e)
}

func (cmd *RemoveAlias) etag(v projections.View) (uint64, bool) {
	return aliasETag(v, cmd.Model, cmd.Alias)
}
