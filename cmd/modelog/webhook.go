package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) webhookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "webhook", GroupID: "registry", Short: "See to the subscriptions that events are delivered to",
		Long: `See to the subscriptions that events are delivered to. A delivery is signed as
Standard Webhooks has it; the secret is shown once, when it is made. Every event comes
at least once: after a crash one may come again, under the same webhook-id.

The server delivers to https URLs at public addresses. It must be told of others:
modelog serve --webhook-allow-http --webhook-allow-cidr 127.0.0.1/32, for one.`,
	}
	cmd.AddCommand(
		a.webhookCreateCommand(), a.webhookListCommand(), a.webhookGetCommand(), a.webhookChangeCommand(), a.webhookPauseCommand(),
		a.webhookResumeCommand(), a.webhookRotateCommand(), a.webhookDeleteCommand(), a.webhookDeliveryStatusCommand(), a.webhookAttemptsCommand(),
		a.webhookDeadLettersCommand(), a.webhookReplayCommand(), a.webhookReplaysCommand(), a.webhookTestCommand(), a.webhookPollCommand(), a.webhookSeekCommand(), a.webhookListenCommand(),
	)
	return cmd
}

func (a *app) webhookListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the subscriptions, the oldest first", Args: cobra.NoArgs,
		Example: `  modelog webhook list
  modelog webhook list --as-of 2026-11-01T00:00:00Z`,
	}
	c := a.reader(cmd)
	limitFlag(cmd, &limit)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := pages(cmd.Context(), c, "/v1/subscriptions", limit, func(l api.SubscriptionList) ([]api.Subscription, string) {
			return l.Subscriptions, l.NextCursor
		})
		if err != nil {
			return err
		}
		return c.print(all, func(w io.Writer) error {
			table := [][]string{{"ID", "SINK", "STATUS", "FORMAT", "ORDERING", "TYPES", "DESCRIPTION"}}
			for _, s := range all {
				table = append(table, []string{s.ID, s.Sink, string(s.Status), string(s.Format), string(s.Ordering), typeList(s.Types), shown(s.Description)})
			}
			return rows(w, table)
		})
	}
	return cmd
}

// typeList spells types as --type takes them.
func typeList(types []string) string {
	if len(types) == 0 {
		return "all"
	}
	short := make([]string, len(types))
	for i, t := range types {
		short[i] = strings.TrimPrefix(t, "dev.modelog.")
	}
	return strings.Join(short, ",")
}

func (a *app) webhookGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get ID", Short: "Show a subscription", Args: exactly("ID"),
		Example: `  modelog webhook get 01KBCWGRJ8ZB0R7NCZ5M6DPGSX`,
	}
	c := a.reader(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := get[api.Subscription](cmd.Context(), c, path("subscriptions", args[0]), nil)
		if err != nil {
			return err
		}
		return c.print(s, func(w io.Writer) error { return showSubscription(w, s) })
	}
	return cmd
}

func showSubscription(w io.Writer, s api.Subscription) error {
	filters := ""
	if len(s.Filters) > 0 {
		text, err := json.Marshal(s.Filters, json.Deterministic(true))
		if err != nil {
			return fmt.Errorf("show the filters: %w", err)
		}
		filters = shown(string(text))
	}
	rate := "any"
	if s.Rate > 0 {
		rate = fmt.Sprintf("%d deliveries a second at most", s.Rate)
	}
	return pairs(w, [][2]string{
		{"subscription", s.ID},
		{"sink", s.Sink},
		{"name", shown(s.Name)},
		{"description", shown(s.Description)},
		{"status", subscriptionStatus(s)},
		{"types", typeList(s.Types)},
		{"filters", filters},
		{"format", string(s.Format)},
		{"MLflow's events", strings.Join(s.MLflowEvents, ",")},
		{"ordering", string(s.Ordering)},
		{"rate", rate},
		{"signature", string(s.Signature)},
		{"old secret until", s.OldSecretUntil},
		{"events after", fmt.Sprint(s.After)},
		{"created", s.CreatedAt},
		{"updated", s.UpdatedAt},
		{"sequence", number(s.Sequence)},
	})
}

func subscriptionStatus(s api.Subscription) string {
	status := string(s.Status)
	switch {
	case s.FailingSince != "":
		status += ", failing since " + s.FailingSince
	case s.StatusCause != "":
		status += ", " + string(s.StatusCause)
	}
	if s.StatusReason != "" {
		status += ": " + shown(s.StatusReason)
	}
	return status
}
