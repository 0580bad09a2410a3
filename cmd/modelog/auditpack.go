package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/seal"
	"github.com/modelog/modelog/handlers/seal/pack"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
)

// packConfig is what the flags of audit pack say.
type packConfig struct {
	model, from, to string
	output, since   string
	tiles           bool
}

func (a *app) auditPackCommand() *cobra.Command {
	var cfg packConfig
	cmd := &cobra.Command{
		Use: "pack", Short: "Write an archive that proves events to somebody who doesn't trust the registry", Args: cobra.NoArgs,
		Long: `Write an archive that proves events to somebody who doesn't trust the registry:
the events of a model, or all, of a part of the log, with the proof of each, the
record of every event in that part, so that none can be left out, the signed head
of the log's tree, the public key, and a page that says how to check all of it with
public tools. What the registry serves is checked on the way: exits with 7 if it
isn't what the registry has signed.

--since-checkpoint takes an older head, which an auditor has kept, and adds the
proof that the log was only added to since then.`,
		Example: `  modelog audit pack --model fraud --output fraud.tar.gz
  modelog audit pack --from 2026-01-01T00:00:00Z --to 2026-12-31T23:59:59Z --output 2026.tar.gz --since-checkpoint 2025.checkpoint`,
	}
	c := a.newClient(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&cfg.model, "model", "", "name or id of the model whose events to prove (default all)")
	f.StringVar(&cfg.from, "from", "1", "first event: a sequence, or a time")
	f.StringVar(&cfg.to, "to", "", "last event: a sequence, or a time (default the newest)")
	f.StringVarP(&cfg.output, "output", "o", "", "file to write, which must not be there")
	f.StringVar(&cfg.since, "since-checkpoint", "", "file with an older signed head that the log must continue")
	f.BoolVar(&cfg.tiles, "tiles", false, "put the whole tree in, for tools that check it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.writePack(cmd.Context(), cfg) }
	return cmd
}

func (a *app) auditTilesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tiles DIR", Short: "Write the tree over the log into a directory, as tools for transparency logs read it", Args: cobra.ExactArgs(1),
		Long: `Write the tree over the log into a directory that isn't there yet: the newest signed
head, all tiles and all bundles of records, as C2SP tlog-tiles lays them out, and
the public key in verifier.key. It is checked when it is written: exits with 7 if
it isn't what the registry has signed.`,
		Example: `  modelog audit tiles registry-2026-11 && modelog audit check registry-2026-11`,
	}
	c := a.newClient(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return c.writeTiles(cmd.Context(), args[0]) }
	return cmd
}

func (c *client) writePack(ctx context.Context, cfg packConfig) error {
	if cfg.output == "" {
		return usage("--output: name the file to write")
	}
	options := pack.Options{Tiles: cfg.tiles, Model: cfg.model}
	var err error
	if cfg.since != "" {
		if options.Since, err = os.ReadFile(cfg.since); err != nil {
			return usage("--since-checkpoint: %v", err)
		}
	}
	if options.From, options.To, err = c.partOfLog(ctx, cfg.from, cfg.to); err != nil {
		return err
	}
	if cfg.model != "" {
		if options.ModelID, err = c.modelID(ctx, cfg.model); err != nil {
			return err
		}
	}
	source, err := c.packSource(ctx, options.To)
	if err != nil {
		return err
	}
	manifest, err := writeNewFile(cfg.output, func(w io.Writer) (pack.Manifest, error) { return pack.Write(ctx, w, source, options) })
	if err != nil {
		return findingError(err)
	}
	return c.print(manifest, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "wrote %s: %s and %s of %d to %d, under a head of %d\n", cfg.output,
			countOf(manifest.Events, "event"), countOf(manifest.Records, "record"), manifest.From, manifest.To, manifest.Size)
		return err
	})
}

func (c *client) writeTiles(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return usage("%s is there already; name another directory", dir)
	}
	source, err := c.packSource(ctx, 1)
	if err != nil {
		return err
	}
	size, err := pack.WriteTree(ctx, dir, source)
	if err != nil {
		return findingError(err)
	}
	report := struct {
		Directory string `json:"directory"`
		Size      uint64 `json:"size"`
	}{dir, size}
	return c.print(report, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "wrote the tree over %d events to %s\n", size, dir)
		return err
	})
}

