package projections_test

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	registryID  = ulid.MustParse("01KXFT0000REG1STRY00000000")
	firstMoment = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
)

// lifecycles are those that a story's models may have, the default one first.
var lifecycles = []events.Lifecycle{
	*events.DefaultLifecycle(),
	{Stages: []string{"None", "Staging", "Production", "Archived"}, Archive: "Archived", Exclusive: []string{"Production"}},
	{Stages: []string{"Draft", "None", "Staging", "Live", "Retired"}, Archive: "Retired", Transitions: [][2]string{{"Draft", "Live"}, {"None", "Draft"}, {"Live", "Retired"}}},
}

// stages are those of all lifecycles.
func stages() []string {
	all := map[string]bool{}
	for _, l := range lifecycles {
		for _, s := range l.Stages {
			all[s] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func fold(told []events.Event) *projections.State {
	s := projections.New()
	for _, e := range told {
		s.Apply(e)
	}
	return s
}

// world is what a history tells, kept the plainest way: each event changes it in
// place, and nothing is kept twice. It is what the temporal tables are compared
// with.
type world struct {
	registry projections.Registry
	recorded time.Time
	models   []*worldModel  // also those that are gone
	targets  []*worldTarget // as they were defined, also those that are gone
	keys     map[events.Hash]keyUse

	signing []string // the verifier keys, the newest last

	lineage worldLineage

	subscriptions worldSubscriptions
}

type worldModel struct {
	id               ulid.ULID
	gone             bool
	name             string // the last one of a model that is gone
	description      events.Text
	tags             map[string]string
	lifecycle        events.Lifecycle
	created, updated time.Time
	by               string
	aliases          map[string]int
	versions         []*worldVersion // also those that are gone
}

type worldVersion struct {
	registered  events.VersionRegistered
	gone        bool
	sequence    uint64
	stage       string
	tags        map[string]string
	description events.Text
	deprecation *worldDeprecation
	created     time.Time
	updated     time.Time
	touched     uint64 // by which event it was updated
	by          string
}

type worldDeprecation struct {
	reason        events.Text
	since, sunset time.Time
	replacement   *events.VersionID
}

type worldTarget struct {
	id          ulid.ULID
	gone        bool
	name        projections.TargetName
	description events.Text
	created     time.Time
	by          string
	tables      []table // all that ever ran there
}

type table struct {
	Generation, Previous, RestoredFrom uint64
	Strategy                           string
	Variants                           []events.Variant
	Set                                time.Time
	By                                 string
	Reason                             events.Text
}

type keyUse struct {
	Sequence uint64
	Request  events.Hash
	Resource events.Resource
}

func worldOf(told []events.Event) *world {
	w := &world{keys: map[events.Hash]keyUse{}}
	for _, e := range told {
		w.happen(e)
	}
	return w
}

// at is when an event happened, as far as anybody says.
func at(e events.Event) time.Time {
	if e.Occurred.IsZero() {
		return e.Time
	}
	return e.Occurred
}

func (v *worldVersion) update(e events.Event) { v.updated, v.touched = at(e), e.Sequence }

func (w *world) happen(e events.Event) {
	w.recorded = e.Time
	w.lineage.happen(w, e)
	w.subscriptions.happen(e)
	if e.Key != (events.Hash{}) {
		w.keys[e.Key] = keyUse{e.Sequence, e.Request, e.Data.Resource()}
	}
	switch d := e.Data.(type) {
	case events.RegistryCreated:
		w.registry = projections.Registry{ID: d.RegistryID, Level: d.Level, CreatedAt: at(e)}
	case events.RegistrySigningKeyChanged:
		w.signing = append(w.signing, d.VerifierKey)
	case events.ModelRegistered:
		w.models = append(w.models, &worldModel{
			id: d.ModelID, name: d.Name, description: d.Description, tags: d.Tags, lifecycle: lifecycles[0],
			created: at(e), updated: at(e), by: e.Principal, aliases: map[string]int{},
		})
	case events.ModelDescribed:
		m := w.model(d.ModelID)
		if d.Description != nil {
			m.updated = at(e)
		}
		describe(&m.description, &m.tags, d.Description, d.Tags, d.RemovedTags)
	case events.ModelRenamed:
		m := w.model(d.ModelID)
		m.name, m.updated = d.To, at(e)
		for _, v := range m.versions {
			v.update(e)
		}
	case events.ModelLifecycleChanged:
		m := w.model(d.ModelID)
		m.lifecycle, m.updated = d.Lifecycle, at(e)
	case events.ModelDeleted:
		w.model(d.ModelID).gone = true
	case events.VersionRegistered:
		m := w.model(d.ModelID)
		m.updated = at(e)
		v := &worldVersion{
			registered: d, sequence: e.Sequence, stage: m.lifecycle.Stages[0], tags: d.Tags, description: d.Description,
			created: at(e), by: e.Principal,
		}
		v.update(e)
		m.versions = append(m.versions, v)
	case events.VersionDescribed:
		v := w.version(d.ModelID, d.Version)
		if d.Description != nil {
			v.update(e)
		}
		describe(&v.description, &v.tags, d.Description, d.Tags, d.RemovedTags)
	case events.VersionPromoted:
		w.move(e, events.Transition(d))
	case events.VersionDemoted:
		w.move(e, events.Transition(d))
	case events.VersionArchived:
		w.move(e, events.Transition(d))
	case events.VersionDeprecated:
		v := w.version(d.ModelID, d.Version)
		since := at(e)
		if v.deprecation != nil {
			since = v.deprecation.since
		}
		v.deprecation = &worldDeprecation{d.Reason, since, d.Sunset, d.Replacement}
		v.update(e)
	case events.VersionRestored:
		v := w.version(d.ModelID, d.Version)
		v.deprecation = nil
		v.update(e)
	case events.VersionDeleted:
		m := w.model(d.ModelID)
		m.updated, m.version(d.Version).gone = at(e), true
		maps.DeleteFunc(m.aliases, func(_ string, number int) bool { return number == d.Version })
	case events.AliasAssigned:
		w.model(d.ModelID).aliases[d.Alias] = d.To
	case events.AliasRemoved:
		delete(w.model(d.ModelID).aliases, d.Alias)
	case events.TargetDefined:
		w.targets = append(w.targets, &worldTarget{
			id: d.TargetID, name: projections.TargetName{Environment: d.Environment, Name: d.Name}, description: d.Description, created: at(e), by: e.Principal,
		})
	case events.TargetDescribed:
		w.target(d.TargetID).description = d.Description
	case events.TargetRemoved:
		w.target(d.TargetID).gone = true
	case events.DeploymentDeployed:
		t := w.target(d.TargetID)
		t.run(e, table{Strategy: d.Strategy, Variants: d.Variants, Reason: d.Reason, Previous: t.ranBefore()})
	case events.DeploymentRolledBack:
		t := w.target(d.TargetID)
		t.run(e, table{Strategy: d.Strategy, Variants: d.Variants, Reason: d.Reason, Previous: t.generation(d.To).Previous, RestoredFrom: d.To})
	case events.DeploymentWithdrawn:
		t := w.target(d.TargetID)
		t.run(e, table{Reason: d.Reason, Previous: t.ranBefore()})
	case events.LineageReported, events.LineageRecorded, events.DatasetWithdrawn, events.DatasetReinstated: // told to lineage
	case events.SubscriptionCreated, events.SubscriptionChanged, events.SubscriptionPaused, events.SubscriptionResumed,
		events.SubscriptionDisabled, events.SubscriptionSecretRotated, events.SubscriptionDeleted: // told to subscriptions
	default:
		panic("the stories don't tell of " + e.Type())
	}
}

// describe changes a description and tags in place.
func describe(description *events.Text, tags *map[string]string, next *events.Text, set map[string]string, removed []string) {
	if next != nil {
		*description = *next
	}
	all := map[string]string{}
	maps.Copy(all, *tags)
	maps.Copy(all, set)
	for _, key := range removed {
		delete(all, key)
	}
	*tags = all
}

func (w *world) move(e events.Event, d events.Transition) {
	m := w.model(d.ModelID)
	m.updated = at(e)
	moved := map[int]string{d.Version: d.To}
	for _, r := range d.Displaced {
		for n := r[0]; n <= r[1]; n++ {
			moved[n] = m.lifecycle.Archive
		}
	}
	for n, stage := range moved {
		m.version(n).stage = stage
		m.version(n).update(e)
	}
}

// liveModels are the models that are there.
func (w *world) liveModels() []*worldModel {
	return slices.DeleteFunc(slices.Clone(w.models), func(m *worldModel) bool { return m.gone })
}

// liveTargets are the targets that are there, as they were defined.
func (w *world) liveTargets() []*worldTarget {
	return slices.DeleteFunc(slices.Clone(w.targets), func(t *worldTarget) bool { return t.gone })
}

// live gives the numbers of the versions that are there.
func (m *worldModel) live() []int {
	var numbers []int
	for _, v := range m.versions {
		if !v.gone {
			numbers = append(numbers, v.registered.Version)
		}
	}
	return numbers
}

// last gives the highest number that was ever given.
func (m *worldModel) last() int {
	if len(m.versions) == 0 {
		return 0
	}
	return m.versions[len(m.versions)-1].registered.Version
}

func (m *worldModel) version(number int) *worldVersion {
	return m.versions[slices.IndexFunc(m.versions, func(v *worldVersion) bool { return v.registered.Version == number })]
}

func (w *world) version(model ulid.ULID, number int) *worldVersion {
	return w.model(model).version(number)
}

// byUpdate gives the versions of some models by their last update.
func byUpdate(models ...*worldModel) (places []shownUpdate) {
	for _, m := range models {
		for _, number := range m.live() {
			places = append(places, shownUpdate{m.version(number).touched, number, m.name})
		}
	}
	slices.SortFunc(places, func(a, b shownUpdate) int {
		return cmp.Or(cmp.Compare(b.Sequence, a.Sequence), cmp.Compare(b.Version, a.Version))
	})
	return places
}

// named spells a version with the name that its model has, or had last.
func (w *world) named(id *events.VersionID) string {
	if id == nil {
		return ""
	}
	return fmt.Sprintf("%s/%d", w.model(id.ModelID).name, id.Version)
}

// runsOn gives the targets that a version runs on, as they were defined.
func (w *world) runsOn(model ulid.ULID, number int) []string {
	var names []string
	for _, t := range w.liveTargets() {
		if slices.ContainsFunc(t.now().Variants, func(v events.Variant) bool { return v.ModelID == model && v.Version == number }) {
			names = append(names, t.name.String())
		}
	}
	return names
}

func (w *world) model(id ulid.ULID) *worldModel {
	return w.models[slices.IndexFunc(w.models, func(m *worldModel) bool { return m.id == id })]
}

func (w *world) target(id ulid.ULID) *worldTarget {
	return w.targets[slices.IndexFunc(w.targets, func(t *worldTarget) bool { return t.id == id })]
}

func (t *worldTarget) run(e events.Event, next table) {
	next.Generation, next.Set, next.By = e.Sequence, at(e), e.Principal
	t.tables = append(t.tables, next)
}

func (t *worldTarget) now() table {
	if len(t.tables) == 0 {
		return table{}
	}
	return t.tables[len(t.tables)-1]
}

// ranBefore gives the generation of what ran last, 0 for nothing ever.
func (t *worldTarget) ranBefore() uint64 {
	if now := t.now(); len(now.Variants) > 0 {
		return now.Generation
	}
	return t.now().Previous
}

func (t *worldTarget) generation(g uint64) table {
	return t.tables[slices.IndexFunc(t.tables, func(r table) bool { return r.Generation == g })]
}

// What is shown of everything, as values to compare.
type (
	shown struct {
		Registry projections.Registry
		Recorded time.Time
		Models   []shownModel  // by name
		Targets  []shownTarget // by name
		Updates  []shownUpdate // newest first
		Keys     map[events.Hash]keyUse
		Lineage  shownLineage

		Subscriptions []shownSubscription
	}
	shownModel struct {
		ID               ulid.ULID
		Name, Path       string
		Description      events.Text
		Tags             map[string]string
		Lifecycle        events.Lifecycle
		Created, Updated time.Time
		By               string
		Latest           int // that is there
		Last             int // ever given
		Live             int // how many are there
		Deployed         []int
		Aliases          map[string]int
		Versions         []shownVersion // highest first
		InStage          map[string][]int
		Highest          map[string]int
		Semvers          []string // highest first, with their numbers
		Updates          []shownUpdate
	}
	shownUpdate struct {
		Sequence uint64
		Version  int
		Model    string
	}
	shownVersion struct {
		Number              int
		Path, Stage, Semver string
		Registered          uint64
		Source, Format      string
		Run, Link, Logged   string
		Code                *events.Code
		Base                *events.VersionID
		BaseName            string
		Details             []byte // canonical, nil if they stay in the log
		InLog               bool
		Tags                map[string]string
		Description         events.Text
		Deprecation         *shownDeprecation
		Created, Updated    time.Time
		By                  string
		Aliases, DeployedTo []string
		Withdrawn           []projections.WithdrawnData
	}
	shownDeprecation struct {
		Reason        events.Text
		Since, Sunset time.Time
		Replacement   *events.VersionID
		Name          string // of the replacement
	}
	shownTarget struct {
		ID          ulid.ULID
		Name        projections.TargetName
		Path        string
		Description events.Text
		Created     time.Time
		By          string
		Runs        table
		Names       []string // of what runs there
	}
)

func (w *world) show() shown {
	s := shown{Registry: w.registry, Recorded: w.recorded, Updates: byUpdate(w.liveModels()...), Keys: w.keys}
	for _, m := range w.liveModels() {
		s.Models = append(s.Models, w.showModel(m))
	}
	slices.SortFunc(s.Models, func(a, b shownModel) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range w.liveTargets() {
		one := shownTarget{
			ID: t.id, Name: t.name, Path: "targets/" + t.name.String(), Description: t.description, Created: t.created, By: t.by, Runs: t.now(),
		}
		for _, variant := range one.Runs.Variants {
			one.Names = append(one.Names, w.named(&events.VersionID{ModelID: variant.ModelID, Version: variant.Version}))
		}
		s.Targets = append(s.Targets, one)
	}
	slices.SortFunc(s.Targets, func(a, b shownTarget) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	s.Lineage = w.lineage.show()
	s.Subscriptions = w.subscriptions.show()
	return s
}

// someTags makes no difference between no tags and none left.
func someTags(tags map[string]string) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	return tags
}

func (w *world) showModel(m *worldModel) shownModel {
	live := m.live()
	s := shownModel{
		ID: m.id, Name: m.name, Path: "models/" + m.name, Description: m.description, Tags: someTags(m.tags), Lifecycle: m.lifecycle,
		Created: m.created, Updated: m.updated, By: m.by, Latest: slices.Max(append(live, 0)), Last: m.last(), Live: len(live),
		Aliases: m.aliases, InStage: map[string][]int{}, Highest: map[string]int{}, Updates: byUpdate(m),
	}
	for _, number := range live {
		if w.runsOn(m.id, number) != nil {
			s.Deployed = append(s.Deployed, number)
		}
	}
	for _, number := range slices.Backward(live) {
		s.Versions = append(s.Versions, w.showVersion(m, number))
		stage := m.version(number).stage
		s.InStage[stage] = append(s.InStage[stage], number)
		s.Highest[stage] = max(s.Highest[stage], number)
	}
	var semvers []*semver.Version
	numbers := map[*semver.Version]int{}
	for _, v := range m.versions { // a semantic version is not used again
		if v.registered.Semver != "" {
			sv := semver.MustParse(v.registered.Semver)
			semvers = append(semvers, sv)
			numbers[sv] = v.registered.Version
		}
	}
	slices.SortFunc(semvers, func(a, b *semver.Version) int { return b.Compare(a) })
	for _, sv := range semvers {
		bare := semver.New(sv.Major(), sv.Minor(), sv.Patch(), sv.Prerelease(), "")
		s.Semvers = append(s.Semvers, fmt.Sprintf("%s is %d", bare, numbers[sv]))
	}
	return s
}

func (w *world) showVersion(m *worldModel, number int) shownVersion {
	v := m.version(number)
	d := v.registered
	s := shownVersion{
		Number: number, Path: fmt.Sprintf("models/%s/versions/%d", m.name, number), Stage: v.stage, Semver: d.Semver, Registered: v.sequence,
		Source: d.Source, Format: d.Format, Run: d.RunID, Link: d.RunLink, Logged: d.LoggedModel, Code: d.Code, Base: d.BaseModel, BaseName: w.named(d.BaseModel),
		Tags: someTags(v.tags), Description: v.description, Created: v.created, Updated: v.updated, By: v.by, DeployedTo: w.runsOn(m.id, number),
		Withdrawn: w.lineage.withdrawnUnder(events.VersionID{ModelID: m.id, Version: number}),
	}
	if v := v.deprecation; v != nil {
		s.Deprecation = &shownDeprecation{v.reason, v.since, v.sunset, v.replacement, w.named(v.replacement)}
	}
	details, err := events.AppendCanonical(nil, projections.DetailsOf(d))
	if err != nil {
		panic(err)
	}
	if s.InLog = len(details) > 1024; !s.InLog {
		s.Details = details
	}
	for _, alias := range slices.Sorted(maps.Keys(m.aliases)) {
		if m.aliases[alias] == number {
			s.Aliases = append(s.Aliases, alias)
		}
	}
	return s
}

// show reads everything that a view gives.
func show(v projections.View) shown {
	s := shown{Registry: v.Registry(), Recorded: v.Recorded(), Keys: map[events.Hash]keyUse{}}
	for _, k := range someKeys {
		if use, sequence, ok := v.KeyUse(k); ok {
			s.Keys[k] = keyUse{sequence, use.Request, use.Resource}
		}
	}
	s.Updates = showUpdates(v, v.AllVersionsByUpdate(projections.UpdatePlace{}))
	for m := range v.Models("") {
		one := shownModel{
			ID: m.ID, Name: m.Name, Path: v.Path(events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: m.ID}}), Description: m.Description,
			Tags: someTags(m.Tags()), Lifecycle: *m.Lifecycle(), Created: m.CreatedAt(), Updated: m.UpdatedAt(), By: m.CreatedBy,
			Latest: m.LatestVersion, Last: m.LastVersion, Live: m.LiveVersions,
			Aliases: maps.Collect(v.Aliases(m.ID)), InStage: map[string][]int{},
			Updates: showUpdates(v, v.VersionsByUpdate(m.ID, projections.UpdatePlace{})),
		}
		for id := range v.Deployed(m.ID) {
			one.Deployed = append(one.Deployed, id.Version)
		}
		for version := range v.Versions(m.ID, math.MaxInt) {
			one.Versions = append(one.Versions, showVersion(v, version))
		}
		for _, stage := range stages() {
			if numbers := slices.Collect(v.InStage(m.ID, stage)); numbers != nil {
				one.InStage[stage] = numbers
			}
		}
		one.Highest = maps.Collect(v.LatestInStages(m.ID))
		for sv, number := range v.BySemver(m.ID) {
			one.Semvers = append(one.Semvers, fmt.Sprintf("%s is %d", sv, number))
		}
		s.Models = append(s.Models, one)
	}
	for t := range v.Targets(projections.TargetName{}) {
		one := shownTarget{
			ID: t.ID, Name: t.Name, Path: v.Path(events.Resource{Root: events.Root{Kind: events.TargetRoot, ID: t.ID}}),
			Description: t.Description, Created: t.CreatedAt(), By: t.CreatedBy,
		}
		if r, generation, ok := v.Routes(t.ID); ok {
			one.Runs = table{generation, r.Previous, r.RestoredFrom, r.Strategy, r.Variants, r.SetAt(), r.SetBy, r.Reason}
			for _, variant := range r.Variants {
				one.Names = append(one.Names, nameIn(v, &events.VersionID{ModelID: variant.ModelID, Version: variant.Version}))
			}
		}
		s.Targets = append(s.Targets, one)
	}
	s.Lineage = showLineage(v)
	s.Subscriptions = showSubscriptions(v)
	return s
}

func showUpdates(v projections.View, versions iter.Seq2[*projections.Version, uint64]) (places []shownUpdate) {
	for version, sequence := range versions {
		name, _ := v.NameOf(version.ID.ModelID)
		places = append(places, shownUpdate{sequence, version.ID.Version, name})
	}
	return places
}

func showVersion(v projections.View, version *projections.Version) shownVersion {
	id := version.ID
	r, ok := v.Registration(id)
	if !ok {
		panic(fmt.Sprintf("version %v has no registration", id))
	}
	s := shownVersion{
		Number: id.Version, Path: v.Path(events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: id.ModelID}, Version: id.Version}),
		Stage: version.Stage, Semver: r.Semver, Registered: r.Sequence, Source: r.Source, Format: r.Format, Run: r.RunID, Link: r.RunLink, Logged: r.LoggedModel, Code: r.Code,
		Base: r.BaseModel, BaseName: nameIn(v, r.BaseModel), Details: r.Details, InLog: r.InLog,
		Tags: someTags(version.Tags()), Description: version.Description,
		Created: r.CreatedAt(), By: r.CreatedBy, Aliases: slices.Collect(v.AliasesOf(id)), Withdrawn: v.WithdrawnData(id),
	}
	s.Updated, _ = v.Updated(version)
	if d := version.Deprecation; d != nil {
		s.Deprecation = &shownDeprecation{Reason: d.Reason, Since: d.Since(), Replacement: d.Replacement, Name: nameIn(v, d.Replacement)}
		if sunset, ok := d.Sunset(); ok {
			s.Deprecation.Sunset = sunset
		}
	}
	for t := range v.DeployedTo(id) {
		s.DeployedTo = append(s.DeployedTo, t.Name.String())
	}
	return s
}

