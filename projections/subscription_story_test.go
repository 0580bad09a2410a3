package projections_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// worldSubscriptions has the subscriptions as they were created, also those that are
// gone.
type worldSubscriptions []*shownSubscription

// shownSubscription is what is shown of a subscription.
type shownSubscription struct {
	ID               ulid.ULID
	Path             string
	Settings         events.SubscriptionSettings
	After            uint64
	Status           projections.SubscriptionStatus
	Since            uint64
	Cause            events.DisableCause
	Failing          time.Time
	Reason           events.Text
	OldSecret        time.Time
	Created, Updated time.Time
	By               string
	Sequence         uint64 // of the last event that changed it

	gone bool
}

func (w *worldSubscriptions) happen(e events.Event) {
	if e.Data.Resource().Root.Kind != events.SubscriptionRoot {
		return
	}
	id := e.Data.Resource().Root.ID
	if _, first := e.Data.(events.SubscriptionCreated); first {
		*w = append(*w, &shownSubscription{ID: id, Path: "subscriptions/" + id.String(), Created: at(e), By: e.Principal})
	}
	s := (*w)[slices.IndexFunc(*w, func(s *shownSubscription) bool { return s.ID == id })]
	s.Updated, s.Sequence = at(e), e.Sequence
	become := func(status projections.SubscriptionStatus, reason events.Text) {
		s.Status, s.Since, s.Reason, s.Cause, s.Failing = status, e.Sequence, reason, "", time.Time{}
	}
	switch d := e.Data.(type) { //nolint:gochecksumtype // the others are told of elsewhere
	case events.SubscriptionCreated:
		become(projections.SubscriptionActive, events.Text{})
		s.Settings, s.After = d.Settings, d.After
	case events.SubscriptionChanged:
		s.Settings = d.Settings
	case events.SubscriptionPaused:
		become(projections.SubscriptionPaused, d.Reason)
	case events.SubscriptionResumed:
		become(projections.SubscriptionActive, d.Reason)
	case events.SubscriptionDisabled:
		become(projections.SubscriptionDisabled, d.Reason)
		s.Cause, s.Failing = d.Cause, d.FailingSince
	case events.SubscriptionSecretRotated:
		s.Settings.CredentialID, s.OldSecret = d.CredentialID, d.Until
	case events.SubscriptionDeleted:
		s.gone = true
	default:
		panic("the stories don't tell of " + e.Type())
	}
}

func (w *worldSubscriptions) live() worldSubscriptions {
	return slices.DeleteFunc(slices.Clone(*w), func(s *shownSubscription) bool { return s.gone })
}

func (w *worldSubscriptions) show() (all []shownSubscription) {
	for _, s := range w.live() {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b shownSubscription) int { return a.ID.Compare(b.ID) })
	return all
}

// showSubscriptions reads everything that a view gives of subscriptions.
func showSubscriptions(v projections.View) (all []shownSubscription) {
	for s := range v.Subscriptions(ulid.ULID{}) {
		_, sequence, ok := v.Subscription(s.ID)
		if !ok {
			panic(fmt.Sprintf("as of %d, %v is listed and isn't there", v.Sequence, s.ID))
		}
		all = append(all, shownSubscription{
			ID: s.ID, Path: v.Path(events.Resource{Root: events.Root{Kind: events.SubscriptionRoot, ID: s.ID}}), Settings: s.Settings, After: s.After,
			Status: s.Status, Since: s.Since, Cause: s.Cause, Failing: s.FailingSince(), Reason: s.Reason, OldSecret: s.OldSecretUntil(),
			Created: s.CreatedAt(), Updated: s.UpdatedAt(), By: s.CreatedBy, Sequence: sequence,
		})
	}
	return all
}

// wantGone checks that subscriptions that are gone can't be found, but are known.
func (w *worldSubscriptions) wantGone(t rapid.TB, v projections.View) {
	t.Helper()
	for _, s := range *w {
		if _, _, ok := v.Subscription(s.ID); ok == s.gone || !v.SubscriptionKnown(s.ID) {
			t.Fatalf("as of %d, subscription %v is there: %v, and known: %v", v.Sequence, s.ID, ok, v.SubscriptionKnown(s.ID))
		}
	}
}

func settings(t *rapid.T, credential ulid.ULID) events.SubscriptionSettings {
	return events.SubscriptionSettings{
		Description: text(t, "description"), SinkHost: "https://hooks.example.com", CredentialID: credential,
		Types:  rapid.SampledFrom([][]string{nil, {"dev.modelog.version.promoted.v1"}}).Draw(t, "types"),
		Format: events.FormatSlack, Ordering: events.OrderStrict, Rate: rapid.IntRange(0, 2).Draw(t, "rate"), Signature: events.SignHMAC,
		Filters: rapid.SampledFrom([]string{"", `[{"exact":{"subject":"models/a"}}]`}).Draw(t, "filters"),
	}
}

func subscribe(t *rapid.T, _ *world, id ulid.ULID) events.Data {
	return events.SubscriptionCreated{SubscriptionID: id, Settings: settings(t, id), After: rapid.Uint64Range(0, 3).Draw(t, "after")}
}

// changeSubscription draws what happens to a subscription next.
func changeSubscription(t *rapid.T, w *world, event ulid.ULID) events.Data {
	live := w.subscriptions.live()
	if len(live) == 0 {
		return nil
	}
	s := rapid.SampledFrom(live).Draw(t, "subscription")
	moment := rapid.SampledFrom([]time.Time{{}, firstMoment}).Draw(t, "moment")
	reason := text(t, "reason")
	return rapid.SampledFrom([]events.Data{
		events.SubscriptionChanged{SubscriptionID: s.ID, Settings: settings(t, event)},
		events.SubscriptionPaused{SubscriptionID: s.ID, Reason: reason},
		events.SubscriptionResumed{SubscriptionID: s.ID, Reason: reason},
		events.SubscriptionDisabled{SubscriptionID: s.ID, Cause: events.CauseFailing, FailingSince: moment, Reason: reason},
		events.SubscriptionSecretRotated{SubscriptionID: s.ID, CredentialID: event, Until: moment, Reason: reason},
		events.SubscriptionDeleted{SubscriptionID: s.ID, SinkHost: s.Settings.SinkHost, Reason: reason},
	}).Draw(t, "what")
}
