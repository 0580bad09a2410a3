package handlers

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// MaxStages is how many stages a lifecycle may have.
const MaxStages = 64

// LifecycleSpec describes a lifecycle.
type LifecycleSpec struct {
	Stages  []string `json:"stages,omitempty"` // from first to last
	Archive string   `json:"archive"`          // one of them, not the first
	// Transitions are those that are allowed, as from and to; any if absent.
	Transitions [][2]string `json:"transitions,omitempty"`
	Exclusive   []string    `json:"exclusive,omitempty"` // stages that hold one version only
	Reason      string      `json:"reason,omitempty"`
}

// ChangeLifecycle asks for another lifecycle of a model.
type ChangeLifecycle struct {
	Model string        `json:"model"`
	Spec  LifecycleSpec `json:"spec"`
}

// Kind names the command.
func (*ChangeLifecycle) Kind() string { return "change_lifecycle" }

func (cmd *ChangeLifecycle) check() error {
	var c checker
	s := &cmd.Spec
	if len(s.Stages) < 2 {
		c.fail("/stages", "min_items", "must have two stages at least: the first and the archive")
	}
	c.count("/stages", len(s.Stages), MaxStages)
	for i, name := range s.Stages {
		at := fmt.Sprintf("/stages/%d", i)
		s.Stages[i] = NormalName(name)
		c.stage(at, s.Stages[i])
		if slices.ContainsFunc(s.Stages[:i], func(o string) bool { return strings.EqualFold(o, s.Stages[i]) }) {
			c.fail(at, "unique", "%q is there twice, ignoring case", name)
		}
	}
	s.Archive = NormalName(s.Archive)
	if i := slices.Index(s.Stages, s.Archive); i < 1 {
		c.fail("/archive", "stage", "must be one of the stages, and not the first")
	}
	for i, t := range s.Transitions {
		if !slices.Contains(s.Stages, t[0]) || !slices.Contains(s.Stages, t[1]) || t[0] == t[1] {
			c.fail(fmt.Sprintf("/transitions/%d", i), "stage", "must name two of the stages")
		}
	}
	for i, name := range s.Exclusive {
		if j := slices.Index(s.Stages, name); j < 1 || name == s.Archive {
			c.fail(fmt.Sprintf("/exclusive/%d", i), "active_stage", "must be one of the stages in use: neither the first nor the archive")
		}
	}
	c.count("/transitions", len(s.Transitions), MaxStages*MaxStages)
	c.count("/exclusive", len(s.Exclusive), MaxStages)
	c.length("/reason", s.Reason, MaxReason)
	return c.err()
}

// stage checks a stage's name, which must not look like another reference.
func (c *checker) stage(pointer, s string) {
	first, _ := utf8.DecodeRuneInString(s)
	switch {
	case !unicode.IsLetter(first):
		c.fail(pointer, "begins_with_letter", "must begin with a letter")
	case strings.EqualFold(s, "latest"):
		c.fail(pointer, "reserved", "must not be latest, which is reserved")
	case strings.ContainsAny(s, "/@"):
		c.fail(pointer, "no_slash_or_at", "must not contain / or @")
	}
	c.text(pointer, s, MaxShort)
}

func (cmd *ChangeLifecycle) decide(v projections.View, _ occasion) (decision, error) {
	m, _, err := FindModel(v, cmd.Model)
	if err != nil {
		return decision{}, err
	}
	s := cmd.Spec
	next := events.Lifecycle{Stages: s.Stages, Archive: s.Archive, Transitions: s.Transitions, Exclusive: s.Exclusive}
	if sameLifecycle(m.Lifecycle(), &next) {
		return alreadySo(modelResource(m))
	}
	for _, stage := range m.Lifecycle().Stages {
		held := holders(v, m, stage, 2)
		switch {
		case len(held) > 0 && !slices.Contains(next.Stages, stage):
			return decision{}, RuleError{CodeStageInUse, fmt.Sprintf("%s/%d is in %s, which would be no stage any more; move it first", m.Name, held[0], stage)}
		case len(held) > 1 && next.Holds(stage):
			return decision{}, RuleError{CodeStageInUse, fmt.Sprintf("%s/%d and %s/%d are in %s, which would hold one version only; move one first", m.Name, held[0], m.Name, held[1], stage)}
		}
	}
	return write(events.ModelLifecycleChanged{ModelID: m.ID, Lifecycle: next, Reason: events.Plain(s.Reason)})
}

// holders gives a stage's versions, so many at most, highest first.
func holders(v projections.View, m *projections.Model, stage string, limit int) []int {
	var numbers []int
	for number := range v.InStage(m.ID, stage) {
		if numbers = append(numbers, number); len(numbers) == limit {
			break
		}
	}
	return numbers
}

func sameLifecycle(a, b *events.Lifecycle) bool {
	return slices.Equal(a.Stages, b.Stages) && a.Archive == b.Archive &&
		slices.Equal(a.Transitions, b.Transitions) && slices.Equal(a.Exclusive, b.Exclusive)
}

func (cmd *ChangeLifecycle) etag(v projections.View) (uint64, bool) { return modelETag(v, cmd.Model) }
