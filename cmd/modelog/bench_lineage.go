package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"
)

// The bars of lineage.
const (
	mostImpactMS  = 100
	mostLineageMS = 20
)

// What a benched graph has: a chain of data sets, each made of the one before by a
// run, that ends where it began; and runs that read some data set of the chain and
// write many others.
const (
	benchChain      = 10_000 // runs
	benchWriters    = 3_500  // runs
	benchOutputs    = 20     // of each
	benchLineageTPS = 1_000  // reports a second while it answers
	benchReporters  = 64
)

// benchLineageFigures are what was found of lineage.
type benchLineageFigures struct {
	Edges int        `json:"edges"`
	Rows  []benchRow `json:"measures"`
}

// benchedLineage is a registry in this process, on a log of its own.
type benchedLineage struct {
	registrar *handlers.Registrar
	run       *runner.Runner
	close     func() error
}

func openBenchedLineage(ctx context.Context, dir string) (*benchedLineage, error) {
	log, err := openLog(ctx, natslog.Config{Dir: dir, Reserve: -1})
	if err != nil {
		return nil, err
	}
	run := runner.New(log)
	registrar, err := handlers.Start(ctx, handlers.Config{
		Log: log, Runner: run, Now: time.Now, NewID: func(time.Time) ulid.ULID { return ulid.Make() },
	})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &benchedLineage{registrar, run, func() error {
		return errors.Join(registrar.Stop(context.WithoutCancel(ctx)), log.Close())
	}}, nil
}

func (l *benchedLineage) report(ctx context.Context, run string, in, out []events.DatasetVersion) error {
	_, err := l.registrar.Do(ctx, handlers.Request{Command: &handlers.ReportLineage{Report: handlers.LineageReport{
		Format: events.OpenLineage, RunID: run, Job: events.Job{Namespace: "bench", Name: "job"}, State: events.RunComplete, Inputs: in, Outputs: out,
	}}})
	return err
}

func benchDataset(format string, n int) events.DatasetVersion {
	return events.DatasetVersion{Namespace: "s3://bench", Name: fmt.Sprintf(format, n), Version: "1"}
}

// fill reports all runs, and gives how many edges from them and to them there are.
func (l *benchedLineage) fill(ctx context.Context) (edges int, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(benchReporters)
	for i := range benchChain {
		group.Go(func() error {
			from, to := benchDataset("chain-%d", i), benchDataset("chain-%d", (i+1)%benchChain)
			return l.report(ctx, fmt.Sprint("chain-", i), []events.DatasetVersion{from}, []events.DatasetVersion{to})
		})
	}
	for i := range benchWriters {
		group.Go(func() error {
			outputs := make([]events.DatasetVersion, benchOutputs)
			for o := range outputs {
				outputs[o] = benchDataset("wide-%d", i*benchOutputs+o)
			}
			return l.report(ctx, fmt.Sprint("wide-", i), []events.DatasetVersion{benchDataset("chain-%d", i)}, outputs)
		})
	}
	const job = 1 // each run is one of a job
	return benchChain*(2+job) + benchWriters*(1+benchOutputs+job), group.Wait()
}

// lineage measures the impact of a data set, and answers while reports arrive.
func (b *bench) lineage(ctx context.Context) (found *benchLineageFigures, err error) {
	b.progress.step("lineage")
	l, err := openBenchedLineage(ctx, filepath.Join(b.dir, "lineage"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	found = &benchLineageFigures{}
	if found.Edges, err = l.fill(ctx); err != nil {
		return nil, err
	}
	var impacts, answers []float64
	for range b.cfg.runs {
		began := time.Now()
		impact := l.run.Now().Impact(benchDataset("chain-%d", 0))
		impacts = append(impacts, milliseconds(time.Since(began)))
		if least := 2*benchChain + benchWriters; impact.Len() < least {
			return nil, fmt.Errorf("the impact has %d nodes, fewer than the %d of the cycle and of those who read it", impact.Len(), least)
		}
		p99, err := l.answers(ctx, time.Duration(b.cfg.seconds*float64(time.Second)))
		if err != nil {
			return nil, err
		}
		answers = append(answers, p99)
	}
	found.Rows = []benchRow{
		{Measure: "impact over all edges, a cycle of 10 k runs among them", Unit: "ms", Figure: spreadOf(impacts), Bar: mostImpactMS},
		{Measure: "lineage answers while 1 k reports/s arrive, p99", Unit: "ms", Figure: spreadOf(answers), Bar: mostLineageMS},
	}
	for i, r := range found.Rows {
		found.Rows[i].OK = r.Figure.Median <= r.Bar
	}
	return found, nil
}

// answers asks for what is around data sets, one after another, while reports
// arrive, and gives the 99th percentile of how long that took.
func (l *benchedLineage) answers(ctx context.Context, length time.Duration) (p99 float64, err error) {
	ctx, stop := context.WithTimeout(ctx, length)
	defer stop()
	group, writing := errgroup.WithContext(context.WithoutCancel(ctx))
	group.SetLimit(benchReporters)
	var took []float64
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for ctx.Err() == nil {
			n := benchDataset("chain-%d", rand.IntN(benchChain)).Node()
			began := time.Now()
			l.run.Now().Lineage(n, projections.LineageQuery{Direction: projections.BothWays, Limit: 1_000})
			took = append(took, milliseconds(time.Since(began)))
		}
	}()
	tick := time.NewTicker(time.Second / benchLineageTPS)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		group.Go(func() error {
			return l.report(writing, fmt.Sprint("live-", n), []events.DatasetVersion{benchDataset("chain-%d", n%benchChain)}, []events.DatasetVersion{benchDataset("live-%d", n)})
		})
	}
	<-asked
	if err := group.Wait(); err != nil {
		return 0, err
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}

func showLineageBench(w io.Writer, l *benchLineageFigures) error {
	title := fmt.Sprintf("LINEAGE OF %s EDGES", spelledCount(float64(l.Edges)))
	if err := rows(w, rowsOfBench(title, l.Rows)); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
