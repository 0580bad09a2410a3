package api

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// Model is how a registered model is shown.
type Model struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	Description   string            `json:"description"`
	Tags          map[string]string `json:"tags"`
	Lifecycle     Lifecycle         `json:"lifecycle"`
	Aliases       map[string]int    `json:"aliases"`
	LatestVersion int               `json:"latest_version,omitzero"` // absent without versions
	CreatedAt     string            `json:"created_at"`
	UpdatedAt     string            `json:"updated_at"`
	CreatedBy     string            `json:"created_by,omitempty"`
	Sequence      uint64            `json:"sequence"` // of the last event that changed anything shown here
}

// Lifecycle is how a model's lifecycle is shown.
type Lifecycle struct {
	Stages      []string    `json:"stages"`      // from first to last
	Archive     string      `json:"archive"`     // takes displaced versions
	Transitions Transitions `json:"transitions"` // "any", or those that are allowed
	Exclusive   []string    `json:"exclusive"`   // hold one version only
}

// Transitions are those that a lifecycle allows, as from and to; none stands for
// "any".
type Transitions [][2]string

// MarshalJSONTo writes "any" for none.
func (t Transitions) MarshalJSONTo(enc *jsontext.Encoder) error {
	if len(t) == 0 {
		return enc.WriteToken(jsontext.String("any"))
	}
	return json.MarshalEncode(enc, [][2]string(t))
}

// UnmarshalJSONFrom reads "any" as none.
func (t *Transitions) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != jsontext.KindString {
		return json.UnmarshalDecode(dec, (*[][2]string)(t))
	}
	token, err := dec.ReadToken()
	if err == nil && token.String() != "any" {
		err = fmt.Errorf("%q is neither any nor a list", token.String())
	}
	*t = nil
	return err
}

// Deprecation is how it is shown that a version should not be used any more.
type Deprecation struct {
	Reason      string `json:"reason,omitempty"`
	Since       string `json:"since"`
	Sunset      string `json:"sunset,omitempty"`      // when the version will be gone
	Replacement string `json:"replacement,omitempty"` // whole reference
}

// VersionSummary is how a model version is shown in lists.
type VersionSummary struct {
	Model       string            `json:"model"`
	ModelID     string            `json:"model_id"`
	Version     int               `json:"version"`
	Semver      string            `json:"semver,omitempty"`
	Stage       string            `json:"stage"`
	Aliases     []string          `json:"aliases"`
	Source      string            `json:"source"`
	Format      string            `json:"format,omitempty"`
	RunID       string            `json:"run_id,omitempty"`
	RunLink     string            `json:"run_link,omitempty"`
	LoggedModel string            `json:"logged_model,omitempty"`
	Code        *events.Code      `json:"code,omitempty"`
	BaseModel   string            `json:"base_model,omitempty"`
	Tags        map[string]string `json:"tags"`
	Description string            `json:"description"`
	Deprecation *Deprecation      `json:"deprecation,omitempty"`
	// WithdrawnData are the data sets that the version comes from and that must
	// not be used any more, as nodes of the lineage are spelled.
	WithdrawnData []string `json:"withdrawn_data,omitempty"`
	DeployedTo    []string `json:"deployed_to,omitempty"`
	CreatedAt     string   `json:"created_at"`
	UpdatedAt     string   `json:"updated_at"`
	CreatedBy     string   `json:"created_by,omitempty"`
	Sequence      uint64   `json:"sequence"` // of the last event that changed anything shown here
}

// Version is how one model version is shown.
type Version struct {
	Model         string             `json:"model"`
	ModelID       string             `json:"model_id"`
	Version       int                `json:"version"`
	Semver        string             `json:"semver,omitempty"`
	Stage         string             `json:"stage"`
	Aliases       []string           `json:"aliases"`
	Source        string             `json:"source"`
	Format        string             `json:"format,omitempty"`
	Artifacts     []events.Artifact  `json:"artifacts,omitempty"`
	RunID         string             `json:"run_id,omitempty"`
	RunLink       string             `json:"run_link,omitempty"`
	LoggedModel   string             `json:"logged_model,omitempty"`
	Code          *events.Code       `json:"code,omitempty"`
	Datasets      []events.Dataset   `json:"datasets,omitempty"`
	Parameters    map[string]string  `json:"parameters,omitempty"`
	Metrics       map[string]float64 `json:"metrics,omitempty"`
	Signature     *events.Signature  `json:"signature,omitempty"`
	BaseModel     string             `json:"base_model,omitempty"`
	Tags          map[string]string  `json:"tags"`
	Description   string             `json:"description"`
	Deprecation   *Deprecation       `json:"deprecation,omitempty"`
	WithdrawnData []string           `json:"withdrawn_data,omitempty"` // nodes of the lineage: withdrawn data sets that the version comes from
	DeployedTo    []string           `json:"deployed_to,omitempty"`
	CreatedAt     string             `json:"created_at"`
	UpdatedAt     string             `json:"updated_at"`
	CreatedBy     string             `json:"created_by,omitempty"`
	Sequence      uint64             `json:"sequence"` // of the last event that changed anything shown here
}

