package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/seal"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/pflag"
)

// Names within a data directory.
const (
	dataSeal       = "seal"
	signingKeyFile = "signing.key"
	nextKeySuffix  = ".next" // of a key that is to come into force
)

// reviewAfter is when the log is compared with its tree after a start: the first
// requests come first.
const reviewAfter = 30 * time.Second

// sealConfig is what serve's flags say about sealing.
type sealConfig struct {
	key    string // file with the signing key, empty for the one in the data directory
	rotate bool
}

func (cfg *sealConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&cfg.key, "signing-key", "", "file with the key that signs the log's heads (default seal/signing.key in the data directory, made if need be)")
	f.BoolVar(&cfg.rotate, "rotate-signing-key", false, "sign with another key from now on, and record that: a new one, or that of --signing-key")
}

// sealFeed hands what the registrar tells to the sealer, once there is one.
type sealFeed struct{ sealer atomic.Pointer[seal.Sealer] }

func (f *sealFeed) landed(first uint64, group []events.Encoded) {
	if s := f.sealer.Load(); s != nil {
		s.Landed(first, group)
	}
}

// startSealer sees to the signing key, and seals from then on.
func (s *server) startSealer(ctx context.Context, cfg serveConfig, run *runner.Runner, replicas int) (*seal.Sealer, error) {
	registry := run.Now().Registry().ID
	k := cfg.keeper()
	k.server, k.view, k.name = s, run.Now, seal.Origin(registry)
	k.made = s.madeKey
	key, err := k.key(ctx)
	if err != nil {
		return nil, err
	}
	config := seal.Config{
		Dir: filepath.Join(cfg.data, dataSeal), Log: s.log, Visible: run.Visible, Registry: registry, Key: key, Logger: s.logger,
		ReviewAfter: reviewAfter,
		Keys: func() []string {
			var keys []string
			for _, k := range run.Now().SigningKeys() {
				keys = append(keys, k.VerifierKey)
			}
			return keys
		},
	}
	if cfg.nats != "" {
		if config.Board, err = seal.OpenBoard(ctx, s.log.JetStream, replicas); err != nil {
			return nil, err
		}
	}
	sealer, err := seal.Open(config)
	if err != nil {
		return nil, err
	}
	sealer.Start(ctx)
	s.feed.sealer.Store(sealer)
	return sealer, nil
}

// keeper sees to it that the key here is the one that the log has recorded.
type keeper struct {
	server *server
	view   func() projections.View
	path   string
	ours   bool // the file is in the data directory: it may be made
	rotate bool
	name   string // of a key that is made
	made   bool   // the key was made for a registry that was being created
}

// keeper gives the keeper of the key file that the flags name.
func (cfg serveConfig) keeper() keeper {
	k := keeper{path: cfg.seal.key, rotate: cfg.seal.rotate}
	if k.path == "" {
		k.path, k.ours = filepath.Join(cfg.data, dataSeal, signingKeyFile), true
	}
	return k
}

// firstKey gives the verifier key of a registry that is being created.
func (s *server) firstKey(cfg serveConfig) func(ulid.ULID) (string, error) {
	return func(registry ulid.ULID) (string, error) {
		k := cfg.keeper()
		k.name = seal.Origin(registry)
		key, made, err := k.load("")
		if err != nil {
			return "", err
		}
		s.madeKey = made
		return key.Verifier, nil
	}
}

// recorded gives the verifier key in force, empty for none.
func (k *keeper) recorded() string {
	if key, _, ok := k.view().SigningKey(); ok {
		return key.VerifierKey
	}
	return ""
}

// key gives the key to sign with, nil if the one in force isn't here.
func (k *keeper) key(ctx context.Context) (*seal.Key, error) {
	recorded := k.recorded()
	key, made, err := k.load(recorded)
	switch {
	case err != nil:
		return nil, err
	case key == nil:
		k.server.logger.LogAttrs(ctx, slog.LevelWarn, "the log's heads are signed with a key that isn't here: this server signs nothing; "+
			"put the key in place, or start once with --rotate-signing-key", slog.String("file", k.path), slog.String("verifier_key", recorded))
		return nil, nil //nolint:nilnil // no key is not an error
	case key.Verifier == recorded && (!k.rotate || !k.ours || made || k.made):
		return key, nil
	case key.Verifier == recorded:
		return k.replace(ctx, recorded)
	case k.made: // another replica created the registry
		k.server.logger.LogAttrs(ctx, slog.LevelWarn, "another server has created the registry with a signing key of its own: this one signs nothing")
		return nil, os.Remove(k.path)
	case recorded != "" && !k.rotate:
		return nil, &exitError{handlers.ExitRule, fmt.Errorf("the key in %s is %s, but the log's heads are signed with %s; "+
			"put that key in place, or start once with --rotate-signing-key to record the change", k.path, key.Verifier, recorded)}
	}
	err = k.record(ctx, key, recorded)
	if made && recorded == "" && handlers.CodeOf(err) == handlers.CodeSigningKey { // another replica was faster
		k.server.logger.LogAttrs(ctx, slog.LevelWarn, "another server of this log has recorded its signing key first: this one signs nothing")
		return nil, os.Remove(k.path)
	}
	return key, err
}

// load reads the key, and makes one where there is none and may be one. It gives
// nil if there is none although one is in force.
func (k *keeper) load(recorded string) (key *seal.Key, made bool, err error) {
	if k.ours { // a rotation that was recorded, and then interrupted
		if next, err := seal.LoadKey(k.path + nextKeySuffix); err == nil && next.Verifier == recorded {
			if err := seal.ReplaceKey(k.path+nextKeySuffix, k.path); err != nil {
				return nil, false, err
			}
			return next, true, nil
		}
	}
	key, err = seal.LoadKey(k.path)
	switch {
	case err == nil:
		return key, false, nil
	case !errors.Is(err, fs.ErrNotExist) || !k.ours:
		return nil, false, usage("--signing-key: %v", err)
	case recorded != "" && !k.rotate:
		return nil, false, nil
	}
	key, err = seal.GenerateKey(k.path, k.name)
	return key, true, err
}

// replace makes a new key, records it, and puts it in the place of the old one. A
// crash in between leaves one that load finds, or the next rotation.
func (k *keeper) replace(ctx context.Context, recorded string) (*seal.Key, error) {
	path := k.path + nextKeySuffix
	next, err := seal.LoadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		next, err = seal.GenerateKey(path, k.name)
	}
	if err != nil {
		return nil, err
	}
	if err := k.record(ctx, next, recorded); err != nil {
		return nil, err
	}
	return next, seal.ReplaceKey(path, k.path)
}

func (k *keeper) record(ctx context.Context, key *seal.Key, previous string) error {
	_, err := k.server.registrar.Do(ctx, handlers.Request{Command: &handlers.ChangeSigningKey{VerifierKey: key.Verifier, Previous: previous}})
	if err != nil {
		return fmt.Errorf("record the signing key: %w", err)
	}
	k.server.logger.LogAttrs(ctx, slog.LevelInfo, "the log's heads are signed with a key from now on", slog.String("verifier_key", key.Verifier))
	return nil
}
