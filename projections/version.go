package projections

import (
	"bytes"
	"crypto/sha256"
	"iter"
	"reflect"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// Registration is what was said of a version when it was registered, and never
// changes.
type Registration struct {
	Sequence     uint64            `json:"sequence"` // of the event that registered it
	Semver       string            `json:"semver,omitempty"`
	Source       string            `json:"source"`
	Format       string            `json:"format,omitempty"`
	RunID        string            `json:"run_id,omitempty"`
	RunLink      string            `json:"run_link,omitempty"`
	LoggedModel  string            `json:"logged_model,omitempty"`
	Code         *events.Code      `json:"code,omitempty"`
	BaseModel    *events.VersionID `json:"base_model,omitempty"`
	Details      []byte            `json:"details,omitempty"` // canonical msgpack of Details
	InLog        bool              `json:"in_log,omitzero"`   // the details are too bulky, and stay in the log
	CreatedMilli int64             `json:"created_at"`
	CreatedBy    string            `json:"created_by,omitempty"` // principal

	// What Hashes gives where the details stay in the log, zero elsewhere.
	SignatureHash events.Hash `json:"signature_hash,omitzero"`
	DatasetsHash  events.Hash `json:"datasets_hash,omitzero"`
}

// CreatedAt is when the version was registered.
func (r *Registration) CreatedAt() time.Time { return fromMilli(r.CreatedMilli) }

// Details are the parts of a version that can be bulky.
type Details struct {
	Artifacts  []events.Artifact  `json:"artifacts,omitempty"`
	Datasets   []events.Dataset   `json:"datasets,omitempty"`
	Parameters map[string]string  `json:"parameters,omitempty"`
	Metrics    map[string]float64 `json:"metrics,omitempty"`
	Signature  *events.Signature  `json:"signature,omitempty"`
}

// DetailsOf takes the details out of the event that registered a version.
func DetailsOf(e events.VersionRegistered) Details {
	return Details{e.Artifacts, e.Datasets, e.Parameters, e.Metrics, e.Signature}
}

// maxDetails is how many bytes of details a version may have in state.
const maxDetails = 1 << 10

// ReadDetails gives the details that state has. Those of a version with InLog
// are in the event with its Sequence.
func (r *Registration) ReadDetails() (Details, error) {
	var d Details
	if r.InLog {
		return d, nil
	}
	err := events.ReadCanonical(r.Details, &d)
	return d, err
}

// Version is what can change of a model version, as of a sequence.
type Version struct {
	ID           events.VersionID `json:"id"`
	Stage        string           `json:"stage"`
	Description  events.Text      `json:"description,omitzero"`
	PackedTags   []byte           `json:"tags,omitempty"`
	UpdatedMilli int64            `json:"updated_at"`
	// UpdatedSequence is that of the event that set UpdatedMilli. Neither knows of
	// the model's renamings; View.Updated does.
	UpdatedSequence uint64       `json:"updated"`
	Deprecation     *Deprecation `json:"deprecation,omitempty"` // nil for none
}

// Deprecation says that a version should not be used any more.
type Deprecation struct {
	Reason      events.Text       `json:"reason,omitzero"`
	SinceMilli  int64             `json:"since"`
	SunsetMilli int64             `json:"sunset,omitzero"` // 0 for none
	Replacement *events.VersionID `json:"replacement,omitempty"`
}

// Since is when the version was deprecated.
func (d *Deprecation) Since() time.Time { return fromMilli(d.SinceMilli) }

// Sunset is when the version will be gone; ok is false when nobody said.
func (d *Deprecation) Sunset() (at time.Time, ok bool) {
	return fromMilli(d.SunsetMilli), d.SunsetMilli != 0
}

// Tags gives the version's tags, nil for none.
func (v *Version) Tags() map[string]string { return unpackTags(v.PackedTags) }

type stageKey struct {
	ModelID ulid.ULID `json:"model_id"`
	Stage   string    `json:"stage"`
	Version int       `json:"version"`
}

func (k stageKey) compare(o stageKey) int {
	if c := k.ModelID.Compare(o.ModelID); c != 0 {
		return c
	}
	if c := strings.Compare(k.Stage, o.Stage); c != 0 {
		return c
	}
	return k.Version - o.Version
}

// semverKey orders a model's versions by the precedence of their semantic
// versions, without build metadata.
type semverKey struct {
	ModelID    ulid.ULID `json:"model_id"`
	Major      uint64    `json:"major"`
	Minor      uint64    `json:"minor"`
	Patch      uint64    `json:"patch"`
	Prerelease string    `json:"prerelease,omitempty"`
}

func semverKeyOf(model ulid.ULID, v *semver.Version) semverKey {
	return semverKey{model, v.Major(), v.Minor(), v.Patch(), v.Prerelease()}
}

func (k semverKey) version() *semver.Version {
	return semver.New(k.Major, k.Minor, k.Patch, k.Prerelease, "")
}

func (k semverKey) compare(o semverKey) int {
	if c := k.ModelID.Compare(o.ModelID); c != 0 {
		return c
	}
	for _, p := range [][2]uint64{{k.Major, o.Major}, {k.Minor, o.Minor}, {k.Patch, o.Patch}} {
		if p[0] != p[1] {
			if p[0] < p[1] {
				return -1
			}
			return 1
		}
	}
	if k.Prerelease == o.Prerelease {
		return 0
	}
	return k.version().Compare(o.version())
}

// newRegistration makes what state keeps of a registration.
func newRegistration(e events.Event, d events.VersionRegistered) *Registration {
	r := &Registration{
		Sequence: e.Sequence, Semver: d.Semver, Source: d.Source, Format: d.Format, RunID: d.RunID,
		RunLink: d.RunLink, LoggedModel: d.LoggedModel, Code: d.Code, BaseModel: d.BaseModel, CreatedMilli: e.Happened().UnixMilli(), CreatedBy: e.Principal,
	}
	var buf [maxDetails]byte // what stays has no room to grow
	details := events.AppendMembers(buf[:0], e.Canonical(), "artifacts", "datasets", "metrics", "parameters", "signature")
	if len(details) <= maxDetails {
		r.Details = bytes.Clone(details)
	} else {
		r.InLog = true
	}
	if r.InLog {
		r.SignatureHash, r.DatasetsHash = hashMember(details, "signature"), hashMember(details, "datasets")
	}
	return r
}

// Hashes gives hashes of the details that tell how much another version differs,
// as HashDetails does.
func (r *Registration) Hashes() (signature, datasets events.Hash) {
	if r.InLog {
		return r.SignatureHash, r.DatasetsHash
	}
	return hashMember(r.Details, "signature"), hashMember(r.Details, "datasets")
}

// hashMember hashes details that have one member only, and gives zero without it.
func hashMember(details []byte, name string) events.Hash {
	member := events.AppendMembers(nil, details, name)
	if len(member) <= 1 { // an empty object
		return events.Hash{}
	}
	return hashOf(member)
}

func (s *State) versionRegistered(c change, e events.VersionRegistered, r *Registration) {
	id := events.VersionID{ModelID: e.ModelID, Version: e.Version}
	r.Format, r.CreatedBy = s.words.one(r.Format), c.by
	s.registrations.put(c.sequence, id, r)
	v := &Version{
		ID: id, Stage: s.lifecycleOf(c, id.ModelID).Initial(), Description: e.Description, PackedTags: packTags(e.Tags),
	}
	s.updated(c, v)
	s.versions.put(c.sequence, id, v)
	s.stages.put(c.sequence, stageKey{id.ModelID, v.Stage, id.Version}, struct{}{})
	if sv, err := semver.StrictNewVersion(e.Semver); err == nil {
		s.semvers.put(c.sequence, semverKeyOf(id.ModelID, sv), id.Version)
	}
	s.reviseModel(c, id.ModelID, func(m *Model) {
		m.LatestVersion, m.LastVersion, m.UpdatedMilli = e.Version, e.Version, c.at
		m.LiveVersions++
	})
	s.versionLineage(c, e)
}

// HashDetails hashes the details that tell how much two versions differ. What is
// absent has the hash zero.
func HashDetails(signature *events.Signature, datasets []events.Dataset) (signatureHash, datasetsHash events.Hash) {
	if signature != nil {
		signatureHash = hashOf(canonicalDetails(Details{Signature: signature}))
	}
	if len(datasets) > 0 {
		datasetsHash = hashOf(canonicalDetails(Details{Datasets: datasets}))
	}
	return signatureHash, datasetsHash
}

// canonicalDetails gives nothing for what can't be written: such a request is
// refused when its event is made.
func canonicalDetails(d Details) []byte {
	b, err := events.AppendCanonical(nil, d)
	if err != nil {
		return nil
	}
	return b
}

func hashOf(canonical []byte) (h events.Hash) {
	sum := sha256.Sum256(canonical)
	copy(h[:], sum[:])
	return h
}

func (s *State) lifecycleOf(c change, model ulid.ULID) *events.Lifecycle {
	if f, ok := s.models.at(c.sequence, model); ok {
		return f.value.Lifecycle()
	}
	return events.DefaultLifecycle()
}

func (s *State) versionDescribed(c change, e events.VersionDescribed) {
	s.reviseVersion(c, events.VersionID{ModelID: e.ModelID, Version: e.Version}, func(v *Version) {
		v.Description = changedText(v.Description, e.Description)
		v.PackedTags = changedTags(v.PackedTags, e.Tags, e.RemovedTags)
		if e.Description != nil {
			s.updated(c, v)
		}
	})
}

func (s *State) versionDeprecated(c change, e events.VersionDeprecated) {
	d := &Deprecation{Reason: e.Reason, SinceMilli: c.at, Replacement: e.Replacement}
	if !e.Sunset.IsZero() {
		d.SunsetMilli = e.Sunset.UnixMilli()
	}
	s.reviseVersion(c, events.VersionID{ModelID: e.ModelID, Version: e.Version}, func(v *Version) {
		if v.Deprecation != nil {
			d.SinceMilli = v.Deprecation.SinceMilli
		}
		v.Deprecation = d
		s.updated(c, v)
	})
}

func (s *State) versionRestored(c change, e events.VersionRestored) {
	s.reviseVersion(c, events.VersionID{ModelID: e.ModelID, Version: e.Version}, func(v *Version) {
		v.Deprecation = nil
		s.updated(c, v)
	})
}

// versionDeleted leaves what was registered, and the semantic version, which is
// not used again.
func (s *State) versionDeleted(c change, e events.VersionDeleted) {
	id := events.VersionID{ModelID: e.ModelID, Version: e.Version}
	f, ok := s.versions.at(c.sequence, id)
	if !ok {
		return
	}
	s.versions.remove(c.sequence, id)
	s.stages.remove(c.sequence, stageKey{id.ModelID, f.value.Stage, id.Version})
	for _, alias := range e.Aliases {
		s.aliases.remove(c.sequence, aliasKey{id.ModelID, alias})
		s.versionAliases.remove(c.sequence, versionAliasKey{id, alias})
	}
	s.reviseModel(c, id.ModelID, func(m *Model) {
		m.UpdatedMilli = c.at
		m.LiveVersions--
		if m.LatestVersion == id.Version {
			m.LatestVersion = s.latestBelow(c, id)
		}
	})
}

// latestBelow gives the highest number below one that is there, 0 for none.
func (s *State) latestBelow(c change, id events.VersionID) int {
	latest := 0
	s.versions.rows.Descend(entry[events.VersionID, *Version]{key: id}, func(e entry[events.VersionID, *Version]) bool {
		if e.key.ModelID != id.ModelID {
			return false
		}
		if _, there := e.row.asOf(c.sequence); there {
			latest = e.key.Version
		}
		return latest == 0
	})
	return latest
}

func (s *State) versionMoved(c change, e events.Transition) {
	archive := s.words.one(s.lifecycleOf(c, e.ModelID).Archive)
	for _, r := range e.Displaced {
		for n := r[0]; n <= r[1]; n++ {
			s.setStage(c, events.VersionID{ModelID: e.ModelID, Version: n}, archive)
		}
	}
	s.setStage(c, events.VersionID{ModelID: e.ModelID, Version: e.Version}, s.words.one(e.To))
	s.reviseModel(c, e.ModelID, func(m *Model) { m.UpdatedMilli = c.at })
}

// updated says that an event moves a version's time of update.
func (s *State) updated(c change, v *Version) {
	if v.UpdatedSequence != c.sequence { // one event touches a version once, whatever its steps
		s.updates.one(c.sequence, v.ID)
	}
	v.UpdatedMilli, v.UpdatedSequence = c.at, c.sequence
}

func (s *State) setStage(c change, id events.VersionID, stage string) {
	s.reviseVersion(c, id, func(v *Version) {
		s.stages.remove(c.sequence, stageKey{id.ModelID, v.Stage, id.Version})
		v.Stage = stage
		s.updated(c, v)
		s.stages.put(c.sequence, stageKey{id.ModelID, stage, id.Version}, struct{}{})
	})
}

// share makes a version that nobody has seen yet share what it can.
func (v *Version) share(w words, before *Version) {
	v.Stage = w.one(v.Stage)
	if before == nil {
		return
	}
	v.Description, v.PackedTags = sharedText(v.Description, before.Description), sharedBytes(v.PackedTags, before.PackedTags)
	if v.Deprecation != nil && reflect.DeepEqual(v.Deprecation, before.Deprecation) {
		v.Deprecation = before.Deprecation
	}
}

// reviseVersion changes a copy of a version; without an edit it only notes that
// something changed which is shown with the version.
func (s *State) reviseVersion(c change, id events.VersionID, edit func(*Version)) {
	f, ok := s.versions.at(c.sequence, id)
	if !ok {
		return
	}
	v := f.value
	if edit != nil {
		next := *v
		edit(&next)
		v = &next
	}
	s.versions.put(c.sequence, id, v)
}

// Version finds a version. The sequence is that of the last event that changed
// anything shown with it.
func (v View) Version(id events.VersionID) (version *Version, sequence uint64, ok bool) {
	f, ok := v.state.versions.get(v.Sequence, id)
	if !ok {
		return nil, 0, false
	}
	sequence = max(f.sequence, v.renamed(id.ModelID))
	if d := f.value.Deprecation; d != nil && d.Replacement != nil {
		sequence = max(sequence, v.renamed(d.Replacement.ModelID))
	}
	if r, ok := v.Registration(id); ok && r.BaseModel != nil {
		sequence = max(sequence, v.renamed(r.BaseModel.ModelID))
	}
	_, withdrew := v.withdrawnUnder(id.Node())
	return f.value, max(sequence, withdrew), true
}

// StageOf gives the stage that a version is in, if it is there.
func (v View) StageOf(id events.VersionID) (stage string, ok bool) {
	f, ok := v.state.versions.get(v.Sequence, id)
	if !ok {
		return "", false
	}
	return f.value.Stage, true
}

// renamed gives the sequence of a model's last renaming, 0 for none.
func (v View) renamed(model ulid.ULID) uint64 {
	f, ok := v.state.models.known(v.Sequence, model)
	if !ok {
		return 0
	}
	return f.value.Renamed
}

// Registration gives what was registered of a version.
func (v View) Registration(id events.VersionID) (*Registration, bool) {
	f, ok := v.state.registrations.get(v.Sequence, id)
	return f.value, ok
}

// VersionStep gives a version before and after the event of the view's sequence, nil
// where it isn't there.
func (v View) VersionStep(id events.VersionID) (was, is *Version) {
	return v.state.versions.step(v.Sequence, id)
}

// RegistrationStep is VersionStep for what a version was registered with.
func (v View) RegistrationStep(id events.VersionID) (was, is *Registration) {
	return v.state.registrations.step(v.Sequence, id)
}

// Versions yields a model's versions from a number down.
func (v View) Versions(model ulid.ULID, from int) iter.Seq[*Version] {
	return func(yield func(*Version) bool) {
		within := func(id events.VersionID) bool { return id.ModelID == model }
		for _, version := range v.state.versions.descendWithin(v.Sequence, events.VersionID{ModelID: model, Version: from}, within) {
			if !yield(version) {
				return
			}
		}
	}
}

// InStage yields the numbers of a model's versions in a stage, highest first.
func (v View) InStage(model ulid.ULID, stage string) iter.Seq[int] {
	return func(yield func(int) bool) {
		within := func(k stageKey) bool { return k.ModelID == model && k.Stage == stage }
		for k := range v.state.stages.descendWithin(v.Sequence, stageKey{model, stage, maxVersion}, within) {
			if !yield(k.Version) {
				return
			}
		}
	}
}

// LatestInStages yields the stages that hold versions of a model, the last by name
// first, each with the highest number in it.
func (v View) LatestInStages(model ulid.ULID) iter.Seq2[string, int] {
	return func(yield func(stage string, version int) bool) {
		from := stageKey{model, afterAllStages, maxVersion}
		within := func(k stageKey) bool { return k.ModelID == model }
		for found := true; found; {
			found = false
			for k := range v.state.stages.descendWithin(v.Sequence, from, within) {
				if found = true; !yield(k.Stage, k.Version) {
					return
				}
				from = stageKey{model, k.Stage, 0} // below all versions in it
				break
			}
		}
	}
}

const afterAllStages = "\xff" // no UTF-8 text sorts after it

const maxVersion = int(^uint(0) >> 1)

// BySemver yields a model's semantic versions and their numbers, highest first.
func (v View) BySemver(model ulid.ULID) iter.Seq2[*semver.Version, int] {
	return func(yield func(*semver.Version, int) bool) {
		from := semverKey{ModelID: model, Major: ^uint64(0), Minor: ^uint64(0), Patch: ^uint64(0)}
		within := func(k semverKey) bool { return k.ModelID == model }
		for k, number := range v.state.semvers.descendWithin(v.Sequence, from, within) {
			if !yield(k.version(), number) {
				return
			}
		}
	}
}

// WithSemver finds the version of a model that has a semantic version, whatever
// the build metadata.
func (v View) WithSemver(model ulid.ULID, sv *semver.Version) (int, bool) {
	f, ok := v.state.semvers.get(v.Sequence, semverKeyOf(model, sv))
	return f.value, ok
}
