package handlers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// Limits of subscriptions. Those of filters and types themselves are held by whoever
// compiles them, before a command is made.
const (
	MaxSubscriptions     = 10_000
	MaxFilterBytes       = 16 << 10 // of the canonical JSON
	MaxSubscriptionTypes = 100
	MaxDeliveryRate      = 10_000 // deliveries a second
	MaxSinkHost          = 300    // bytes
	MaxSubscriptionName  = 100
)

// The words that settings of subscriptions may have.
var (
	DeliveryFormats = []events.DeliveryFormat{
		events.FormatCloudEvents, events.FormatMLflow, events.FormatSlack, events.FormatTeams, events.FormatDiscord, events.FormatCDEvents,
	}
	DeliveryOrderings = []events.DeliveryOrdering{events.OrderByKey, events.OrderNone, events.OrderStrict}
	SignatureSchemes  = []events.SignatureScheme{events.SignHMAC, events.SignEd25519}
)

// MLflowEvents are the events that MLflow has, sorted, but for those of its gateway.
var MLflowEvents = []string{
	"model_version.created", "model_version_alias.created", "model_version_alias.deleted", "model_version_tag.deleted", "model_version_tag.set",
	"prompt.created", "prompt_alias.created", "prompt_alias.deleted", "prompt_tag.deleted", "prompt_tag.set",
	"prompt_version.created", "prompt_version_tag.deleted", "prompt_version_tag.set", "registered_model.created",
}

// Sink says where a subscription delivers to, as far as the log may know it.
type Sink struct {
	Host string `json:"host"` // scheme://host[:port]
	// Endpoint is a keyed hash of the URL and the headers, so that asking for another
	// endpoint with the same idempotency key is noticed.
	Endpoint events.Hash `json:"endpoint"`
	// CredentialID names the sealed record of the URL, the headers and the secrets. It
	// is made anew for each request.
	CredentialID ulid.ULID `json:"credential_id,omitzero"`
}

// SubscriptionSpec describes a new subscription.
type SubscriptionSpec struct {
	Name        string                `json:"name,omitempty"` // for people
	Description string                `json:"description,omitempty"`
	Types       []string              `json:"types,omitempty"`
	Filters     string                `json:"filters,omitempty"` // canonical JSON array, empty for none
	Format      events.DeliveryFormat `json:"format"`
	// MLflowEvents are those of MLflow's events that are wanted, in the format mlflow;
	// empty for all.
	MLflowEvents []string                `json:"mlflow_events,omitempty"`
	Ordering     events.DeliveryOrdering `json:"ordering"`
	Rate         int                     `json:"rate,omitzero"` // deliveries a second at most, 0 for any
	Signature    events.SignatureScheme  `json:"signature"`
}

func (s *SubscriptionSpec) check(c *checker) {
	c.text("/name", s.Name, MaxSubscriptionName)
	c.length("/description", s.Description, MaxDescription)
	c.count("/types", len(s.Types), MaxSubscriptionTypes)
	if len(s.Filters) > MaxFilterBytes {
		c.fail("/filters", "max_length", "are longer than %d bytes", MaxFilterBytes)
	}
	oneOf(c, "/format", s.Format, DeliveryFormats)
	s.checkMLflowEvents(c)
	oneOf(c, "/ordering", s.Ordering, DeliveryOrderings)
	oneOf(c, "/signature", s.Signature, SignatureSchemes)
	if s.Rate < 0 || s.Rate > MaxDeliveryRate {
		c.fail("/rate", "range", "must be a whole number from 0 to %d", MaxDeliveryRate)
	}
}

func (s *SubscriptionSpec) checkMLflowEvents(c *checker) {
	const pointer = "/mlflow_events"
	if len(s.MLflowEvents) == 0 {
		return
	}
	if s.Format != events.FormatMLflow {
		c.fail(pointer, "format", "go with the format mlflow only")
	}
	c.count(pointer, len(s.MLflowEvents), MaxSubscriptionTypes)
	for i, e := range s.MLflowEvents[:min(len(s.MLflowEvents), MaxSubscriptionTypes)] {
		oneOf(c, fmt.Sprintf("%s/%d", pointer, i), e, MLflowEvents)
	}
}

