package api

import (
	"net/http"
	"strconv"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/filter"
	"github.com/modelog/modelog/projections"
)

// ModelList is a page of models, by name.
type ModelList struct {
	Models     []Model `json:"models"`
	NextCursor string  `json:"next_cursor,omitempty"` // absent on the last page
}

func modelRoutes() []endpoint {
	return []endpoint{
		write(http.MethodPost, "/v1/models", "registerModel", "Register a model", http.StatusCreated,
			func(_ *call, spec handlers.ModelSpec) (handlers.Command, error) {
				return &handlers.RegisterModel{Spec: spec}, nil
			}, renderModel),
		read("/v1/models", "listModels", "List the models, by name", filtered("tags.team = 'risk'"), listModels),
		read("/v1/models/{model}", "getModel", "Get a model", nil,
			func(c *call, v projections.View) (answer[Model], error) {
				m, sequence, err := handlers.FindModel(v, c.r.PathValue("model"))
				if err != nil {
					return answer[Model]{}, err
				}
				return answer[Model]{value: showModel(v, m, sequence), etag: sequence}, nil
			}),
		write(http.MethodPatch, "/v1/models/{model}", "describeModel", "Change a model's description and tags", http.StatusOK,
			func(c *call, body Patch) (handlers.Command, error) {
				return &handlers.DescribeModel{Model: c.r.PathValue("model"), Changes: body.changes()}, nil
			}, renderModel),
		remove("/v1/models/{model}", "deleteModel", "Delete a model with all of its versions", []parameter{cascadeQuery, reasonQuery},
			func(c *call) (handlers.Command, error) {
				d, err := c.deletion()
				return &handlers.DeleteModel{Model: c.r.PathValue("model"), Deletion: d}, err
			}),
		write(http.MethodPost, "/v1/models/{model}/rename", "renameModel", "Give a model another name", http.StatusOK,
			func(c *call, body handlers.Renaming) (handlers.Command, error) {
				return &handlers.RenameModel{Model: c.r.PathValue("model"), Renaming: body}, nil
			}, renderModel),
		write(http.MethodPut, "/v1/models/{model}/lifecycle", "changeLifecycle", "Give a model another lifecycle", http.StatusOK,
			func(c *call, body lifecycleBody) (handlers.Command, error) {
				return &handlers.ChangeLifecycle{Model: c.r.PathValue("model"), Spec: body.spec()}, nil
			}, renderModel),
		remove("/v1/models/{model}/aliases/{alias}", "removeAlias", "Remove an alias",
			[]parameter{{"if_version", "integer", "The version that the alias must point at now"}, reasonQuery}, removeAlias),
		write(http.MethodPut, "/v1/models/{model}/aliases/{alias}", "assignAlias", "Point an alias at a version", http.StatusOK,
			func(c *call, body handlers.Assignment) (handlers.Command, error) {
				return &handlers.AssignAlias{Model: c.r.PathValue("model"), Alias: c.r.PathValue("alias"), Assignment: body}, nil
			}, renderAlias),
	}
}

// lifecycleBody is a lifecycle as it is shown, with a reason.
type lifecycleBody struct {
	Stages      []string    `json:"stages"`
	Archive     string      `json:"archive"`
	Transitions Transitions `json:"transitions,omitzero"`
	Exclusive   []string    `json:"exclusive,omitempty"`
	Reason      string      `json:"reason,omitempty"`
}

func (b lifecycleBody) spec() handlers.LifecycleSpec {
	return handlers.LifecycleSpec{
		Stages: b.Stages, Archive: b.Archive, Transitions: b.Transitions, Exclusive: b.Exclusive, Reason: b.Reason,
	}
}

func removeAlias(c *call) (handlers.Command, error) {
	cmd := &handlers.RemoveAlias{Model: c.r.PathValue("model"), Alias: c.r.PathValue("alias"), Reason: c.query.Get("reason")}
	if c.query.Has("if_version") {
		version, err := strconv.ParseUint(c.query.Get("if_version"), 10, 63)
		if err != nil {
			return nil, handlers.InvalidField("if_version", "type", "must be a version number")
		}
		cmd.IfVersion = &version
	}
	return cmd, nil
}

func renderModel(_ *call, v projections.View, r events.Resource) (answer[Model], error) {
	m, sequence, ok := v.ModelByID(r.Root.ID)
	if !ok {
		return answer[Model]{}, handlers.NotFoundError{What: handlers.CodeModelNotFound, Name: r.Root.ID.String()}
	}
	return answer[Model]{value: showModel(v, m, sequence), etag: sequence}, nil
}

func renderAlias(_ *call, v projections.View, r events.Resource) (answer[Alias], error) {
	m, _, ok := v.ModelByID(r.Root.ID)
	version, sequence, assigned := v.Alias(r.Root.ID, r.Alias)
	if !ok || !assigned {
		return answer[Alias]{}, handlers.NotFoundError{What: handlers.CodeVersionNotFound, Name: "@" + r.Alias}
	}
	return answer[Alias]{value: Alias{m.Name, m.ID.String(), r.Alias, version, sequence}, etag: sequence}, nil
}

func listModels(c *call, v projections.View) (answer[ModelList], error) {
	page, v, err := c.page(v)
	if err != nil {
		return answer[ModelList]{}, err
	}
	s, err := c.sieve(filter.Models)
	if err != nil {
		return answer[ModelList]{}, err
	}
	list := ModelList{Models: []Model{}}
	for m := range v.Models(page.from()) {
		passes, err := s.passes(modelEntry{s, m})
		if err != nil {
			return answer[ModelList]{}, err
		}
		if !passes || page.skip(m.Name) {
			continue
		}
		if page.full(len(list.Models)) {
			list.NextCursor = page.next(list.Models[len(list.Models)-1].Name)
			break
		}
		_, sequence, _ := v.ModelByID(m.ID)
		list.Models = append(list.Models, showModel(v, m, sequence))
	}
	return answer[ModelList]{value: list}, nil
}

