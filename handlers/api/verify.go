package api

import (
	"errors"
	"net/http"
	"reflect"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/verify"
	"github.com/modelog/modelog/projections/runner"
)

// Verifications say how the registry's check of its own state stands.
type Verifications struct {
	Running *VerificationRun    `json:"running,omitempty"`
	Last    *VerificationResult `json:"last,omitempty"` // that has ended
}

// VerificationRun is a verification that has not ended yet. Its number counts from
// 1, from the start of the server.
type VerificationRun struct {
	Number    int    `json:"number"`
	StartedAt string `json:"started_at"`
	Until     uint64 `json:"until"`   // the sequence up to which the state is rebuilt and compared
	Applied   uint64 `json:"applied"` // how far the rebuild has come
}

// VerificationResult is a verification that has ended: "passed", "differs" or, if it
// came to no end, "failed".
type VerificationResult struct {
	Number          int     `json:"number"`
	Outcome         string  `json:"outcome"`
	StartedAt       string  `json:"started_at"`
	EndedAt         string  `json:"ended_at"`
	Seconds         float64 `json:"seconds"`
	Events          uint64  `json:"events"`                    // that were rebuilt from
	Digest          string  `json:"digest,omitempty"`          // of the rebuilt state
	Found           string  `json:"found,omitempty"`           // of the live state as of the same sequence
	Checkpoints     int     `json:"checkpoints"`               // at how many the two agreed
	Sealed          uint64  `json:"sealed,omitzero"`           // how many events were compared with a signed head, the first ones
	FirstDifference uint64  `json:"first_difference,omitzero"` // the event from which on they part, or that can't be read
	Detail          string  `json:"detail,omitempty"`          // what is wrong
}

// VerificationRequest asks for nothing: a verification is of all that is visible.
type VerificationRequest struct{}

func (s *server) verifyRoutes() []endpoint {
	return []endpoint{
		{
			method: http.MethodPost, path: "/v1/verify", name: "startVerification",
			summary: "Rebuild the state from the log in the background and compare, or join the verification that runs",
			status:  http.StatusAccepted, timeless: true,
			body: reflect.TypeFor[VerificationRequest](), answer: reflect.TypeFor[Verifications](), serve: s.startVerification,
		},
		operation[Verifications]("/v1/verify", "getVerification", "How far the verification that runs is, and what the last one found", s.showVerification),
	}
}

func (s *server) startVerification(c *call) error {
	if err := c.readCommand(&VerificationRequest{}); err != nil {
		return err
	}
	started := s.cfg.Verifier.Start()
	if started.Number == 0 {
		return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "the registry is stopping; ask again when it is back"}
	}
	_, last := s.cfg.Verifier.Status()
	c.json(http.StatusAccepted, verifications(started, last))
	return nil
}

func (s *server) showVerification(c *call) error {
	if err := c.onlyKnownQuery(nil); err != nil {
		return err
	}
	if c.query.Has("as_of") {
		return handlers.InvalidField("as_of", "unknown_parameter", "is not a query parameter of this call")
	}
	c.json(http.StatusOK, verifications(s.cfg.Verifier.Status()))
	return nil
}

func verifications(running verify.Running, last *verify.Result) Verifications {
	shown := Verifications{}
	if running.Number > 0 {
		shown.Running = &VerificationRun{
			Number: running.Number, StartedAt: events.FormatTime(running.StartedAt), Until: running.Until, Applied: running.Applied,
		}
	}
	if last != nil {
		shown.Last = &VerificationResult{
			Number: last.Number, Outcome: string(last.Outcome), StartedAt: events.FormatTime(last.StartedAt), EndedAt: events.FormatTime(last.EndedAt),
			Seconds: last.EndedAt.Sub(last.StartedAt).Seconds(), Events: last.Applied, Digest: last.Digest, Found: last.Found,
			Checkpoints: last.Checkpoints, Sealed: last.Sealed, FirstDifference: last.FirstBad,
		}
		if last.Err != nil {
			shown.Last.Detail = last.Err.Error()
		}
	}
	return shown
}

// checkVerified refuses to be ready while a state is served that is known to differ
// from what its log gives.
func (s *server) checkVerified() error {
	err := s.cfg.Verifier.Err()
	if err == nil {
		return nil
	}
	detail := "a verification failed: " + err.Error()
	if _, ok := errors.AsType[*runner.DiffersError](err); ok {
		detail += "; stop writing, keep the data directory, remove its snapshots and start the registry anew from the log"
	}
	return handlers.UnavailableError{Kind: handlers.CodeStateDiffers, Detail: detail}
}
