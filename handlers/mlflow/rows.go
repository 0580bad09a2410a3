package mlflow

import (
	"bytes"

	"github.com/modelog/modelog/handlers/filter"
	"github.com/modelog/modelog/projections"
)

// modelRow is a model as a filter sees it: with the tags that are shown.
type modelRow struct {
	*call
	m    *projections.Model
	tags []tag // nil until they are asked for
}

// String gives the name.
func (r *modelRow) String(a filter.Attribute) string {
	if a == filter.Name {
		return r.m.Name
	}
	return ""
}

// Int gives the time of the last update.
func (r *modelRow) Int(a filter.Attribute) int64 {
	if a == filter.Updated {
		return r.m.UpdatedMilli
	}
	return 0
}

// Tag gives a tag.
func (r *modelRow) Tag(key string) (string, bool) {
	if r.tags == nil && mayHold(r.m.PackedTags, key) {
		r.tags = r.showTags(r.m.Tags())
	}
	return tagValue(r.tags, key)
}

// Prompt says whether it is a prompt.
func (r *modelRow) Prompt() bool { return isPromptModel(r.m) }

// versionRow is a version as a filter sees it.
type versionRow struct {
	*search
	version      *projections.Version
	model        *projections.Model
	registration *projections.Registration // nil until it is asked for
	tags         []tag
}

func (r *versionRow) registered() *projections.Registration {
	if r.registration == nil {
		r.registration, _ = r.view.Registration(r.version.ID) // a version has one
	}
	return r.registration
}

// String gives the name, the run or the source.
func (r *versionRow) String(a filter.Attribute) string {
	switch a {
	case filter.Name:
		return r.model.Name
	case filter.RunID:
		return r.registered().RunID
	case filter.SourcePath:
		return r.registered().Source
	default:
		return ""
	}
}

// Int gives the number, or a time.
func (r *versionRow) Int(a filter.Attribute) int64 {
	switch a {
	case filter.Number:
		return int64(r.version.ID.Version)
	case filter.Created:
		return r.registered().CreatedMilli
	case filter.Updated:
		at, _ := r.view.Updated(r.version)
		return at.UnixMilli()
	default:
		return 0
	}
}

// Tag gives a tag, those of a deprecation too.
func (r *versionRow) Tag(key string) (string, bool) {
	if isReadOnly(key) {
		return tagValue(deprecationTags(r.view, r.version), key)
	}
	if r.tags == nil && mayHold(r.version.PackedTags, key) {
		r.tags = r.showTags(r.version.Tags())
	}
	return tagValue(r.tags, key)
}

// Prompt says whether it is a version of a prompt.
func (r *versionRow) Prompt() bool {
	if isPromptModel(r.model) {
		return true
	}
	value, _ := r.Tag(filter.PromptTag)
	return value == "true"
}

func isPromptModel(m *projections.Model) bool {
	return mayHold(m.PackedTags, filter.PromptTag) && m.Tags()[filter.PromptTag] == "true"
}

// mayHold says no if packed tags certainly don't hold a key, which is most often so.
func mayHold(packed []byte, key string) bool { return bytes.Contains(packed, []byte(key)) }

func tagValue(tags []tag, key string) (string, bool) {
	for _, t := range tags {
		if t.Key == key {
			return t.Value, true
		}
	}
	return "", false
}
