package events

import (
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"
)

var modelReaders = []kindReader{
	reads[ModelRegistered](), reads[ModelDescribed](), reads[ModelRenamed](), reads[ModelLifecycleChanged](), reads[ModelDeleted](),
}

// ModelRegistered records a new registered model. Its id is that of the event
// that registered it; its name can change and can be used again.
type ModelRegistered struct {
	ModelID     ulid.ULID         `json:"model_id"`
	Name        string            `json:"name"` // NFC, see interface.md
	Description Text              `json:"description,omitzero"`
	Tags        map[string]string `json:"tags,omitempty"`
}

func (ModelRegistered) kind() string { return "model.registered.v1" }

// Resource is the model.
func (e ModelRegistered) Resource() Resource { return modelResource(e.ModelID) }

// Summary tells people what happened.
func (e ModelRegistered) Summary() string { return "registered the model" }

// ModelDescribed records a change of a model's description or tags. What it
// doesn't name stays as it was.
type ModelDescribed struct {
	ModelID     ulid.ULID         `json:"model_id"`
	Description *Text             `json:"description,omitempty"`  // the new one, absent if it stays
	Tags        map[string]string `json:"tags,omitempty"`         // set, or set anew
	RemovedTags []string          `json:"removed_tags,omitempty"` // sorted
}

func (ModelDescribed) kind() string { return "model.described.v1" }

// Resource is the model.
func (e ModelDescribed) Resource() Resource { return modelResource(e.ModelID) }

// Summary tells people what happened.
func (e ModelDescribed) Summary() string { return described(e.Description, e.Tags, e.RemovedTags) }

// ModelRenamed records that a model has another name. Its history stays its own;
// the old name is free.
type ModelRenamed struct {
	ModelID ulid.ULID `json:"model_id"`
	From    string    `json:"from"`
	To      string    `json:"to"` // NFC
	Reason  Text      `json:"reason,omitzero"`
}

func (ModelRenamed) kind() string { return "model.renamed.v1" }

// Resource is the model.
func (e ModelRenamed) Resource() Resource { return modelResource(e.ModelID) }

// Summary tells people what happened.
func (e ModelRenamed) Summary() string {
	return because(fmt.Sprintf("renamed from %q to %q", e.From, e.To), e.Reason)
}

// ModelLifecycleChanged records that a model's versions go through other stages
// from now on, or by other rules.
type ModelLifecycleChanged struct {
	ModelID   ulid.ULID `json:"model_id"`
	Lifecycle Lifecycle `json:"lifecycle"`
	Reason    Text      `json:"reason,omitzero"`
}

func (ModelLifecycleChanged) kind() string { return "model.lifecycle_changed.v1" }

// Resource is the model.
func (e ModelLifecycleChanged) Resource() Resource { return modelResource(e.ModelID) }

// Summary tells people what happened.
func (e ModelLifecycleChanged) Summary() string {
	return because("changed the lifecycle to "+strings.Join(e.Lifecycle.Stages, ", "), e.Reason)
}

// ModelDeleted records that a model is gone, with all of its versions and
// aliases. The log keeps all of it; the name is free for another model.
type ModelDeleted struct {
	ModelID  ulid.ULID `json:"model_id"`
	Name     string    `json:"name"`     // that it had
	Versions int       `json:"versions"` // how many went with it
	Aliases  int       `json:"aliases"`  // how many went with it
	Reason   Text      `json:"reason,omitzero"`
}

func (ModelDeleted) kind() string { return "model.deleted.v1" }

// Resource is the model.
func (e ModelDeleted) Resource() Resource { return modelResource(e.ModelID) }

// Summary tells people what happened.
func (e ModelDeleted) Summary() string {
	return because("deleted the model with "+count(e.Versions, "version"), e.Reason)
}

func modelResource(id ulid.ULID) Resource { return Resource{Root: Root{ModelRoot, id}} }

// described spells a change of a description and tags.
func described(description *Text, tags map[string]string, removed []string) string {
	var parts []string
	if description != nil {
		parts = append(parts, "changed the description")
	}
	if len(tags) > 0 {
		parts = append(parts, "set "+count(len(tags), "tag"))
	}
	if len(removed) > 0 {
		parts = append(parts, "removed "+count(len(removed), "tag"))
	}
	return strings.Join(parts, ", ")
}
