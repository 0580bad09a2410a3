package subscription

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/oklog/ulid/v2"
)

// promoted is an event with a principal, and deleted one without.
var (
	registry = ulid.MustParseStrict("01KAQ3V4J0000000000000000A")
	promoted = events.Event{
		Sequence: 4721, ID: ulid.MustParseStrict("01KAQ3V4J0000000000000000B"), Registry: registry, Subject: "models/fraud/versions/8",
		Time: time.Date(2026, 11, 24, 13, 18, 5, 410_000_000, time.UTC), Principal: "prn_1",
		Data: events.VersionPromoted{ModelID: ulid.MustParseStrict("01KAQ3V4J0000000000000000C"), Version: 8, From: "Staging", To: "Production"},
	}
	deleted = events.Event{
		Sequence: 4722, ID: ulid.MustParseStrict("01KAQ3V4J0000000000000000D"), Registry: registry, Subject: "models/churn",
		Time: time.Date(2026, 11, 24, 13, 18, 6, 0, time.UTC),
		Data: events.ModelDeleted{ModelID: ulid.MustParseStrict("01KAQ3V4J0000000000000000E")},
	}
)

func of(tb testing.TB, e events.Event) *Event {
	tb.Helper()
	a, err := Of(e)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func TestFiltersLetThroughWhatTheirDialectsSay(t *testing.T) {
	for filters, want := range map[string]string{ // P for promoted, D for deleted
		`[]`: "PD",
		`[{"exact":{"type":"dev.modelog.version.promoted.v1"}}]`:                                         "P",
		`[{"exact":{"type":"dev.modelog.version.promoted.v1","subject":"models/churn"}}]`:                "",
		`[{"exact":{"authid":"prn_1"}}]`:                                                                 "P",
		`[{"exact":{"sequence":"00000000000000004722"}}]`:                                                "D",
		`[{"exact":{"partitionkey":"01KAQ3V4J0000000000000000E"}}]`:                                      "D",
		`[{"exact":{"time":"2026-11-24T13:18:05.410Z"}}]`:                                                "P",
		`[{"exact":{"source":"urn:modelog:01KAQ3V4J0000000000000000A"}}]`:                                "PD",
		`[{"exact":{"subject":"MODELS/CHURN"}}]`:                                                         "",
		`[{"prefix":{"subject":"models/fraud/"}}]`:                                                       "P",
		`[{"prefix":{"type":"dev.modelog.","subject":"models/c"}}]`:                                      "D",
		`[{"prefix":{"authid":"p"}}]`:                                                                    "P",
		`[{"suffix":{"type":".v1"}}]`:                                                                    "PD",
		`[{"suffix":{"subject":"/8"}}]`:                                                                  "P",
		`[{"all":[{"suffix":{"type":".v1"}},{"prefix":{"subject":"models/c"}}]}]`:                        "D",
		`[{"any":[{"exact":{"subject":"models/churn"}},{"exact":{"authid":"prn_1"}}]}]`:                  "PD",
		`[{"any":[{"exact":{"subject":"models/x"}}]}]`:                                                   "",
		`[{"not":{"exact":{"subject":"models/churn"}}}]`:                                                 "P",
		`[{"suffix":{"type":".v1"}},{"not":{"prefix":{"subject":"models/f"}}}]`:                          "D",
		`[{"sql":"subject LIKE 'models/fraud/%'"}]`:                                                      "P",
		`[{"sql":"type IN ('dev.modelog.model.deleted.v1', 'x')"}]`:                                      "D",
		`[{"sql":"EXISTS authid"}]`:                                                                      "P",
		`[{"sql":"subject = 'models/churn' OR authid = 'prn_1'"}]`:                                       "PD",
		`[{"sql":"INT(sequence) > 4721"}]`:                                                               "D",
		`[{"sql":"INT(subject) > 0"}]`:                                                                   "",
		`[{"sql":"'true'"}]`:                                                                             "PD",
		`[{"sql":"'yes'"}]`:                                                                              "",
		`[{"sql":"NOT 10"}]`:                                                                             "",
		`[{"sql":"time = '2026-11-24T13:18:05.41Z'"}]`:                                                   "P",
		`[{"not":{"exact":{"authid":"prn_1"}}}]`:                                                         "D", // what lacks it passes
		`[{"sql":"NOT (authid = 'prn_1')"}]`:                                                             "",  // what lacks it is an error
		`[{"sql":"NOT EXISTS authid OR authid != 'prn_1'"}]`:                                             "D",
		`[{"not":{"sql":"authid = 'prn_1'"}}]`:                                                           "D",
		`[{"not":{"any":[{"not":{"all":[{"prefix":{"subject":"models/"}}]}}]}},{"exact":{"id":"nope"}}]`: "",
	} {
		parsed, err := ParseFilters([]byte(filters))
		if err != nil {
			t.Fatalf("%s: %v", filters, err)
		}
		m, err := Compile(parsed, nil)
		if err != nil {
			t.Fatalf("%s: %v", filters, err)
		}
		if got := passing(t, m); got != want {
			t.Errorf("%s lets %q through, want %q", filters, got, want)
		}
	}
}

func passing(t *testing.T, m *Matcher) string {
	t.Helper()
	var got string
	for letter, e := range map[string]events.Event{"P": promoted, "D": deleted} {
		if m.Matches(of(t, e)) {
			got = max(letter+got, got+letter) // P before D
		}
	}
	return got
}

func TestTypesAndSeveralMatchersGoTogether(t *testing.T) {
	types, err := Compile(nil, []string{"dev.modelog.model.deleted.v1", "dev.modelog.version.promoted.v1"})
	if err != nil {
		t.Fatal(err)
	}
	one, err := Compile(nil, []string{"dev.modelog.model.deleted.v1"})
	if err != nil {
		t.Fatal(err)
	}
	none, err := Compile([]Filter{{Exact: map[string]string{"authid": "prn_1"}}}, []string{"dev.modelog.model.deleted.v1"})
	if err != nil {
		t.Fatal(err)
	}
	var all *Matcher
	got := []string{passing(t, all), passing(t, types), passing(t, one), passing(t, none), passing(t, types.And(one)), passing(t, all.And(one))}
	if diff := cmp.Diff([]string{"PD", "PD", "D", "", "D", "D"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestBadFiltersAreRefusedWithWhereAndWhy(t *testing.T) {
	deep := strings.Repeat(`{"not":`, MaxDepth) + `{"exact":{"id":"x"}}` + strings.Repeat("}", MaxDepth)
	for filters, want := range map[string][2]string{
		`[{"exact":{"typ":"x"}}]`:               {"/filters/0/exact/typ", "unknown_attribute"},
		`[{"exact":{"a/b":"x"}}]`:               {"/filters/0/exact/a~1b", "unknown_attribute"},
		`[{"exact":{"type":""}}]`:               {"/filters/0/exact/type", "required"},
		`[{"prefix":{}}]`:                       {"/filters/0/prefix", "required"},
		`[{"any":[]}]`:                          {"/filters/0/any", "required"},
		`[{"all":[]}]`:                          {"/filters/0/all", "required"},
		`[{"any":[{"exact":{"id":"x"}},{}]}]`:   {"/filters/0/any/1", "one_dialect"},
		`[{}]`:                                  {"/filters/0", "one_dialect"},
		`[null]`:                                {"/filters/0", "one_dialect"},
		`[{"not":null}]`:                        {"/filters/0", "one_dialect"},
		`[{"exact":{"id":"x"},"sql":"TRUE"}]`:   {"/filters/0", "one_dialect"},
		`[{"not":{"not":{"suffix":{"x":""}}}}]`: {"/filters/0/not/not/suffix/x", "unknown_attribute"},
		`[{"suffix":{"type":"` + strings.Repeat("x", MaxValue+1) + `"}}]`: {"/filters/0/suffix/type", "max_length"},
		`[` + deep + `]`: {"/filters/0" + strings.Repeat("/not", MaxDepth), "max_depth"},
		`[` + strings.Repeat(`{"sql":"TRUE"},`, MaxFilters) + `{"sql":"TRUE"}]`: {fmt.Sprintf("/filters/%d", MaxFilters), "max_items"},
		`[{"sql":""}]`:                  {"/filters/0/sql", "required"},
		`[{"sql":"type ="}]`:            {"/filters/0/sql", "cesql"},
		`[{"sql":"type = 'x' ~ ~"}]`:    {"/filters/0/sql", "cesql"},
		`[{"sql":"'x"}]`:                {"/filters/0/sql", "cesql"},
		`[{"sql":"TRUE TRUE"}]`:         {"/filters/0/sql", "cesql"},
		`[{"sql":"type LIKE subject"}]`: {"/filters/0/sql", "cesql"},
		`[{"sql":"99999999999 = 1"}]`:   {"/filters/0/sql", "cesql"},
		`[{"sql":"typ = 'x'"}]`:         {"/filters/0/sql", "unknown_attribute"},
		`[{"sql":"EXISTS typ"}]`:        {"/filters/0/sql", "unknown_attribute"},
		`[{"sql":"NOPE(type)"}]`:        {"/filters/0/sql", "unknown_function"},
		`[{"sql":"` + strings.Repeat("(", 100) + "TRUE" + strings.Repeat(")", 100) + `"}]`: {"/filters/0/sql", "cesql"},
		`[{"sql":"` + strings.Repeat("NOT ", 100) + `TRUE"}]`:                              {"/filters/0/sql", "cesql"},
		`[{"sql":"` + strings.Repeat(" ", MaxSQL) + `TRUE"}]`:                              {"/filters/0/sql", "max_length"},
		`[{"regex":{"type":"x"}}]`:                                                         {"/0/regex", "unknown_dialect"},
		`[{"not":{"regex":{"type":"x"}}}]`:                                                 {"/0/not/regex", "unknown_dialect"},
		`[{"exact":{"type":1}}]`:                                                           {"/0/exact/type", "type"},
		`[{"sql":7}]`:                                                                      {"/0/sql", "type"},
		`[{"exact":{"type":"a","type":"b"}}]`:                                              {"/0/exact/type", "duplicate"},
		`{"exact":{"type":"a"}}`:                                                           {"", "type"},
		`null`:                                                                             {"", "type"},
		``:                                                                                 {"", "json"},
		`[`:                                                                                {"", "json"},
		`[{"exact":{"type":"a"}}] x`:                                                       {"", "json"},
		"[{\"exact\":{\"type\":\"\xff\"}}]":                                                {"/0/exact/type", "json"},
	} {
		parsed, err := ParseFilters([]byte(filters))
		if err == nil {
			_, err = Compile(parsed, nil)
		}
		if got := fieldOf(t, err); got != want {
			t.Errorf("%.100s is refused with %q, want %q", filters, got, want)
		}
	}
}

func TestBadTypesAreRefused(t *testing.T) {
	_, err := Compile(nil, []string{"dev.modelog.model.deleted.v1", "dev.modelog.model.delete.v1"})
	if got := fieldOf(t, err); got != [2]string{"/types/1", "unknown_type"} {
		t.Errorf("the type is refused with %q", got)
	}
	_, err = Compile(nil, make([]string, MaxTypes+1))
	if got := fieldOf(t, err); got != [2]string{"/types", "max_items"} {
		t.Errorf("the types are refused with %q", got)
	}
}

func fieldOf(t *testing.T, err error) [2]string {
	t.Helper()
	invalid, ok := errors.AsType[handlers.InvalidError](err)
	if !ok || len(invalid.Fields) != 1 {
		t.Errorf("not a refusal of one field: %v", err)
		return [2]string{}
	}
	if invalid.Fields[0].Detail == "" {
		t.Errorf("%v tells nothing", invalid.Fields)
	}
	return [2]string{invalid.Fields[0].Pointer, invalid.Fields[0].Rule}
}

func TestMatchingAllocatesNothing(t *testing.T) {
	e := of(t, promoted)
	m, err := Compile(wide, []string{"dev.modelog.version.promoted.v1"})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { m.Matches(e) }); n > 0 {
		t.Errorf("it allocates %v times", n)
	}
}

var wide = []Filter{
	{Prefix: map[string]string{"subject": "models/fraud/"}},
	{Any: []Filter{{Exact: map[string]string{"authid": "prn_2"}}, {Suffix: map[string]string{"type": ".v1"}}}},
	{Not: &Filter{Exact: map[string]string{"partitionkey": "x"}}},
}

// FuzzSQL looks for expressions that end the process, or are taken and then not
// evaluated.
func FuzzSQL(f *testing.F) {
	for _, seed := range []string{"type = 'x'", "NOT (1 + -subject) % 0 = 3", "a.b", "SUBSTRING(subject, 2147483647, -1)", "'\\", "LEFT(type, -3)", "IN (", "((", "1 IN ()", "f(", "-\x002"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Compile([]Filter{{SQL: &text}}, nil)
		if err == nil {
			m.Matches(of(t, promoted))
		} else if _, ok := errors.AsType[handlers.InvalidError](err); !ok {
			t.Errorf("%q fails with %v", text, err)
		}
	})
}

// BenchmarkMatch takes one event through a thousand matchers.
func BenchmarkMatch(b *testing.B) {
	const matchers = 1000
	for name, filter := range map[string]func(int) []Filter{
		"sql": func(i int) []Filter {
			sql := fmt.Sprintf("type = 'dev.modelog.version.promoted.v1' AND subject LIKE 'models/m%d/%%'", i)
			return []Filter{{SQL: &sql}}
		},
		"wide": func(int) []Filter { return wide },
		"narrow": func(i int) []Filter {
			return []Filter{{Prefix: map[string]string{"subject": fmt.Sprintf("models/m%d/", i)}}}
		},
	} {
		b.Run(name, func(b *testing.B) {
			all := make([]*Matcher, matchers)
			for i := range all {
				var err error
				if all[i], err = Compile(filter(i), nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				e := of(b, promoted)
				for _, m := range all {
					m.Matches(e)
				}
			}
		})
	}
}
