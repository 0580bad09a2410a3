package projections

import (
	"iter"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// Model is a registered model as of a sequence.
type Model struct {
	ID            ulid.ULID         `json:"id"`
	Name          string            `json:"name"`
	Description   events.Text       `json:"description,omitzero"`
	Tags          map[string]string `json:"tags,omitempty"`
	LatestVersion int               `json:"latest_version"` // the highest number that is there, 0 for none
	LastVersion   int               `json:"last_version"`   // the highest number ever given, 0 for none
	CreatedMilli  int64             `json:"created_at"`
	UpdatedMilli  int64             `json:"updated_at"`
	CreatedBy     string            `json:"created_by,omitempty"` // principal
}

// CreatedAt is when the model was registered.
func (m *Model) CreatedAt() time.Time { return fromMilli(m.CreatedMilli) }

// UpdatedAt is when the model, or a version of it, last changed.
func (m *Model) UpdatedAt() time.Time { return fromMilli(m.UpdatedMilli) }

// Lifecycle gives the model's stages and their rules.
func (m *Model) Lifecycle() Lifecycle { return defaultLifecycle }

func (s *State) modelRegistered(c change, e events.ModelRegistered) {
	s.models.put(c.sequence, e.ModelID, &Model{
		ID: e.ModelID, Name: e.Name, Description: e.Description, Tags: e.Tags,
		CreatedMilli: c.at, UpdatedMilli: c.at, CreatedBy: c.by,
	})
	s.modelNames.put(c.sequence, e.Name, e.ModelID)
}

// reviseModel changes a copy of a model; without an edit it only notes that
// something changed which is shown with the model.
func (s *State) reviseModel(c change, id ulid.ULID, edit func(*Model)) {
	f, ok := s.models.at(c.sequence, id)
	if !ok {
		return
	}
	m := f.value
	if edit != nil {
		next := *m
		edit(&next)
		m = &next
	}
	s.models.put(c.sequence, id, m)
}

// Model finds a model by its name. The sequence is that of the last event that
// changed anything shown with it.
func (v View) Model(name string) (m *Model, sequence uint64, ok bool) {
	id, ok := v.state.modelNames.get(v.Sequence, name)
	if !ok {
		return nil, 0, false
	}
	return v.ModelByID(id.value)
}

// ModelByID finds a model by its identity.
func (v View) ModelByID(id ulid.ULID) (m *Model, sequence uint64, ok bool) {
	f, ok := v.state.models.get(v.Sequence, id)
	return f.value, f.sequence, ok
}

// Models yields the models by name, from a name on.
func (v View) Models(from string) iter.Seq[*Model] {
	return func(yield func(*Model) bool) {
		for _, id := range v.state.modelNames.ascend(v.Sequence, from) {
			if m, _, ok := v.ModelByID(id); ok && !yield(m) {
				return
			}
		}
	}
}
