package main

import (
	"net/http"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) promoteCommand() *cobra.Command {
	var body handlers.Promotion
	cmd := &cobra.Command{
		Use: "promote REF STAGE", GroupID: "registry", Short: "Move a version to another stage", Args: exactly("REF", "STAGE"),
		Long: `Move a version to another stage: forward, back, or to the archive. With
--archive-existing the versions that are in the stage go to the archive in the
same event.`,
		Example: `  modelog promote fraud/8 Production --archive-existing --reason "AUC +0.02"`,
	}
	c := a.reasoned(cmd)
	cmd.Flags().BoolVar(&body.Force, "force", false, "although a rule speaks against it; needs a --reason")
	cmd.Flags().BoolVar(&body.ArchiveExisting, "archive-existing", false, "archive the versions that are in the stage")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := refPath(args[0], "promote")
		if err != nil {
			return err
		}
		body.To, body.Reason = args[1], c.reason
		v, err := call[api.Version](cmd.Context(), c, http.MethodPost, at, body)
		if err != nil {
			return err
		}
		return c.printVersion(v, "is in "+v.Stage)
	}
	return cmd
}
