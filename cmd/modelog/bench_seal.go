package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers/seal"
	"github.com/spf13/cobra"
)

// benchSealing is what sealing a log from scratch has found.
type benchSealing struct {
	Seconds  float64 `json:"seconds"`
	ProofP99 float64 `json:"proof_p99_ms"`
}

const benchProofs = 10_000

// benchSealCommand is the process that seals a log that nobody has sealed.
func (a *app) benchSealCommand() *cobra.Command {
	return benchReader(a, "seal", "Seal a log from scratch, and prove events of it", sealLog)
}

func sealLog(ctx context.Context, dir string) (found benchSealing, err error) {
	log, err := openLog(ctx, natslog.Config{Dir: dir, Reserve: -1})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	last, err := log.Last(ctx)
	if err != nil {
		return found, err
	}
	first, err := log.Get(ctx, 1)
	if err != nil {
		return found, err
	}
	created, err := events.Decode(first)
	if err != nil {
		return found, err
	}
	sealed := filepath.Join(filepath.Dir(dir), "sealed")
	key, err := seal.GenerateKey(filepath.Join(sealed, signingKeyFile), seal.Origin(created.Registry))
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(sealed)) }()
	begin := time.Now()
	sealer, err := seal.Open(seal.Config{
		Dir: sealed, Log: log, Visible: func() uint64 { return last }, Registry: created.Registry, Key: key,
		Keys: func() []string { return []string{key.Verifier} },
	})
	if err != nil {
		return found, err
	}
	sealer.Start(ctx)
	defer sealer.Stop(ctx)
	for sealer.Checkpoint() == nil || sealer.Checkpoint().Tree.N < int64(last) { //nolint:gosec // fits
		if err := errors.Join(sealer.Err(), sleep(ctx, 5*time.Millisecond)); err != nil {
			return found, err
		}
	}
	found.Seconds = time.Since(begin).Seconds()
	found.ProofP99, err = proveAtRandom(ctx, sealer, last)
	return found, err
}

// proveAtRandom proves events chosen by chance, each as the one file that an
// auditor gets.
func proveAtRandom(ctx context.Context, sealer *seal.Sealer, last uint64) (p99 float64, err error) {
	chance := rand.New(rand.NewPCG(5, 6))
	took := make([]float64, benchProofs)
	for i := range took {
		sequence := 1 + chance.Uint64N(last)
		begin := time.Now()
		proof, err := sealer.Prove(ctx, sequence)
		if err != nil {
			return 0, err
		}
		if len(proof.Text()) == 0 {
			return 0, fmt.Errorf("event %d has an empty proof", sequence)
		}
		took[i] = milliseconds(time.Since(begin))
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}
