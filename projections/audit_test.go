package projections_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// longReason is one that the index doesn't keep.
var longReason = strings.Repeat("The evaluation went well. ", 9)

// traced draws what the envelopes of a history say beside what history draws, and
// other reasons.
func traced(t *rapid.T, told []events.Event) []events.Event {
	told = slices.Clone(told)
	for i := range told {
		e := &told[i]
		e.CorrelationID = rapid.SampledFrom([]string{"", e.ID.String(), strings.ToLower(e.ID.String()), "0af7651916cd43dd"}).Draw(t, "correlation")
		e.CausationID = rapid.SampledFrom([]string{"", "", "01KXFT000000000000000000AB"}).Draw(t, "causation")
		if d, ok := e.Data.(events.AliasAssigned); ok {
			d.Reason = events.Plain(rapid.SampledFrom([]string{"AUC +0.02", "auc is better", "Größer", longReason}).Draw(t, "why"))
			e.Data = d
		}
		if d, ok := e.Data.(events.VersionPromoted); ok {
			d.Forced = rapid.Bool().Draw(t, "forced")
			e.Data = d
		}
	}
	return told
}

// auditFacts is what an entry must say, and of what it must be found.
type auditFacts struct {
	projections.AuditEntry
	about []events.Resource
	why   string // all of it
}

// auditOf tells of each event the plainest way.
func auditOf(told []events.Event) []auditFacts {
	w := worldOf(nil)
	all := make([]auditFacts, 0, len(told))
	for _, e := range told {
		reason, forced := events.Why(e.Data)
		f := auditFacts{AuditEntry: projections.AuditEntry{
			Sequence: e.Sequence, Type: e.Type(), Resource: e.Data.Resource(), Principal: e.Principal, Occurred: e.Occurred,
			CorrelationID: e.CorrelationID, CausationID: e.CausationID, Key: e.Key, Reason: reason.String(), Forced: forced,
		}, why: reason.String()}
		if f.why == longReason {
			f.Reason, f.ReasonInLog = "", true
		}
		ran := runningOn(w, e)
		f.about = aboutWhat(w, e)
		w.happen(e)
		for _, r := range differing(ran, runningOn(w, e)) {
			f.about = append(f.about, r, events.Resource{Root: r.Root})
		}
		all = append(all, f)
	}
	return all
}

// aboutWhat gives what an event changes something of, without what a deployment
// does to versions.
func aboutWhat(w *world, e events.Event) []events.Resource {
	own := e.Data.Resource()
	about := []events.Resource{own, {Root: own.Root}}
	version := func(numbers ...int) {
		for _, n := range numbers {
			about = append(about, events.Resource{Root: own.Root, Version: n})
		}
	}
	alias := func(names ...string) {
		for _, name := range names {
			about = append(about, events.Resource{Root: own.Root, Alias: name})
		}
	}
	displaced := func(ranges []events.Range) {
		for _, r := range ranges {
			for n := r[0]; n <= r[1]; n++ {
				version(n)
			}
		}
	}
	switch d := any(e.Data).(type) { // few kinds are about more than their own resource
	case events.AliasAssigned:
		if version(d.To); d.From != 0 {
			version(d.From)
		}
	case events.AliasRemoved:
		version(d.From)
	case events.VersionPromoted:
		displaced(d.Displaced)
	case events.VersionDemoted:
		displaced(d.Displaced)
	case events.VersionArchived:
		displaced(d.Displaced)
	case events.VersionDeleted:
		alias(d.Aliases...)
	case events.ModelDeleted:
		m := w.model(d.ModelID)
		version(m.live()...)
		for name := range m.aliases {
			alias(name)
		}
	}
	return about
}

func runningOn(w *world, e events.Event) (ran []events.Resource) {
	if root := e.Data.Resource().Root; root.Kind == events.TargetRoot {
		if i := slices.IndexFunc(w.targets, func(t *worldTarget) bool { return t.id == root.ID }); i >= 0 {
			for _, v := range w.targets[i].now().Variants {
				ran = append(ran, events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: v.ModelID}, Version: v.Version})
			}
		}
	}
	return ran
}

func differing(a, b []events.Resource) (d []events.Resource) {
	for _, pair := range [][2][]events.Resource{{a, b}, {b, a}} {
		for _, r := range pair[0] {
			if !slices.Contains(pair[1], r) {
				d = append(d, r)
			}
		}
	}
	return d
}

