package handlers

import (
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// TargetSpec describes a target.
type TargetSpec struct {
	Description string `json:"description,omitempty"`
}

// DefineTarget asks for a target, a place that models are deployed to, or for
// another description of one that is there.
type DefineTarget struct {
	Target projections.TargetName `json:"target"`
	Spec   TargetSpec             `json:"spec"`
}

// Kind names the command.
func (*DefineTarget) Kind() string { return "define_target" }

func (cmd *DefineTarget) check() error {
	var c checker
	c.targetPart("environment", cmd.Target.Environment)
	c.targetPart("name", cmd.Target.Name)
	c.length("/description", cmd.Spec.Description, MaxDescription)
	return c.err()
}

func (cmd *DefineTarget) decide(v projections.View, on occasion) (decision, error) {
	if t, _, ok := v.Target(cmd.Target); ok {
		if t.Description == events.Plain(cmd.Spec.Description) {
			return alreadySo(targetResource(t))
		}
		return write(events.TargetDescribed{TargetID: t.ID, Description: events.Plain(cmd.Spec.Description)})
	}
	return write(events.TargetDefined{
		TargetID: on.id, Environment: cmd.Target.Environment, Name: cmd.Target.Name,
		Description: events.Plain(cmd.Spec.Description),
	})
}

func (cmd *DefineTarget) etag(v projections.View) (uint64, bool) { return targetETag(v, cmd.Target) }

// RemoveTarget asks that a target, on which nothing runs, be gone.
type RemoveTarget struct {
	Target   projections.TargetName `json:"target"`
	Deletion Deletion               `json:"deletion"`
}

// Kind names the command.
func (*RemoveTarget) Kind() string { return "remove_target" }

func (cmd *RemoveTarget) check() error { return cmd.Deletion.check() }

func (cmd *RemoveTarget) decide(v projections.View, _ occasion) (decision, error) {
	t, _, err := FindTarget(v, cmd.Target)
	if err != nil {
		return decision{}, err
	}
	if routes, _, ok := v.Routes(t.ID); ok && len(routes.Variants) > 0 {
		first := routes.Variants[0]
		return decision{}, RuleError{CodeTargetInUse, t.Name.String() + " runs " +
			VersionName(v, events.VersionID{ModelID: first.ModelID, Version: first.Version}) + "; undeploy it first"}
	}
	return write(events.TargetRemoved{
		TargetID: t.ID, Environment: t.Name.Environment, Name: t.Name.Name, Reason: events.Plain(cmd.Deletion.Reason),
	})
}

func (cmd *RemoveTarget) etag(v projections.View) (uint64, bool) { return targetETag(v, cmd.Target) }

// FindTarget finds a target by its name. It fails with NotFoundError. The sequence is
// the one for the target's ETag.
func FindTarget(v projections.View, name projections.TargetName) (*projections.Target, uint64, error) {
	t, sequence, ok := v.Target(name)
	if !ok {
		return nil, 0, NotFoundError{What: CodeTargetNotFound, Name: name.String(), Hint: "define it first"}
	}
	return t, sequence, nil
}

func targetETag(v projections.View, name projections.TargetName) (uint64, bool) {
	_, sequence, ok := v.Target(name)
	return sequence, ok
}

func targetResource(t *projections.Target) events.Resource {
	return events.Resource{Root: events.Root{Kind: events.TargetRoot, ID: t.ID}}
}
