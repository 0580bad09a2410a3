package events

import (
	"net/url"
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHeadersAreEscapedOnce(t *testing.T) {
	for plain, escaped := range map[string]string{
		"":                        "",
		"models/fraud/versions/8": "models/fraud/versions/8",
		"Größe 100%":              "Gr%C3%B6%C3%9Fe%20100%25",
		`say "hi"`:                "say%20%22hi%22",
		"a\r\nce-id: x":           "a%0D%0Ace-id:%20x",
		"\x7f\x00":                "%7F%00",
		"100%25":                  "100%2525",
	} {
		if got := escapeHeader(plain); got != escaped {
			t.Errorf("escape %q: got %q, want %q", plain, got, escaped)
		}
		if got, err := unescapeHeader(escaped); err != nil || got != plain {
			t.Errorf("unescape %q: got %q, %v, want %q", escaped, got, err, plain)
		}
	}
}

func TestHeadersWithAnotherEncodingAreRefused(t *testing.T) {
	for _, value := range []string{
		"%", "%2", "%zz", "a%", // not an encoding
		"%41", "%2F", // what needs none
		"%c3%b6", // in lower case
		"ö", "a b", `"`, "\r\n",
		"%C3", "%FF", "%C0%80", "%ED%A0%80", // not UTF-8
	} {
		if got, err := unescapeHeader(value); err == nil {
			t.Errorf("%q was taken as %q", value, got)
		}
	}
}

var visible = regexp.MustCompile(`^[!-~]*$`)

func TestAnyTextGoesThroughAHeader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		escaped := escapeHeader(text)
		if !visible.MatchString(escaped) {
			t.Fatalf("%q is not visible ASCII", escaped)
		}
		if got, err := unescapeHeader(escaped); err != nil || got != text {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}

func TestWhatAHeaderIsReadFromIsHowItIsWritten(t *testing.T) {
	value := rapid.OneOf(
		rapid.String(), rapid.StringMatching(`(%[0-9A-Fa-f]{2}|[ -~]){0,8}`), rapid.Map(rapid.String(), escapeHeader),
	)
	rapid.Check(t, func(t *rapid.T) {
		value := value.Draw(t, "value")
		if text, err := unescapeHeader(value); err == nil && escapeHeader(text) != value {
			t.Fatalf("%q was read as %q, which is written as %q", value, text, escapeHeader(text))
		}
	})
}

// TestANameIsEncodedInTheSubjectAndAgainInTheHeader: a subject has its names
// percent-encoded, and a header encodes the percent signs of that.
func TestANameIsEncodedInTheSubjectAndAgainInTheHeader(t *testing.T) {
	e := examples()["model.registered.v1"]
	e.Subject = "models/" + url.PathEscape("Größe 100%")
	s := stored(t, e)
	if got, want := headerOf(s, "ce-subject"), "models/Gr%25C3%25B6%25C3%259Fe%2520100%2525"; got != want {
		t.Errorf("on the log: got %s, want %s", got, want)
	}
	ce, err := CloudEvent(decoded(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ce.Subject(), "models/Gr%C3%B6%C3%9Fe%20100%25"; got != want {
		t.Errorf("at the edges: got %s, want %s", got, want)
	}
}

// TestATimeIsReadAsTimeParseReadsIt compares the reader by hand with the library's.
func TestATimeIsReadAsTimeParseReadsIt(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, s string) {
		want, err := time.Parse(time.RFC3339, s)
		good := err == nil && want.Format(timeLayout) == s
		if got, ok := readTimeFields(s); ok != good || good && !got.Equal(want) {
			t.Fatalf("%q: got %v, %v, want %v, %v", s, got, ok, want, err)
		}
	}
	const good = "2026-11-23T20:03:00.123Z"
	for i := range good {
		for _, c := range "0123456789-:T.Zz +," {
			check(t, good[:i]+string(c)+good[i+1:])
		}
		check(t, good[:i])
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\.[0-9]{3}Z`).Draw(t, "time"))
	})
}

// TestATimeIsWrittenAsFormatWritesIt compares the writer by hand with the library's.
func TestATimeIsWrittenAsFormatWritesIt(t *testing.T) {
	zone := time.FixedZone("", 3600)
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-80_000_000_000, 300_000_000_000).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanosecond"))
		if got, want := FormatTime(at.In(zone)), at.UTC().Truncate(time.Millisecond).Format(timeLayout); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}
