package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

// pollWait is how long a poll that goes on waits for events at a time.
const pollWait = "20s"

func (a *app) webhookPollCommand() *cobra.Command {
	var limit int
	var wait string
	var commit, follow bool
	cmd := &cobra.Command{
		Use: "poll ID", Short: "Fetch the next events of a subscription without a sink", Args: exactly("ID"),
		Long: `Fetch the next events of a subscription without a sink: the same ones until they are
committed. With --commit they are when they have been printed, and -f goes on for ever, so
that a crash repeats some but loses none.`,
		Example: `  modelog webhook create --poll --type version.promoted.v1
  modelog webhook poll 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --commit
  modelog webhook poll 01KBCWGRJ8ZB0R7NCZ5M6DPGSX -f --json`,
	}
	c := a.newClient(cmd.Flags())
	f := cmd.Flags()
	f.IntVar(&limit, "limit", 100, "how many events at most, in one go")
	f.StringVar(&wait, "wait", "0s", "how long to wait for the first one, 30s at most")
	f.BoolVar(&commit, "commit", false, "commit them when they have been printed")
	f.BoolVarP(&follow, "follow", "f", false, "go on until it is interrupted, and commit what has been printed")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if follow {
			wait, commit = pollWait, true
		}
		for {
			more, err := c.pollOnce(cmd.Context(), args[0], url.Values{"limit": {strconv.Itoa(limit)}, "wait": {wait}}, commit)
			if goesOn := follow || commit && more; err != nil || !goesOn {
				return err
			}
		}
	}
	return cmd
}

// pollOnce prints a page, and says whether another one is there already.
func (c *client) pollOnce(ctx context.Context, id string, query url.Values, commit bool) (more bool, err error) {
	page, err := get[api.PolledEvents](ctx, c, path("subscriptions", id, "poll"), query)
	if err != nil {
		return false, err
	}
	if err := c.printPolled(page); err != nil {
		return false, err
	}
	if commit {
		_, err = call[api.PollPosition](ctx, c, http.MethodPost, path("subscriptions", id, "commit"), api.PollCommit{Cursor: page.Cursor})
	}
	return page.More, err
}

// printPolled prints an event a line.
func (c *client) printPolled(page api.PolledEvents) error {
	for _, raw := range page.Events {
		line := string(raw)
		if !c.asJSON {
			e, err := readEvent(raw)
			if err != nil {
				return err
			}
			line = fmt.Sprintf("%d  %s  %s  %s: %s", e.Sequence, e.Time.Format(timeOfLines), shown(e.Subject), e.Type(), shown(e.Data.Summary()))
		}
		if _, err := fmt.Fprintln(c.app.stdout, line); err != nil {
			return err
		}
	}
	return nil
}

const timeOfLines = "2006-01-02T15:04:05.000Z"

func (a *app) webhookSeekCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "seek ID TO", Short: "Go on polling from another place", Args: exactly("ID", "TO"),
		Long: `Go on polling from another place: a sequence, a time, start (the subscription's own
beginning) or now.`,
		Example: `  modelog webhook seek 01KBCWGRJ8ZB0R7NCZ5M6DPGSX start
  modelog webhook seek 01KBCWGRJ8ZB0R7NCZ5M6DPGSX 2026-11-01T00:00:00Z`,
	}
	c := a.newClient(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := call[api.PollPosition](cmd.Context(), c, http.MethodPost, path("subscriptions", args[0], "seek"), map[string]string{"to": args[1]})
		if err != nil {
			return err
		}
		return c.print(p, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "events after %d come next\n", p.After)
			return err
		})
	}
	return cmd
}