// Alias is how an alias is shown.
type Alias struct {
	Model    string `json:"model"`
	ModelID  string `json:"model_id"`
	Alias    string `json:"alias"`
	Version  int    `json:"version"`
	Sequence uint64 `json:"sequence"` // of the event that assigned it
}

// Variant is one version that runs on a target.
type Variant struct {
	Model   string `json:"model"`
	ModelID string `json:"model_id"`
	Version int    `json:"version"`
	Role    string `json:"role"`
	Weight  int    `json:"weight"` // share of the traffic in basis points
}

// Target is how a target is shown, with what runs there.
type Target struct {
	ID                 string    `json:"id"`
	Environment        string    `json:"environment"`
	Name               string    `json:"name"`
	Description        string    `json:"description"`
	Strategy           string    `json:"strategy,omitempty"`
	Variants           []Variant `json:"variants"`
	Generation         uint64    `json:"generation,omitzero"`          // sequence of the event that set the variants
	PreviousGeneration uint64    `json:"previous_generation,omitzero"` // what a rollback goes to
	DeployedAt         string    `json:"deployed_at,omitempty"`
	RecordedAt         string    `json:"recorded_at,omitempty"` // when the registry learned of the deployment, unless that was when it happened
	DeployedBy         string    `json:"deployed_by,omitempty"`
	Reason             string    `json:"reason,omitempty"`
	Sequence           uint64    `json:"sequence"`        // of the last event that changed anything shown here
	Asked              *Asked    `json:"asked,omitempty"` // with valid_at only
}

// State says how far the registry has come.
type State struct {
	RegistryID string  `json:"registry_id"`
	Level      int     `json:"level"`
	Sequence   uint64  `json:"sequence"`
	RecordedAt string  `json:"recorded_at,omitempty"` // time of the event with that sequence
	Fold       int     `json:"fold"`                  // version of the fold that the digest is of
	Digest     *Digest `json:"digest,omitempty"`
}

// Digest is a state's digest as of a sequence.
type Digest struct {
	Sequence uint64 `json:"sequence"`
	SHA256   string `json:"sha256"`
}

func showModel(v projections.View, m *projections.Model, sequence uint64) Model {
	return Model{
		ID: m.ID.String(), Name: m.Name, Description: m.Description.String(), Tags: shownTags(m.Tags()),
		Lifecycle: showLifecycle(m.Lifecycle()), Aliases: maps.Collect(v.Aliases(m.ID)), LatestVersion: m.LatestVersion,
		CreatedAt: events.FormatTime(m.CreatedAt()), UpdatedAt: events.FormatTime(m.UpdatedAt()),
		CreatedBy: m.CreatedBy, Sequence: sequence,
	}
}

func showLifecycle(l *events.Lifecycle) Lifecycle {
	return Lifecycle{l.Stages, l.Archive, Transitions(l.Transitions), append([]string{}, l.Exclusive...)}
}

func showDeprecation(v projections.View, d *projections.Deprecation) *Deprecation {
	if d == nil {
		return nil
	}
	shown := &Deprecation{Reason: d.Reason.String(), Since: events.FormatTime(d.Since())}
	if at, ok := d.Sunset(); ok {
		shown.Sunset = events.FormatTime(at)
	}
	if d.Replacement != nil {
		shown.Replacement = handlers.VersionName(v, *d.Replacement)
	}
	return shown
}

func shownTags(tags map[string]string) map[string]string {
	if tags == nil {
		return map[string]string{}
	}
	return tags
}

func summarize(v projections.View, id events.VersionID) (VersionSummary, *projections.Registration, error) {
	version, sequence, ok := v.Version(id)
	registration, registered := v.Registration(id)
	model, _, known := v.ModelByID(id.ModelID)
	if !ok || !registered || !known {
		return VersionSummary{}, nil, handlers.NotFoundError{What: handlers.CodeVersionNotFound, Name: strconv.Itoa(id.Version)}
	}
	updated, _ := v.Updated(version)
	s := VersionSummary{
		Model: model.Name, ModelID: id.ModelID.String(), Version: id.Version, Semver: registration.Semver,
		Stage: version.Stage, Aliases: slices.AppendSeq([]string{}, v.AliasesOf(id)),
		Source: registration.Source, Format: registration.Format, RunID: registration.RunID,
		RunLink: registration.RunLink, LoggedModel: registration.LoggedModel, Code: registration.Code,
		Tags: shownTags(version.Tags()), Description: version.Description.String(),
		Deprecation: showDeprecation(v, version.Deprecation), WithdrawnData: showWithdrawnData(v, id),
		CreatedAt: events.FormatTime(registration.CreatedAt()), UpdatedAt: events.FormatTime(updated),
		CreatedBy: registration.CreatedBy, Sequence: sequence,
	}
	if base := registration.BaseModel; base != nil {
		s.BaseModel = handlers.VersionName(v, *base)
	}
	for t := range v.DeployedTo(id) {
		s.DeployedTo = append(s.DeployedTo, t.Name.String())
	}
	return s, registration, nil
}

