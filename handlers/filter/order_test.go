package filter

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOrder(t *testing.T) {
	const (
		ofModels   = " specified. Valid keys are '{'name', 'timestamp'}'"
		ofVersions = " specified. Valid keys are '{'name', 'version_number', 'creation_timestamp', 'last_updated_timestamp'}'"
	)
	up := func(a Attribute) Field { return Field{a, false} }
	down := func(a Attribute) Field { return Field{a, true} }
	for _, tt := range []struct {
		name    string
		kind    Kind
		by      []string
		want    []Field
		refusal string
	}{
		{"models by default", Models, nil, []Field{up(Name)}, ""},
		{"versions by default", Versions, nil, []Field{down(Updated), up(Name), down(Number)}, ""},
		{"models downwards", Models, []string{"name DESC"}, []Field{down(Name)}, ""},
		{"models by time", Models, []string{"timestamp"}, []Field{up(Updated), up(Name)}, ""},
		{"models by time, the other name", Models, []string{"last_updated_timestamp  desc", "name asc"}, []Field{down(Updated), up(Name)}, ""},
		{"models by what comes after the name", Models, []string{"name", "timestamp"}, []Field{up(Name)}, ""},
		{"versions by name", Versions, []string{"name ASC"}, []Field{up(Name), down(Number)}, ""},
		{"versions by number", Versions, []string{"version_number"}, []Field{up(Number), up(Name)}, ""},
		{"versions by creation", Versions, []string{"creation_timestamp DESC", "version_number"}, []Field{down(Created), up(Number), up(Name)}, ""},
		{"versions by attribute.name in backticks", Versions, []string{"attribute.`name` Desc"}, []Field{down(Name), down(Number)}, ""},
		{"a space before, which the reference refuses", Models, []string{" name "}, []Field{up(Name)}, ""},
		{"nothing", Models, []string{""}, nil, "Invalid order_by clause ''. Could not be parsed."},
		{"two at once", Models, []string{"name,timestamp"}, nil, "Invalid order_by clause 'name,timestamp'. Could not be parsed."},
		{"too many words", Versions, []string{"name ASC", "last_updated_timestamp DESC blah"}, nil, "Invalid order_by clause 'last_updated_timestamp DESC blah'. Could not be parsed."},
		{"a text", Models, []string{"'name'"}, nil, "Invalid order_by clause ''name''. Could not be parsed."},
		{"a number", Models, []string{"5"}, nil, "Invalid order_by clause '5'. Could not be parsed."},
		{"an unknown direction", Models, []string{"name foo"}, nil, "Invalid ordering key in order_by clause 'name foo'."},
		{"an unknown attribute of models", Models, []string{"run_id"}, nil, "Invalid order by key 'run_id'" + ofModels},
		{"the creation of models", Models, []string{"creation_timestamp"}, nil, "Invalid order by key 'creation_timestamp'" + ofModels},
		{"a tag of models", Models, []string{"tags.k"}, nil, "Invalid order by key 'tags.k'" + ofModels},
		{"an unknown attribute of versions", Versions, []string{"name ASC", "run_id DESC"}, nil, "Invalid attribute key 'run_id'" + ofVersions},
		{"the other name of the time, of versions", Versions, []string{"timestamp"}, nil, "Invalid attribute key 'timestamp'" + ofVersions},
		{"a tag of versions", Versions, []string{"tag.k"}, nil, "Invalid order by key 'k' specified. Valid keys are {'name', 'version_number', 'creation_timestamp', 'last_updated_timestamp'}"},
		{"an unknown entity", Versions, []string{"foo.name"}, nil, "Invalid entity type 'foo'. Valid entity types are ('attribute', 'tag', 'tags')"},
		{"a field twice", Models, []string{"name", "name DESC"}, nil, "`order_by` contains duplicate fields: ['name', 'name DESC']"},
		{"a field twice, by its two names", Models, []string{"timestamp", "last_updated_timestamp"}, nil, "`order_by` contains duplicate fields: ['timestamp', 'last_updated_timestamp']"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseOrder(tt.kind, tt.by)
			wantRefusal(t, err, tt.refusal)
			if diff := cmp.Diff(tt.want, got.Fields()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDefaultOrderIsKnownHoweverItIsWritten(t *testing.T) {
	for _, tt := range []struct {
		kind Kind
		by   string
		want bool
	}{
		{Models, "", true},
		{Models, "name", true},
		{Models, "name ASC;timestamp", true},
		{Models, "name DESC", false},
		{Models, "timestamp", false},
		{Versions, "", true},
		{Versions, "last_updated_timestamp DESC", true},
		{Versions, "last_updated_timestamp DESC;name ASC;version_number DESC;creation_timestamp", true},
		{Versions, "last_updated_timestamp", false},
		{Versions, "name", false},
	} {
		var by []string
		if tt.by != "" {
			by = strings.Split(tt.by, ";")
		}
		o, err := ParseOrder(tt.kind, by)
		if err != nil {
			t.Fatal(err)
		}
		if o.Default() != tt.want {
			t.Errorf("%d by %q: %v", tt.kind, tt.by, o.Default())
		}
	}
}

func TestCompareSorts(t *testing.T) {
	rows := []*row{
		{name: "a", number: 1, created: 10, updated: 50},
		{name: "a", number: 2, created: 20, updated: 40},
		{name: "B", number: 1, created: 20, updated: 50},
		{name: "b", number: 10, created: 30, updated: 40},
	}
	for by, want := range map[string]string{
		"":                             "B1 a1 a2 b10",
		"name":                         "B1 a2 a1 b10",
		"name DESC":                    "b10 a2 a1 B1",
		"name;version_number":          "B1 a1 a2 b10",
		"version_number DESC":          "b10 a2 B1 a1",
		"creation_timestamp DESC":      "b10 B1 a2 a1",
		"last_updated_timestamp":       "a2 b10 B1 a1",
		"last_updated_timestamp;name ": "a2 b10 B1 a1",
	} {
		var list []string
		if by != "" {
			list = strings.Split(by, ";")
		}
		o, err := ParseOrder(Versions, list)
		if err != nil {
			t.Fatal(err)
		}
		sorted := slices.SortedFunc(slices.Values(rows), func(a, b *row) int { return o.Compare(a, b) })
		var got []string
		for _, r := range sorted {
			got = append(got, r.name+strconv.FormatInt(r.number, 10))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("by %q: %v, want %s", by, got, want)
		}
	}
}

func TestCheckMaxResults(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind Kind
		n    int64
		want string
	}{
		{"the least", Models, 1, ""},
		{"the most models", Models, 1000, ""},
		{"the most versions", Versions, 200_000, ""},
		{"too many models", Models, 1001, "Invalid value for request parameter max_results. It must be at most 1000, but got value 1001"},
		{"too many versions", Versions, 200_001, "Invalid value for request parameter max_results. It must be at most 200000, but got value 200001"},
		{"no versions", Versions, 0, "Invalid value for max_results. It must be a positive integer, but got 0"},
		{"no models, which the reference pages through for ever", Models, 0, "Invalid value for max_results. It must be a positive integer, but got 0"},
		{"less than none", Models, -1, "Invalid value for max_results. It must be a positive integer, but got -1"},
	} {
		t.Run(tt.name, func(t *testing.T) { wantRefusal(t, CheckMaxResults(tt.kind, tt.n), tt.want) })
	}
}
