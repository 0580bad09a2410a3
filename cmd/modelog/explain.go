package main

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain MODEL | REF | target ENVIRONMENT/NAME", GroupID: "history",
		Short: "Show, for each field, the event that set it",
		Example: `  modelog explain fraud/8
  modelog explain fraud --as-of 4711
  modelog explain target prod/scorer`,
	}
	c := a.reader(cmd)
	cmd.Args = oneThing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e, err := c.explanation(cmd.Context(), args)
		if err != nil {
			return err
		}
		return c.print(e, func(w io.Writer) error {
			table := [][]string{{"FIELD", "VALUE", "EVENT", "RECORDED", "ACTOR", "ACTION", "WHY"}}
			for _, f := range e.Fields {
				table = append(table, []string{
					f.Field, api.SpellValue(f.Field, f.Value), strconv.FormatUint(f.Sequence, 10), f.RecordedAt, f.Actor.String(), f.Action, api.SpellText(f.Reason),
				})
			}
			return rows(w, table)
		})
	}
	return cmd
}

func (c *client) explanation(ctx context.Context, args []string) (api.Explanation, error) {
	at, err := path("models", args[0], "explain"), error(nil)
	switch {
	case len(args) == 2:
		at, err = targetPath(args[1], "explain")
	case strings.ContainsAny(args[0], "/@"):
		at, err = refPath(args[0], "explain")
	}
	if err != nil {
		return api.Explanation{}, err
	}
	return get[api.Explanation](ctx, c, at, nil)
}
