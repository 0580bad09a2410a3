package mlflow

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/filter"
	"github.com/modelog/modelog/projections"
)

// A source says where a version's files are. It is stored, and never opened: the
// rules by which MLflow ties it to a run or a logged model guard a server that
// would read it, and need a tracking store. What remains of them is that no source
// may try to lead elsewhere than it says.

// promptSources are what MLflow's clients send for prompts, which have no files.
var promptSources = []string{"dummy-source", "prompt-template"}

// versionSource checks where a new version's files are, and what it is made from.
func (c *call) versionSource() (handlers.VersionSpec, error) {
	p := &c.params
	spec := handlers.VersionSpec{Source: p.text[source], RunID: p.text[runID], LoggedModel: p.text[modelID]}
	if isPrompt(p.tags) {
		if !slices.Contains(promptSources, spec.Source) {
			return spec, invalid("Invalid prompt source: '%s'. Prompt sources must use an MLflow placeholder.", clip(spec.Source))
		}
		return spec, nil
	}
	if len(spec.Source) > handlers.MaxSourceBytes { // before it is decoded again and again
		return spec, tooLong("source", handlers.MaxSourceBytes)
	}
	plain := unquoted(spec.Source)
	if leadsElsewhere(plain) {
		return spec, invalidPath(spec.Source)
	}
	uri := splitURI(spec.Source)
	switch uri.scheme {
	case "", "file":
		if c.server.cfg.DenyLocalSources {
			return spec, localDenied(spec)
		}
		return spec, nil
	case "models":
		if uri.host != "" {
			return spec, invalid("Invalid model version source: '%s'. Registered model sources must use the active model registry.", spec.Source)
		}
		return spec, c.fromModels(&spec, uri.path)
	}
	if p := normalPath(plain); p == "" || p[0] != '/' || path.Clean(p) != p {
		return spec, invalidPath(spec.Source)
	}
	return spec, nil
}

func invalidPath(source string) error {
	return invalid("Invalid model version source: '%s'. If supplying a source as an http, https, local file path, ftp, objectstore, "+
		"or mlflow-artifacts uri, an absolute path must be provided without relative path references present. "+
		"Please provide an absolute path.", clip(source))
}

func localDenied(spec handlers.VersionSpec) error {
	param, of := "run_id", "artifact directory of the run specified by the run_id"
	if spec.LoggedModel != "" {
		param, of = "model_id", "artifact directory of the run specified by the model_id"
	}
	return invalid("Invalid model version source: '%s'. To use a local path as a model version source, the %s request parameter "+
		"has to be specified and the local path has to be contained within the %s.", clip(spec.Source), param, of)
}

// unquoted undoes percent-encoding until there is none, so that nothing hides in
// layers of it.
func unquoted(s string) string {
	for {
		once := strings.ReplaceAll(s, "+", " ")
		if strings.Contains(once, "%") {
			once = unquoteOnce(once)
		}
		if once == s {
			return s
		}
		s = once
	}
}

func unquoteOnce(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func leadsElsewhere(plain string) bool {
	return strings.Contains(plain, "\x00") || slices.Contains(strings.Split(plain, "/"), "..")
}

// normalPath gives the path of a URI, with single slashes and none at its end.
func normalPath(plain string) string {
	p := splitURI(plain).path
	p, _, _ = strings.Cut(p, "#")
	p = strings.TrimRight(p, "/")
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	return p
}

type parts struct{ scheme, host, path string }

// splitURI takes a URI apart without a judgement on it. A fragment stays with the
// path.
func splitURI(s string) parts {
	var u parts
	rest := s
	if scheme, after, ok := strings.Cut(s, ":"); ok && isScheme(scheme) {
		u.scheme, rest = strings.ToLower(scheme), after
	}
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		end := strings.IndexAny(after, "/?#")
		if end < 0 {
			end = len(after)
		}
		u.host, rest = after[:end], after[end:]
	}
	u.path, _, _ = strings.Cut(rest, "?")
	return u
}

func isScheme(s string) bool {
	for i := range len(s) {
		letter := s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(s[i]))) {
			return false
		}
	}
	return s != ""
}

