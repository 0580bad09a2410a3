package main

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// benchReport is all that bench has found.
type benchReport struct {
	Machine     benchMachine         `json:"machine"`
	Runs        int                  `json:"runs"`
	Seconds     float64              `json:"seconds"`     // of each
	EventBytes  int                  `json:"event_bytes"` // of a registration on the log
	Comparisons []benchComparison    `json:"comparisons,omitempty"`
	Server      string               `json:"server,omitempty"` // that ran already, and was measured alone
	Alone       []benchAlone         `json:"alone,omitempty"`
	Boot        *benchBootFigures    `json:"boot,omitempty"`
	History     *benchLong           `json:"history,omitempty"`
	Lineage     *benchLineageFigures `json:"lineage,omitempty"`
	Webhooks    *benchWebhookFigures `json:"webhooks,omitempty"`
	MLflow      *benchMLflowReport   `json:"mlflow,omitempty"`
}

// benchAlone is a measure of a registry that ran already.
type benchAlone struct {
	What        string       `json:"what"`
	Connections int          `json:"connections"`
	Figures     benchFigures `json:"figures"`
}

func showAlone(w io.Writer, r benchReport) error {
	table := [][]string{{"MEASURE", "CONNECTIONS", "OPS/S (MIN–MAX)", "P50", "P99"}}
	for _, a := range r.Alone {
		table = append(table, []string{
			benchTitles[a.What], strconv.Itoa(a.Connections), spelledRate(a.Figures.Rate),
			spelledMS(a.Figures.P50.Median) + " ms", spelledMS(a.Figures.P99.Median) + " ms",
		})
	}
	if err := rows(w, table); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s, measured from a machine with %s, median of %s, %v s each, %s\n",
		r.Server, countOf(r.Machine.Cores, "core"), countOf(r.Runs, "run"), r.Seconds, r.Machine.Date.Format(time.RFC3339))
	return err
}

// benchMachine says where the figures come from.
type benchMachine struct {
	CPU        string    `json:"cpu"`
	Cores      int       `json:"cores"`
	Kernel     string    `json:"kernel"`
	Go         string    `json:"go"`
	Release    string    `json:"release"`
	Directory  string    `json:"directory"` // that data was written below
	FileSystem string    `json:"file_system"`
	Date       time.Time `json:"date"`
}

func machineOf(dir string) benchMachine {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return benchMachine{
		CPU: cpuModel(), Cores: runtime.NumCPU(), Kernel: kernel(), Go: runtime.Version(), Release: release(),
		Directory: filepath.Dir(dir), FileSystem: fileSystem(dir), Date: time.Now().UTC().Truncate(time.Second),
	}
}

// spread is a figure of several runs.
type spread struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Runs   []float64 `json:"runs"` // in their order
}

// spreadOf needs a figure at least.
func spreadOf(runs []float64) spread {
	sorted := slices.Sorted(slices.Values(runs))
	n := len(sorted)
	return spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1], Runs: runs}
}

// benchRuns gathers the results of one server at one number of connections.
type benchRuns struct{ rate, p50, p99, longest []float64 }

func (r *benchRuns) add(result benchResult) {
	r.rate = append(r.rate, float64(result.Ops)/result.Seconds)
	r.p50 = append(r.p50, result.P50)
	r.p99 = append(r.p99, result.P99)
	r.longest = append(r.longest, result.Max)
}

func (r *benchRuns) figures() benchFigures {
	return benchFigures{Rate: spreadOf(r.rate), P50: spreadOf(r.p50), P99: spreadOf(r.p99), Max: spreadOf(r.longest)}
}

// benchFigures are one server's at one number of connections.
type benchFigures struct {
	Rate spread `json:"ops_per_second"`
	P50  spread `json:"p50_ms"`
	P99  spread `json:"p99_ms"`
	Max  spread `json:"max_ms"`
}

// benchComparison sets the two servers side by side.
type benchComparison struct {
	What        string       `json:"what"`
	Connections int          `json:"connections"`
	Bare        benchFigures `json:"bare"`
	Modelog     benchFigures `json:"modelog"`
	Measure     string       `json:"measure"` // what the ratio is of
	Ratio       float64      `json:"ratio"`   // modelog to bare, of the medians
	Bar         float64      `json:"bar"`
	OK          bool         `json:"ok"`
}

// The bars of this release.
const (
	leastRate  = 0.6 // of the bare server's requests a second
	mostP50    = 1.8 // times the bare server's, with one connection
	mostBootMS = 100

	leastReplay  = 0.5 // of the raw consumer's events a second
	leastVerify  = 0.4 // of the raw consumer's events a second
	mostReadUS   = 50
	mostWarmMS   = 3_000
	mostColdMS   = 10_000
	mostMemoryMB = 1_000

	mostPageMS  = 5
	mostSealS   = 20
	mostProofMS = 1

	measureRate = "ops_per_second"
	measureP50  = "p50_ms"
)

