package events

import (
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

var versionReaders = []kindReader{
	reads[VersionRegistered](), reads[VersionDescribed](), reads[VersionPromoted](), reads[VersionDemoted](),
	reads[VersionArchived](), reads[VersionDeprecated](), reads[VersionRestored](), reads[VersionDeleted](),
}

// VersionRegistered records a new model version: where its files are, what they
// are, and what they were made from.
type VersionRegistered struct {
	ModelID     ulid.ULID          `json:"model_id"`
	Version     int                `json:"version"` // from 1 within the model, never reused
	Semver      string             `json:"semver,omitempty"`
	Source      string             `json:"source"` // URI of the model's files, as the publisher gave it
	Format      string             `json:"format,omitempty"`
	Artifacts   []Artifact         `json:"artifacts,omitempty"`
	RunID       string             `json:"run_id,omitempty"`       // the training run, in the publisher's tracker
	RunLink     string             `json:"run_link,omitempty"`     // URI at which people look at that run
	LoggedModel string             `json:"logged_model,omitempty"` // id of the model in the publisher's tracker, such as MLflow's m-1234
	Code        *Code              `json:"code,omitempty"`
	Datasets    []Dataset          `json:"datasets,omitempty"`
	Parameters  map[string]string  `json:"parameters,omitempty"`
	Metrics     map[string]float64 `json:"metrics,omitempty"`
	Signature   *Signature         `json:"signature,omitempty"`
	BaseModel   *VersionID         `json:"base_model,omitempty"` // what it was fine-tuned or derived from
	Tags        map[string]string  `json:"tags,omitempty"`
	Description Text               `json:"description,omitzero"`
}

// Artifact is one file of a model version.
type Artifact struct {
	Path   string `json:"path"`   // relative to the version's source
	SHA256 string `json:"sha256"` // 64 hex digits
	Size   int64  `json:"size"`   // bytes
}

// Code is the source code that a version was trained with.
type Code struct {
	Repository string `json:"repository"`
	Commit     string `json:"commit,omitempty"`
}

// Dataset is a data set that a version was made from.
type Dataset struct {
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"` // "sha256:<64 hex digits>", or the tracker's own
	Role   string `json:"role,omitempty"`   // "train", "validation", "test"
}

// Signature is the model signature: what the model takes and gives, each entry
// an object in the publisher's own terms, such as MLflow's.
type Signature struct {
	Inputs  []Object `json:"inputs,omitempty"`
	Outputs []Object `json:"outputs,omitempty"`
	Params  []Object `json:"params,omitempty"`
}

// VersionID names a model version for ever.
type VersionID struct {
	ModelID ulid.ULID `json:"model_id"`
	Version int       `json:"version"`
}

func (VersionRegistered) kind() string { return "version.registered.v1" }

// Resource is the version.
func (e VersionRegistered) Resource() Resource {
	return versionResource(e.ModelID, e.Version)
}

// Summary tells people what happened.
func (e VersionRegistered) Summary() string {
	parts := []string{"registered the version"}
	if e.Semver != "" {
		parts[0] += " as " + e.Semver
	}
	if n := len(e.Artifacts); n > 0 {
		parts = append(parts, count(n, "artifact"))
	}
	return strings.Join(append(parts, "source "+e.Source), ", ")
}

// VersionDescribed records a change of a version's description or tags. What it
// doesn't name stays as it was.
type VersionDescribed struct {
	ModelID     ulid.ULID         `json:"model_id"`
	Version     int               `json:"version"`
	Description *Text             `json:"description,omitempty"`  // the new one, absent if it stays
	Tags        map[string]string `json:"tags,omitempty"`         // set, or set anew
	RemovedTags []string          `json:"removed_tags,omitempty"` // sorted
}

func (VersionDescribed) kind() string { return "version.described.v1" }

// Resource is the version.
func (e VersionDescribed) Resource() Resource { return versionResource(e.ModelID, e.Version) }

// Summary tells people what happened.
func (e VersionDescribed) Summary() string { return described(e.Description, e.Tags, e.RemovedTags) }

// VersionDeprecated records that a version should not be used any more: it stays
// where it is, but is not newly promoted or deployed. A later one replaces what
// an earlier one said.
type VersionDeprecated struct {
	ModelID     ulid.ULID  `json:"model_id"`
	Version     int        `json:"version"`
	Reason      Text       `json:"reason,omitzero"`
	Sunset      time.Time  `json:"sunset,omitzero"` // when it will be gone
	Replacement *VersionID `json:"replacement,omitempty"`
}

func (VersionDeprecated) kind() string { return "version.deprecated.v1" }

// Resource is the version.
func (e VersionDeprecated) Resource() Resource { return versionResource(e.ModelID, e.Version) }

// Summary tells people what happened.
func (e VersionDeprecated) Summary() string {
	s := "deprecated"
	if !e.Sunset.IsZero() {
		s += " until " + FormatTime(e.Sunset)
	}
	if e.Replacement != nil {
		s += fmt.Sprintf(", replaced by version %d", e.Replacement.Version)
		if e.Replacement.ModelID != e.ModelID {
			s += " of another model"
		}
	}
	return because(s, e.Reason)
}

// VersionRestored records that a version isn't deprecated any more.
type VersionRestored struct {
	ModelID ulid.ULID `json:"model_id"`
	Version int       `json:"version"`
	Reason  Text      `json:"reason,omitzero"`
}

func (VersionRestored) kind() string { return "version.restored.v1" }

// Resource is the version.
func (e VersionRestored) Resource() Resource { return versionResource(e.ModelID, e.Version) }

// Summary tells people what happened.
func (e VersionRestored) Summary() string { return because("restored from deprecation", e.Reason) }

// VersionDeleted records that a version is gone, and which aliases went with it.
// Its number and its semantic version are not used again.
type VersionDeleted struct {
	ModelID ulid.ULID `json:"model_id"`
	Version int       `json:"version"`
	Aliases []string  `json:"aliases,omitempty"` // sorted
	Reason  Text      `json:"reason,omitzero"`
}

func (VersionDeleted) kind() string { return "version.deleted.v1" }

// Resource is the version.
func (e VersionDeleted) Resource() Resource { return versionResource(e.ModelID, e.Version) }

// Summary tells people what happened.
func (e VersionDeleted) Summary() string {
	s := "deleted the version"
	if n := len(e.Aliases); n > 0 {
		s += " with @" + strings.Join(e.Aliases, ", @")
	}
	return because(s, e.Reason)
}

func versionResource(model ulid.ULID, version int) Resource {
	return Resource{Root: Root{ModelRoot, model}, Version: version}
}

// Transition records that a version moved from one stage to another, and which
// versions had to make room. It is the shape of VersionPromoted, VersionDemoted
// and VersionArchived; which of them it is follows from the order of the stages
// in the model's lifecycle.
type Transition struct {
	ModelID   ulid.ULID `json:"model_id"`
	Version   int       `json:"version"`
	From      string    `json:"from"`                // stage
	To        string    `json:"to"`                  // stage
	Displaced []Range   `json:"displaced,omitempty"` // went from To to the lifecycle's archive stage
	Reason    Text      `json:"reason,omitzero"`
	Forced    bool      `json:"forced,omitzero"` // a rule spoke against it
}

// Range is the version numbers from the first to the second, both included.
type Range [2]int

// Ranges packs ascending numbers into ranges.
func Ranges(numbers []int) []Range {
	var packed []Range
	for _, n := range numbers {
		if last := len(packed) - 1; last >= 0 && packed[last][1]+1 == n {
			packed[last][1] = n
		} else {
			packed = append(packed, Range{n, n})
		}
	}
	return packed
}

// VersionPromoted records a transition to a later stage.
type VersionPromoted Transition

// VersionDemoted records a transition to an earlier stage.
type VersionDemoted Transition

// VersionArchived records a transition to the archive stage.
type VersionArchived Transition

func (VersionPromoted) kind() string { return "version.promoted.v1" }
func (VersionDemoted) kind() string  { return "version.demoted.v1" }
func (VersionArchived) kind() string { return "version.archived.v1" }

// Resource is the version.
func (e VersionPromoted) Resource() Resource {
	return versionResource(e.ModelID, e.Version)
}

// Resource is the version.
func (e VersionDemoted) Resource() Resource {
	return versionResource(e.ModelID, e.Version)
}

// Resource is the version.
func (e VersionArchived) Resource() Resource {
	return versionResource(e.ModelID, e.Version)
}

// Summary tells people what happened.
func (e VersionPromoted) Summary() string { return Transition(e).summary("promoted") }

// Summary tells people what happened.
func (e VersionDemoted) Summary() string { return Transition(e).summary("demoted") }

// Summary tells people what happened.
func (e VersionArchived) Summary() string { return Transition(e).summary("archived") }

func (t Transition) summary(verb string) string {
	s := fmt.Sprintf("%s from %s to %s", verb, t.From, t.To)
	if len(t.Displaced) > 0 {
		s += ", displacing " + spellRanges(t.Displaced)
	}
	if t.Forced {
		s += " (forced)"
	}
	return because(s, t.Reason)
}

func spellRanges(ranges []Range) string {
	spelled := make([]string, len(ranges))
	for i, r := range ranges {
		spelled[i] = fmt.Sprint(r[0])
		if r[1] > r[0] {
			spelled[i] = fmt.Sprintf("%d-%d", r[0], r[1])
		}
	}
	return strings.Join(spelled, ", ")
}
