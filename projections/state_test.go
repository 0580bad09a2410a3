package projections_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

func digestAt(t rapid.TB, s *projections.State, sequence uint64) string {
	t.Helper()
	d, err := s.Digest(context.Background(), sequence)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantShown(t rapid.TB, what string, want, got shown) {
	t.Helper()
	if !reflect.DeepEqual(want, got) { // a hundred times as fast as cmp
		t.Fatalf("%s (-want +got):\n%s", what, cmp.Diff(want, got))
	}
}

// TestAViewShowsWhatTheHistoryTellsAsOfAnySequence compares the state of a whole
// history, as of each of its sequences, with the plain world of the history up
// to there, and with a state that knows no more than that.
func TestAViewShowsWhatTheHistoryTellsAsOfAnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 5, 40)
		whole := fold(told)
		partial, w := projections.New(), worldOf(nil)
		wantShown(t, "before the first event", w.show(), show(whole.At(0)))
		for i, e := range told {
			at := uint64(i + 1)
			partial.Apply(e)
			w.happen(e)
			if rapid.Bool().Draw(t, "settle") { // which changes nothing that can be seen
				partial.Settle(at)
			}
			wantShown(t, fmt.Sprintf("as of %d of %d", at, len(told)), w.show(), show(whole.At(at)))
			w.wantGone(t, whole.At(at))
			if a, b := etags(partial.At(at)), etags(whole.At(at)); !maps.Equal(a, b) {
				t.Fatalf("sequences shown as of %d of %d:\n%s", at, len(told), cmp.Diff(a, b))
			}
			if digestAt(t, partial, at) != digestAt(t, whole, at) {
				t.Fatalf("the digest as of %d of %d is not that of the history up to there", at, len(told))
			}
		}
	})
}

// A start reads what a registrar applied before it was written.
func TestWhatIsReadFromTheLogGivesTheSameState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 5, 40)
		read := make([]events.Event, len(told))
		for i, e := range told {
			encoded, err := events.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if read[i], err = events.Decode(events.Stored{Sequence: e.Sequence, Encoded: encoded}); err != nil {
				t.Fatal(err)
			}
		}
		last := uint64(len(told))
		if digestAt(t, fold(told), last) != digestAt(t, fold(read), last) {
			t.Fatal("another digest")
		}
	})
}

// TestWhatWasCutNeverWas applies, cuts off and settles in any order: all reads
// and all digests are those of the events that are left.
func TestWhatWasCutNeverWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 1, 5)
		s := fold(told)
		settled := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"apply": func(t *rapid.T) {
				w := worldOf(told)
				for range rapid.IntRange(1, 5).Draw(t, "events") {
					e := next(t, w, told[len(told)-1])
					w.happen(e)
					s.Apply(e)
					told = append(told, e)
				}
			},
			"cut": func(t *rapid.T) {
				to := rapid.Uint64Range(max(settled, 1), s.Applied()).Draw(t, "to")
				s.CutAfter(to)
				told = told[:to:to]
			},
			"settle": func(t *rapid.T) {
				settled = rapid.Uint64Range(settled, s.Applied()).Draw(t, "to")
				s.Settle(settled)
			},
			"": func(t *rapid.T) {
				if s.Applied() != uint64(len(told)) {
					t.Fatalf("%d is applied, of %d events", s.Applied(), len(told))
				}
			},
		})
		fresh := fold(told)
		for i := range told {
			at := uint64(i + 1)
			wantShown(t, fmt.Sprintf("as of %d of %d", at, len(told)), show(fresh.At(at)), show(s.At(at)))
			if digestAt(t, fresh, at) != digestAt(t, s, at) {
				t.Fatalf("another digest as of %d of %d", at, len(told))
			}
		}
		wantTimes(t, s, told)
	})
}

