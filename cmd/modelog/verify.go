package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/seal"
	"github.com/modelog/modelog/handlers/verify"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/spf13/cobra"
)

// Verification is what verify found.
type Verification struct {
	Events   uint64 `json:"events"`             // that were rebuilt from
	Digest   string `json:"digest"`             // of the rebuilt state, at the end or where the two part
	Expected string `json:"expected,omitempty"` // what it was compared with, if anything
	// Compared is the sequence that Expected is as of, unless it is that of the last
	// event: a snapshot's.
	Compared        uint64  `json:"compared,omitzero"`
	Checkpoints     int     `json:"checkpoints,omitzero"`      // at how many the states agreed
	Sealed          uint64  `json:"sealed,omitzero"`           // how many events are those that were signed, the first ones
	FirstDifference uint64  `json:"first_difference,omitzero"` // event from which on the states part
	Seconds         float64 `json:"seconds,omitzero"`

	what string // that the digest was compared with, for people
}

// verifyFlags are verify's own flags.
type verifyFlags struct {
	data, export, expect string
	independent          bool
}

func (a *app) verifyCommand() *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use: "verify", GroupID: "history", Short: "Rebuild the state from the log alone, and compare digests", Args: cobra.NoArgs,
		Long: `Rebuild the state from the log alone, decoding every event strictly, and compare it with
the one that is shown: digests are compared at checkpoints, and the first event where
the two part is named. The log is compared with its newest signed head too: an event that
was sealed can't have been changed, dropped or put in. Exits with 7 when anything differs.

The running registry does that itself, in the background beside serving; the second state
takes as much memory as the first until it is done. From a rebuild that differs until one
that passes, or a restart, its /readyz answers 503.

--independent  doesn't trust the registry: every event is fetched and rebuilt here, as of
               --as-of or now, and compared with the digest that the registry shows.
--data         reads the log in the data directory of a registry that isn't running, and
               compares with its newest snapshot and its last checkpoint, and with --expect.
--export       reads what modelog export wrote, and compares with its manifest.`,
		Example: `  modelog verify
  modelog verify --independent --as-of 4711
  modelog verify --data /var/lib/modelog --expect 3f1c...
  modelog verify --export registry.ndjson.zst`,
	}
	c := a.reader(cmd)
	cmd.Flags().StringVar(&flags.data, "data", "", "data directory of a registry that isn't running")
	cmd.Flags().StringVar(&flags.export, "export", "", "file that modelog export wrote")
	cmd.Flags().StringVar(&flags.expect, "expect", "", "digest to compare with, for --data and --export")
	cmd.Flags().BoolVar(&flags.independent, "independent", false, "rebuild here, from the events that the registry shows")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := flags.check(c); err != nil {
			return err
		}
		v, err := a.verify(cmd.Context(), c, flags)
		if err != nil {
			return verifyError(cmd.Context(), err)
		}
		if err := c.print(v, func(w io.Writer) error { return showVerification(w, v) }); err != nil {
			return err
		}
		return v.err()
	}
	return cmd
}

func (f verifyFlags) check(c *client) error {
	switch {
	case f.data != "" && f.export != "", f.independent && f.data+f.export != "":
		return usage("--data, --export and --independent are different ways to verify; choose one")
	case f.data+f.export == "" && f.expect != "":
		return usage("--expect goes with --data or --export; the running registry is compared with its own digest")
	case f.data+f.export != "" && c.asOf != "":
		return usage("--as-of asks the running registry; leave it out with --data and --export")
	case !f.independent && c.asOf != "":
		return usage("--as-of goes with --independent; the registry's own verification is of all that there is")
	}
	return nil
}

func (a *app) verify(ctx context.Context, c *client, f verifyFlags) (Verification, error) {
	switch {
	case f.data != "":
		return a.verifyData(ctx, f.data, f.expect)
	case f.export != "":
		return a.verifyExport(ctx, f.export, f.expect)
	case f.independent:
		return c.verifyIndependently(ctx)
	default:
		return c.verifyServer(ctx)
	}
}

