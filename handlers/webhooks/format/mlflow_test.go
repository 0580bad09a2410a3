package format_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/format"
	"github.com/oklog/ulid/v2"
)

// sent gives what MLflow's format makes of an event, as "entity.action data".
func sent(t *testing.T, f *format.Formats, s events.SubscriptionSettings, subject string, d events.Data) (all []string) {
	t.Helper()
	s.Format = events.FormatMLflow
	bodies, _, err := f.Render(&s, events.Event{Sequence: 10, Subject: subject, Time: time.Unix(0, 0), Data: d}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		var got struct {
			Entity, Action, Timestamp string
			Data                      json.RawMessage
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		if got.Timestamp != "1970-01-01T00:00:00.000000+00:00" {
			t.Errorf("the time is %s", got.Timestamp)
		}
		all = append(all, got.Entity+"."+got.Action+" "+string(got.Data))
	}
	return all
}

func TestMLflowsPromptsAreModelsWithATag(t *testing.T) {
	prompt := ulid.MustParse("01KXFT0009PR0MPT0000000000")
	tags := map[string]string{"mlflow.prompt.is_prompt": "True", "_mlflow_prompt_type": "text", "team": "red"}
	registered := events.ModelRegistered{ModelID: prompt, Name: "greet", Tags: tags}
	f := formats(registered)
	for _, test := range []struct {
		name, subject string
		d             events.Data
		want          []string
	}{
		{"a prompt", "models/greet", registered, []string{`prompt.created {"name":"greet","tags":{"team":"red"},"description":""}`}},
		{"a model that isn't one", "models/greet", events.ModelRegistered{Tags: map[string]string{"mlflow.prompt.is_prompt": "false"}}, []string{
			`registered_model.created {"name":"greet","tags":{"mlflow.prompt.is_prompt":"false"},"description":""}`,
		}},
		{"its version", "models/greet/versions/1", events.VersionRegistered{
			ModelID: prompt, Version: 1, Source: "dummy-source", Description: events.Plain("first"),
			Tags: map[string]string{"mlflow.prompt.is_prompt": "true", "mlflow.prompt.text": "Hello {{name}}!", "_mlflow_prompt_type": "text", "a": "b"},
		}, []string{`prompt_version.created {"name":"greet","version":"1","template":"Hello {{name}}!","tags":{"a":"b"},"description":"first"}`}},
		{"its version without a text", "models/greet/versions/1", events.VersionRegistered{ModelID: prompt, Version: 1}, []string{
			`prompt_version.created {"name":"greet","version":"1","template":null,"tags":{},"description":null}`,
		}},
		{"its tags", "models/greet", events.ModelDescribed{ModelID: prompt, Tags: map[string]string{"b": "", "a": "1"}, RemovedTags: []string{"c"}}, []string{
			`prompt_tag.set {"name":"greet","key":"a","value":"1"}`, `prompt_tag.set {"name":"greet","key":"b","value":""}`, `prompt_tag.deleted {"name":"greet","key":"c"}`,
		}},
		{"its version's tags", "models/greet/versions/1", events.VersionDescribed{ModelID: prompt, Version: 1, Tags: map[string]string{"a": "1"}, RemovedTags: []string{"c"}}, []string{
			`prompt_version_tag.set {"name":"greet","version":"1","key":"a","value":"1"}`, `prompt_version_tag.deleted {"name":"greet","version":"1","key":"c"}`,
		}},
		{"its alias", "models/greet/aliases/live", events.AliasAssigned{ModelID: prompt, Alias: "live", To: 2}, []string{`prompt_alias.created {"name":"greet","alias":"live","version":"2"}`}},
		{"its alias no more", "models/greet/aliases/live", events.AliasRemoved{ModelID: prompt, Alias: "live", From: 2}, []string{`prompt_alias.deleted {"name":"greet","alias":"live"}`}},
		{"its version with aliases", "models/greet/versions/2", events.VersionDeleted{ModelID: prompt, Version: 2, Aliases: []string{"a", "b"}}, []string{
			`prompt_alias.deleted {"name":"greet","alias":"a"}`, `prompt_alias.deleted {"name":"greet","alias":"b"}`,
		}},
		{"a model's tags", "models/base", events.ModelDescribed{ModelID: baseID, Tags: map[string]string{"a": "1"}}, nil},
		{"a description", "models/base/versions/1", events.VersionDescribed{ModelID: baseID, Version: 1, Description: &events.Text{}}, nil},
		{"a version without anything", "models/%C3%9F%2F/versions/1", events.VersionRegistered{ModelID: baseID, Version: 1, Source: "s"}, []string{
			`model_version.created {"name":"ß/","version":"1","source":"s","run_id":null,"tags":{},"description":null}`,
		}},
	} {
		if diff := cmp.Diff(test.want, sent(t, f, events.SubscriptionSettings{}, test.subject, test.d)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestOnlyTheChosenOfMLflowsEvents(t *testing.T) {
	tagged := events.VersionDescribed{ModelID: baseID, Version: 1, Tags: map[string]string{"a": "1", "b": "2"}, RemovedTags: []string{"c"}}
	only := events.SubscriptionSettings{MLflowEvents: []string{"model_version_tag.deleted"}}
	want := []string{`model_version_tag.deleted {"name":"base","version":"1","key":"c"}`}
	if diff := cmp.Diff(want, sent(t, formats(), only, "models/base/versions/1", tagged)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tagged.RemovedTags = nil
	if got := sent(t, formats(), only, "models/base/versions/1", tagged); got != nil {
		t.Errorf("what isn't chosen is told: %v", got)
	}
}

// TestMLflowsEventsAreTheSameEverywhere: those that can be chosen, those that can come of
// an event, and those of which there is an example.
func TestMLflowsEventsAreTheSameEverywhere(t *testing.T) {
	if !slices.IsSorted(handlers.MLflowEvents) {
		t.Errorf("not sorted: %v", handlers.MLflowEvents)
	}
	for _, event := range handlers.MLflowEvents {
		s := events.SubscriptionSettings{Format: events.FormatMLflow, MLflowEvents: []string{event}}
		wanted := false
		for _, zero := range events.Kinds() {
			wanted = wanted || format.Wants(&s, events.TypeOf(zero))
		}
		if !wanted {
			t.Errorf("%s comes of no event", event)
		}
		body, ok := format.MLflowExample(event, time.Unix(0, 0))
		entity, action, _ := strings.Cut(event, ".")
		if !ok || !strings.HasPrefix(string(body), `{"entity":"`+entity+`","action":"`+action+`"`) {
			t.Errorf("the example of %s is %s", event, body)
		}
	}
	if body, ok := format.MLflowExample("budget_policy.exceeded", time.Unix(0, 0)); ok {
		t.Errorf("there is an example of what isn't sent: %s", body)
	}
}
