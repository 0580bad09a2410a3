package handlers

import (
	"strings"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

var (
	hook       = ulid.MustParse("01KXFT0005H00K000000000000")
	credential = ulid.MustParse("01KXFT0006CREDENT1A1000000")
	otherOne   = ulid.MustParse("01KXFT0007CREDENT1A1000000")
)

func spec() SubscriptionSpec {
	return SubscriptionSpec{Format: events.FormatCloudEvents, Ordering: events.OrderByKey, Signature: events.SignHMAC}
}

func settingsOf(change func(*events.SubscriptionSettings)) events.SubscriptionSettings {
	s := events.SubscriptionSettings{
		SinkHost: "https://h", CredentialID: credential, Format: events.FormatCloudEvents, Ordering: events.OrderByKey, Signature: events.SignHMAC,
	}
	if change != nil {
		change(&s)
	}
	return s
}

func subscribed(id ulid.ULID) events.Data {
	return events.SubscriptionCreated{SubscriptionID: id, Settings: settingsOf(nil)}
}

func hookAt(id ulid.ULID) events.Resource {
	return events.Resource{Root: events.Root{Kind: events.SubscriptionRoot, ID: id}}
}

var errNoHook = NotFoundError{What: CodeSubscriptionNotFound, Name: hook.String()}

func TestCreateSubscription(t *testing.T) {
	create := func(change func(*CreateSubscription)) Command {
		cmd := &CreateSubscription{Spec: spec(), Sink: Sink{Host: "https://h", CredentialID: credential}}
		change(cmd)
		return cmd
	}
	some := all(registered(fraud, "fraud"), registered(churn, "churn")) // events 2 and 3
	var full []events.Data
	for i := range MaxSubscriptions {
		full = append(full, subscribed(idOf(uint64(i+1))))
	}
	runScenarios(t, []scenario{
		{
			name: "it has the id of its event, and begins after the last one", given: some, when: create(func(*CreateSubscription) {}),
			then: events.SubscriptionCreated{SubscriptionID: newID, Settings: settingsOf(nil), After: 3},
		},
		{
			name: "everything that is asked for stands in it", given: some, when: create(func(cmd *CreateSubscription) {
				cmd.Spec = SubscriptionSpec{"n", "d", []string{"t"}, "[]", events.FormatMLflow, []string{"prompt.created", "model_version.created", "prompt.created"}, events.OrderStrict, 10_000, events.SignEd25519}
				cmd.After = new(uint64)
			}),
			then: events.SubscriptionCreated{SubscriptionID: newID, Settings: events.SubscriptionSettings{
				Name: "n", Description: events.Plain("d"), Types: []string{"t"}, Filters: "[]", SinkHost: "https://h", CredentialID: credential,
				Format: events.FormatMLflow, MLflowEvents: []string{"model_version.created", "prompt.created"}, Ordering: events.OrderStrict, Rate: 10_000, Signature: events.SignEd25519,
			}},
		},
		{name: "it may begin after the last event", given: some, when: create(func(cmd *CreateSubscription) { cmd.After = new(uint64(3)) }), then: events.SubscriptionCreated{SubscriptionID: newID, Settings: settingsOf(nil), After: 3}},
		{name: "it may not begin later", given: some, when: create(func(cmd *CreateSubscription) { cmd.After = new(uint64(4)) }), refused: invalid("/start not_in_the_future")},
		{name: "the same again is another one", given: all(subscribed(hook)), when: create(func(*CreateSubscription) {}), then: events.SubscriptionCreated{SubscriptionID: newID, Settings: settingsOf(nil), After: 2}},
		{name: "unknown words are refused, all of them", when: create(func(cmd *CreateSubscription) { cmd.Spec = SubscriptionSpec{Format: "xml"} }), refused: invalid("/format one_of", "/ordering one_of", "/signature one_of")},
		{name: "a rate below 0 is refused", when: create(func(cmd *CreateSubscription) { cmd.Spec.Rate = -1 }), refused: invalid("/rate range")},
		{name: "a rate above 10000 is refused", when: create(func(cmd *CreateSubscription) { cmd.Spec.Rate = 10_001 }), refused: invalid("/rate range")},
		{name: "16 KiB of filters are taken", when: create(func(cmd *CreateSubscription) { cmd.Spec.Filters = strings.Repeat("f", 16<<10) }), then: events.SubscriptionCreated{SubscriptionID: newID, Settings: settingsOf(func(s *events.SubscriptionSettings) { s.Filters = strings.Repeat("f", 16<<10) }), After: 1}},
		{name: "more are refused", when: create(func(cmd *CreateSubscription) { cmd.Spec.Filters = strings.Repeat("f", 16<<10+1) }), refused: invalid("/filters max_length")},
		{name: "a long name is refused", when: create(func(cmd *CreateSubscription) { cmd.Spec.Name = strings.Repeat("n", 101) }), refused: invalid("/name max_length")},
		{name: "a name on two lines is refused", when: create(func(cmd *CreateSubscription) { cmd.Spec.Name = "a\nb" }), refused: invalid("/name no_control_characters")},
		{name: "MLflow's events go with its format", when: create(func(cmd *CreateSubscription) { cmd.Spec.MLflowEvents = MLflowEvents }), refused: invalid("/mlflow_events format")},
		{name: "what MLflow doesn't have is refused", when: create(func(cmd *CreateSubscription) {
			cmd.Spec.Format, cmd.Spec.MLflowEvents = events.FormatMLflow, []string{"prompt.created", "model_version.deleted"}
		}), refused: invalid("/mlflow_events/1 one_of")},
		{name: "101 types are refused", when: create(func(cmd *CreateSubscription) { cmd.Spec.Types = make([]string, 101) }), refused: invalid("/types max_items")},
		{name: "a long description is refused", when: create(func(cmd *CreateSubscription) { cmd.Spec.Description = strings.Repeat("d", 100_001) }), refused: invalid("/description max_length")},
		{
			name: "without a sink its events are fetched", given: some, when: create(func(cmd *CreateSubscription) { cmd.Sink = Sink{} }),
			then: events.SubscriptionCreated{SubscriptionID: newID, Settings: settingsOf(polled), After: 3},
		},
		{name: "what is about deliveries is refused then", when: create(func(cmd *CreateSubscription) {
			cmd.Sink = Sink{}
			cmd.Spec.Format, cmd.Spec.Ordering, cmd.Spec.Rate, cmd.Spec.Signature = events.FormatSlack, events.OrderNone, 1, events.SignEd25519
		}), refused: invalid("/format no_sink", "/ordering no_sink", "/rate no_sink", "/signature no_sink")},
		{name: "a user in the sink is refused", when: create(func(cmd *CreateSubscription) { cmd.Sink.Host = "https://u@h" }), refused: invalid("/sink sink")},
		{name: "a host without end is refused", when: create(func(cmd *CreateSubscription) { cmd.Sink.Host = "https://" + strings.Repeat("h", 300) }), refused: invalid("/sink sink")},
		{name: "10000 subscriptions are enough", given: full, when: create(func(*CreateSubscription) {}), refused: RuleError{Rule: CodeTooManySubscriptions}},
		{
			name: "one less is not", given: append(full[1:len(full):len(full)], events.SubscriptionDeleted{SubscriptionID: idOf(2)}), when: create(func(*CreateSubscription) {}),
			then: events.SubscriptionCreated{SubscriptionID: newID, Settings: settingsOf(nil), After: MaxSubscriptions + 1},
		},
	})
}

// polled makes settings those of a subscription without a sink.
func polled(s *events.SubscriptionSettings) { s.SinkHost, s.CredentialID = "", ulid.ULID{} }

func TestASubscriptionWithoutASinkStaysSo(t *testing.T) {
	given := all(events.SubscriptionCreated{SubscriptionID: hook, Settings: settingsOf(polled)})
	slack, rate := events.FormatSlack, 5
	refused := RuleError{Rule: CodeNoSink}
	runScenarios(t, []scenario{
		{name: "it gets no sink", given: given, when: &ChangeSubscription{Subscription: hook.String(), Sink: &Sink{Host: "https://h", CredentialID: otherOne}}, refused: refused},
		{name: "it has no secret", given: given, when: &RotateSecret{Subscription: hook.String(), CredentialID: otherOne}, refused: refused},
		{name: "it has no format", given: given, when: &ChangeSubscription{Subscription: hook.String(), Changes: SubscriptionChanges{Format: &slack}}, refused: invalid("/format no_sink")},
		{name: "it has no rate", given: given, when: &ChangeSubscription{Subscription: hook.String(), Changes: SubscriptionChanges{Rate: &rate}}, refused: invalid("/rate no_sink")},
	})
}

func TestChangeSubscription(t *testing.T) {
	change := func(ch SubscriptionChanges) *ChangeSubscription {
		return &ChangeSubscription{Subscription: hook.String(), Changes: ch}
	}
	changed := func(ch func(*events.SubscriptionSettings)) events.Data {
		return events.SubscriptionChanged{SubscriptionID: hook, Settings: settingsOf(ch)}
	}
	to := func(instead ulid.ULID) Command {
		cmd := change(SubscriptionChanges{})
		cmd.Sink, cmd.Instead = &Sink{Host: "https://other", CredentialID: otherOne}, instead
		return cmd
	}
	moved := changed(func(s *events.SubscriptionSettings) { s.SinkHost, s.CredentialID = "https://other", otherOne })
	rate, text, none := 5, "d", []string(nil)
	typed := all(events.SubscriptionCreated{SubscriptionID: hook, Settings: settingsOf(func(s *events.SubscriptionSettings) { s.Types = []string{"t"} })})
	only, slack := []string{"prompt.created"}, events.FormatSlack
	ofMLflow := func(s *events.SubscriptionSettings) { s.Format, s.MLflowEvents = events.FormatMLflow, only }
	mlflow := all(events.SubscriptionCreated{SubscriptionID: hook, Settings: settingsOf(ofMLflow)})
	secret := events.Text{Sealed: &events.Sealed{KeyID: "k"}}
	sealed := all(events.SubscriptionCreated{SubscriptionID: hook, Settings: settingsOf(func(s *events.SubscriptionSettings) { s.Description = secret })})
	runScenarios(t, []scenario{
		{name: "what is given changes", given: all(subscribed(hook)), when: change(SubscriptionChanges{Rate: &rate, Description: &text}), then: changed(func(s *events.SubscriptionSettings) { s.Rate, s.Description = 5, events.Plain("d") })},
		{name: "no change is nothing", given: all(subscribed(hook)), when: change(SubscriptionChanges{}), so: hookAt(hook)},
		{name: "the same again is nothing", given: typed, when: change(SubscriptionChanges{Types: &[]string{"t"}}), so: hookAt(hook)},
		{name: "no types are all types", given: typed, when: change(SubscriptionChanges{Types: &none}), then: changed(nil)},
		{name: "a sealed description stays", given: sealed, when: change(SubscriptionChanges{Rate: &rate}), then: changed(func(s *events.SubscriptionSettings) { s.Rate, s.Description = 5, secret })},
		{name: "it may be called something", given: all(subscribed(hook)), when: change(SubscriptionChanges{Name: &text}), then: changed(func(s *events.SubscriptionSettings) { s.Name = "d" })},
		{name: "MLflow's events may be all", given: mlflow, when: change(SubscriptionChanges{MLflowEvents: &none}), then: changed(func(s *events.SubscriptionSettings) { s.Format = events.FormatMLflow })},
		{name: "the same of MLflow's events are nothing new", given: mlflow, when: change(SubscriptionChanges{MLflowEvents: &only}), so: hookAt(hook)},
		{name: "MLflow's events don't go along to another format", given: mlflow, when: change(SubscriptionChanges{Format: &slack}), then: changed(func(s *events.SubscriptionSettings) { s.Format = slack })},
		{name: "MLflow's events don't come to another format", given: all(subscribed(hook)), when: change(SubscriptionChanges{MLflowEvents: &only}), refused: invalid("/mlflow_events format")},
		{name: "another sink comes with another credential", given: all(subscribed(hook)), when: to(credential), then: moved},
		{name: "a credential that is in force is nothing new", given: all(subscribed(hook), moved), when: to(credential), so: hookAt(hook)},
		{name: "a credential made from an old one is refused", given: all(subscribed(hook)), when: to(newID), refused: RuleError{Rule: CodeCredentialChanged}},
		{name: "what is wrong is refused", given: all(subscribed(hook)), when: change(SubscriptionChanges{Format: new(events.DeliveryFormat)}), refused: invalid("/format one_of")},
		{name: "one that isn't there is not found", when: change(SubscriptionChanges{}), refused: errNoHook},
		{name: "one that was deleted is not found", given: all(subscribed(hook), events.SubscriptionDeleted{SubscriptionID: hook}), when: change(SubscriptionChanges{}), refused: errNoHook},
		{name: "what is no id is not found", when: &ChangeSubscription{Subscription: "x"}, refused: NotFoundError{What: CodeSubscriptionNotFound, Name: "x"}},
	})
}

func TestStatusOfSubscription(t *testing.T) {
	id, why := hook.String(), Delivery{Reason: "r"}
	paused := events.SubscriptionPaused{SubscriptionID: hook, Reason: events.Plain("r")}
	resumed := events.SubscriptionResumed{SubscriptionID: hook, Reason: events.Plain("r")}
	disabled := events.SubscriptionDisabled{SubscriptionID: hook, Cause: events.CauseGone}
	disable := func(since uint64) Command {
		return &DisableSubscription{Subscription: id, Cause: events.CauseGone, Since: since}
	}
	runScenarios(t, []scenario{
		{name: "an active one is paused", given: all(subscribed(hook)), when: &PauseSubscription{id, why}, then: paused},
		{name: "a paused one is paused", given: all(subscribed(hook), paused), when: &PauseSubscription{id, why}, so: hookAt(hook)},
		{name: "a disabled one is paused", given: all(subscribed(hook), disabled), when: &PauseSubscription{id, why}, then: paused},
		{name: "a paused one is resumed", given: all(subscribed(hook), paused), when: &ResumeSubscription{id, why}, then: resumed},
		{name: "a disabled one is resumed", given: all(subscribed(hook), disabled), when: &ResumeSubscription{id, why}, then: resumed},
		{name: "an active one is active", given: all(subscribed(hook)), when: &ResumeSubscription{id, why}, so: hookAt(hook)},
		{name: "an active one is disabled", given: all(subscribed(hook)), when: disable(2), then: disabled},
		{name: "a disabled one is disabled", given: all(subscribed(hook), disabled), when: disable(2), so: hookAt(hook)},
		{name: "a paused one stays paused", given: all(subscribed(hook), paused), when: disable(2), so: hookAt(hook)},
		{name: "one that was resumed meanwhile stays active", given: all(subscribed(hook), disabled, resumed), when: disable(2), so: hookAt(hook)},
		{
			name: "since when it fails is told", given: all(subscribed(hook)), when: &DisableSubscription{Subscription: id, Cause: events.CauseFailing, FailingSince: firstMoment.Add(1), Reason: "status 500", Since: 2},
			then: events.SubscriptionDisabled{SubscriptionID: hook, Cause: events.CauseFailing, FailingSince: firstMoment, Reason: events.Plain("status 500")},
		},
		{name: "no cause is refused", when: &DisableSubscription{Subscription: id}, refused: invalid("/cause one_of")},
		{name: "a long reason is refused", when: &PauseSubscription{id, Delivery{strings.Repeat("r", 4_001)}}, refused: invalid("/reason max_length")},
		{name: "nothing to pause", when: &PauseSubscription{id, why}, refused: errNoHook},
		{name: "nothing to resume", when: &ResumeSubscription{id, why}, refused: errNoHook},
		{name: "nothing to disable", when: disable(2), refused: errNoHook},
	})
}

func TestRotateSecretAndDeleteSubscription(t *testing.T) {
	rotate := func(validFor time.Duration, instead ulid.ULID) Command {
		return &RotateSecret{Subscription: hook.String(), ValidFor: validFor, Reason: "r", CredentialID: otherOne, Instead: instead, Until: firstMoment.Add(validFor + 1)}
	}
	rotated := events.SubscriptionSecretRotated{SubscriptionID: hook, CredentialID: otherOne, Until: firstMoment.Add(time.Hour), Reason: events.Plain("r")}
	remove := &DeleteSubscription{Subscription: hook.String(), Deletion: Deletion{Reason: "r"}}
	runScenarios(t, []scenario{
		{name: "both secrets are in the other credential", given: all(subscribed(hook)), when: rotate(time.Hour, credential), then: rotated},
		{name: "a credential that is in force is nothing new", given: all(subscribed(hook), rotated), when: rotate(time.Hour, credential), so: hookAt(hook)},
		{name: "a credential made from an old one is refused", given: all(subscribed(hook)), when: rotate(time.Hour, newID), refused: RuleError{Rule: CodeCredentialChanged}},
		{name: "more than a week is refused", given: all(subscribed(hook)), when: rotate(7*24*time.Hour+1, credential), refused: invalid("/valid_for range")},
		{name: "less than nothing is refused", given: all(subscribed(hook)), when: rotate(-1, credential), refused: invalid("/valid_for range")},
		{name: "nothing to rotate", when: rotate(0, credential), refused: errNoHook},
		{name: "it is deleted", given: all(subscribed(hook)), when: remove, then: events.SubscriptionDeleted{SubscriptionID: hook, SinkHost: "https://h", Reason: events.Plain("r")}},
		{name: "one that was deleted is not found", given: all(subscribed(hook), events.SubscriptionDeleted{SubscriptionID: hook}), when: remove, refused: errNoHook},
	})
}

// TestAKeyIsBoundToTheEndpointAndNotToItsCredential: what is made anew for each
// request is not a part of its content.
func TestAKeyIsBoundToTheEndpointAndNotToItsCredential(t *testing.T) {
	content := func(cmd Command) events.Hash {
		_, content, err := (&Request{Command: cmd, Key: "k"}).hashes()
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	create := func(id ulid.ULID, endpoint events.Hash) Command {
		return &CreateSubscription{Spec: spec(), Sink: Sink{Host: "https://h", CredentialID: id, Endpoint: endpoint}}
	}
	change := func(id ulid.ULID, endpoint events.Hash) Command {
		return &ChangeSubscription{Subscription: hook.String(), Sink: &Sink{Host: id.String(), CredentialID: id, Endpoint: endpoint}, Instead: id}
	}
	for name, of := range map[string]func(ulid.ULID, events.Hash) Command{"create": create, "change": change} {
		if content(of(credential, events.Hash{1})) != content(of(otherOne, events.Hash{1})) {
			t.Errorf("%s: the same asked again has other content", name)
		}
		if content(of(credential, events.Hash{1})) == content(of(credential, events.Hash{2})) {
			t.Errorf("%s: another endpoint has the same content", name)
		}
	}
	rotate := func(id ulid.ULID, validFor time.Duration) Command {
		return &RotateSecret{Subscription: hook.String(), ValidFor: validFor, CredentialID: id, Instead: id, Until: id.Timestamp()}
	}
	if content(rotate(credential, 1)) != content(rotate(otherOne, 1)) || content(rotate(credential, 1)) == content(rotate(credential, 2)) {
		t.Error("a rotation is not bound to how long the old secret is valid, and to that alone")
	}
}

var (
	someHook = mostly([]string{hook.String(), idOf(3).String(), idOf(9).String()}, "", "x")
	someRate = mostly([]int{0, 5}, -1)
)

var randomSubscription = rapid.Custom(func(t *rapid.T) Command {
	id, why := someHook.Draw(t, "subscription"), someText.Draw(t, "reason")
	credentials := rapid.SampledFrom([]ulid.ULID{credential, otherOne, idOf(4)})
	sink := Sink{Host: "https://h", CredentialID: credentials.Draw(t, "credential")}
	rate := someRate.Draw(t, "rate")
	return rapid.SampledFrom([]Command{
		&CreateSubscription{Spec: SubscriptionSpec{
			Description: why, Format: events.FormatSlack, Ordering: events.OrderNone, Rate: rate, Signature: events.SignHMAC,
		}, Sink: sink},
		&ChangeSubscription{Subscription: id, Changes: SubscriptionChanges{Rate: &rate}},
		&ChangeSubscription{Subscription: id, Sink: &sink, Instead: credentials.Draw(t, "instead")},
		&PauseSubscription{id, Delivery{why}},
		&ResumeSubscription{id, Delivery{why}},
		&DisableSubscription{Subscription: id, Cause: events.CauseGone, Since: uint64(rapid.IntRange(1, 9).Draw(t, "since"))},
		&RotateSecret{Subscription: id, CredentialID: sink.CredentialID, Instead: credentials.Draw(t, "instead")},
		&DeleteSubscription{Subscription: id, Deletion: Deletion{Reason: why}},
	}).Draw(t, "what")
})
