package api

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/modelog/modelog/handlers"
)

func TestListsHoldWhatTheirFilterLetsThrough(t *testing.T) {
	r := newRegistry(t)
	for name, tags := range map[string]string{"churn": `"team":"care"`, "fraud": `"team":"risk"`, "greeting": `"mlflow.prompt.is_prompt":"true"`, "loans": `"team":"risk"`} {
		r.call("POST", "/v1/models", fmt.Sprintf(`{"name":%q,"tags":{%s}}`, name, tags)).want(201)
	}
	for i := range 4 {
		r.call("POST", "/v1/models/fraud/versions", fmt.Sprintf(`{"source":"s3://fraud/%d","run_id":"run%d","tags":{"even":"%v"}}`, i+1, i/2, i%2 == 1)).want(201)
	}
	for text, want := range map[string][]string{
		"":                    {"churn", "fraud", "greeting", "loans"},
		"tags.team = 'risk'":  {"fraud", "loans"},
		"tags.team != 'risk'": {"churn"},
		"name LIKE '%a%'":     {"fraud", "loans"},
		"name ILIKE 'G%'":     {"greeting"},
		"tags.`mlflow.prompt.is_prompt` = 'true'":              {"greeting"},
		"tags.`mlflow.prompt.is_prompt` != 'true'":             {"churn", "fraud", "loans"},
		"name = 'fraud' AND tags.team = 'care'":                nil,
		"name IN ('fraud', 'churn') and tags.team LIKE 'ris%'": {"fraud"},
	} {
		var got []string
		cursor := ""
		for {
			page := decode[ModelList](r.call("GET", "/v1/models?limit=1&filter="+url.QueryEscape(text)+"&cursor="+cursor, "").want(200))
			for _, m := range page.Models {
				got = append(got, m.Name)
			}
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string][]int{
		"":                                {4, 3, 2, 1},
		"run_id = 'run0'":                 {2, 1},
		"source_path LIKE 's3://fraud/%'": {4, 3, 2, 1},
		"version_number > 1 AND tags.even = 'true'": {4, 2},
		"name = 'loans'": nil,
	} {
		var got []int
		for _, v := range decode[VersionList](r.call("GET", "/v1/models/fraud/versions?filter="+url.QueryEscape(text), "").want(200)).Versions {
			got = append(got, v.Version)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"name", "name = fraud", "stage = 'Production'", "name = 'a' OR name = 'b'"} {
		problem := r.call("GET", "/v1/models?filter="+url.QueryEscape(text), "").problem(400, handlers.CodeInvalid)
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "filter" {
			t.Errorf("%s: %+v", text, problem)
		}
	}
}