func oneOf[W ~string](c *checker, pointer string, word W, words []W) {
	if slices.Contains(words, word) {
		return
	}
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = string(w)
	}
	c.fail(pointer, "one_of", "must be one of %s", strings.Join(names, ", "))
}

func (c *checker) sink(s Sink) {
	if c.required("/sink", s.Host) && (len(s.Host) > MaxSinkHost || holdsCredentials(s.Host)) {
		c.fail("/sink", "sink", "must be a URL whose host has at most %d bytes, without a user", MaxSinkHost)
	}
}

func (s *SubscriptionSpec) settings(sink Sink) events.SubscriptionSettings {
	return events.SubscriptionSettings{
		Name: s.Name, Description: events.Plain(s.Description), Types: s.Types, Filters: s.Filters, SinkHost: sink.Host, CredentialID: sink.CredentialID,
		Format: s.Format, MLflowEvents: slices.Compact(slices.Sorted(slices.Values(s.MLflowEvents))),
		Ordering: s.Ordering, Rate: s.Rate, Signature: s.Signature,
	}
}

// checkPolled refuses what makes sense for deliveries only.
func (s *SubscriptionSpec) checkPolled(c *checker) {
	const delivered = "is for deliveries: without a sink events are fetched"
	if s.Format != events.FormatCloudEvents {
		c.fail("/format", "no_sink", delivered)
	}
	if s.Ordering != events.OrderByKey {
		c.fail("/ordering", "no_sink", delivered+", in the order of the log")
	}
	if s.Rate != 0 {
		c.fail("/rate", "no_sink", delivered)
	}
	if s.Signature != events.SignHMAC {
		c.fail("/signature", "no_sink", delivered)
	}
}

// NoSink is why a subscription has no secret, and gets no sink.
func NoSink() error {
	return RuleError{CodeNoSink, "the subscription has no sink and no secret: its events are fetched with poll"}
}

// CreateSubscription asks that events be delivered to a sink, or kept to be fetched if
// there is none.
type CreateSubscription struct {
	Spec SubscriptionSpec `json:"spec"`
	Sink Sink             `json:"sink"`
	// After is the sequence after which events are delivered; nil for the last one.
	After *uint64 `json:"after,omitempty"`
}

// Kind names the command.
func (*CreateSubscription) Kind() string { return "create_subscription" }

func (cmd *CreateSubscription) asked() any {
	asked := *cmd
	asked.Sink.CredentialID = ulid.ULID{}
	return asked
}

func (cmd *CreateSubscription) check() error {
	var c checker
	cmd.Spec.check(&c)
	if cmd.Sink.Host == "" {
		cmd.Spec.checkPolled(&c)
	} else {
		c.sink(cmd.Sink)
	}
	return c.err()
}

func (cmd *CreateSubscription) decide(v projections.View, on occasion) (decision, error) {
	after := v.Sequence
	if cmd.After != nil {
		after = *cmd.After
	}
	if after > v.Sequence {
		return decision{}, InvalidField("/start", "not_in_the_future", "would begin after %d, which is beyond the last sequence, %d", after, v.Sequence)
	}
	n := 0
	for range v.Subscriptions(ulid.ULID{}) {
		if n++; n == MaxSubscriptions {
			return decision{}, RuleError{CodeTooManySubscriptions, "there are 10000 subscriptions, and may be no more; delete one first"}
		}
	}
	return write(events.SubscriptionCreated{SubscriptionID: on.id, Settings: cmd.Spec.settings(cmd.Sink), After: after})
}

func (*CreateSubscription) etag(projections.View) (uint64, bool) { return 0, false }

// SubscriptionChanges says what is to change of a subscription; nil leaves it.
type SubscriptionChanges struct {
	Name         *string                  `json:"name,omitempty"`
	Description  *string                  `json:"description,omitempty"`
	Types        *[]string                `json:"types,omitempty"`
	Filters      *string                  `json:"filters,omitempty"` // as in SubscriptionSpec
	Format       *events.DeliveryFormat   `json:"format,omitempty"`
	MLflowEvents *[]string                `json:"mlflow_events,omitempty"`
	Ordering     *events.DeliveryOrdering `json:"ordering,omitempty"`
	Rate         *int                     `json:"rate,omitempty"`
}

