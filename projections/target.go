package projections

import (
	"iter"
	"strings"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// Target is a place that models are deployed to, as of a sequence. What runs
// there is in its RouteTable.
type Target struct {
	ID           ulid.ULID   `json:"id"`
	Name         TargetName  `json:"name"`
	Description  events.Text `json:"description,omitzero"`
	CreatedMilli int64       `json:"created_at"`
	CreatedBy    string      `json:"created_by,omitempty"` // principal
}

// CreatedAt is when the target was defined.
func (t *Target) CreatedAt() time.Time { return fromMilli(t.CreatedMilli) }

// TargetName is what people call a target.
type TargetName struct {
	Environment string `json:"environment"`
	Name        string `json:"name"`
}

func (n TargetName) compare(o TargetName) int {
	if c := strings.Compare(n.Environment, o.Environment); c != 0 {
		return c
	}
	return strings.Compare(n.Name, o.Name)
}

func (n TargetName) String() string { return n.Environment + "/" + n.Name }

func (s *State) targetDefined(c change, e events.TargetDefined) {
	name := TargetName{s.words.one(e.Environment), e.Name}
	s.targets.put(c.sequence, e.TargetID, &Target{
		ID: e.TargetID, Name: name, Description: e.Description, CreatedMilli: c.at, CreatedBy: c.by,
	})
	s.targetNames.put(c.sequence, name, e.TargetID)
}

func (s *State) targetDescribed(c change, e events.TargetDescribed) {
	if f, ok := s.targets.at(c.sequence, e.TargetID); ok {
		next := *f.value
		next.Description = e.Description
		s.targets.put(c.sequence, e.TargetID, &next)
	}
}

func (s *State) targetRemoved(c change, e events.TargetRemoved) {
	if f, ok := s.targets.at(c.sequence, e.TargetID); ok {
		s.targets.remove(c.sequence, e.TargetID)
		s.targetNames.remove(c.sequence, f.value.Name)
		s.routes.remove(c.sequence, e.TargetID)
	}
}

// Target finds a target by its name. The sequence is that of the last event
// that changed anything shown with it.
func (v View) Target(name TargetName) (t *Target, sequence uint64, ok bool) {
	id, ok := v.state.targetNames.get(v.Sequence, name)
	if !ok {
		return nil, 0, false
	}
	return v.TargetByID(id.value)
}

// TargetByID finds a target by its identity.
func (v View) TargetByID(id ulid.ULID) (t *Target, sequence uint64, ok bool) {
	f, ok := v.state.targets.get(v.Sequence, id)
	if !ok {
		return nil, 0, false
	}
	sequence = f.sequence
	if r, ok := v.state.routes.get(v.Sequence, id); ok {
		sequence = max(sequence, r.sequence)
		for _, variant := range r.value.Variants {
			sequence = max(sequence, v.renamed(variant.ModelID))
		}
	}
	return f.value, sequence, true
}

// TargetNameOf gives the name of a target, or the one of a target that is gone.
func (v View) TargetNameOf(id ulid.ULID) (TargetName, bool) {
	f, ok := v.state.targets.known(v.Sequence, id)
	if !ok {
		return TargetName{}, false
	}
	return f.value.Name, true
}

// Targets yields the targets by environment and name, from a name on.
func (v View) Targets(from TargetName) iter.Seq[*Target] {
	return func(yield func(*Target) bool) {
		for _, id := range v.state.targetNames.ascend(v.Sequence, from) {
			if t, _, ok := v.TargetByID(id); ok && !yield(t) {
				return
			}
		}
	}
}
