package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// benchConfig is what bench's flags say.
type benchConfig struct {
	connections []int
	runs        int
	seconds     float64
	dir         string
	only        []string
	events      int
	server      string // measured alone, if not empty
	mlflow      string // MLflow's program
	versions    int    // of the long model
	asJSON      bool
}

// What can be measured, in the order of the report.
const (
	benchRegistrations = "registrations"
	benchGet           = "get"
	benchPast          = "past"
	benchBoot          = "boot"
	benchLongHistory   = "history"
	benchLineage       = "lineage"  // only when asked for
	benchWebhooksKind  = "webhooks" // only when asked for
	benchMLflow        = "mlflow"   // only when asked for: it needs MLflow
)

var benchKinds = []string{benchRegistrations, benchGet, benchPast, benchBoot, benchLongHistory}

func (a *app) benchCommand() *cobra.Command {
	cfg := benchConfig{}
	cmd := &cobra.Command{
		Use: "bench", GroupID: "server", Short: "Measure a registry beside a bare server on this machine", Args: cobra.NoArgs,
		Long: `Measure a registry beside a bare server on this machine: what modelog costs on
top of the least that could do the same.

registrations  POST of a new version, at each number of connections. The bare
               server is net/http and the raw group-commit loop: it reads the
               body, appends the very event that modelog writes for it, and
               answers with the very bytes that modelog answers with.
get            GET of a version by alias, at 16 and 64 connections. The bare
               server writes the same bytes.
past           the same as of an earlier sequence.
boot           from the start of the process to the first 200 of /readyz, on an
               empty data directory.
history        a log of a million events: reading it with an ordered consumer
               beside replaying it into state and modelog verify, random reads of its
               past inside the process, starts with and without a snapshot, and memory;
               first pages of the audit trail and of lists of the past inside the
               process, sealing it from scratch, and proofs of its events.
lineage        not unless asked for: the impact of a data set in a graph of a hundred
               thousand edges, and answers while a thousand reports a second arrive.
webhooks       not unless asked for: what a thousand wide subscriptions cost whoever
               publishes, and hanging endpoints the others; deliveries and replays to one
               endpoint beside a bare loop that signs and posts, and from publishing
               to delivered; memory of idle subscriptions.
mlflow         not unless asked for: MLflow's own server beside modelog, through
               MLflow's REST API. It runs from the program that --mlflow names, with
               its defaults on SQLite, but without its runners of background jobs.
               Reads, searches and memory on the same models, then new versions;
               and a search in a very long model, on modelog alone.

Each server runs as a process of its own on a fresh data directory, and so does
the client. Runs alternate between the two servers; what is shown is the median,
with the lowest and the highest in brackets. modelog logs its requests to a file,
as it does by default; the bare server logs nothing. A bar is what this release
promises; missing it is no error, a request that fails is one.

With --server a registry that runs already is measured alone, to size a machine or
a cluster: registrations, get and past. It keeps what it was given, below the
models bench-000 to bench-099.

Data goes below --dir. Have nothing else run on the machine meanwhile, and no
tmpfs there: it has nothing to sync.`,
		Example: `  modelog bench
  modelog bench --only registrations --connections 64 --runs 3
  modelog bench --dir /var/lib --json > bench.json
  modelog bench --server http://127.0.0.1:7670 --only registrations
  modelog bench --only mlflow --mlflow .venv-mlflow/bin/mlflow`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.check(); err != nil {
				return err
			}
			report, err := a.bench(cmd.Context(), cfg)
			if err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			c := client{app: a, asJSON: cfg.asJSON}
			return c.print(report, func(w io.Writer) error { return showBench(w, report) })
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&cfg.connections, "connections", []int{1, 16, 64, 256}, "how many connections register at once")
	f.IntVar(&cfg.runs, "runs", 5, "runs of each server")
	f.Float64Var(&cfg.seconds, "seconds", 2, "length of a run, after a warm-up of a quarter of it")
	f.StringVar(&cfg.dir, "dir", ".", "directory to make the temporary data directories in")
	f.StringSliceVar(&cfg.only, "only", benchKinds, "what to measure")
	f.IntVar(&cfg.events, "events", 1_000_000, "length of the history")
	f.StringVar(&cfg.mlflow, "mlflow", "", "MLflow's program, for --only mlflow")
	f.IntVar(&cfg.versions, "versions", 100_000, "versions of the long model, for --only mlflow")
	f.StringVar(&cfg.server, "server", "", "measure the registry at this URL instead, without a bare server beside it")
	f.BoolVar(&cfg.asJSON, "json", false, "print everything as JSON, each run's figures too")
	cmd.AddCommand(a.benchBareCommand(), a.benchLoadCommand(), a.benchReplayCommand(), a.benchReadRawCommand(), a.benchAsksCommand(), a.benchSealCommand(),
		a.benchReceiveCommand(), a.benchPostCommand())
	return cmd
}

