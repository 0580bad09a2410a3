package projections

import (
	"slices"
	"strings"
)

// Lifecycle says which stages a model's versions go through.
type Lifecycle struct {
	Stages      []string `json:"stages"`      // from first to last; a new version is in the first
	Archive     string   `json:"archive"`     // the stage that takes displaced versions
	Transitions string   `json:"transitions"` // "any"
	Exclusive   []string `json:"exclusive"`   // stages that hold one version only
}

var defaultLifecycle = Lifecycle{
	Stages:      []string{"None", "Staging", "Production", "Archived"},
	Archive:     "Archived",
	Transitions: "any",
	Exclusive:   []string{},
}

// Stage finds a stage by its name, ignoring case, and gives its own spelling.
func (l Lifecycle) Stage(name string) (string, bool) {
	i := slices.IndexFunc(l.Stages, func(s string) bool { return strings.EqualFold(s, name) })
	if i < 0 {
		return "", false
	}
	return l.Stages[i], true
}

// Initial is the stage of a new version.
func (l Lifecycle) Initial() string { return l.Stages[0] }

// Active says whether a stage is one in use: neither the first nor the archive.
func (l Lifecycle) Active(stage string) bool { return stage != l.Initial() && stage != l.Archive }

// Before says whether stage a comes before stage b.
func (l Lifecycle) Before(a, b string) bool {
	return slices.Index(l.Stages, a) < slices.Index(l.Stages, b)
}