func TestCuttingEverythingLeavesAnEmptyState(t *testing.T) {
	s := fold([]events.Event{{Sequence: 1, Time: firstMoment, Data: events.RegistryCreated{RegistryID: registryID, Level: 1}}})
	s.CutAfter(1) // the end: nothing to cut
	s.CutAfter(9)
	if s.Applied() != 1 {
		t.Fatalf("%d is applied", s.Applied())
	}
	s.CutAfter(0)
	if s.Applied() != 0 || digestAt(t, s, 0) != digestAt(t, projections.New(), 0) {
		t.Errorf("%d is applied, and something is left", s.Applied())
	}
}

func TestAnEventOutOfOrderIsAMistakeOfTheCaller(t *testing.T) {
	for _, sequence := range []uint64{0, 1, 3} {
		s := fold([]events.Event{{Sequence: 1, Time: firstMoment, Data: events.RegistryCreated{RegistryID: registryID}}})
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("event %d is applied after event 1", sequence)
				}
			}()
			s.Apply(events.Event{Sequence: sequence, Time: firstMoment, Data: events.ModelRegistered{}})
		}()
		if s.Applied() != 1 {
			t.Errorf("%d is applied", s.Applied())
		}
	}
}

func TestTimesResolveToTheLastEventBeforeThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 5, 40) // among them some in the same millisecond
		wantTimes(t, fold(told), told)
	})
}

func wantTimes(t *rapid.T, s *projections.State, told []events.Event) {
	last := uint64(len(told))
	moments := []time.Time{firstMoment.Add(-time.Millisecond), told[len(told)-1].Time.Add(time.Hour)}
	for _, e := range told {
		moments = append(moments, e.Time, e.Time.Add(999_999), e.Time.Add(-1))
	}
	for _, moment := range moments {
		for _, limit := range []uint64{0, 1, last / 2, last, last + 1, ^uint64(0)} {
			want := uint64(0)
			for _, e := range told[:min(limit, last)] {
				if !e.Time.After(moment) {
					want = e.Sequence
				}
			}
			if got := s.SequenceAt(moment, limit); got != want {
				t.Fatalf("%v up to %d resolves to %d, want %d", moment, limit, got, want)
			}
		}
	}
}

// etags gives the sequence that is shown with each model, version and target.
func etags(v projections.View) map[string]uint64 {
	all := map[string]uint64{}
	for m := range v.Models("") {
		_, all["model "+m.Name], _ = v.Model(m.Name)
		for version := range v.Versions(m.ID, m.LastVersion) {
			_, all[fmt.Sprintf("version %s/%d", m.Name, version.ID.Version)], _ = v.Version(version.ID)
		}
	}
	for t := range v.Targets(projections.TargetName{}) {
		_, all["target "+t.Name.String()], _ = v.Target(t.Name)
	}
	return all
}

// parts takes what is shown apart, as the API shows it: one model, version or
// target at a time.
func parts(s shown) map[string]any {
	all := map[string]any{}
	for _, m := range s.Models {
		for _, v := range m.Versions {
			all[fmt.Sprintf("version %s/%d", m.Name, v.Number)] = v
		}
		m.Versions, m.InStage, m.Semvers, m.Deployed, m.Updates, m.Last, m.Live = nil, nil, nil, nil, nil, 0, 0
		all["model "+m.Name] = m
	}
	for _, t := range s.Targets {
		all["target "+t.Name.String()] = t
	}
	return all
}

// TestTheSequenceOfAThingMovesExactlyWhenItIsShownDifferently: it is the thing's
// ETag, and If-Match compares with it.
func TestTheSequenceOfAThingMovesExactlyWhenItIsShownDifferently(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 5, 40)
		for i := range told {
			told[i].Time = firstMoment.Add(time.Duration(i) * time.Second) // so that updated_at tells events apart
			told[i].Occurred = time.Time{}
		}
		s := fold(told)
		before, tagsBefore := map[string]any{}, map[string]uint64{}
		for _, e := range told {
			after, tagsAfter := parts(worldOf(told[:e.Sequence]).show()), etags(s.At(e.Sequence))
			for name, now := range after {
				want := tagsBefore[name]
				if !reflect.DeepEqual(before[name], now) {
					want = e.Sequence
				}
				if got := tagsAfter[name]; got != want && !mayTouchLineage(told[:e.Sequence], got, want) {
					t.Fatalf("after event %d, %T, %s has the sequence %d, want %d\n%s", e.Sequence, e.Data, name, got, want, cmp.Diff(before[name], now))
				}
			}
			before, tagsBefore = after, tagsAfter
		}
	})
}

