package format_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/format"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Of the examples of events.
var (
	registryID = ulid.MustParse("01KXFT0000REG1STRY00000000")
	fraudID    = ulid.MustParse("01KXFT0001M0DE100000000000")
	baseID     = ulid.MustParse("01KXFT0002BASE000000000000")
	targetID   = ulid.MustParse("01KXFT0003TARGET0000000000")
)

// examples are what events/testdata/wire has, by their kinds: one event of each.
func examples(t *testing.T) map[string]events.Event {
	t.Helper()
	files, err := filepath.Glob("../../../events/testdata/wire/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	all := map[string]events.Event{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.ReadEvent(data)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = e
	}
	return all
}

// formats knows the names of what the examples are about, and whatever else is said to
// have happened. The examples come after all that.
func formats(happened ...events.Data) *format.Formats {
	state := projections.New()
	var last uint64
	for _, d := range append([]events.Data{
		events.RegistryCreated{RegistryID: registryID, Level: 1},
		events.ModelRegistered{ModelID: fraudID, Name: "Größe 100%"},
		events.ModelRegistered{ModelID: baseID, Name: "base"},
		events.TargetDefined{TargetID: targetID, Environment: "prod", Name: "scorer"},
	}, happened...) {
		last++
		state.Apply(events.Event{Sequence: last, ID: ulid.ULID{15: byte(last)}, Registry: registryID, Data: d})
	}
	state.Settle(last)
	return &format.Formats{At: func(sequence uint64) projections.View { return state.At(min(sequence, last)) }}
}

// rendered gives what a format makes of an event, indented, with a line between bodies.
func rendered(t *testing.T, f *format.Formats, s events.SubscriptionSettings, e events.Event) (string, string) {
	t.Helper()
	structured, err := events.AppendEvent(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	bodies, contentType, err := f.Render(&s, e, structured)
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for _, body := range bodies {
		if err := json.Indent(&all, body, "", "  "); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		all.WriteByte('\n')
	}
	return all.String(), contentType
}

// TestEveryEventInEveryFormat has a golden file for each format that has something for
// an event, and wants no event for which it has nothing.
func TestEveryEventInEveryFormat(t *testing.T) {
	f := formats()
	for kind, e := range examples(t) {
		for _, word := range handlers.DeliveryFormats {
			if word == events.FormatCloudEvents {
				continue // as it is
			}
			s := events.SubscriptionSettings{Format: word}
			got, _ := rendered(t, f, s, e)
			golden := filepath.Join("testdata", string(word), kind+".json")
			if *update && got != "" {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil && (got != "" || !os.IsNotExist(err)) {
				t.Errorf("%v: run go test ./handlers/webhooks/format -update, and look at what changed", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s as %s (-want +got):\n%s", kind, word, diff)
			}
			if wants := format.Wants(&s, e.Type()); !wants && got != "" {
				t.Errorf("%s isn't wanted as %s", kind, word)
			}
		}
	}
}

func TestTypesOfContent(t *testing.T) {
	f, e := formats(), examples(t)["version.registered.v1"]
	want := map[events.DeliveryFormat]string{
		events.FormatCloudEvents: "application/cloudevents+json", events.FormatCDEvents: "application/cloudevents+json",
		events.FormatMLflow: "application/json", events.FormatSlack: "application/json", events.FormatTeams: "application/json", events.FormatDiscord: "application/json",
	}
	for _, word := range handlers.DeliveryFormats {
		if _, got := rendered(t, f, events.SubscriptionSettings{Format: word}, e); got != want[word] {
			t.Errorf("%s is sent as %s, want %s", word, got, want[word])
		}
	}
}

func TestACloudEventIsSentAsItIs(t *testing.T) {
	bodies, _, err := formats().Render(&events.SubscriptionSettings{Format: events.FormatCloudEvents}, examples(t)["model.registered.v1"], []byte(`{"a":1}`))
	if err != nil || len(bodies) != 1 || string(bodies[0]) != `{"a":1}` {
		t.Errorf("got %s, %v", bodies, err)
	}
}

func TestAFormatThatIsNotKnownIsAnError(t *testing.T) {
	if bodies, _, err := formats().Render(&events.SubscriptionSettings{Format: "xml"}, examples(t)["model.registered.v1"], nil); err == nil {
		t.Errorf("got %s", bodies)
	}
}

func TestWhatIsWanted(t *testing.T) {
	wants := func(s events.SubscriptionSettings) (kinds []string) {
		for kind, zero := range events.Kinds() {
			if format.Wants(&s, events.TypeOf(zero)) {
				kinds = append(kinds, kind)
			}
		}
		slices.Sort(kinds)
		return kinds
	}
	for _, test := range []struct {
		name string
		s    events.SubscriptionSettings
		want []string
	}{
		{"MLflow's", events.SubscriptionSettings{Format: events.FormatMLflow}, []string{
			"alias.assigned.v1", "alias.removed.v1", "model.described.v1", "model.registered.v1", "version.deleted.v1", "version.described.v1", "version.registered.v1",
		}},
		{"some of MLflow's", events.SubscriptionSettings{Format: events.FormatMLflow, MLflowEvents: []string{"model_version.created", "prompt_tag.set"}}, []string{
			"model.described.v1", "version.registered.v1",
		}},
		{"CDEvents", events.SubscriptionSettings{Format: events.FormatCDEvents}, []string{
			"deployment.deployed.v1", "deployment.rolled_back.v1", "deployment.withdrawn.v1", "version.deleted.v1", "version.registered.v1",
		}},
	} {
		if diff := cmp.Diff(test.want, wants(test.s)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	for _, word := range []events.DeliveryFormat{events.FormatCloudEvents, events.FormatSlack, events.FormatTeams, events.FormatDiscord} {
		if got := wants(events.SubscriptionSettings{Format: word}); len(got) != len(events.Kinds()) {
			t.Errorf("%s wants %v only", word, got)
		}
	}
}
