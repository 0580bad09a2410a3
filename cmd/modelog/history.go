package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) historyCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "history MODEL | REF | target ENVIRONMENT/NAME", GroupID: "history",
		Short: "Tell the story of a model, a version or a target",
		Long: `Tell the story of a model, a version or a target from its beginning: when, who,
what, before and after, and why. What is gone, or has another name now, is found
by the name that it had.`,
		Example: `  modelog history fraud/8
  modelog history fraud@champion --as-of 2026-11-01T00:00:00Z
  modelog history target prod/scorer`,
	}
	c := a.reader(cmd)
	limitFlag(cmd, &limit)
	cmd.Args = oneThing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f := auditFilters{resource: args[0], oldest: true}
		if len(args) == 2 {
			f.resource = "targets/" + args[1]
		}
		all, err := c.trail(cmd.Context(), f, limit)
		if err != nil {
			return err
		}
		return c.print(all, func(w io.Writer) error { return tell(w, all) })
	}
	return cmd
}

// oneThing takes what get takes: a model, a reference, or a target.
func oneThing(cmd *cobra.Command, args []string) error {
	if len(args) == 2 && args[0] == "target" {
		return nil
	}
	return exactly("MODEL, REF or target")(cmd, args)
}

// tell prints a story. It is about what its first event made.
func tell(w io.Writer, entries []api.AuditEntry) error {
	for i, e := range entries {
		about := about(entries[0], e)
		lines := []string{strings.Join(slices.DeleteFunc([]string{day(e.RecordedAt), e.Actor.String(), headline(e)}, func(s string) bool { return s == "" }), "  ")}
		if e.Reason != "" {
			lines = append(lines, "    because: "+e.Reason)
		}
		if e.HappenedAt != e.RecordedAt {
			lines = append(lines, "    it happened "+day(e.HappenedAt))
		}
		for _, f := range about {
			lines = append(lines, "    "+f)
		}
		if i > 0 {
			lines = append([]string{""}, lines...)
		}
		if _, err := fmt.Fprintln(w, strings.Join(lines, "\n")); err != nil {
			return err
		}
	}
	return nil
}

// day spells a time for people who read, to the second.
func day(at string) string {
	date, time, _ := strings.Cut(strings.TrimSuffix(at, "Z"), "T")
	time, _, _ = strings.Cut(time, ".")
	return date + " " + time
}

// headline says what was done, to what, and in which event.
func headline(e api.AuditEntry) string {
	aggregate, verb, _ := strings.Cut(e.Action, ".")
	s := strings.ReplaceAll(verb, "_", " ") + " " + aggregate + " " + e.Resource
	if aggregate == "deployment" {
		s = strings.ReplaceAll(verb, "_", " ") + " on " + e.Resource
	}
	if e.Forced {
		s += ", forced"
	}
	return fmt.Sprintf("%s (event %d)", s, e.Sequence)
}

// about gives the lines of what changed, of the resource first.
func about(first, e api.AuditEntry) (lines []string) {
	made := isNew(e.Changes)
	for _, f := range e.Changes {
		if !made || worthTelling(f) {
			lines = append(lines, f.String())
		}
	}
	for _, other := range e.Also {
		if other.Change == "removed" {
			lines = append(lines, other.Resource+" went with it")
			continue
		}
		for _, f := range other.Fields {
			line := f.String()
			if other.Resource != first.Resource {
				line = other.Resource + ": " + line
			}
			lines = append(lines, line)
		}
	}
	if e.AlsoMore > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.AlsoMore))
	}
	return lines
}

// isNew says whether all that changed is new, or gone.
func isNew(changes []api.FieldChange) bool {
	return slices.ContainsFunc(changes, func(f api.FieldChange) bool { return f.Field == "model_id" || f.Field == "id" })
}

// worthTelling leaves out of what is new what its path, its time and its actor say
// already, and what is empty.
func worthTelling(f api.FieldChange) bool {
	switch f.Field {
	case "id", "model", "model_id", "name", "environment", "alias", "created_at", "created_by", "lifecycle":
		return false
	}
	value := string(f.After)
	return value != `""` && value != "[]" && f.After != nil
}