// newComparison measures by the rate, but for registrations on one connection,
// which show how long one takes.
func newComparison(p benchPoint, bare, modelog benchFigures) benchComparison {
	c := benchComparison{What: p.what, Connections: p.connections, Bare: bare, Modelog: modelog}
	if p.what == benchRegistrations && p.connections == 1 {
		c.Measure, c.Bar, c.Ratio = measureP50, mostP50, modelog.P50.Median/bare.P50.Median
		c.OK = c.Ratio <= c.Bar
		return c
	}
	c.Measure, c.Bar, c.Ratio = measureRate, leastRate, modelog.Rate.Median/bare.Rate.Median
	c.OK = c.Ratio >= c.Bar
	return c
}

// benchBootFigures say how long a start takes.
type benchBootFigures struct {
	Took spread  `json:"ms"`
	Bar  float64 `json:"bar_ms"`
	OK   bool    `json:"ok"`
}

func newBoot(took spread) *benchBootFigures {
	return &benchBootFigures{Took: took, Bar: mostBootMS, OK: took.Median < mostBootMS}
}

// benchLong is what was found of a long history.
type benchLong struct {
	Events   int        `json:"events"`
	Versions int        `json:"versions"`
	Raw      spread     `json:"raw_events_per_second"` // of the ordered consumer
	Replay   spread     `json:"replay_events_per_second"`
	Verify   spread     `json:"verify_events_per_second"` // of a running registry, digests of both states included
	P50      spread     `json:"read_p50_us"`              // of random reads at a past sequence
	Rows     []benchRow `json:"measures"`
}

// benchRow is a measure beside its bar.
type benchRow struct {
	Measure string  `json:"measure"`
	Unit    string  `json:"unit,omitempty"`
	Figure  spread  `json:"figure"`
	Bar     float64 `json:"bar"`
	AtLeast bool    `json:"at_least,omitzero"` // otherwise at most
	OK      bool    `json:"ok"`
}

// judge sets what the runs found beside the bars.
func (l *benchLong) judge(runs benchLongRuns) {
	ratios, verified := make([]float64, len(runs.raw)), make([]float64, len(runs.raw))
	for i := range ratios {
		ratios[i], verified[i] = runs.replay[i]/runs.raw[i], runs.verify[i]/runs.raw[i]
	}
	l.Raw, l.Replay, l.P50, l.Verify = spreadOf(runs.raw), spreadOf(runs.replay), spreadOf(runs.p50), spreadOf(runs.verify)
	l.Rows = []benchRow{
		{Measure: "replay ÷ ordered consumer", Figure: spreadOf(ratios), Bar: leastReplay, AtLeast: true},
		{Measure: "modelog verify ÷ ordered consumer", Figure: spreadOf(verified), Bar: leastVerify, AtLeast: true},
		{Measure: "random read of the past, p99", Unit: "us", Figure: spreadOf(runs.p99), Bar: mostReadUS},
		{Measure: "boot with snapshot", Unit: "ms", Figure: spreadOf(runs.warm), Bar: mostWarmMS},
		{Measure: "boot without", Unit: "ms", Figure: spreadOf(runs.cold), Bar: mostColdMS},
		{Measure: "most memory, whole process", Unit: "MB", Figure: spreadOf(runs.memory), Bar: mostMemoryMB},
		{Measure: "audit by resource, first page, p99", Unit: "ms", Figure: spreadOf(runs.resource), Bar: mostPageMS},
		{Measure: "audit by actor, first page, p99", Unit: "ms", Figure: spreadOf(runs.actor), Bar: mostPageMS},
		{Measure: "audit by time, first page, p99", Unit: "ms", Figure: spreadOf(runs.time), Bar: mostPageMS},
		{Measure: "list of the past, first page, p99", Unit: "ms", Figure: spreadOf(runs.listing), Bar: mostPageMS},
		{Measure: "sealing from scratch", Unit: "s", Figure: spreadOf(runs.seal), Bar: mostSealS},
		{Measure: "proof of an event, p99", Unit: "ms", Figure: spreadOf(runs.proof), Bar: mostProofMS},
	}
	for i, r := range l.Rows {
		l.Rows[i].OK = r.Figure.Median <= r.Bar
		if r.AtLeast {
			l.Rows[i].OK = r.Figure.Median >= r.Bar
		}
	}
}

func showLong(w io.Writer, l *benchLong) error {
	title := fmt.Sprintf("HISTORY OF %s EVENTS", spelledCount(float64(l.Events)))
	if err := rows(w, rowsOfBench(title, l.Rows)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s versions; events a second: ordered consumer %s, replay %s, verify %s; random read p50 %s us\n\n",
		spelledCount(float64(l.Versions)), spelledRate(l.Raw), spelledRate(l.Replay), spelledRate(l.Verify), spelledFigure(l.P50.Median))
	return err
}

