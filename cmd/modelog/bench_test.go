package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

func TestBenchSpreadIsMedianAndEnds(t *testing.T) {
	for _, test := range []struct {
		runs []float64
		want spread
	}{
		{[]float64{7}, spread{Median: 7, Min: 7, Max: 7}},
		{[]float64{9, 1}, spread{Median: 5, Min: 1, Max: 9}},
		{[]float64{5, 1, 9}, spread{Median: 5, Min: 1, Max: 9}},
		{[]float64{4, 100, 2, 3}, spread{Median: 3.5, Min: 2, Max: 100}},
	} {
		given := slices.Clone(test.runs)
		test.want.Runs = given
		if diff := cmp.Diff(test.want, spreadOf(test.runs)); diff != "" {
			t.Errorf("spread of %v (-want +got):\n%s", given, diff)
		}
	}
}

func TestBenchBarsAreHeldToTheMedians(t *testing.T) {
	figures := func(rate, p50 float64) benchFigures {
		return benchFigures{Rate: spread{Median: rate}, P50: spread{Median: p50}}
	}
	for _, test := range []struct {
		name                  string
		point                 benchPoint
		modelogRate, modelP50 float64 // the bare server has 1000 and 1
		ratio                 float64
		ok                    bool
	}{
		{"one connection is measured by p50", benchPoint{benchRegistrations, 1}, 100, 1.8, 1.8, true},
		{"and may be too slow", benchPoint{benchRegistrations, 1}, 1000, 1.81, 1.81, false},
		{"more are measured by rate", benchPoint{benchRegistrations, 16}, 600, 9, 0.6, true},
		{"and may be too slow, too", benchPoint{benchRegistrations, 64}, 599, 1, 0.599, false},
		{"GET is measured by rate", benchPoint{benchGet, 16}, 900, 9, 0.9, true},
	} {
		c := newComparison(test.point, figures(1000, 1), figures(test.modelogRate, test.modelP50))
		if c.Ratio != test.ratio || c.OK != test.ok {
			t.Errorf("%s: ratio %v, ok %v; want %v, %v", test.name, c.Ratio, c.OK, test.ratio, test.ok)
		}
	}
}

// cannedBench is a report of two runs.
func cannedBench() benchReport {
	runs := func(rate, p50 float64) benchFigures {
		var r benchRuns
		r.add(benchResult{Ops: int(rate * 2), Seconds: 2, P50: p50, P99: 3 * p50, Max: 9 * p50})
		r.add(benchResult{Ops: int(rate * 2.2), Seconds: 2, P50: p50, P99: 3 * p50, Max: 9 * p50})
		return r.figures()
	}
	return benchReport{
		Machine: benchMachine{
			CPU: "Abacus 9", Cores: 2, Kernel: "Linux 6.18.0", Go: "go1.26.8", Release: "v0.1.0", Directory: "/srv",
			FileSystem: "ext4 (/dev/vda)", Date: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
		},
		Runs: 2, Seconds: 2, EventBytes: 1335,
		Comparisons: []benchComparison{
			newComparison(benchPoint{benchRegistrations, 1}, runs(3000, 0.31), runs(2500, 0.4)),
			newComparison(benchPoint{benchRegistrations, 256}, runs(30_000, 8.25), runs(15_000, 16.5)),
			newComparison(benchPoint{benchGet, 16}, runs(40_000, 0.4), runs(30_000, 123.4)),
		},
		Boot: newBoot(spreadOf([]float64{42.25, 120})),
	}
}

const cannedBenchText = `
REGISTRATIONS    BARE OPS/S (MIN–MAX)    MODELOG OPS/S (MIN–MAX)  RATIO     BAR           P50 BARE  P50 MODELOG
1 connection     3,150 (3,000–3,300)     2,625 (2,500–2,750)      p50 1.29  ≤ 1.80 ok     0.31 ms   0.40 ms
256 connections  31,500 (30,000–33,000)  15,750 (15,000–16,500)   0.50      ≥ 0.60 short  8.25 ms   16.5 ms

GET BY ALIAS    BARE OPS/S (MIN–MAX)    MODELOG OPS/S (MIN–MAX)  RATIO  BAR        P50 BARE  P50 MODELOG
16 connections  42,000 (40,000–44,000)  31,500 (30,000–33,000)   0.75   ≥ 0.60 ok  0.40 ms   123 ms

BOOT        TOOK (MIN–MAX)      BAR
to /readyz  81.1 ms (42.2–120)  < 100 ms ok

median of 2 runs, bare and modelog in turn, 2 s each; 1,335 bytes an event on the log
Abacus 9, 2 cores, Linux 6.18.0, go1.26.8, modelog v0.1.0, data in /srv ext4 (/dev/vda), 2026-11-24T12:00:00Z
`

