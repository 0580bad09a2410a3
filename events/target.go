package events

import "github.com/oklog/ulid/v2"

var targetReaders = []kindReader{reads[TargetDefined]()}

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
