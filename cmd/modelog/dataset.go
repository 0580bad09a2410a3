package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/spf13/cobra"
)

func (a *app) datasetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dataset", GroupID: "history", Short: "List data sets, and withdraw those that must not be used",
		Long: `List the data sets that anything speaks of, and withdraw those that must not be
used any more. What was made from withdrawn data is not promoted or deployed
without --force and a reason; modelog lineage impact shows what that is.`,
	}
	cmd.AddCommand(a.datasetListCommand(), a.datasetWithdrawCommand(), a.datasetReinstateCommand())
	return cmd
}

func (a *app) datasetListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the data sets that anything speaks of", Args: cobra.NoArgs,
		Example: `  modelog dataset list
  modelog dataset list --as-of 2026-11-01T00:00:00Z`,
	}
	c := a.reader(cmd)
	limitFlag(cmd, &limit)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := pages(cmd.Context(), c, "/v1/datasets", limit, func(l api.DatasetList) ([]api.Dataset, string) { return l.Datasets, l.NextCursor })
		if err != nil {
			return err
		}
		return c.print(all, func(w io.Writer) error { return showDatasets(w, all) })
	}
	return cmd
}

func showDatasets(w io.Writer, all []api.Dataset) error {
	table := [][]string{{"NAMESPACE", "NAME", "VERSIONS", "WITHDRAWN"}}
	for _, d := range all {
		versions := fmt.Sprint(len(d.Versions))
		if d.MoreVersions {
			versions += "+"
		}
		table = append(table, []string{shown(d.Namespace), shown(d.Name), versions, withdrawnText(d)})
	}
	return rows(w, table)
}

func withdrawnText(d api.Dataset) string {
	switch {
	case d.Withdrawn != nil && d.Withdrawn.Reason != "":
		return "since " + d.Withdrawn.Since + ": " + shown(d.Withdrawn.Reason)
	case d.Withdrawn != nil:
		return "since " + d.Withdrawn.Since
	case len(d.WithdrawnVersions) == 1:
		return "1 version"
	case len(d.WithdrawnVersions) > 1:
		return fmt.Sprintf("%d versions", len(d.WithdrawnVersions))
	default:
		return ""
	}
}

func (a *app) datasetWithdrawCommand() *cobra.Command {
	return a.datasetChangeCommand(&cobra.Command{
		Use: "withdraw NAME", Short: "Say that a data set, or a version of it, must not be used any more",
		Long: `Say that a data set, or a version of it, must not be used any more. Without
--version and --digest all versions are withdrawn.`,
		Example: `  modelog dataset withdraw payments --namespace s3://lake --reason "no consent"
  modelog dataset withdraw payments --digest sha256:9f86d081 --reason "leaked labels"`,
	}, "/v1/datasets/withdraw", "is withdrawn")
}

func (a *app) datasetReinstateCommand() *cobra.Command {
	return a.datasetChangeCommand(&cobra.Command{
		Use: "reinstate NAME", Short: "Take the withdrawal of a data set back",
		Long:    `Take a withdrawal back: that of the very same data set and version.`,
		Example: `  modelog dataset reinstate payments --namespace s3://lake --reason "consent found"`,
	}, "/v1/datasets/reinstate", "may be used again")
}

func (a *app) datasetChangeCommand(cmd *cobra.Command, at, became string) *cobra.Command {
	var d handlers.DatasetChange
	cmd.Args = exactly("NAME")
	c := a.reasoned(cmd)
	cmd.Flags().StringVar(&d.Namespace, "namespace", "", "where it is, such as s3://lake, as OpenLineage has it; data sets of registrations have none")
	cmd.Flags().StringVar(&d.Version, "version", "", "one version only, as whoever keeps the data calls it")
	cmd.Flags().StringVar(&d.Digest, "digest", "", "only what has this digest, such as sha256:9f86d081...")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d.Name, d.Reason = args[0], c.reason
		answer, err := call[api.Dataset](cmd.Context(), c, http.MethodPost, at, d)
		if err != nil {
			return err
		}
		return c.print(answer, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s %s\n", shown(changedDataset(d)), became)
			return err
		})
	}
	return cmd
}

func changedDataset(d handlers.DatasetChange) string {
	s := d.Name
	if d.Namespace != "" {
		s = d.Namespace + " " + s
	}
	if d.Version != "" {
		s += ", version " + d.Version + ","
	}
	if d.Digest != "" {
		s += ", digest " + d.Digest + ","
	}
	return s
}
