package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// benchMLflowMeasures is what is measured of both servers, in this order: what comes
// last changes what the others read.
var benchMLflowMeasures = []struct {
	what, title string
	bar         float64 // least ratio of modelog's rate to MLflow's
}{
	{benchMLflowAlias, "get by alias", 50},
	{benchMLflowModels, fmt.Sprintf("search of %d models", benchModels), 50},
	{benchMLflowVersions, fmt.Sprintf("search of a model's %d versions", benchMLflowPage), 50},
	{benchMLflowCreate, "create of a version", 30},
}

const (
	benchMLflowConnections = 8

	mostMLflowMemory = 0.5 // of MLflow's
	mostLongSearch   = 2   // times as long as a search in a short model
)

func (cfg *benchConfig) checkMLflow() error {
	if cfg.server != "" {
		return usage("--server: can't be measured beside MLflow")
	}
	if cfg.versions < benchMLflowPage {
		return usage("--versions: must be at least %d", benchMLflowPage)
	}
	if cfg.mlflow == "" {
		return usage("--mlflow: must name MLflow's program, for --only mlflow")
	}
	program, err := exec.LookPath(cfg.mlflow)
	if err == nil {
		cfg.mlflow, err = filepath.Abs(program)
	}
	if err != nil {
		return usage("--mlflow: %v", err)
	}
	return nil
}

// benchMLflowSide is one of the two servers.
type benchMLflowSide struct {
	name   string
	server *benchServer
	memory []float64
}

// besideMLflow measures both servers with the same content, then modelog with a
// long model.
func (b *bench) besideMLflow(ctx context.Context) (*benchMLflowReport, error) {
	b.progress.step("start MLflow")
	theirs, err := b.startMLflow(ctx)
	if err != nil {
		return nil, err
	}
	defer theirs.stop()
	ours, err := b.startEmptyRegistry(ctx)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	b.progress.step("fill MLflow and modelog")
	sides := [2]*benchMLflowSide{{name: "MLflow", server: theirs}, {name: "modelog", server: ours}}
	for _, side := range sides {
		if err := fillMLflow(ctx, side.server.url); err != nil {
			return nil, fmt.Errorf("fill %s: %w%s", side.name, err, side.server.lastWords())
		}
	}
	report := &benchMLflowReport{Models: benchModels, VersionsPerModel: benchMLflowPage}
	if report.Version, err = benchMLflowVersion(ctx, theirs.url); err != nil {
		return nil, err
	}
	for _, m := range benchMLflowMeasures {
		runs, err := b.inTurn(ctx, m.what, sides)
		if err != nil {
			return nil, err
		}
		report.compare(m.title, m.bar, runs[0].figures(), runs[1].figures())
	}
	report.weigh(spreadOf(sides[0].memory), spreadOf(sides[1].memory))
	theirs.stop() // and leave the machine to modelog
	report.Long, err = b.longModel(ctx)
	return report, err
}

// inTurn measures one thing of both sides. After what changes nothing it looks at
// their memory, too.
func (b *bench) inTurn(ctx context.Context, what string, sides [2]*benchMLflowSide) (runs [2]benchRuns, err error) {
	for run := range b.cfg.runs {
		for i, side := range sides {
			at := fmt.Sprintf("%s, run %d of %d, %s", what, run+1, b.cfg.runs, side.name)
			b.progress.step(at)
			result, err := b.loadServer(ctx, side.server, benchPoint{what, benchMLflowConnections})
			if err != nil {
				return runs, fmt.Errorf("%s: %w", at, err)
			}
			runs[i].add(result)
			if what == benchMLflowCreate {
				continue
			}
			megabytes, err := treeMemory(side.server.process.Pid)
			if err != nil {
				return runs, fmt.Errorf("memory of %s: %w", side.name, err)
			}
			side.memory = append(side.memory, megabytes)
		}
	}
	return runs, nil
}

// longModel measures how much longer a page takes of a long model than of a short
// one, in one registry.
func (b *bench) longModel(ctx context.Context) (long benchMLflowLongModel, err error) {
	b.progress.step("write the long model")
	dir := filepath.Join(b.dir, "long")
	h := benchHistory{}
	if err := writeHistory(ctx, dir, h.tellVersions(map[string]int{benchMLflowShortModel: benchMLflowPage, benchMLflowLongestModel: b.cfg.versions})); err != nil {
		return long, fmt.Errorf("write the long model: %w", err)
	}
	server, err := b.startServer(ctx, "long", func(string) []string {
		return []string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}
	})
	if err != nil {
		return long, err
	}
	defer server.stop()
	if _, err := b.untilReady(ctx, server); err != nil {
		return long, err
	}
	var runs [2]benchRuns
	for run := range b.cfg.runs {
		for i, what := range []string{benchMLflowShort, benchMLflowLong} {
			at := fmt.Sprintf("%s, run %d of %d", what, run+1, b.cfg.runs)
			b.progress.step(at)
			result, err := b.loadServer(ctx, server, benchPoint{what, 1})
			if err != nil {
				return long, fmt.Errorf("%s: %w", at, err)
			}
			runs[i].add(result)
		}
	}
	return newLongModel(b.cfg.versions, runs[0].figures(), runs[1].figures()), nil
}

// benchMLflowStartTimeout is long: MLflow first makes its tables, one migration after
// another.
const benchMLflowStartTimeout = 2 * time.Minute

// startMLflow starts MLflow's own server as its users would.
func (b *bench) startMLflow(ctx context.Context) (*benchServer, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	return b.startProgram(ctx, "mlflow", func(ctx context.Context, dir string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, b.cfg.mlflow, "server", "--backend-store-uri", "sqlite:///registry.db", "--host", "127.0.0.1", "--port", port)
		cmd.Dir = dir
		cmd.Env = benchMLflowEnvironment()
		ownGroup(cmd)
		return cmd
	}, func(s *benchServer, ctx context.Context) error {
		s.url = "http://127.0.0.1:" + port
		return s.wait(ctx, benchMLflowStartTimeout, func() (bool, error) {
			return benchCall{method: http.MethodGet, path: "/health", status: http.StatusOK}.send(ctx, http.DefaultClient, s.url) == nil, nil
		})
	})
}

// benchMLflowEnvironment has MLflow's defaults, but no telemetry, and no runners of
// background jobs, which serve no registry: they take more memory than all else.
func benchMLflowEnvironment() []string {
	ours := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MLFLOW_") })
	return append(ours, "MLFLOW_DISABLE_TELEMETRY=true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false")
}

// freePort gives a port that nobody listens at just now.
func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return "", errors.New("no TCP port")
	}
	return strconv.Itoa(address.Port), l.Close()
}
