package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/modelog/modelog/handlers/seal/pack"
	"github.com/spf13/cobra"
)

func (a *app) auditCheckCommand() *cobra.Command {
	var key string
	c := &client{app: a}
	cmd := &cobra.Command{
		Use: "check PACK", Short: "Check an audit pack, or an exported tree, without any server", Args: cobra.ExactArgs(1),
		Long: `Check an audit pack, or the directory of an exported tree, with nothing but itself
and the public key that you give. Exits with 7 and names the file, and the line, of
the first thing that is wrong. Without --key it is checked with its own key, which
whoever made it chose: compare that with one that you know.`,
		Example: `  modelog audit check fraud.tar.gz --key "$(cat verifier.key)"`,
	}
	cmd.Flags().StringVar(&key, "key", "", "the registry's public key, as verifier.key has it")
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print the answer as JSON")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		report, err := checkPack(args[0], key)
		if err != nil {
			return err
		}
		return c.print(report, func(w io.Writer) error { return showReport(w, args[0], report) })
	}
	return cmd
}

func checkPack(path, key string) (report pack.Report, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return report, usage("%v", err)
	}
	if info.IsDir() {
		report, err = pack.CheckTree(os.DirFS(path), key)
		return report, findingError(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return report, usage("%v", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	report, err = pack.Check(f, key)
	return report, findingError(err)
}

func showReport(w io.Writer, path string, r pack.Report) error {
	what := fmt.Sprintf("%s and %s", countOf(r.Events, "event"), countOf(r.Records, "record"))
	if r.Events == 0 {
		what = countOf(r.Records, "record")
	}
	_, err := fmt.Fprintf(w, "%s is whole: %s of registry %s, under a signed head of %d\n", path, what, r.Registry, r.Size)
	if err == nil && !r.KeyGiven {
		_, err = fmt.Fprintf(w, "checked with its own key: compare it with one that you know, or give that with --key\n  %s\n", r.VerifierKey)
	}
	return err
}
