package main

import (
	"fmt"
	"io"
	"strings"
)

// benchMLflowReport is what was found of MLflow's server beside modelog.
type benchMLflowReport struct {
	Version          string                  `json:"version"` // of MLflow
	Models           int                     `json:"models"`
	VersionsPerModel int                     `json:"versions_per_model"`
	Comparisons      []benchMLflowComparison `json:"comparisons"`
	Memory           benchMLflowMemory       `json:"memory"`
	Long             benchMLflowLongModel    `json:"long_model"`
}

// benchVerdict sets a ratio beside its bar.
type benchVerdict struct {
	Ratio   float64 `json:"ratio"` // of the medians
	Bar     float64 `json:"bar"`
	AtLeast bool    `json:"at_least,omitzero"` // otherwise at most
	OK      bool    `json:"ok"`
}

func benchAtLeast(ratio, bar float64) benchVerdict {
	return benchVerdict{Ratio: ratio, Bar: bar, AtLeast: true, OK: ratio >= bar}
}

func benchAtMost(ratio, bar float64) benchVerdict {
	return benchVerdict{Ratio: ratio, Bar: bar, OK: ratio <= bar}
}

// cells are the last ones of a row.
func (v benchVerdict) cells() []string {
	sign := "≤ "
	if v.AtLeast {
		sign = "≥ "
	}
	return []string{spelledFigure(v.Ratio), sign + spelledFigure(v.Bar) + " " + mark(v.OK)}
}

// benchMLflowComparison is of requests a second.
type benchMLflowComparison struct {
	Measure     string       `json:"measure"`
	Connections int          `json:"connections"`
	MLflow      benchFigures `json:"mlflow"`
	Modelog     benchFigures `json:"modelog"`
	Verdict     benchVerdict `json:"verdict"`
}

// benchMLflowMemory is of all processes of a server, in megabytes.
type benchMLflowMemory struct {
	MLflow  spread       `json:"mlflow_mb"`
	Modelog spread       `json:"modelog_mb"`
	Verdict benchVerdict `json:"verdict"`
}

// benchMLflowLongModel is a page of a long model beside one of a short model.
type benchMLflowLongModel struct {
	Versions int          `json:"versions"` // of the long one
	Short    benchFigures `json:"short"`
	Long     benchFigures `json:"long"`
	Verdict  benchVerdict `json:"verdict"`
}

func (r *benchMLflowReport) compare(measure string, bar float64, mlflow, modelog benchFigures) {
	r.Comparisons = append(r.Comparisons, benchMLflowComparison{
		Measure: measure, Connections: benchMLflowConnections, MLflow: mlflow, Modelog: modelog,
		Verdict: benchAtLeast(modelog.Rate.Median/mlflow.Rate.Median, bar),
	})
}

func (r *benchMLflowReport) weigh(mlflow, modelog spread) {
	r.Memory = benchMLflowMemory{MLflow: mlflow, Modelog: modelog, Verdict: benchAtMost(modelog.Median/mlflow.Median, mostMLflowMemory)}
}

func newLongModel(versions int, short, long benchFigures) benchMLflowLongModel {
	return benchMLflowLongModel{Versions: versions, Short: short, Long: long, Verdict: benchAtMost(long.P50.Median/short.P50.Median, mostLongSearch)}
}

func showMLflow(w io.Writer, r *benchMLflowReport) error {
	table := [][]string{{
		fmt.Sprintf("MLFLOW'S API, %d CONNECTIONS", benchMLflowConnections),
		"MLFLOW OPS/S (MIN–MAX)", "MODELOG OPS/S (MIN–MAX)", "RATIO", "BAR", "P50 MLFLOW", "P50 MODELOG",
	}}
	for _, c := range r.Comparisons {
		row := append([]string{c.Measure, spelledRate(c.MLflow.Rate), spelledRate(c.Modelog.Rate)}, c.Verdict.cells()...)
		table = append(table, append(row, spelledMS(c.MLflow.P50.Median)+" ms", spelledMS(c.Modelog.P50.Median)+" ms"))
	}
	memory := append([]string{"all processes", spelledRate(r.Memory.MLflow), spelledRate(r.Memory.Modelog)}, r.Memory.Verdict.cells()...)
	long := append([]string{"p50, 1 connection", spelledLatency(r.Long.Short.P50), spelledLatency(r.Long.Long.P50)}, r.Long.Verdict.cells()...)
	for _, t := range [][][]string{
		table,
		{{"MEMORY", "MLFLOW MB (MIN–MAX)", "MODELOG MB (MIN–MAX)", "RATIO", "BAR"}, memory},
		{{
			fmt.Sprintf("SEARCH OF %d VERSIONS", benchMLflowPage), fmt.Sprintf("OF %d (MIN–MAX)", benchMLflowPage),
			fmt.Sprintf("OF %s (MIN–MAX)", spelledCount(float64(r.Long.Versions))), "RATIO", "BAR",
		}, long},
	} {
		if err := rows(w, append(t, nil)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s on SQLite, its defaults without job runners; both with %s of %s and an alias\n\n",
		strings.TrimSpace("MLflow "+r.Version), countOf(r.Models, "model"), countOf(r.VersionsPerModel, "version"))
	return err
}

func spelledLatency(s spread) string {
	return fmt.Sprintf("%s ms (%s–%s)", spelledMS(s.Median), spelledMS(s.Min), spelledMS(s.Max))
}
