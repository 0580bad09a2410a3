package projections_test

import (
	"fmt"
	"maps"
	"math"
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
	stages      = []string{"None", "Staging", "Production", "Archived"}
)

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
	models   []*worldModel
	targets  []*worldTarget // as they were defined
	keys     map[events.Hash]keyUse
}

type worldModel struct {
	id               ulid.ULID
	name             string
	description      events.Text
	tags             map[string]string
	created, updated time.Time
	by               string
	aliases          map[string]int
	versions         []*worldVersion
}

type worldVersion struct {
	registered events.VersionRegistered
	sequence   uint64
	stage      string
	created    time.Time
	updated    time.Time
	by         string
}

type worldTarget struct {
	id          ulid.ULID
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

func (w *world) happen(e events.Event) {
	w.recorded = e.Time
	if e.Key != (events.Hash{}) {
		w.keys[e.Key] = keyUse{e.Sequence, e.Request, e.Data.Resource()}
	}
	switch d := e.Data.(type) {
	case events.ModelDescribed, events.ModelRenamed, events.ModelLifecycleChanged, events.ModelDeleted,
		events.VersionDescribed, events.VersionDeprecated, events.VersionRestored, events.VersionDeleted,
		events.AliasRemoved, events.TargetDescribed, events.TargetRemoved, events.DeploymentWithdrawn:
		panic("the stories don't tell of " + e.Type())
	case events.RegistryCreated:
		w.registry = projections.Registry{ID: d.RegistryID, Level: d.Level, CreatedAt: e.Time}
	case events.ModelRegistered:
		w.models = append(w.models, &worldModel{
			id: d.ModelID, name: d.Name, description: d.Description, tags: d.Tags, created: e.Time, updated: e.Time, by: e.Principal,
			aliases: map[string]int{},
		})
	case events.VersionRegistered:
		m := w.model(d.ModelID)
		m.updated = e.Time
		m.versions = append(m.versions, &worldVersion{registered: d, sequence: e.Sequence, stage: "None", created: e.Time, updated: e.Time, by: e.Principal})
	case events.VersionPromoted:
		w.move(e, events.Transition(d))
	case events.VersionDemoted:
		w.move(e, events.Transition(d))
	case events.VersionArchived:
		w.move(e, events.Transition(d))
	case events.AliasAssigned:
		w.model(d.ModelID).aliases[d.Alias] = d.To
	case events.TargetDefined:
		w.targets = append(w.targets, &worldTarget{
			id: d.TargetID, name: projections.TargetName{Environment: d.Environment, Name: d.Name}, description: d.Description, created: e.Time, by: e.Principal,
		})
	case events.DeploymentDeployed:
		w.target(d.TargetID).run(e, table{Strategy: d.Strategy, Variants: d.Variants, Reason: d.Reason, Previous: w.target(d.TargetID).now().Generation})
	case events.DeploymentRolledBack:
		t := w.target(d.TargetID)
		t.run(e, table{Strategy: d.Strategy, Variants: d.Variants, Reason: d.Reason, Previous: t.generation(d.To).Previous, RestoredFrom: d.To})
	}
}

func (w *world) move(e events.Event, d events.Transition) {
	m := w.model(d.ModelID)
	m.updated = e.Time
	moved := map[int]string{d.Version: d.To}
	for _, r := range d.Displaced {
		for n := r[0]; n <= r[1]; n++ {
			moved[n] = "Archived"
		}
	}
	for n, stage := range moved {
		m.versions[n-1].stage, m.versions[n-1].updated = stage, e.Time
	}
}

func (w *world) model(id ulid.ULID) *worldModel {
	return w.models[slices.IndexFunc(w.models, func(m *worldModel) bool { return m.id == id })]
}

func (w *world) target(id ulid.ULID) *worldTarget {
	return w.targets[slices.IndexFunc(w.targets, func(t *worldTarget) bool { return t.id == id })]
}

func (t *worldTarget) run(e events.Event, next table) {
	next.Generation, next.Set, next.By = e.Sequence, e.Time, e.Principal
	t.tables = append(t.tables, next)
}

func (t *worldTarget) now() table {
	if len(t.tables) == 0 {
		return table{}
	}
	return t.tables[len(t.tables)-1]
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
		Keys     map[events.Hash]keyUse
	}
	shownModel struct {
		ID               ulid.ULID
		Name, Path       string
		Description      events.Text
		Tags             map[string]string
		Created, Updated time.Time
		By               string
		Latest           int
		Aliases          map[string]int
		Versions         []shownVersion // highest first
		InStage          map[string][]int
		Semvers          []string // highest first, with their numbers
	}
	shownVersion struct {
		Number              int
		Path, Stage, Semver string
		Registered          uint64
		Source, Format, Run string
		Code                *events.Code
		Base                *events.VersionID
		Details             []byte // canonical, nil if they stay in the log
		InLog               bool
		Tags                map[string]string
		Description         events.Text
		Created, Updated    time.Time
		By                  string
		Aliases, DeployedTo []string
	}
	shownTarget struct {
		ID          ulid.ULID
		Name        projections.TargetName
		Path        string
		Description events.Text
		Created     time.Time
		By          string
		Runs        table
	}
)

