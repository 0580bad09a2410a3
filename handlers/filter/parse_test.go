package filter

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func onName(op Op, values ...string) Clause {
	return Clause{Target: OnAttribute, Key: "name", Op: op, Values: values}
}

func onTag(key string, op Op, value string) Clause {
	return Clause{Target: OnTag, Key: key, Op: op, Values: []string{value}}
}

func TestParseAccepts(t *testing.T) {
	number := func(op Op, n int64) Clause {
		return Clause{Target: OnAttribute, Key: "version_number", Op: op, Number: n}
	}
	runIn := func(op Op, values ...string) Clause {
		return Clause{Target: OnAttribute, Key: "run_id", Op: op, Values: values}
	}
	for _, tt := range []struct {
		name   string
		kind   Kind
		source string
		want   []Clause
	}{
		{"the empty text", Models, "", nil},
		{"single quotes", Models, "name = 'x'", []Clause{onName(Equal, "x")}},
		{"double quotes", Models, `name = "x"`, []Clause{onName(Equal, "x")}},
		{"the other quote inside", Models, `name = "it's"`, []Clause{onName(Equal, "it's")}},
		{"a doubled quote as one, where the reference keeps two", Models, `name = 'it''s'`, []Clause{onName(Equal, "it's")}},
		{"a backslash before the closing quote as a backslash", Models, `name = 'C:\' AND name != 'b'`, []Clause{onName(Equal, `C:\`), onName(NotEqual, "b")}},
		{"the empty value", Models, "name = ''", []Clause{onName(Equal, "")}},
		{"no space at all", Models, "name='a'AND tags.k!='b'", []Clause{onName(Equal, "a"), onTag("k", NotEqual, "b")}},
		{"any space", Models, "\tname\n=\r'x' ", []Clause{onName(Equal, "x")}},
		{"keywords in any case", Models, "name lIkE 'x%' anD name ilike 'y' AnD name Not iN ('z')", []Clause{onName(Like, "x%"), onName(ILike, "y"), onName(NotIn, "z")}},
		{"an AND that joins nothing, as the reference", Models, "AND name = 'x' AND AND name = 'y' AND", []Clause{onName(Equal, "x"), onName(Equal, "y")}},
		{"clauses without an AND, as the reference", Models, "name = 'x' name = 'y'", []Clause{onName(Equal, "x"), onName(Equal, "y")}},
		{"attribute.name", Models, "attribute.name = 'x'", []Clause{onName(Equal, "x")}},
		{"an attribute in backticks, which the reference refuses", Models, "`name` = 'x' AND attribute.`name` = 'y'", []Clause{onName(Equal, "x"), onName(Equal, "y")}},
		{"tag and tags", Models, "tag.k = 'x' AND tags.k = 'y'", []Clause{onTag("k", Equal, "x"), onTag("k", Equal, "y")}},
		{"a key in backticks", Models, "tags.`a key: 1.2/x-y` = 'x'", []Clause{onTag("a key: 1.2/x-y", Equal, "x")}},
		{"a key in quotes", Models, `tags."a b" = 'x' AND tags.'c d' = 'y'`, []Clause{onTag("a b", Equal, "x"), onTag("c d", Equal, "y")}},
		{"a key with dots", Models, "tags.a.b.1 = 'x'", []Clause{onTag("a.b.1", Equal, "x")}},
		{"a key that is a keyword", Models, "tags.and = 'x' AND tags.order = 'y'", []Clause{onTag("and", Equal, "x"), onTag("order", Equal, "y")}},
		{"a key in any script", Models, "tags.日本 = 'x' AND tags.é = 'y'", []Clause{onTag("日本", Equal, "x"), onTag("é", Equal, "y")}},
		{"a list of names", Models, "name IN ('b', \"a\",'b',)", []Clause{onName(In, "a", "b")}},
		{"a list of run ids, capitals too", Versions, "run_id IN('b','A')AND run_id not in ('c')", []Clause{runIn(In, "A", "b"), runIn(NotIn, "c")}},
		{"quotes in a list", Versions, `run_id IN ('it''s', "it's", 'x"y', '')`, []Clause{runIn(In, "", "it's", `x"y`)}},
		{"all comparisons of numbers", Versions, "version_number=1 version_number != -2 version_number<3 version_number<=04 version_number>5 version_number >=6", []Clause{number(Equal, 1), number(NotEqual, -2), number(Less, 3), number(LessEqual, 4), number(Greater, 5), number(GreaterEqual, 6)}},
		{"a number in quotes, as the reference", Versions, "version_number = '1' AND version_number = \" -2 \"", []Clause{number(Equal, 1), number(Equal, -2)}},
		{"the source", Versions, "source_path LIKE 's3://%'", []Clause{{Target: OnAttribute, Key: "source_path", Op: Like, Values: []string{"s3://%"}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := mustParse(t, tt.kind, tt.source).Clauses()
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(Clause{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		notQuoted = "Parameter value is either not quoted or unidentified quote types used for string value %s. Use either single or double quotes."
		leftOver  = "Invalid clause(s) in filter string: "
		inList    = "While parsing a list in the query, expected "
		wantText  = "Expected a quoted string value or a list of quoted string values for attributes. Got value "
		wantTag   = "Expected a quoted string value for tag (e.g. 'my-value'). Got value "
		kinds     = ". Valid entity types are ('attribute', 'tag', 'tags')"
		ofModels  = " specified. Valid keys are '{'name'}'"
		ofVersion = " specified. Valid keys are '{'name', 'run_id', 'source_path', 'version_number'}'"
	)
	for _, tt := range []struct {
		name   string
		kind   Kind
		source string
		want   string
	}{
		{"a value without quotes", Models, "name!=something", fmt.Sprintf(notQuoted, "something")},
		{"a tag's value without quotes", Models, "tags.k = name", fmt.Sprintf(notQuoted, "name")},
		{"a value in backticks", Models, "name = `x`", fmt.Sprintf(notQuoted, "`x`")},
		{"a number that is a word", Versions, "version_number = 1AND name='a'", fmt.Sprintf(notQuoted, "1AND")},
		{"a number for a name", Models, "name = 123", wantText + "123"},
		{"a number for a version's name", Versions, "name = 1", "Only the '{'version_number'}' attributes support comparison with numeric values."},
		{"a number for a tag", Models, "tag.k >= 5", wantTag + "5"},
		{"a list for a tag", Models, "tag.k IN ('a')", wantTag + "('a')"},
		{"a model's run id", Models, "run_id='a'", "Invalid attribute key 'run_id'" + ofModels},
		{"a version's time", Versions, "creation_timestamp > 5", "Invalid attribute key 'creation_timestamp'" + ofVersion},
		{"a capital in an attribute", Models, "Name = 'a'", "Invalid attribute key 'Name'" + ofModels},
		{"an unknown entity", Models, "attr.name = 'v'", "Invalid entity type 'attr'" + kinds},
		{"a capital in an entity", Models, "TAG.k = 'v'", "Invalid entity type 'TAG'" + kinds},
		{"an entity in backticks", Models, "`tags`.k = 'v'", "Invalid entity type '`tags`'" + kinds},
		{"an entity in quotes", Models, "\"tags\".k = 'v'", "Invalid entity type '\"tags\"'" + kinds},
		{"no tag key", Models, "tags. = 'v'", "Invalid tag key '' specified. It must not be empty"},
		{"no tag key in backticks", Models, "tags.`` = 'v'", "Invalid tag key '' specified. It must not be empty"},
		{"true", Models, "evilhax = true", leftOver + "evilhax, =, true"},
		{"OR", Models, "name = 'x' OR name = 'y'", leftOver + "OR"},
		{"OR before a bad value", Versions, "name = x OR name = 'y'", leftOver + "OR"},
		{"parentheses", Models, "(name = 'x') AND ((name = 'y'))", leftOver + "(name = 'x'), ((name = 'y'))"},
		{"a semicolon at the end", Models, "name = 'x';", leftOver + ";"},
		{"two statements", Models, "name = 'x'; name = 'y'", `Search filter contained multiple expression "name = 'x'; name = 'y'". Provide AND-ed expression list.`},
		{"a comma", Models, "name = 'x', name = 'y'", leftOver + ","},
		{"a name alone", Models, "name", leftOver + "name"},
		{"no value", Models, "name LIKE", leftOver + "name, LIKE"},
		{"no column", Models, "= 'x'", leftOver + "=, 'x'"},
		{"a value on the left", Models, "'x' = name", "Invalid comparison clause. Expected 'Identifier' found ''x''"},
		{"a quote without its end", Models, "name = 'abc", leftOver + "name, =, 'abc"},
		{"a backtick without its end", Models, "tags.`k = 'v'", leftOver + "tags.`k = 'v'"},
		{"a key that needs backticks", Models, "tags.a-b = 'v'", leftOver + "tags.a, -"},
		{"a comment", Models, "name = 'x' -- all", leftOver + "-, -, all"},
		{"IS NULL, where the reference fails", Models, "tags.k IS NOT NULL", leftOver + "tags.k, IS, NOT, NULL"},
		{"BETWEEN", Versions, "version_number BETWEEN 1 AND 2", leftOver + "version_number, BETWEEN, 1, 2"},
		{"only spaces", Models, "   ", "Invalid filter '   '. Could not be parsed."},
		{"NOT LIKE", Models, "name NOT LIKE 'x'", "Invalid comparator for attribute: NOT LIKE"},
		{"an order of names", Models, "name > 'a'", "Invalid comparator for attribute: >"},
		{"two equal signs", Models, "name == 'a'", "Invalid comparator for attribute: =="},
		{"the other unequal sign", Versions, "version_number <> 1", "Invalid comparator for attribute version_number: <>"},
		{"an order of tags", Models, "tag.k > 'a'", "Invalid comparator for tag: >"},
		{"a number that is LIKE", Versions, "version_number LIKE 1", "Invalid comparator for attribute version_number: LIKE"},
		{"a fraction", Versions, "version_number = 1.5", "Invalid value for numeric attribute 'version_number': 1.5"},
		{"a text for a number", Versions, "version_number = 'x'", "Invalid value for numeric attribute 'version_number': 'x'"},
		{"a number beyond 64 bits, where the reference fails", Versions, "version_number = 99999999999999999999", "Invalid value for numeric attribute 'version_number': 99999999999999999999"},
		{"a list of numbers", Versions, "version_number IN (1)", "Only ['name', 'run_id'] attributes support comparison with a list of quoted string values."},
		{"a list of sources", Versions, "source_path IN ('a')", "Only ['name', 'run_id'] attributes support comparison with a list of quoted string values."},
		{"a list that equals, where the reference fails", Models, "name = ('a')", "Invalid comparator for attribute: = (a list needs IN or NOT IN)"},
		{"a pattern that is a list", Models, "name LIKE ('a')", "Invalid comparator for attribute: LIKE (a list needs IN or NOT IN)"},
		{"IN without a list", Models, "name IN 'a'", leftOver + "name, IN, 'a'"},
		{"IN without anything", Versions, "run_id IN", leftOver + "run_id, IN"},
		{"a list without an end", Versions, "run_id IN (", leftOver + "run_id, IN, ("},
		{"an empty list", Versions, "run_id IN ()", inList + "a non-empty list of string values, but got empty list"},
		{"only a comma in a list", Versions, "run_id IN (,)", inList + "a non-empty list of string values, but got ill-formed list."},
		{"two commas in a list", Versions, "run_id IN ('a',,'b')", inList + "a non-empty list of string values, but got ill-formed list."},
		{"no comma in a list, where the reference joins the two", Versions, "run_id IN ('a' 'b')", inList + "a non-empty list of string values, but got ill-formed list."},
		{"numbers in a list", Versions, "run_id IN (1,2,3)", inList + "string value, punctuation, or whitespace, but got different type in list: (1,2,3)"},
		{"words in a list, where the reference fails", Versions, "run_id IN ('a', b)", inList + "string value, punctuation, or whitespace, but got different type in list: ('a', b)"},
		{"bytes that are no text", Models, "name = '\xff'", "Invalid filter. It must be UTF-8"},
		{"a very long filter", Models, "name = '" + strings.Repeat("x", 16<<10) + "'", "Invalid filter. It must be at most 16384 bytes long, but has 16393"},
		{"very many clauses", Models, strings.Repeat("name='x'AND ", 101), "Invalid filter. It must have at most 100 clauses, but has 101"},
		{"a very long pattern", Models, "name LIKE '" + strings.Repeat("é", 1001) + "'", "Invalid filter. A pattern must be at most 1000 characters long, but one has 1001"},
		{"a lot left over, in a short text", Models, strings.Repeat("x ", 5000), leftOver + "x, x, x, x, x, x, x, x, x, x, ..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.kind, tt.source)
			wantRefusal(t, err, tt.want)
		})
	}
}

func TestRefusalsSayWhere(t *testing.T) {
	for source, want := range map[string]string{
		"name = 'x' OR name = 'y'":      "OR name",
		"name = 'x' AND nom = 'y'":      "nom",
		"name = 'x' AND name = y":       "y",
		"name IN ('x', 'y', 3)":         "3",
		"name = 'x'; name = 'y'":        "; name",
		"name = 'é' AND tags.k > 'v'  ": "'v'",
	} {
		_, err := Parse(Models, source)
		var refusal *Error
		if !errors.As(err, &refusal) {
			t.Fatalf("%s: %v", source, err)
		}
		if !strings.HasPrefix(source[refusal.Offset:], want) {
			t.Errorf("%s: refused at %q, want %q", source, source[refusal.Offset:], want)
		}
	}
}

// Whatever is in quotes comes back, and what Parse makes of the rest is no panic.
func TestParseGivesBackQuotedText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringN(0, 20, 40).Draw(t, "value")
		key := rapid.StringN(1, 20, 40).Draw(t, "key")
		quote := rapid.SampledFrom([]string{"'", `"`}).Draw(t, "quote")
		source := fmt.Sprintf("tags.`%s` = %s", strings.ReplaceAll(key, "`", "``"),
			quote+strings.ReplaceAll(value, quote, quote+quote)+quote)
		f, err := Parse(Models, source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		want := []Clause{onTag(key, Equal, value)}
		if diff := cmp.Diff(want, f.Clauses(), cmpopts.IgnoreUnexported(Clause{})); diff != "" {
			t.Errorf("%s: %s", source, diff)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, source := range []string{
		"", " ", "name = 'x'", `tags."k" != "v" AND name LIKE 'a%_b'`, "name IN ('a','b',)", "name NOT IN ('it''s')",
		"version_number >= -3 AND tag.`a b` ILIKE '%É%'", "tags.`mlflow.prompt.is_prompt` = 'true'", "((name = 'x')", "a.b.c.`d`.'e' <=> 1.5.2",
		"name = 'x'; name = 'y'", "NOT NOT IN", "'x' = \"y", "version_number = 99999999999999999999", "\xff\xc3", "name DESC",
	} {
		f.Add(source)
	}
	r := &row{name: "some name", runID: "r", source: "s3://b/k", number: 3, tags: map[string]string{"k": "v"}}
	f.Fuzz(func(t *testing.T, source string) {
		for _, kind := range []Kind{Models, Versions} {
			parsed, err := Parse(kind, source)
			var refusal *Error
			if err != nil && (!errors.As(err, &refusal) || refusal.Message == "" || len(refusal.Message) > 4000 ||
				refusal.Offset < -1 || refusal.Offset > len(source)) {
				t.Errorf("%q: %#v", source, err)
			}
			parsed.Match(r)
			if order, err := ParseOrder(kind, []string{source}); err == nil && order.Compare(r, r) != 0 {
				t.Errorf("%q: a row is not equal to itself", source)
			}
		}
	})
}