func nameIn(v projections.View, id *events.VersionID) string {
	if id == nil {
		return ""
	}
	name, ok := v.NameOf(id.ModelID)
	if !ok {
		panic(fmt.Sprintf("nobody knows the name of %v", id.ModelID))
	}
	return fmt.Sprintf("%s/%d", name, id.Version)
}

// wantGone checks that what is gone can't be found, but by what stays: a model's
// last name, and what was registered.
func (w *world) wantGone(t rapid.TB, v projections.View) {
	t.Helper()
	for _, m := range w.models {
		if name, ok := v.NameOf(m.id); name != m.name || !ok {
			t.Fatalf("as of %d, %v is called %q, %v; want %q", v.Sequence, m.id, name, ok, m.name)
		}
		if _, _, ok := v.ModelByID(m.id); ok == m.gone {
			t.Fatalf("as of %d, model %s is there: %v", v.Sequence, m.name, ok)
		}
		_, _, named := v.Model(m.name)
		if m.gone && named != slices.ContainsFunc(w.liveModels(), func(o *worldModel) bool { return o.name == m.name }) {
			t.Fatalf("as of %d, there is a model called %s: %v", v.Sequence, m.name, named)
		}
		for _, version := range m.versions {
			id := events.VersionID{ModelID: m.id, Version: version.registered.Version}
			if _, _, ok := v.Version(id); ok == (m.gone || version.gone) {
				t.Fatalf("as of %d, %s/%d is there: %v", v.Sequence, m.name, id.Version, ok)
			}
			if r, ok := v.Registration(id); !ok || r.Sequence != version.sequence {
				t.Fatalf("as of %d, %s/%d has no registration any more", v.Sequence, m.name, id.Version)
			}
			if (m.gone || version.gone) && len(slices.Collect(v.AliasesOf(id)))+targets(v.DeployedTo(id)) > 0 {
				t.Fatalf("as of %d, %s/%d, which is gone, has an alias or runs somewhere", v.Sequence, m.name, id.Version)
			}
		}
		for _, stage := range stages() {
			if m.gone && len(slices.Collect(v.InStage(m.id, stage))) > 0 {
				t.Fatalf("as of %d, %s, which is gone, has versions in %s", v.Sequence, m.name, stage)
			}
		}
		if m.gone && len(maps.Collect(v.Aliases(m.id)))+len(slices.Collect(v.Versions(m.id, math.MaxInt)))+len(slices.Collect(v.Deployed(m.id))) > 0 {
			t.Fatalf("as of %d, %s, which is gone, has aliases or versions", v.Sequence, m.name)
		}
	}
	for i, k := range v.SigningKeys() {
		if len(w.signing) != len(v.SigningKeys()) || k.VerifierKey != w.signing[i] {
			t.Fatalf("as of %d, the signing keys are %v, not %v", v.Sequence, v.SigningKeys(), w.signing)
		}
	}
	w.subscriptions.wantGone(t, v)
	for _, target := range w.targets {
		_, _, ok := v.TargetByID(target.id)
		_, _, runs := v.Routes(target.id)
		if ok == target.gone || (target.gone && runs) {
			t.Fatalf("as of %d, target %s is there: %v, and has a route table: %v", v.Sequence, target.name, ok, runs)
		}
	}
}

