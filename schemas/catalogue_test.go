package schemas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
)

// TestGeneratedCatalogueIsUpToDate compares the page that lists the events with what
// the Go types, their comments and the recorded examples give.
func TestGeneratedCatalogueIsUpToDate(t *testing.T) {
	page, err := catalogue(parseEvents(t))
	if err != nil {
		t.Fatal(err)
	}
	sameFile(t, "../docs/events.md", page)
}

const catalogueHead = `# Events

Every event of the registry, as subscribers, streams and exports show it: a CloudEvent 1.0 in its JSON format. This page is
generated from the Go types. The schema of an event's data stands at its ` + "`dataschema`" + `, and is served at
` + "`/schemas/<aggregate>/<action>/<version>.json`" + `; a shape that has been released never changes, a new one gets a new version.

All events have these attributes (here of a promotion); of the rest those that there was reason for:

` + "```json\n%s\n```" + `

| attribute | what it is |
|---|---|
| ` + "`id`" + ` | ULID of the event |
| ` + "`source`" + ` | the registry, ` + "`urn:modelog:<ULID>`" + ` |
| ` + "`sequence`" + ` | place on the log, 20 digits |
| ` + "`subject`" + ` | path of the resource, with the names that it had then |
| ` + "`partitionkey`" + ` | identity of the model, target and so on: deliveries are in order per key |
| ` + "`time`, `occurredtime`" + ` | when it was recorded; when it happened, if that is another time |
| ` + "`authid`" + ` | opaque id of who did it |
| ` + "`correlationid`, `causationid`, `traceparent`" + ` | the request; the event that made somebody ask; the trace |
| ` + "`originsource`, `originid`" + ` | the identity under which it was published |
| ` + "`idempotencykey`, `requestdigest`" + ` | hashes of the key and of the request |

`

func catalogue(source source) ([]byte, error) {
	kinds := slices.Sorted(maps.Keys(events.Kinds()))
	head, _, err := exampleOf("version.promoted.v1")
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	fmt.Fprintf(&page, catalogueHead, head)
	fmt.Fprint(&page, "| type | what happened |\n|---|---|\n")
	for _, kind := range kinds {
		fmt.Fprintf(&page, "| [`dev.modelog.%s`](#%s) | %s |\n", kind, anchor(kind), firstSentence(source, kind))
	}
	for _, kind := range kinds {
		if err := entry(&page, source, kind); err != nil {
			return nil, err
		}
	}
	return page.Bytes(), nil
}

func anchor(kind string) string { return strings.ReplaceAll(kind, ".", "") }

// about is the comment of a type, without its name, which says the same as the kind.
func about(source source, kind string) string {
	_, comment, _ := strings.Cut(source.types[reflect.TypeOf(events.Kinds()[kind]).Name()], " ")
	return strings.ToUpper(comment[:1]) + comment[1:]
}

func firstSentence(source source, kind string) string {
	sentence, _, _ := strings.Cut(about(source, kind), ". ")
	return strings.TrimSuffix(sentence, ".") + "."
}

// entry tells of one type: what its comment says, its fields, and an example.
func entry(page *bytes.Buffer, source source, kind string) error {
	t := reflect.TypeOf(events.Kinds()[kind])
	_, data, err := exampleOf(kind)
	if err != nil {
		return err
	}
	fmt.Fprintf(page, "\n## %s\n\n%s\n\n", kind, about(source, kind))
	comments := source.fields[t.Name()]
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if comment := comments[f.Name]; comment != "" {
			if options != "" {
				comment += "; may be absent"
			}
			fmt.Fprintf(page, "- `%s`: %s\n", name, comment)
		}
	}
	fmt.Fprintf(page, "\n```json\n%s\n```\n", data)
	return nil
}

// exampleOf gives a recorded example: all of it, and its subject and data alone.
func exampleOf(kind string) (whole, part []byte, err error) {
	recorded, err := os.ReadFile("../events/testdata/wire/" + kind + ".json")
	if err != nil {
		return nil, nil, err
	}
	var parts struct {
		Subject string         `json:"subject"`
		Data    jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(recorded, &parts); err != nil {
		return nil, nil, err
	}
	short, err := json.Marshal(parts.Subject)
	if err != nil {
		return nil, nil, err
	}
	value := slices.Concat(jsontext.Value(`{"subject":`), short, []byte(`,"data":`), parts.Data, []byte("}"))
	if err := value.Format(jsontext.WithIndent("  "), jsontext.PreserveRawStrings(true)); err != nil {
		return nil, nil, err
	}
	return bytes.TrimSpace(recorded), value, nil
}
