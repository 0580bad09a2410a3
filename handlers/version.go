package handlers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// VersionSpec describes a new model version. Only the source is required.
type VersionSpec struct {
	// Version is the number it is to have, higher than any that the model ever
	// gave; 0 for the next one. It is for those who bring versions along.
	Version     int                `json:"version,omitzero"`
	Semver      string             `json:"semver,omitempty"`
	Bump        string             `json:"bump,omitempty"` // major, minor, patch or auto, instead of semver
	Source      string             `json:"source"`
	Format      string             `json:"format,omitempty"`
	Artifacts   []events.Artifact  `json:"artifacts,omitempty"`
	RunID       string             `json:"run_id,omitempty"`
	RunLink     string             `json:"run_link,omitempty"`     // URI of the run
	LoggedModel string             `json:"logged_model,omitempty"` // id in the tracker, such as MLflow's m-1234
	Code        *events.Code       `json:"code,omitempty"`
	Datasets    []events.Dataset   `json:"datasets,omitempty"`
	Parameters  map[string]string  `json:"parameters,omitempty"`
	Metrics     map[string]float64 `json:"metrics,omitempty"`
	Signature   *events.Signature  `json:"signature,omitempty"`
	BaseModel   string             `json:"base_model,omitempty"` // whole reference
	Tags        map[string]string  `json:"tags,omitempty"`
	Description string             `json:"description,omitempty"`
}

// RegisterVersion asks for a new version of a model.
type RegisterVersion struct {
	Model string      `json:"model"`
	Spec  VersionSpec `json:"spec"`
}

// Kind names the command.
func (*RegisterVersion) Kind() string { return "register_version" }

func (cmd *RegisterVersion) check() error {
	var c checker
	c.length("model", cmd.Model, MaxName)
	s := &cmd.Spec
	if s.Version < 0 || s.Version > MaxVersion {
		c.fail("/version", "range", "must be a number from 1 to %d, or absent for the next one", MaxVersion)
	}
	if s.Semver != "" {
		if _, err := semver.StrictNewVersion(s.Semver); err != nil {
			c.fail("/semver", "semantic_version", "%q is not a semantic version such as 2.1.0 (semver.org)", s.Semver)
		}
		c.length("/semver", s.Semver, MaxShort)
	}
	switch s.Bump {
	case "", bumpMajor, bumpMinor, bumpPatch, bumpAuto:
	default:
		c.fail("/bump", "enum", "must be major, minor, patch or auto")
	}
	if s.Bump != "" && s.Semver != "" {
		c.fail("/bump", "not_with_semver", "must not be given together with semver")
	}
	if c.required("/source", s.Source) {
		c.uri("/source", s.Source)
	}
	c.text("/format", s.Format, MaxShort)
	c.text("/run_id", s.RunID, MaxShort)
	if s.RunLink != "" {
		c.uri("/run_link", s.RunLink)
	}
	c.text("/logged_model", s.LoggedModel, MaxShort)
	c.length("/description", s.Description, MaxDescription)
	c.tags(s.Tags)
	c.pairs("/parameters", s.Parameters, MaxParameters)
	c.count("/metrics", len(s.Metrics), MaxMetrics)
	c.keys("/metrics", s.Metrics)
	c.code(s.Code)
	c.artifacts(s.Artifacts)
	c.datasets(s.Datasets)
	if s.BaseModel != "" {
		c.length("/base_model", s.BaseModel, MaxName+1+MaxReference)
		if _, _, err := SplitReference("/base_model", s.BaseModel); err != nil {
			c.fail("/base_model", "reference", "%q is not a reference such as fraud/7", s.BaseModel)
		}
	}
	return c.err()
}

func (c *checker) code(code *events.Code) {
	if code == nil {
		return
	}
	if c.required("/code/repository", code.Repository) {
		c.uri("/code/repository", code.Repository)
	}
	c.text("/code/commit", code.Commit, MaxShort)
}

