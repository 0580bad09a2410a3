package mlflow

import (
	"net/http"
	"slices"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/filter"
	"github.com/modelog/modelog/projections"
)

var versionRoutes = []rpc{
	{http.MethodPost, "model-versions/create", []field{
		{name, true}, {source, true}, {runID, false}, {tagList, false}, {runLink, false}, {description, false}, {modelID, false},
	}, createVersion},
	{http.MethodGet, "model-versions/get", oneVersion, getVersion},
	{http.MethodPatch, "model-versions/update", []field{{name, true}, {version, true}, {description, false}}, updateVersion},
	{http.MethodPost, "model-versions/transition-stage", []field{
		{name, true}, {version, true}, {stage, true}, {archiveExisting, false},
	}, transitionStage},
	{http.MethodDelete, "model-versions/delete", oneVersion, deleteVersion},
	{http.MethodGet, "model-versions/get-download-uri", []field{{name, false}, {version, false}}, downloadURI},
}

var oneVersion = []field{{name, true}, {version, true}}

func createVersion(c *call) (any, error) {
	p := &c.params
	spec, err := c.versionSource()
	if err != nil {
		return nil, err
	}
	if err := checkModelName(p.text[name]); err != nil {
		return nil, err
	}
	for _, t := range p.tags {
		if err := checkVersionTag(t); err != nil {
			return nil, err
		}
	}
	spec.Tags, spec.RunLink, spec.Description = tagMap(p.tags), p.text[runLink], p.text[description]
	v, resource, err := c.do(&handlers.RegisterVersion{Model: p.text[name], Spec: spec}, spec.Tags)
	if err != nil {
		return nil, err
	}
	return c.versionShown(v, events.VersionID{ModelID: resource.Root.ID, Version: resource.Version})
}

// isPrompt says whether tags make a prompt: the last of a key counts.
func isPrompt(list []tag) bool {
	prompt := false
	for _, t := range list {
		if t.Key == filter.PromptTag {
			prompt = strings.EqualFold(t.Value, "true")
		}
	}
	return prompt
}

// aboutVersion checks the name and the version that a request is about.
func (c *call) aboutVersion() (err error) {
	if err := checkModelName(c.params.text[name]); err != nil {
		return err
	}
	c.version, err = checkVersion(c.params.text[version])
	return err
}

// findVersion finds the version that a request is about.
func (c *call) findVersion(v projections.View) (events.VersionID, error) {
	if m, _, err := handlers.FindModel(v, c.params.text[name]); err == nil {
		id := events.VersionID{ModelID: m.ID, Version: number(c.version)}
		if _, _, ok := v.Version(id); ok {
			return id, nil
		}
	}
	return events.VersionID{}, versionNotFound(c.params.text[name], c.version)
}

// askedVersion gives the version that a read is about, and the view that it is made
// on.
func (c *call) askedVersion() (v projections.View, id events.VersionID, err error) {
	if err := c.aboutVersion(); err != nil {
		return v, id, err
	}
	if v, err = c.view(); err != nil {
		return v, id, err
	}
	id, err = c.findVersion(v)
	return v, id, err
}

func getVersion(c *call) (any, error) {
	v, id, err := c.askedVersion()
	if err != nil {
		return nil, err
	}
	return c.versionShown(v, id)
}

// ref is the version that a request is about, as a reference. One that has no such
// number becomes 0, which no version has.
func (c *call) ref() string {
	if number(c.version) == 0 {
		return "0"
	}
	return c.version
}

func updateVersion(c *call) (any, error) {
	if err := c.aboutVersion(); err != nil {
		return nil, err
	}
	changes := handlers.Changes{Description: &c.params.text[description]}
	return c.changeVersion(&handlers.DescribeVersion{Model: c.params.text[name], Ref: c.ref(), Changes: changes})
}

// changeVersion does what a command says, and shows the version.
func (c *call) changeVersion(cmd handlers.Command) (any, error) {
	v, resource, err := c.do(cmd, nil)
	if err != nil {
		return nil, err
	}
	return c.versionShown(v, events.VersionID{ModelID: resource.Root.ID, Version: resource.Version})
}

func transitionStage(c *call) (any, error) {
	p := &c.params
	// MLflow looks at the stage first, and a model may have stages of its own.
	lifecycle := events.DefaultLifecycle()
	if m, _, err := handlers.FindModel(c.server.cfg.Runner.Now(), p.text[name]); err == nil {
		lifecycle = m.Lifecycle()
	}
	to, err := canonicalStages(lifecycle, []string{p.text[stage]})
	if err != nil {
		return nil, err
	}
	if p.archive && !lifecycle.Active(to[0]) {
		return nil, invalid("Model version transition cannot archive existing model versions because '%s' is not an Active stage. "+
			"Valid stages are %s", p.text[stage], activeStages(lifecycle))
	}
	if err := c.aboutVersion(); err != nil {
		return nil, err
	}
	return c.changeVersion(&handlers.PromoteVersion{
		Model: p.text[name], Ref: c.ref(), Promotion: handlers.Promotion{To: to[0], ArchiveExisting: p.archive},
	})
}

// canonicalStages gives the model's own spelling of stages, in its own order.
func canonicalStages(lifecycle *events.Lifecycle, given []string) ([]string, error) {
	var stages []string
	for _, s := range given {
		canonical, ok := lifecycle.Stage(s)
		if !ok {
			return nil, invalid("Invalid Model Version stage: %s. Value must be one of %s.", clip(s), strings.Join(lifecycle.Stages, ", "))
		}
		stages = append(stages, canonical)
	}
	slices.SortFunc(stages, func(a, b string) int {
		return slices.Index(lifecycle.Stages, a) - slices.Index(lifecycle.Stages, b)
	})
	return slices.Compact(stages), nil
}

func activeStages(lifecycle *events.Lifecycle) string {
	var quoted []string
	for _, s := range lifecycle.Stages {
		if lifecycle.Active(s) {
			quoted = append(quoted, pythonRepr(s))
		}
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// deleteVersion takes the version's aliases along. One that is gone isn't found;
// the core would say that all is well.
func deleteVersion(c *call) (any, error) {
	if err := c.aboutVersion(); err != nil {
		return nil, err
	}
	if _, err := c.findVersion(c.server.cfg.Runner.Now()); err != nil {
		return nil, err
	}
	_, _, err := c.do(&handlers.DeleteVersion{
		Model: c.params.text[name], Ref: c.ref(), Deletion: handlers.Deletion{Cascade: true},
	}, nil)
	return empty{}, err
}

type uriAnswer struct {
	URI string `json:"artifact_uri"`
}

func downloadURI(c *call) (any, error) {
	v, id, err := c.askedVersion()
	if err != nil {
		return nil, err
	}
	return uriAnswer{whereFilesAre(v, id)}, nil
}
