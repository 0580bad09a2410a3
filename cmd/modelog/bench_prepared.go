package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
)

// benchPrepared is what the bare server stores and answers: taken from a
// registry, so that the two move the same bytes.
type benchPrepared struct {
	Event      events.Encoded `json:"event"`
	Registered []byte         `json:"registered"` // the answer to a registration
	Got        []byte         `json:"got"`        // the answer to a GET by alias
}

// prepareBench takes a registration through a registry and gives what came of
// it.
func prepareBench(ctx context.Context, c *client) (p benchPrepared, err error) {
	model := benchModel(0)
	if _, err = c.send(ctx, http.MethodPost, "/v1/models", handlers.ModelSpec{Name: model}); err != nil {
		return p, err
	}
	if p.Registered, err = c.registerBenched(ctx, model); err != nil {
		return p, err
	}
	var version api.Version
	if err = json.Unmarshal(p.Registered, &version); err != nil {
		return p, err
	}
	raw, err := c.send(ctx, http.MethodGet, path("events", strconv.FormatUint(version.Sequence, 10)), nil)
	if err != nil {
		return p, err
	}
	e, err := readEvent(raw)
	if err != nil {
		return p, err
	}
	if p.Event, err = events.Encode(e); err != nil {
		return p, err
	}
	p.Got, err = c.send(ctx, http.MethodGet, benchGetPath(0), nil)
	return p, err
}

func (p benchPrepared) write(name string) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o600)
}

func readBenchPrepared(name string) (p benchPrepared, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return p, usage("--prepared: %v", err)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p, usage("--prepared: %s: %v", name, err)
	}
	return p, nil
}

// What the benched requests are about.
const (
	benchModels = 100 // versions are spread over them
	benchAlias  = "champion"
	benchActor  = "bench"
)

func benchModel(i int) string { return fmt.Sprintf("bench-%03d", i%benchModels) }

func benchPostPath(i int) string { return path("models", benchModel(i), "versions") }
func benchGetPath(i int) string  { return path("models", benchModel(i), "versions", "@"+benchAlias) }

// benchSource is the only thing that differs between two registrations.
func benchSource(n int) string { return fmt.Sprintf("s3://models/bench/%012d", n) }

// benchSpec is a registration as a training pipeline would send it.
func benchSpec(n int) handlers.VersionSpec {
	return handlers.VersionSpec{
		Source: benchSource(n), Format: "onnx", RunID: "b1946ac92492d2347c6235b4d2611184",
		Description: "nightly retraining on the last ninety days of transactions",
		Code:        &events.Code{Repository: "https://git.example.com/risk/fraud", Commit: "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"},
		Artifacts: []events.Artifact{
			{Path: "model.onnx", SHA256: strings.Repeat("0123456789abcdef", 4), Size: 18_874_368},
			{Path: "preprocess.pkl", SHA256: strings.Repeat("fedcba9876543210", 4), Size: 40_960},
		},
		Datasets:   []events.Dataset{{Name: "transactions", Digest: "sha256:" + strings.Repeat("00112233445566ff", 4), Role: "train"}},
		Parameters: map[string]string{"learning_rate": "0.05", "max_depth": "8", "n_estimators": "400", "seed": "42"},
		Metrics:    map[string]float64{"auc": 0.9321, "f1": 0.874, "log_loss": 0.2113},
		Tags:       map[string]string{"team": "risk", "trigger": "nightly"},
	}
}

// benchBodies makes bodies of registrations quickly: they differ in a few
// digits, and all have the same length.
type benchBodies struct{ before, after string }

func newBenchBodies() (benchBodies, error) {
	data, err := json.Marshal(benchSpec(0))
	if err != nil {
		return benchBodies{}, err
	}
	before, after, _ := strings.Cut(string(data), benchSource(0))
	return benchBodies{before, after}, nil
}

func (b benchBodies) body(n int) string { return b.before + benchSource(n) + b.after }
