package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", GroupID: "registry", Short: "List models, versions or targets, now or in the past",
		Example: `  modelog list models
  modelog list versions fraud --as-of 4711
  modelog list targets`,
	}
	cmd.AddCommand(a.listModelsCommand(), a.listVersionsCommand(), a.listTargetsCommand())
	return cmd
}

// pages reads a list to its end, or to the limit: next gives the entries of a
// page and the cursor of the next one.
func pages[L, E any](ctx context.Context, c *client, at string, limit int, next func(L) ([]E, string)) ([]E, error) {
	all, cursor := []E{}, ""
	for {
		query := url.Values{"limit": {strconv.Itoa(min(limit-len(all), 1000))}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		if c.filter != "" {
			query.Set("filter", c.filter)
		}
		page, err := get[L](ctx, c, at, query)
		if err != nil {
			return nil, err
		}
		var entries []E
		entries, cursor = next(page)
		all = append(all, entries...)
		if cursor == "" || len(all) >= limit {
			return all, nil
		}
	}
}

func limitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", 1000, "how many entries at most")
}

func filterFlag(cmd *cobra.Command, c *client) {
	cmd.Flags().StringVar(&c.filter, "filter", "", "only those that it lets through, in the filter language of MLflow's searches")
}

func validAtFlag(cmd *cobra.Command, c *client) {
	cmd.Flags().StringVar(&c.validAt, "valid-at", "", "what was in force at this time, such as 2026-11-01T00:00:00Z, as far as is known now or was --as-of")
}

func (a *app) listModelsCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "models", Short: "List the models, by name", Args: cobra.NoArgs,
		Example: `  modelog list models --as-of 2026-11-01T00:00:00Z
  modelog list models --filter "tags.team = 'risk' AND name LIKE 'fraud%'"`,
	}
	c := a.reader(cmd)
	limitFlag(cmd, &limit)
	filterFlag(cmd, c)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := pages(cmd.Context(), c, "/v1/models", limit, func(l api.ModelList) ([]api.Model, string) { return l.Models, l.NextCursor })
		if err != nil {
			return err
		}
		return c.print(all, func(w io.Writer) error {
			table := [][]string{{"MODEL", "LATEST", "ALIASES", "UPDATED"}}
			for _, m := range all {
				table = append(table, []string{m.Name, number(uint64(m.LatestVersion)), sortedPairs(m.Aliases), m.UpdatedAt})
			}
			return rows(w, table)
		})
	}
	return cmd
}

func (a *app) listVersionsCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "versions MODEL", Short: "List a model's versions, newest first", Args: exactly("MODEL"),
		Example: `  modelog list versions fraud --limit 10
  modelog list versions fraud --filter "tags.trigger = 'nightly' AND version_number > 7"`,
	}
	c := a.reader(cmd)
	limitFlag(cmd, &limit)
	filterFlag(cmd, c)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := pages(cmd.Context(), c, path("models", args[0], "versions"), limit,
			func(l api.VersionList) ([]api.VersionSummary, string) { return l.Versions, l.NextCursor })
		if err != nil {
			return err
		}
		return c.print(all, func(w io.Writer) error {
			table := [][]string{{"VERSION", "SEMVER", "STAGE", "ALIASES", "DEPLOYED TO", "UPDATED"}}
			for _, v := range all {
				table = append(table, []string{
					fmt.Sprintf("%s/%d", v.Model, v.Version), v.Semver, v.Stage, aliasList(v.Aliases), strings.Join(v.DeployedTo, " "), v.UpdatedAt,
				})
			}
			return rows(w, table)
		})
	}
	return cmd
}

func (a *app) listTargetsCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "targets", Short: "List the targets with what runs on them", Args: cobra.NoArgs,
		Example: `  modelog list targets --as-of 4711
  modelog list targets --valid-at 2026-11-01T00:00:00Z`,
	}
	c := a.reader(cmd)
	validAtFlag(cmd, c)
	limitFlag(cmd, &limit)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := pages(cmd.Context(), c, "/v1/targets", limit, func(l api.TargetList) ([]api.Target, string) { return l.Targets, l.NextCursor })
		if err != nil {
			return err
		}
		return c.print(all, func(w io.Writer) error {
			table := [][]string{{"TARGET", "RUNS", "GENERATION", "DEPLOYED"}}
			for _, t := range all {
				table = append(table, []string{t.Environment + "/" + t.Name, runs(t), number(t.Generation), deployedAt(t)})
			}
			return rows(w, table)
		})
	}
	return cmd
}