// mayTouchLineage says whether a sequence that moved although nothing is shown
// differently is that of an event that told more of where something comes from.
// Once anything was withdrawn, such an event may move the sequence of what comes
// from the same things.
func mayTouchLineage(told []events.Event, got, want uint64) bool {
	withdrew := slices.ContainsFunc(told, func(e events.Event) bool {
		_, ok := e.Data.(events.DatasetWithdrawn)
		return ok
	})
	if !withdrew || got < want {
		return false
	}
	switch told[got-1].Data.(type) { //nolint:gochecksumtype // all others touch no lineage
	case events.VersionRegistered, events.LineageReported, events.LineageRecorded, events.DatasetWithdrawn, events.DatasetReinstated:
		return true
	default:
		return false
	}
}

func TestSemanticVersionsAreFoundWhateverTheirBuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 5, 40)
		s := fold(told)
		at := rapid.Uint64Range(1, s.Applied()).Draw(t, "at")
		for _, m := range worldOf(told[:at]).models {
			for _, text := range []string{"1.0.0", "1.0.0-rc.1", "1.0.0-rc.2", "1.10.0", "1.9.0", "2.0.0"} {
				want := 0
				for _, v := range m.versions {
					if v.registered.Semver == text || v.registered.Semver == text+"+b" {
						want = v.registered.Version
					}
				}
				if got, ok := s.At(at).WithSemver(m.id, semver.MustParse(text+"+other")); got != want || ok != (want != 0) {
					t.Fatalf("%s as of %d is version %d, want %d", text, at, got, want)
				}
			}
		}
	})
}

