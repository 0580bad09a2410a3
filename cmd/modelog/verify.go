package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections/runner"
	"github.com/spf13/cobra"
)

// Verification is what verify found.
type Verification struct {
	Events   uint64 `json:"events"`
	Digest   string `json:"digest"`             // of the rebuilt state
	Expected string `json:"expected,omitempty"` // what it was compared with
}

func (a *app) verifyCommand() *cobra.Command {
	var data, expect string
	cmd := &cobra.Command{
		Use: "verify", GroupID: "history", Short: "Rebuild the state from the log alone, and compare digests", Args: cobra.NoArgs,
		Long: `Rebuild the state from the log alone, and compare its digest with the one that
the running registry shows. With --data the log is read from the data directory
of a registry that isn't running; give the digest to compare with --expect. Exits
with 7 when the digests differ.`,
		Example: `  modelog verify
  modelog verify --data /var/lib/modelog --expect 3f1c...`,
	}
	c := a.reader(cmd)
	cmd.Flags().StringVar(&data, "data", "", "data directory of a registry that isn't running")
	cmd.Flags().StringVar(&expect, "expect", "", "digest to compare with, for --data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case data == "" && expect != "":
			return usage("--expect goes with --data; the running registry is compared with its own digest")
		case data != "" && c.asOf != "":
			return usage("--as-of asks the running registry; leave it out with --data")
		}
		verify := func(ctx context.Context) (Verification, error) { return c.verifyServer(ctx) }
		if data != "" {
			verify = func(ctx context.Context) (Verification, error) { return verifyData(ctx, data, expect) }
		}
		v, err := verify(cmd.Context())
		if err != nil {
			return err
		}
		if err := c.print(v, func(w io.Writer) error { return showVerification(w, v) }); err != nil {
			return err
		}
		return v.err()
	}
	return cmd
}

func showVerification(w io.Writer, v Verification) error {
	if v.Expected == "" {
		_, err := fmt.Fprintf(w, "rebuilt: %d events, state digest %s\n", v.Events, v.Digest)
		return err
	}
	if v.Expected != v.Digest {
		return nil // the error says it
	}
	_, err := fmt.Fprintf(w, "verified: %d events, state digest %s equals rebuild\n", v.Events, v.Digest)
	return err
}

func (v Verification) err() error {
	if v.Expected == "" || v.Expected == v.Digest {
		return nil
	}
	return &exitError{handlers.ExitVerify, fmt.Errorf("the state is not what the log gives: its digest is %s, that of the rebuild from %d events is %s; "+
		"stop writing, keep the data directory, and start the registry anew from the log", v.Expected, v.Events, v.Digest)}
}

// verifyServer rebuilds from the events that a running registry shows.
func (c *client) verifyServer(ctx context.Context) (Verification, error) {
	state, err := c.state(ctx, true)
	if err != nil {
		return Verification{}, err
	}
	c.asOf = strconv.FormatUint(state.Sequence, 10) // what comes later is another matter
	run := runner.New(nil)
	err = c.eachEvent(ctx, 0, math.MaxInt, func(_ jsontext.Value, e events.Event) error { return run.Replay(e) })
	if err != nil {
		return Verification{}, err
	}
	run.Publish(state.Sequence)
	digest, err := run.Digest(ctx, state.Sequence)
	return Verification{Events: state.Sequence, Digest: digest, Expected: state.Digest.SHA256}, err
}

// verifyData rebuilds from the log in a data directory.
func verifyData(ctx context.Context, dir, expect string) (v Verification, err error) {
	if _, err := os.Stat(filepath.Join(dir, "jetstream")); err != nil { // opening would make an empty one
		return v, usage("--data: %s holds no registry: %v", dir, err)
	}
	log, err := openLog(ctx, natslog.Config{Dir: dir, Reserve: -1})
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	run := runner.New(log)
	if err := run.CatchUp(ctx, nil); err != nil {
		return v, err
	}
	digest, err := run.Digest(ctx, run.Visible())
	return Verification{Events: run.Visible(), Digest: digest, Expected: expect}, err
}
