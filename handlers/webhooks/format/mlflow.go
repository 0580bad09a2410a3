package format

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/filter"
	"github.com/oklog/ulid/v2"
)

// mlflowKinds says which of MLflow's events can come of an event of ours.
var mlflowKinds = map[string][]string{
	"model.registered.v1":   {"registered_model.created", "prompt.created"},
	"model.described.v1":    {"prompt_tag.set", "prompt_tag.deleted"},
	"version.registered.v1": {"model_version.created", "prompt_version.created"},
	"version.described.v1": {
		"model_version_tag.set", "model_version_tag.deleted", "prompt_version_tag.set", "prompt_version_tag.deleted",
	},
	"version.deleted.v1": {"model_version_alias.deleted", "prompt_alias.deleted"},
	"alias.assigned.v1":  {"model_version_alias.created", "prompt_alias.created"},
	"alias.removed.v1":   {"model_version_alias.deleted", "prompt_alias.deleted"},
}

// MLflowEvents gives those of MLflow's events that a subscription is for.
func MLflowEvents(s *events.SubscriptionSettings) (chosen []string) {
	for _, event := range handlers.MLflowEvents {
		comes := func(kind string) bool {
			return slices.Contains(mlflowKinds[kind], event) && (len(s.Types) == 0 || slices.Contains(s.Types, typePrefix+kind))
		}
		if wantsMLflow(s, event) && slices.ContainsFunc(slices.Collect(maps.Keys(mlflowKinds)), comes) {
			chosen = append(chosen, event)
		}
	}
	return chosen
}

func wantsMLflow(s *events.SubscriptionSettings, event string) bool {
	return len(s.MLflowEvents) == 0 || slices.Contains(s.MLflowEvents, event)
}

// Tags with which MLflow keeps prompts among the models.
const (
	promptTextTag = "mlflow.prompt.text"
	promptTypeTag = "_mlflow_prompt_type"
)

// mlflowBody is what MLflow sends.
type mlflowBody struct {
	Entity    string `json:"entity"`
	Action    string `json:"action"`
	Timestamp string `json:"timestamp"`
	Data      any    `json:"data"`
}

const mlflowTime = "2006-01-02T15:04:05.000000-07:00" // as Python writes it

// The data of MLflow's events. What may be null is null for nothing said.
type (
	mlflowModel struct {
		Name        string            `json:"name"`
		Tags        map[string]string `json:"tags"`
		Description string            `json:"description"`
	}
	mlflowVersion struct {
		Name        string            `json:"name"`
		Version     string            `json:"version"`
		Source      string            `json:"source"`
		RunID       *string           `json:"run_id"`
		Tags        map[string]string `json:"tags"`
		Description *string           `json:"description"`
	}
	mlflowPromptVersion struct {
		Name        string            `json:"name"`
		Version     string            `json:"version"`
		Template    *string           `json:"template"`
		Tags        map[string]string `json:"tags"`
		Description *string           `json:"description"`
	}
	mlflowTag struct {
		Name    string  `json:"name"`
		Version string  `json:"version,omitempty"`
		Key     string  `json:"key"`
		Value   *string `json:"value,omitzero"`
	}
	mlflowAlias struct {
		Name    string `json:"name"`
		Alias   string `json:"alias"`
		Version string `json:"version,omitempty"`
	}
)

// mlflowEvent is one of MLflow's events, "model_version.created".
type mlflowEvent struct {
	name string
	data any
}