// rowsOfBench makes a table of measures beside their bars.
func rowsOfBench(title string, measures []benchRow) [][]string {
	table := [][]string{{title, "FOUND (MIN–MAX)", "BAR"}}
	for _, r := range measures {
		spell := func(x float64) string { return strings.TrimSpace(spelledFigure(x) + " " + r.Unit) }
		sign := "≤ "
		if r.AtLeast {
			sign = "≥ "
		}
		table = append(table, []string{
			r.Measure, fmt.Sprintf("%s (%s–%s)", spell(r.Figure.Median), spelledFigure(r.Figure.Min), spelledFigure(r.Figure.Max)),
			sign + spell(r.Bar) + " " + mark(r.OK),
		})
	}
	return table
}

// spelledFigure gives three digits to what is small.
func spelledFigure(x float64) string {
	if x < 100 {
		return strings.TrimSuffix(fmt.Sprintf("%.2f", x), ".00")
	}
	return spelledCount(x)
}

// showBench prints the report for people.
func showBench(w io.Writer, r benchReport) error {
	if r.Server != "" {
		return showAlone(w, r)
	}
	for _, what := range []string{benchRegistrations, benchGet, benchPast} {
		if err := showComparisons(w, what, r.Comparisons); err != nil {
			return err
		}
	}
	if r.Boot != nil {
		if err := showBoot(w, r.Boot); err != nil {
			return err
		}
	}
	if r.History != nil {
		if err := showLong(w, r.History); err != nil {
			return err
		}
	}
	if r.Lineage != nil {
		if err := showLineageBench(w, r.Lineage); err != nil {
			return err
		}
	}
	if r.Webhooks != nil {
		if err := showWebhooksBench(w, r.Webhooks); err != nil {
			return err
		}
	}
	if r.MLflow != nil {
		if err := showMLflow(w, r.MLflow); err != nil {
			return err
		}
	}
	return showConditions(w, r)
}

var benchTitles = map[string]string{benchRegistrations: "registrations", benchGet: "get by alias", benchPast: "get of the past"}

func showComparisons(w io.Writer, what string, all []benchComparison) error {
	table := [][]string{{
		strings.ToUpper(benchTitles[what]), "BARE OPS/S (MIN–MAX)", "MODELOG OPS/S (MIN–MAX)", "RATIO", "BAR", "P50 BARE", "P50 MODELOG",
	}}
	for _, c := range all {
		if c.What == what {
			table = append(table, comparisonRow(c))
		}
	}
	if len(table) == 1 {
		return nil
	}
	if err := rows(w, table); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func comparisonRow(c benchComparison) []string {
	ratio, bar := fmt.Sprintf("%.2f", c.Ratio), fmt.Sprintf("≥ %.2f", c.Bar)
	if c.Measure == measureP50 {
		ratio, bar = "p50 "+ratio, fmt.Sprintf("≤ %.2f", c.Bar)
	}
	return []string{
		countOf(c.Connections, "connection"), spelledRate(c.Bare.Rate), spelledRate(c.Modelog.Rate), ratio, bar + " " + mark(c.OK),
		spelledMS(c.Bare.P50.Median) + " ms", spelledMS(c.Modelog.P50.Median) + " ms",
	}
}

func showBoot(w io.Writer, b *benchBootFigures) error {
	return rows(w, [][]string{
		{"BOOT", "TOOK (MIN–MAX)", "BAR"},
		{
			"to /readyz", fmt.Sprintf("%s ms (%s–%s)", spelledMS(b.Took.Median), spelledMS(b.Took.Min), spelledMS(b.Took.Max)),
			fmt.Sprintf("< %.0f ms %s", b.Bar, mark(b.OK)),
		},
		{},
	})
}

func showConditions(w io.Writer, r benchReport) error {
	m := r.Machine
	other := "bare"
	if r.MLflow != nil && len(r.Comparisons) == 0 {
		other = "MLflow"
	}
	_, err := fmt.Fprintf(w, "median of %s, %s and modelog in turn, %v s each; %s bytes an event on the log\n",
		countOf(r.Runs, "run"), other, r.Seconds, spelledCount(float64(r.EventBytes)))
	if err != nil {
		return err
	}
	parts := []string{
		m.CPU, countOf(m.Cores, "core"), m.Kernel, m.Go, "modelog " + m.Release,
		strings.TrimSpace("data in " + m.Directory + " " + m.FileSystem), m.Date.Format(time.RFC3339),
	}
	_, err = fmt.Fprintln(w, strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", "))
	if err == nil && strings.HasPrefix(m.FileSystem, "tmpfs") {
		_, err = fmt.Fprintln(w, "tmpfs has nothing to sync: figures of registrations on it say little; give --dir a disk")
	}
	return err
}

func mark(ok bool) string {
	if ok {
		return "ok"
	}
	return "short"
}

func spelledRate(s spread) string {
	return fmt.Sprintf("%s (%s–%s)", spelledCount(s.Median), spelledCount(s.Min), spelledCount(s.Max))
}

// spelledCount spells a whole number with its thousands apart.
func spelledCount(x float64) string {
	s := strconv.FormatInt(int64(math.Round(x)), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// spelledMS gives three digits to what is short.
func spelledMS(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f", ms)
	default:
		return fmt.Sprintf("%.0f", ms)
	}
}

func countOf(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
