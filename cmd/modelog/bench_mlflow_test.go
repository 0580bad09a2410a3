package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

// TestBenchOfMLflowsAPIGetsWhatItAsksFor of a registry that has what a bench
// fills and writes.
func TestBenchOfMLflowsAPIGetsWhatItAsksFor(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	h := benchHistory{}
	if err := writeHistory(t.Context(), data, h.tellVersions(map[string]int{benchMLflowShortModel: benchMLflowPage, benchMLflowLongestModel: 1200})); err != nil {
		t.Fatal(err)
	}
	_, url := startOn(t, data)
	for _, what := range []string{benchMLflowShort, benchMLflowLong} {
		loadsWell(t, url, what)
	}
	_, url = startOn(t, filepath.Join(t.TempDir(), "data"))
	if err := fillMLflow(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	for _, m := range benchMLflowMeasures {
		loadsWell(t, url, m.what)
	}
}

func loadsWell(t *testing.T, url, what string) {
	t.Helper()
	l := benchLoad{url: url, what: what, connections: 2, length: 200 * time.Millisecond}
	if result, err := l.run(t.Context()); err != nil || result.Errors > 0 || result.Ops == 0 {
		t.Errorf("%s: %+v, %v", what, result, err)
	}
}

func TestBenchLoadTakesOnlyAnswersWithTheContent(t *testing.T) {
	body := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
	defer server.Close()
	for times, want := range map[int]string{4: "is 4 times in the answer, want 5", 5: "", 6: "is 6 times in the answer, want 5"} {
		body = strings.Repeat(`"bench-003"`, times)
		err := benchMLflowCalls[benchMLflowVersions](3).send(t.Context(), server.Client(), server.URL)
		if got := errorText(err); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%d versions: %q, want %q", times, got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

const cannedMLflowText = `
MLFLOW'S API, 8 CONNECTIONS  MLFLOW OPS/S (MIN–MAX)  MODELOG OPS/S (MIN–MAX)  RATIO  BAR         P50 MLFLOW  P50 MODELOG
get by alias                 105 (100–110)           10,500 (10,000–11,000)   100    ≥ 50 ok     70.5 ms     0.70 ms
search of 100 models         21 (20–22)              1,029 (980–1,078)        49     ≥ 50 short  400 ms      8.00 ms

MEMORY         MLFLOW MB (MIN–MAX)  MODELOG MB (MIN–MAX)  RATIO  BAR
all processes  1,000 (900–1,100)    501 (501–501)         0.50   ≤ 0.50 short

SEARCH OF 5 VERSIONS  OF 5 (MIN–MAX)       OF 100,000 (MIN–MAX)  RATIO  BAR
p50, 1 connection     0.20 ms (0.20–0.20)  0.30 ms (0.30–0.30)   1.50   ≤ 2 ok

MLflow 3.17.2 on SQLite, its defaults without job runners; both with 100 models of 5 versions and an alias

`

func TestBenchReportOfMLflow(t *testing.T) {
	runs := func(rate, p50 float64) benchFigures {
		return benchFigures{Rate: spreadOf([]float64{rate, rate * 1.1}), P50: spreadOf([]float64{p50})}
	}
	r := benchMLflowReport{Version: "3.17.2", Models: 100, VersionsPerModel: 5, Long: newLongModel(100_000, runs(4000, 0.2), runs(3000, 0.3))}
	r.compare("get by alias", 50, runs(100, 70.5), runs(10_000, 0.7))
	r.compare("search of 100 models", 50, runs(20, 400), runs(980, 8))
	r.weigh(spreadOf([]float64{900, 1100}), spreadOf([]float64{501}))
	var text bytes.Buffer
	if err := showMLflow(&text, &r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cannedMLflowText, "\n"+text.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

// benchMeasuresBesideMLflow has a modelog play MLflow.
func benchMeasuresBesideMLflow(t *testing.T, program string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("memory is measured on Linux only")
	}
	mlflow := filepath.Join(t.TempDir(), "mlflow")
	script := fmt.Sprintf("#!/bin/sh\n[ \"$6\" = --port ] && %s serve --data data --listen 127.0.0.1:$7\n", program)
	if err := os.WriteFile(mlflow, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "bench", "--only", "mlflow", "--mlflow", mlflow, "--runs", "2", "--seconds", "0.1",
		"--versions", "1200", "--dir", dir, "--json")
	cmd.Env = cleanEnvironment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("bench: %v\n%s", err, &stderr)
	}
	var report benchReport
	if err := json.Unmarshal(out, &report, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	wantMLflowFigures(t, report.MLflow)
	wantEmpty(t, dir)
}

func wantMLflowFigures(t *testing.T, r *benchMLflowReport) {
	t.Helper()
	if r == nil || len(r.Comparisons) != len(benchMLflowMeasures) || r.Long.Versions != 1200 {
		t.Fatalf("figures are missing: %+v", r)
	}
	for _, c := range r.Comparisons {
		if c.MLflow.Rate.Median <= 0 || len(c.Modelog.Rate.Runs) != 2 || c.Verdict.Ratio <= 0 || !c.Verdict.AtLeast {
			t.Errorf("figures are missing: %+v", c)
		}
	}
	for _, v := range []benchVerdict{r.Memory.Verdict, r.Long.Verdict} {
		if v.Ratio <= 0 || v.AtLeast {
			t.Errorf("a ratio is missing: %+v", v)
		}
	}
	// A shell is there besides.
	if m := r.Memory; m.Modelog.Min < 5 || m.MLflow.Min < 5 || len(m.MLflow.Runs) != 2*(len(benchMLflowMeasures)-1) {
		t.Errorf("memory %+v", m)
	}
}