// matching is what a query should find.
func matching(facts []auditFacts, last uint64, q projections.AuditQuery) (found []projections.AuditEntry) {
	for _, f := range facts {
		holds := strings.Contains(strings.ToLower(f.why), strings.ToLower(q.Reason))
		if f.Sequence <= last && f.Sequence >= q.From && (q.Until == 0 || f.Sequence <= q.Until) &&
			(q.Resource == events.Resource{} || slices.Contains(f.about, q.Resource)) &&
			(q.Actor == "" || f.Principal == q.Actor) &&
			(q.Types == nil || slices.Contains(q.Types, f.Type)) && (q.Reason == "" || holds) {
			found = append(found, f.AuditEntry)
		}
	}
	if !q.Oldest {
		slices.Reverse(found)
	}
	return found
}

// paged reads the trail to its end, page by page, without the long reasons that
// don't hold what is looked for.
func paged(t rapid.TB, v projections.View, q projections.AuditQuery, limit int) (found []projections.AuditEntry) {
	for {
		page, err := v.Audit(context.Background(), q, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Entries) > limit || (page.Next != 0 && len(page.Entries) == 0) {
			t.Fatalf("a page of %d has %d entries and goes on at %d", limit, len(page.Entries), page.Next)
		}
		for _, e := range page.Entries {
			if !e.ReasonInLog || projections.HoldsText(longReason, q.Reason) {
				found = append(found, e)
			}
		}
		if q.After = page.Next; q.After == 0 {
			return found
		}
	}
}

func drawQuery(t *rapid.T, facts []auditFacts) (q projections.AuditQuery) {
	last := uint64(len(facts))
	if rapid.Bool().Draw(t, "by resource") {
		q.Resource = rapid.SampledFrom(rapid.SampledFrom(facts).Draw(t, "of").about).Draw(t, "resource")
	}
	q.Actor = rapid.SampledFrom([]string{"", "", "prn_1", "prn_2", "prn_3"}).Draw(t, "actor")
	if rapid.Bool().Draw(t, "by type") {
		q.Types = []string{rapid.SampledFrom(facts).Draw(t, "type of").Type, rapid.SampledFrom(facts).Draw(t, "and of").Type, "dev.modelog.none.v1"}
		q.Types = slices.Compact(q.Types)
	}
	if rapid.Bool().Draw(t, "by time") {
		q.From = rapid.Uint64Range(0, last+1).Draw(t, "from")
		q.Until = rapid.Uint64Range(0, last+1).Draw(t, "until")
	}
	q.Reason = rapid.SampledFrom([]string{"", "", "auc", "BECAUSE", "größer", "evaluation", "x", "[sealed]"}).Draw(t, "reason")
	q.Oldest = rapid.Bool().Draw(t, "oldest first")
	return q
}

// TestTheIndexFindsWhatAScanFinds: by any filters, as of any sequence, in pages of
// any size; also when it comes from a snapshot, and when something was cut off.
func TestTheIndexFindsWhatAScanFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := traced(t, history(t, 5, 40))
		whole := fold(told)
		facts := auditOf(told)
		at := rapid.Uint64Range(1, whole.Applied()).Draw(t, "snapshot at")
		tail := restored(t, snapshotOf(t, whole, at))
		for _, e := range told[at:] {
			tail.Apply(e)
		}
		cut := rapid.Uint64Range(at, whole.Applied()).Draw(t, "cut at")
		tail.CutAfter(cut)
		for _, e := range told[cut:] {
			tail.Apply(e)
		}
		for range 5 {
			q := drawQuery(t, facts)
			asOf := rapid.Uint64Range(0, whole.Applied()).Draw(t, "as of")
			limit := rapid.IntRange(1, 7).Draw(t, "limit")
			want := matching(facts, asOf, q)
			for name, s := range map[string]*projections.State{"the fold": whole, "a snapshot and a cut": tail} {
				if diff := cmp.Diff(want, paged(t, s.At(asOf), q, limit)); diff != "" {
					t.Fatalf("%s, as of %d, %+v:\n%s", name, asOf, q, diff)
				}
			}
		}
		if !bytes.Equal(snapshotOf(t, tail, cut), snapshotOf(t, whole, cut)) {
			t.Fatal("its own snapshot is another")
		}
	})
}

