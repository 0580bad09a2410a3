package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

// addShellCommands adds the commands that cobra has for shells. It would add them
// later, with errors that know no exit code.
func addShellCommands(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Example = "  modelog help promote"
		case "completion":
			for _, shell := range cmd.Commands() {
				shell.Example = fmt.Sprintf("  modelog completion %s > modelog.%[1]s", shell.Name())
			}
		}
	}
}

// completionTime is how long the shell waits for a registry's names.
const completionTime = 2 * time.Second

// completed lets a command and those below it complete their arguments from the
// registry: what is completed follows from how the help calls the argument.
func (a *app) completed(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		a.completed(sub)
	}
	if cmd.Run == nil && cmd.RunE == nil || cmd.Flags().Lookup("server") == nil {
		return
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if err := a.flagsFromEnvironment(cmd); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		c := &client{app: a, server: cmd.Flags().Lookup("server").Value.String()}
		if asOf := cmd.Flags().Lookup("as-of"); asOf != nil {
			c.asOf = asOf.Value.String()
		}
		// A shell has no place for an error: then there is nothing to choose from.
		values, directive, _ := c.complete(ctx, argument(cmd, args), args, begun)
		return slices.DeleteFunc(values, func(v string) bool { return !strings.HasPrefix(v, begun) }), directive
	}
}

// argument gives what the help calls the argument that comes after some.
func argument(cmd *cobra.Command, args []string) string {
	switch cmd.Name() {
	case "create": // a name that isn't there yet
		return ""
	case "get", "history", "explain":
		switch {
		case len(args) == 0:
			return "REF"
		case len(args) == 1 && args[0] == "target":
			return "ENVIRONMENT/NAME"
		default:
			return ""
		}
	}
	names := strings.Fields(cmd.Use)[1:]
	if len(args) >= len(names) {
		return ""
	}
	return names[len(args)]
}

func (c *client) complete(ctx context.Context, argument string, args []string, begun string) ([]string, cobra.ShellCompDirective, error) {
	const done, more = cobra.ShellCompDirectiveNoFileComp, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	model, _, whole := strings.Cut(begun, "/")
	switch argument {
	case "MODEL":
		names, err := c.modelNames(ctx, "")
		return names, done, err
	case "REF":
		if !whole {
			names, err := c.modelNames(ctx, "/")
			return names, more, err
		}
		refs, err := c.references(ctx, model)
		return refs, done, err
	case "MODEL@ALIAS":
		if model, _, ok := strings.Cut(begun, "@"); ok {
			m, err := get[api.Model](ctx, c, path("models", model), nil)
			return prefixed(model+"@", slices.Sorted(maps.Keys(m.Aliases))), done, err
		}
		names, err := c.modelNames(ctx, "@")
		return names, more, err
	case "STAGE":
		model, _, _ := strings.Cut(args[0], "/")
		m, err := get[api.Model](ctx, c, path("models", model), nil)
		return m.Lifecycle.Stages, done, err
	case "ENVIRONMENT/NAME":
		all, err := pages(ctx, c, "/v1/targets", 1000, func(l api.TargetList) ([]api.Target, string) { return l.Targets, l.NextCursor })
		names := make([]string, len(all))
		for i, t := range all {
			names[i] = t.Environment + "/" + t.Name
		}
		return names, done, err
	default:
		return nil, done, nil
	}
}

func (c *client) modelNames(ctx context.Context, suffix string) ([]string, error) {
	all, err := pages(ctx, c, "/v1/models", 1000, func(l api.ModelList) ([]api.Model, string) { return l.Models, l.NextCursor })
	names := make([]string, len(all))
	for i, m := range all {
		names[i] = m.Name + suffix
	}
	return names, err
}

// references gives a model's newest versions by number, and latest.
func (c *client) references(ctx context.Context, model string) ([]string, error) {
	all, err := pages(ctx, c, path("models", model, "versions"), 100,
		func(l api.VersionList) ([]api.VersionSummary, string) { return l.Versions, l.NextCursor })
	refs := []string{"latest"}
	for _, v := range all {
		refs = append(refs, fmt.Sprint(v.Version))
	}
	return prefixed(model+"/", refs), err
}

func prefixed(prefix string, all []string) []string {
	for i := range all {
		all[i] = prefix + all[i]
	}
	return all
}
