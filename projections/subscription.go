package projections

import (
	"iter"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// Subscription says who is told of which events, as of a sequence.
type Subscription struct {
	ID       ulid.ULID                   `json:"id"`
	Settings events.SubscriptionSettings `json:"settings"`
	After    uint64                      `json:"after,omitzero"` // events after this sequence are delivered

	Status       SubscriptionStatus  `json:"status"`
	Since        uint64              `json:"since"`           // sequence of the event that gave it the status
	Cause        events.DisableCause `json:"cause,omitempty"` // of a disabled one
	FailingMilli int64               `json:"failing_since,omitzero"`
	Reason       events.Text         `json:"reason,omitzero"` // of the status

	RotatedMilli int64 `json:"rotated,omitzero"` // until when the secret before signs too
	UpdatedMilli int64 `json:"updated_at"`

	CreatedMilli int64  `json:"created_at"`
	CreatedBy    string `json:"created_by,omitempty"` // principal
}

// SubscriptionStatus says whether a subscription is delivered.
type SubscriptionStatus string

// The statuses of subscriptions.
const (
	SubscriptionActive   SubscriptionStatus = "active"
	SubscriptionPaused   SubscriptionStatus = "paused"   // by somebody
	SubscriptionDisabled SubscriptionStatus = "disabled" // by the registry itself
)

// CreatedAt is when the subscription was created.
func (s *Subscription) CreatedAt() time.Time { return fromMilli(s.CreatedMilli) }

// UpdatedAt is when anything of it changed last.
func (s *Subscription) UpdatedAt() time.Time { return fromMilli(s.UpdatedMilli) }

// FailingSince is since when a disabled one was failing, zero if that isn't why.
func (s *Subscription) FailingSince() time.Time { return optionalMilli(s.FailingMilli) }

// OldSecretUntil is until when the secret before the last rotation signs too, zero
// for no such secret.
func (s *Subscription) OldSecretUntil() time.Time { return optionalMilli(s.RotatedMilli) }

func optionalMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return fromMilli(ms)
}

func (s *Subscription) path() string { return "subscriptions/" + s.ID.String() }

func (s *State) subscriptionCreated(c change, e events.SubscriptionCreated) {
	s.subscriptions.put(c.sequence, e.SubscriptionID, &Subscription{
		ID: e.SubscriptionID, Settings: e.Settings, After: e.After, Status: SubscriptionActive, Since: c.sequence,
		UpdatedMilli: c.at, CreatedMilli: c.at, CreatedBy: c.by,
	})
}

func (s *State) subscriptionChanged(c change, e events.SubscriptionChanged) {
	s.changeSubscription(c, e.SubscriptionID, func(next *Subscription) { next.Settings = e.Settings })
}

func (s *State) subscriptionPaused(c change, e events.SubscriptionPaused) {
	s.setStatus(c, e.SubscriptionID, Subscription{Status: SubscriptionPaused, Reason: e.Reason})
}

func (s *State) subscriptionResumed(c change, e events.SubscriptionResumed) {
	s.setStatus(c, e.SubscriptionID, Subscription{Status: SubscriptionActive, Reason: e.Reason})
}

func (s *State) subscriptionDisabled(c change, e events.SubscriptionDisabled) {
	status := Subscription{Status: SubscriptionDisabled, Reason: e.Reason, Cause: e.Cause}
	if !e.FailingSince.IsZero() {
		status.FailingMilli = e.FailingSince.UnixMilli()
	}
	s.setStatus(c, e.SubscriptionID, status)
}

// setStatus takes the status of another subscription, and what belongs to it.
func (s *State) setStatus(c change, id ulid.ULID, from Subscription) {
	s.changeSubscription(c, id, func(next *Subscription) {
		next.Status, next.Since, next.Reason = from.Status, c.sequence, from.Reason
		next.Cause, next.FailingMilli = from.Cause, from.FailingMilli
	})
}

func (s *State) subscriptionSecretRotated(c change, e events.SubscriptionSecretRotated) {
	s.changeSubscription(c, e.SubscriptionID, func(next *Subscription) {
		next.Settings.CredentialID = e.CredentialID
		next.RotatedMilli = 0
		if !e.Until.IsZero() {
			next.RotatedMilli = e.Until.UnixMilli()
		}
	})
}

func (s *State) subscriptionDeleted(c change, e events.SubscriptionDeleted) {
	s.subscriptions.remove(c.sequence, e.SubscriptionID)
}

func (s *State) changeSubscription(c change, id ulid.ULID, with func(next *Subscription)) {
	if f, ok := s.subscriptions.at(c.sequence, id); ok {
		next := *f.value
		with(&next)
		next.UpdatedMilli = c.at
		s.subscriptions.put(c.sequence, id, &next)
	}
}

// Subscription finds a subscription. The sequence is that of the last event that
// changed anything of it.
func (v View) Subscription(id ulid.ULID) (s *Subscription, sequence uint64, ok bool) {
	f, ok := v.state.subscriptions.get(v.Sequence, id)
	return f.value, f.sequence, ok
}

// SubscriptionKnown says whether there is or was a subscription with an identity.
func (v View) SubscriptionKnown(id ulid.ULID) bool {
	_, ok := v.state.subscriptions.known(v.Sequence, id)
	return ok
}

// Subscriptions yields the subscriptions in the order of their creation, from an
// identity on.
func (v View) Subscriptions(from ulid.ULID) iter.Seq[*Subscription] {
	return func(yield func(*Subscription) bool) {
		for _, s := range v.state.subscriptions.ascend(v.Sequence, from) {
			if !yield(s) {
				return
			}
		}
	}
}
