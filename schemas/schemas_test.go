package schemas_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/schemas"
)

const wireDir = "../events/testdata/wire"

// wireEvent is an event as consumers get it, read without modelog's own codec.
type wireEvent struct {
	Schema string         `json:"dataschema"`
	Data   map[string]any `json:"data"`
}

func readWireEvent(t *testing.T, kind string) wireEvent {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(wireDir, kind+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var e wireEvent
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func parseSchema(t *testing.T, kind string) *jsonschema.Schema {
	t.Helper()
	document, ok := schemas.Event(kind)
	if !ok {
		t.Fatalf("%s has no schema", kind)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(document, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func resolve(t *testing.T, s *jsonschema.Schema) *jsonschema.Resolved {
	t.Helper()
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryEventFitsItsSchema(t *testing.T) {
	for kind := range events.Kinds() {
		s, e := parseSchema(t, kind), readWireEvent(t, kind)
		if s.ID != e.Schema {
			t.Errorf("%s: the schema says that it is %s, the event that it is %s", kind, s.ID, e.Schema)
		}
		if s.Title != kind || s.Description == "" {
			t.Errorf("%s: the title is %q, the description %q", kind, s.Title, s.Description)
		}
		if err := resolve(t, s).Validate(e.Data); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestAWrongEventDoesNotFit breaks each example in every way that a schema can
// see: each member that is required is left out, and each is of a wrong type.
func TestAWrongEventDoesNotFit(t *testing.T) {
	for kind := range events.Kinds() {
		s, e := parseSchema(t, kind), readWireEvent(t, kind)
		resolved := resolve(t, s)
		fits := func(change func(data map[string]any)) bool {
			data := maps.Clone(e.Data)
			change(data)
			return resolved.Validate(data) == nil
		}
		for _, name := range s.Required {
			if fits(func(data map[string]any) { delete(data, name) }) {
				t.Errorf("%s: fits without %s", kind, name)
			}
		}
		for name := range s.Properties {
			for _, wrong := range []any{nil, []any{nil}} {
				if fits(func(data map[string]any) { data[name] = wrong }) {
					t.Errorf("%s: fits with %s as %v", kind, name, wrong)
				}
			}
		}
	}
}

func TestSchemasKnowTheFormsOfTheCodec(t *testing.T) {
	set := func(name string, value any) func(map[string]any) {
		return func(data map[string]any) { data[name] = value }
	}
	sealed := func(alg any) map[string]any {
		return map[string]any{"sealed": map[string]any{"alg": alg, "kid": "", "nonce": "", "ct": ""}}
	}
	for _, c := range []struct {
		name, kind string
		change     func(data map[string]any)
		fits       bool
	}{
		{"a ULID", "alias.assigned.v1", set("model_id", "01KXFT0001M0DE100000000000"), true},
		{"a ULID in lower case", "alias.assigned.v1", set("model_id", "01kxft0001m0de100000000000"), false},
		{"a ULID that is too large", "alias.assigned.v1", set("model_id", "80000000000000000000000000"), false},
		{"a text instead of a ULID", "alias.assigned.v1", set("model_id", "fraud"), false},
		{"a plain text", "alias.assigned.v1", set("reason", "x"), true},
		{"a sealed text", "alias.assigned.v1", set("reason", sealed("A256GCM")), true},
		{"a sealed text of a wrong type", "alias.assigned.v1", set("reason", sealed(1)), false},
		{"an object that is no sealed text", "alias.assigned.v1", set("reason", map[string]any{}), false},
		{"a number", "version.registered.v1", set("metrics", map[string]any{"auc": 0.91}), true},
		{"NaN", "version.registered.v1", set("metrics", map[string]any{"auc": "NaN"}), true},
		{"another text as a number", "version.registered.v1", set("metrics", map[string]any{"auc": "0.91"}), false},
		{"any object in a signature", "version.registered.v1", set("signature", map[string]any{"inputs": []any{map[string]any{"x": nil}}}), true},
		{"a text in a signature", "version.registered.v1", set("signature", map[string]any{"inputs": []any{"x"}}), false},
		{"a range", "version.promoted.v1", set("displaced", []any{[]any{1, 3}}), true},
		{"a short range", "version.promoted.v1", set("displaced", []any{[]any{1}}), false},
		{"a long range", "version.promoted.v1", set("displaced", []any{[]any{1, 2, 3}}), false},
		{"a fraction", "version.promoted.v1", set("version", 8.5), false},
		{"a negative generation", "deployment.rolled_back.v1", set("from", -1), false},
		{"a member of a later release", "version.promoted.v1", set("color", "red"), true},
		{"nothing optional", "version.promoted.v1", func(data map[string]any) {
			for _, name := range []string{"displaced", "reason", "forced"} {
				delete(data, name)
			}
		}, true},
	} {
		data := readWireEvent(t, c.kind).Data
		c.change(data)
		err := resolve(t, parseSchema(t, c.kind)).Validate(data)
		if c.fits != (err == nil) {
			t.Errorf("%s in %s: got %v, want that it fits to be %v", c.name, c.kind, err, c.fits)
		}
	}
}

// TestSchemasLeaveRoomForMore: a consumer that validates must not break when a
// release adds a member.
func TestSchemasLeaveRoomForMore(t *testing.T) {
	for kind := range events.Kinds() {
		document, _ := schemas.Event(kind)
		var compact bytes.Buffer
		if err := json.Compact(&compact, document); err != nil {
			t.Fatal(err)
		}
		for _, closed := range []string{`"additionalProperties":false`, `"unevaluatedProperties":false`, `"not":`} {
			if strings.Contains(compact.String(), closed) {
				t.Errorf("%s says %s", kind, closed)
			}
		}
	}
}

func TestUnknownKindsHaveNoSchema(t *testing.T) {
	for _, kind := range []string{"", "version.registered.v9", "openapi", "../events/doc", "version.registered"} {
		if document, ok := schemas.Event(kind); ok {
			t.Errorf("%q has a schema of %d bytes", kind, len(document))
		}
	}
}
