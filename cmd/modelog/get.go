package main

import (
	"io"
	"strings"

	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) getCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get MODEL | REF | target ENVIRONMENT/NAME", GroupID: "registry",
		Short: "Show a model, a version or a target, now or in the past",
		Example: `  modelog get fraud
  modelog get fraud@champion
  modelog get fraud/Production --as-of 2026-11-01T00:00:00Z
  modelog get target prod/scorer --as-of 4711
  modelog get target prod/scorer --valid-at 2026-11-01T00:00:00Z`,
	}
	c := a.reader(cmd)
	validAtFlag(cmd, c)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 2 && args[0] == "target" {
			return nil
		}
		return exactly("MODEL, REF or target")(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 2:
			return c.getTarget(cmd, args[1])
		case c.validAt != "":
			return usage("--valid-at asks what was deployed then: modelog get target ENVIRONMENT/NAME --valid-at %s", c.validAt)
		case strings.ContainsAny(args[0], "/@"):
			return c.getVersion(cmd, args[0])
		default:
			return c.getModel(cmd, args[0])
		}
	}
	return cmd
}

func (c *client) getModel(cmd *cobra.Command, name string) error {
	m, err := get[api.Model](cmd.Context(), c, path("models", name), nil)
	if err != nil {
		return err
	}
	return c.print(m, func(w io.Writer) error { return showModel(w, m) })
}

func (c *client) getVersion(cmd *cobra.Command, whole string) error {
	at, err := refPath(whole)
	if err != nil {
		return err
	}
	v, err := get[api.Version](cmd.Context(), c, at, nil)
	if err != nil {
		return err
	}
	return c.print(v, func(w io.Writer) error { return showVersion(w, v) })
}

func (c *client) getTarget(cmd *cobra.Command, name string) error {
	at, err := targetPath(name)
	if err != nil {
		return err
	}
	t, err := get[api.Target](cmd.Context(), c, at, nil)
	if err != nil {
		return err
	}
	return c.print(t, func(w io.Writer) error { return showTarget(w, t) })
}
