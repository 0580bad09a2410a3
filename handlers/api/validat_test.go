package api

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
)

// reportLate has three versions run on edge/gateway, the second of which is told
// of last. It gives the sequence before that.
func (r *registry) reportLate() (before string) {
	r.Helper()
	then := func(day int) []string {
		return []string{"Modelog-Occurred-Time", fmt.Sprintf("2026-11-%02dT08:00:00Z", day)}
	}
	r.call("POST", "/v1/models", `{"name":"fraud"}`).want(201)
	for range 3 {
		r.call("POST", "/v1/models/fraud/versions", `{"source":"s3://x"}`).want(201)
	}
	const target = "/v1/targets/edge/gateway"
	r.call("PUT", target, `{}`, then(1)...).want(200)
	r.call("POST", target+"/deploy", `{"model":"fraud","ref":"1"}`, then(2)...).want(200)
	before = r.call("POST", target+"/deploy", `{"model":"fraud","ref":"3"}`, then(10)...).want(200).Header().Get("Modelog-Sequence")
	r.call("POST", target+"/deploy", `{"model":"fraud","ref":"2"}`, then(5)...).want(200)
	return before
}

// TestADeploymentReportedLateHasTwoTimes asks both questions: what was in force,
// and what was known of it when.
func TestADeploymentReportedLateHasTwoTimes(t *testing.T) {
	r := newRegistry(t)
	before := r.reportLate()
	r.call("PUT", "/v1/targets/prod/scorer", `{}`).want(200) // long after
	for _, c := range []struct {
		validAt, asOf string
		runs          int // version, 0 for nothing
	}{
		{"2026-11-01T07:59:59.999Z", "", -1},
		{"2026-11-01T08:00:00Z", "", 0},
		{"2026-11-02T08:00:00Z", "", 1},
		{"2026-11-05T07:59:59.999Z", "", 1},
		{"2026-11-05T09:00:00+01:00", "", 2},
		{"2026-11-09T00:00:00Z", before, 1}, // it wasn't known yet
		{"2026-11-10T08:00:00Z", "", 3},
		{"2026-11-20T00:00:00Z", "6", 0},
		{"2026-11-20T00:00:00Z", "5", -1},
		{"0001-01-01T00:00:00Z", "", -1},
	} {
		query := "?" + url.Values{"valid_at": {c.validAt}, "as_of": {c.asOf}}.Encode()
		if c.asOf == "" {
			query = "?" + url.Values{"valid_at": {c.validAt}}.Encode()
		}
		list := decode[TargetList](r.call("GET", "/v1/targets"+query, "").want(200))
		if c.runs < 0 {
			r.call("GET", "/v1/targets/edge/gateway"+query, "").problem(404, handlers.CodeTargetNotFound)
			if len(list.Targets) != 0 {
				t.Errorf("at %s there is %+v", c.validAt, list.Targets)
			}
			continue
		}
		answer := r.call("GET", "/v1/targets/edge/gateway"+query, "").want(200)
		one := decode[Target](answer)
		asked := one.Asked
		if len(list.Targets) != 1 || list.Targets[0].Generation != one.Generation || list.Asked == nil || *list.Asked != *asked {
			t.Errorf("at %s the list is %+v, and the target %+v", c.validAt, list, one)
		}
		if fmt.Sprint(asked.Sequence) != answer.Header().Get("Modelog-Sequence") || (c.asOf != "" && c.asOf != fmt.Sprint(asked.Sequence)) || asked.RecordedAt == "" {
			t.Errorf("at %s as of %q the answer is about %+v, and its sequence %s", c.validAt, c.asOf, asked, answer.Header().Get("Modelog-Sequence"))
		}
		if at, err := time.Parse(time.RFC3339, c.validAt); err != nil || asked.ValidAt != events.FormatTime(at) {
			t.Errorf("at %s the answer is about %+v", c.validAt, asked)
		}
		if c.runs == 0 {
			if len(one.Variants) != 0 || one.Generation != 0 || one.DeployedAt != "" {
				t.Errorf("at %s there runs %+v", c.validAt, one)
			}
			continue
		}
		if len(one.Variants) != 1 || one.Variants[0].Version != c.runs || one.DeployedAt >= "2026-11-11" || one.RecordedAt < "2026-11-23" {
			t.Errorf("at %s there runs %+v", c.validAt, one)
		}
	}
	// The other question has the answer that it always had.
	now := decode[Target](r.call("GET", "/v1/targets/edge/gateway", "").want(200))
	if now.Variants[0].Version != 2 || now.Asked != nil || now.DeployedAt != "2026-11-05T08:00:00.000Z" || now.RecordedAt < "2026-11-23" {
		t.Errorf("it is now %+v", now)
	}
	r.call("POST", "/v1/targets/prod/scorer/deploy", `{"model":"fraud","ref":"1"}`).want(200)
	if in := decode[Target](r.call("GET", "/v1/targets/prod/scorer", "").want(200)); in.RecordedAt != "" {
		t.Errorf("what was told at once was recorded at %s, deployed at %s", in.RecordedAt, in.DeployedAt)
	}
}

func TestAListOfWhatWasInForceHasPages(t *testing.T) {
	r := newRegistry(t)
	for i := range 5 {
		r.call("PUT", fmt.Sprintf("/v1/targets/prod/t%d", i), `{}`).want(200)
	}
	at := events.FormatTime(r.clock.Now())
	r.call("DELETE", "/v1/targets/prod/t1", "").want(204)
	r.call("PUT", "/v1/targets/prod/t9", `{}`).want(200)
	query, names := "?limit=2&valid_at="+at, ""
	for cursor := ""; ; {
		page := decode[TargetList](r.call("GET", "/v1/targets"+query+cursor, "").want(200))
		for _, target := range page.Targets {
			names += target.Name + " "
		}
		if page.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + page.NextCursor
		r.call("GET", "/v1/targets?valid_at=2026-11-01T00:00:00Z"+cursor, "").problem(400, handlers.CodeInvalid) // of another list
	}
	if names != "t0 t1 t2 t3 t4 " {
		t.Errorf("there were %s", names)
	}
	r.call("GET", "/v1/targets/prod/t1?valid_at="+at, "").want(200)
	r.call("GET", "/v1/targets/prod/t1", "").problem(404, handlers.CodeTargetNotFound)
}

func TestAMomentThatMakesNoSenseIsRefused(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	for _, bad := range []string{"", "7", "yesterday", "2026-11-01", "2999-01-01T00:00:00Z", "2026-11-01T00:00:00Z&valid_at=2026-11-01T00:00:00Z"} {
		for _, path := range []string{"/v1/targets", "/v1/targets/prod/scorer"} {
			p := r.call("GET", path+"?valid_at="+bad, "").problem(400, handlers.CodeInvalid)
			if len(p.Errors) != 1 || p.Errors[0].Pointer != "valid_at" || !strings.Contains(p.Detail, "valid_at") {
				t.Errorf("%s at %q: %+v", path, bad, p)
			}
		}
	}
	r.call("GET", "/v1/models?valid_at=2026-11-01T00:00:00Z", "").problem(400, handlers.CodeInvalid)
}