// someKeys are the idempotency keys that a history may use.
var someKeys = []events.Hash{{1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}}

// history draws a history of a registry, such as the rules allow.
func history(t *rapid.T, shortest, longest int) []events.Event {
	told := []events.Event{{
		Sequence: 1, ID: registryID, Registry: registryID, Subject: "registry", Time: firstMoment,
		Data: events.RegistryCreated{RegistryID: registryID, Level: events.Level},
	}}
	w := worldOf(told)
	for range rapid.IntRange(shortest, longest).Draw(t, "events") {
		e := next(t, w, told[len(told)-1])
		w.happen(e)
		told = append(told, e)
	}
	return told
}

// next draws the event after the last one that was told of the world.
func next(t *rapid.T, w *world, last events.Event) events.Event {
	e := events.Event{
		Sequence: last.Sequence + 1, Registry: registryID, Subject: "somewhere",
		Principal: rapid.SampledFrom([]string{"", "prn_1", "prn_2"}).Draw(t, "principal"),
		Time:      last.Time.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "later")) * time.Millisecond),
	}
	if rapid.IntRange(0, 3).Draw(t, "told later") == 0 {
		e.Occurred = firstMoment.Add(time.Duration(rapid.IntRange(-99, 0).Draw(t, "ago")) * time.Hour)
	}
	// Two events with one sequence, one of them cut off, have different ids.
	e.ID[6], e.ID[15], e.ID[0] = byte(e.Sequence), rapid.Byte().Draw(t, "id"), byte(e.Sequence>>8)
	if rapid.IntRange(0, 3).Draw(t, "keyed") == 0 {
		if key := rapid.SampledFrom(someKeys).Draw(t, "key"); w.keys[key] == (keyUse{}) {
			e.Key, e.Request = key, events.Hash{0: 9, 1: byte(e.Sequence)}
		}
	}
	// Those that are seldom possible come first, since rapid likes the first.
	steps := []func(*rapid.T, *world, ulid.ULID) events.Data{
		rollBack, withdraw, removeTarget, restore, deleteVersion, deleteModel, unassign, changeLifecycle, deploy, move, deprecate, assign,
		reinstateDataset, recordEdges, withdrawDataset, reportLineage, reportLineage,
		rename, describeVersion, describeTarget, describeModel, rollBack, deploy, registerVersion, move, registerVersion, registerVersion,
		assign, define, changeSigningKey, registerModel, changeSubscription, changeSubscription, subscribe,
	}
	for e.Data == nil {
		e.Data = rapid.SampledFrom(steps).Draw(t, "step")(t, w, e.ID)
	}
	return e
}

