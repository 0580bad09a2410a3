package events

import "github.com/oklog/ulid/v2"

var targetReaders = []kindReader{reads[TargetDefined](), reads[TargetDescribed](), reads[TargetRemoved]()}

// TargetDefined records a new target: a place that models are deployed to. Its
// id is that of the event that defined it.
type TargetDefined struct {
	TargetID    ulid.ULID `json:"target_id"`
	Environment string    `json:"environment"`
	Name        string    `json:"name"` // unique within the environment
	Description Text      `json:"description,omitzero"`
}

func (TargetDefined) kind() string { return "target.defined.v1" }

// Resource is the target.
func (e TargetDefined) Resource() Resource {
	return Resource{Root: Root{TargetRoot, e.TargetID}}
}

// Summary tells people what happened.
func (e TargetDefined) Summary() string { return "defined the target" }

// TargetDescribed records that a target has another description.
type TargetDescribed struct {
	TargetID    ulid.ULID `json:"target_id"`
	Description Text      `json:"description"`
}

func (TargetDescribed) kind() string { return "target.described.v1" }

// Resource is the target.
func (e TargetDescribed) Resource() Resource { return targetResource(e.TargetID) }

// Summary tells people what happened.
func (e TargetDescribed) Summary() string { return "changed the description" }

// TargetRemoved records that a target, on which nothing ran, is gone. Its name is
// free for another target.
type TargetRemoved struct {
	TargetID    ulid.ULID `json:"target_id"`
	Environment string    `json:"environment"` // that it had
	Name        string    `json:"name"`        // that it had
	Reason      Text      `json:"reason,omitzero"`
}

func (TargetRemoved) kind() string { return "target.removed.v1" }

// Resource is the target.
func (e TargetRemoved) Resource() Resource { return targetResource(e.TargetID) }

// Summary tells people what happened.
func (e TargetRemoved) Summary() string { return because("removed the target", e.Reason) }

func targetResource(id ulid.ULID) Resource { return Resource{Root: Root{TargetRoot, id}} }
