package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) deprecateCommand() *cobra.Command {
	var body handlers.Deprecation
	cmd := &cobra.Command{
		Use: "deprecate REF", GroupID: "registry", Short: "Say that a version should not be used any more", Args: exactly("REF"),
		Long: `Say that a version should not be used any more. It stays where it is and can be
resolved, but is not newly promoted or deployed without --force.`,
		Example: `  modelog deprecate fraud/7 --replacement fraud/8 --sunset 2026-12-31T00:00:00Z --reason "drift"`,
	}
	c := a.reasoned(cmd)
	cmd.Flags().StringVar(&body.Sunset, "sunset", "", "when it will be gone, such as 2026-12-31T00:00:00Z")
	cmd.Flags().StringVar(&body.Replacement, "replacement", "", "version to use instead, such as fraud/8")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body.Reason = c.reason
		return c.changeVersion(cmd, args[0], "deprecate", body, "is deprecated")
	}
	return cmd
}

func (a *app) restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore REF", GroupID: "registry", Short: "Undo a deprecation", Args: exactly("REF"),
		Example: `  modelog restore fraud/7 --reason "the drift was in the monitor"`,
	}
	c := a.reasoned(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.changeVersion(cmd, args[0], "restore", handlers.Restoration{Reason: c.reason}, "is restored")
	}
	return cmd
}

func (a *app) archiveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "archive REF", GroupID: "registry", Short: "Move a version to its lifecycle's archive", Args: exactly("REF"),
		Example: `  modelog archive fraud/6`,
	}
	c := a.reasoned(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		model, _, err := handlers.SplitReference("REF", args[0])
		if err != nil {
			return err
		}
		m, err := get[api.Model](cmd.Context(), c, path("models", model), nil)
		if err != nil {
			return err
		}
		body := handlers.Promotion{To: m.Lifecycle.Archive, Reason: c.reason}
		return c.changeVersion(cmd, args[0], "promote", body, "is in "+m.Lifecycle.Archive)
	}
	return cmd
}

func (a *app) tagCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tag REF [KEY=VALUE | KEY-]...", GroupID: "registry", Short: "Change a version's tags and description", Args: atLeast("REF"),
		Long:    `Change a version's tags and description. KEY=VALUE sets a tag, KEY- removes it.`,
		Example: `  modelog tag fraud/8 reviewed=yes draft-`,
	}
	c := a.writer(cmd)
	mergePatch := describing(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		patch, err := mergePatch(args[1:])
		if err != nil {
			return err
		}
		at, err := refPath(args[0])
		if err != nil {
			return err
		}
		return c.writeVersion(cmd, http.MethodPatch, at, patch, "is described")
	}
	return cmd
}

// refPath gives the path of a version, and of what is below it.
func refPath(whole string, below ...string) (string, error) {
	model, ref, err := handlers.SplitReference("REF", whole)
	return path(append([]string{"models", model, "versions", ref}, below...)...), err
}

// changeVersion posts to what is below a version.
func (c *client) changeVersion(cmd *cobra.Command, whole, action string, body any, done string) error {
	at, err := refPath(whole, action)
	if err != nil {
		return err
	}
	return c.writeVersion(cmd, http.MethodPost, at, body, done)
}

func (c *client) writeVersion(cmd *cobra.Command, method, at string, body any, done string) error {
	v, err := call[api.Version](cmd.Context(), c, method, at, body)
	if err != nil {
		return err
	}
	return c.printVersion(v, done)
}

func (c *client) printVersion(v api.Version, done string) error {
	return c.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s/%d %s, as of sequence %d\n", v.Model, v.Version, done, v.Sequence)
		return err
	})
}

// describing gives a command the flag --description, and what makes a merge patch
// of it and of the arguments: KEY=VALUE sets a tag, KEY- removes it.
func describing(cmd *cobra.Command) func(args []string) (map[string]any, error) {
	description := cmd.Flags().String("description", "", "the new description; empty removes it")
	return func(args []string) (map[string]any, error) {
		patch, err := tagPatch(args)
		if err == nil && cmd.Flags().Changed("description") {
			patch["description"] = *description
		}
		return patch, err
	}
}

func tagPatch(args []string) (map[string]any, error) {
	tags := map[string]any{}
	for _, arg := range args {
		key, value, set := strings.Cut(arg, "=")
		removed, removes := strings.CutSuffix(arg, "-")
		switch {
		case set && key != "":
			tags[key] = value
		case removes && removed != "":
			tags[removed] = nil
		default:
			return nil, usage("%q is neither KEY=VALUE nor KEY-", arg)
		}
	}
	patch := map[string]any{}
	if len(tags) > 0 {
		patch["tags"] = tags
	}
	return patch, nil
}
