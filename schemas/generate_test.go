package schemas_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

var update = flag.Bool("update", false, "write the generated documents anew")

// TestGeneratedSchemasAreUpToDate compares the schemas that are served with
// those that the Go types give.
func TestGeneratedSchemasAreUpToDate(t *testing.T) {
	source := parseEvents(t)
	paths := map[string]bool{}
	for kind, data := range events.Kinds() {
		path := events.SchemaPath(kind)
		paths[path] = true
		generated, err := generate(kind, reflect.TypeOf(data), source)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			write(t, path, generated)
		}
		committed, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(committed), string(generated)); diff != "" {
			t.Errorf("schemas/%s is out of date; run make generate:\n%s", path, diff)
		}
	}
	for _, path := range committedSchemas(t) {
		if !paths[path] {
			t.Errorf("schemas/%s describes no event type", path)
		}
	}
}

func write(t *testing.T, path string, document []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, document, 0o644); err != nil {
		t.Fatal(err)
	}
}

func committedSchemas(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("*/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

const baseURI = "https://modelog.dev/schemas/"

// generate makes the schema of one event type's data.
func generate(kind string, t reflect.Type, source source) ([]byte, error) {
	forms, err := formsOfTheCodec(source)
	if err != nil {
		return nil, err
	}
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: forms})
	if err != nil {
		return nil, err
	}
	open(s)
	source.describe(s, t)
	head, err := json.Marshal(jsonschema.Schema{
		Schema: "https://json-schema.org/draft/2020-12/schema", ID: baseURI + events.SchemaPath(kind), Title: kind,
		Description: s.Description,
	})
	if err != nil {
		return nil, err
	}
	s.Description = ""
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	// The head goes first, for those who read it.
	document := jsontext.Value(slices.Concat(head[:len(head)-1], []byte(","), body[1:]))
	if err := document.Format(jsontext.WithIndent("  ")); err != nil {
		return nil, err
	}
	return append(document, '\n'), nil
}

// formsOfTheCodec has the types that the codec writes otherwise than
// encoding/json would.
func formsOfTheCodec(source source) (map[reflect.Type]*jsonschema.Schema, error) {
	text, err := textSchema(source)
	return map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[ulid.ULID]():   {Type: "string", Pattern: "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
		reflect.TypeFor[events.Hash](): {Type: "string", Pattern: "^[0-9a-f]{32}$"},
		reflect.TypeFor[time.Time]():   {Type: "string", Format: "date-time", Pattern: `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`},
		reflect.TypeFor[events.Text](): text,
		reflect.TypeFor[float64](): {AnyOf: []*jsonschema.Schema{
			{Type: "number"}, {Enum: []any{"NaN", "Infinity", "-Infinity"}},
		}},
		reflect.TypeFor[events.Object](): {Type: "object"},
	}, err
}

// textSchema is a string, or an object with a sealed one.
func textSchema(source source) (*jsonschema.Schema, error) {
	t := reflect.TypeFor[events.Sealed]()
	sealed, err := jsonschema.ForType(t, nil)
	if err != nil {
		return nil, err
	}
	source.describe(sealed, t)
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		{Type: "string"},
		{Type: "object", Properties: map[string]*jsonschema.Schema{"sealed": sealed}, Required: []string{"sealed"}},
	}}, nil
}

// open takes out what the codec doesn't have, null, and what a published schema
// must not say: that there will never be another member.
func open(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	switch types := slices.DeleteFunc(s.Types, func(name string) bool { return name == "null" || name == "" }); len(types) {
	case 0:
		s.Types = nil
	case 1:
		s.Type, s.Types = types[0], nil
	}
	if a := s.AdditionalProperties; a != nil && a.Not != nil {
		s.AdditionalProperties = nil
	}
	open(s.AdditionalProperties)
	open(s.Items)
	for _, p := range s.Properties {
		open(p)
	}
	for _, a := range s.AnyOf {
		open(a)
	}
}
