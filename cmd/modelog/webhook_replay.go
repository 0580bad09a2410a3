package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

// pingError is of a ping that wasn't answered as a delivery must be.
func pingError(x api.DeliveryExchange) error {
	if x.Status >= http.StatusOK && x.Status < http.StatusMultipleChoices {
		return nil
	}
	why := x.Class
	if x.Status != 0 {
		why = "status " + strconv.Itoa(x.Status)
	}
	return &exitError{handlers.ExitRule, fmt.Errorf("the ping failed: %s; a delivery would be tried again", why)}
}

func (a *app) webhookReplayCommand() *cobra.Command {
	var body struct {
		From string `json:"from,omitempty"`
		To   string `json:"to,omitempty"`
		Mode string `json:"mode,omitempty"`
		Rate int    `json:"rate,omitzero"`
	}
	var failed, missing, detach bool
	cmd := &cobra.Command{
		Use: "replay ID", Short: "Deliver a part of the past again, beside what is new", Args: exactly("ID"),
		Long: `Deliver a part of the past again, beside what is new and with the same webhook-ids, so that
a receiver can tell what it has; the header webhook-replay names the replay. It goes on in
the registry if this command is interrupted. At most four of a subscription run at once.`,
		Example: `  modelog webhook replay 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --failed
  modelog webhook replay 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --from 2026-11-01T00:00:00Z --missing
  modelog webhook replay 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --from 4000 --to 4711 --rate 50 --detach`,
	}
	c := a.newClient(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&body.From, "from", "", "first event, a sequence or a time; the subscription's beginning if absent")
	f.StringVar(&body.To, "to", "", "last event, a sequence or a time; all that there is if absent")
	f.BoolVar(&failed, "failed", false, "only what was given up")
	f.BoolVar(&missing, "missing", false, "only what no attempt of the last fortnight has delivered")
	f.IntVar(&body.Rate, "rate", 0, "deliveries a second at most, 0 for any")
	f.BoolVar(&detach, "detach", false, "don't wait for its end")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case failed && missing:
			return usage("--failed and --missing are different parts; choose one")
		case failed:
			body.Mode = "failed"
		case missing:
			body.Mode = "missing"
		}
		r, err := call[api.Replay](cmd.Context(), c, http.MethodPost, path("subscriptions", args[0], "replays"), body)
		if err == nil && !detach {
			r, err = c.awaitReplay(cmd.Context(), args[0], r)
		}
		if err != nil {
			return err
		}
		return c.print(r, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "replay %s of %d to %d is %s, %s\n", r.ID, r.From, r.To, r.State, countOf(int(r.Sent), "event")+" delivered") //nolint:gosec // of a log
			return err
		})
	}
	return cmd
}

// awaitReplay waits for the end of a replay, which it shows the progress of.
func (c *client) awaitReplay(ctx context.Context, subscription string, r api.Replay) (api.Replay, error) {
	progress := c.app.newProgress("replay", r.To-r.From+1)
	defer progress.clear()
	for r.State == "running" {
		progress.at(r.After - (r.From - 1))
		if err := sleep(ctx, pollEvery); err != nil {
			return r, &exitError{handlers.ExitUnavailable, fmt.Errorf("interrupted; replay %s goes on in the registry", r.ID)}
		}
		var err error
		if r, err = get[api.Replay](ctx, c, path("subscriptions", subscription, "replays", r.ID), nil); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (a *app) webhookReplaysCommand() *cobra.Command {
	var stop string
	cmd := &cobra.Command{
		Use: "replays ID", Short: "List the replays of a subscription, or stop one", Args: exactly("ID"),
		Example: `  modelog webhook replays 01KBCWGRJ8ZB0R7NCZ5M6DPGSX
  modelog webhook replays 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --stop 01KBCWGRJ8ZB0R7NCZ5M6REP0`,
	}
	c := a.newClient(cmd.Flags())
	cmd.Flags().StringVar(&stop, "stop", "", "stop this one for good")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if stop != "" {
			if _, err := c.send(cmd.Context(), http.MethodDelete, path("subscriptions", args[0], "replays", stop), nil); err != nil {
				return err
			}
		}
		list, err := get[api.ReplayList](cmd.Context(), c, path("subscriptions", args[0], "replays"), nil)
		if err != nil {
			return err
		}
		return c.print(list.Replays, func(w io.Writer) error {
			table := [][]string{{"ID", "CREATED", "FROM", "TO", "MODE", "UP TO", "DELIVERED", "STATE"}}
			for _, r := range list.Replays {
				table = append(table, []string{
					r.ID, r.CreatedAt, strconv.FormatUint(r.From, 10), strconv.FormatUint(r.To, 10), string(r.Mode), strconv.FormatUint(r.After, 10), strconv.FormatUint(r.Sent, 10), r.State,
				})
			}
			return rows(w, table)
		})
	}
	return cmd
}
