package api

import (
	"slices"
	"testing"
)

// TestARollbackWarnsOfWithdrawnData: it restores the table all the same.
func TestARollbackWarnsOfWithdrawnData(t *testing.T) {
	r := newRegistry(t)
	r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://m/1","datasets":[{"name":"kund,en ä"}]}`).want(201)
	r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://m/2"}`).want(201)
	r.call("PUT", "/v1/targets/prod/scorer", `{}`).want(200)
	deploy := func(body string) []string {
		return r.call("POST", "/v1/targets/prod/scorer/deploy", body).want(200).Header().Values(WithdrawnHeader)
	}
	rollback := func() []string {
		return r.call("POST", "/v1/targets/prod/scorer/rollback", `{}`).want(200).Header().Values(WithdrawnHeader)
	}
	deploy(`{"model":"fraud","ref":"1"}`)
	deploy(`{"model":"fraud","ref":"2"}`)
	if got := rollback(); got != nil {
		t.Errorf("with nothing withdrawn: %q", got)
	}
	r.call("POST", "/v1/datasets/withdraw", `{"name":"kund,en ä","reason":"no consent"}`).want(200)
	if got := deploy(`{"model":"fraud","ref":"2"}`); got != nil {
		t.Errorf("of a version without it: %q", got)
	}
	want := []string{"dataset:kund%2Cen%20%C3%A4"}
	if got := rollback(); !slices.Equal(got, want) {
		t.Errorf("a rollback: %q, want %q", got, want)
	}
	r.call("POST", "/v1/datasets/reinstate", `{"name":"kund,en ä","reason":"consent given"}`).want(200)
	deploy(`{"model":"fraud","ref":"2"}`)
	if got := rollback(); got != nil {
		t.Errorf("after it was reinstated: %q", got)
	}
}