// TestWhatWasCutIsInNoList takes events back and tells others in their place, so
// that numbers are given anew.
func TestWhatWasCutIsInNoList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := traced(t, history(t, 5, 30))
		s := fold(told)
		at := rapid.Uint64Range(1, s.Applied()).Draw(t, "cut at")
		s.CutAfter(at)
		w := worldOf(told[:at])
		other := slices.Clone(told[:at])
		for range rapid.IntRange(0, 20).Draw(t, "others") {
			e := next(t, w, other[len(other)-1])
			e.Principal, e.CorrelationID = "prn_"+e.ID.String(), "of another time"
			w.happen(e)
			s.Apply(e)
			other = append(other, e)
		}
		last := s.Applied()
		if digestAt(t, s, last) != digestAt(t, fold(other), last) {
			t.Fatal("what was cut off has left something")
		}
		facts := auditOf(other)
		for range 5 {
			q := drawQuery(t, facts)
			if diff := cmp.Diff(matching(facts, last, q), paged(t, s.At(last), q, 3)); diff != "" {
				t.Fatalf("%+v:\n%s", q, diff)
			}
		}
	})
}

// TestTouchedNamesAllThatAnEventIsAbout compares with what the history tells.
func TestTouchedNamesAllThatAnEventIsAbout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 5, 40)
		s := fold(told)
		v := s.At(s.Applied())
		for i, f := range auditOf(told) {
			sequence := uint64(i + 1)
			got := slices.Collect(v.Touched(sequence-1, sequence))
			if got[0] != f.Resource {
				t.Fatalf("event %d is about %v, but touches %v first", sequence, f.Resource, got[0])
			}
			want := map[events.Resource]bool{}
			for _, r := range f.about {
				if r.Version != 0 || r.Alias != "" || f.Resource.Root == r.Root {
					want[r] = true
				}
			}
			if f.Resource.Dataset != (events.DatasetName{}) { // nothing is shown of the registry itself
				delete(want, events.Resource{Root: f.Resource.Root})
			}
			for _, r := range got {
				if delete(want, r); slices.Index(got, r) != slices.IndexFunc(got, func(o events.Resource) bool { return o == r }) {
					t.Fatalf("event %d touches %v twice", sequence, r)
				}
			}
			if len(want) > 0 {
				t.Fatalf("event %d, a %s, touches %v, but not %v", sequence, f.Type, got, want)
			}
		}
	})
}

// TestAfterASnapshotNobodyIsNotTheFirstActor begins with somebody, so that the number
// of nobody isn't the first one.
func TestAfterASnapshotNobodyIsNotTheFirstActor(t *testing.T) {
	told := []events.Event{
		{Sequence: 1, Time: firstMoment, Principal: "prn_1", Data: events.RegistryCreated{RegistryID: registryID, Level: 1}},
		{Sequence: 2, Time: firstMoment, Data: events.RegistrySigningKeyChanged{RegistryID: registryID, VerifierKey: "k"}},
	}
	state := restored(t, snapshotOf(t, fold(told[:1]), 1))
	state.Apply(told[1])
	if got := state.At(2).AuditEntry(2).Principal; got != "" {
		t.Errorf("nobody is %s", got)
	}
	if got, want := digestAt(t, state, 2), digestAt(t, fold(told), 2); got != want {
		t.Errorf("its digest is %s, that of a rebuild %s", got, want)
	}
}

// lives tells a history of versions that do well, by many actors.
func lives(n int) []events.Event {
	told := []events.Event{{Sequence: 1, Time: firstMoment, Data: events.RegistryCreated{RegistryID: registryID, Level: 1}}}
	tell := func(d events.Data) {
		sequence := uint64(len(told) + 1)
		told = append(told, events.Event{
			Sequence: sequence, Time: firstMoment, Data: d, Principal: fmt.Sprintf("prn_%d", sequence%37), CorrelationID: ulid.ULID{15: byte(sequence)}.String(),
		})
	}
	target := func(m int) ulid.ULID { return ulid.ULID{14: 1, 15: byte(m)} }
	const models = 20
	for m := range models {
		tell(events.ModelRegistered{ModelID: ulid.ULID{15: byte(m)}, Name: fmt.Sprintf("m%d", m)})
		tell(events.TargetDefined{TargetID: target(m), Environment: "prod", Name: fmt.Sprintf("m%d", m)})
	}
	for version := 1; len(told) < n; version++ {
		for m := range models {
			id := ulid.ULID{15: byte(m)}
			tell(events.VersionRegistered{ModelID: id, Version: version, Source: "s"})
			tell(events.VersionPromoted{ModelID: id, Version: version, From: "None", To: "Staging", Reason: events.Plain(fmt.Sprintf("AUC %d better", version))})
			tell(events.AliasAssigned{ModelID: id, Alias: "champion", From: version - 1, To: version})
			tell(events.DeploymentDeployed{TargetID: target(m), Strategy: events.AllAtOnce, Variants: []events.Variant{{ModelID: id, Version: version, Role: events.RoleChampion, Weight: events.FullWeight}}})
		}
	}
	return told
}

