package handlers

import (
	"fmt"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// RollBackToVersion asks to restore the last of the earlier route tables of a
// target that runs a version and nothing else. It is for those who know what runs
// after a rollback, and no generations.
type RollBackToVersion struct {
	Target projections.TargetName `json:"target"`
	Model  string                 `json:"model"`
	Ref    string                 `json:"ref"`
	Reason string                 `json:"reason,omitempty"`
}

// Kind names the command.
func (*RollBackToVersion) Kind() string { return "roll_back_to_version" }

func (cmd *RollBackToVersion) check() error {
	var c checker
	c.target(cmd.Target)
	c.required("/model", cmd.Model)
	c.length("/model", cmd.Model, MaxName)
	c.required("/ref", cmd.Ref)
	c.length("/ref", cmd.Ref, MaxReference)
	c.length("/reason", cmd.Reason, MaxReason)
	return c.err()
}

func (cmd *RollBackToVersion) decide(v projections.View, on occasion) (decision, error) {
	t, _, err := FindTarget(v, cmd.Target)
	if err != nil {
		return decision{}, err
	}
	m, id, err := find(v, cmd.Model, cmd.Ref)
	if err != nil {
		return decision{}, pointingAt("/ref", err)
	}
	table, _, ok := v.Routes(t.ID)
	if ok && runsOnly(table, id) {
		return alreadySo(targetResource(t))
	}
	for at := uint64(0); ok && table.Previous != 0; {
		at = table.Previous
		if table, _, ok = v.At(at).Routes(t.ID); ok && runsOnly(table, id) {
			back := RollBack{Target: cmd.Target, Rollback: Rollback{To: at, Reason: cmd.Reason}}
			return back.decide(v, on)
		}
	}
	return decision{}, RuleError{CodeNotAGeneration, fmt.Sprintf("%s has no earlier deployment of %s/%d to roll back to; deploy it", t.Name, m.Name, id.Version)}
}

func runsOnly(table *projections.RouteTable, id events.VersionID) bool {
	return len(table.Variants) == 1 && table.Variants[0].ModelID == id.ModelID && table.Variants[0].Version == id.Version
}

func (cmd *RollBackToVersion) etag(v projections.View) (uint64, bool) {
	return targetETag(v, cmd.Target)
}