// showVersion shows a version whole. Bulky details are read from the log.
func (c *call) showVersion(v projections.View, id events.VersionID) (Version, error) {
	sum, registration, err := summarize(v, id)
	if err != nil {
		return Version{}, err
	}
	d, err := c.details(registration)
	if err != nil {
		return Version{}, err
	}
	return Version{
		Model: sum.Model, ModelID: sum.ModelID, Version: sum.Version, Semver: sum.Semver, Stage: sum.Stage,
		Aliases: sum.Aliases, Source: sum.Source, Format: sum.Format, Artifacts: d.Artifacts, RunID: sum.RunID,
		RunLink: sum.RunLink, LoggedModel: sum.LoggedModel, Code: sum.Code, Datasets: d.Datasets, Parameters: d.Parameters, Metrics: d.Metrics, Signature: d.Signature,
		BaseModel: sum.BaseModel, Tags: sum.Tags, Description: sum.Description, Deprecation: sum.Deprecation, WithdrawnData: sum.WithdrawnData,
		DeployedTo: sum.DeployedTo,
		CreatedAt:  sum.CreatedAt, UpdatedAt: sum.UpdatedAt, CreatedBy: sum.CreatedBy, Sequence: sum.Sequence,
	}, nil
}

// showRegistered shows a version as its registration left it, which the event
// tells alone, nearly. Registrations come in crowds; each look at the state
// would stand in the registrar's way.
func showRegistered(v projections.View, e events.Event, d events.VersionRegistered) (Version, error) {
	model, _, ok := v.ModelByID(d.ModelID)
	if !ok {
		return Version{}, handlers.NotFoundError{What: handlers.CodeModelNotFound, Name: d.ModelID.String()}
	}
	at := events.FormatTime(e.Happened())
	shown := Version{
		Model: model.Name, ModelID: d.ModelID.String(), Version: d.Version, Semver: d.Semver,
		Stage: model.Lifecycle().Initial(), Aliases: []string{}, Source: d.Source, Format: d.Format,
		Artifacts: d.Artifacts, RunID: d.RunID, RunLink: d.RunLink, LoggedModel: d.LoggedModel, Code: d.Code, Datasets: d.Datasets, Parameters: d.Parameters,
		Metrics: d.Metrics, Signature: d.Signature, Tags: shownTags(d.Tags), Description: d.Description.String(),
		CreatedAt: at, UpdatedAt: at, CreatedBy: e.Principal, Sequence: e.Sequence,
	}
	if d.BaseModel != nil {
		shown.BaseModel = handlers.VersionName(v, *d.BaseModel)
	}
	shown.WithdrawnData = showWithdrawnData(v, events.VersionID{ModelID: d.ModelID, Version: d.Version})
	return shown, nil
}

// details finds what can be bulky, in state or in the log.
func (c *call) details(r *projections.Registration) (projections.Details, error) {
	if !r.InLog {
		return r.ReadDetails()
	}
	e, err := c.server.event(c.r.Context(), r.Sequence)
	if err != nil {
		return projections.Details{}, err
	}
	registered, ok := e.Data.(events.VersionRegistered)
	if !ok {
		return projections.Details{}, fmt.Errorf("event %d is a %s, not the registration of a version", r.Sequence, e.Type())
	}
	return projections.DetailsOf(registered), nil
}

func showTarget(v projections.View, t *projections.Target, sequence uint64) Target {
	shown := describeTarget(t, sequence)
	if routes, generation, ok := v.Routes(t.ID); ok {
		shown.run(v, routes, generation)
	}
	return shown
}

// describeTarget shows a target without what runs on it.
func describeTarget(t *projections.Target, sequence uint64) Target {
	return Target{
		ID: t.ID.String(), Environment: t.Name.Environment, Name: t.Name.Name, Description: t.Description.String(),
		Variants: []Variant{}, Sequence: sequence,
	}
}

// run shows what a route table has running on a target.
func (t *Target) run(v projections.View, routes *projections.RouteTable, generation uint64) {
	t.Strategy, t.Generation, t.PreviousGeneration = routes.Strategy, generation, routes.Previous
	t.DeployedAt, t.DeployedBy = events.FormatTime(routes.SetAt()), routes.SetBy
	if recorded := v.At(generation).Recorded(); !recorded.Equal(routes.SetAt()) {
		t.RecordedAt = events.FormatTime(recorded)
	}
	t.Reason = routes.Reason.String()
	for _, variant := range routes.Variants {
		name, _ := v.NameOf(variant.ModelID)
		t.Variants = append(t.Variants, Variant{
			Model: name, ModelID: variant.ModelID.String(), Version: variant.Version, Role: variant.Role, Weight: variant.Weight,
		})
	}
}
