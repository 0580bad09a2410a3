package projections

import (
	"iter"
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
	Code         *events.Code      `json:"code,omitempty"`
	BaseModel    *events.VersionID `json:"base_model,omitempty"`
	Details      []byte            `json:"details,omitempty"` // canonical msgpack of Details
	InLog        bool              `json:"in_log,omitzero"`   // the details are too bulky, and stay in the log
	CreatedMilli int64             `json:"created_at"`
	CreatedBy    string            `json:"created_by,omitempty"` // principal
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
	if r.Details == nil {
		return d, nil
	}
	err := events.ReadCanonical(r.Details, &d)
	return d, err
}

// Version is what can change of a model version, as of a sequence.
type Version struct {
	ID           events.VersionID  `json:"id"`
	Stage        string            `json:"stage"`
	Description  events.Text       `json:"description,omitzero"`
	Tags         map[string]string `json:"tags,omitempty"`
	UpdatedMilli int64             `json:"updated_at"`
}

// UpdatedAt is when the version last changed.
func (v *Version) UpdatedAt() time.Time { return fromMilli(v.UpdatedMilli) }

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

func (s *State) versionRegistered(c change, e events.VersionRegistered) {
	id := events.VersionID{ModelID: e.ModelID, Version: e.Version}
	r := &Registration{
		Sequence: c.sequence, Semver: e.Semver, Source: e.Source, Format: s.intern(e.Format), RunID: e.RunID,
		Code: e.Code, BaseModel: e.BaseModel, CreatedMilli: c.at, CreatedBy: c.by,
	}
	// What was decoded from the log, or decided from valid input, has a form.
	if details, err := events.AppendCanonical(nil, DetailsOf(e)); err == nil && len(details) <= maxDetails {
		r.Details = details
	} else {
		r.InLog = true
	}
	s.registrations.put(c.sequence, id, r)
	v := &Version{
		ID: id, Stage: defaultLifecycle.Initial(), Description: e.Description, Tags: e.Tags, UpdatedMilli: c.at,
	}
	s.versions.put(c.sequence, id, v)
	s.stages.put(c.sequence, stageKey{id.ModelID, v.Stage, id.Version}, struct{}{})
	if sv, err := semver.StrictNewVersion(e.Semver); err == nil {
		s.semvers.put(c.sequence, semverKeyOf(id.ModelID, sv), id.Version)
	}
	s.reviseModel(c, id.ModelID, func(m *Model) {
		m.LatestVersion, m.LastVersion, m.UpdatedMilli = e.Version, e.Version, c.at
	})
}

func (s *State) versionMoved(c change, e events.Transition) {
	for _, r := range e.Displaced {
		for n := r[0]; n <= r[1]; n++ {
			s.setStage(c, events.VersionID{ModelID: e.ModelID, Version: n}, defaultLifecycle.Archive)
		}
	}
	s.setStage(c, events.VersionID{ModelID: e.ModelID, Version: e.Version}, s.intern(e.To))
	s.reviseModel(c, e.ModelID, func(m *Model) { m.UpdatedMilli = c.at })
}

func (s *State) setStage(c change, id events.VersionID, stage string) {
	s.reviseVersion(c, id, func(v *Version) {
		s.stages.remove(c.sequence, stageKey{id.ModelID, v.Stage, id.Version})
		v.Stage, v.UpdatedMilli = stage, c.at
		s.stages.put(c.sequence, stageKey{id.ModelID, stage, id.Version}, struct{}{})
	})
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
	return f.value, f.sequence, ok
}

// Registration gives what was registered of a version.
func (v View) Registration(id events.VersionID) (*Registration, bool) {
	f, ok := v.state.registrations.get(v.Sequence, id)
	return f.value, ok
}

// Versions yields a model's versions from a number down.
func (v View) Versions(model ulid.ULID, from int) iter.Seq[*Version] {
	return func(yield func(*Version) bool) {
		for id, version := range v.state.versions.descend(v.Sequence, events.VersionID{ModelID: model, Version: from}) {
			if id.ModelID != model || !yield(version) {
				return
			}
		}
	}
}

// InStage yields the numbers of a model's versions in a stage, highest first.
func (v View) InStage(model ulid.ULID, stage string) iter.Seq[int] {
	return func(yield func(int) bool) {
		from := stageKey{model, stage, maxVersion}
		for k := range v.state.stages.descend(v.Sequence, from) {
			if k.ModelID != model || k.Stage != stage || !yield(k.Version) {
				return
			}
		}
	}
}

const maxVersion = int(^uint(0) >> 1)

// BySemver yields a model's semantic versions and their numbers, highest first.
func (v View) BySemver(model ulid.ULID) iter.Seq2[*semver.Version, int] {
	return func(yield func(*semver.Version, int) bool) {
		from := semverKey{ModelID: model, Major: ^uint64(0), Minor: ^uint64(0), Patch: ^uint64(0)}
		for k, number := range v.state.semvers.descend(v.Sequence, from) {
			if k.ModelID != model || !yield(k.version(), number) {
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
