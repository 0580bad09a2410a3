package events

import (
	"fmt"

	"github.com/oklog/ulid/v2"
)

var aliasReaders = []kindReader{reads[AliasAssigned](), reads[AliasRemoved]()}

// AliasAssigned records that an alias of a model now points at a version.
type AliasAssigned struct {
	ModelID ulid.ULID `json:"model_id"`
	Alias   string    `json:"alias"`
	From    int       `json:"from,omitzero"` // the version it pointed at before, absent for a new alias
	To      int       `json:"to"`
	Reason  Text      `json:"reason,omitzero"`
}

func (AliasAssigned) kind() string { return "alias.assigned.v1" }

// Resource is the alias.
func (e AliasAssigned) Resource() Resource {
	return Resource{Root: Root{ModelRoot, e.ModelID}, Alias: e.Alias}
}

// Summary tells people what happened.
func (e AliasAssigned) Summary() string {
	s := fmt.Sprintf("pointed @%s at %d", e.Alias, e.To)
	if e.From != 0 {
		s += fmt.Sprintf(" instead of %d", e.From)
	}
	return because(s, e.Reason)
}

// AliasRemoved records that an alias of a model is gone.
type AliasRemoved struct {
	ModelID ulid.ULID `json:"model_id"`
	Alias   string    `json:"alias"`
	From    int       `json:"from"` // the version it pointed at
	Reason  Text      `json:"reason,omitzero"`
}

func (AliasRemoved) kind() string { return "alias.removed.v1" }

// Resource is the alias.
func (e AliasRemoved) Resource() Resource {
	return Resource{Root: Root{ModelRoot, e.ModelID}, Alias: e.Alias}
}

// Summary tells people what happened.
func (e AliasRemoved) Summary() string {
	return because(fmt.Sprintf("removed @%s, which pointed at %d", e.Alias, e.From), e.Reason)
}