const maxBenchConnections = 10_000

func (cfg *benchConfig) check() error {
	for _, n := range cfg.connections {
		if n < 1 || n > maxBenchConnections {
			return usage("--connections: %d is not from 1 to %d", n, maxBenchConnections)
		}
	}
	if cfg.runs < 1 {
		return usage("--runs: must be at least 1")
	}
	if cfg.events < 2*eventsPerModel+1 {
		return usage("--events: must be at least %d", 2*eventsPerModel+1)
	}
	if cfg.seconds <= 0 {
		return usage("--seconds: must be more than 0")
	}
	kinds := append(slices.Clone(benchKinds), benchLineage, benchWebhooksKind, benchMLflow)
	for _, what := range cfg.only {
		if !slices.Contains(kinds, what) {
			return usage("--only: %q is not one of %s", what, strings.Join(kinds, ", "))
		}
	}
	if cfg.measures(benchMLflow) {
		return cfg.checkMLflow()
	}
	return nil
}

func (cfg *benchConfig) measures(what string) bool { return slices.Contains(cfg.only, what) }

// bench is one run of the command.
type bench struct {
	app        *app
	cfg        benchConfig
	executable string // ours, for the processes of servers and client
	dir        string // holds everything that is written, removed at the end
	prepared   string // file of a benchPrepared
	progress   *benchProgress
}

// bench measures what cfg asks for. What it writes is gone when it returns, and
// so are the processes.
func (a *app) bench(ctx context.Context, cfg benchConfig) (report benchReport, err error) {
	b := bench{app: a, cfg: cfg, progress: a.newBenchProgress(cfg)}
	defer b.progress.clear()
	if b.executable, err = os.Executable(); err != nil {
		return report, err
	}
	if b.dir, err = os.MkdirTemp(cfg.dir, "modelog-bench-"); err != nil {
		return report, usage("--dir: %v", err)
	}
	defer func() {
		if failed := os.RemoveAll(b.dir); err == nil {
			err = failed
		}
	}()
	report, err = b.measure(ctx)
	if ctx.Err() != nil {
		err = ctx.Err() // the rest follows from it
	}
	return report, err
}

func (b *bench) measure(ctx context.Context) (report benchReport, err error) {
	report = benchReport{Machine: machineOf(b.dir), Runs: b.cfg.runs, Seconds: b.cfg.seconds}
	if b.cfg.server != "" {
		report.Server = b.cfg.server
		report.Alone, err = b.alone(ctx)
		return report, err
	}
	if report.EventBytes, err = b.prepare(ctx); err != nil {
		return report, fmt.Errorf("prepare: %w", err)
	}
	for _, p := range b.cfg.points() {
		c, err := b.compare(ctx, p)
		if err != nil {
			return report, err
		}
		report.Comparisons = append(report.Comparisons, c)
	}
	if b.cfg.measures(benchBoot) {
		if report.Boot, err = b.boot(ctx); err != nil {
			return report, err
		}
	}
	if b.cfg.measures(benchLongHistory) {
		if report.History, err = b.history(ctx); err != nil {
			return report, err
		}
	}
	if b.cfg.measures(benchLineage) {
		if report.Lineage, err = b.lineage(ctx); err != nil {
			return report, err
		}
	}
	if b.cfg.measures(benchWebhooksKind) {
		if report.Webhooks, err = b.webhooks(ctx); err != nil {
			return report, err
		}
	}
	if b.cfg.measures(benchMLflow) {
		report.MLflow, err = b.besideMLflow(ctx)
	}
	return report, err
}

// benchPoint is what is measured on both servers.
type benchPoint struct {
	what        string
	connections int
}

func (p benchPoint) String() string { return p.what + ", " + countOf(p.connections, "connection") }

