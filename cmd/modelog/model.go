package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) modelCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "model", GroupID: "registry", Short: "Register models"}
	cmd.AddCommand(a.modelCreateCommand())
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
