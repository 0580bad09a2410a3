package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/lineageformat"
)

// rows prints a table: the first row is its head.
func rows(w io.Writer, table [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range table {
		if _, err := fmt.Fprintln(t, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// pairs prints names and values, leaving out what is empty.
func pairs(w io.Writer, all [][2]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range all {
		if p[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(t, "%s\t%s\n", p[0], p[1]); err != nil {
			return err
		}
	}
	return t.Flush()
}

// shown keeps a text of somebody's on its line, and its control characters from the
// terminal.
func shown(s string) string { return lineageformat.OneLine(s) }

func sortedPairs[V any](m map[string]V) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s=%v", k, m[k]))
	}
	return strings.Join(parts, " ")
}

func formatted(m map[string]float64) map[string]string {
	texts := make(map[string]string, len(m))
	for k, f := range m {
		texts[k] = api.FormatNumber(f)
	}
	return texts
}

func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func aliasList(aliases []string) string {
	at := make([]string, len(aliases))
	for i, a := range aliases {
		at[i] = "@" + a
	}
	return strings.Join(at, " ")
}

func showModel(w io.Writer, m api.Model) error {
	aliases := make([]string, 0, len(m.Aliases))
	for _, a := range slices.Sorted(maps.Keys(m.Aliases)) {
		aliases = append(aliases, fmt.Sprintf("@%s=%d", a, m.Aliases[a]))
	}
	return pairs(w, [][2]string{
		{"model", m.Name},
		{"description", m.Description},
		{"latest version", number(uint64(m.LatestVersion))},
		{"aliases", strings.Join(aliases, " ")},
		{"stages", strings.Join(m.Lifecycle.Stages, ", ")},
		{"tags", sortedPairs(m.Tags)},
		{"created", m.CreatedAt},
		{"updated", m.UpdatedAt},
		{"sequence", number(m.Sequence)},
	})
}

func showVersion(w io.Writer, v api.Version) error {
	code := ""
	if v.Code != nil {
		code = strings.TrimSuffix(v.Code.Repository+"@"+v.Code.Commit, "@")
	}
	all := [][2]string{
		{"version", fmt.Sprintf("%s/%d", v.Model, v.Version)},
		{"semantic version", v.Semver},
		{"stage", v.Stage},
		{"aliases", aliasList(v.Aliases)},
		{"deployed to", strings.Join(v.DeployedTo, " ")},
		{"deprecated", deprecation(v.Deprecation)},
		{"withdrawn data", shown(strings.Join(v.WithdrawnData, " "))},
		{"source", v.Source},
		{"format", v.Format},
		{"description", v.Description},
	}
	for _, a := range v.Artifacts {
		all = append(all, [2]string{"artifact", fmt.Sprintf("%s  %d bytes  sha256:%s", a.Path, a.Size, a.SHA256)})
	}
	for _, d := range v.Datasets {
		all = append(all, [2]string{strings.TrimSpace("data set " + d.Role), strings.TrimSpace(d.Name + "  " + d.Digest)})
	}
	return pairs(w, append(all, [][2]string{
		{"base model", v.BaseModel},
		{"run", v.RunID},
		{"code", code},
		{"parameters", sortedPairs(v.Parameters)},
		{"metrics", sortedPairs(formatted(v.Metrics))},
		{"tags", sortedPairs(v.Tags)},
		{"created", v.CreatedAt},
		{"updated", v.UpdatedAt},
		{"sequence", number(v.Sequence)},
	}...))
}

func deprecation(d *api.Deprecation) string {
	if d == nil {
		return ""
	}
	s := "since " + d.Since
	if d.Sunset != "" {
		s += ", gone from " + d.Sunset
	}
	if d.Replacement != "" {
		s += ", use " + d.Replacement
	}
	if d.Reason != "" {
		s += ": " + d.Reason
	}
	return s
}

func showTarget(w io.Writer, t api.Target) error {
	return pairs(w, [][2]string{
		{"target", t.Environment + "/" + t.Name},
		{"description", t.Description},
		{"runs", runs(t)},
		{"strategy", t.Strategy},
		{"generation", number(t.Generation)},
		{"previous generation", number(t.PreviousGeneration)},
		{"deployed", deployedAt(t)},
		{"reason", t.Reason},
		{"sequence", number(t.Sequence)},
		{"asked", asked(t.Asked)},
	})
}

// asked says which moments an answer is about, empty for the usual one.
func asked(m *api.Asked) string {
	if m == nil {
		return ""
	}
	return fmt.Sprintf("what was in force at %s, as known as of sequence %d", m.ValidAt, m.Sequence)
}

// deployedAt says when a deployment happened, and when that was known.
func deployedAt(t api.Target) string {
	if t.RecordedAt == "" {
		return t.DeployedAt
	}
	return t.DeployedAt + ", known since " + t.RecordedAt
}

// runs says in short what runs on a target.
func runs(t api.Target) string {
	if len(t.Variants) == 0 {
		return "nothing"
	}
	parts := make([]string, len(t.Variants))
	for i, v := range t.Variants {
		parts[i] = fmt.Sprintf("%s/%d", v.Model, v.Version)
		if len(t.Variants) > 1 {
			parts[i] += fmt.Sprintf(" as %s (%g %%)", v.Role, float64(v.Weight)/100)
		}
	}
	return strings.Join(parts, ", ")
}