func (cfg *benchConfig) points() []benchPoint {
	var all []benchPoint
	if cfg.measures(benchRegistrations) {
		for _, n := range cfg.connections {
			all = append(all, benchPoint{benchRegistrations, n})
		}
	}
	if cfg.measures(benchGet) {
		all = append(all, benchPoint{benchGet, 16}, benchPoint{benchGet, 64})
	}
	if cfg.measures(benchPast) {
		all = append(all, benchPoint{benchPast, 16}, benchPoint{benchPast, 64})
	}
	return all
}

// compare runs the bare server and modelog in turn.
func (b *bench) compare(ctx context.Context, p benchPoint) (benchComparison, error) {
	var bare, modelog benchRuns
	sides := []struct {
		name  string
		start func(ctx context.Context, what string) (*benchServer, error)
		runs  *benchRuns
	}{{"bare", b.startBare, &bare}, {"modelog", b.startRegistry, &modelog}}
	for run := range b.cfg.runs {
		for _, side := range sides {
			at := fmt.Sprintf("%v, run %d of %d, %s", p, run+1, b.cfg.runs, side.name)
			b.progress.step(at)
			result, err := b.once(ctx, p, side.start)
			if err != nil {
				return benchComparison{}, fmt.Errorf("%s: %w", at, err)
			}
			side.runs.add(result)
		}
	}
	return newComparison(p, bare.figures(), modelog.figures()), nil
}