func TestBenchReportForPeople(t *testing.T) {
	var text bytes.Buffer
	if err := showBench(&text, cannedBench()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cannedBenchText, "\n"+text.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestBenchReportWarnsOfTmpfs(t *testing.T) {
	report := cannedBench()
	report.Machine.FileSystem = "tmpfs (tmpfs)"
	var text bytes.Buffer
	if err := showBench(&text, report); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "tmpfs has nothing to sync") {
		t.Errorf("no warning in:\n%s", &text)
	}
}

func TestBenchBodiesDifferInTheirSourceOnly(t *testing.T) {
	bodies, err := newBenchBodies()
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(benchSpec(4711), json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	if got := bodies.body(4711); len(got) != len(want) || !strings.Contains(got, benchSource(4711)) || len(got) != len(bodies.body(0)) {
		t.Errorf("body %s, want the like of %s", got, want)
	}
}

func TestBenchLoadStopsAtTheFirstWrongAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no more", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	l := benchLoad{url: server.URL, what: benchRegistrations, connections: 3, length: time.Minute}
	result, err := l.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result.Errors != 3 || !strings.Contains(result.FirstError, "503 Service Unavailable: no more") {
		t.Errorf("result %+v, want 3 errors that show the answer", result)
	}
}

func TestBenchLoadCountsAnswersAfterTheWarmUp(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	l := benchLoad{url: server.URL, what: benchGet, connections: 2, length: 200 * time.Millisecond}
	result, err := l.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sent := int(l.next.Load())
	if result.Errors > 0 || result.Ops == 0 || result.Ops >= sent {
		t.Errorf("result %+v of %d requests, want some of them counted", result, sent)
	}
	if result.P50 <= 0 || result.P50 > result.P99 || result.P99 > result.Max {
		t.Errorf("result %+v: latencies out of order", result)
	}
}

func TestBenchRefusesFlagsThatMakeNoSense(t *testing.T) {
	for _, args := range [][]string{
		{"--connections", "0"},
		{"--runs", "0"},
		{"--seconds", "0"},
		{"--only", "tea"},
		{"--dir", "/nowhere"},
		{"--events", "100"},
		{"--only", "mlflow"},
		{"--mlflow", "/nowhere", "--only", "mlflow"},
		{"--versions", "4", "--only", "mlflow"},
		{"--server", "http://127.0.0.1:1", "--only", "mlflow"},
	} {
		var stderr bytes.Buffer
		a := app{stdout: &bytes.Buffer{}, stderr: &stderr, getenv: func(string) string { return "" }}
		if code := a.run(t.Context(), append([]string{"bench"}, args...)); code != 2 || !strings.Contains(stderr.String(), args[0]) {
			t.Errorf("%v: exit code %d and %q, want 2 and the flag's name", args, code, stderr.String())
		}
	}
}

// buildProgram builds modelog for a test that needs it as processes which start
// more of themselves.
func buildProgram(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program")
	}
	name := filepath.Join(t.TempDir(), "modelog")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", name, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return name
}

func TestBenchProgram(t *testing.T) {
	program := buildProgram(t)
	t.Run("measures", func(t *testing.T) { benchMeasures(t, program) })
	t.Run("measures a registry that runs", func(t *testing.T) { benchMeasuresAlone(t, program) })
	t.Run("measures beside MLflow", func(t *testing.T) { benchMeasuresBesideMLflow(t, program) })
	t.Run("cleans up when interrupted", func(t *testing.T) { benchCleansUp(t, program) })
}

// benchMeasuresAlone benches a registry twice: the second time it is filled.
func benchMeasuresAlone(t *testing.T, program string) {
	t.Helper()
	_, url := startOn(t, filepath.Join(t.TempDir(), "data"))
	for range 2 {
		cmd := exec.CommandContext(t.Context(), program, "bench", "--server", url, "--runs", "1", "--seconds", "0.1", "--connections", "2", "--dir", t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, want := range []string{"registrations    2 ", "get by alias     64 ", "get of the past  16 ", url} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
	}
}

func benchMeasures(t *testing.T, program string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "bench", "--runs", "1", "--seconds", "0.2", "--connections", "1,4", "--events", "3000", "--dir", dir, "--json")
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
	var points []benchPoint
	for _, c := range report.Comparisons {
		points = append(points, benchPoint{c.What, c.Connections})
		if c.Bare.Rate.Median <= 0 || c.Modelog.Rate.Median <= 0 || c.Ratio <= 0 || len(c.Modelog.Rate.Runs) != 1 {
			t.Errorf("figures are missing: %+v", c)
		}
	}
	if report.History == nil || len(report.History.Rows) != 12 {
		t.Fatalf("the history is missing: %+v", report.History)
	}
	for _, row := range report.History.Rows {
		if row.Figure.Median <= 0 {
			t.Errorf("a figure is missing: %+v", row)
		}
	}
	want := []benchPoint{{benchRegistrations, 1}, {benchRegistrations, 4}, {benchGet, 16}, {benchGet, 64}, {benchPast, 16}, {benchPast, 64}}
	if diff := cmp.Diff(want, points, cmp.AllowUnexported(benchPoint{})); diff != "" {
		t.Errorf("measured (-want +got):\n%s", diff)
	}
	if report.Boot == nil || report.Boot.Took.Median <= 0 || report.EventBytes < 500 {
		t.Errorf("boot %+v, %d bytes an event", report.Boot, report.EventBytes)
	}
	wantEmpty(t, dir)
}

func benchCleansUp(t *testing.T, program string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no interrupts")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "bench", "--seconds", "60", "--only", "registrations", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitForLoad(t, dir)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("an interrupted bench ended with %v, want exit code 1", err)
	}
	wantEmpty(t, dir)
}

// waitForLoad waits until a bench in a directory has prepared, and started a
// server.
func waitForLoad(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		servers, err := filepath.Glob(filepath.Join(dir, "modelog-bench-*", "bare-*", "data"))
		if err != nil {
			t.Fatal(err)
		}
		if len(servers) > 0 {
			return
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			t.Fatal("the bench starts no server")
		}
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("the bench left %v behind", left)
	}
}
