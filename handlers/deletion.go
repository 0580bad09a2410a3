package handlers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// Deletion says how something is to be deleted.
type Deletion struct {
	Cascade bool   `json:"cascade,omitzero"` // take aliases along
	Reason  string `json:"reason,omitempty"`
}

func (d Deletion) check() error {
	var c checker
	c.length("reason", d.Reason, MaxReason)
	return c.err()
}

// DeleteVersion asks that a version be gone. Its number is not used again.
type DeleteVersion struct {
	Model    string   `json:"model"`
	Ref      string   `json:"ref"`
	Deletion Deletion `json:"deletion"`
}

// Kind names the command.
func (*DeleteVersion) Kind() string { return "delete_version" }

func (cmd *DeleteVersion) check() error { return cmd.Deletion.check() }

func (cmd *DeleteVersion) decide(v projections.View, _ occasion) (decision, error) {
	m, _, err := FindModel(v, cmd.Model)
	if err != nil {
		return decision{}, err
	}
	id, err := Resolve(v, m, cmd.Ref)
	if err != nil {
		if number, isNumber := strconv.Atoi(cmd.Ref); isNumber == nil {
			gone := events.VersionID{ModelID: m.ID, Version: number}
			if _, registered := v.Registration(gone); registered { // it was deleted before
				return alreadySo(versionResource(gone))
			}
		}
		return decision{}, err
	}
	if err := notDeployed(v, m, id); err != nil {
		return decision{}, err
	}
	aliases := slices.Collect(v.AliasesOf(id))
	if len(aliases) > 0 && !cmd.Deletion.Cascade {
		return decision{}, RuleError{CodeVersionAliased, fmt.Sprintf("%s/%d is @%s; move the aliases, or pass cascade to let them go too", m.Name, id.Version, strings.Join(aliases, ", @"))}
	}
	return write(events.VersionDeleted{
		ModelID: m.ID, Version: id.Version, Aliases: aliases, Reason: events.Plain(cmd.Deletion.Reason),
	})
}

func notDeployed(v projections.View, m *projections.Model, id events.VersionID) error {
	var where []string
	for t := range v.DeployedTo(id) {
		where = append(where, t.Name.String())
	}
	if len(where) == 0 {
		return nil
	}
	return RuleError{CodeVersionDeployed, fmt.Sprintf("%s/%d runs on %s; deploy another version there, or undeploy it", m.Name, id.Version, strings.Join(where, ", "))}
}

func (cmd *DeleteVersion) etag(v projections.View) (uint64, bool) {
	return versionETag(v, cmd.Model, cmd.Ref)
}

// DeleteModel asks that a model be gone, with all of its versions.
type DeleteModel struct {
	Model    string   `json:"model"`
	Deletion Deletion `json:"deletion"`
}

// Kind names the command.
func (*DeleteModel) Kind() string { return "delete_model" }

func (cmd *DeleteModel) check() error { return cmd.Deletion.check() }

func (cmd *DeleteModel) decide(v projections.View, _ occasion) (decision, error) {
	m, _, err := FindModel(v, cmd.Model)
	if err != nil {
		return decision{}, err
	}
	for id := range v.Deployed(m.ID) {
		if err := notDeployed(v, m, id); err != nil {
			return decision{}, err
		}
	}
	aliases := 0
	for alias, version := range v.Aliases(m.ID) {
		if !cmd.Deletion.Cascade {
			return decision{}, RuleError{CodeVersionAliased, fmt.Sprintf("%s/%d is @%s; remove the aliases, or pass cascade to let them go too", m.Name, version, alias)}
		}
		aliases++
	}
	return write(events.ModelDeleted{
		ModelID: m.ID, Name: m.Name, Versions: m.LiveVersions, Aliases: aliases, Reason: events.Plain(cmd.Deletion.Reason),
	})
}

func (cmd *DeleteModel) etag(v projections.View) (uint64, bool) { return modelETag(v, cmd.Model) }
