package projections_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// shownInForce is what is to be known of a target at a moment.
type shownInForce struct {
	Name        projections.TargetName
	Description events.Text
	Runs        table
}

// inForce says, the plainest way, what was there and ran at a moment, as far as
// the history tells: by name.
func inForce(told []events.Event, moment time.Time) []shownInForce {
	removed := map[ulid.ULID]time.Time{}
	for _, e := range told {
		if d, ok := e.Data.(events.TargetRemoved); ok {
			removed[d.TargetID] = e.Time
		}
	}
	there := map[projections.TargetName]shownInForce{}
	for _, t := range worldOf(told).targets { // the one defined last takes the name
		one := shownInForce{Name: t.name, Description: t.description}
		tables := slices.DeleteFunc(slices.Clone(t.tables), func(r table) bool { return r.Set.After(moment) })
		slices.SortStableFunc(tables, func(a, b table) int { return a.Set.Compare(b.Set) })
		if len(tables) > 0 {
			one.Runs = tables[len(tables)-1]
		}
		gone, ended := removed[t.id]
		if (ended && !gone.After(moment)) || (len(tables) == 0 && t.created.After(moment)) {
			continue
		}
		there[t.name] = one
	}
	var all []shownInForce
	for _, one := range there {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b shownInForce) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	return all
}

func showInForce(t projections.TargetInForce) shownInForce {
	one := shownInForce{Name: t.Target.Name, Description: t.Target.Description}
	if r := t.Routes; r != nil {
		one.Runs = table{t.Generation, r.Previous, r.RestoredFrom, r.Strategy, r.Variants, r.SetAt(), r.SetBy, r.Reason}
	}
	return one
}

// TestWhatWasInForceIsWhatTheHistoryTells asks what ran where at any moment, as
// far as was known as of any sequence: two times, both drawn.
func TestWhatWasInForceIsWhatTheHistoryTells(t *testing.T) {
	asked, late := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 60, 200)
		whole := rebuild(told)
		for range 20 {
			known := rapid.IntRange(1, len(told)).Draw(t, "as of")
			about := told[rapid.IntRange(0, len(told)-1).Draw(t, "about")]
			moment := at(about).Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "beside")) * time.Millisecond / 2)
			want := inForce(told[:known], moment)
			v := whole.At(uint64(known))
			var got []shownInForce
			for one := range v.TargetsInForce(projections.TargetName{}, moment) {
				got = append(got, showInForce(one))
				if one.Sequence < one.Generation || one.Sequence > v.Sequence {
					t.Fatalf("its sequence is %d, its generation %d, as of %d", one.Sequence, one.Generation, v.Sequence)
				}
			}
			if !reflect.DeepEqual(want, got) {
				t.Fatalf("at %v, as of %d of %d (-want +got):\n%s", moment, known, len(told), cmp.Diff(want, got))
			}
			asked += len(got)
			wantFoundByName(t, v, moment, got)
			for _, one := range got {
				if overtaken(v, one, moment) {
					late++
				}
			}
		}
	})
	if asked == 0 || late == 0 {
		t.Errorf("%d targets were asked for, %d of them with a deployment that was reported late", asked, late)
	}
}

// overtaken says whether what was recorded last was in force at a moment no more,
// since something that happened later was recorded before it.
func overtaken(v projections.View, one shownInForce, moment time.Time) bool {
	t, _, ok := v.Target(one.Name)
	if !ok {
		return false
	}
	last, generation, ok := v.Routes(t.ID)
	return ok && generation != one.Runs.Generation && !last.SetAt().After(moment)
}

// wantFoundByName finds each target alone, and a list from each on.
func wantFoundByName(t *rapid.T, v projections.View, moment time.Time, all []shownInForce) {
	for _, name := range []projections.TargetName{{Environment: "prod", Name: "b"}, {Environment: "prod", Name: "a"}, {Environment: "eu", Name: "z"}} {
		i := slices.IndexFunc(all, func(one shownInForce) bool { return one.Name == name })
		one, ok := v.TargetInForce(name, moment)
		if ok != (i >= 0) {
			t.Fatalf("%v at %v is there: %v", name, moment, ok)
		}
		if !ok {
			continue
		}
		if diff := cmp.Diff(all[i], showInForce(one)); diff != "" {
			t.Fatalf("%v at %v:\n%s", name, moment, diff)
		}
		n := 0
		for range v.TargetsInForce(name, moment) {
			n++
		}
		if n != len(all)-i {
			t.Fatalf("%d targets from %v on, want %d", n, name, len(all)-i)
		}
	}
}
