package handlers

import (
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// ModelSpec describes a new registered model.
type ModelSpec struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// RegisterModel asks for a new registered model.
type RegisterModel struct {
	Spec ModelSpec `json:"spec"`
}

// Kind names the command.
func (*RegisterModel) Kind() string { return "register_model" }

func (cmd *RegisterModel) check() error {
	var c checker
	cmd.Spec.Name = c.modelName("/name", cmd.Spec.Name)
	c.length("/description", cmd.Spec.Description, MaxDescription)
	c.tags(cmd.Spec.Tags)
	return c.err()
}

func (cmd *RegisterModel) decide(v projections.View, on occasion) (decision, error) {
	if _, _, ok := v.Model(cmd.Spec.Name); ok {
		return decision{}, ExistsError{CodeModelExists, "model " + cmd.Spec.Name, "register a version under it, or choose another name"}
	}
	return write(events.ModelRegistered{
		ModelID: on.id, Name: cmd.Spec.Name, Description: events.Plain(cmd.Spec.Description), Tags: cmd.Spec.Tags,
	})
}

func (cmd *RegisterModel) etag(v projections.View) (uint64, bool) { return modelETag(v, cmd.Spec.Name) }

// FindModel finds a model by its name, in whatever normal form that is. It
// fails with NotFoundError. The sequence is the one for the model's ETag.
func FindModel(v projections.View, name string) (*projections.Model, uint64, error) {
	m, sequence, ok := v.Model(NormalName(name))
	if !ok {
		return nil, 0, NotFoundError{What: CodeModelNotFound, Name: name}
	}
	return m, sequence, nil
}

func modelResource(m *projections.Model) events.Resource {
	return events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: m.ID}}
}

func modelETag(v projections.View, name string) (uint64, bool) {
	_, sequence, ok := v.Model(NormalName(name))
	return sequence, ok
}