// full is a history with every kind of event and no field left empty.
func full() []events.Event {
	m, n, target, hook := registryID, registryID, registryID, registryID
	m[15], n[15], target[15], hook[15] = 1, 2, 3, 4
	variants := func(version int) []events.Variant {
		return []events.Variant{
			{ModelID: m, Version: version, Role: events.RoleChampion, Weight: 9_500}, {ModelID: n, Version: 1, Role: events.RoleShadow, Weight: 500},
		}
	}
	version := func(number int, semver string) events.VersionRegistered {
		return events.VersionRegistered{
			ModelID: m, Version: number, Semver: semver, Source: "s3://models/x", Format: "onnx",
			Artifacts: []events.Artifact{{Path: "a", SHA256: "b", Size: 1}}, RunID: "r", RunLink: "l", LoggedModel: "m", Code: &events.Code{Repository: "r", Commit: "c"},
			Datasets: []events.Dataset{{Name: "d", Digest: "e", Role: "train"}}, Parameters: map[string]string{"C": "1"},
			Metrics: map[string]float64{"auc": 1}, Signature: &events.Signature{Inputs: []events.Object{{"a": "b"}}},
			BaseModel: &events.VersionID{ModelID: n, Version: 1}, Tags: map[string]string{"t": "u"}, Description: events.Plain("d"),
		}
	}
	moved := func(version int, from, to string, displaced ...events.Range) events.Transition {
		return events.Transition{ModelID: m, Version: version, From: from, To: to, Displaced: displaced, Reason: events.Plain("r"), Forced: true}
	}
	payments := events.DatasetVersion{Namespace: "s3://lake", Name: "payments", Version: "7", Digest: "md5:1"}
	settings := events.SubscriptionSettings{
		Name: "n", Description: events.Plain("d"), Types: []string{"t"}, Filters: "[]", SinkHost: "https://h", CredentialID: m,
		Format: events.FormatMLflow, MLflowEvents: []string{"prompt.created"}, Ordering: events.OrderByKey, Rate: 1, Signature: events.SignHMAC,
	}
	told := make([]events.Event, 0, 50)
	for i, d := range []events.Data{
		events.RegistryCreated{RegistryID: registryID, Level: 1, VerifierKey: "modelog.dev/log/x+00000000+AQ=="},
		events.ModelRegistered{ModelID: m, Name: "m", Description: events.Plain("d"), Tags: map[string]string{"t": "u"}},
		events.ModelRegistered{ModelID: n, Name: "n", Description: events.Plain("d"), Tags: map[string]string{"t": "u"}},
		events.VersionRegistered{ModelID: n, Version: 1, Source: "s"},
		version(1, "1.0.0"), version(2, "2.0.0"), version(3, "3.0.0"),
		events.VersionPromoted(moved(1, "None", "Staging")),
		events.VersionPromoted(moved(2, "None", "Staging", events.Range{1, 1})),
		events.VersionDemoted(moved(2, "Staging", "None", events.Range{3, 3})),
		events.VersionArchived(moved(2, "None", "Archived", events.Range{3, 3})),
		events.AliasAssigned{ModelID: m, Alias: "champion", To: 1, Reason: events.Plain("r")},
		events.AliasAssigned{ModelID: m, Alias: "champion", From: 1, To: 2, Reason: events.Plain("r")},
		events.TargetDefined{TargetID: target, Environment: "prod", Name: "a", Description: events.Plain("d")},
		events.DeploymentDeployed{TargetID: target, Strategy: events.AllAtOnce, Variants: variants(1), Reason: events.Plain("r"), Forced: true},
		events.DeploymentDeployed{TargetID: target, Strategy: events.AllAtOnce, Variants: variants(2), Reason: events.Plain("r"), Forced: true},
		events.DeploymentRolledBack{TargetID: target, From: 16, To: 15, Strategy: events.AllAtOnce, Variants: variants(1), Reason: events.Plain("r")},
		// To here everything is there still.
		events.ModelDescribed{ModelID: m, Description: &events.Text{Plain: "e"}, Tags: map[string]string{"k": "v"}, RemovedTags: []string{"t"}},
		events.ModelRenamed{ModelID: n, From: "n", To: "o", Reason: events.Plain("r")},
		events.ModelLifecycleChanged{ModelID: m, Lifecycle: events.Lifecycle{Stages: []string{"None", "Staging", "Archived"}, Archive: "Archived"}, Reason: events.Plain("r")},
		events.VersionDescribed{ModelID: m, Version: 1, Description: &events.Text{Plain: "e"}, Tags: map[string]string{"k": "v"}, RemovedTags: []string{"t"}},
		events.VersionDeprecated{
			ModelID: m, Version: 1, Reason: events.Plain("r"), Sunset: firstMoment.AddDate(1, 0, 0), Replacement: &events.VersionID{ModelID: m, Version: 2},
		},
		events.VersionDeprecated{ModelID: m, Version: 2, Reason: events.Plain("r")},
		events.VersionRestored{ModelID: m, Version: 2, Reason: events.Plain("r")},
		events.AliasRemoved{ModelID: m, Alias: "champion", From: 2, Reason: events.Plain("r")},
		events.AliasAssigned{ModelID: m, Alias: "x", To: 3},
		events.VersionDeleted{ModelID: m, Version: 3, Aliases: []string{"x"}, Reason: events.Plain("r")},
		events.TargetDescribed{TargetID: target, Description: events.Plain("e")},
		events.DeploymentWithdrawn{TargetID: target, From: 17, Reason: events.Plain("r")},
		events.TargetRemoved{TargetID: target, Environment: "prod", Name: "a", Reason: events.Plain("r")},
		events.ModelDeleted{ModelID: n, Name: "o", Versions: 1, Aliases: 1, Reason: events.Plain("r")},
		events.RegistrySigningKeyChanged{RegistryID: registryID, VerifierKey: "k1"},
		events.RegistrySigningKeyChanged{RegistryID: registryID, VerifierKey: "k2", Previous: "k1"},
		events.LineageReported{
			RegistryID: registryID, Format: events.OpenLineage, RunID: "r", ParentRun: "p", Job: events.Job{Namespace: "j", Name: "k"}, State: events.RunComplete,
			Inputs: []events.DatasetVersion{payments}, Outputs: []events.DatasetVersion{{Name: "o"}}, Same: []events.SameDataset{{Dataset: payments.DatasetName(), Also: events.DatasetName{Name: "o"}}}, Code: &events.Code{Repository: "r", Commit: "d"},
			Derived: []events.DerivedDataset{{Dataset: events.DatasetVersion{Name: "o"}, From: payments}}, Marks: []string{"m"}, Raw: "{}",
		},
		events.LineageRecorded{RegistryID: registryID, Edges: []events.LineageEdge{{
			From: events.VersionID{ModelID: m, Version: 1}.Node(), To: payments.Node(), Type: events.WasDerivedFrom, Role: "test",
		}}, Reason: events.Plain("r")},
		events.DatasetWithdrawn{RegistryID: registryID, Dataset: payments, Reason: events.Plain("r")},
		events.DatasetReinstated{RegistryID: registryID, Dataset: payments, Reason: events.Plain("r")},
		events.SubscriptionCreated{SubscriptionID: hook, Settings: settings, After: 3},
		events.SubscriptionChanged{SubscriptionID: hook, Settings: settings},
		events.SubscriptionPaused{SubscriptionID: hook, Reason: events.Plain("r")},
		events.SubscriptionResumed{SubscriptionID: hook, Reason: events.Plain("r")},
		events.SubscriptionDisabled{SubscriptionID: hook, Cause: events.CauseFailing, FailingSince: firstMoment, Reason: events.Plain("r")},
		events.SubscriptionSecretRotated{SubscriptionID: hook, CredentialID: n, Until: firstMoment, Reason: events.Plain("r")},
		events.SubscriptionDeleted{SubscriptionID: hook, SinkHost: "https://h", Reason: events.Plain("r")},
	} {
		told = append(told, events.Event{
			Sequence: uint64(i + 1), Registry: registryID, Subject: "s", Time: firstMoment.Add(time.Duration(i) * time.Second), Principal: "prn_1",
			Key: events.Hash{1, byte(i)}, Request: events.Hash{2, byte(i)}, Data: d,
		})
	}
	return told
}

