package api

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/verify"
	"github.com/modelog/modelog/projections/runner"
)

// endings is a logger's handler that counts what is logged: the end of each
// verification, once it can be seen.
type endings chan struct{}

func (endings) Enabled(context.Context, slog.Level) bool    { return true }
func (e endings) Handle(context.Context, slog.Record) error { e <- struct{}{}; return nil }
func (e endings) WithAttrs([]slog.Attr) slog.Handler        { return e }
func (e endings) WithGroup(string) slog.Handler             { return e }

// verified runs a verification, and gives its result.
func (r *registry) verified() VerificationResult {
	r.Helper()
	started := decode[Verifications](r.call("POST", "/v1/verify", "{}").want(202))
	<-r.ended
	shown := decode[Verifications](r.call("GET", "/v1/verify", "").want(200))
	if started.Running == nil || shown.Running != nil || shown.Last == nil || shown.Last.Number != started.Running.Number {
		r.Fatalf("got %+v after %+v", shown, started)
	}
	return *shown.Last
}

func TestAVerificationRunsInTheBackground(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	if got := r.call("GET", "/v1/verify", "").want(200).Body.String(); got != "{}\n" {
		t.Errorf("before the first it says %s", got)
	}
	result := r.verified()
	state := decode[State](r.call("GET", "/v1/state?compute=true", "").want(200))
	if result.Outcome != string(verify.Passed) || result.Events != 7 || result.Digest != state.Digest.SHA256 || result.Found != result.Digest ||
		result.Checkpoints != 1 || result.Detail != "" || result.FirstDifference != 0 || result.StartedAt == "" || result.EndedAt == "" {
		t.Errorf("%+v", result)
	}
	r.call("GET", "/readyz", "").want(200)
}

// TestAStateThatDiffersFromItsLogIsNotReady serves a state in which the fourth
// event, an alias, is another than on the log.
func TestAStateThatDiffersFromItsLogIsNotReady(t *testing.T) {
	log := openLog(t)
	startRegistry(t, log, runner.New(log)).seed()
	run := runner.New(log)
	for stored, err := range log.Read(t.Context(), 1, 7) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.Decode(stored)
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := e.Data.(events.AliasAssigned); ok {
			d.Alias = "challenger"
			if e.Data = d; e.Sequence != 4 {
				t.Fatalf("the alias is event %d", e.Sequence)
			}
			if e, err = e.WithCanonical(); err != nil {
				t.Fatal(err)
			}
		}
		if err := run.Replay(e); err != nil {
			t.Fatal(err)
		}
	}
	run.Publish(7)
	r := startRegistry(t, log, run)
	r.call("GET", "/readyz", "").want(200)
	result := r.verified()
	if result.Outcome != string(verify.Differs) || result.FirstDifference != 4 || result.Digest == result.Found || !strings.Contains(result.Detail, "from event 4 on") {
		t.Errorf("%+v", result)
	}
	p := r.call("GET", "/readyz", "").problem(503, handlers.CodeStateDiffers)
	if !strings.Contains(p.Detail, "from event 4 on") || !strings.Contains(p.Detail, "remove its snapshots and start the registry anew") {
		t.Errorf("%+v", p)
	}
	r.call("GET", "/healthz", "").want(200) // a restart by a supervisor would be of no use with its snapshot
}

func TestBadVerificationsAreRefused(t *testing.T) {
	r := newRegistry(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		code               handlers.Code
	}{
		{"POST", "/v1/verify", "", 415, handlers.CodeUnsupportedMedia}, // so that no web page can start one
		{"POST", "/v1/verify", `{"until":3}`, 400, handlers.CodeInvalid},
		{"POST", "/v1/verify?as_of=1", "{}", 400, handlers.CodeInvalid},
		{"GET", "/v1/verify?as_of=1", "", 400, handlers.CodeInvalid},
		{"GET", "/v1/verify?number=1", "", 400, handlers.CodeInvalid},
		{"DELETE", "/v1/verify", "", 405, handlers.CodeMethodNotAllowed},
	} {
		p := r.call(c.method, c.path, c.body).problem(c.status, c.code)
		if strings.Contains(c.path, "as_of") && p.Errors[0].Pointer != "as_of" {
			t.Errorf("%s %s: %+v", c.method, c.path, p)
		}
	}
	if got := r.call("GET", "/v1/verify", "").want(200).Body.String(); got != "{}\n" {
		t.Errorf("one was started: %s", got)
	}
}
