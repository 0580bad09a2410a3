package events

import (
	"slices"
	"strings"
)

// Lifecycle says which stages a model's versions go through, and by which rules.
// It must not be changed once made.
type Lifecycle struct {
	Stages      []string    `json:"stages,omitempty"`      // from first to last; a new version is in the first
	Archive     string      `json:"archive"`               // the stage that takes displaced versions
	Transitions [][2]string `json:"transitions,omitempty"` // those that are allowed, as from and to; all if absent
	Exclusive   []string    `json:"exclusive,omitempty"`   // stages that hold one version only
}

// DefaultLifecycle is that of a model that has none of its own.
func DefaultLifecycle() *Lifecycle { return defaultLifecycle }

var defaultLifecycle = &Lifecycle{Stages: []string{"None", "Staging", "Production", "Archived"}, Archive: "Archived"}

// Stage finds a stage by its name, ignoring case, and gives its own spelling.
func (l *Lifecycle) Stage(name string) (string, bool) {
	i := slices.IndexFunc(l.Stages, func(s string) bool { return strings.EqualFold(s, name) })
	if i < 0 {
		return "", false
	}
	return l.Stages[i], true
}

// Initial is the stage of a new version.
func (l *Lifecycle) Initial() string { return l.Stages[0] }

// Active says whether a stage is one in use: neither the first nor the archive.
func (l *Lifecycle) Active(stage string) bool { return stage != l.Initial() && stage != l.Archive }

// Before says whether stage a comes before stage b.
func (l *Lifecycle) Before(a, b string) bool {
	return slices.Index(l.Stages, a) < slices.Index(l.Stages, b)
}

// Allows says whether a version may go from one stage to another.
func (l *Lifecycle) Allows(from, to string) bool {
	return len(l.Transitions) == 0 || slices.Contains(l.Transitions, [2]string{from, to})
}

// Holds says whether a stage holds one version only.
func (l *Lifecycle) Holds(stage string) bool { return slices.Contains(l.Exclusive, stage) }
