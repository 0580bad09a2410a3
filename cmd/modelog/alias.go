package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) aliasCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "alias", GroupID: "registry", Short: "Point aliases at versions"}
	cmd.AddCommand(a.aliasSetCommand(), a.aliasRemoveCommand())
	return cmd
}

func (a *app) aliasSetCommand() *cobra.Command {
	var ifVersion uint64
	cmd := &cobra.Command{
		Use: "set REF ALIAS", Short: "Point an alias at a version", Args: exactly("REF", "ALIAS"),
		Example: `  modelog alias set fraud/8 champion --if-version 7`,
	}
	c := a.reasoned(cmd)
	cmd.Flags().Uint64Var(&ifVersion, "if-version", 0, "only if the alias points at this version now; 0: only if there is no such alias")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		model, version, err := c.number(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		body := handlers.Assignment{Version: version, Reason: c.reason}
		if cmd.Flags().Changed("if-version") {
			body.IfVersion = &ifVersion
		}
		alias, err := call[api.Alias](cmd.Context(), c, http.MethodPut, path("models", model, "aliases", args[1]), body)
		if err != nil {
			return err
		}
		return c.print(alias, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s@%s points at %d, as of sequence %d\n", alias.Model, alias.Alias, alias.Version, alias.Sequence)
			return err
		})
	}
	return cmd
}

func (a *app) aliasRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm MODEL@ALIAS", Short: "Remove an alias", Args: exactly("MODEL@ALIAS"),
		Example: `  modelog alias rm fraud@challenger`,
	}
	c := a.reasoned(cmd)
	var ifVersion uint64
	cmd.Flags().Uint64Var(&ifVersion, "if-version", 0, "only if the alias points at this version now")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		model, ref, err := handlers.SplitReference("MODEL@ALIAS", args[0])
		alias, ok := strings.CutPrefix(ref, "@")
		if err != nil || !ok {
			return usage("%q is not an alias such as fraud@challenger", args[0])
		}
		query := url.Values{}
		if cmd.Flags().Changed("if-version") {
			query.Set("if_version", strconv.FormatUint(ifVersion, 10))
		}
		return c.remove(cmd, path("models", model, "aliases", alias), query, args[0])
	}
	return cmd
}

// number resolves a whole reference to a model and a version number.
func (c *client) number(ctx context.Context, whole string) (model string, version int, err error) {
	model, ref, err := handlers.SplitReference("REF", whole)
	if err != nil {
		return "", 0, err
	}
	v, err := get[api.Version](ctx, c, path("models", model, "versions", ref), nil)
	return v.Model, v.Version, err
}
