package api

import (
	"bytes"
	"reflect"
	"slices"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// changesNextTo gives what changesOf does, of two views of which the later one has
// one event more.
func changesNextTo(before, after projections.View, r events.Resource) ([]FieldChange, error) {
	if fields, known, err := movedBetween(before, after, r); known || err != nil {
		return fields, err
	}
	return changesOf(before, after, r)
}

// changeNextTo is changesNextTo for changeOf.
func changeNextTo(before, after projections.View, r events.Resource) (change ResourceChange, differs bool, err error) {
	fields, known, err := movedBetween(before, after, r)
	if !known && err == nil {
		return changeOf(before, after, r)
	}
	return ResourceChange{Resource: after.Path(r), Change: wasChanged, Fields: fields}, len(fields) > 0, err
}

// movedBetween compares a model or a version that both of two views have, of which
// the later one has one event more. It looks at no more of them than what that event
// can have changed, since a page of the trail has hundreds to compare. Of anything
// else it doesn't know.
func movedBetween(before, after projections.View, r events.Resource) (fields []FieldChange, known bool, err error) {
	switch {
	case r.Root.Kind != events.ModelRoot || r.Alias != "":
		return nil, false, nil
	case r.Version == 0:
		return nil, looksSame(before, after, r), nil
	}
	id := events.VersionID{ModelID: r.Root.ID, Version: r.Version}
	was, is := after.VersionStep(id)
	registered, again := after.RegistrationStep(id)
	switch {
	case was == nil || is == nil || registered != again:
		return nil, false, nil
	case !bytes.Equal(was.PackedTags, is.PackedTags) || was.Deprecation != is.Deprecation:
		fields, err = compareShown(movingOf(before, was), movingOf(after, is))
		return fields, true, err
	}
	var m moved
	m.text("stage", was.Stage, is.Stage)
	m.list("aliases", false, slices.Collect(before.AliasesOf(id)), slices.Collect(after.AliasesOf(id)))
	m.text("description", was.Description.String(), is.Description.String())
	m.list("withdrawn_data", true, showWithdrawnData(before, id), showWithdrawnData(after, id))
	m.list("deployed_to", true, deployedTo(before, id), deployedTo(after, id))
	return m.fields, true, m.err
}

// moved gathers the fields that differ, as compareShown spells them.
type moved struct {
	fields []FieldChange
	err    error
}

func (m *moved) text(name, was, is string) {
	if was != is {
		m.fields, m.err = appendChange(m.fields, name, reflect.ValueOf(was), reflect.ValueOf(is))
	}
}

// list compares lists; of one that may be left out an empty one isn't there.
func (m *moved) list(name string, omitted bool, was, is []string) {
	if slices.Equal(was, is) || m.err != nil {
		return
	}
	shown := func(list []string) reflect.Value {
		if len(list) == 0 && omitted {
			return reflect.Value{}
		}
		return reflect.ValueOf(list)
	}
	m.fields, m.err = appendChange(m.fields, name, shown(was), shown(is))
}

func deployedTo(v projections.View, id events.VersionID) (names []string) {
	for t := range v.DeployedTo(id) {
		names = append(names, t.Name.String())
	}
	return names
}

// movingOf shows what can change of a version that is there before and after.
func movingOf(v projections.View, version *projections.Version) VersionSummary {
	return VersionSummary{
		Stage: version.Stage, Aliases: slices.AppendSeq([]string{}, v.AliasesOf(version.ID)), Tags: shownTags(version.Tags()),
		Description: version.Description.String(), Deprecation: showDeprecation(v, version.Deprecation),
		WithdrawnData: showWithdrawnData(v, version.ID), DeployedTo: deployedTo(v, version.ID),
	}
}

// looksSame says of a model, which is touched by all that happens below it, whether
// it is shown alike but for what moves along.
func looksSame(before, after projections.View, r events.Resource) bool {
	was, is := after.ModelStep(r.Root.ID)
	if was == nil || is == nil {
		return false
	}
	if was != is && (was.Name != is.Name || was.Description != is.Description || !bytes.Equal(was.PackedTags, is.PackedTags) ||
		was.LatestVersion != is.LatestVersion || was.CreatedMilli != is.CreatedMilli || was.CreatedBy != is.CreatedBy ||
		was.OwnLifecycle != is.OwnLifecycle || was.Renamed != is.Renamed) {
		return false
	}
	var few [2][8]modelAlias
	return slices.Equal(appendAliases(few[0][:0], before, was.ID), appendAliases(few[1][:0], after, was.ID))
}

type modelAlias struct {
	alias   string
	version int
}

func appendAliases(dst []modelAlias, v projections.View, model ulid.ULID) []modelAlias {
	for alias, version := range v.Aliases(model) {
		dst = append(dst, modelAlias{alias, version})
	}
	return dst
}