func changeSigningKey(_ *rapid.T, w *world, id ulid.ULID) events.Data {
	e := events.RegistrySigningKeyChanged{RegistryID: registryID, VerifierKey: "modelog+" + id.String()}
	if n := len(w.signing); n > 0 {
		e.Previous = w.signing[n-1]
	}
	return e
}

func text(t *rapid.T, label string) events.Text {
	return rapid.SampledFrom([]events.Text{
		{}, events.Plain("because"), {Sealed: &events.Sealed{Algorithm: "A256GCM", KeyID: "k1", Nonce: "bm9uY2U", Ciphertext: "Y2lwaGVy"}},
	}).Draw(t, label)
}

func tags(t *rapid.T) map[string]string {
	return rapid.SampledFrom([]map[string]string{nil, {}, {"team": "payments"}, {"": "x", "größe": ""}}).Draw(t, "tags")
}

// freeName draws a model's name that no model has.
func freeName(t *rapid.T, w *world) (string, bool) {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d", "aa"}).Draw(t, "name")
	taken := slices.ContainsFunc(w.liveModels(), func(m *worldModel) bool { return m.name == name })
	return name, !taken
}

func registerModel(t *rapid.T, w *world, id ulid.ULID) events.Data {
	name, free := freeName(t, w)
	if !free {
		return nil
	}
	return events.ModelRegistered{ModelID: id, Name: name, Description: text(t, "description"), Tags: tags(t)}
}