// mlflow gives a body for each of MLflow's events that an event is, and that the
// subscription asks for.
func (f *Formats) mlflow(s *events.SubscriptionSettings, e events.Event) (bodies [][]byte, err error) {
	for _, m := range f.mlflowEvents(e) {
		if !wantsMLflow(s, m.name) {
			continue
		}
		body, err := m.body(e.Time)
		if err != nil {
			return nil, fmt.Errorf("write MLflow's %s: %w", m.name, err)
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

func (m mlflowEvent) body(at time.Time) ([]byte, error) {
	entity, action, _ := strings.Cut(m.name, ".")
	return json.Marshal(mlflowBody{entity, action, at.UTC().Format(mlflowTime), m.data}, json.Deterministic(true))
}

func (f *Formats) mlflowEvents(e events.Event) []mlflowEvent {
	names := named(e.Subject)
	if len(names) < 2 {
		return nil
	}
	model := names[1]
	switch d := e.Data.(type) { //nolint:gochecksumtype // MLflow has no events for the others
	case events.ModelRegistered:
		kind, tags := "registered_model", d.Tags
		if isPrompt(d.Tags) {
			kind, tags = "prompt", withoutPromptTags(d.Tags)
		}
		return []mlflowEvent{{kind + ".created", mlflowModel{model, some(tags), d.Description.String()}}}
	case events.ModelDescribed:
		if f.isPrompt(e.Sequence, d.ModelID) {
			return tagEvents("prompt_tag", mlflowTag{Name: model}, d.Tags, d.RemovedTags)
		}
	case events.VersionRegistered:
		return []mlflowEvent{f.versionCreated(e.Sequence, model, d)}
	case events.VersionDescribed:
		about := mlflowTag{Name: model, Version: strconv.Itoa(d.Version)}
		return tagEvents(f.kind(e.Sequence, d.ModelID, "version_tag"), about, d.Tags, d.RemovedTags)
	case events.VersionDeleted:
		var gone []mlflowEvent
		for _, alias := range d.Aliases {
			gone = append(gone, mlflowEvent{f.aliasKind(e.Sequence, d.ModelID) + ".deleted", mlflowAlias{Name: model, Alias: alias}})
		}
		return gone
	case events.AliasAssigned:
		return []mlflowEvent{{f.aliasKind(e.Sequence, d.ModelID) + ".created", mlflowAlias{model, d.Alias, strconv.Itoa(d.To)}}}
	case events.AliasRemoved:
		return []mlflowEvent{{f.aliasKind(e.Sequence, d.ModelID) + ".deleted", mlflowAlias{Name: model, Alias: d.Alias}}}
	}
	return nil
}

func (f *Formats) versionCreated(sequence uint64, model string, d events.VersionRegistered) mlflowEvent {
	number, description := strconv.Itoa(d.Version), orNull(d.Description.String())
	if !isPrompt(d.Tags) && !f.isPrompt(sequence, d.ModelID) {
		return mlflowEvent{"model_version.created", mlflowVersion{model, number, d.Source, orNull(d.RunID), some(d.Tags), description}}
	}
	version := mlflowPromptVersion{Name: model, Version: number, Tags: withoutPromptTags(d.Tags), Description: description}
	if text, ok := d.Tags[promptTextTag]; ok {
		version.Template = &text
	}
	delete(version.Tags, promptTextTag)
	return mlflowEvent{"prompt_version.created", version}
}

// tagEvents gives an event for each tag that was set or removed, by their keys.
func tagEvents(kind string, about mlflowTag, set map[string]string, removed []string) []mlflowEvent {
	var all []mlflowEvent
	for _, key := range slices.Sorted(maps.Keys(set)) {
		tag, value := about, set[key]
		tag.Key, tag.Value = key, &value
		all = append(all, mlflowEvent{kind + ".set", tag})
	}
	for _, key := range removed {
		tag := about
		tag.Key = key
		all = append(all, mlflowEvent{kind + ".deleted", tag})
	}
	return all
}

// kind names what belongs to a model, or to a prompt.
func (f *Formats) kind(sequence uint64, model ulid.ULID, what string) string {
	if f.isPrompt(sequence, model) {
		return "prompt_" + what
	}
	return "model_" + what
}

func (f *Formats) aliasKind(sequence uint64, model ulid.ULID) string {
	if f.isPrompt(sequence, model) {
		return "prompt_alias"
	}
	return "model_version_alias"
}

// isPrompt says whether a model was a prompt as of a sequence.
func (f *Formats) isPrompt(sequence uint64, model ulid.ULID) bool {
	m, _, ok := f.At(sequence).ModelByID(model)
	return ok && isPrompt(m.Tags())
}

func isPrompt(tags map[string]string) bool { return strings.EqualFold(tags[filter.PromptTag], "true") }

// withoutPromptTags leaves out what only says that it is a prompt.
func withoutPromptTags(tags map[string]string) map[string]string {
	rest := some(maps.Clone(tags))
	delete(rest, filter.PromptTag)
	delete(rest, promptTypeTag)
	return rest
}

// some gives an object for no tags too.
func some(tags map[string]string) map[string]string {
	if tags == nil {
		return map[string]string{}
	}
	return tags
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// MLflowExample gives the body that MLflow sends to try out a webhook for one of its
// events, and false for one that it doesn't have.
func MLflowExample(event string, now time.Time) ([]byte, bool) {
	entity, action, _ := strings.Cut(event, ".")
	about := "model"
	if strings.HasPrefix(entity, "prompt") {
		about = "prompt"
	}
	name, one, value := "example_"+about, "1", "example_value"
	tags := map[string]string{"example_key": value}
	var data any
	switch entity {
	case "registered_model":
		data = mlflowModel{name, tags, "An example registered model"}
	case "prompt":
		data = mlflowModel{name, tags, "An example prompt"}
	case "model_version":
		data = mlflowVersion{name, one, "models:/123", orNull("abcd1234abcd5678"), tags, orNull("An example model version")}
	case "prompt_version":
		data = mlflowPromptVersion{name, one, orNull("Hello {{name}}!"), tags, orNull("An example prompt version")}
	case "prompt_tag":
		data = mlflowTag{Name: name, Key: "example_key", Value: onSet(action, value)}
	case "model_version_tag", "prompt_version_tag":
		data = mlflowTag{Name: name, Version: one, Key: "example_key", Value: onSet(action, value)}
	case "model_version_alias", "prompt_alias":
		if action == "deleted" {
			one = ""
		}
		data = mlflowAlias{name, "example_alias", one}
	default:
		return nil, false
	}
	body, err := mlflowEvent{event, data}.body(now)
	return body, err == nil
}

func onSet(action, value string) *string {
	if action != "set" {
		return nil
	}
	return &value
}