// on gives the settings with the changes.
func (ch *SubscriptionChanges) on(s events.SubscriptionSettings) SubscriptionSpec {
	spec := SubscriptionSpec{
		Name: s.Name, Description: s.Description.Plain, Types: s.Types, Filters: s.Filters, Format: s.Format, MLflowEvents: s.MLflowEvents,
		Ordering: s.Ordering, Rate: s.Rate, Signature: s.Signature,
	}
	set(&spec.Name, ch.Name)
	set(&spec.Description, ch.Description)
	set(&spec.Types, ch.Types)
	set(&spec.Filters, ch.Filters)
	set(&spec.Format, ch.Format)
	set(&spec.Ordering, ch.Ordering)
	set(&spec.Rate, ch.Rate)
	set(&spec.MLflowEvents, ch.MLflowEvents)
	if spec.Format != events.FormatMLflow && ch.MLflowEvents == nil {
		spec.MLflowEvents = nil
	}
	return spec
}

func set[T any](field, to *T) {
	if to != nil {
		*field = *to
	}
}

// ChangeSubscription asks for other settings of a subscription.
type ChangeSubscription struct {
	Subscription string              `json:"subscription"` // its id
	Changes      SubscriptionChanges `json:"changes"`
	// Sink, unless nil, is another endpoint, or the same one with other headers.
	Sink *Sink `json:"sink,omitempty"`
	// Instead is the record that the one of Sink is made from. It isn't asked for.
	Instead ulid.ULID `json:"instead,omitzero"`
}

// Kind names the command.
func (*ChangeSubscription) Kind() string { return "change_subscription" }

func (cmd *ChangeSubscription) asked() any {
	asked := *cmd
	asked.Instead = ulid.ULID{}
	if asked.Sink != nil { // of which the endpoint is what was asked for
		asked.Sink = &Sink{Endpoint: cmd.Sink.Endpoint}
	}
	return asked
}

func (cmd *ChangeSubscription) check() error {
	var c checker
	spec := cmd.Changes.on(events.SubscriptionSettings{Format: events.FormatMLflow, Ordering: DeliveryOrderings[0], Signature: SignatureSchemes[0]})
	spec.check(&c)
	if cmd.Sink != nil {
		c.sink(*cmd.Sink)
	}
	return c.err()
}

func (cmd *ChangeSubscription) decide(v projections.View, _ occasion) (decision, error) {
	s, _, err := FindSubscription(v, cmd.Subscription)
	if err != nil {
		return decision{}, err
	}
	sink := Sink{Host: s.Settings.SinkHost, CredentialID: s.Settings.CredentialID}
	if sink.Host == "" && cmd.Sink != nil {
		return decision{}, NoSink()
	}
	if cmd.Sink != nil && cmd.Sink.CredentialID != sink.CredentialID { // else it is so already
		if cmd.Instead != sink.CredentialID {
			return decision{}, credentialChanged(s)
		}
		sink = *cmd.Sink
	}
	spec := cmd.Changes.on(s.Settings)
	var c checker
	if sink.Host == "" {
		spec.checkPolled(&c)
	}
	if spec.checkMLflowEvents(&c); c.err() != nil {
		return decision{}, c.err()
	}
	settings := spec.settings(sink)
	if cmd.Changes.Description == nil {
		settings.Description = s.Settings.Description // which may be sealed
	}
	if same(settings, s.Settings) {
		return alreadySo(subscriptionResource(s))
	}
	return write(events.SubscriptionChanged{SubscriptionID: s.ID, Settings: settings})
}

func same(a, b events.SubscriptionSettings) bool {
	types := slices.Equal(a.Types, b.Types) && slices.Equal(a.MLflowEvents, b.MLflowEvents)
	return types && a.Name == b.Name && a.Description == b.Description && a.Filters == b.Filters && a.CredentialID == b.CredentialID &&
		a.SinkHost == b.SinkHost && a.Format == b.Format && a.Ordering == b.Ordering && a.Rate == b.Rate
}

