package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/modelog/modelog/handlers"
)

// importProgress is a line on the terminal that says how far an import is.
type importProgress struct{ benchProgress }

// show says what goes on before it is known how much there is to do.
func (p *importProgress) show(text string) {
	if p.w != nil {
		_, _ = fmt.Fprint(p.w, clearLine+text) // a lost line is no loss
	}
}

// importReport says what became of everything that the old server has.
type importReport struct {
	From     string `json:"from"`
	To       string `json:"to"`
	DryRun   bool   `json:"dry_run"`
	Complete bool   `json:"complete"` // false if it stopped before the end
	Sequence uint64 `json:"sequence"` // of the registry after the last write

	Models       importTally `json:"models"`
	Prompts      importTally `json:"prompts"`
	Versions     importTally `json:"versions"`
	Aliases      importTally `json:"aliases"`
	Tags         importTally `json:"tags"`
	Stages       importTally `json:"stages"`
	Descriptions importTally `json:"descriptions"`

	Findings []importFinding `json:"findings"`
}

// importTally counts what became of things of one kind.
type importTally struct {
	Copied    int `json:"copied"`
	There     int `json:"already_there"`
	Differ    int `json:"differ"`
	NotMapped int `json:"not_mapped"`
}

// importFinding is something that isn't here as it is there.
type importFinding struct {
	Outcome string `json:"outcome"`
	What    string `json:"what"` // model, version, alias, tag...
	Of      string `json:"of"`   // model or version
	Why     string `json:"why"`
}

// What can become of a thing that isn't here as it is there.
const (
	foundDiffers   = "differs"    // it is here otherwise, and was left so
	foundNotMapped = "not_mapped" // it isn't here
	foundNoted     = "noted"      // it is here, as exactly as can be
)

func (r *importReport) find(outcome, what, of, format string, args ...any) {
	r.Findings = append(r.Findings, importFinding{outcome, what, printable(of), fmt.Sprintf(format, args...)})
}

// differs counts a thing that is here otherwise.
func (r *importReport) differs(t *importTally, what, of, format string, args ...any) {
	t.Differ++
	r.find(foundDiffers, what, of, format, args...)
}

// lacks counts a thing that has no place here.
func (r *importReport) lacks(t *importTally, what, of, format string, args ...any) {
	t.NotMapped++
	r.find(foundNotMapped, what, of, format, args...)
}

func (r *importReport) count(outcome string) (n int) {
	for _, f := range r.Findings {
		if f.Outcome == outcome {
			n++
		}
	}
	return n
}

// err says that not all of it is here.
func (r *importReport) err() error {
	missing, different := r.count(foundNotMapped), r.count(foundDiffers)
	verb := "was"
	if r.DryRun {
		verb = "would be"
	}
	switch {
	case missing > 0 && different > 0:
		return &exitError{handlers.ExitRule, fmt.Errorf("not mapped: %d, different here and left so: %d; all else %s brought along, see the report", missing, different, verb)}
	case missing > 0:
		return &exitError{handlers.ExitRule, fmt.Errorf("not mapped: %d; all else %s brought along, see the report", missing, verb)}
	case different > 0:
		return &exitError{handlers.ExitConflict, fmt.Errorf("different here and left so: %d; all else %s brought along, see the report", different, verb)}
	default:
		return nil
	}
}

// shownFindings is how many findings people are shown.
const shownFindings = 50

func (r *importReport) show(w io.Writer) error {
	copied := "COPIED"
	if r.DryRun {
		copied = "TO COPY"
	}
	table := [][]string{{"FROM " + r.From, copied, "ALREADY THERE", "DIFFER", "NOT MAPPED"}}
	for _, row := range []struct {
		kind  string
		tally importTally
	}{
		{"models", r.Models},
		{"prompts", r.Prompts},
		{"versions", r.Versions},
		{"aliases", r.Aliases},
		{"tags", r.Tags},
		{"stages", r.Stages},
		{"descriptions", r.Descriptions},
	} {
		t := row.tally
		table = append(table, []string{row.kind, strconv.Itoa(t.Copied), strconv.Itoa(t.There), strconv.Itoa(t.Differ), strconv.Itoa(t.NotMapped)})
	}
	if err := rows(w, table); err != nil {
		return err
	}
	if len(r.Findings) == 0 {
		return nil
	}
	table = [][]string{{"OUTCOME", "WHAT", "OF", "WHY"}}
	order := []string{foundNotMapped, foundDiffers, foundNoted}
	slices.SortStableFunc(r.Findings, func(a, b importFinding) int {
		return slices.Index(order, a.Outcome) - slices.Index(order, b.Outcome)
	})
	for _, f := range r.Findings[:min(len(r.Findings), shownFindings)] {
		table = append(table, []string{f.Outcome, f.What, f.Of, f.Why})
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	if err := rows(w, table); err != nil {
		return err
	}
	if more := len(r.Findings) - shownFindings; more > 0 {
		_, err := fmt.Fprintf(w, "... and %d more; --json has them all\n", more)
		return err
	}
	return nil
}
