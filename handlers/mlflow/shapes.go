package mlflow

import (
	"slices"
	"strconv"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// registeredModel is how MLflow shows a model. Times are milliseconds since 1970.
type registeredModel struct {
	Name        string         `json:"name"`
	Created     int64          `json:"creation_timestamp"`
	Updated     int64          `json:"last_updated_timestamp"`
	Description string         `json:"description,omitzero"`
	Latest      []modelVersion `json:"latest_versions,omitempty"`
	Tags        []tag          `json:"tags,omitempty"`
	Aliases     []alias        `json:"aliases,omitempty"`
}

// modelVersion is how MLflow shows a version. Its clients tell an empty text from
// one that is absent: those three are always there, and without a status they would
// wait for one.
type modelVersion struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Created     int64    `json:"creation_timestamp"`
	Updated     int64    `json:"last_updated_timestamp"`
	Stage       string   `json:"current_stage"`
	Description string   `json:"description"`
	Source      string   `json:"source"`
	RunID       string   `json:"run_id"`
	Status      string   `json:"status"`
	Tags        []tag    `json:"tags,omitempty"`
	RunLink     string   `json:"run_link"`
	Aliases     []string `json:"aliases,omitempty"`
	ModelID     string   `json:"model_id,omitzero"`
}

type tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type alias struct {
	Alias   string `json:"alias"`
	Version string `json:"version"`
}

type modelAnswer struct {
	Model registeredModel `json:"registered_model"`
}

type versionAnswer struct {
	Version modelVersion `json:"model_version"`
}

// modelShown shows a model, found by its id.
func (c *call) modelShown(v projections.View, id ulid.ULID) (any, error) {
	m, _, ok := v.ModelByID(id)
	if !ok {
		return nil, modelNotFound(c.params.text[name])
	}
	return modelAnswer{c.showModel(v, m)}, nil
}

// versionShown shows a version, found by its id.
func (c *call) versionShown(v projections.View, id events.VersionID) (any, error) {
	version, _, ok := v.Version(id)
	if !ok {
		return nil, versionNotFound(c.params.text[name], strconv.Itoa(id.Version))
	}
	m, _, ok := v.ModelByID(id.ModelID)
	if !ok {
		return nil, modelNotFound(c.params.text[name])
	}
	return versionAnswer{c.showVersion(v, m, version, aliasesOf(v, id))}, nil
}

func aliasesOf(v projections.View, id events.VersionID) []string {
	return slices.Collect(v.AliasesOf(id))
}

func (c *call) showModel(v projections.View, m *projections.Model) registeredModel {
	aliases := showAliases(v, m.ID)
	return registeredModel{
		Name: m.Name, Created: m.CreatedMilli, Updated: m.UpdatedMilli, Description: m.Description.String(),
		Latest: c.latest(v, m, m.Lifecycle().Stages, aliases), Tags: c.showTags(m.Tags()), Aliases: aliases,
	}
}

func showAliases(v projections.View, model ulid.ULID) (shown []alias) {
	for name, number := range v.Aliases(model) {
		shown = append(shown, alias{name, strconv.Itoa(number)})
	}
	return shown
}

// latest shows the highest version of each stage. aliases are all of the model's.
func (c *call) latest(v projections.View, m *projections.Model, stages []string, aliases []alias) []modelVersion {
	if m.LiveVersions == 0 {
		return nil
	}
	highest := make([]int, len(stages))
	for stage, number := range v.LatestInStages(m.ID) {
		if i := slices.Index(stages, stage); i >= 0 {
			highest[i] = number
		}
	}
	var shown []modelVersion
	for _, number := range highest {
		if number == 0 {
			continue
		}
		if version, _, ok := v.Version(events.VersionID{ModelID: m.ID, Version: number}); ok {
			shown = append(shown, c.showVersion(v, m, version, pointingAt(number, aliases)))
		}
	}
	return shown
}

// pointingAt gives those of a model's aliases that point at a version.
func pointingAt(number int, aliases []alias) (names []string) {
	spelled := strconv.Itoa(number)
	for _, a := range aliases {
		if a.Version == spelled {
			names = append(names, a.Alias)
		}
	}
	return names
}

func (c *call) showVersion(v projections.View, m *projections.Model, version *projections.Version, aliases []string) modelVersion {
	updated, _ := m.VersionUpdated(version)
	shown := modelVersion{
		Name: m.Name, Version: strconv.Itoa(version.ID.Version), Updated: updated.UnixMilli(), Stage: version.Stage,
		Description: version.Description.String(), Status: "READY", Aliases: aliases, Tags: c.showTags(version.Tags()),
	}
	if version.Deprecation != nil {
		shown.Tags = append(shown.Tags, deprecationTags(v, version)...)
	}
	if r, ok := v.Registration(version.ID); ok {
		shown.Created, shown.Source, shown.RunID, shown.RunLink, shown.ModelID = r.CreatedMilli, r.Source, r.RunID, r.RunLink, r.LoggedModel
	}
	return shown
}

// showTags shows tags by their keys.
func (c *call) showTags(tags map[string]string) []tag {
	if len(tags) == 0 {
		return nil
	}
	shown := make([]tag, 0, len(tags))
	for k, value := range tags {
		if isReadOnly(k) {
			continue
		}
		if k == userTag {
			value = c.shownUser(value)
		}
		shown = append(shown, tag{k, value})
	}
	slices.SortFunc(shown, func(a, b tag) int { return strings.Compare(a.Key, b.Key) })
	return shown
}

// The tags in which a deprecation is seen. They are derived from it, and can't be
// set.
const (
	deprecatedTag  = "modelog.deprecated" // the reason, or true
	replacementTag = "modelog.replacement"
	sunsetTag      = "modelog.sunset"
)

func isReadOnly(k string) bool {
	return k == deprecatedTag || k == replacementTag || k == sunsetTag
}

func deprecationTags(v projections.View, version *projections.Version) []tag {
	d := version.Deprecation
	if d == nil {
		return nil
	}
	reason := d.Reason.String()
	if reason == "" {
		reason = "true"
	}
	tags := []tag{{deprecatedTag, reason}}
	if d.Replacement != nil {
		tags = append(tags, tag{replacementTag, handlers.VersionName(v, *d.Replacement)})
	}
	if at, ok := d.Sunset(); ok {
		tags = append(tags, tag{sunsetTag, events.FormatTime(at)})
	}
	return tags
}