func (w *world) show() shown {
	s := shown{Registry: w.registry, Recorded: w.recorded, Keys: w.keys}
	for _, m := range w.models {
		s.Models = append(s.Models, w.showModel(m))
	}
	slices.SortFunc(s.Models, func(a, b shownModel) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range w.targets {
		s.Targets = append(s.Targets, shownTarget{
			ID: t.id, Name: t.name, Path: "targets/" + t.name.String(), Description: t.description, Created: t.created, By: t.by, Runs: t.now(),
		})
	}
	slices.SortFunc(s.Targets, func(a, b shownTarget) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	return s
}

func (w *world) showModel(m *worldModel) shownModel {
	s := shownModel{
		ID: m.id, Name: m.name, Path: "models/" + m.name, Description: m.description, Tags: m.tags, Created: m.created, Updated: m.updated,
		By: m.by, Latest: len(m.versions), Aliases: m.aliases, InStage: map[string][]int{},
	}
	var semvers []*semver.Version
	numbers := map[*semver.Version]int{}
	for i, v := range slices.Backward(m.versions) {
		one := w.showVersion(m, i+1, v)
		s.Versions = append(s.Versions, one)
		s.InStage[v.stage] = append(s.InStage[v.stage], one.Number)
		if one.Semver != "" {
			sv := semver.MustParse(one.Semver)
			semvers = append(semvers, sv)
			numbers[sv] = one.Number
		}
	}
	slices.SortFunc(semvers, func(a, b *semver.Version) int { return b.Compare(a) })
	for _, sv := range semvers {
		bare := semver.New(sv.Major(), sv.Minor(), sv.Patch(), sv.Prerelease(), "")
		s.Semvers = append(s.Semvers, fmt.Sprintf("%s is %d", bare, numbers[sv]))
	}
	return s
}

func (w *world) showVersion(m *worldModel, number int, v *worldVersion) shownVersion {
	d := v.registered
	s := shownVersion{
		Number: number, Path: fmt.Sprintf("models/%s/versions/%d", m.name, number), Stage: v.stage, Semver: d.Semver, Registered: v.sequence,
		Source: d.Source, Format: d.Format, Run: d.RunID, Code: d.Code, Base: d.BaseModel, Tags: d.Tags, Description: d.Description,
		Created: v.created, Updated: v.updated, By: v.by,
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
	for _, t := range w.targets {
		runs := func(variant events.Variant) bool { return variant.ModelID == m.id && variant.Version == number }
		if slices.ContainsFunc(t.now().Variants, runs) {
			s.DeployedTo = append(s.DeployedTo, t.name.String())
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
	for m := range v.Models("") {
		one := shownModel{
			ID: m.ID, Name: m.Name, Path: v.Path(events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: m.ID}}), Description: m.Description,
			Tags: m.Tags, Created: m.CreatedAt(), Updated: m.UpdatedAt(), By: m.CreatedBy, Latest: m.LatestVersion,
			Aliases: maps.Collect(v.Aliases(m.ID)), InStage: map[string][]int{},
		}
		for version := range v.Versions(m.ID, math.MaxInt) {
			one.Versions = append(one.Versions, showVersion(v, version))
		}
		for _, stage := range stages {
			if numbers := slices.Collect(v.InStage(m.ID, stage)); numbers != nil {
				one.InStage[stage] = numbers
			}
		}
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
		}
		s.Targets = append(s.Targets, one)
	}
	return s
}

func showVersion(v projections.View, version *projections.Version) shownVersion {
	id := version.ID
	r, ok := v.Registration(id)
	if !ok {
		panic(fmt.Sprintf("version %v has no registration", id))
	}
	s := shownVersion{
		Number: id.Version, Path: v.Path(events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: id.ModelID}, Version: id.Version}),
		Stage: version.Stage, Semver: r.Semver, Registered: r.Sequence, Source: r.Source, Format: r.Format, Run: r.RunID, Code: r.Code, Base: r.BaseModel,
		Details: r.Details, InLog: r.InLog, Tags: version.Tags, Description: version.Description,
		Created: r.CreatedAt(), Updated: version.UpdatedAt(), By: r.CreatedBy, Aliases: slices.Collect(v.AliasesOf(id)),
	}
	for t := range v.DeployedTo(id) {
		s.DeployedTo = append(s.DeployedTo, t.Name.String())
	}
	return s
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
	// Two events with one sequence, one of them cut off, have different ids.
	e.ID[6], e.ID[15], e.ID[0] = byte(e.Sequence), rapid.Byte().Draw(t, "id"), byte(e.Sequence>>8)
	if rapid.IntRange(0, 3).Draw(t, "keyed") == 0 {
		if key := rapid.SampledFrom(someKeys).Draw(t, "key"); w.keys[key] == (keyUse{}) {
			e.Key, e.Request = key, events.Hash{0: 9, 1: byte(e.Sequence)}
		}
	}
	// Those that are seldom possible come first, since rapid likes the first.
	steps := []func(*rapid.T, *world, ulid.ULID) events.Data{
		rollBack, deploy, move, assign, rollBack, deploy, registerVersion, move, registerVersion, define, registerModel,
	}
	for e.Data == nil {
		e.Data = rapid.SampledFrom(steps).Draw(t, "step")(t, w, e.ID)
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

func registerModel(t *rapid.T, w *world, id ulid.ULID) events.Data {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d", "aa"}).Draw(t, "name")
	if slices.ContainsFunc(w.models, func(m *worldModel) bool { return m.name == name }) {
		return nil
	}
	return events.ModelRegistered{ModelID: id, Name: name, Description: text(t, "description"), Tags: tags(t)}
}

func someModel(t *rapid.T, w *world) *worldModel {
	if len(w.models) == 0 {
		return nil
	}
	return rapid.SampledFrom(w.models).Draw(t, "model")
}

// someVersion draws a version of a model that has some.
func someVersion(t *rapid.T, w *world) (*worldModel, int) {
	m := someModel(t, w)
	if m == nil || len(m.versions) == 0 {
		return nil, 0
	}
	return m, rapid.IntRange(1, len(m.versions)).Draw(t, "version")
}

func registerVersion(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m := someModel(t, w)
	if m == nil {
		return nil
	}
	d := events.VersionRegistered{
		ModelID: m.id, Version: len(m.versions) + 1, Source: "s3://models/x", Tags: tags(t), Description: text(t, "description"),
		Format: rapid.SampledFrom([]string{"", "onnx"}).Draw(t, "format"), RunID: rapid.SampledFrom([]string{"", "b4f1"}).Draw(t, "run"),
		Code:       rapid.SampledFrom([]*events.Code{nil, {Repository: "r", Commit: "c"}}).Draw(t, "code"),
		Parameters: rapid.SampledFrom([]map[string]string{nil, {}, {"C": "1.0"}, {"bulky": strings.Repeat("x", 1_100)}}).Draw(t, "parameters"),
		Metrics:    rapid.SampledFrom([]map[string]float64{nil, {"auc": 0.91, "nan": math.NaN(), "zero": math.Copysign(0, -1)}}).Draw(t, "metrics"),
		Signature:  rapid.SampledFrom([]*events.Signature{nil, {}, {Inputs: []events.Object{{"shape": []any{int64(-1), 3.0}}}}}).Draw(t, "signature"),
	}
	sv := rapid.SampledFrom([]string{"", "1.0.0", "1.0.0-rc.1", "1.0.0-rc.2+b", "1.10.0", "1.9.0", "2.0.0"}).Draw(t, "semver")
	if !slices.ContainsFunc(m.versions, func(v *worldVersion) bool { return v.registered.Semver == sv }) {
		d.Semver = sv
	}
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
	d := events.Transition{ModelID: m.id, Version: n, From: m.versions[n-1].stage, To: rapid.SampledFrom(stages).Draw(t, "stage"), Reason: text(t, "reason")}
	if rapid.Bool().Draw(t, "archive existing") && (d.To == "Staging" || d.To == "Production") {
		var others []int
		for i, v := range m.versions {
			if v.stage == d.To && i+1 != n {
				others = append(others, i+1)
			}
		}
		d.Displaced = events.Ranges(others)
	}
	switch from, to := slices.Index(stages, d.From), slices.Index(stages, d.To); {
	case from == to && d.Displaced == nil:
		return nil
	case d.To == "Archived":
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

func define(t *rapid.T, w *world, id ulid.ULID) events.Data {
	name := rapid.SampledFrom([]projections.TargetName{{Environment: "prod", Name: "b"}, {Environment: "prod", Name: "a"}, {Environment: "eu", Name: "z"}}).Draw(t, "target")
	if slices.ContainsFunc(w.targets, func(t *worldTarget) bool { return t.name == name }) {
		return nil
	}
	return events.TargetDefined{TargetID: id, Environment: name.Environment, Name: name.Name, Description: text(t, "description")}
}

func deploy(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	m, n := someVersion(t, w)
	if m == nil || len(w.targets) == 0 {
		return nil
	}
	target := rapid.SampledFrom(w.targets).Draw(t, "target")
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
	if len(w.targets) == 0 {
		return nil
	}
	target := rapid.SampledFrom(w.targets).Draw(t, "target")
	var chain []table
	for g := target.now().Previous; g != 0; g = target.generation(g).Previous {
		chain = append(chain, target.generation(g))
	}
	if len(chain) == 0 {
		return nil
	}
	to := rapid.SampledFrom(chain).Draw(t, "to")
	return events.DeploymentRolledBack{
		TargetID: target.id, From: target.now().Generation, To: to.Generation, Strategy: to.Strategy, Variants: to.Variants, Reason: text(t, "reason"),
	}
}
