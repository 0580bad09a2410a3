package events

import "github.com/oklog/ulid/v2"

var modelReaders = []kindReader{reads[ModelRegistered]()}

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
func (e ModelRegistered) Resource() Resource {
	return Resource{Root: Root{ModelRoot, e.ModelID}}
}

// Summary tells people what happened.
func (e ModelRegistered) Summary() string { return "registered the model" }