// changes draws a change of a description and tags; ok is false for none.
func changes(t *rapid.T, had map[string]string) (description *events.Text, set map[string]string, removed []string, ok bool) {
	if rapid.Bool().Draw(t, "another description") {
		d := text(t, "description")
		description = &d
	}
	set = maps.Clone(tags(t))
	maps.DeleteFunc(set, func(key, value string) bool { old, there := had[key]; return there && old == value })
	for _, key := range slices.Sorted(maps.Keys(had)) {
		if _, again := set[key]; !again && rapid.Bool().Draw(t, "remove") {
			removed = append(removed, key)
		}
	}
	return description, set, removed, description != nil || len(set)+len(removed) > 0
}

func describeModel(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m := someModel(t, w)
	if m == nil {
		return nil
	}
	description, set, removed, ok := changes(t, m.tags)
	if !ok {
		return nil
	}
	return events.ModelDescribed{ModelID: m.id, Description: description, Tags: set, RemovedTags: removed}
}

func rename(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m := someModel(t, w)
	if m == nil {
		return nil
	}
	name, free := freeName(t, w)
	if !free {
		return nil
	}
	return events.ModelRenamed{ModelID: m.id, From: m.name, To: name, Reason: text(t, "reason")}
}

func changeLifecycle(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m := someModel(t, w)
	if m == nil {
		return nil
	}
	next := rapid.SampledFrom(lifecycles[1:]).Draw(t, "lifecycle")
	for _, number := range m.live() {
		if stage := m.version(number).stage; !slices.Contains(next.Stages, stage) || next.Holds(stage) {
			return nil // it would be in no stage any more, or perhaps not alone
		}
	}
	return events.ModelLifecycleChanged{ModelID: m.id, Lifecycle: next, Reason: text(t, "reason")}
}

