package projections_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// The graph of the benchmarks: a cycle of runs that each make the next data set of
// the one before, and runs that read one of them and write many.
const (
	benchedCycle   = 10_000
	benchedWriters = 3_500
	benchedOutputs = 20
)

func benchedDataset(format string, n int) events.DatasetVersion {
	return events.DatasetVersion{Namespace: "s3://bench", Name: fmt.Sprintf(format, n), Version: "1"}
}

func benchedLineage() *projections.State {
	s := projections.New()
	s.Apply(events.Event{
		Sequence: 1, ID: registryID, Registry: registryID, Subject: "registry", Time: firstMoment,
		Data: events.RegistryCreated{RegistryID: registryID, Level: events.Level},
	})
	report := func(run string, in events.DatasetVersion, out ...events.DatasetVersion) {
		s.Apply(events.Event{
			Sequence: s.Applied() + 1, ID: registryID, Registry: registryID, Subject: "registry", Time: firstMoment.Add(time.Second),
			Data: events.LineageReported{
				RegistryID: registryID, Format: events.OpenLineage, RunID: run, Job: events.Job{Namespace: "bench", Name: "job"},
				State: events.RunComplete, Inputs: []events.DatasetVersion{in}, Outputs: out,
			},
		})
	}
	for i := range benchedCycle {
		report(fmt.Sprint("chain-", i), benchedDataset("chain-%d", i), benchedDataset("chain-%d", (i+1)%benchedCycle))
	}
	for i := range benchedWriters {
		outputs := make([]events.DatasetVersion, benchedOutputs)
		for o := range outputs {
			outputs[o] = benchedDataset("wide-%d", i*benchedOutputs+o)
		}
		report(fmt.Sprint("wide-", i), benchedDataset("chain-%d", i), outputs...)
	}
	return s
}

// BenchmarkImpact finds all that came of a data set, over 107,000 edges.
func BenchmarkImpact(b *testing.B) {
	s := benchedLineage()
	v := s.At(s.Applied())
	b.ReportAllocs()
	for b.Loop() {
		v.Impact(benchedDataset("chain-%d", 0))
	}
}

// BenchmarkLineage finds what is around data sets, a thousand nodes each way.
func BenchmarkLineage(b *testing.B) {
	s := benchedLineage()
	v := s.At(s.Applied())
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		v.Lineage(benchedDataset("chain-%d", i%benchedCycle).Node(), projections.LineageQuery{Direction: projections.BothWays, Limit: 1_000})
	}
}
