package handlers

import (
	"fmt"
	"slices"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// Deployment says what is to run on a target.
type Deployment struct {
	Model    string `json:"model"`
	Ref      string `json:"ref"`                // within the model, resolved once
	Strategy string `json:"strategy,omitempty"` // all_at_once, which is the default
	Reason   string `json:"reason,omitempty"`
	// IfGeneration, unless absent, is the generation that the target must have
	// now; 0 says that nothing may ever have been deployed there.
	IfGeneration *uint64 `json:"if_generation,omitempty"`
	// Force passes over a rule that speaks against it, with a reason: the
	// version is deprecated, or comes from withdrawn data.
	Force bool `json:"force,omitzero"`
}

// DeployVersion asks to run a version on a target, in place of what runs there.
type DeployVersion struct {
	Target     projections.TargetName `json:"target"`
	Deployment Deployment             `json:"deployment"`
}

// Kind names the command.
func (*DeployVersion) Kind() string { return "deploy_version" }

func (cmd *DeployVersion) check() error {
	var c checker
	c.target(cmd.Target)
	d := &cmd.Deployment
	c.required("/model", d.Model)
	c.length("/model", d.Model, MaxName)
	c.required("/ref", d.Ref)
	c.length("/ref", d.Ref, MaxReference)
	if d.Strategy == "" {
		d.Strategy = events.AllAtOnce
	}
	if d.Strategy != events.AllAtOnce {
		c.fail("/strategy", "enum", "must be %s", events.AllAtOnce)
	}
	c.length("/reason", d.Reason, MaxReason)
	c.forced(d.Force, d.Reason)
	return c.err()
}

func (cmd *DeployVersion) decide(v projections.View, _ occasion) (decision, error) {
	t, _, err := FindTarget(v, cmd.Target)
	if err != nil {
		return decision{}, err
	}
	d := cmd.Deployment
	_, id, err := find(v, d.Model, d.Ref)
	if err != nil {
		return decision{}, pointingAt("/ref", err)
	}
	current, generation, deployed := v.Routes(t.ID)
	if err := precondition("if_generation", d.IfGeneration, generation); err != nil {
		return decision{}, err
	}
	variants := []events.Variant{{
		ModelID: id.ModelID, Version: id.Version, Role: events.RoleChampion, Weight: events.FullWeight,
	}}
	if deployed && current.Strategy == d.Strategy && slices.Equal(current.Variants, variants) {
		return alreadySo(targetResource(t))
	}
	against := unfit(v, id, "deploy")
	if against != nil && !d.Force {
		return decision{}, against
	}
	return write(events.DeploymentDeployed{
		TargetID: t.ID, Strategy: d.Strategy, Variants: variants, Reason: events.Plain(d.Reason), Forced: against != nil,
	})
}

func (cmd *DeployVersion) etag(v projections.View) (uint64, bool) { return targetETag(v, cmd.Target) }

// Rollback says how far back to go.
type Rollback struct {
	To     uint64 `json:"to,omitzero"` // a generation; absent for the previous one
	Reason string `json:"reason,omitempty"`
}

// RollBack asks to restore an earlier route table of a target whole.
type RollBack struct {
	Target   projections.TargetName `json:"target"`
	Rollback Rollback               `json:"rollback"`
}

// Kind names the command.
func (*RollBack) Kind() string { return "roll_back" }

func (cmd *RollBack) check() error {
	var c checker
	c.target(cmd.Target)
	c.length("/reason", cmd.Rollback.Reason, MaxReason)
	return c.err()
}

func (cmd *RollBack) decide(v projections.View, _ occasion) (decision, error) {
	t, _, err := FindTarget(v, cmd.Target)
	if err != nil {
		return decision{}, err
	}
	current, generation, ok := v.Routes(t.ID)
	if !ok || current.Previous == 0 {
		return decision{}, RuleError{CodeNothingToRollBack, fmt.Sprintf("%s has no earlier deployment to roll back to; deploy the version you want", t.Name)}
	}
	to := cmd.Rollback.To
	if to == 0 {
		to = current.Previous
	}
	restored, err := earlier(v, t, current, to)
	if err != nil {
		return decision{}, err
	}
	for _, variant := range restored.Variants {
		id := events.VersionID{ModelID: variant.ModelID, Version: variant.Version}
		if _, _, ok := v.Version(id); !ok {
			return decision{}, RuleError{CodeVersionGone, fmt.Sprintf("%s can't go back to generation %d: %s, which ran then, was deleted; name an earlier generation, or deploy the version you want", t.Name, to, VersionName(v, id))}
		}
	}
	return write(events.DeploymentRolledBack{
		TargetID: t.ID, From: generation, To: to, Strategy: restored.Strategy, Variants: restored.Variants,
		Reason: events.Plain(cmd.Rollback.Reason),
	})
}

// earlier finds a generation among those that a target can go back to. A table
// that was rolled back from isn't among them.
func earlier(v projections.View, t *projections.Target, current *projections.RouteTable, to uint64) (*projections.RouteTable, error) {
	for at := current.Previous; at >= to && at != 0; {
		table, _, ok := v.At(at).Routes(t.ID)
		if !ok {
			break
		}
		if at == to {
			return table, nil
		}
		at = table.Previous
	}
	return nil, RuleError{CodeNotAGeneration, fmt.Sprintf("%s can't go back to generation %d; the previous one is %d", t.Name, to, current.Previous)}
}

func (cmd *RollBack) etag(v projections.View) (uint64, bool) { return targetETag(v, cmd.Target) }

// Withdrawal says why nothing is to run.
type Withdrawal struct {
	Reason string `json:"reason,omitempty"`
}

// Undeploy asks that nothing run on a target.
type Undeploy struct {
	Target     projections.TargetName `json:"target"`
	Withdrawal Withdrawal             `json:"withdrawal"`
}

// Kind names the command.
func (*Undeploy) Kind() string { return "undeploy" }

func (cmd *Undeploy) check() error {
	var c checker
	c.length("/reason", cmd.Withdrawal.Reason, MaxReason)
	return c.err()
}

func (cmd *Undeploy) decide(v projections.View, _ occasion) (decision, error) {
	t, _, err := FindTarget(v, cmd.Target)
	if err != nil {
		return decision{}, err
	}
	current, generation, ok := v.Routes(t.ID)
	if !ok || len(current.Variants) == 0 {
		return alreadySo(targetResource(t))
	}
	return write(events.DeploymentWithdrawn{TargetID: t.ID, From: generation, Reason: events.Plain(cmd.Withdrawal.Reason)})
}

func (cmd *Undeploy) etag(v projections.View) (uint64, bool) { return targetETag(v, cmd.Target) }