func deleteModel(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m := someModel(t, w)
	if m == nil || slices.ContainsFunc(m.live(), func(n int) bool { return w.runsOn(m.id, n) != nil }) {
		return nil
	}
	return events.ModelDeleted{ModelID: m.id, Name: m.name, Versions: len(m.live()), Aliases: len(m.aliases), Reason: text(t, "reason")}
}

func someModel(t *rapid.T, w *world) *worldModel {
	live := w.liveModels()
	if len(live) == 0 {
		return nil
	}
	return rapid.SampledFrom(live).Draw(t, "model")
}

// someVersion draws a version of a model that has some.
func someVersion(t *rapid.T, w *world) (*worldModel, int) {
	m := someModel(t, w)
	if m == nil || len(m.live()) == 0 {
		return nil, 0
	}
	return m, rapid.SampledFrom(m.live()).Draw(t, "version")
}

func describeVersion(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m, n := someVersion(t, w)
	if m == nil {
		return nil
	}
	description, set, removed, ok := changes(t, m.version(n).tags)
	if !ok {
		return nil
	}
	return events.VersionDescribed{ModelID: m.id, Version: n, Description: description, Tags: set, RemovedTags: removed}
}

func deprecate(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m, n := someVersion(t, w)
	if m == nil {
		return nil
	}
	d := events.VersionDeprecated{
		ModelID: m.id, Version: n, Reason: text(t, "reason"),
		Sunset: rapid.SampledFrom([]time.Time{{}, firstMoment.AddDate(1, 0, 0)}).Draw(t, "sunset"),
	}
	if by, number := someVersion(t, w); by != nil && rapid.Bool().Draw(t, "replaced") && (by != m || number != n) {
		d.Replacement = &events.VersionID{ModelID: by.id, Version: number}
	}
	return d
}

