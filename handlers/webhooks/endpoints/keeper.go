package endpoints

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
)

const (
	// eraseTimeout bounds what is done after an answer is known.
	eraseTimeout = 5 * time.Second

	// MaxSecrets is how many secrets of one endpoint sign at once.
	MaxSecrets = 4

	// maxMeanwhile is how often a change is made anew since there was another in the
	// meantime.
	maxMeanwhile = 4
)

// Do asks the registrar for a command.
type Do func(cmd handlers.Command) (handlers.Outcome, error)

// Build makes a command from a subscription and its endpoint: it names the record id,
// which is to hold next.
type Build func(s *projections.Subscription, before vault.Endpoint) (cmd handlers.Command, id ulid.ULID, next vault.Endpoint, err error)

// Keeper keeps endpoints. All fields are required, but for Vault and Handshake. It is safe for
// concurrent use.
type Keeper struct {
	Vault *vault.Vault // nil if there is none
	// Handshake asks an endpoint that is to be delivered to whether it wants that; nil
	// asks none. It fails with a handlers.Refusal.
	Handshake func(ctx context.Context, endpoint vault.Endpoint) error
	Runner    *runner.Runner // the registrar's
	NewID     func(time.Time) ulid.ULID
	Now       func() time.Time
	Logger    *slog.Logger
}

// Check fails if there is no vault.
func (k *Keeper) Check() error {
	if k.Vault == nil {
		return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "this server has no vault for webhooks' secrets, so that nobody can subscribe here"}
	}
	return nil
}

// NewRecord gives the id of a record that is to be put.
func (k *Keeper) NewRecord() ulid.ULID { return k.NewID(k.Now()) }

// Put puts the endpoint of a new subscription into the vault, and asks for the command
// that names it.
func (k *Keeper) Put(ctx context.Context, do Do, cmd handlers.Command, id ulid.ULID, endpoint vault.Endpoint) (handlers.Outcome, error) {
	return k.put(ctx, do, cmd, id, endpoint, true)
}

func (k *Keeper) put(ctx context.Context, do Do, cmd handlers.Command, id ulid.ULID, endpoint vault.Endpoint, elsewhere bool) (handlers.Outcome, error) {
	if err := k.Check(); err != nil {
		return handlers.Outcome{}, err
	}
	if err := (&handlers.Request{Command: cmd}).Check(); err != nil {
		return handlers.Outcome{}, err
	}
	if k.Handshake != nil && elsewhere && endpoint.URL != "" {
		if err := k.Handshake(ctx, endpoint); err != nil {
			return handlers.Outcome{}, err
		}
	}
	if err := k.Vault.Put(ctx, id, endpoint); err != nil {
		return handlers.Outcome{}, k.Away(ctx, err)
	}
	outcome, err := do(cmd)
	if !outcome.Written() && handlers.CodeOf(err) != handlers.CodeOutcomeUnknown {
		k.Erase(ctx, id)
	}
	return outcome, err
}

// Replace has a command made from the endpoint of a subscription, and erases the record
// that it replaces. If there was another change in the meantime, the command is made
// anew.
func (k *Keeper) Replace(ctx context.Context, do Do, subscription string, build Build) (outcome handlers.Outcome, err error) {
	if err := k.Check(); err != nil {
		return outcome, err
	}
	for range maxMeanwhile {
		s, _, err := handlers.FindSubscription(k.Runner.Now(), subscription)
		if err != nil {
			return outcome, err
		}
		if s.Settings.SinkHost == "" {
			return outcome, handlers.NoSink()
		}
		before, err := k.Vault.Get(ctx, s.Settings.CredentialID)
		if errors.Is(err, vault.ErrUnknown) && k.moved(s) {
			continue
		}
		if err != nil {
			return outcome, k.Away(ctx, err)
		}
		cmd, id, next, err := build(s, before)
		if err != nil {
			return outcome, err
		}
		outcome, err = k.put(ctx, do, cmd, id, next, next.URL != before.URL)
		if err == nil && outcome.Written() {
			k.Erase(ctx, s.Settings.CredentialID)
		}
		if handlers.CodeOf(err) != handlers.CodeCredentialChanged {
			return outcome, err
		}
	}
	return outcome, handlers.RuleError{Rule: handlers.CodeCredentialChanged, Detail: "the sink or the secret changes all the time; send it again"}
}

// moved says whether a subscription has another credential by now.
func (k *Keeper) moved(s *projections.Subscription) bool {
	now, _, ok := k.Runner.Now().Subscription(s.ID)
	return !ok || now.Settings.CredentialID != s.Settings.CredentialID
}

// Erase overwrites a record that is needed no more. What fails the sweep does later.
func (k *Keeper) Erase(ctx context.Context, id ulid.ULID) {
	if k.Vault == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), eraseTimeout)
	defer cancel()
	if err := k.Vault.Delete(ctx, id); err != nil {
		k.Logger.LogAttrs(ctx, slog.LevelWarn, "an endpoint's record is erased later", slog.String("error", err.Error()))
	}
}

// EraseDeleted overwrites the record of a subscription that an outcome deleted.
func (k *Keeper) EraseDeleted(ctx context.Context, outcome handlers.Outcome) {
	if s, _, ok := k.Runner.At(outcome.Sequence - 1).Subscription(outcome.Resource.Root.ID); ok {
		k.Erase(ctx, s.Settings.CredentialID)
	}
}

// Away tells a client that the vault can't be used, and the log why.
func (k *Keeper) Away(ctx context.Context, err error) error {
	detail := "the vault of webhooks' secrets is away, nothing was written; send it again"
	for _, known := range []error{vault.ErrKey, vault.ErrDamaged, vault.ErrUnknown} {
		if errors.Is(err, known) {
			detail = known.Error()
		}
	}
	k.Logger.LogAttrs(ctx, slog.LevelError, "the vault failed", slog.String("error", err.Error()))
	return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: detail, RetryAfter: time.Second}
}

// StillValid gives the secrets that sign on, until a moment at the latest.
func StillValid(secrets []vault.Secret, now, until time.Time) []vault.Secret {
	var valid []vault.Secret
	for _, s := range secrets {
		if s.Until.IsZero() || s.Until.After(until) {
			s.Until = until
		}
		if s.Until.After(now) && len(valid) < MaxSecrets-1 {
			valid = append(valid, s)
		}
	}
	return valid
}
