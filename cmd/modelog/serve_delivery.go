package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	random "math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/handlers/webhooks/format"
	"github.com/modelog/modelog/handlers/webhooks/send"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections/runner"
)

// What is done about endpoints that are asked whether they want deliveries.
const (
	handshakeOff     = "off"
	handshakeAsk     = "ask"     // only a no counts
	handshakeRequire = "require" // only a yes does
)

// deliveriesTimeout is how much of a stop deliveries may take. Those in flight end
// within 2 s, and the rest is what the log takes to write down how far they came.
const deliveriesTimeout = 4 * time.Second

// checkDelivery checks the flags about deliveries.
func (cfg *webhookConfig) checkDelivery() error {
	if known := []string{"", handshakeOff, handshakeAsk, handshakeRequire}; !slices.Contains(known, cfg.handshake) {
		return usage("--webhook-handshake: %q is not %s, %s or %s", cfg.handshake, handshakeOff, handshakeAsk, handshakeRequire)
	}
	_, err := cfg.networks()
	return err
}

// networks gives those that may be delivered to beside the public Internet.
func (cfg *webhookConfig) networks() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range cfg.allowCIDRs {
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			return nil, usage("--webhook-allow-cidr: %q is no network such as 10.0.0.0/8 or fd00::/8", text)
		case p != p.Masked():
			return nil, usage("--webhook-allow-cidr: %s is an address within %s; say which of them is meant", text, p.Masked())
		}
		all = append(all, p)
	}
	return all, nil
}

// deliveries deliver events to subscribers.
type deliveries struct {
	sender  *send.Sender
	engine  *webhooks.Engine // nil until it is started
	journal *attempts.Journal
	cursors *cursors.Store
	ended   chan struct{} // closed when all has come to its end after begin
}

// openDeliveries opens what deliveries need, before anybody can subscribe.
func (cfg serveConfig) openDeliveries(ctx context.Context, log servedLog, replicas int) (*deliveries, error) {
	allow, err := cfg.webhooks.networks()
	if err != nil {
		return nil, err
	}
	d := &deliveries{ended: make(chan struct{})}
	if d.journal, err = attempts.Open(ctx, attempts.Config{JetStream: log.JetStream, Replicas: replicas}); err != nil {
		return nil, streamError(err, attempts.ErrStream)
	}
	if d.cursors, err = cursors.Open(ctx, cursors.Config{JetStream: log.JetStream, Replicas: replicas}); err != nil {
		return nil, streamError(err, cursors.ErrStream)
	}
	d.sender = send.New(send.Config{
		Allow: allow, AllowHTTP: cfg.webhooks.allowHTTP, UserAgent: "modelog/" + release(), Origin: cfg.origin(), Timeout: cfg.sendTimeout, Now: time.Now,
	})
	return d, nil
}

// streamError gives its exit code to an error of a stream that must be set up otherwise.
func streamError(err, setUp error) error {
	if errors.Is(err, setUp) {
		return &exitError{handlers.ExitInvalid, err}
	}
	return err
}

func (cfg *webhookConfig) asks() bool {
	return cfg.handshake == handshakeAsk || cfg.handshake == handshakeRequire
}

// origin names this registry to endpoints: as it is reached by others, if it is.
func (cfg serveConfig) origin() string {
	switch {
	case !cfg.webhooks.asks():
		return ""
	case len(cfg.allowedHosts) > 0:
		return cfg.allowedHosts[0]
	default:
		return "modelog"
	}
}

// startDeliveries starts the engine of deliveries.
func (s *server) startDeliveries(cfg serveConfig, run *runner.Runner, secrets *vault.Vault, matchers *subscription.Cache) {
	d := s.deliveries
	formats := &format.Formats{At: run.At}
	d.engine = webhooks.Start(webhooks.Config{
		Hub: s.hub, Runner: run, Log: s.log, Vault: secrets, Sender: d.sender, Render: formats.Render, Wants: format.Wants,
		Matchers: matchers, Journal: d.journal, Cursors: d.cursors, Disable: s.disableSubscription, Now: time.Now, Jitter: random.Float64,
		Holder: rand.Text(), Alone: cfg.nats == "", Pace: cfg.pace, Logger: s.logger,
	})
}

// calls gives what the API's calls about deliveries need.
func (d *deliveries) calls() *api.Deliveries {
	return &api.Deliveries{Journal: d.journal, Cursors: d.cursors, Engine: d.engine, Sender: d.sender}
}

// disableSubscription has an event tell that a subscription isn't delivered any more.
func (s *server) disableSubscription(ctx context.Context, d webhooks.Disabling) error {
	_, err := s.registrar.Do(ctx, handlers.Request{Command: &handlers.DisableSubscription{
		Subscription: d.Subscription.String(), Cause: d.Cause, FailingSince: d.FailingSince, Since: d.Since,
	}})
	if handlers.CodeOf(err) == handlers.CodeSubscriptionNotFound { // there is nothing left to disable
		return nil
	}
	return err
}

// handshake gives what asks endpoints whether they want deliveries, nil for nothing.
func (d *deliveries) handshake(cfg webhookConfig) func(ctx context.Context, endpoint vault.Endpoint) error {
	if !cfg.asks() {
		return nil
	}
	return func(ctx context.Context, endpoint vault.Endpoint) error {
		err := d.sender.Handshake(ctx, endpoint)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, send.ErrForbidden):
			return handlers.InvalidField("/sink", "forbidden_address", "is at an address that nothing is sent to, unless the server allows its network (--webhook-allow-cidr)")
		case errors.Is(err, send.ErrRefused):
			return handlers.InvalidField("/sink", "handshake", "doesn't take deliveries: %v", err)
		case cfg.handshake == handshakeRequire:
			return handlers.InvalidField("/sink", "handshake", "must answer OPTIONS with WebHook-Allowed-Origin first: %v", err)
		default:
			return nil
		}
	}
}

// begin begins to end all deliveries, and doesn't wait.
func (d *deliveries) begin() {
	go func() {
		defer close(d.ended)
		if d.engine != nil {
			d.engine.Stop()
		}
	}()
}

// wait waits until all deliveries have ended after begin. What hasn't in time is cut
// off: it is delivered again after the next start.
func (d *deliveries) wait(ctx context.Context, logger *slog.Logger) {
	patience, cancel := context.WithTimeout(ctx, deliveriesTimeout)
	defer cancel()
	select {
	case <-d.ended:
	case <-patience.Done():
		logger.LogAttrs(ctx, slog.LevelWarn, fmt.Sprintf("deliveries that didn't end within %v are cut off, and made again later", deliveriesTimeout))
	}
	d.sender.Close()
}
