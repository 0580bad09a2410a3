package projections_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"pgregory.net/rapid"
)

// TestAWalkByUpdateGoesOnBelowAnyPlace: pages of any size, as of any sequence,
// are together what a naive sort gives. That a walk from the beginning is right
// after cuts and from snapshots is part of what show compares.
func TestAWalkByUpdateGoesOnBelowAnyPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 5, 40)
		s := fold(told)
		at := rapid.Uint64Range(1, s.Applied()).Draw(t, "at")
		size := rapid.IntRange(1, 5).Draw(t, "page")
		v, w := s.At(at), worldOf(told[:at])
		paged := func(m *worldModel) (all []shownUpdate) {
			for below := (projections.UpdatePlace{}); ; {
				walk := v.AllVersionsByUpdate(below)
				if m != nil {
					walk = v.VersionsByUpdate(m.id, below)
				}
				n := 0
				for version, sequence := range walk {
					name, _ := v.NameOf(version.ID.ModelID)
					all = append(all, shownUpdate{sequence, version.ID.Version, name})
					below = projections.UpdatePlace{Sequence: sequence, Version: version.ID.Version}
					if n++; n == size {
						break
					}
				}
				if n < size {
					return all
				}
			}
		}
		if diff := cmp.Diff(byUpdate(w.liveModels()...), paged(nil)); diff != "" {
			t.Fatalf("all as of %d, by %d:\n%s", at, size, diff)
		}
		for _, m := range w.models {
			want := byUpdate(m)
			if m.gone {
				want = nil
			}
			if diff := cmp.Diff(want, paged(m)); diff != "" {
				t.Fatalf("%s as of %d, by %d:\n%s", m.name, at, size, diff)
			}
		}
	})
}

// TestWhatMovesTheTimeOfAnUpdate tells one event after another of what full has,
// and says of which things it moves updated_at.
func TestWhatMovesTheTimeOfAnUpdate(t *testing.T) {
	m := registryID
	m[15] = 1
	one, two := events.VersionID{ModelID: m, Version: 1}, events.VersionID{ModelID: m, Version: 2}
	registered := func(n int) events.Data { return events.VersionRegistered{ModelID: m, Version: n, Source: "s"} }
	s := fold([]events.Event{
		{Sequence: 1, Time: firstMoment, Data: events.RegistryCreated{RegistryID: registryID, Level: 1}},
		{Sequence: 2, Time: firstMoment, Data: events.ModelRegistered{ModelID: m, Name: "m"}},
		{Sequence: 3, Time: firstMoment, Data: registered(1)},
		{Sequence: 4, Time: firstMoment, Data: registered(2)},
	})
	times := func() []time.Time {
		v := s.At(s.Applied())
		model, _, _ := v.ModelByID(m)
		moments := []time.Time{model.UpdatedAt(), {}, {}}
		for i, id := range []events.VersionID{one, two} {
			if version, _, ok := v.Version(id); ok {
				moments[i+1], _ = v.Updated(version)
			}
		}
		return moments
	}
	for i, c := range []struct {
		name  string
		data  events.Data
		moved string // of the model, and of its versions 1 and 2
	}{
		{"a model's tags", events.ModelDescribed{ModelID: m, Tags: map[string]string{"a": "b"}}, ""},
		{"a model's description", events.ModelDescribed{ModelID: m, Description: &events.Text{Plain: "d"}}, "m"},
		{"a version's tags", events.VersionDescribed{ModelID: m, Version: 1, Tags: map[string]string{"a": "b"}}, ""},
		{"a version's tags that go", events.VersionDescribed{ModelID: m, Version: 1, RemovedTags: []string{"a"}}, ""},
		{"a version's description", events.VersionDescribed{ModelID: m, Version: 1, Description: &events.Text{Plain: "d"}}, "1"},
		{"an alias", events.AliasAssigned{ModelID: m, Alias: "x", To: 1}, ""},
		{"an alias that goes", events.AliasRemoved{ModelID: m, Alias: "x", From: 1}, ""},
		{"another stage", events.VersionPromoted{ModelID: m, Version: 1, From: "None", To: "Staging"}, "m1"},
		{"another stage that displaces", events.VersionPromoted{ModelID: m, Version: 2, From: "None", To: "Staging", Displaced: []events.Range{{1, 1}}}, "m12"},
		{"a deprecation", events.VersionDeprecated{ModelID: m, Version: 1}, "1"},
		{"its undoing", events.VersionRestored{ModelID: m, Version: 1}, "1"},
		{"another name", events.ModelRenamed{ModelID: m, From: "m", To: "n"}, "m12"},
		{"another version", registered(3), "m"},
		{"a version that goes", events.VersionDeleted{ModelID: m, Version: 3}, "m"},
	} {
		before, last := times(), s.At(s.Applied())
		_, tag, _ := last.Version(one)
		e := events.Event{Sequence: s.Applied() + 1, Time: firstMoment.Add(time.Duration(i+1) * time.Hour), Data: c.data}
		s.Apply(e)
		moved := ""
		for j, at := range times() {
			if !at.Equal(before[j]) {
				moved += string("m12"[j])
				if !at.Equal(e.Time) {
					t.Errorf("%s: updated at %v, want %v", c.name, at, e.Time)
				}
			}
		}
		if moved != c.moved {
			t.Errorf("%s: moves %q, want %q", c.name, moved, c.moved)
		}
		if _, now, _ := s.At(s.Applied()).Version(one); c.data.Resource().Version == 1 && now == tag {
			t.Errorf("%s: the version has the same sequence", c.name)
		}
	}
}

