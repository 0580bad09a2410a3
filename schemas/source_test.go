package schemas_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// source has what the comments of package events say.
type source struct {
	types  map[string]string            // the doc comment of a type, by its name
	fields map[string]map[string]string // the comments of its fields, by type and Go name
}

// parseEvents reads the comments of the types of package events.
func parseEvents(t *testing.T) source {
	t.Helper()
	files, err := filepath.Glob("../events/*.go")
	if err != nil {
		t.Fatal(err)
	}
	s := source{types: map[string]string{}, fields: map[string]map[string]string{}}
	shapes := map[string]string{} // VersionPromoted has the fields of Transition
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				s.addTypes(d, shapes)
			}
		}
	}
	for name, shape := range shapes {
		s.fields[name] = s.fields[shape]
	}
	return s
}

func (s source) addTypes(d *ast.GenDecl, shapes map[string]string) {
	for _, spec := range d.Specs {
		spec := spec.(*ast.TypeSpec)
		name, doc := spec.Name.Name, spec.Doc
		if doc == nil && !d.Lparen.IsValid() {
			doc = d.Doc
		}
		s.types[name] = oneLine(doc)
		switch shape := spec.Type.(type) {
		case *ast.Ident:
			shapes[name] = shape.Name
		case *ast.StructType:
			s.fields[name] = fieldComments(shape)
		}
	}
}

func fieldComments(t *ast.StructType) map[string]string {
	comments := map[string]string{}
	for _, f := range t.Fields.List {
		comment := oneLine(f.Doc)
		if comment == "" {
			comment = oneLine(f.Comment)
		}
		for _, name := range f.Names {
			comments[name.Name] = comment
		}
	}
	return comments
}

// oneLine gives the first paragraph. The others are for those who read Go.
func oneLine(c *ast.CommentGroup) string {
	paragraph, _, _ := strings.Cut(c.Text(), "\n\n")
	return strings.Join(strings.Fields(paragraph), " ")
}

// describe gives the schema of a type the comments of the type and its fields.
// What a field's comment says is nearer than what its type says.
func (s source) describe(schema *jsonschema.Schema, t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer:
		s.describe(schema, t.Elem())
	case reflect.Slice, reflect.Array:
		if schema.Items != nil {
			s.describe(schema.Items, t.Elem())
		}
	case reflect.Struct:
		if schema.Properties != nil {
			s.describeFields(schema, t)
		}
	default:
	}
	if doc := s.types[t.Name()]; doc != "" && strings.HasSuffix(t.PkgPath(), "/events") {
		schema.Description = doc
	}
}

func (s source) describeFields(schema *jsonschema.Schema, t reflect.Type) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		property := schema.Properties[name]
		s.describe(property, f.Type)
		if comment := s.fields[t.Name()][f.Name]; comment != "" {
			property.Description = comment
		}
	}
}