func showVerification(w io.Writer, v Verification) error {
	var said string
	switch {
	case v.Expected == "":
		said = fmt.Sprintf("rebuilt: %d events, state digest %s\n", v.Events, v.Digest)
	case v.Expected != v.Digest || v.FirstDifference != 0:
		return nil // the error says it
	case v.Compared != 0:
		said = fmt.Sprintf("verified: %d events; the %s of the first %d equals rebuild\n", v.Events, v.what, v.Compared)
	default:
		said = fmt.Sprintf("verified: %d events, state digest %s equals rebuild\n", v.Events, v.Digest)
	}
	if v.Sealed != 0 {
		said += fmt.Sprintf("sealed: the first %d events are those that were signed\n", v.Sealed)
	}
	_, err := io.WriteString(w, said)
	return err
}

const startAnew = "stop writing, keep the data directory, remove its snapshots and start the registry anew from the log"

func (v Verification) err() error {
	switch {
	case v.FirstDifference != 0:
		return &exitError{handlers.ExitVerify, fmt.Errorf("the state is not what the log gives, from event %d on: its digest there is %s, that of the rebuild %s; %s",
			v.FirstDifference, v.Expected, v.Digest, startAnew)}
	case v.Expected != "" && v.Expected != v.Digest:
		return &exitError{handlers.ExitVerify, fmt.Errorf("the state is not what the log gives: its digest is %s, that of the rebuild from %d events is %s; %s",
			v.Expected, v.Events, v.Digest, startAnew)}
	default:
		return nil
	}
}

// differing makes a Verification of a state that differs; any other error stays one.
func differing(err error, applied uint64) (Verification, error) {
	if differs, ok := errors.AsType[*runner.DiffersError](err); ok {
		return Verification{Events: applied, Digest: differs.Digest, Expected: differs.Found, FirstDifference: differs.Sequence}, nil
	}
	return Verification{}, err
}

// verifyError gives the exit code of a rebuild that came to no end: what can't be
// read, or can't have happened, is as bad as a state that differs.
func verifyError(ctx context.Context, err error) error {
	_, unreadable := errors.AsType[*events.UnreadableError](err)
	_, folded := errors.AsType[*runner.FoldError](err)
	_, line := errors.AsType[*lineError](err)
	switch {
	case ctx.Err() != nil:
		return &exitError{handlers.ExitUnavailable, errors.New("interrupted; nothing was found out")}
	case unreadable, folded, line, errors.Is(err, seal.ErrForked), errors.Is(err, events.ErrMissing), errors.Is(err, runner.ErrForeignLog), errors.Is(err, runner.ErrLevel):
		return &exitError{handlers.ExitVerify, err}
	default:
		return err
	}
}

// pollEvery is how often a registry is asked how far its verification is.
const pollEvery = 100 * time.Millisecond

// verifyServer has the running registry verify itself, and waits for it.
func (c *client) verifyServer(ctx context.Context) (Verification, error) {
	status, err := call[api.Verifications](ctx, c, http.MethodPost, "/v1/verify", api.VerificationRequest{})
	if err != nil {
		return Verification{}, err
	}
	if status.Running == nil {
		return Verification{}, fmt.Errorf("the registry at %s says nothing of the verification that it began", c.server)
	}
	number, progress := status.Running.Number, c.app.newProgress("verify", status.Running.Until)
	defer progress.clear()
	for status.Last == nil || status.Last.Number < number {
		if status.Running == nil || status.Running.Number != number {
			return Verification{}, &exitError{handlers.ExitUnavailable, fmt.Errorf("the registry at %s was restarted meanwhile; verify again", c.server)}
		}
		progress.at(status.Running.Applied)
		if err := sleep(ctx, pollEvery); err != nil {
			return Verification{}, err
		}
		if status, err = get[api.Verifications](ctx, c, "/v1/verify", nil); err != nil {
			return Verification{}, err
		}
	}
	return verificationOf(status.Last)
}

func verificationOf(r *api.VerificationResult) (Verification, error) {
	v := Verification{
		Events: r.Events, Digest: r.Digest, Expected: r.Found, Checkpoints: r.Checkpoints, Sealed: r.Sealed, FirstDifference: r.FirstDifference, Seconds: r.Seconds,
	}
	switch {
	case r.Outcome == string(verify.Failed):
		return v, &exitError{handlers.ExitUnavailable, fmt.Errorf("the registry's verification came to no end: %s; verify again", r.Detail)}
	case r.Outcome == string(verify.Differs) && r.FirstDifference == 0: // an event can't be read, or isn't the one that was sealed
		return v, &exitError{handlers.ExitVerify, errors.New(r.Detail)}
	}
	return v, nil
}

