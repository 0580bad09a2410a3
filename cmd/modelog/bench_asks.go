package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/projections/runner"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// benchAsking is how long first pages of a long history took, from the request to
// the last byte of the answer, without a network: the 99th percentiles in
// milliseconds.
type benchAsking struct {
	Resource float64 `json:"audit_resource_p99_ms"`
	Actor    float64 `json:"audit_actor_p99_ms"`
	Time     float64 `json:"audit_time_p99_ms"`
	Listing  float64 `json:"past_listing_p99_ms"`
}

// benchAsks is how many questions a percentile is of.
const benchAsks = 1_000

// benchAsksCommand is the process that asks a long history.
func (a *app) benchAsksCommand() *cobra.Command {
	return benchReader(a, "asks", "Ask a long history for pages", func(ctx context.Context, dir string) (benchAsking, error) {
		return askLog(ctx, dir, startMemory(a.getenv))
	})
}

// askLog asks for pages of the audit trail and of lists of the past, each about
// something chosen by chance. The collector is told what serve tells it.
func askLog(ctx context.Context, dir string, memory *memory) (found benchAsking, err error) {
	log, err := openLog(ctx, natslog.Config{Dir: dir, Reserve: -1})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	run, newID := runner.New(log), newIDs()
	registrar, err := handlers.Start(ctx, handlers.Config{Log: log, Runner: run, Now: time.Now, NewID: newID})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, registrar.Stop(context.WithoutCancel(ctx))) }()
	directory, err := principals.Open(ctx, principals.Config{JetStream: log.JetStream, Now: time.Now, NewID: newID})
	if err != nil {
		return found, err
	}
	handler := api.New(api.Config{
		Registrar: registrar, Runner: run, Log: log, Principals: directory, Now: time.Now, NewID: newID,
		Release: release(), Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	memory.booted()
	defer runtime.KeepAlive(ballast())
	asker := benchAsker{handler: handler, events: run.Visible(), chance: rand.New(rand.NewPCG(3, 4))}
	for _, kind := range []struct {
		p99 *float64
		ask func() string
	}{
		{&found.Resource, asker.resource}, {&found.Actor, asker.actor}, {&found.Time, asker.hour}, {&found.Listing, asker.listing},
	} {
		if *kind.p99, err = asker.p99(ctx, kind.ask); err != nil {
			return found, err
		}
	}
	return found, nil
}

// benchAsker asks a handler.
type benchAsker struct {
	handler http.Handler
	events  uint64
	chance  *rand.Rand
	asked   int
}

// p99 asks questions one after another, after a few to warm up.
func (a *benchAsker) p99(ctx context.Context, ask func() string) (ms float64, err error) {
	var took []float64
	for n := range benchAsks + benchAsks/10 {
		url := ask()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+url, http.NoBody)
		if err != nil {
			return 0, err
		}
		r.RemoteAddr = "127.0.0.1:1"
		var w benchAnswer
		begin := time.Now()
		a.handler.ServeHTTP(&w, r)
		if n >= benchAsks/10 {
			took = append(took, milliseconds(time.Since(begin)))
		}
		if w.status != http.StatusOK || w.bytes == 0 {
			return 0, fmt.Errorf("GET %s: status %d, %d bytes", url, w.status, w.bytes)
		}
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}

// models is how many models are whole by now.
func (a *benchAsker) models() uint64 { return max((a.events-1)/eventsPerModel, 1) }

// resource asks about a model with all that is under it, or about a version.
func (a *benchAsker) resource() string {
	at := "models/" + benchHistoryModel(int(a.chance.Uint64N(a.models()))) //nolint:gosec // small
	if a.asked++; a.asked%2 == 0 {
		at += "/versions/" + strconv.Itoa(1+a.chance.IntN(versionsPerModel))
	}
	return "/v1/audit?resource=" + url.QueryEscape(at)
}

func (a *benchAsker) actor() string {
	return "/v1/audit?actor=" + benchPrincipal(a.chance.Uint64N(benchPrincipals))
}

// hour asks what was done within an hour.
func (a *benchAsker) hour() string {
	from := benchMoment(1 + a.chance.Uint64N(a.events-1))
	return "/v1/audit?from=" + events.FormatTime(from) + "&until=" + events.FormatTime(from.Add(time.Hour))
}

// listing asks for the versions of a model, or for the models, as of a moment at
// which the model was there.
func (a *benchAsker) listing() string {
	model := a.chance.Uint64N(a.models())
	since := model*eventsPerModel + 2
	list := "/v1/models"
	if a.asked++; a.asked%2 == 0 {
		list += "/" + benchHistoryModel(int(model)) + "/versions" //nolint:gosec // small
	}
	return list + "?as_of=" + strconv.FormatUint(since+a.chance.Uint64N(a.events-since+1), 10)
}

// benchAnswer counts an answer and forgets it.
type benchAnswer struct {
	head   http.Header
	status int
	bytes  int
}

// Header is that of an http.ResponseWriter.
func (w *benchAnswer) Header() http.Header {
	if w.head == nil {
		w.head = http.Header{}
	}
	return w.head
}

// WriteHeader keeps the status.
func (w *benchAnswer) WriteHeader(status int) { w.status = status }

// Write counts the bytes.
func (w *benchAnswer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.bytes += len(p)
	return len(p), nil
}
