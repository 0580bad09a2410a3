package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) webhookPauseCommand() *cobra.Command {
	return a.webhookStatusCommand(&cobra.Command{
		Use: "pause ID", Short: "Deliver nothing until it is resumed",
		Example: `  modelog webhook pause 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --reason "the receiver moves"`,
	}, "pause")
}

func (a *app) webhookResumeCommand() *cobra.Command {
	return a.webhookStatusCommand(&cobra.Command{
		Use: "resume ID", Short: "Go on with deliveries, from where they stopped",
		Long:    `Go on with deliveries, from where they stopped: also of a subscription that was disabled since its endpoint failed.`,
		Example: `  modelog webhook resume 01KBCWGRJ8ZB0R7NCZ5M6DPGSX`,
	}, "resume")
}

func (a *app) webhookStatusCommand(cmd *cobra.Command, action string) *cobra.Command {
	cmd.Args = exactly("ID")
	c := a.reasoned(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := call[api.Subscription](cmd.Context(), c, http.MethodPost, path("subscriptions", args[0], action), handlers.Delivery{Reason: c.reason})
		if err != nil {
			return err
		}
		return c.print(s, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "subscription %s is %s\n", s.ID, s.Status)
			return err
		})
	}
	return cmd
}

func (a *app) webhookRotateCommand() *cobra.Command {
	var body api.SecretRotation
	cmd := &cobra.Command{
		Use: "rotate-secret ID", Short: "Sign with another secret, and for some time with the old one too", Args: exactly("ID"),
		Example: `  modelog webhook rotate-secret 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --valid-for 24h
  modelog webhook rotate-secret 01KBCWGRJ8ZB0R7NCZ5M6DPGSX --valid-for 0s --reason "it leaked"`,
	}
	c := a.reasoned(cmd)
	cmd.Flags().StringVar(&body.ValidFor, "valid-for", "24h", "how long the old secret signs too, 168h at most")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body.Reason = c.reason
		s, err := call[api.SubscriptionWithSecret](cmd.Context(), c, http.MethodPost, path("subscriptions", args[0], "rotate-secret"), body)
		if err != nil {
			return err
		}
		return c.print(s, func(w io.Writer) error {
			old := "the old one doesn't sign any more"
			if s.OldSecretUntil != "" {
				old = "the old one signs too until " + s.OldSecretUntil
			}
			if _, err := fmt.Fprintf(w, "subscription %s has another secret; %s\n", s.ID, old); err != nil {
				return err
			}
			return showSecret(w, s)
		})
	}
	return cmd
}

func (a *app) webhookDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Delete a subscription, with all that waits to be delivered", Args: exactly("ID"),
		Example: `  modelog webhook delete 01KBCWGRJ8ZB0R7NCZ5M6DPGSX`,
	}
	c := a.reasoned(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.remove(cmd, path("subscriptions", args[0]), url.Values{}, "subscription "+args[0])
	}
	return cmd
}
