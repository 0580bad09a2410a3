package events

import (
	"time"

	"github.com/oklog/ulid/v2"
)

var subscriptionReaders = []kindReader{
	reads[SubscriptionCreated](), reads[SubscriptionChanged](), reads[SubscriptionPaused](), reads[SubscriptionResumed](),
	reads[SubscriptionDisabled](), reads[SubscriptionSecretRotated](), reads[SubscriptionDeleted](),
}

// SubscriptionSettings say which events are delivered where, and how. Where exactly,
// and with which secrets, is sealed outside of the log: a log never forgets.
type SubscriptionSettings struct {
	Name        string   `json:"name,omitempty"`
	Description Text     `json:"description,omitzero"`
	Types       []string `json:"types,omitempty"`     // of events, any of them; empty for all
	Filters     string   `json:"filters,omitempty"`   // canonical JSON array of filters, all of which must pass
	SinkHost    string   `json:"sink_host,omitempty"` // scheme://host[:port], without path and query; empty where events are fetched
	// CredentialID names the sealed record of the sink's URL, headers and secrets.
	CredentialID ulid.ULID      `json:"credential_id,omitzero"`
	Format       DeliveryFormat `json:"format"`
	// MLflowEvents are what is delivered of MLflow's own events, such as
	// model_version.created, sorted; empty for all, and in other formats.
	MLflowEvents []string         `json:"mlflow_events,omitempty"`
	Ordering     DeliveryOrdering `json:"ordering"`
	Rate         int              `json:"rate,omitzero"` // deliveries a second at most, 0 for any
	Signature    SignatureScheme  `json:"signature"`
}

// DeliveryFormat is how an event is written for a subscriber.
type DeliveryFormat string

// The formats of deliveries.
const (
	FormatCloudEvents DeliveryFormat = "cloudevents" // structured JSON
	FormatMLflow      DeliveryFormat = "mlflow"
	FormatSlack       DeliveryFormat = "slack"
	FormatTeams       DeliveryFormat = "teams"
	FormatDiscord     DeliveryFormat = "discord"
	FormatCDEvents    DeliveryFormat = "cdevents"
)

// DeliveryOrdering says what waits for a delivery that fails.
type DeliveryOrdering string

// The orderings of deliveries.
const (
	OrderByKey  DeliveryOrdering = "key"    // later events of the same model, target, ...
	OrderNone   DeliveryOrdering = "none"   // nothing
	OrderStrict DeliveryOrdering = "strict" // all later events
)

// SignatureScheme is how deliveries are signed, in the terms of Standard Webhooks.
type SignatureScheme string

// The schemes of signatures.
const (
	SignHMAC    SignatureScheme = "v1"  // HMAC-SHA256
	SignEd25519 SignatureScheme = "v1a" // ed25519
)

// SubscriptionCreated records a new subscription. Its id is that of the event that
// created it.
type SubscriptionCreated struct {
	SubscriptionID ulid.ULID            `json:"subscription_id"`
	Settings       SubscriptionSettings `json:"settings"`
	After          uint64               `json:"after,omitzero"` // events after this sequence are delivered
}

func (SubscriptionCreated) kind() string { return "subscription.created.v1" }

// Resource is the subscription.
func (e SubscriptionCreated) Resource() Resource { return subscriptionResource(e.SubscriptionID) }

// Summary tells people what happened.
func (e SubscriptionCreated) Summary() string {
	return "created " + whose(e.Settings.SinkHost)
}

// SubscriptionChanged records that a subscription has other settings.
type SubscriptionChanged struct {
	SubscriptionID ulid.ULID            `json:"subscription_id"`
	Settings       SubscriptionSettings `json:"settings"` // all of them, as they are now
}

func (SubscriptionChanged) kind() string { return "subscription.changed.v1" }

// Resource is the subscription.
func (e SubscriptionChanged) Resource() Resource { return subscriptionResource(e.SubscriptionID) }

// Summary tells people what happened.
func (e SubscriptionChanged) Summary() string {
	return "changed " + whose(e.Settings.SinkHost)
}

// SubscriptionPaused records that nothing is delivered until the subscription is
// resumed.
type SubscriptionPaused struct {
	SubscriptionID ulid.ULID `json:"subscription_id"`
	Reason         Text      `json:"reason,omitzero"`
}

