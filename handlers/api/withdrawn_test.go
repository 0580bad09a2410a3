package api

import (
	"slices"
	"testing"

	"github.com/modelog/modelog/handlers"
)

// TestAnETagMovesWithAWithdrawalWhereItShows: what is shown of versions and targets
// changes with the withdrawal of data that is far upstream, and whoever holds an
// ETag must be told; all others needn't ask again.
func TestAnETagMovesWithAWithdrawalWhereItShows(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	const (
		other   = "0000000000000000000000000000000000000000000000000000000000000001"
		another = "0000000000000000000000000000000000000000000000000000000000000002"
	)
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://models/fraud/2","base_model":"fraud/1"}`).want(201)
	r.call("POST", "/v1/models", `{"name":"churn"}`).want(201)
	r.call("POST", "/v1/models/churn/versions", `{"source":"s3://models/churn/1","datasets":[{"name":"customers","digest":"sha256:`+other+`"}]}`).want(201)
	r.call("PUT", "/v1/targets/prod/leaver", `{}`).want(200)
	r.call("POST", "/v1/targets/prod/leaver/deploy", `{"model":"churn","ref":"1"}`).want(200)

	paths := []string{
		"/v1/models/fraud/versions/1", "/v1/models/fraud/versions/2", "/v1/models/churn/versions/1",
		"/v1/models/fraud", "/v1/models/churn", "/v1/targets/prod/scorer", "/v1/targets/prod/leaver",
	}
	type shown struct{ etag, body string }
	look := func() map[string]shown {
		all := map[string]shown{}
		for _, path := range paths {
			answer := r.call("GET", path, "").want(200)
			all[path] = shown{answer.Header().Get("ETag"), answer.Body.String()}
			if all[path].etag == "" {
				t.Fatalf("%s has no ETag", path)
			}
		}
		return all
	}
	const (
		whole  = `{"name":"transactions","reason":"no consent"}`
		part   = `{"name":"transactions","digest":"sha256:` + digest + `","reason":"leaked"}`
		absent = `{"name":"transactions","digest":"sha256:` + another + `","reason":"leaked"}`
	)
	fraud := []string{"/v1/models/fraud/versions/1", "/v1/models/fraud/versions/2"}
	before := look()
	for _, step := range []struct {
		name, path, body string
		changes          []string // of versions; a target shows what it shows
	}{
		{"data that nothing comes from", "/v1/datasets/withdraw", `{"name":"nothing of ours","reason":"old"}`, nil},
		{"another version of the data", "/v1/datasets/withdraw", absent, nil},
		{"the data", "/v1/datasets/withdraw", whole, fraud},
		{"the data once more", "/v1/datasets/withdraw", whole, nil},
		{"the version of the data, too", "/v1/datasets/withdraw", part, fraud},
		{"the whole may be used again, the version not", "/v1/datasets/reinstate", whole, fraud},
		{ // the others' sequence moves too: something new is told of the data that they come from
			"what comes from it comes to be known", "/v1/lineage/edges",
			`{"edges":[{"from":"version:churn/1","to":"dataset:transactions#sha256:` + digest + `","type":"wasDerivedFrom"}]}`,
			slices.Concat(fraud, []string{"/v1/models/churn/versions/1"}),
		},
		{"all may be used again", "/v1/datasets/reinstate", part, slices.Concat(fraud, []string{"/v1/models/churn/versions/1"})},
		{"what nothing comes from may be used again", "/v1/datasets/reinstate", absent, nil},
	} {
		if got := r.call("POST", step.path, step.body); got.Code/100 != 2 {
			t.Fatalf("%s: %d %s", step.name, got.Code, got.Body)
		}
		after := look()
		for _, path := range paths {
			was, is := before[path], after[path]
			if (was.body != is.body) != (was.etag != is.etag) {
				t.Errorf("%s: %s: the answer changed: %v; the ETag: %v\nbefore: %s %s\nafter: %s %s",
					step.name, path, was.body != is.body, was.etag != is.etag, was.etag, was.body, is.etag, is.body)
			}
			version := slices.Contains(paths[:3], path)
			if changed := was.body != is.body; version && changed != slices.Contains(step.changes, path) {
				t.Errorf("%s: %s: the answer changed: %v\n%s", step.name, path, changed, is.body)
			}
			status := 304
			if was.body != is.body {
				status = 200
			}
			r.call("GET", path, "", "If-None-Match", was.etag).want(status)
		}
		before = after
	}
}

// TestAWithdrawalIsAChangeThatAWriterMustKnow: who changes a version on the ground
// of an old ETag is refused.
func TestAWithdrawalIsAChangeThatAWriterMustKnow(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	const version = "/v1/models/fraud/versions/1"
	etag := r.call("GET", version, "").want(200).Header().Get("ETag")
	r.call("POST", "/v1/datasets/withdraw", `{"name":"transactions","reason":"no consent"}`).want(200)
	r.call("PATCH", version, `{"description":"fine"}`, "If-Match", etag).problem(412, handlers.CodePreconditionFailed)
	now := r.call("GET", version, "").want(200).Header().Get("ETag")
	r.call("PATCH", version, `{"description":"fine"}`, "If-Match", now).want(200)
}
