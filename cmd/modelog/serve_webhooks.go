package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/pflag"
)

// Names within a data directory.
const (
	dataWebhooks   = "webhooks"
	secretsKeyFile = "secrets.key"
)

// sweepEvery is how often endpoints that nobody uses are looked for.
const sweepEvery = time.Hour

// webhookConfig is what serve's flags say about webhooks.
type webhookConfig struct {
	secretsKey string // file, empty for the one in the data directory
	allowHTTP  bool
	allowCIDRs []string // networks that may be delivered to
	handshake  string   // handshakeOff, handshakeAsk or handshakeRequire; empty for off
}

func (cfg *webhookConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&cfg.secretsKey, "secrets-key", "", "file with the key that the webhooks' URLs, headers and secrets are sealed with; registries that share a log share it (default webhooks/secrets.key in the data directory, made if need be)")
	f.BoolVar(&cfg.allowHTTP, "webhook-allow-http", false, "take webhooks' URLs without TLS")
	f.StringSliceVar(&cfg.allowCIDRs, "webhook-allow-cidr", nil, "networks that are delivered to beside the public Internet, such as 10.0.0.0/8 or 127.0.0.1/32")
	f.StringVar(&cfg.handshake, "webhook-handshake", handshakeAsk, "what is done before somebody subscribes a webhook: ask its endpoint, and heed a no; require a yes; or off")
}

// openVault sees to the key of the webhooks' secrets, and opens the vault.
func (cfg serveConfig) openVault(ctx context.Context, log servedLog, replicas int) (*vault.Vault, error) {
	path, load := cfg.webhooks.secretsKey, vault.LoadKey
	if path == "" {
		path, load = filepath.Join(cfg.data, dataWebhooks, secretsKeyFile), vault.MakeKey
	}
	key, err := load(path)
	switch {
	case errors.Is(err, vault.ErrKeyOpen) || errors.Is(err, vault.ErrKeyForm) || errors.Is(err, fs.ErrNotExist):
		return nil, usage("--secrets-key: %v", err)
	case err != nil:
		return nil, err
	}
	v, err := vault.Open(ctx, vault.Config{JetStream: log.JetStream, Key: key, Now: time.Now, Replicas: replicas})
	if errors.Is(err, vault.ErrStream) {
		err = &exitError{handlers.ExitInvalid, err}
	}
	return v, err
}

// vaultSweeper erases, now and then, the endpoints that nobody uses any more.
type vaultSweeper struct {
	vault  *vault.Vault
	log    events.Log
	run    *runner.Runner
	logger *slog.Logger
	cancel context.CancelFunc
	ended  chan struct{}
}

func sweepVault(ctx context.Context, v *vault.Vault, log events.Log, run *runner.Runner, logger *slog.Logger) *vaultSweeper {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &vaultSweeper{v, log, run, logger, cancel, make(chan struct{})}
	go func() {
		defer close(s.ended)
		ticks := time.NewTicker(sweepEvery)
		defer ticks.Stop()
		for {
			if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
				logger.LogAttrs(ctx, slog.LevelWarn, "endpoints that nobody uses are erased later", slog.Any("error", err))
			}
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			}
		}
	}()
	return s
}

// sweep goes by a state that has come to the end of the log: an earlier one may not
// know who uses an endpoint.
func (s *vaultSweeper) sweep(ctx context.Context) error {
	last, err := s.log.Last(ctx)
	if err != nil {
		return err
	}
	if err := s.run.Wait(ctx, last); err != nil {
		return err
	}
	used := credentialsIn(s.run.Now())
	return s.vault.Sweep(ctx, func(id ulid.ULID) bool { return used[id] })
}

func credentialsIn(v projections.View) map[ulid.ULID]bool {
	used := map[ulid.ULID]bool{}
	for s := range v.Subscriptions(ulid.ULID{}) {
		used[s.Settings.CredentialID] = true
	}
	return used
}

func (s *vaultSweeper) stop() {
	s.cancel()
	<-s.ended
}
