package api

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/projections/runner"
	"github.com/prometheus/client_golang/prometheus"
)

// instantLog forgets what is appended, so that what is left to measure is ours.
type instantLog struct{ *natslog.Log }

func (l instantLog) Append(ctx context.Context, expect uint64, group []events.Encoded) error {
	if expect == 0 { // the registry, which is read again
		return l.Log.Append(ctx, expect, group)
	}
	return nil
}

// BenchmarkRegisterVersion takes registrations through the handler, the
// registrar and the state, without a network and without a disk.
func BenchmarkRegisterVersion(b *testing.B) {
	log, err := natslog.Open(b.Context(), natslog.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // nothing is kept
	run, ids := runner.New(log), newIDs()
	logger := slog.New(slog.NewJSONHandler(io.Discard, nil)) //nolint:sloglint // a line is a part of what a request costs
	registrar, err := handlers.Start(b.Context(), handlers.Config{
		Log: instantLog{log}, Runner: run, Now: time.Now, NewID: ids, Jitter: rand.Float64, Logger: logger,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer registrar.Stop(context.Background()) //nolint:errcheck // nothing is kept
	directory, err := principals.Open(b.Context(), principals.Config{JetStream: log.JetStream, Now: time.Now, NewID: ids})
	if err != nil {
		b.Fatal(err)
	}
	api := New(Config{
		Registrar: registrar, Runner: run, Log: log, Principals: directory, Now: time.Now, NewID: ids,
		Release: "bench", Logger: logger, Metrics: prometheus.NewRegistry(),
	})
	post(b, api, "/v1/models", `{"name":"fraud"}`)
	body := versionBody(b)
	b.ReportAllocs()
	for b.Loop() {
		post(b, api, "/v1/models/fraud/versions", body)
	}
}

func post(b *testing.B, handler http.Handler, path, body string) {
	b.Helper()
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "http://localhost"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if handler.ServeHTTP(w, r); w.Code != http.StatusCreated {
		b.Fatalf("%d %s", w.Code, w.Body)
	}
}

func versionBody(b *testing.B) string {
	b.Helper()
	digest := strings.Repeat("0123456789abcdef", 4)
	data, err := json.Marshal(handlers.VersionSpec{
		Source: "s3://models/fraud/8", Format: "onnx", RunID: "b1946ac92492d2347c6235b4d2611184",
		Description: "nightly retraining on the last ninety days of transactions",
		Code:        &events.Code{Repository: "https://git.example.com/risk/fraud", Commit: "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"},
		Artifacts:   []events.Artifact{{Path: "model.onnx", SHA256: digest, Size: 18_874_368}, {Path: "preprocess.pkl", SHA256: digest, Size: 40_960}},
		Datasets:    []events.Dataset{{Name: "transactions", Digest: "sha256:" + digest, Role: "train"}},
		Parameters:  map[string]string{"learning_rate": "0.05", "max_depth": "8", "n_estimators": "400", "seed": "42"},
		Metrics:     map[string]float64{"auc": 0.9321, "f1": 0.874, "log_loss": 0.2113},
		Tags:        map[string]string{"team": "risk", "trigger": "nightly"},
	})
	if err != nil {
		b.Fatal(err)
	}
	return string(data)
}
