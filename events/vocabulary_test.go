package events

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

var kindForm = regexp.MustCompile(`^[a-z]+\.[a-z_]+\.v[1-9][0-9]*$`)

func TestWireNamesHaveTheirForm(t *testing.T) {
	for kind, d := range Kinds() {
		if !kindForm.MatchString(kind) {
			t.Errorf("%T: %q is not <aggregate>.<past tense>.v<n>", d, kind)
		}
	}
}

// TestGoNamesFollowWireNames keeps code and wire in one language: who reads a
// type on the wire finds it in the source without a table.
func TestGoNamesFollowWireNames(t *testing.T) {
	for kind, d := range Kinds() {
		if got, want := reflect.TypeOf(d).Name(), goName(kind); got != want {
			t.Errorf("%s should be called %s, is called %s", kind, want, got)
		}
	}
}

// goName spells "deployment.rolled_back.v1" as DeploymentRolledBack, and its
// second version as DeploymentRolledBackV2.
func goName(kind string) string {
	parts := strings.Split(kind, ".")
	var name strings.Builder
	for _, word := range strings.FieldsFunc(parts[0]+"_"+parts[1], func(r rune) bool { return r == '_' }) {
		name.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	if major := parts[2]; major != "v1" {
		name.WriteString(strings.ToUpper(major))
	}
	return name.String()
}

// TestEveryKindIsDocumentedInItsAggregatesFile: the doc comment is what people
// read in the schema, and the file is where they look.
func TestEveryKindIsDocumentedInItsAggregatesFile(t *testing.T) {
	pkg, fset := parsePackage(t)
	types := map[string]*doc.Type{}
	for _, d := range pkg.Types {
		types[d.Name] = d
	}
	for kind, d := range Kinds() {
		name := reflect.TypeOf(d).Name()
		aggregate, _, _ := strings.Cut(kind, ".")
		declared := types[name]
		if declared == nil {
			t.Errorf("%s is not in the package's source", name)
			continue
		}
		if !strings.HasPrefix(declared.Doc, name+" ") {
			t.Errorf("%s needs a doc comment that begins with its name, and says what the event records", name)
		}
		if file := fset.Position(declared.Decl.Pos()).Filename; file != aggregate+".go" {
			t.Errorf("%s belongs in %s.go, is in %s", name, aggregate, file)
		}
	}
}

func parsePackage(t *testing.T) (*doc.Package, *token.FileSet) {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, "events")
	if err != nil {
		t.Fatal(err)
	}
	return pkg, fset
}

var tagForm = regexp.MustCompile(`^[a-z][a-z0-9_]*(,omitempty|,omitzero)?$`)

// TestEveryFieldHasAJSONName looks at the structs inside of event types too.
func TestEveryFieldHasAJSONName(t *testing.T) {
	for _, d := range Kinds() {
		eachStruct(reflect.TypeOf(d), func(s reflect.Type) {
			for f := range s.Fields() {
				if tag := f.Tag.Get("json"); !tagForm.MatchString(tag) {
					t.Errorf("%v.%s: the json tag %q is not a snake_case name with at most omitempty or omitzero", s, f.Name, tag)
				}
			}
		})
	}
}

func eachStruct(t reflect.Type, visit func(reflect.Type)) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		eachStruct(t.Elem(), visit)
	case reflect.Struct:
		if t == reflect.TypeFor[Text]() { // has forms of its own
			eachStruct(reflect.TypeFor[sealedForm](), visit)
			return
		}
		if t == reflect.TypeFor[time.Time]() { // has a form of its own
			return
		}
		visit(t)
		for f := range t.Fields() {
			eachStruct(f.Type, visit)
		}
	default:
	}
}

func TestSchemaPathsFollowWireNames(t *testing.T) {
	if got, want := SchemaPath("deployment.rolled_back.v1"), "deployment/rolled_back/v1.json"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestKindsCanNotBeChangedFromOutside: the vocabulary is no global registry.
func TestKindsCanNotBeChangedFromOutside(t *testing.T) {
	clear(Kinds())
	if len(Kinds()) == 0 {
		t.Error("the vocabulary is gone")
	}
}
