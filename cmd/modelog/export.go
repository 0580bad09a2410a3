package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/spf13/cobra"
)

func (a *app) exportCommand() *cobra.Command {
	var data, until string
	cmd := &cobra.Command{
		Use: "export [FILE]", GroupID: "history", Short: "Write the log to a file, for import or for keeping", Args: cobra.MaximumNArgs(1),
		Long: `Write the log to a file, from the first event to the last or to --until: each event a
structured CloudEvent on a line of its own, and a last line with a manifest, which has
the digest of the state that the events give. modelog import log makes a registry of
it with the same sequences, ids, hashes and digest; modelog verify --export checks it.
A name that ends in .zst is compressed. Without FILE, or with -, the export goes to the
standard output.

It is taken from the registry that runs, which goes on meanwhile, or with --data from
the data directory of one that doesn't. The directory of principals, who knows the names
behind their ids, is no part of the log and isn't exported.`,
		Example: `  modelog export registry.ndjson.zst
  modelog export registry.ndjson --until 2026-11-01T00:00:00Z
  modelog export --data /var/lib/modelog > registry.ndjson`,
	}
	c := a.newClient(cmd.Flags())
	cmd.Flags().StringVar(&data, "data", "", "data directory of a registry that isn't running")
	cmd.Flags().StringVar(&until, "until", "", "the last event: a sequence, or a time such as 2026-11-01T00:00:00Z")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		source, err := a.exportSource(cmd.Context(), c, data, until)
		if err != nil {
			return err
		}
		m, err := a.export(cmd.Context(), source, strings.Join(args, ""))
		if err = errors.Join(err, source.close()); err != nil {
			return err
		}
		if len(args) == 0 || args[0] == "-" {
			_, err := fmt.Fprintf(a.stderr, "exported: %d events, state digest %s\n", m.Events, m.Digest)
			return err
		}
		return c.print(m, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "exported to %s: %d events, state digest %s\n", args[0], m.Events, m.Digest)
			return err
		})
	}
	return cmd
}

// exportSource is where the events of an export come from.
type exportSource struct {
	until  uint64                                                       // the last event
	each   func(ctx context.Context, do func(events.Event) error) error // up to that
	digest func(ctx context.Context) (string, error)                    // of the state as of that
	close  func() error
}

func (a *app) exportSource(ctx context.Context, c *client, data, until string) (*exportSource, error) {
	if data != "" {
		return dataSource(ctx, data, until)
	}
	return c.exportSource(ctx, until)
}

// exportSource takes the events from a running registry, as of one sequence.
func (c *client) exportSource(ctx context.Context, until string) (*exportSource, error) {
	c.asOf = until
	state, err := c.state(ctx, false)
	if err != nil {
		return nil, flagOfMoment("--until", err)
	}
	if state.Sequence == 0 {
		return nil, usage("--until: no event was recorded at or before %s", until)
	}
	c.asOf = strconv.FormatUint(state.Sequence, 10) // what comes later is another matter
	return &exportSource{
		until: state.Sequence,
		each: func(ctx context.Context, do func(events.Event) error) error {
			return c.eachEvent(ctx, 0, math.MaxInt, func(_ jsontext.Value, e events.Event) error { return do(e) })
		},
		digest: func(ctx context.Context) (string, error) {
			state, err := c.state(ctx, true)
			if err != nil {
				return "", err
			}
			return state.Digest.SHA256, nil
		},
		close: func() error { return nil },
	}, nil
}

// flagOfMoment names the flag that an as_of came from.
func flagOfMoment(flag string, err error) error {
	if p, ok := errors.AsType[*problemError](err); ok && len(p.Errors) == 1 && p.Errors[0].Pointer == "as_of" {
		return usage("%s: %s", flag, p.Errors[0].Detail)
	}
	return err
}

