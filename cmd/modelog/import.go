package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/modelog/modelog/handlers"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (a *app) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", GroupID: "server", Short: "Bring models along from another registry, or a whole registry from an export",
		Example: `  modelog import mlflow --from http://old-server:5000
  modelog import log registry.ndjson.zst --data /var/lib/modelog`,
	}
	cmd.AddCommand(a.importMLflowCommand(), a.importLogCommand())
	return cmd
}

func (a *app) importMLflowCommand() *cobra.Command {
	var from string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "mlflow --from URL", Short: "Copy models and prompts from a running MLflow server", Args: cobra.NoArgs,
		Long: `Copy models and prompts from a running MLflow server, which is only read: versions
with their numbers, aliases, tags, stages, descriptions, and the times at which
things happened. Files stay where they are. Run it again, after a failure or at any
time: it completes what is missing, and writes nothing twice. What somebody changed
since is reported and left as it is.

Credentials for the old server come from MLFLOW_TRACKING_USERNAME and
MLFLOW_TRACKING_PASSWORD, or from MLFLOW_TRACKING_TOKEN. Exits with 5 when something
couldn't be brought along, with 4 when something is different here.`,
		Example: `  modelog import mlflow --from http://old-server:5000 --dry-run
  modelog import mlflow --from http://old-server:5000 --json > report.json`,
	}
	c := a.newClient(cmd.Flags())
	cmd.Flags().StringVar(&c.actor, "actor", osUser(), "who does it, where the old server doesn't say; the log holds an opaque id only")
	cmd.Flags().StringVar(&from, "from", "", "URL of the MLflow server (required)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "write nothing, and report what would be written")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		source, err := a.newMLflowReader(from)
		if err != nil {
			return err
		}
		im := newImporter(c, source, dryRun)
		if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			im.progress.w = f
		}
		failed := im.run(cmd.Context())
		im.progress.clear()
		if im.writing || failed == nil { // else there is nothing to report
			if err := c.print(im.report, im.report.show); err != nil {
				return errors.Join(failed, err)
			}
		}
		if failed != nil {
			return failed
		}
		return im.report.err()
	}
	return cmd
}

// newMLflowReader takes the address and the credentials of an MLflow server.
func (a *app) newMLflowReader(from string) (*mlflowReader, error) {
	base, err := url.Parse(from)
	switch {
	case from == "":
		return nil, usage("--from is required: the URL of the MLflow server, such as http://old-server:5000")
	case err != nil, base.Host == "", base.Scheme != "http" && base.Scheme != "https":
		return nil, usage("--from is not a URL such as http://old-server:5000")
	case base.User != nil:
		return nil, usage("--from holds credentials, which others could see; put them into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
	case base.RawQuery != "" || base.Fragment != "":
		return nil, usage("--from has a ? or a #; give the address of the server only")
	}
	return &mlflowReader{
		base: strings.ToLower(base.Scheme+"://"+base.Host) + strings.TrimRight(base.EscapedPath(), "/"),
		user: a.getenv("MLFLOW_TRACKING_USERNAME"), password: a.getenv("MLFLOW_TRACKING_PASSWORD"),
		token: a.getenv("MLFLOW_TRACKING_TOKEN"),
	}, nil
}

// importer brings the models of an MLflow server into a registry.
type importer struct {
	client   *client
	source   *mlflowReader
	dryRun   bool
	progress *importProgress
	report   *importReport
	writing  bool // the plan was made, and the report says something

	started uint64                    // the registry's sequence before the first write
	users   map[string]string         // principals by name
	models  []*importedModel          // in the order of their creation
	byName  map[string]*importedModel // in the registry's spelling
}

func newImporter(c *client, source *mlflowReader, dryRun bool) *importer {
	return &importer{
		client: c, source: source, dryRun: dryRun, progress: &importProgress{},
		report: &importReport{From: source.base, To: c.server, DryRun: dryRun},
		users:  map[string]string{}, byName: map[string]*importedModel{},
	}
}

// run reads everything before it writes anything, so that what is wrong with the
// old server is known in time.
func (im *importer) run(ctx context.Context) error {
	state, err := im.client.state(ctx, false)
	if err != nil {
		return err
	}
	im.started, im.report.Sequence = state.Sequence, state.Sequence
	if err := im.readUsers(ctx); err != nil {
		return err
	}
	there, err := im.source.readAll(ctx, func(text string) { im.progress.show("read " + text) })
	if err != nil {
		return err
	}
	steps, err := im.plan(ctx, there)
	if err != nil {
		return err
	}
	im.writing = true
	im.progress.steps = len(steps)
	for i, s := range steps {
		im.progress.step(s.what)
		if err := s.do(ctx); err != nil {
			return im.interrupted(ctx, err, i, len(steps))
		}
	}
	im.report.Complete = true
	return nil
}

func (im *importer) interrupted(ctx context.Context, err error, done, all int) error {
	code := exitCode(err)
	if ctx.Err() != nil {
		err, code = errors.New("interrupted"), handlers.ExitUnavailable
	}
	return &exitError{code, fmt.Errorf("the import stopped after %d of %d steps: %w; run it again to go on, nothing is written twice", done, all, err)}
}
