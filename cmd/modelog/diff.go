package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) diffCommand() *cobra.Command {
	var from, to string
	var limit int
	cmd := &cobra.Command{
		Use: "diff --from MOMENT [--to MOMENT] [MODEL | REF | target ENVIRONMENT/NAME]", GroupID: "history",
		Short: "Show what changed between two moments",
		Long: `Show what changed between two moments, each a sequence or a time: of everything,
or of one resource and what is under it. Lines with + are new, those with - are
gone, and those with ~ have changed.`,
		Example: `  modelog diff --from 4700
  modelog diff --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z fraud
  modelog diff --from 4700 --to 4711 target prod/scorer`,
	}
	c := a.reader(cmd)
	cmd.Flags().StringVar(&from, "from", "", "the earlier moment: a sequence, or a time such as 2026-11-01T00:00:00Z (required)")
	cmd.Flags().StringVar(&to, "to", "", "the later moment; now if absent")
	limitFlag(cmd, &limit)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 || (len(args) == 2 && args[0] == "target") {
			return nil
		}
		return exactly("MODEL, REF or target")(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if from == "" {
			return usage("--from is required: a sequence, or a time such as 2026-11-01T00:00:00Z; 0 is the beginning")
		}
		query := url.Values{"from": {from}}
		if to != "" {
			query.Set("to", to)
		}
		switch len(args) {
		case 1:
			query.Set("resource", args[0])
		case 2:
			query.Set("resource", "targets/"+args[1])
		}
		d, err := c.diff(cmd, query, limit)
		if err != nil {
			return err
		}
		return c.print(d, func(w io.Writer) error { return showDiff(w, d) })
	}
	return cmd
}

// diff reads a difference page by page, up to so many changes.
func (c *client) diff(cmd *cobra.Command, query url.Values, limit int) (api.Diff, error) {
	var all api.Diff
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(all.Changes), 1000)))
		page, err := get[api.Diff](cmd.Context(), c, "/v1/diff", query)
		if err != nil {
			return all, err
		}
		page.Changes = append(all.Changes, page.Changes...)
		if all = page; all.NextCursor == "" || len(all.Changes) >= limit {
			return all, nil
		}
		query.Set("cursor", all.NextCursor)
	}
}

func showDiff(w io.Writer, d api.Diff) error {
	if _, err := fmt.Fprintf(w, "from %s\nto   %s\n", momentText(d.From), momentText(d.To)); err != nil {
		return err
	}
	if len(d.Changes) == 0 {
		_, err := fmt.Fprintln(w, "nothing changed")
		return err
	}
	if err := showChanges(w, d.Changes); err != nil || d.NextCursor == "" {
		return err
	}
	_, err := fmt.Fprintln(w, "and more; see --limit")
	return err
}

func momentText(m api.Moment) string {
	if m.RecordedAt == "" {
		return fmt.Sprintf("%d, before the first event", m.Sequence)
	}
	return fmt.Sprintf("%d, of %s", m.Sequence, m.RecordedAt)
}

// changeMarks say what became of a resource, or of a field.
var changeMarks = map[string]string{"added": "+", "removed": "-", "changed": "~"}

func showChanges(w io.Writer, changes []api.ResourceChange) error {
	for _, change := range changes {
		if _, err := fmt.Fprintf(w, "\n%s %s\n", changeMarks[change.Change], change.Resource); err != nil {
			return err
		}
		for _, f := range change.Fields {
			if _, err := fmt.Fprintf(w, "  %s\n", fieldText(f)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fieldText shows what became of a field on a line.
func fieldText(f api.FieldChange) string {
	switch {
	case f.Before == nil:
		return fmt.Sprintf("+ %s: %s", f.Field, valueText(f.After))
	case f.After == nil:
		return fmt.Sprintf("- %s: %s", f.Field, valueText(f.Before))
	default:
		return fmt.Sprintf("~ %s: %s -> %s", f.Field, valueText(f.Before), valueText(f.After))
	}
}

// valueText shows a value as people would write it: a text without quotes, if
// it is a plain one.
func valueText(value jsontext.Value) string {
	if value.Kind() != jsontext.KindString {
		return string(value)
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil || len(text) == 0 || len(text)+2 != len(value) {
		return string(value)
	}
	return string(text)
}
