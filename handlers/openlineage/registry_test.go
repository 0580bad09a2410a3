package openlineage

import (
	"bytes"
	"compress/gzip"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry is a whole registry without a listener.
type registry struct {
	*testing.T
	handler http.Handler
	run     *runner.Runner
	log     events.Log
	logged  *syncBuffer
}

type syncBuffer struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.text.Write(p)
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	now := func() time.Time { return testNow }
	run := runner.New(log)
	logged := &syncBuffer{}
	logger := slog.New(slog.NewTextHandler(logged, nil))
	var count uint64
	var lock sync.Mutex
	newID := func(at time.Time) ulid.ULID {
		lock.Lock()
		defer lock.Unlock()
		count++
		var id ulid.ULID
		_ = id.SetTime(ulid.Timestamp(at)) // a time of this century fits
		id[14], id[15] = byte(count>>8), byte(count)
		return id
	}
	registrar, err := handlers.Start(t.Context(), handlers.Config{
		Log: log, Runner: run, Now: now, NewID: newID, Jitter: rand.Float64, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registrar.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	directory, err := principals.Open(t.Context(), principals.Config{JetStream: log.JetStream, Now: now, NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	dialect := New(Config{Registrar: registrar, Runner: run, Principals: directory, Now: now, Logger: logger})
	return &registry{T: t, run: run, log: log, logged: logged, handler: api.New(api.Config{
		Registrar: registrar, Runner: run, Log: log, Principals: directory, Now: now, NewID: newID,
		Release: "test", Logger: logger, Metrics: prometheus.NewRegistry(), Mounts: dialect.Mounts(),
	})}
}

// call sends "METHOD path" with a body and headers given as pairs; a value of "-"
// takes one away.
func (r *registry) call(request, body string, headers ...string) *httptest.ResponseRecorder {
	r.Helper()
	method, path, _ := strings.Cut(request, " ")
	req := httptest.NewRequestWithContext(r.Context(), method, "http://localhost:7670"+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i+1] == "-" {
			req.Header.Del(headers[i])
		}
	}
	recorder := httptest.NewRecorder()
	r.handler.ServeHTTP(recorder, req)
	return recorder
}

// must makes a call that is answered with a status, and reads the answer.
func (r *registry) must(status int, request, body string, answer any, headers ...string) {
	r.Helper()
	got := r.call(request, body, headers...)
	if got.Code != status {
		r.Fatalf("%s is answered %d: %s", request, got.Code, got.Body)
	}
	if answer != nil {
		if err := json.Unmarshal(got.Body.Bytes(), answer); err != nil {
			r.Fatalf("%s: %v in %s", request, err, got.Body)
		}
	}
}

func zipped(body string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(body))
	_ = w.Close()
	return b.String()
}

// kept gives the reports on the log.
func (r *registry) kept() []events.LineageReported {
	r.Helper()
	var all []events.LineageReported
	for stored, err := range r.log.Read(r.Context(), 1, r.run.Visible()) {
		if err != nil {
			r.Fatal(err)
		}
		e, err := events.Decode(stored)
		if err != nil {
			r.Fatal(err)
		}
		if report, ok := e.Data.(events.LineageReported); ok {
			all = append(all, report)
		}
	}
	return all
}