// writeNewFile writes a file that isn't there yet, and leaves none behind if that
// fails.
func writeNewFile[A any](path string, write func(io.Writer) (A, error)) (result A, err error) {
	if _, err := os.Stat(path); err == nil {
		return result, usage("--output: %s is there already; name another file", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return result, usage("--output: %v", err)
	}
	result, err = write(f)
	if err = errors.Join(err, f.Close()); err == nil {
		err = errors.Join(os.Chmod(f.Name(), 0o644), os.Rename(f.Name(), path))
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return result, err
}

// findingError gives what isn't as it was signed the exit code of a failed
// verification.
func findingError(err error) error {
	if _, ok := errors.AsType[pack.FindingError](err); ok {
		return &exitError{handlers.ExitVerify, err}
	}
	return err
}

// partOfLog resolves two ends, each a sequence or a time.
func (c *client) partOfLog(ctx context.Context, from, to string) (first, last uint64, err error) {
	if last, err = c.sequenceAt(ctx, to); err != nil {
		return 0, 0, err
	}
	if first, err = strconv.ParseUint(from, 10, 63); err != nil {
		moment, failed := time.Parse(time.RFC3339, from)
		if failed != nil {
			return 0, 0, usage("--from: %q is neither a sequence nor a time such as 2026-11-24T02:10:00Z", from)
		}
		before, err := c.sequenceAt(ctx, events.FormatTime(moment.Add(-time.Millisecond)))
		if err != nil {
			return 0, 0, err
		}
		first = before + 1
	}
	if first == 0 || last < first {
		return 0, 0, usage("--from and --to: there is no event from %s to %s", from, to)
	}
	return first, last, nil
}

// sequenceAt gives the sequence that a moment resolves to, the newest if it is
// empty.
func (c *client) sequenceAt(ctx context.Context, moment string) (uint64, error) {
	at := *c
	at.asOf = moment
	state, err := at.state(ctx, false)
	return state.Sequence, err
}

// modelID finds a model that is there by its name, and takes an id as it is.
func (c *client) modelID(ctx context.Context, model string) (string, error) {
	m, err := get[api.Model](ctx, c, path("models", model), nil)
	if err == nil {
		return m.ID, nil
	}
	if _, failed := ulid.ParseStrict(model); failed == nil && hasCode(err, handlers.CodeModelNotFound) {
		return model, nil
	}
	return "", err
}

// sealWait is how long a pack waits until the log is sealed far enough.
const sealWait = 15 * time.Second

// packSource makes packs of what the registry serves, under its newest head, which
// covers a sequence.
func (c *client) packSource(ctx context.Context, covers uint64) (pack.Source, error) {
	keys, err := get[api.SigningKeyList](ctx, c, "/v1/log/keys", nil)
	if err != nil {
		return pack.Source{}, err
	}
	state, err := c.state(ctx, false)
	if err != nil {
		return pack.Source{}, err
	}
	s := pack.Source{Registry: state.RegistryID, Events: c.eventsOf, Tile: func(ctx context.Context, path string) ([]byte, error) {
		return c.send(ctx, http.MethodGet, "/log/"+path, nil)
	}}
	for _, k := range keys.Keys {
		s.Keys, s.KeyChanges = append(s.Keys, k.VerifierKey), append(s.KeyChanges, k.Sequence)
	}
	s.Checkpoint, err = c.checkpointOf(ctx, covers, keys)
	return s, err
}

// checkpointOf waits for a head that covers a sequence.
func (c *client) checkpointOf(ctx context.Context, covers uint64, keys api.SigningKeyList) ([]byte, error) {
	verifiers := make([]string, len(keys.Keys))
	for i, k := range keys.Keys {
		verifiers[i] = k.VerifierKey
	}
	for end := time.Now().Add(sealWait); ; {
		data, err := c.send(ctx, http.MethodGet, "/log/checkpoint", nil)
		if err == nil {
			head, err := seal.OpenCheckpoint(data, keys.Origin, verifiers...)
			if err != nil {
				return nil, &exitError{handlers.ExitVerify, err}
			}
			if uint64(head.Tree.N) >= covers {
				return data, nil
			}
			err = &exitError{handlers.ExitUnavailable, fmt.Errorf("the newest signed head covers the log up to %d, not %d; ask again later", head.Tree.N, covers)}
			if time.Now().After(end) {
				return nil, err
			}
		} else if !hasCode(err, handlers.CodeNotSealed) || time.Now().After(end) {
			return nil, err
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// eventsOf reads a part of the log, page by page.
func (c *client) eventsOf(ctx context.Context, from, to uint64) iter.Seq2[jsontext.Value, error] {
	return func(yield func(jsontext.Value, error) bool) {
		for from <= to {
			limit := min(to-from+1, 1000)
			page, err := get[api.EventList](ctx, c, "/v1/events", url.Values{
				"after": {strconv.FormatUint(from-1, 10)}, "limit": {strconv.FormatUint(limit, 10)},
			})
			if err == nil && len(page.Events) == 0 {
				err = fmt.Errorf("the registry has no event %d", from)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range page.Events {
				if !yield(e, nil) {
					return
				}
			}
			from += uint64(len(page.Events))
		}
	}
}