func (c *checker) artifacts(artifacts []events.Artifact) {
	c.count("/artifacts", len(artifacts), MaxArtifacts)
	seen := make(map[string]bool, len(artifacts))
	for i, a := range artifacts {
		if seen[a.Path] || !isPlain(a.Path, MaxSourceBytes) || strings.Contains("/"+a.Path, "/..") || a.Path[0] == '/' {
			c.artifactPath(element("/artifacts", i, "path"), a.Path, seen[a.Path])
		}
		seen[a.Path] = true
		if !isDigest(a.SHA256) {
			c.fail(element("/artifacts", i, "sha256"), "sha256", "must be 64 hex digits in lower case")
		}
		if a.Size < 0 {
			c.fail(element("/artifacts", i, "size"), "minimum", "must not be negative")
		}
	}
}

// artifactPath says what is wrong with a path, if anything is.
func (c *checker) artifactPath(at, path string, seen bool) {
	switch {
	case !c.required(at, path):
	case strings.HasPrefix(path, "/") || strings.Contains("/"+path+"/", "/../"):
		c.fail(at, "relative_path", "must be a path below the source, without ..")
	case seen:
		c.fail(at, "unique", "%q is there twice", path)
	}
	c.text(at, path, MaxSourceBytes)
}

func (c *checker) datasets(datasets []events.Dataset) {
	c.count("/datasets", len(datasets), MaxDatasets)
	for i, d := range datasets {
		if !isPlain(d.Name, MaxSourceBytes) {
			at := element("/datasets", i, "name")
			c.required(at, d.Name)
			c.text(at, d.Name, MaxSourceBytes)
		}
		if digits, ok := strings.CutPrefix(d.Digest, "sha256:"); d.Digest != "" && (!ok || !isDigest(digits)) {
			c.fail(element("/datasets", i, "digest"), "sha256", "must be sha256: and 64 hex digits in lower case")
		}
		if d.Role != "" && !rolePattern.MatchString(d.Role) {
			c.fail(element("/datasets", i, "role"), "role_characters", "must be a word such as train, validation or test")
		}
	}
}

func (cmd *RegisterVersion) decide(v projections.View, _ occasion) (decision, error) {
	m, _, err := FindModel(v, cmd.Model)
	if err != nil {
		return decision{}, err
	}
	s := cmd.Spec
	var base *events.VersionID
	if s.BaseModel != "" {
		id, err := findWhole(v, "/base_model", s.BaseModel)
		if err != nil {
			return decision{}, err
		}
		base = &id
	}
	number, err := chooseNumber(m, s)
	if err != nil {
		return decision{}, err
	}
	chosen, err := chooseSemver(v, m, s, base)
	if err != nil {
		return decision{}, err
	}
	return write(events.VersionRegistered{
		ModelID: m.ID, Version: number, Semver: chosen, Source: s.Source, Format: s.Format,
		Artifacts: s.Artifacts, RunID: s.RunID, RunLink: s.RunLink, LoggedModel: s.LoggedModel, Code: s.Code,
		Datasets: s.Datasets, Parameters: s.Parameters,
		Metrics: s.Metrics, Signature: s.Signature, BaseModel: base, Tags: s.Tags,
		Description: events.Plain(s.Description),
	})
}

// chooseNumber gives the number of a new version: the one that was asked for, if
// none as high was ever given, or the next one. Gaps are legal: who brings
// versions along leaves out those that were deleted where they come from.
func chooseNumber(m *projections.Model, s VersionSpec) (int, error) {
	switch {
	case s.Version > m.LastVersion:
		return s.Version, nil
	case s.Version > 0:
		return 0, RuleError{CodeVersionNumberTaken, fmt.Sprintf("%s has given the numbers up to %d already; choose a higher one than %d, or none for the next",
			m.Name, m.LastVersion, s.Version)}
	case m.LastVersion >= MaxVersion:
		return 0, RuleError{CodeVersionNumberTaken, fmt.Sprintf("%s has given its last number, %d; register another model", m.Name, m.LastVersion)}
	default:
		return m.LastVersion + 1, nil
	}
}

func (cmd *RegisterVersion) etag(v projections.View) (uint64, bool) { return modelETag(v, cmd.Model) }

// Promotion says where a version is to go.
type Promotion struct {
	To     string `json:"to"` // stage, in any case
	Reason string `json:"reason,omitempty"`
	// ArchiveExisting sends the other versions that are in the stage to the
	// archive, in the same event.
	ArchiveExisting bool `json:"archive_existing,omitzero"`
	// Force passes over a rule that speaks against it, with a reason: the
	// version is deprecated or comes from withdrawn data, or the lifecycle
	// doesn't allow the transition.
	Force bool `json:"force,omitzero"`
}

