package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

// auditFilters are the flags that say what of the trail is shown.
type auditFilters struct {
	resource, by, action, from, until, why string
	oldest                                 bool
}

func (a *app) auditCommand() *cobra.Command {
	var filters auditFilters
	var limit int
	var format string
	cmd := &cobra.Command{
		Use: "audit", GroupID: "history", Short: "Show who did what, when and why, with before and after", Args: cobra.NoArgs,
		Long: `Show who did what, when and why, with before and after, the newest first. The
names of people are as the directory knows them now; of those who were erased
their opaque ids are left.`,
		Example: `  modelog audit --resource fraud/8
  modelog audit --resource targets/prod/scorer --from 2026-11-01T00:00:00Z --oldest
  modelog audit --by mara --action version.promoted --why "AUC"
  modelog audit --format csv > audit.csv`,
	}
	c := a.reader(cmd)
	f := cmd.Flags()
	f.StringVar(&filters.resource, "resource", "", "only what changed something of it or of what is under it: fraud, fraud/8, fraud@champion, targets/prod/scorer")
	f.StringVar(&filters.by, "by", "", "only what somebody did, by name or id")
	f.StringVar(&filters.action, "action", "", "only an action, such as version.promoted, or those of an aggregate, such as version")
	f.StringVar(&filters.from, "from", "", "from a sequence or a time on")
	f.StringVar(&filters.until, "until", "", "up to a sequence or a time")
	f.StringVar(&filters.why, "why", "", "only with a reason that holds a text, whatever its case")
	f.BoolVar(&filters.oldest, "oldest", false, "the oldest first")
	f.StringVar(&format, "format", "table", "table, jsonl or csv")
	limitFlag(cmd, &limit)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		show, err := c.auditPrinter(format)
		if err != nil {
			return err
		}
		return c.eachAuditPage(cmd.Context(), filters, limit, show)
	}
	cmd.AddCommand(a.auditPackCommand(), a.auditCheckCommand(), a.auditTilesCommand())
	return cmd
}

func (f auditFilters) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{
		"resource": f.resource, "actor": f.by, "action": f.action, "from": f.from, "until": f.until, "reason": f.why,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if f.oldest {
		query.Set("order", "oldest")
	}
	return query
}

// eachAuditPage reads the trail, page by page, to its end or to the limit. The last
// page is told to be so; one page comes even of an empty trail.
func (c *client) eachAuditPage(ctx context.Context, f auditFilters, limit int, show func(entries []api.AuditEntry, last bool) error) error {
	query, seen := f.query(), 0
	for {
		query.Set("limit", strconv.Itoa(min(limit-seen, 1000)))
		page, err := get[api.AuditList](ctx, c, "/v1/audit", query)
		if err != nil {
			return err
		}
		seen += len(page.Entries)
		last := page.NextCursor == "" || seen >= limit
		if err := show(page.Entries, last); err != nil || last {
			return err
		}
		query.Set("cursor", page.NextCursor)
	}
}

// trail reads a trail whole.
func (c *client) trail(ctx context.Context, f auditFilters, limit int) ([]api.AuditEntry, error) {
	all := []api.AuditEntry{}
	return all, c.eachAuditPage(ctx, f, limit, func(entries []api.AuditEntry, _ bool) error {
		all = append(all, entries...)
		return nil
	})
}

// auditPrinter gives what prints a trail. What programs read is printed page by page.
func (c *client) auditPrinter(format string) (func(entries []api.AuditEntry, last bool) error, error) {
	all, head := []api.AuditEntry{}, true
	switch {
	case format == "table" && c.asJSON:
	case format == "table":
	case format == "jsonl":
		return func(entries []api.AuditEntry, _ bool) error { return printAuditLines(c.app.stdout, entries) }, nil
	case format == "csv":
		return func(entries []api.AuditEntry, _ bool) error {
			table, err := api.AuditCSV(entries, head)
			if err != nil {
				return err
			}
			head = false
			_, err = c.app.stdout.Write(table)
			return err
		}, nil
	default:
		return nil, usage("--format: %q is not table, jsonl or csv", format)
	}
	return func(entries []api.AuditEntry, last bool) error {
		if all = append(all, entries...); !last {
			return nil
		}
		return c.print(all, func(w io.Writer) error { return rows(w, auditTable(all)) })
	}, nil
}

func printAuditLines(w io.Writer, entries []api.AuditEntry) error {
	var lines bytes.Buffer
	for _, e := range entries {
		if err := json.MarshalWrite(&lines, e, json.Deterministic(true), api.Numbers); err != nil {
			return fmt.Errorf("print the answer: %w", err)
		}
		lines.WriteByte('\n')
	}
	_, err := w.Write(lines.Bytes())
	return err
}

func auditTable(entries []api.AuditEntry) [][]string {
	table := [][]string{{"SEQUENCE", "RECORDED", "ACTOR", "RESOURCE", "WHAT", "WHY"}}
	for _, e := range entries {
		what := e.Summary
		if e.HappenedAt != e.RecordedAt {
			what += ", on " + e.HappenedAt
		}
		table = append(table, []string{strconv.FormatUint(e.Sequence, 10), e.RecordedAt, e.Actor.String(), e.Resource, what, api.SpellText(e.Reason)})
	}
	return table
}