func restore(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m, n := someVersion(t, w)
	if m == nil || m.version(n).deprecation == nil {
		return nil
	}
	return events.VersionRestored{ModelID: m.id, Version: n, Reason: text(t, "reason")}
}

func deleteVersion(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m, n := someVersion(t, w)
	if m == nil || w.runsOn(m.id, n) != nil {
		return nil
	}
	d := events.VersionDeleted{ModelID: m.id, Version: n, Reason: text(t, "reason")}
	for _, alias := range slices.Sorted(maps.Keys(m.aliases)) {
		if m.aliases[alias] == n {
			d.Aliases = append(d.Aliases, alias)
		}
	}
	return d
}

func registerVersion(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m := someModel(t, w)
	if m == nil {
		return nil
	}
	d := events.VersionRegistered{
		ModelID: m.id, Version: m.last() + rapid.SampledFrom([]int{1, 1, 2, 5}).Draw(t, "numbers on"), Source: "s3://models/x", Tags: tags(t), Description: text(t, "description"),
		Format: rapid.SampledFrom([]string{"", "onnx"}).Draw(t, "format"), RunID: rapid.SampledFrom([]string{"", "b4f1"}).Draw(t, "run"),
		RunLink:     rapid.SampledFrom([]string{"", "https://tracker/b4f1"}).Draw(t, "link"),
		LoggedModel: rapid.SampledFrom([]string{"", "m-1"}).Draw(t, "logged"),
		Code:        rapid.SampledFrom([]*events.Code{nil, {Repository: "r", Commit: "c"}}).Draw(t, "code"),
		Parameters:  rapid.SampledFrom([]map[string]string{nil, {}, {"C": "1.0"}, {"bulky": strings.Repeat("x", 1_100)}}).Draw(t, "parameters"),
		Metrics:     rapid.SampledFrom([]map[string]float64{nil, {"auc": 0.91, "nan": math.NaN(), "zero": math.Copysign(0, -1)}}).Draw(t, "metrics"),
		Signature:   rapid.SampledFrom([]*events.Signature{nil, {}, {Inputs: []events.Object{{"shape": []any{int64(-1), 3.0}}}}}).Draw(t, "signature"),
	}
	sv := rapid.SampledFrom([]string{"", "1.0.0", "1.0.0-rc.1", "1.0.0-rc.2+b", "1.10.0", "1.9.0", "2.0.0"}).Draw(t, "semver")
	if !slices.ContainsFunc(m.versions, func(v *worldVersion) bool { return v.registered.Semver == sv }) {
		d.Semver = sv
	}
	d.Source, d.RunID, d.Datasets, d.Artifacts = registeredLineage(t, d)
	if base, n := someVersion(t, w); base != nil && rapid.Bool().Draw(t, "derived") {
		d.BaseModel = &events.VersionID{ModelID: base.id, Version: n}
	}
	return d
}

