package mlflow

import (
	"errors"
	"net/http"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/filter"
	"github.com/modelog/modelog/projections"
)

var modelRoutes = []rpc{
	{http.MethodPost, "registered-models/create", []field{{name, true}, {tagList, false}, {description, false}, {jobID, false}}, createModel},
	{http.MethodPost, "registered-models/rename", []field{{name, true}, {newName, true}}, renameModel},
	{http.MethodPatch, "registered-models/update", []field{{name, true}, {description, false}, {jobID, false}}, updateModel},
	{http.MethodDelete, "registered-models/delete", []field{{name, true}}, deleteModel},
	{http.MethodGet, "registered-models/get", []field{{name, true}}, getModel},
	{http.MethodPost, "registered-models/get-latest-versions", latestSchema, latestVersions},
	{http.MethodGet, "registered-models/get-latest-versions", latestSchema, latestVersions},
}

var latestSchema = []field{{name, true}, {stageList, false}}

func createModel(c *call) (any, error) {
	p := &c.params
	if err := checkModelName(p.text[name]); err != nil {
		return nil, err
	}
	for _, t := range p.tags {
		if err := checkTag(t); err != nil {
			return nil, err
		}
	}
	tags := tagMap(p.tags)
	spec := handlers.ModelSpec{Name: p.text[name], Description: p.text[description], Tags: tags}
	v, resource, err := c.do(&handlers.RegisterModel{Spec: spec}, tags)
	if taken, ok := errors.AsType[handlers.ExistsError](err); ok && taken.What == handlers.CodeModelExists {
		return nil, c.nameTaken(tags)
	}
	if err != nil {
		return nil, err
	}
	return c.modelShown(v, resource.Root.ID)
}

// tagMap keeps the last of tags that have the same key. A copy of a deprecated
// version comes with the tags that say so; they aren't the copy's.
func tagMap(list []tag) map[string]string {
	if len(list) == 0 {
		return nil
	}
	tags := make(map[string]string, len(list))
	for _, t := range list {
		if !isReadOnly(t.Key) {
			tags[t.Key] = t.Value
		}
	}
	return tags
}

// nameTaken says whether a model or a prompt has the name that another one of them
// was to have.
func (c *call) nameTaken(tags map[string]string) error {
	what, by := "Registered Model", "Registered Model"
	if _, prompt := tags[filter.PromptTag]; prompt {
		what = "Prompt"
	}
	given := c.params.text[name]
	if m, _, err := handlers.FindModel(c.server.cfg.Runner.Now(), given); err == nil {
		if _, prompt := m.Tags()[filter.PromptTag]; prompt {
			by = "Prompt"
		}
	}
	if what == by {
		return refusal{handlers.CodeModelExists, what + " (name=" + given + ") already exists."}
	}
	return refusal{handlers.CodeModelExists, "Tried to create a " + lowered[what] + " with name " + pythonRepr(given) +
		", but the name is already taken by a " + lowered[by] +
		". MLflow does not allow creating a model and a prompt with the same name."}
}

var lowered = map[string]string{"Registered Model": "registered model", "Prompt": "prompt"}

func renameModel(c *call) (any, error) {
	p := &c.params
	if err := checkNewName(p.text[newName]); err != nil {
		return nil, err
	}
	if err := checkModelName(p.text[name]); err != nil {
		return nil, err
	}
	cmd := &handlers.RenameModel{Model: p.text[name], Renaming: handlers.Renaming{To: p.text[newName]}}
	v, resource, err := c.do(cmd, nil)
	if _, taken := errors.AsType[handlers.ExistsError](err); taken {
		return nil, refusal{handlers.CodeModelExists, "Registered Model (name=" + p.text[newName] + ") already exists."}
	}
	if err != nil {
		return nil, err
	}
	return c.modelShown(v, resource.Root.ID)
}

// updateModel clears a description that isn't given, as MLflow does.
func updateModel(c *call) (any, error) {
	p := &c.params
	if err := checkModelName(p.text[name]); err != nil {
		return nil, err
	}
	cmd := &handlers.DescribeModel{Model: p.text[name], Changes: handlers.Changes{Description: &p.text[description]}}
	v, resource, err := c.do(cmd, nil)
	if err != nil {
		return nil, err
	}
	return c.modelShown(v, resource.Root.ID)
}

// deleteModel takes everything along that belongs to the model, as MLflow does.
func deleteModel(c *call) (any, error) {
	if err := checkModelName(c.params.text[name]); err != nil {
		return nil, err
	}
	_, _, err := c.do(&handlers.DeleteModel{Model: c.params.text[name], Deletion: handlers.Deletion{Cascade: true}}, nil)
	return empty{}, err
}

// askedModel gives the model that a read is about, and the view that it is made on.
func (c *call) askedModel() (v projections.View, m *projections.Model, err error) {
	if err := checkModelName(c.params.text[name]); err != nil {
		return v, nil, err
	}
	if v, err = c.view(); err != nil {
		return v, nil, err
	}
	m, _, err = handlers.FindModel(v, c.params.text[name])
	return v, m, err
}

func getModel(c *call) (any, error) {
	v, m, err := c.askedModel()
	if err != nil {
		return nil, err
	}
	return modelAnswer{c.showModel(v, m)}, nil
}

// versionsAnswer is a list of versions, absent if there are none.
type versionsAnswer struct {
	Versions []modelVersion `json:"model_versions,omitempty"`
	Next     string         `json:"next_page_token,omitzero"`
}

func latestVersions(c *call) (any, error) {
	v, m, err := c.askedModel()
	if err != nil {
		return nil, err
	}
	stages := m.Lifecycle().Stages
	if len(c.params.stages) > 0 {
		if stages, err = canonicalStages(m.Lifecycle(), c.params.stages); err != nil {
			return nil, err
		}
	}
	return versionsAnswer{Versions: c.latest(v, m, stages, showAliases(v, m.ID))}, nil
}
