package filter

import (
	"errors"
	"testing"
)

// A row is a model or a version of the tests.
type row struct {
	name, runID, source      string
	number, created, updated int64
	tags                     map[string]string
}

func (r *row) String(a Attribute) string {
	switch a {
	case Name:
		return r.name
	case RunID:
		return r.runID
	case SourcePath:
		return r.source
	default:
		panic("not a text: " + a)
	}
}

func (r *row) Int(a Attribute) int64 {
	switch a {
	case Number:
		return r.number
	case Created:
		return r.created
	case Updated:
		return r.updated
	default:
		panic("not a number: " + a)
	}
}

func (r *row) Tag(key string) (string, bool) {
	value, ok := r.tags[key]
	return value, ok
}

func (r *row) Prompt() bool { return r.tags[PromptTag] == "true" }

func mustParse(tb testing.TB, kind Kind, source string) Filter {
	tb.Helper()
	f, err := Parse(kind, source)
	if err != nil {
		tb.Fatalf("Parse(%q): %v", source, err)
	}
	return f
}

// wantRefusal checks that an error is an *Error with a text, "" for none.
func wantRefusal(t *testing.T, err error, want string) {
	t.Helper()
	var refusal *Error
	switch {
	case err == nil && want == "":
	case err == nil:
		t.Errorf("accepted; want %q", want)
	case !errors.As(err, &refusal):
		t.Errorf("refused with a %T: %v", err, err)
	case err.Error() != want:
		t.Errorf("refused with\n\t%s\nwant\n\t%s", err, want)
	}
}
