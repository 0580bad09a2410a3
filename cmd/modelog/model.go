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

func (a *app) modelCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "model", GroupID: "registry", Short: "Register, describe, rename and delete models"}
	cmd.AddCommand(
		a.modelCreateCommand(), a.modelDescribeCommand(), a.modelRenameCommand(), a.modelLifecycleCommand(), a.modelDeleteCommand(),
	)
	return cmd
}

func (a *app) modelCreateCommand() *cobra.Command {
	var spec handlers.ModelSpec
	cmd := &cobra.Command{
		Use: "create MODEL", Short: "Register a model", Args: exactly("MODEL"),
		Example: `  modelog model create fraud --description "Card fraud" --tag team=risk`,
	}
	c := a.writer(cmd)
	cmd.Flags().StringVar(&spec.Description, "description", "", "what the model is for")
	cmd.Flags().Var(pairFlag{&spec.Tags}, "tag", "tag; can be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec.Name = args[0]
		m, err := call[api.Model](cmd.Context(), c, http.MethodPost, "/v1/models", spec)
		if err != nil {
			return err
		}
		return c.print(m, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "registered the model %s at sequence %d\n", m.Name, m.Sequence)
			return err
		})
	}
	return cmd
}

func (a *app) modelDescribeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe MODEL [KEY=VALUE | KEY-]...", Short: "Change a model's description and tags", Args: atLeast("MODEL"),
		Long:    `Change a model's description and tags. KEY=VALUE sets a tag, KEY- removes it.`,
		Example: `  modelog model describe fraud --description "Card fraud" team=risk draft-`,
	}
	c := a.writer(cmd)
	mergePatch := describing(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		patch, err := mergePatch(args[1:])
		if err != nil {
			return err
		}
		m, err := call[api.Model](cmd.Context(), c, http.MethodPatch, path("models", args[0]), patch)
		if err != nil {
			return err
		}
		return c.print(m, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s is described, as of sequence %d\n", m.Name, m.Sequence)
			return err
		})
	}
	return cmd
}

func (a *app) modelRenameCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rename MODEL NAME", Short: "Give a model another name", Args: exactly("MODEL", "NAME"),
		Long: `Give a model another name. It keeps its history, and the old name is free; the
past still knows it under that name.`,
		Example: `  modelog model rename fraud card-fraud --reason "there is another one for transfers"`,
	}
	c := a.reasoned(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := call[api.Model](cmd.Context(), c, http.MethodPost, path("models", args[0], "rename"), handlers.Renaming{To: args[1], Reason: c.reason})
		if err != nil {
			return err
		}
		return c.print(m, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s is called %s, as of sequence %d\n", args[0], m.Name, m.Sequence)
			return err
		})
	}
	return cmd
}

func (a *app) modelLifecycleCommand() *cobra.Command {
	var body struct {
		Stages      []string    `json:"stages"`
		Archive     string      `json:"archive"`
		Transitions [][2]string `json:"transitions,omitempty"`
		Exclusive   []string    `json:"exclusive,omitempty"`
		Reason      string      `json:"reason,omitempty"`
	}
	var transitions []string
	cmd := &cobra.Command{
		Use: "lifecycle MODEL --stages STAGE,STAGE,...", Short: "Give a model a lifecycle of its own", Args: exactly("MODEL"),
		Long: `Give a model a lifecycle of its own: its stages from first to last, the stage that
takes displaced versions, the transitions that are allowed, and the stages that
hold one version only.`,
		Example: `  modelog model lifecycle fraud --stages Draft,Review,Live,Retired --archive Retired \
    --transition Draft:Review --transition Review:Live --transition Live:Retired --exclusive Live`,
	}
	c := a.reasoned(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&body.Stages, "stages", nil, "stages from first to last (required)")
	f.StringVar(&body.Archive, "archive", "", "stage that takes displaced versions; the last one if absent")
	f.StringArrayVar(&transitions, "transition", nil, "transition that is allowed, as FROM:TO; can be repeated; any if absent")
	f.StringSliceVar(&body.Exclusive, "exclusive", nil, "stages that hold one version only")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(body.Stages) == 0 {
			return usage("--stages is missing; see %s --help", cmd.CommandPath())
		}
		if body.Archive == "" {
			body.Archive = body.Stages[len(body.Stages)-1]
		}
		for _, t := range transitions {
			from, to, ok := strings.Cut(t, ":")
			if !ok {
				return usage("--transition: %q is not FROM:TO", t)
			}
			body.Transitions = append(body.Transitions, [2]string{from, to})
		}
		body.Reason = c.reason
		m, err := call[api.Model](cmd.Context(), c, http.MethodPut, path("models", args[0], "lifecycle"), body)
		if err != nil {
			return err
		}
		return c.print(m, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s goes through %s, as of sequence %d\n", m.Name, strings.Join(m.Lifecycle.Stages, ", "), m.Sequence)
			return err
		})
	}
	return cmd
}

func (a *app) modelDeleteCommand() *cobra.Command {
	var cascade bool
	cmd := &cobra.Command{
		Use: "delete MODEL", Short: "Delete a model with all of its versions", Args: exactly("MODEL"),
		Long: `Delete a model with all of its versions, in one event. The log keeps all of it.
Refused while a version runs somewhere, or has aliases, unless --cascade.`,
		Example: `  modelog model delete fraud --cascade --reason "replaced by card-fraud"`,
	}
	c := a.reasoned(cmd)
	cmd.Flags().BoolVar(&cascade, "cascade", false, "let aliases go too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.remove(cmd, path("models", args[0]), cascading(cascade), args[0])
	}
	return cmd
}

// atLeast takes the arguments that are named, and more.
func atLeast(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return exactly(names...)(cmd, args[:min(len(args), len(names))])
	}
}

// exactly takes the arguments that are named, and names what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usage("%s is missing; see %s --help", names[len(args)], cmd.CommandPath())
		}
		if len(args) > len(names) {
			return usage("%q is too much; see %s --help", args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}
