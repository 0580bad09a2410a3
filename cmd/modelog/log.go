package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) logCommand() *cobra.Command {
	var after uint64
	var limit int
	var follow bool
	var filter string
	cmd := &cobra.Command{
		Use: "log", GroupID: "history", Short: "Show the events of the log, in its order", Args: cobra.NoArgs,
		Long: `Show the events of the log, in its order. With --json each event is a structured
CloudEvent on a line of its own.

With --follow events are shown as they come, from now on or from after a sequence,
until an interrupt. A lost connection is taken up again where it was lost.`,
		Example: `  modelog log --after 4700 --limit 20
  modelog log --follow --filter "type LIKE '%.promoted.v1' AND subject LIKE 'models/fraud/%'"`,
	}
	c := a.reader(cmd)
	cmd.Flags().Uint64Var(&after, "after", 0, "begin after this sequence")
	limitFlag(cmd, &limit)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "show events as they come, with no limit but that of --limit if it is given")
	cmd.Flags().StringVar(&filter, "filter", "", "with --follow: only events that this CloudEvents SQL expression lets through")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case follow && c.asOf != "":
			return usage("--follow shows what comes, and --as-of what was; give one of them")
		case !follow && filter != "":
			return usage("--filter goes with --follow")
		case follow:
			from, most := (*uint64)(nil), 0
			if cmd.Flags().Changed("after") {
				from = &after
			}
			if cmd.Flags().Changed("limit") {
				most = limit
			}
			return c.follow(cmd.Context(), followQuery(from, filter), most)
		}
		table := [][]string{logHead}
		err := c.eachEvent(cmd.Context(), after, limit, func(raw jsontext.Value, e events.Event) error {
			if c.asJSON {
				_, err := fmt.Fprintf(a.stdout, "%s\n", raw)
				return err
			}
			table = append(table, eventRow(e))
			return nil
		})
		if err != nil || c.asJSON {
			return err
		}
		return rows(a.stdout, table)
	}
	return cmd
}

func eventRow(e events.Event) []string {
	return []string{strconv.FormatUint(e.Sequence, 10), events.FormatTime(e.Time), e.Subject, e.Type(), e.Data.Summary()}
}

// eachEvent reads events from the registry, page by page, and refuses those
// that this release can't read.
func (c *client) eachEvent(ctx context.Context, after uint64, limit int, do func(jsontext.Value, events.Event) error) error {
	cursor, seen := "", 0
	for {
		query := url.Values{"limit": {strconv.Itoa(min(limit-seen, 1000))}}
		if after > 0 {
			query.Set("after", strconv.FormatUint(after, 10))
		}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		page, err := get[api.EventList](ctx, c, "/v1/events", query)
		if err != nil {
			return err
		}
		for _, raw := range page.Events {
			e, err := readEvent(raw)
			if err != nil {
				return err
			}
			if err := do(raw, e); err != nil {
				return err
			}
			seen++
		}
		if cursor = page.NextCursor; cursor == "" || seen >= limit {
			return nil
		}
	}
}

func readEvent(raw jsontext.Value) (events.Event, error) {
	e, err := events.ReadEvent(raw)
	if err != nil {
		return events.Event{}, fmt.Errorf("read an event of the registry: %w", err)
	}
	return e, nil
}

func (a *app) stateCommand() *cobra.Command {
	var compute bool
	cmd := &cobra.Command{
		Use: "state", GroupID: "history", Short: "Show the sequence and the digest of the state", Args: cobra.NoArgs,
		Example: `  modelog state
  modelog state --as-of 4711 --json`,
	}
	c := a.reader(cmd)
	cmd.Flags().BoolVar(&compute, "compute", true, "compute the digest; else show the last one that was computed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.state(cmd.Context(), compute)
		if err != nil {
			return err
		}
		return c.print(s, func(w io.Writer) error {
			digest := "not computed yet"
			if s.Digest != nil {
				digest = fmt.Sprintf("%s at sequence %d", s.Digest.SHA256, s.Digest.Sequence)
			}
			return pairs(w, [][2]string{
				{"registry", s.RegistryID}, {"sequence", strconv.FormatUint(s.Sequence, 10)}, {"recorded", s.RecordedAt}, {"digest", digest},
			})
		})
	}
	return cmd
}

func (c *client) state(ctx context.Context, compute bool) (api.State, error) {
	return get[api.State](ctx, c, "/v1/state", url.Values{"compute": {strconv.FormatBool(compute)}})
}
