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
	var description string
	cmd := &cobra.Command{
		Use: "tag REF [KEY=VALUE | KEY-]...", GroupID: "registry", Short: "Change a version's tags and description", Args: atLeast("REF"),
		Long:    `Change a version's tags and description. KEY=VALUE sets a tag, KEY- removes it.`,
		Example: `  modelog tag fraud/8 reviewed=yes draft-`,
	}
	c := a.writer(cmd)
	cmd.Flags().StringVar(&description, "description", "", "the new description; empty removes it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		patch, err := tagPatch(args[1:])
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("description") {
			patch["description"] = description
		}
		return c.patchVersion(cmd, args[0], patch)
	}
	return cmd
}

func (c *client) patchVersion(cmd *cobra.Command, whole string, patch map[string]any) error {
	model, ref, err := handlers.SplitReference("REF", whole)
	if err != nil {
		return err
	}
	v, err := call[api.Version](cmd.Context(), c, http.MethodPatch, path("models", model, "versions", ref), patch)
	if err != nil {
		return err
	}
	return c.printVersion(v, "is described")
}

// changeVersion posts to what is below a version.
func (c *client) changeVersion(cmd *cobra.Command, whole, action string, body any, done string) error {
	model, ref, err := handlers.SplitReference("REF", whole)
	if err != nil {
		return err
	}
	v, err := call[api.Version](cmd.Context(), c, http.MethodPost, path("models", model, "versions", ref, action), body)
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

// tagPatch makes a merge patch of arguments: KEY=VALUE sets, KEY- removes.
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