func (cmd *ChangeSubscription) etag(v projections.View) (uint64, bool) {
	return subscriptionETag(v, cmd.Subscription)
}

func credentialChanged(s *projections.Subscription) error {
	return RuleError{CodeCredentialChanged, "subscription " + s.ID.String() + " got another sink or secret in the meantime; send it again"}
}

// Delivery says of a subscription whether it goes on, and why.
type Delivery struct {
	Reason string `json:"reason,omitempty"`
}

func (d *Delivery) check() error {
	var c checker
	c.length("/reason", d.Reason, MaxReason)
	return c.err()
}

// PauseSubscription asks that nothing be delivered until the subscription is resumed.
type PauseSubscription struct {
	Subscription string   `json:"subscription"` // its id
	Delivery     Delivery `json:"delivery"`
}

// Kind names the command.
func (*PauseSubscription) Kind() string { return "pause_subscription" }

func (cmd *PauseSubscription) check() error { return cmd.Delivery.check() }

func (cmd *PauseSubscription) decide(v projections.View, _ occasion) (decision, error) {
	s, _, err := FindSubscription(v, cmd.Subscription)
	if err != nil {
		return decision{}, err
	}
	if s.Status == projections.SubscriptionPaused {
		return alreadySo(subscriptionResource(s))
	}
	return write(events.SubscriptionPaused{SubscriptionID: s.ID, Reason: events.Plain(cmd.Delivery.Reason)})
}

func (cmd *PauseSubscription) etag(v projections.View) (uint64, bool) {
	return subscriptionETag(v, cmd.Subscription)
}

// ResumeSubscription asks that deliveries go on, also those of a subscription that was
// disabled.
type ResumeSubscription struct {
	Subscription string   `json:"subscription"` // its id
	Delivery     Delivery `json:"delivery"`
}

// Kind names the command.
func (*ResumeSubscription) Kind() string { return "resume_subscription" }

func (cmd *ResumeSubscription) check() error { return cmd.Delivery.check() }

func (cmd *ResumeSubscription) decide(v projections.View, _ occasion) (decision, error) {
	s, _, err := FindSubscription(v, cmd.Subscription)
	if err != nil {
		return decision{}, err
	}
	if s.Status == projections.SubscriptionActive {
		return alreadySo(subscriptionResource(s))
	}
	return write(events.SubscriptionResumed{SubscriptionID: s.ID, Reason: events.Plain(cmd.Delivery.Reason)})
}

func (cmd *ResumeSubscription) etag(v projections.View) (uint64, bool) {
	return subscriptionETag(v, cmd.Subscription)
}

// DisableSubscription asks that nothing be delivered any more to an endpoint that is
// gone, or fails. Whoever delivers asks for it; no API does.
type DisableSubscription struct {
	Subscription string              `json:"subscription"` // its id
	Cause        events.DisableCause `json:"cause"`
	FailingSince time.Time           `json:"failing_since,omitzero"`
	Reason       string              `json:"reason,omitempty"`
	// Since is the sequence of the event that made it active. If it was resumed after
	// that, it stays active.
	Since uint64 `json:"since"`
}

// Kind names the command.
func (*DisableSubscription) Kind() string { return "disable_subscription" }

func (cmd *DisableSubscription) check() error {
	var c checker
	oneOf(&c, "/cause", cmd.Cause, []events.DisableCause{events.CauseGone, events.CauseFailing})
	c.length("/reason", cmd.Reason, MaxReason)
	return c.err()
}

func (cmd *DisableSubscription) decide(v projections.View, _ occasion) (decision, error) {
	s, _, err := FindSubscription(v, cmd.Subscription)
	if err != nil {
		return decision{}, err
	}
	if s.Status != projections.SubscriptionActive || s.Since != cmd.Since {
		return alreadySo(subscriptionResource(s))
	}
	return write(events.SubscriptionDisabled{
		SubscriptionID: s.ID, Cause: cmd.Cause, FailingSince: cmd.FailingSince.Truncate(time.Millisecond), Reason: events.Plain(cmd.Reason),
	})
}

func (cmd *DisableSubscription) etag(v projections.View) (uint64, bool) {
	return subscriptionETag(v, cmd.Subscription)
}