// alone measures a registry that runs already.
func (b *bench) alone(ctx context.Context) (all []benchAlone, err error) {
	past, err := b.fill(ctx, b.cfg.server, benchPast)
	if err != nil {
		return nil, fmt.Errorf("fill %s: %w", b.cfg.server, err)
	}
	for _, p := range b.cfg.points() {
		var runs benchRuns
		for run := range b.cfg.runs {
			at := fmt.Sprintf("%v, run %d of %d", p, run+1, b.cfg.runs)
			b.progress.step(at)
			result, err := b.load(ctx, b.cfg.server, p, past)
			if err == nil && result.Errors > 0 {
				err = fmt.Errorf("%s met an error; one of them: %s", countOf(result.Errors, "connection"), result.FirstError)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
			runs.add(result)
		}
		all = append(all, benchAlone{p.what, p.connections, runs.figures()})
	}
	return all, nil
}

// once puts one server under load, on a data directory of its own.
func (b *bench) once(ctx context.Context, p benchPoint, start func(context.Context, string) (*benchServer, error)) (benchResult, error) {
	server, err := start(ctx, p.what)
	if err != nil {
		return benchResult{}, err
	}
	defer server.stop()
	return b.loadServer(ctx, server, p)
}

// loadServer puts a server under load that must not meet an error.
func (b *bench) loadServer(ctx context.Context, server *benchServer, p benchPoint) (benchResult, error) {
	result, err := b.load(ctx, server.url, p, server.past)
	switch {
	case err != nil:
		return result, err
	case result.Errors > 0:
		return result, fmt.Errorf("%s met an error; one of them: %s%s", countOf(result.Errors, "connection"), result.FirstError, server.lastWords())
	case result.Ops == 0:
		return result, fmt.Errorf("not one request was answered in %v s; make --seconds longer", b.cfg.seconds)
	}
	return result, nil
}

// startBare starts the bare server.
func (b *bench) startBare(ctx context.Context, _ string) (*benchServer, error) {
	return b.startServer(ctx, "bare", func(data string) []string {
		return []string{"bench", "serve-bare", "--data", data, "--prepared", b.prepared}
	})
}

// startRegistry starts modelog as a user would, and registers what the
// measurement needs.
func (b *bench) startRegistry(ctx context.Context, what string) (*benchServer, error) {
	server, err := b.startEmptyRegistry(ctx)
	if err != nil {
		return nil, err
	}
	if server.past, err = b.fill(ctx, server.url, what); err != nil {
		server.stop()
		return nil, fmt.Errorf("fill the registry: %w", err)
	}
	return server, nil
}

func (b *bench) startEmptyRegistry(ctx context.Context) (*benchServer, error) {
	return b.startServer(ctx, "modelog", func(data string) []string {
		return []string{"serve", "--data", data, "--listen", "127.0.0.1:0"}
	})
}

// fill registers the models and, for GET, a version of each with an alias. For a
// GET of the past it gives the sequence to ask for, after which each of those
// versions has changed. What an earlier bench has filled is left as it is.
func (b *bench) fill(ctx context.Context, url, what string) (past uint64, err error) {
	c := b.client(url)
	for i := range benchModels {
		if err := c.fillModel(ctx, benchModel(i), what != benchRegistrations); err != nil {
			return 0, err
		}
	}
	if what != benchPast {
		return 0, nil
	}
	state, err := c.state(ctx, false)
	if err != nil {
		return 0, err
	}
	for i := range benchModels {
		tag := map[string]map[string]string{"tags": {"benched": strconv.FormatUint(state.Sequence, 10)}}
		if _, err := c.send(ctx, http.MethodPatch, path("models", benchModel(i), "versions", "1"), tag); err != nil {
			return 0, err
		}
	}
	return state.Sequence, nil
}

func (c *client) fillModel(ctx context.Context, model string, version bool) error {
	_, err := c.send(ctx, http.MethodPost, "/v1/models", handlers.ModelSpec{Name: model})
	if problem, ok := errors.AsType[*problemError](err); ok && problem.Code == handlers.CodeModelExists {
		return nil
	}
	if err == nil && version {
		_, err = c.registerBenched(ctx, model)
	}
	return err
}

func (b *bench) client(url string) *client {
	return &client{app: b.app, server: url, actor: benchActor}
}

// registerBenched registers a version with the alias that GET asks for, and
// gives the registry's answer to the registration.
func (c *client) registerBenched(ctx context.Context, model string) ([]byte, error) {
	answer, err := c.send(ctx, http.MethodPost, path("models", model, "versions"), benchSpec(0))
	if err != nil {
		return nil, err
	}
	_, err = call[api.Alias](ctx, c, http.MethodPut, path("models", model, "aliases", benchAlias), handlers.Assignment{Version: 1})
	return answer, err
}

// boot measures how long an empty registry takes to be ready.
func (b *bench) boot(ctx context.Context) (*benchBootFigures, error) {
	var took []float64
	for run := range b.cfg.runs {
		at := fmt.Sprintf("boot, run %d of %d", run+1, b.cfg.runs)
		b.progress.step(at)
		ms, err := b.bootOnce(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		took = append(took, ms)
	}
	return newBoot(spreadOf(took)), nil
}

func (b *bench) bootOnce(ctx context.Context) (ms float64, err error) {
	server, err := b.startEmptyRegistry(ctx)
	if err != nil {
		return 0, err
	}
	defer server.stop()
	return b.untilReady(ctx, server)
}

// untilReady gives the time from a server's start until it is ready.
func (b *bench) untilReady(ctx context.Context, server *benchServer) (ms float64, err error) {
	for {
		_, err := b.client(server.url).send(ctx, http.MethodGet, "/readyz", nil)
		switch {
		case err == nil:
			return milliseconds(time.Since(server.started)), nil
		case time.Since(server.started) > benchStartTimeout:
			return 0, fmt.Errorf("/readyz: %w%s", err, server.lastWords())
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return 0, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// benchProgress is a line on the terminal that says how far the bench is.
type benchProgress struct {
	w           io.Writer // nil when nobody looks on
	done, steps int
}

func (a *app) newBenchProgress(cfg benchConfig) *benchProgress {
	p := &benchProgress{}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = f
	}
	p.steps = 2 * cfg.runs * len(cfg.points())
	if cfg.measures(benchBoot) {
		p.steps += cfg.runs
	}
	if cfg.measures(benchLongHistory) {
		p.steps += 1 + cfg.runs
	}
	if cfg.measures(benchMLflow) {
		p.steps += 3 + cfg.runs*(2*len(benchMLflowMeasures)+2)
	}
	return p
}

const clearLine = "\r\x1b[K"

func (p *benchProgress) step(text string) {
	p.done++
	if p.w != nil {
		_, _ = fmt.Fprintf(p.w, clearLine+"[%d/%d] %s", p.done, p.steps, text) // a lost line is no loss
	}
}

func (p *benchProgress) clear() {
	if p.w != nil {
		_, _ = io.WriteString(p.w, clearLine)
	}
}

// prepare finds out, from a registry, what the bare server needs to know, and
// gives the size of the benched event on the log.
func (b *bench) prepare(ctx context.Context) (eventBytes int, err error) {
	server, err := b.startEmptyRegistry(ctx)
	if err != nil {
		return 0, err
	}
	defer server.stop()
	prepared, err := prepareBench(ctx, b.client(server.url))
	if err != nil {
		return 0, err
	}
	b.prepared = filepath.Join(b.dir, "prepared.json")
	return prepared.Event.Size(), prepared.write(b.prepared)
}
