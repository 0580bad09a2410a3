package filter

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	tags := map[string]string{"stage": "Prod", "empty": ""}
	r := &row{name: "Fraud-v2", runID: "abC", source: "s3://b/k", number: 7, tags: tags}
	for source, want := range map[string]bool{
		"":                                         true,
		"name = 'Fraud-v2'":                        true,
		"name = 'fraud-v2'":                        false,
		"name != 'fraud-v2'":                       true,
		"name LIKE 'Fraud%'":                       true,
		"name LIKE 'fraud%'":                       false,
		"name ILIKE 'fRAUD__2'":                    true,
		"name IN ('x', 'Fraud-v2')":                true,
		"name NOT IN ('x', 'Fraud-v2')":            false,
		"run_id IN ('abc')":                        false,
		"run_id NOT IN ('abc')":                    true,
		"source_path ILIKE 'S3://%'":               true,
		"version_number = 7":                       true,
		"version_number != 7":                      false,
		"version_number < 7":                       false,
		"version_number <= 7":                      true,
		"version_number > 6 AND version_number<8":  true,
		"version_number >= 8":                      false,
		"tags.stage = 'Prod'":                      true,
		"tags.Stage = 'Prod'":                      false,
		"tags.stage != 'x'":                        true,
		"tags.missing != 'x'":                      false, // there is nothing to compare
		"tags.empty = ''":                          true,
		"tags.missing = ''":                        false,
		"tags.stage LIKE 'P%' AND tags.stage!='P'": true,
		"tags.stage LIKE 'P%' AND tags.empty='x'":  false,
	} {
		if got := mustParse(t, Versions, source).Match(r); got != want {
			t.Errorf("%s: %v, want %v", source, got, want)
		}
	}
}

func TestPromptsAreHiddenUnlessAskedFor(t *testing.T) {
	const tag = "tags.`mlflow.prompt.is_prompt` "
	rows := []*row{
		{name: "model"},
		{name: "former", tags: map[string]string{PromptTag: "false"}},
		{name: "prompt", tags: map[string]string{PromptTag: "true"}},
	}
	for _, tt := range []struct{ name, source, want string }{
		{"no filter", "", "model former"},
		{"a filter of something else", "name LIKE '%m%'", "model former"},
		{"prompts", tag + "= 'true'", "prompt"},
		{"prompts, and no AND before the rest", tag + "= 'true' name = 'x'", ""},
		{"prompts without backticks", "tag.mlflow.prompt.is_prompt = 'true'", "prompt"},
		{"not models", tag + "!= 'false'", "prompt"},
		{"not prompts", tag + "!= 'true'", "model former"},
		{"models", tag + "= 'false'", "model former"},
		{"neither, as the reference", tag + "= 'else'", "model former"},
		{"a pattern, as the reference", tag + "LIKE 't%'", "model former"},
		{"prompts in another case, as the reference", tag + "= 'TRUE'", ""},
		{"prompts and models", tag + "= 'true' AND " + tag + "= 'false'", ""},
		{"models and prompts, where the reference finds the models", tag + "!= 'true' AND " + tag + "= 'true'", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, kind := range []Kind{Models, Versions} {
				f := mustParse(t, kind, tt.source)
				var got []string
				for _, r := range rows {
					if f.Match(r) {
						got = append(got, r.name)
					}
				}
				if strings.Join(got, " ") != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
			}
		})
	}
}

func TestClausesLeaveOutThatModelsAreWanted(t *testing.T) {
	f := mustParse(t, Models, "tags.`mlflow.prompt.is_prompt` != 'true' AND name = 'x'")
	if len(f.Clauses()) != 1 || f.Clauses()[0].Key != "name" || f.Prompts() {
		t.Errorf("%+v", f)
	}
	f = mustParse(t, Models, "tags.`mlflow.prompt.is_prompt` = 'true' AND name = 'x'")
	if len(f.Clauses()) != 2 || !f.Prompts() {
		t.Errorf("%+v", f)
	}
}

func TestPrefixIsWhatAnIndexCanUse(t *testing.T) {
	for source, want := range map[string]string{
		"name = 'abc'":              "abc",
		"name != 'abc'":             "",
		"name LIKE 'abc'":           "abc",
		"name LIKE 'ab%c'":          "ab",
		"name LIKE 'a_c'":           "a",
		"name LIKE '%a'":            "",
		"name ILIKE 'abc%'":         "",
		"name IN ('abc')":           "",
		"attribute.name LIKE 'é%é'": "é",
	} {
		if got := mustParse(t, Models, source).Clauses()[0].Prefix(); got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
	number := mustParse(t, Versions, "version_number = 5").Clauses()[0]
	if got := number.Prefix(); got != "" {
		t.Errorf("a number: %q", got)
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	f, r := benchmarkFilter(t)
	if n := testing.AllocsPerRun(100, func() { f.Match(r) }); n != 0 {
		t.Errorf("%v allocations per row", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	f, r := benchmarkFilter(b)
	b.ReportAllocs()
	for b.Loop() {
		if !f.Match(r) {
			b.Fatal("no match")
		}
	}
}

func benchmarkFilter(tb testing.TB) (Filter, Row) {
	tb.Helper()
	f := mustParse(tb, Versions, "name LIKE 'fraud%' AND run_id NOT IN ('a','b','c') AND version_number > 3 AND tags.stage = 'prod'"+
		" AND source_path ILIKE '%/MODELS/%.onnx' AND tags.`mlflow.prompt.is_prompt` != 'true'")
	return f, &row{
		name: "fraud-detector", runID: "0123456789abcdef0123456789abcdef", source: "s3://bucket/models/fraud/7/model.onnx",
		number: 7, tags: map[string]string{"stage": "prod"},
	}
}
