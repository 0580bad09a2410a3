package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/spf13/cobra"
)

func (a *app) importLogCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "log FILE", Short: "Make a registry of an export", Args: exactly("FILE"),
		Long: `Make a registry of what modelog export wrote, in a data directory that has none: with
the same sequences, ids, hashes and state digest. An export that was cut off or edited
is refused with the line, and nothing is left behind; so is a directory that holds a
registry.

The directory of principals is no part of an export: events keep the ids of who acted,
and the names behind them stay in the registry that was exported.`,
		Example: `  modelog import log registry.ndjson.zst --data /var/lib/modelog && modelog serve --data /var/lib/modelog`,
	}
	c := &client{app: a}
	cmd.Flags().StringVar(&data, "data", a.dataDirectory(), "data directory to make the registry in; it must hold none")
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print the answer as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := a.importLog(cmd.Context(), args[0], data)
		if err != nil {
			return err
		}
		return c.print(m, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "imported into %s: %d events, state digest %s %s\n", data, m.Events, m.Digest, m.compared())
			return err
		})
	}
	return cmd
}

// compared says what was done with the digest of the manifest.
func (m *exportManifest) compared() string {
	if m.Fold != projections.FoldVersion {
		return "(the export has one of another fold, which can't be compared)"
	}
	return "equals the export's"
}

// importLog makes a registry of an export. What it gives has the digest of the
// registry.
func (a *app) importLog(ctx context.Context, name, data string) (*exportManifest, error) {
	if err := mustBeUninitialised(data); err != nil {
		return nil, err
	}
	x, err := openExportFile(name)
	if err != nil {
		return nil, err
	}
	defer x.close()
	fresh, err := newFreshRegistry(ctx, data)
	if err != nil {
		return nil, importError(ctx, err)
	}
	progress := a.newProgress("import", x.size)
	defer progress.clear()
	err = x.each(ctx, func(e events.Event, encoded events.Encoded) error {
		progress.at(x.consumed.Load())
		return atLine(e.Sequence, fresh.add(ctx, e, encoded))
	})
	if err == nil {
		var v runner.Verdict
		if v, err = fresh.finish(ctx); err == nil {
			err = x.check(v)
		}
	}
	if err != nil {
		return nil, errors.Join(importError(ctx, err), fresh.discard())
	}
	return x.manifest, fresh.install(ctx)
}

// check compares what the events of an export give with its manifest, which then has
// the digest of this release's fold.
func (x *exportFile) check(v runner.Verdict) error {
	m := x.manifest
	if m.Registry != x.registry.String() {
		return badLine(m.Events+1, "the manifest is of registry %s, the events are of %s", m.Registry, x.registry)
	}
	if m.Fold == projections.FoldVersion && m.Digest != v.Digest {
		return badLine(m.Events+1, "the manifest has the state digest %s; the events give %s: "+
			"it was edited, or the registry that wrote it served a state that its log doesn't give", m.Digest, v.Digest)
	}
	m.Digest = v.Digest
	return nil
}

// atLine names the line of an event that can't be taken.
func atLine(line uint64, err error) error {
	_, folded := errors.AsType[*runner.FoldError](err)
	if folded || errors.Is(err, runner.ErrForeignLog) || errors.Is(err, runner.ErrLevel) || errors.Is(err, events.ErrBadGroup) {
		return badLine(line, "%v", err)
	}
	return err
}

// importError gives the exit code of an import that failed: a bad export is bad input.
func importError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &exitError{handlers.ExitUnavailable, errors.New("the import was interrupted, and nothing is left of it")}
	}
	if _, ok := errors.AsType[*lineError](err); ok {
		return &exitError{handlers.ExitInvalid, fmt.Errorf("%w; nothing was imported", err)}
	}
	return err
}
