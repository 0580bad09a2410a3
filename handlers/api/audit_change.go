package api

import (
	"bytes"
	"maps"
	"reflect"
	"slices"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
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
// the later one has one event more. It shows no more of them than what that event
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
	was, _, there := before.Version(id)
	is, _, still := after.Version(id)
	registration, _ := before.Registration(id)
	if again, _ := after.Registration(id); !there || !still || registration != again {
		return nil, false, nil
	}
	if was == is {
		fields, err = compareShown(aroundVersion(before, id), aroundVersion(after, id))
	} else {
		fields, err = compareShown(movingOf(before, was), movingOf(after, is))
	}
	return fields, true, err
}

// aroundVersion shows what others tell of a version.
func aroundVersion(v projections.View, id events.VersionID) VersionSummary {
	s := VersionSummary{Aliases: slices.AppendSeq([]string{}, v.AliasesOf(id)), WithdrawnData: showWithdrawnData(v, id)}
	for t := range v.DeployedTo(id) {
		s.DeployedTo = append(s.DeployedTo, t.Name.String())
	}
	return s
}

// movingOf shows what can change of a version that is there before and after.
func movingOf(v projections.View, version *projections.Version) VersionSummary {
	s := aroundVersion(v, version.ID)
	s.Stage, s.Tags, s.Description = version.Stage, shownTags(version.Tags()), version.Description.String()
	s.Deprecation = showDeprecation(v, version.Deprecation)
	return s
}

// looksSame says of a model, which is touched by all that happens below it, whether
// it is shown alike but for what moves along.
func looksSame(before, after projections.View, r events.Resource) bool {
	was, _, there := before.ModelByID(r.Root.ID)
	is, _, still := after.ModelByID(r.Root.ID)
	if !there || !still {
		return false
	}
	now := *is
	now.PackedTags, now.LastVersion, now.LiveVersions, now.UpdatedMilli = was.PackedTags, was.LastVersion, was.LiveVersions, was.UpdatedMilli
	return bytes.Equal(was.PackedTags, is.PackedTags) && reflect.DeepEqual(*was, now) &&
		maps.Equal(maps.Collect(before.Aliases(was.ID)), maps.Collect(after.Aliases(was.ID)))
}
