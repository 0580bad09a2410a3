package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) principalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "principal", GroupID: "history", Short: "List who acts on the registry, and erase names",
		Long: `List who acts on the registry, and erase names. Events hold opaque ids only; the
directory, which isn't part of the log, says whose they are.`,
	}
	cmd.AddCommand(a.principalListCommand(), a.principalEraseCommand())
	return cmd
}

func (a *app) principalListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List who acts on the registry, by name", Args: cobra.NoArgs,
		Example: `  modelog principal list`,
	}
	c := a.newClient(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := call[api.PrincipalList](cmd.Context(), c, http.MethodGet, "/v1/principals", nil)
		if err != nil {
			return err
		}
		return c.print(l.Principals, func(w io.Writer) error {
			table := [][]string{{"ID", "NAME", "SINCE"}}
			for _, p := range l.Principals {
				table = append(table, []string{p.ID, p.Name, p.CreatedAt})
			}
			return rows(w, table)
		})
	}
	return cmd
}

func (a *app) principalEraseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "erase NAME | ID", Short: "Erase who somebody is", Args: exactly("NAME or ID"),
		Long: `Erase who somebody is, for good: the name is overwritten in the server's files.
Events keep the opaque id. Backups keep what they have. Should the name act
again, it gets another id.`,
		Example: `  modelog principal erase anna`,
	}
	c := a.newClient(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		erased, err := call[api.Erased](cmd.Context(), c, http.MethodDelete, path("principals", args[0]), nil)
		if err != nil {
			return err
		}
		return c.print(erased, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s is erased; its events keep the id %s\n", args[0], erased.ID)
			return err
		})
	}
	return cmd
}