// untold are the fields that state doesn't keep: only the log tells them, so
// that no digest covers them.
var untold = []string{
	"VersionPromoted.From", "VersionDemoted.From", "VersionArchived.From", "DeploymentRolledBack.From", "ModelDeleted.Name",
	"ModelDeleted.Versions", "ModelDeleted.Aliases", "DeploymentWithdrawn.From", "TargetRemoved.Environment", "TargetRemoved.Name",
	"LineageReported.Format", "LineageReported.Marks", "LineageReported.Raw", "SubscriptionDeleted.SinkHost",
}

// TestTheDigestChangesWithAnyOldEvent changes one field of one event after
// another. New fields of events come into it by themselves: either state keeps
// them, or they are named above.
func TestTheDigestChangesWithAnyOldEvent(t *testing.T) {
	told := full()
	last := uint64(len(told))
	original := digestAt(t, fold(told), last)
	kept, empty := map[string]bool{}, map[string]bool{}
	for i := range told {
		data := reflect.ValueOf(told[i].Data)
		for f := range data.NumField() {
			field := data.Type().Name() + "." + data.Type().Field(f).Name
			if data.Field(f).IsZero() {
				empty[field] = true // unless another event has it
				continue
			}
			changed := slices.Clone(told)
			next := reflect.New(data.Type()).Elem()
			next.Set(data)
			next.Field(f).Set(another(t, next.Field(f)))
			changed[i].Data = next.Interface().(events.Data)
			told := digestAt(t, fold(changed), last) != original
			if !told && !slices.Contains(untold, field) {
				t.Errorf("event %d: no digest tells another %s", i+1, field)
			}
			kept[field] = kept[field] || told
		}
	}
	for kind, zero := range events.Kinds() {
		if !slices.ContainsFunc(told, func(e events.Event) bool { return e.Type() == events.TypeOf(zero) }) {
			t.Errorf("no event is a %s", kind)
		}
	}
	for field := range empty {
		if _, filled := kept[field]; !filled {
			t.Errorf("no event has %s", field)
		}
	}
	for field, told := range kept {
		if told == slices.Contains(untold, field) {
			t.Errorf("whether %s is kept: %v", field, told)
		}
	}
	for name, edit := range map[string]func(*events.Event){
		"time":     func(e *events.Event) { e.Time = e.Time.Add(time.Millisecond) },
		"occurred": func(e *events.Event) { e.Occurred = e.Time.Add(-time.Hour) },
		"key":      func(e *events.Event) { e.Key[15]++ }, "request": func(e *events.Event) { e.Request[15]++ },
		"actor": func(e *events.Event) { e.Principal += "x" }, "correlation": func(e *events.Event) { e.CorrelationID += "x" },
		"cause": func(e *events.Event) { e.CausationID += "x" },
	} {
		for i := range told {
			changed := slices.Clone(told)
			edit(&changed[i])
			if digestAt(t, fold(changed), last) == original {
				t.Errorf("event %d: no digest tells another %s", i+1, name)
			}
		}
	}
	if digestAt(t, fold(told), last-1) == original {
		t.Error("one event less has the same digest")
	}
}