// fromModels fills in what is known of a models:/ source: a logged model by its id,
// or a version of this registry, in any of the forms that MLflow's clients know.
// That one is resolved now, for good.
func (c *call) fromModels(spec *handlers.VersionSpec, p string) error {
	of, ref, ok := splitModels(p)
	switch {
	case !ok:
		return notFromModels(spec.Source)
	case ref == "":
		if spec.LoggedModel == "" {
			spec.LoggedModel = of
		}
		return nil
	}
	v := c.server.cfg.Runner.Now()
	m, _, err := handlers.FindModel(v, of)
	if err != nil {
		return modelNotFound(of)
	}
	if strings.EqualFold(m.Tags()[filter.PromptTag], "true") {
		return invalid("Invalid model version source: '%s'. Prompt versions cannot be used as model version sources.", spec.Source)
	}
	id, err := resolve(v, m, ref)
	if err != nil {
		return err
	}
	base, _ := v.Registration(id)
	if (c.params.given[runID] && spec.RunID != base.RunID) || (c.params.given[modelID] && spec.LoggedModel != base.LoggedModel) {
		return invalid("Invalid model version source: '%s'. The run_id and model_id request parameters must match the "+
			"referenced model version.", spec.Source)
	}
	spec.RunID, spec.LoggedModel = base.RunID, base.LoggedModel
	spec.BaseModel = m.Name + "/" + strconv.Itoa(id.Version)
	spec.Source = "models:/" + spec.BaseModel
	return nil
}

func notFromModels(source string) error {
	return invalid("Invalid model version source: '%s'. The model_id request parameter must identify the resource that contains "+
		"the source.", clip(source))
}

// splitModels takes the path of a models:/ source apart: the model's name and a
// reference, or the id of a logged model without one. The reference of an alias
// keeps its @.
func splitModels(p string) (of, ref string, ok bool) {
	if !strings.HasPrefix(p, "/") {
		return "", "", false
	}
	of, ref, isPath := strings.Cut(strings.TrimLeft(p, "/"), "/")
	if strings.TrimSpace(of) == "" || strings.Contains(ref, "/") {
		return "", "", false
	}
	if isPath {
		return of, ref, strings.TrimSpace(ref) != ""
	}
	if at := strings.LastIndex(of, "@"); at >= 0 {
		return of[:at], of[at:], strings.TrimSpace(of[at+1:]) != ""
	}
	return of, "", true
}

// resolve finds the version that a source means: a number, latest, a stage, or an
// alias after an @.
func resolve(v projections.View, m *projections.Model, ref string) (events.VersionID, error) {
	id := events.VersionID{ModelID: m.ID}
	missing := func(text string) error { return refusal{handlers.CodeVersionNotFound, text} }
	switch alias, isAlias := strings.CutPrefix(ref, "@"); {
	case isAlias:
		if id.Version, _, _ = v.Alias(m.ID, handlers.NormalName(alias)); isLatest(alias) {
			id.Version = m.LatestVersion
		}
		if id.Version == 0 {
			return id, invalid("Registered model alias %s not found.", clip(alias))
		}
	case isLatest(ref):
		if id.Version = m.LatestVersion; id.Version == 0 {
			return id, missing("No versions of model with name '" + m.Name + "' found")
		}
	case strings.Trim(ref, "0123456789") == "":
		id.Version = number(ref)
		if _, _, ok := v.Version(id); !ok {
			return id, versionNotFound(m.Name, ref)
		}
	default:
		stages, err := canonicalStages(m.Lifecycle(), []string{ref})
		if err != nil {
			return id, err
		}
		for id.Version = range v.InStage(m.ID, stages[0]) {
			return id, nil
		}
		return id, missing("No versions of model with name '" + m.Name + "' and stage '" + stages[0] + "' found")
	}
	return id, nil
}

// whereFilesAre follows copies to the version that was not copied: its source is
// where they all have their files. What was registered stays, whatever is deleted.
func whereFilesAre(v projections.View, id events.VersionID) string {
	for {
		r, ok := v.Registration(id)
		if !ok {
			return ""
		}
		if r.BaseModel == nil || !strings.HasPrefix(r.Source, "models:/") {
			return r.Source
		}
		id = *r.BaseModel // registered before, so that this comes to an end
	}
}