// PromoteVersion asks to move a version to another stage, forward, back or to
// the archive.
type PromoteVersion struct {
	Model     string    `json:"model"`
	Ref       string    `json:"ref"`
	Promotion Promotion `json:"promotion"`
}

// Kind names the command.
func (*PromoteVersion) Kind() string { return "promote_version" }

func (cmd *PromoteVersion) check() error {
	var c checker
	c.length("model", cmd.Model, MaxName)
	c.length("ref", cmd.Ref, MaxReference)
	c.required("/to", cmd.Promotion.To)
	c.length("/to", cmd.Promotion.To, MaxShort)
	c.length("/reason", cmd.Promotion.Reason, MaxReason)
	c.forced(cmd.Promotion.Force, cmd.Promotion.Reason)
	return c.err()
}

// forced asks for a reason of what is forced.
func (c *checker) forced(force bool, reason string) {
	if force && reason == "" {
		c.fail("/reason", "required_if_forced", "is required with force")
	}
}

func (cmd *PromoteVersion) decide(v projections.View, _ occasion) (decision, error) {
	m, id, err := find(v, cmd.Model, cmd.Ref)
	if err != nil {
		return decision{}, err
	}
	lifecycle := m.Lifecycle()
	to, ok := lifecycle.Stage(cmd.Promotion.To)
	if !ok {
		return decision{}, InvalidField("/to", "stage", "%q is not a stage of %s; its stages are %s",
			cmd.Promotion.To, m.Name, strings.Join(lifecycle.Stages, ", "))
	}
	if cmd.Promotion.ArchiveExisting && !lifecycle.Active(to) {
		return decision{}, InvalidField("/archive_existing", "active_stage",
			"is for stages in use; %s holds versions that are not", to)
	}
	version, _, _ := v.Version(id)
	t := events.Transition{
		ModelID: m.ID, Version: id.Version, From: version.Stage, To: to, Reason: events.Plain(cmd.Promotion.Reason),
	}
	if cmd.Promotion.ArchiveExisting || lifecycle.Holds(to) {
		t.Displaced = displaced(v, id, to)
	}
	if t.From == t.To && len(t.Displaced) == 0 {
		return alreadySo(versionResource(id))
	}
	if against := notPromotable(v, m, t); against != nil {
		if !cmd.Promotion.Force {
			return decision{}, against
		}
		t.Forced = true
	}
	switch {
	case to == lifecycle.Archive:
		return write(events.VersionArchived(t))
	case lifecycle.Before(to, t.From):
		return write(events.VersionDemoted(t))
	default:
		return write(events.VersionPromoted(t))
	}
}

// notPromotable gives the rule that speaks against a transition, nil for none.
func notPromotable(v projections.View, m *projections.Model, t events.Transition) error {
	lifecycle := m.Lifecycle()
	if t.From != t.To && !lifecycle.Allows(t.From, t.To) {
		return RuleError{CodeTransition, fmt.Sprintf("%s/%d can't go from %s to %s; %s, or pass force with a reason",
			m.Name, t.Version, t.From, t.To, spellAllowed(lifecycle, t.From))}
	}
	// Out of the archive into a stage in use is a new use, though it goes back.
	backwards := lifecycle.Before(t.To, t.From) && t.From != lifecycle.Archive
	if backwards || !lifecycle.Active(t.To) {
		return nil
	}
	return unfit(v, events.VersionID{ModelID: t.ModelID, Version: t.Version}, "promote")
}

func spellAllowed(l *events.Lifecycle, from string) string {
	var to []string
	for _, stage := range l.Stages {
		if stage != from && l.Allows(from, stage) {
			to = append(to, stage)
		}
	}
	if len(to) == 0 {
		return "there is no way on from " + from
	}
	return "it can go to " + strings.Join(to, ", ")
}

// displaced gives the other versions in a stage.
func displaced(v projections.View, id events.VersionID, stage string) []events.Range {
	var numbers []int
	for number := range v.InStage(id.ModelID, stage) {
		if number != id.Version {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return events.Ranges(numbers)
}

func (cmd *PromoteVersion) etag(v projections.View) (uint64, bool) {
	return versionETag(v, cmd.Model, cmd.Ref)
}