// another gives a value that isn't equal to one, which isn't empty.
func another(t *testing.T, v reflect.Value) reflect.Value {
	t.Helper()
	next := reflect.New(v.Type()).Elem()
	next.Set(v)
	if at, ok := reflect.TypeAssert[time.Time](v); ok {
		return reflect.ValueOf(at.Add(time.Hour))
	}
	switch v.Kind() {
	case reflect.String:
		next.SetString(v.String() + "x")
	case reflect.Int, reflect.Int64:
		next.SetInt(v.Int() + 1)
	case reflect.Uint64:
		next.SetUint(v.Uint() - 1)
	case reflect.Uint8:
		next.SetUint(v.Uint() ^ 1)
	case reflect.Bool:
		next.SetBool(!v.Bool())
	case reflect.Float64:
		next.SetFloat(v.Float() + 1)
	case reflect.Array:
		last := next.Index(v.Len() - 1)
		last.Set(another(t, last))
	case reflect.Struct:
		next.Field(0).Set(another(t, v.Field(0)))
	case reflect.Pointer:
		next = reflect.New(v.Type().Elem())
		next.Elem().Set(another(t, v.Elem()))
	case reflect.Slice:
		next = v.Slice(0, v.Len()-1)
	case reflect.Map:
		next = reflect.MakeMap(v.Type())
		for _, k := range v.MapKeys() {
			next.SetMapIndex(k, another(t, v.MapIndex(k)))
		}
	default:
		t.Fatalf("a test is to be told how to change a %v", v.Type())
	}
	return next
}

