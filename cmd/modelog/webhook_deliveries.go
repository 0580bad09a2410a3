package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) webhookDeliveryStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status ID", Short: "Show how far a subscription has been delivered", Args: exactly("ID"),
		Example: `  modelog webhook status 01KBCWGRJ8ZB0R7NCZ5M6DPGSX`,
	}
	c := a.newClient(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := get[api.DeliveryStatus](cmd.Context(), c, path("subscriptions", args[0], "status"), nil)
		if err != nil {
			return err
		}
		return c.print(s, func(w io.Writer) error { return showDeliveryStatus(w, s) })
	}
	return cmd
}

func showDeliveryStatus(w io.Writer, s api.DeliveryStatus) error {
	behind := "nothing"
	if s.Lag > 0 {
		behind = countOf(int(s.Lag), "event") //nolint:gosec // of a log
	}
	err := pairs(w, [][2]string{
		{"status", string(s.Status)},
		{"delivered up to", strconv.FormatUint(s.After, 10)},
		{"behind", behind},
		{"failing since", s.FailingSince},
		{"waiting", countOf(len(s.Pending)+s.PendingMore, "event")},
		{"given up", countOf(int(s.DeadLetters), "event")}, //nolint:gosec // of a log
	})
	if err != nil || len(s.Pending) == 0 {
		return err
	}
	table := [][]string{{"EVENT", "ATTEMPTS", "NEXT"}}
	for _, p := range s.Pending {
		next := p.NextAt
		if next == "" {
			next = "at once"
		}
		table = append(table, []string{strconv.FormatUint(p.Sequence, 10), strconv.Itoa(p.Attempts), next})
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return rows(w, table)
}

func (a *app) webhookAttemptsCommand() *cobra.Command {
	var limit, status int
	var sequence uint64
	var class string
	cmd := &cobra.Command{
		Use: "attempts ID", Short: "List the attempts to deliver, the last ones first", Args: exactly("ID"),
		Long: `List the attempts to deliver, the last ones first. They are kept for a fortnight, with
the beginning of each answer, which --json shows.`,
		Example: `  modelog webhook attempts 01KBCWGRJ8ZB0R7NCZ5M6DPGSX
  modelog webhook attempts 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --class timeout --limit 20
  modelog webhook attempts 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --sequence 4711 --json`,
	}
	c := a.newClient(cmd.Flags())
	limitFlag(cmd, &limit)
	cmd.Flags().Uint64Var(&sequence, "sequence", 0, "only those of this event")
	cmd.Flags().IntVar(&status, "status", 0, "only those with this status of HTTP")
	cmd.Flags().StringVar(&class, "class", "", "only those of this class: ok, status, redirect, timeout, refused, reset, protocol, tls, dns, no_route, forbidden or unrenderable")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		query := url.Values{}
		for name, value := range map[string]string{"sequence": strconv.FormatUint(sequence, 10), "status": strconv.Itoa(status), "class": class} {
			if cmd.Flags().Changed(name) {
				query.Set(name, value)
			}
		}
		all, err := filtered(cmd.Context(), c, path("subscriptions", args[0], "attempts"), query, limit, func(l api.AttemptList) ([]api.DeliveryAttempt, string) {
			return l.Attempts, l.NextCursor
		})
		if err != nil {
			return err
		}
		return c.print(all, func(w io.Writer) error { return showAttempts(w, all) })
	}
	return cmd
}

// filtered fetches the pages of a list that has filters of its own.
func filtered[L, E any](ctx context.Context, c *client, at string, query url.Values, limit int, next func(L) ([]E, string)) ([]E, error) {
	all := []E{}
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(all), 1000)))
		page, err := get[L](ctx, c, at, query)
		if err != nil {
			return nil, err
		}
		entries, cursor := next(page)
		if all = append(all, entries...); cursor == "" || len(all) >= limit {
			return all, nil
		}
		query.Set("cursor", cursor)
	}
}

func showAttempts(w io.Writer, all []api.DeliveryAttempt) error {
	table := [][]string{{"STARTED", "EVENT", "ATTEMPT", "STATUS", "CLASS", "TOOK", "NEXT", "REPLAY"}}
	for _, a := range all {
		status, next := "", a.NextAt
		if a.Status != 0 {
			status = strconv.Itoa(a.Status)
		}
		if a.Dead {
			next = "given up"
		}
		table = append(table, []string{
			a.StartedAt, strconv.FormatUint(a.Sequence, 10), strconv.Itoa(a.Attempt), status, a.Class, fmt.Sprintf("%.1f ms", a.DurationMS), next, a.Replay,
		})
	}
	return rows(w, table)
}

func (a *app) webhookDeadLettersCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "dead-letters ID", Short: "List the events that were given up", Args: exactly("ID"),
		Example: `  modelog webhook dead-letters 01KBCWGRJ8ZB0R7NCZ5M6DPGSX
  modelog webhook replay 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --failed`,
	}
	c := a.newClient(cmd.Flags())
	limitFlag(cmd, &limit)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := filtered(cmd.Context(), c, path("subscriptions", args[0], "dead-letters"), url.Values{}, limit, func(l api.DeadLetterList) ([]api.DeadLetter, string) {
			return l.DeadLetters, l.NextCursor
		})
		if err != nil {
			return err
		}
		return c.print(all, func(w io.Writer) error {
			table := [][]string{{"EVENT", "GIVEN UP", "STATUS", "CLASS"}}
			for _, l := range all {
				status := ""
				if l.Status != 0 {
					status = strconv.Itoa(l.Status)
				}
				table = append(table, []string{strconv.FormatUint(l.Sequence, 10), l.At, status, l.Class})
			}
			return rows(w, table)
		})
	}
	return cmd
}

func (a *app) webhookTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "test ID", Short: "Send a ping to the sink, and show the exchange", Args: exactly("ID"),
		Long: `Send a ping to the sink, signed as a delivery is, and show the exchange. The ping is an
event of the type dev.modelog.ping.v1, or a message in the subscription's format; it is on
no log. Exits with 5 if the answer wouldn't have settled a delivery.`,
		Example: `  modelog webhook test 01KBCWGRJ8ZB0R7NCZ5M6DPGSX`,
	}
	c := a.newClient(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		x, err := call[api.DeliveryExchange](cmd.Context(), c, http.MethodPost, path("subscriptions", args[0], "test"), api.DeliveryTest{})
		if err != nil {
			return err
		}
		if err := c.print(x, func(w io.Writer) error { return showExchange(w, x) }); err != nil {
			return err
		}
		return pingError(x)
	}
	return cmd
}

// showExchange shows a request and its answer as they went over the line.
func showExchange(w io.Writer, x api.DeliveryExchange) error {
	var b strings.Builder
	part := func(mark string, headers map[string]string, body string) {
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			fmt.Fprintf(&b, "%s %s: %s\n", mark, name, shown(headers[name]))
		}
		if body = strings.TrimRight(body, "\n"); body != "" {
			fmt.Fprintf(&b, "%s\n", mark)
			for line := range strings.SplitSeq(body, "\n") {
				fmt.Fprintf(&b, "%s %s\n", mark, shown(line))
			}
		}
	}
	part(">", x.Sent, x.SentBody)
	if x.Status != 0 {
		fmt.Fprintf(&b, "< %d %s\n", x.Status, http.StatusText(x.Status))
	}
	part("<", x.Headers, x.Body)
	fmt.Fprintf(&b, "%s after %.1f ms\n", x.Class, x.DurationMS)
	_, err := io.WriteString(w, b.String())
	return err
}