// TestWhatIsGoneIsKnownByWhatWasRegistered: who copies a version goes by its
// source, which must be there when the version isn't any more.
func TestWhatIsGoneIsKnownByWhatWasRegistered(t *testing.T) {
	told := full()
	var first, deleted events.VersionRegistered
	for _, e := range told {
		if d, ok := e.Data.(events.VersionRegistered); ok {
			switch {
			case first.Source == "":
				first = d // of the model that is deleted
			case d.Version == 3:
				deleted = d
			}
		}
	}
	v := fold(told).At(uint64(len(told)))
	for _, d := range []events.VersionRegistered{first, deleted} {
		id := events.VersionID{ModelID: d.ModelID, Version: d.Version}
		if _, _, there := v.Version(id); there {
			t.Fatalf("%v is still there", id)
		}
		r, ok := v.Registration(id)
		if !ok || r.Source != d.Source || r.LoggedModel != d.LoggedModel {
			t.Errorf("%v was registered as %+v, want the source %q", id, r, d.Source)
		}
	}
}

// A renaming of a large model is one touch, and a walk that begins with it is as
// short as any other.
func TestARenamingOfManyVersionsIsWalkedThroughPageByPage(t *testing.T) {
	const many = 1_000
	m := registryID
	m[15] = 1
	told := []events.Event{
		{Sequence: 1, Time: firstMoment, Data: events.RegistryCreated{RegistryID: registryID, Level: 1}},
		{Sequence: 2, Time: firstMoment, Data: events.ModelRegistered{ModelID: m, Name: "m"}},
	}
	for n := range many {
		told = append(told, events.Event{Sequence: uint64(n + 3), Time: firstMoment, Data: events.VersionRegistered{ModelID: m, Version: n + 1, Source: "s"}})
	}
	renamed := uint64(many + 3)
	told = append(told,
		events.Event{Sequence: renamed, Time: firstMoment, Data: events.ModelRenamed{ModelID: m, From: "m", To: "n"}},
		events.Event{Sequence: renamed + 1, Time: firstMoment, Data: events.VersionDescribed{ModelID: m, Version: 7, Description: &events.Text{}}},
	)
	s := fold(told)
	v := s.At(s.Applied())
	want := []string{fmt.Sprintf("7 by %d", renamed+1)}
	for n := many; n > 0; n-- {
		if n != 7 {
			want = append(want, fmt.Sprintf("%d by %d", n, renamed))
		}
	}
	var got []string
	for version, sequence := range v.VersionsByUpdate(m, projections.UpdatePlace{}) {
		got = append(got, fmt.Sprintf("%d by %d", version.ID.Version, sequence))
	}
	if !slices.Equal(want, got) {
		t.Errorf("got %d, beginning with %v", len(got), got[:min(9, len(got))])
	}
}