// DefaultSecretOverlap and MaxSecretOverlap are how long an old secret signs too.
const (
	DefaultSecretOverlap = 24 * time.Hour
	MaxSecretOverlap     = 7 * 24 * time.Hour
)

// RotateSecret asks that deliveries be signed with a new secret, and for some time
// with the one before too.
type RotateSecret struct {
	Subscription string        `json:"subscription"` // its id
	ValidFor     time.Duration `json:"valid_for"`    // that the old secret signs too
	Reason       string        `json:"reason,omitempty"`

	// What follows isn't asked for: the record with both secrets, the one that it is
	// made from, and when the old secret ends.
	CredentialID ulid.ULID `json:"credential_id,omitzero"`
	Instead      ulid.ULID `json:"instead,omitzero"`
	Until        time.Time `json:"until,omitzero"` // zero for at once
}

// Kind names the command.
func (*RotateSecret) Kind() string { return "rotate_secret" }

func (cmd *RotateSecret) asked() any {
	asked := *cmd
	asked.CredentialID, asked.Instead, asked.Until = ulid.ULID{}, ulid.ULID{}, time.Time{}
	return asked
}

func (cmd *RotateSecret) check() error {
	var c checker
	if cmd.ValidFor < 0 || cmd.ValidFor > MaxSecretOverlap {
		c.fail("/valid_for", "range", "must be a duration from 0s to %v", MaxSecretOverlap)
	}
	c.length("/reason", cmd.Reason, MaxReason)
	return c.err()
}

func (cmd *RotateSecret) decide(v projections.View, _ occasion) (decision, error) {
	s, _, err := FindSubscription(v, cmd.Subscription)
	if err != nil {
		return decision{}, err
	}
	if s.Settings.SinkHost == "" {
		return decision{}, NoSink()
	}
	switch s.Settings.CredentialID {
	case cmd.CredentialID:
		return alreadySo(subscriptionResource(s))
	case cmd.Instead:
		return write(events.SubscriptionSecretRotated{
			SubscriptionID: s.ID, CredentialID: cmd.CredentialID, Until: cmd.Until.Truncate(time.Millisecond), Reason: events.Plain(cmd.Reason),
		})
	default:
		return decision{}, credentialChanged(s)
	}
}

func (cmd *RotateSecret) etag(v projections.View) (uint64, bool) {
	return subscriptionETag(v, cmd.Subscription)
}

// DeleteSubscription asks that a subscription be gone, with all that waits to be
// delivered.
type DeleteSubscription struct {
	Subscription string   `json:"subscription"` // its id
	Deletion     Deletion `json:"deletion"`
}

// Kind names the command.
func (*DeleteSubscription) Kind() string { return "delete_subscription" }

func (cmd *DeleteSubscription) check() error { return cmd.Deletion.check() }

func (cmd *DeleteSubscription) decide(v projections.View, _ occasion) (decision, error) {
	s, _, err := FindSubscription(v, cmd.Subscription)
	if err != nil {
		return decision{}, err
	}
	return write(events.SubscriptionDeleted{SubscriptionID: s.ID, SinkHost: s.Settings.SinkHost, Reason: events.Plain(cmd.Deletion.Reason)})
}

func (cmd *DeleteSubscription) etag(v projections.View) (uint64, bool) {
	return subscriptionETag(v, cmd.Subscription)
}

// FindSubscription finds a subscription by its id as text. It fails with NotFoundError.
// The sequence is the one for its ETag.
func FindSubscription(v projections.View, id string) (*projections.Subscription, uint64, error) {
	if parsed, err := ulid.ParseStrict(id); err == nil {
		if s, sequence, ok := v.Subscription(parsed); ok {
			return s, sequence, nil
		}
	}
	return nil, 0, NotFoundError{What: CodeSubscriptionNotFound, Name: id}
}

func subscriptionETag(v projections.View, id string) (uint64, bool) {
	_, sequence, err := FindSubscription(v, id)
	return sequence, err == nil
}

func subscriptionResource(s *projections.Subscription) events.Resource {
	return events.Resource{Root: events.Root{Kind: events.SubscriptionRoot, ID: s.ID}}
}