func (SubscriptionPaused) kind() string { return "subscription.paused.v1" }

// Resource is the subscription.
func (e SubscriptionPaused) Resource() Resource { return subscriptionResource(e.SubscriptionID) }

// Summary tells people what happened.
func (e SubscriptionPaused) Summary() string { return because("paused the subscription", e.Reason) }

// SubscriptionResumed records that deliveries go on, from where they stopped.
type SubscriptionResumed struct {
	SubscriptionID ulid.ULID `json:"subscription_id"`
	Reason         Text      `json:"reason,omitzero"`
}

func (SubscriptionResumed) kind() string { return "subscription.resumed.v1" }

// Resource is the subscription.
func (e SubscriptionResumed) Resource() Resource { return subscriptionResource(e.SubscriptionID) }

// Summary tells people what happened.
func (e SubscriptionResumed) Summary() string { return because("resumed the subscription", e.Reason) }

// DisableCause is why the registry itself disabled a subscription.
type DisableCause string

// The causes of disabling.
const (
	CauseGone    DisableCause = "gone"    // the endpoint answered 410
	CauseFailing DisableCause = "failing" // nothing but failures for days
)

// SubscriptionDisabled records that the registry itself stopped the deliveries of a
// subscription, until it is resumed.
type SubscriptionDisabled struct {
	SubscriptionID ulid.ULID    `json:"subscription_id"`
	Cause          DisableCause `json:"cause"`
	FailingSince   time.Time    `json:"failing_since,omitzero"` // when the first of the failures was
	Reason         Text         `json:"reason,omitzero"`
}

func (SubscriptionDisabled) kind() string { return "subscription.disabled.v1" }

// Resource is the subscription.
func (e SubscriptionDisabled) Resource() Resource { return subscriptionResource(e.SubscriptionID) }

// Summary tells people what happened.
func (e SubscriptionDisabled) Summary() string {
	what := "disabled the subscription, since its endpoint is gone"
	if e.Cause == CauseFailing {
		what = "disabled the subscription, since its endpoint fails"
		if !e.FailingSince.IsZero() {
			what += " since " + FormatTime(e.FailingSince)
		}
	}
	return because(what, e.Reason)
}

// SubscriptionSecretRotated records that deliveries are signed with another secret,
// and for some time with the old one too.
type SubscriptionSecretRotated struct {
	SubscriptionID ulid.ULID `json:"subscription_id"`
	CredentialID   ulid.ULID `json:"credential_id"`  // of the record that has both
	Until          time.Time `json:"until,omitzero"` // the old secret signs too until then; zero for no more
	Reason         Text      `json:"reason,omitzero"`
}

func (SubscriptionSecretRotated) kind() string { return "subscription.secret_rotated.v1" }

// Resource is the subscription.
func (e SubscriptionSecretRotated) Resource() Resource {
	return subscriptionResource(e.SubscriptionID)
}

// Summary tells people what happened.
func (e SubscriptionSecretRotated) Summary() string {
	what := "rotated the secret"
	if !e.Until.IsZero() {
		what += ", the old one signs too until " + FormatTime(e.Until)
	}
	return because(what, e.Reason)
}

// SubscriptionDeleted records that a subscription is gone.
type SubscriptionDeleted struct {
	SubscriptionID ulid.ULID `json:"subscription_id"`
	SinkHost       string    `json:"sink_host,omitempty"` // that it had
	Reason         Text      `json:"reason,omitzero"`
}

func (SubscriptionDeleted) kind() string { return "subscription.deleted.v1" }

// Resource is the subscription.
func (e SubscriptionDeleted) Resource() Resource { return subscriptionResource(e.SubscriptionID) }

// Summary tells people what happened.
func (e SubscriptionDeleted) Summary() string {
	return because("deleted "+whose(e.SinkHost), e.Reason)
}

// whose names a subscription by where its events go.
func whose(sinkHost string) string {
	if sinkHost == "" {
		return "a subscription that is polled"
	}
	return "the subscription of " + sinkHost
}

func subscriptionResource(id ulid.ULID) Resource { return Resource{Root: Root{SubscriptionRoot, id}} }