// TestAPageOfTheAuditTrailVisitsFewEvents counts what pages by one filter look at.
func TestAPageOfTheAuditTrailVisitsFewEvents(t *testing.T) {
	s := fold(lives(4_000))
	const limit = 20
	model := events.Root{Kind: events.ModelRoot, ID: ulid.ULID{15: 7}}
	for _, at := range []uint64{s.Applied(), s.Applied() / 2} {
		for name, q := range map[string]projections.AuditQuery{
			"a model":       {Resource: events.Resource{Root: model}},
			"a version":     {Resource: events.Resource{Root: model, Version: 3}},
			"an alias":      {Resource: events.Resource{Root: model, Alias: "champion"}},
			"a target":      {Resource: events.Resource{Root: events.Root{Kind: events.TargetRoot, ID: ulid.ULID{14: 1, 15: 7}}}},
			"an actor":      {Actor: "prn_7"},
			"a type":        {Types: []string{"dev.modelog.alias.assigned.v1"}},
			"a rare type":   {Types: []string{"dev.modelog.model.registered.v1"}},
			"many types":    {Types: []string{"dev.modelog.alias.assigned.v1", "dev.modelog.model.registered.v1", "dev.modelog.target.defined.v1"}},
			"a range":       {From: 100, Until: 600},
			"everything":    {},
			"all that have": {Reason: "better"},
		} {
			for _, oldest := range []bool{false, true} {
				q.Oldest = oldest
				page, err := s.At(at).Audit(t.Context(), q, limit)
				if n := len(page.Entries); err != nil || n == 0 || page.Visited > 10*n {
					t.Errorf("%s as of %d, oldest first %v: %d events are visited for %d entries: %v", name, at, oldest, page.Visited, n, err)
				}
			}
		}
	}
}

// TestAPageThatFindsLittleEndsEarly: a text that nothing holds is not looked for in
// a million reasons at once.
func TestAPageThatFindsLittleEndsEarly(t *testing.T) {
	told := lives(300_000)
	v := fold(told).At(uint64(len(told)))
	q := projections.AuditQuery{Actor: "prn_7", Reason: "AUC 2 better"}
	want := 0
	for _, e := range told {
		if reason, _ := events.Why(e.Data); e.Principal == q.Actor && strings.Contains(reason.Plain, q.Reason) {
			want++
		}
	}
	if got := len(paged(t, v, q, 100)); got != want || want == 0 {
		t.Errorf("found %d of %d", got, want)
	}
	pages, visited := 0, 0
	for q := (projections.AuditQuery{Types: []string{"dev.modelog.version.promoted.v1", "dev.modelog.version.registered.v1"}, Reason: "nobody said so"}); ; pages++ {
		page, err := v.Audit(t.Context(), q, 100)
		if err != nil || len(page.Entries) > 0 {
			t.Fatalf("%v, %v", page.Entries, err)
		}
		visited = max(visited, page.Visited)
		if q.After = page.Next; q.After == 0 {
			break
		}
	}
	if visited > 1<<17 {
		t.Errorf("a page visits %d events", visited)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Audit(ctx, projections.AuditQuery{Reason: "nobody said so"}, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkAuditPage(b *testing.B) {
	told := lives(200_000)
	v := fold(told).At(uint64(len(told)))
	for name, q := range map[string]projections.AuditQuery{
		"model": {Resource: events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: ulid.ULID{15: 7}}}},
		"actor": {Actor: "prn_7"}, "text": {Reason: "AUC 17 better"}, "nowhere": {Reason: "nobody said so"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := v.Audit(b.Context(), q, 100); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAuditRestore(b *testing.B) {
	told := lives(200_000)
	s := fold(told)
	s.Settle(s.Applied())
	data := snapshotOf(b, s, s.Applied())
	for b.Loop() {
		restored(b, data)
	}
}