// verifyIndependently rebuilds from the events that a running registry shows.
func (c *client) verifyIndependently(ctx context.Context) (Verification, error) {
	state, err := c.state(ctx, true)
	if err != nil {
		return Verification{}, err
	}
	c.asOf = strconv.FormatUint(state.Sequence, 10) // what comes later is another matter
	progress := c.app.newProgress("verify", state.Sequence)
	defer progress.clear()
	b := runner.NewRebuild(nil, 0)
	err = c.eachEvent(ctx, 0, math.MaxInt, func(_ jsontext.Value, e events.Event) error {
		progress.at(e.Sequence)
		return b.Add(ctx, e)
	})
	if err != nil {
		return Verification{}, err
	}
	rebuilt, err := b.Finish(ctx)
	return Verification{Events: state.Sequence, Digest: rebuilt.Digest, Expected: state.Digest.SHA256}, err
}

// verifyData rebuilds from the log in a data directory.
func (a *app) verifyData(ctx context.Context, dir, expect string) (v Verification, err error) {
	log, last, err := openData(ctx, dir)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	live, compared := a.snapshotIn(ctx, dir, log), uint64(0)
	if live != nil {
		compared = live.Visible()
	}
	progress := a.newProgress("verify", last)
	defer progress.clear()
	b, read := runner.NewRebuild(live, compared), events.Log(log)
	sealed, err := seal.OpenReviewer(filepath.Join(dir, dataSeal))
	if err != nil {
		return v, err
	}
	if sealed != nil {
		read = sealed.Watch(log)
	}
	if err := b.Read(ctx, read, last, progress.at); err != nil {
		return differing(err, b.Runner().Tip().Sequence)
	}
	rebuilt, err := b.Finish(ctx)
	v = Verification{Events: rebuilt.Events, Digest: rebuilt.Digest, Expected: expect, Checkpoints: rebuilt.Checkpoints}
	if expect == "" && compared > 0 {
		v.Expected, v.what = rebuilt.Digest, "snapshot"
		if compared != last {
			v.Compared = compared
		}
	}
	if err == nil && sealed != nil {
		v.Sealed = sealed.Size()
		err = asSealed(sealed, b.Runner().Now())
	}
	return v, err
}

// asSealed says whether what was read is what a key of the registry has signed.
func asSealed(r *seal.Reviewer, v projections.View) error {
	var keys []string
	for _, k := range v.SigningKeys() {
		keys = append(keys, k.VerifierKey)
	}
	return errors.Join(r.Signed(v.Registry().ID, keys...), r.Finish())
}

// snapshotIn gives the newest snapshot in a data directory, nil if there is none that
// can be compared with: a start would set it aside.
func (a *app) snapshotIn(ctx context.Context, dir string, log events.Log) *runner.Runner {
	live, err := runner.NewestSnapshot(ctx, filepath.Join(dir, dataSnapshots), log)
	if err != nil {
		logger := slog.New(slog.NewTextHandler(a.stderr, nil))
		logger.LogAttrs(ctx, slog.LevelWarn, "the newest snapshot is not compared with; a start would set it aside", slog.Any("error", err))
	}
	return live
}

// verifyExport rebuilds from an export.
func (a *app) verifyExport(ctx context.Context, name, expect string) (v Verification, err error) {
	x, err := openExportFile(name)
	if err != nil {
		return v, err
	}
	defer x.close()
	progress := a.newProgress("verify", x.size)
	defer progress.clear()
	b := runner.NewRebuild(nil, 0)
	err = x.each(ctx, func(e events.Event, _ events.Encoded) error {
		progress.at(x.consumed.Load())
		return atLine(e.Sequence, b.Add(ctx, e))
	})
	if err != nil {
		return v, err
	}
	rebuilt, err := b.Finish(ctx)
	if err != nil {
		return v, err
	}
	v = Verification{Events: rebuilt.Events, Digest: rebuilt.Digest, Expected: expect}
	if expect == "" && x.manifest.Fold == projections.FoldVersion {
		v.Expected = x.manifest.Digest
	}
	return v, x.check(rebuilt)
}