// dataSource takes the events from the log in a data directory.
func dataSource(ctx context.Context, data, until string) (*exportSource, error) {
	log, last, err := openData(ctx, data)
	if err != nil {
		return nil, err
	}
	s := &exportSource{until: last, close: log.Close}
	if until != "" {
		if s.until, err = sequenceIn(ctx, log, last, until); err != nil {
			return nil, errors.Join(err, log.Close())
		}
	}
	rebuild := runner.NewRebuild(nil, 0)
	s.each = func(ctx context.Context, do func(events.Event) error) error {
		for stored, err := range log.Read(ctx, 1, s.until) {
			if err != nil {
				return err
			}
			e, err := events.Decode(stored)
			if err == nil {
				err = rebuild.Add(ctx, e)
			}
			if err == nil {
				err = do(e)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	s.digest = func(ctx context.Context) (string, error) {
		v, err := rebuild.Finish(ctx)
		return v.Digest, err
	}
	return s, nil
}

// openData opens the log of a registry that isn't running, and gives its last
// sequence.
func openData(ctx context.Context, data string) (*natslog.Log, uint64, error) {
	if _, err := os.Stat(filepath.Join(data, dataLog)); err != nil { // opening would make an empty one
		return nil, 0, usage("--data: %s holds no registry: %v", data, err)
	}
	log, err := openLog(ctx, natslog.Config{Dir: data, Reserve: -1})
	if err != nil {
		return nil, 0, err
	}
	last, err := log.Last(ctx)
	if err == nil && last == 0 {
		err = usage("--data: the log in %s has no event", data)
	}
	if err != nil {
		return nil, 0, errors.Join(err, log.Close())
	}
	return log, last, nil
}

// sequenceIn gives the sequence that a moment, or a sequence, resolves to on a log:
// that of the last event recorded at or before it.
func sequenceIn(ctx context.Context, log events.Log, last uint64, until string) (uint64, error) {
	if sequence, err := strconv.ParseUint(until, 10, 64); err == nil {
		if sequence == 0 || sequence > last {
			return 0, usage("--until: %d is not one of the events 1 to %d", sequence, last)
		}
		return sequence, nil
	}
	moment, err := parseMoment("--until", until)
	if err != nil {
		return 0, err
	}
	low, high := uint64(0), last // the event low is not after the moment, high+1 is
	for low < high {
		middle := low + (high-low+1)/2
		stored, err := log.Get(ctx, middle)
		if err != nil {
			return 0, err
		}
		e, err := events.Decode(stored)
		if err != nil {
			return 0, err
		}
		if e.Time.After(moment) {
			high = middle - 1
		} else {
			low = middle
		}
	}
	if low == 0 {
		return 0, usage("--until: no event was recorded at or before %s", until)
	}
	return low, nil
}

// export writes an export to a file, - or nothing for the standard output.
func (a *app) export(ctx context.Context, source *exportSource, name string) (*exportManifest, error) {
	if name == "" || name == "-" {
		return a.writeExport(ctx, source, a.stdout, false)
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil, &exitError{handlers.ExitConflict, fmt.Errorf("%s exists already, and is left as it is; name another file", name)}
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".unfinished-*")
	if err != nil {
		return nil, usage("the export can't be written: %v", err)
	}
	m, err := a.writeExport(ctx, source, f, strings.HasSuffix(name, ".zst"))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return m, syncDirectory(filepath.Dir(name))
}

func (a *app) writeExport(ctx context.Context, source *exportSource, w io.Writer, compress bool) (*exportManifest, error) {
	out, err := newExportWriter(w, compress)
	if err != nil {
		return nil, err
	}
	m := &exportManifest{Fold: projections.FoldVersion}
	progress := a.newProgress("export", source.until)
	defer progress.clear()
	err = source.each(ctx, func(e events.Event) error {
		if e.Sequence != out.count+1 {
			return fmt.Errorf("export: %w: event %d comes where %d should", events.ErrMissing, e.Sequence, out.count+1)
		}
		m.Registry = e.Registry.String()
		progress.at(e.Sequence)
		return out.event(e)
	})
	if err == nil && out.count != source.until {
		err = fmt.Errorf("export: %w: there are %d events instead of %d", events.ErrMissing, out.count, source.until)
	}
	if err == nil {
		m.Digest, err = source.digest(ctx)
	}
	if err == nil {
		err = out.finish(m)
	}
	return m, err
}