// TestReadersSeeOneStateWhileTheWriterWorks: whatever is applied and cut off
// above, what readers see as of a visible sequence stays the same.
func TestReadersSeeOneStateWhileTheWriterWorks(t *testing.T) {
	const cut = 4 // events that are applied and taken back, each time
	told := rapid.Custom(func(t *rapid.T) []events.Event { return history(t, 60, 60) }).Example(7)
	fresh := fold(told)
	var want []shown
	var digests []string
	for i := range told {
		want = append(want, show(fresh.At(uint64(i+1))))
		digests = append(digests, digestAt(t, fresh, uint64(i+1)))
	}
	s := projections.New()
	s.Apply(told[0])
	s.Settle(1)
	var visible, reads atomic.Uint64
	visible.Store(1)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for reader := range 3 {
		wg.Go(func() {
			for at := uint64(reader); ; at += 7 {
				select {
				case <-done:
					return
				default:
				}
				sequence := at%visible.Load() + 1
				if got := show(s.At(sequence)); !reflect.DeepEqual(want[sequence-1], got) {
					t.Errorf("as of %d:\n%s", sequence, cmp.Diff(want[sequence-1], got))
					return
				}
				if got, err := s.Digest(t.Context(), sequence); err != nil || got != digests[sequence-1] {
					t.Errorf("another digest as of %d (%v)", sequence, err)
					return
				}
				if s.SequenceAt(told[sequence-1].Time, sequence) != sequence {
					t.Errorf("the time of %d resolves to another", sequence)
					return
				}
				reads.Add(1)
			}
		})
	}
	for i := 1; i < len(told); i++ {
		for _, e := range told[i:min(i+cut, len(told))] {
			s.Apply(e)
		}
		s.CutAfter(told[i].Sequence)
		s.Settle(told[i].Sequence)
		visible.Store(told[i].Sequence)
		for n := reads.Load(); reads.Load() == n && !t.Failed(); {
			runtime.Gosched() // lets somebody read in between
		}
	}
	close(done)
	wg.Wait()
}

func TestADigestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fold(full()).Digest(ctx, 5); err == nil {
		t.Error("it goes on")
	}
}

// Small details are kept as they were registered; bulky ones are in the event
// with the registration's sequence.
func TestDetailsAreKeptUnlessTheyAreBulky(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := history(t, 5, 40)
		v := fold(told).At(uint64(len(told)))
		for _, e := range told {
			d, ok := e.Data.(events.VersionRegistered)
			if !ok {
				continue
			}
			r, ok := v.Registration(events.VersionID{ModelID: d.ModelID, Version: d.Version})
			if !ok || r.Sequence != e.Sequence {
				t.Fatalf("event %d has no registration", e.Sequence)
			}
			if r.InLog {
				if r.Details != nil {
					t.Fatal("bulky details are in state, too")
				}
				continue
			}
			got, err := r.ReadDetails()
			if err != nil {
				t.Fatal(err)
			}
			// 3.0 is written as 3, as everywhere in objects.
			wanted, _ := events.AppendCanonical(nil, projections.DetailsOf(d))
			if read, _ := events.AppendCanonical(nil, got); !slices.Equal(wanted, read) {
				t.Fatalf("other details:\n%s", cmp.Diff(projections.DetailsOf(d), got))
			}
		}
	})
}

