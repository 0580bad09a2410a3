package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func (a *app) deleteCommand() *cobra.Command {
	var cascade bool
	cmd := &cobra.Command{
		Use: "delete REF", GroupID: "registry", Short: "Delete a version", Args: exactly("REF"),
		Long: `Delete a version. Its number is not used again, and the log keeps all of it.
Refused while it runs somewhere, or has aliases, unless --cascade.`,
		Example: `  modelog delete fraud/7 --cascade --reason "trained on withdrawn data"`,
	}
	c := a.reasoned(cmd)
	cmd.Flags().BoolVar(&cascade, "cascade", false, "let aliases go too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := refPath(args[0])
		if err != nil {
			return err
		}
		return c.remove(cmd, at, cascading(cascade), args[0])
	}
	return cmd
}

func cascading(cascade bool) url.Values {
	if !cascade {
		return url.Values{}
	}
	return url.Values{"cascade": {"true"}}
}

// remove deletes what is at a path.
func (c *client) remove(cmd *cobra.Command, at string, query url.Values, what string) error {
	if c.reason != "" {
		query.Set("reason", c.reason)
	}
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	sequence, err := c.sequenceOf(cmd.Context(), http.MethodDelete, at)
	if err != nil {
		return err
	}
	answer := struct {
		Deleted  string `json:"deleted"`
		Sequence string `json:"sequence"`
	}{what, sequence}
	return c.print(answer, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is deleted, as of sequence %s\n", what, sequence)
		return err
	})
}