func move(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m, n := someVersion(t, w)
	if m == nil {
		return nil
	}
	l := m.lifecycle
	d := events.Transition{ModelID: m.id, Version: n, From: m.version(n).stage, To: rapid.SampledFrom(l.Stages).Draw(t, "stage"), Reason: text(t, "reason")}
	if l.Active(d.To) && (l.Holds(d.To) || rapid.Bool().Draw(t, "archive existing")) {
		others := slices.DeleteFunc(m.live(), func(o int) bool { return o == n || m.version(o).stage != d.To })
		d.Displaced = events.Ranges(others)
	}
	switch from, to := slices.Index(l.Stages, d.From), slices.Index(l.Stages, d.To); {
	case from == to && d.Displaced == nil:
		return nil
	case d.To == l.Archive:
		return events.VersionArchived(d)
	case to < from:
		return events.VersionDemoted(d)
	default:
		return events.VersionPromoted(d)
	}
}

func assign(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m, n := someVersion(t, w)
	if m == nil {
		return nil
	}
	alias := rapid.SampledFrom([]string{"champion", "challenger", "x"}).Draw(t, "alias")
	if m.aliases[alias] == n {
		return nil
	}
	return events.AliasAssigned{ModelID: m.id, Alias: alias, From: m.aliases[alias], To: n, Reason: text(t, "reason")}
}

func unassign(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m := someModel(t, w)
	if m == nil || len(m.aliases) == 0 {
		return nil
	}
	alias := rapid.SampledFrom(slices.Sorted(maps.Keys(m.aliases))).Draw(t, "alias")
	return events.AliasRemoved{ModelID: m.id, Alias: alias, From: m.aliases[alias], Reason: text(t, "reason")}
}

func define(t *rapid.T, w *world, id ulid.ULID) events.Data {
	name := rapid.SampledFrom([]projections.TargetName{{Environment: "prod", Name: "b"}, {Environment: "prod", Name: "a"}, {Environment: "eu", Name: "z"}}).Draw(t, "target")
	if slices.ContainsFunc(w.liveTargets(), func(t *worldTarget) bool { return t.name == name }) {
		return nil
	}
	return events.TargetDefined{TargetID: id, Environment: name.Environment, Name: name.Name, Description: text(t, "description")}
}

func someTarget(t *rapid.T, w *world) *worldTarget {
	live := w.liveTargets()
	if len(live) == 0 {
		return nil
	}
	return rapid.SampledFrom(live).Draw(t, "target")
}

func describeTarget(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	target := someTarget(t, w)
	if target == nil {
		return nil
	}
	d := text(t, "description")
	if reflect.DeepEqual(d, target.description) {
		return nil
	}
	return events.TargetDescribed{TargetID: target.id, Description: d}
}

func removeTarget(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	target := someTarget(t, w)
	if target == nil || len(target.now().Variants) > 0 {
		return nil
	}
	return events.TargetRemoved{TargetID: target.id, Environment: target.name.Environment, Name: target.name.Name, Reason: text(t, "reason")}
}

func withdraw(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	target := someTarget(t, w)
	if target == nil || len(target.now().Variants) == 0 {
		return nil
	}
	return events.DeploymentWithdrawn{TargetID: target.id, From: target.now().Generation, Reason: text(t, "reason")}
}

func deploy(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m, n := someVersion(t, w)
	target := someTarget(t, w)
	if m == nil || target == nil {
		return nil
	}
	d := events.DeploymentDeployed{
		TargetID: target.id, Strategy: events.AllAtOnce, Reason: text(t, "reason"),
		Variants: []events.Variant{{ModelID: m.id, Version: n, Role: events.RoleChampion, Weight: events.FullWeight}},
	}
	if m, n := someVersion(t, w); m != nil && rapid.Bool().Draw(t, "shadowed") { // as later strategies will
		shadow := events.Variant{ModelID: m.id, Version: n, Role: events.RoleShadow}
		if shadow.ModelID != d.Variants[0].ModelID || shadow.Version != d.Variants[0].Version {
			d.Variants = append(d.Variants, shadow)
		}
	}
	if slices.Equal(target.now().Variants, d.Variants) {
		return nil
	}
	return d
}

func rollBack(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	target := someTarget(t, w)
	if target == nil {
		return nil
	}
	var chain []table // without those that had a version which is gone
	for g := target.now().Previous; g != 0; g = target.generation(g).Previous {
		gone := func(v events.Variant) bool { return w.model(v.ModelID).gone || w.version(v.ModelID, v.Version).gone }
		if earlier := target.generation(g); !slices.ContainsFunc(earlier.Variants, gone) {
			chain = append(chain, earlier)
		}
	}
	if len(chain) == 0 {
		return nil
	}
	to := rapid.SampledFrom(chain).Draw(t, "to")
	return events.DeploymentRolledBack{
		TargetID: target.id, From: target.now().Generation, To: to.Generation, Strategy: to.Strategy, Variants: to.Variants, Reason: text(t, "reason"),
	}
}

// TestTheStoriesTellOfEveryKind: what no story tells of is not compared.
func TestTheStoriesTellOfEveryKind(t *testing.T) {
	stories := rapid.Custom(func(t *rapid.T) []events.Event { return history(t, 5, 40) })
	told := map[string]bool{}
	for seed := range 300 {
		for _, e := range stories.Example(seed) {
			told[e.Type()] = true
		}
	}
	for kind, zero := range events.Kinds() {
		if !told[events.TypeOf(zero)] {
			t.Errorf("no story tells of %s", kind)
		}
	}
}