// VersionList is a page of a model's versions, newest first.
type VersionList struct {
	Versions   []VersionSummary `json:"versions"`
	NextCursor string           `json:"next_cursor,omitempty"` // absent on the last page
}

func versionRoutes() []endpoint {
	return []endpoint{
		write(http.MethodPost, "/v1/models/{model}/versions", "registerVersion", "Register a version of a model", http.StatusCreated,
			func(c *call, spec handlers.VersionSpec) (handlers.Command, error) {
				return &handlers.RegisterVersion{Model: c.r.PathValue("model"), Spec: spec}, nil
			}, renderVersion),
		read("/v1/models/{model}/versions", "listVersions", "List a model's versions, newest first", filtered("run_id = 'b1946ac9'"), listVersions),
		read("/v1/models/{model}/versions/{ref}", "getVersion", "Get a version by number, semantic version or range, stage, latest or @alias", nil,
			func(c *call, v projections.View) (answer[Version], error) {
				m, _, err := handlers.FindModel(v, c.r.PathValue("model"))
				if err != nil {
					return answer[Version]{}, err
				}
				id, err := handlers.Resolve(v, m, c.r.PathValue("ref"))
				if err != nil {
					return answer[Version]{}, err
				}
				return cachedAnswer(c, v, id)
			}),
		write(http.MethodPost, "/v1/models/{model}/versions/{ref}/promote", "promoteVersion", "Move a version to another stage", http.StatusOK,
			func(c *call, body handlers.Promotion) (handlers.Command, error) {
				return &handlers.PromoteVersion{Model: c.r.PathValue("model"), Ref: c.r.PathValue("ref"), Promotion: body}, nil
			}, renderVersion),
		write(http.MethodPatch, "/v1/models/{model}/versions/{ref}", "describeVersion", "Change a version's description and tags", http.StatusOK,
			func(c *call, body Patch) (handlers.Command, error) {
				return &handlers.DescribeVersion{Model: c.r.PathValue("model"), Ref: c.r.PathValue("ref"), Changes: body.changes()}, nil
			}, renderVersion),
		write(http.MethodPost, "/v1/models/{model}/versions/{ref}/deprecate", "deprecateVersion", "Say that a version should not be used any more", http.StatusOK,
			func(c *call, body handlers.Deprecation) (handlers.Command, error) {
				return &handlers.DeprecateVersion{Model: c.r.PathValue("model"), Ref: c.r.PathValue("ref"), Deprecation: body}, nil
			}, renderVersion),
		write(http.MethodPost, "/v1/models/{model}/versions/{ref}/restore", "restoreVersion", "Undo a deprecation", http.StatusOK,
			func(c *call, body handlers.Restoration) (handlers.Command, error) {
				return &handlers.RestoreVersion{Model: c.r.PathValue("model"), Ref: c.r.PathValue("ref"), Restoration: body}, nil
			}, renderVersion),
		remove("/v1/models/{model}/versions/{ref}", "deleteVersion", "Delete a version", []parameter{cascadeQuery, reasonQuery},
			func(c *call) (handlers.Command, error) {
				d, err := c.deletion()
				return &handlers.DeleteVersion{Model: c.r.PathValue("model"), Ref: c.r.PathValue("ref"), Deletion: d}, err
			}),
	}
}

func renderVersion(c *call, v projections.View, r events.Resource) (answer[Version], error) {
	return showAnswer(c, v, events.VersionID{ModelID: r.Root.ID, Version: r.Version})
}

func showAnswer(c *call, v projections.View, id events.VersionID) (answer[Version], error) {
	if e, ok := c.wrote.Data.(events.VersionRegistered); ok {
		shown, err := showRegistered(v, c.wrote, e)
		return answer[Version]{value: shown, etag: shown.Sequence}, err
	}
	shown, err := c.showVersion(v, id)
	c.warn(v, id)
	return answer[Version]{value: shown, etag: shown.Sequence}, err
}

func listVersions(c *call, v projections.View) (answer[VersionList], error) {
	page, v, err := c.page(v)
	if err != nil {
		return answer[VersionList]{}, err
	}
	m, _, err := handlers.FindModel(v, c.r.PathValue("model"))
	if err != nil {
		return answer[VersionList]{}, err
	}
	from := m.LastVersion
	if page.Last != "" {
		if from, err = strconv.Atoi(page.Last); err != nil {
			return answer[VersionList]{}, errCursor
		}
		from--
	}
	sieve, err := c.sieve(filter.Versions)
	if err != nil {
		return answer[VersionList]{}, err
	}
	list := VersionList{Versions: []VersionSummary{}}
	for version := range v.Versions(m.ID, from) {
		passes, err := sieve.passes(versionEntry{modelEntry{sieve, m}, v, version})
		if err != nil {
			return answer[VersionList]{}, err
		}
		if !passes {
			continue
		}
		if page.full(len(list.Versions)) {
			list.NextCursor = page.next(strconv.Itoa(list.Versions[len(list.Versions)-1].Version))
			break
		}
		s, _, err := summarize(v, version.ID)
		if err != nil {
			return answer[VersionList]{}, err
		}
		list.Versions = append(list.Versions, s)
	}
	return answer[VersionList]{value: list}, nil
}
