package projections

import (
	"bytes"
	"iter"
	"maps"
	"reflect"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// Model is a registered model as of a sequence.
type Model struct {
	ID            ulid.ULID         `json:"id"`
	Name          string            `json:"name"`
	Description   events.Text       `json:"description,omitzero"`
	PackedTags    []byte            `json:"tags,omitempty"`
	LatestVersion int               `json:"latest_version"` // the highest number that is there, 0 for none
	LastVersion   int               `json:"last_version"`   // the highest number ever given, 0 for none
	LiveVersions  int               `json:"live_versions"`  // how many are there
	CreatedMilli  int64             `json:"created_at"`
	UpdatedMilli  int64             `json:"updated_at"`
	CreatedBy     string            `json:"created_by,omitempty"` // principal
	OwnLifecycle  *events.Lifecycle `json:"lifecycle,omitempty"`  // nil for the default one
	Renamed       uint64            `json:"renamed,omitzero"`     // sequence of the last renaming, 0 for none
	RenamedMilli  int64             `json:"renamed_at,omitzero"`  // and when that was
}

// Tags gives the model's tags, nil for none.
func (m *Model) Tags() map[string]string { return unpackTags(m.PackedTags) }

// CreatedAt is when the model was registered.
func (m *Model) CreatedAt() time.Time { return fromMilli(m.CreatedMilli) }

// UpdatedAt is when the model itself last changed, or a version of it came, went
// or moved to another stage. Tags and aliases don't count, as MLflow has it.
func (m *Model) UpdatedAt() time.Time { return fromMilli(m.UpdatedMilli) }

// Lifecycle gives the model's stages and their rules.
func (m *Model) Lifecycle() *events.Lifecycle {
	if m.OwnLifecycle != nil {
		return m.OwnLifecycle
	}
	return events.DefaultLifecycle()
}

func (s *State) modelRegistered(c change, e events.ModelRegistered) {
	s.models.put(c.sequence, e.ModelID, &Model{
		ID: e.ModelID, Name: e.Name, Description: e.Description, PackedTags: packTags(e.Tags),
		CreatedMilli: c.at, UpdatedMilli: c.at, CreatedBy: c.by,
	})
	s.modelNames.put(c.sequence, e.Name, e.ModelID)
}

func (s *State) modelDescribed(c change, e events.ModelDescribed) {
	s.reviseModel(c, e.ModelID, func(m *Model) {
		m.Description = changedText(m.Description, e.Description)
		m.PackedTags = changedTags(m.PackedTags, e.Tags, e.RemovedTags)
		if e.Description != nil {
			m.UpdatedMilli = c.at
		}
	})
}

func (s *State) modelRenamed(c change, e events.ModelRenamed) {
	s.modelNames.remove(c.sequence, e.From)
	s.modelNames.put(c.sequence, e.To, e.ModelID)
	s.reviseModel(c, e.ModelID, func(m *Model) {
		m.Name, m.UpdatedMilli = e.To, c.at
		m.Renamed, m.RenamedMilli = c.sequence, c.at
	})
	s.updates.all(c.sequence, e.ModelID)
}

func (s *State) modelLifecycleChanged(c change, e events.ModelLifecycleChanged) {
	s.reviseModel(c, e.ModelID, func(m *Model) { m.OwnLifecycle, m.UpdatedMilli = &e.Lifecycle, c.at })
}

// modelDeleted takes along everything that can be found under the model. What
// was registered of its versions stays: it is a fact.
func (s *State) modelDeleted(c change, e events.ModelDeleted) {
	f, ok := s.models.at(c.sequence, e.ModelID)
	if !ok {
		return
	}
	s.models.remove(c.sequence, e.ModelID)
	s.modelNames.remove(c.sequence, f.value.Name)
	s.versions.removeAll(c.sequence, events.VersionID{ModelID: e.ModelID}, func(k events.VersionID) bool { return k.ModelID == e.ModelID })
	s.stages.removeAll(c.sequence, stageKey{ModelID: e.ModelID}, func(k stageKey) bool { return k.ModelID == e.ModelID })
	s.aliases.removeAll(c.sequence, aliasKey{ModelID: e.ModelID}, func(k aliasKey) bool { return k.ModelID == e.ModelID })
	s.versionAliases.removeAll(c.sequence, versionAliasKey{Version: events.VersionID{ModelID: e.ModelID}},
		func(k versionAliasKey) bool { return k.Version.ModelID == e.ModelID })
}

func changedText(old events.Text, change *events.Text) events.Text {
	if change == nil {
		return old
	}
	return *change
}

func changedTags(old []byte, set map[string]string, removed []string) []byte {
	tags := unpackTags(old)
	if tags == nil {
		tags = map[string]string{}
	}
	maps.Copy(tags, set)
	for _, k := range removed {
		delete(tags, k)
	}
	return packTags(tags)
}

// packTags keeps tags as canonical msgpack, which takes a fifth of a map's room,
// and nil for none.
func packTags(tags map[string]string) []byte {
	if len(tags) == 0 {
		return nil
	}
	packed, err := events.AppendCanonical(nil, tags)
	if err != nil { // what was decoded from the log, or decided from valid input, has a form
		return nil
	}
	return packed
}

func unpackTags(packed []byte) (tags map[string]string) {
	if packed == nil {
		return nil
	}
	if err := events.ReadCanonical(packed, &tags); err != nil { // packTags wrote it
		return nil
	}
	return tags
}

// share makes a model that nobody has seen yet share what it can.
func (m *Model) share(w words, before *Model) {
	m.CreatedBy = w.one(m.CreatedBy)
	if before == nil {
		return
	}
	if m.Name == before.Name {
		m.Name = before.Name
	}
	m.Description, m.PackedTags = sharedText(m.Description, before.Description), sharedBytes(m.PackedTags, before.PackedTags)
	if m.OwnLifecycle != nil && reflect.DeepEqual(m.OwnLifecycle, before.OwnLifecycle) {
		m.OwnLifecycle = before.OwnLifecycle
	}
}

// sharedText gives the one before if the two are the same.
func sharedText(text, before events.Text) events.Text {
	if text == before {
		return before
	}
	return text
}

func sharedBytes(b, before []byte) []byte {
	if bytes.Equal(b, before) {
		return before
	}
	return b
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

// ModelStep gives a model before and after the event of the view's sequence, nil where
// it isn't there.
func (v View) ModelStep(id ulid.ULID) (was, is *Model) { return v.state.models.step(v.Sequence, id) }

// NameOf gives the name of a model, or the last one of a model that is gone.
func (v View) NameOf(id ulid.ULID) (string, bool) {
	f, ok := v.state.models.known(v.Sequence, id)
	if !ok {
		return "", false
	}
	return f.value.Name, true
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
