package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) targetCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "target", GroupID: "registry", Short: "Define and remove what models are deployed to"}
	cmd.AddCommand(a.targetDefineCommand(), a.targetRemoveCommand())
	return cmd
}

func (a *app) targetDefineCommand() *cobra.Command {
	var spec handlers.TargetSpec
	cmd := &cobra.Command{
		Use: "define ENVIRONMENT/NAME", Short: "Define a target, or change its description", Args: exactly("ENVIRONMENT/NAME"),
		Example: `  modelog target define prod/scorer`,
	}
	c := a.writer(cmd)
	cmd.Flags().StringVar(&spec.Description, "description", "", "what runs there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := targetPath(args[0])
		if err != nil {
			return err
		}
		t, err := call[api.Target](cmd.Context(), c, http.MethodPut, at, spec)
		if err != nil {
			return err
		}
		return c.print(t, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s/%s is defined, as of sequence %d\n", t.Environment, t.Name, t.Sequence)
			return err
		})
	}
	return cmd
}

func (a *app) targetRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm ENVIRONMENT/NAME", Short: "Remove a target on which nothing runs", Args: exactly("ENVIRONMENT/NAME"),
		Example: `  modelog target rm staging/scorer`,
	}
	c := a.reasoned(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := targetPath(args[0])
		if err != nil {
			return err
		}
		return c.remove(cmd, at, url.Values{}, args[0])
	}
	return cmd
}

func (a *app) undeployCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "undeploy ENVIRONMENT/NAME", GroupID: "registry", Short: "Let nothing run on a target", Args: exactly("ENVIRONMENT/NAME"),
		Example: `  modelog undeploy staging/scorer --reason "the experiment is over"`,
	}
	c := a.reasoned(cmd)
	occurredFlag(cmd, c)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.changeTarget(cmd, args[0], "undeploy", handlers.Withdrawal{Reason: c.reason})
	}
	return cmd
}

// targetPath gives the path of a target, and of what is below it.
func targetPath(name string, below ...string) (string, error) {
	environment, target, ok := strings.Cut(name, "/")
	if !ok || environment == "" || target == "" {
		return "", usage("%q is not a target such as prod/scorer", name)
	}
	return path(append([]string{"targets", environment, target}, below...)...), nil
}

func (a *app) deployCommand() *cobra.Command {
	var ifGeneration uint64
	cmd := &cobra.Command{
		Use: "deploy REF ENVIRONMENT/NAME", GroupID: "registry", Short: "Run a version on a target", Args: exactly("REF", "ENVIRONMENT/NAME"),
		Long: `Run a version on a target, in place of what runs there. The reference is
resolved once; the event records the exact version.`,
		Example: `  modelog deploy fraud@champion prod/scorer --reason "AUC +0.02"
  modelog deploy fraud/8 edge/gateway --occurred-at 2026-11-01T08:00:00Z --reason "reported late"`,
	}
	c := a.reasoned(cmd)
	occurredFlag(cmd, c)
	var force bool
	cmd.Flags().BoolVar(&force, "force", false, "although the version is deprecated; needs a --reason")
	cmd.Flags().Uint64Var(&ifGeneration, "if-generation", 0, "only if the target has this generation now; 0: only if nothing was ever deployed there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		model, ref, err := handlers.SplitReference("REF", args[0])
		if err != nil {
			return err
		}
		body := handlers.Deployment{Model: model, Ref: ref, Reason: c.reason, Force: force}
		if cmd.Flags().Changed("if-generation") {
			body.IfGeneration = &ifGeneration
		}
		return c.changeTarget(cmd, args[1], "deploy", body)
	}
	return cmd
}

func (a *app) rollbackCommand() *cobra.Command {
	var body handlers.Rollback
	cmd := &cobra.Command{
		Use: "rollback ENVIRONMENT/NAME", GroupID: "registry", Short: "Restore what ran on a target before", Args: exactly("ENVIRONMENT/NAME"),
		Long: `Restore what ran on a target before. Rolling back again goes further back, never
to what was itself rolled back from.`,
		Example: `  modelog rollback prod/scorer --reason "latency doubled"`,
	}
	c := a.reasoned(cmd)
	occurredFlag(cmd, c)
	cmd.Flags().Uint64Var(&body.To, "to", 0, "generation to go back to, the previous one if absent")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body.Reason = c.reason
		return c.changeTarget(cmd, args[0], "rollback", body)
	}
	return cmd
}

func occurredFlag(cmd *cobra.Command, c *client) {
	cmd.Flags().StringVar(&c.occurred, "occurred-at", "", "when it happened, if that is told late: a time such as 2026-11-01T08:00:00Z")
}

func (c *client) changeTarget(cmd *cobra.Command, name, action string, body any) error {
	at, err := targetPath(name, action)
	if err != nil {
		return err
	}
	t, err := call[api.Target](cmd.Context(), c, http.MethodPost, at, body)
	if err != nil {
		return err
	}
	return c.print(t, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s/%s runs %s, generation %d\n", t.Environment, t.Name, runs(t), t.Generation)
		return err
	})
}