func TestListsBeginWhereTheyAreToldAndCanBeLeft(t *testing.T) {
	v := fold(full()).At(17)
	m, _, _ := v.Model("m")
	for name, c := range map[string]struct{ got, want any }{
		"models from m":         {names(v.Models("m"), 9), []string{"m", "n"}},
		"models from ma":        {names(v.Models("ma"), 9), []string{"n"}},
		"models from o":         {names(v.Models("o"), 9), []string(nil)},
		"the first model":       {names(v.Models(""), 1), []string{"m"}},
		"versions from 2":       {numbers(v.Versions(m.ID, 2), 9), []int{2, 1}},
		"the highest version":   {numbers(v.Versions(m.ID, 9), 1), []int{3}},
		"versions of no model":  {numbers(v.Versions(ulid.ULID{}, 9), 9), []int(nil)},
		"targets from prod/b":   {targets(v.Targets(projections.TargetName{Environment: "prod", Name: "b"})), 0},
		"targets from prod":     {targets(v.Targets(projections.TargetName{Environment: "prod"})), 1},
		"aliases of version 2":  {slices.Collect(v.AliasesOf(events.VersionID{ModelID: m.ID, Version: 2})), []string{"champion"}},
		"where version 2 runs":  {targets(v.DeployedTo(events.VersionID{ModelID: m.ID, Version: 2})), 0},
		"where version 1 runs":  {targets(v.DeployedTo(events.VersionID{ModelID: m.ID, Version: 1})), 1},
		"aliases of no version": {slices.Collect(v.AliasesOf(events.VersionID{ModelID: m.ID, Version: 9})), []string(nil)},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func names(models iter.Seq[*projections.Model], most int) (got []string) {
	for m := range models {
		if got = append(got, m.Name); len(got) == most {
			break
		}
	}
	return got
}

func numbers(versions iter.Seq[*projections.Version], most int) (got []int) {
	for v := range versions {
		if got = append(got, v.ID.Version); len(got) == most {
			break
		}
	}
	return got
}

func targets(all iter.Seq[*projections.Target]) (n int) {
	for range all {
		n++
	}
	return n
}

func TestPathsHaveTheNamesOfTheView(t *testing.T) {
	told := full()
	model := told[1].Data.(events.ModelRegistered)
	model.Name = "Größe @ 100%"
	told[1].Data = model
	hook := ulid.MustParse("01KXFT0005H00K000000000000")
	told[16] = events.Event{Sequence: 17, Registry: registryID, Time: told[16].Time, Data: events.SubscriptionCreated{SubscriptionID: hook}}
	v := fold(told).At(17)
	in := func(kind events.RootKind, id ulid.ULID, version int, alias string) events.Resource {
		return events.Resource{Root: events.Root{Kind: kind, ID: id}, Version: version, Alias: alias}
	}
	target := told[13].Data.Resource().Root.ID
	for path, r := range map[string]events.Resource{
		"registry":                                             in(events.RegistryRoot, registryID, 0, ""),
		"models/Gr%C3%B6%C3%9Fe%20@%20100%25":                  in(events.ModelRoot, model.ModelID, 0, ""),
		"models/Gr%C3%B6%C3%9Fe%20@%20100%25/versions/3":       in(events.ModelRoot, model.ModelID, 3, ""),
		"models/Gr%C3%B6%C3%9Fe%20@%20100%25/aliases/gr%C3%B6": in(events.ModelRoot, model.ModelID, 0, "grö"),
		"targets/prod/a":                                       in(events.TargetRoot, target, 0, ""),
		"subscriptions/01KXFT0005H00K000000000000":             in(events.SubscriptionRoot, hook, 0, ""),
	} {
		if got := v.Path(r); got != path {
			t.Errorf("got %q, want %q", got, path)
		}
	}
	for _, gone := range []events.Resource{in(events.ModelRoot, target, 0, ""), in(events.TargetRoot, model.ModelID, 0, ""), in(events.SubscriptionRoot, target, 0, ""), in("other", registryID, 0, "")} {
		if got := v.Path(gone); got != "" {
			t.Errorf("%v has the path %q", gone, got)
		}
	}
	if got := v.At(1).Path(in(events.ModelRoot, model.ModelID, 0, "")); got != "" {
		t.Errorf("before it was registered the model has the path %q", got)
	}
}

func TestTextsThatComeAgainAreKeptOnce(t *testing.T) {
	s := projections.New()
	var by []*byte
	for i := range uint64(3) {
		s.Apply(events.Event{
			Sequence: i + 1, Time: firstMoment, Principal: strings.Repeat("prn_", 3), // made anew each time
			Data: events.TargetDefined{TargetID: registryID, Environment: "prod", Name: fmt.Sprint(i)},
		})
		target, _, _ := s.At(i + 1).TargetByID(registryID)
		by = append(by, unsafe.StringData(target.CreatedBy))
		runtime.GC()
	}
	if by[0] != by[1] || by[1] != by[2] {
		t.Error("there are several copies of a principal")
	}
}
