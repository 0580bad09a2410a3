package handlers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// Identities of what the scenarios are about.
var (
	registryID = ulid.MustParse("01KXFT0000REG1STRY00000000")
	fraud      = ulid.MustParse("01KXFT0001FRAVD00000000000")
	churn      = ulid.MustParse("01KXFT0002CHVRN00000000000")
	scorer     = ulid.MustParse("01KXFT0003SC0RER0000000000")
	newID      = ulid.MustParse("01KXFT0009NEW0000000000000") // of the event that the command makes
)

var firstMoment = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)

// scenario is one decision: given these events after registry.created, which is
// event 1, when this is asked, then this event follows, or nothing, or it is
// refused.
type scenario struct {
	name    string
	given   []events.Data
	when    Command
	then    events.Data     // nil for nothing and for a refusal
	so      events.Resource // with nothing: what the answer is about
	refused Refusal         // compared by its stable parts
	saying  string          // in the refusal's text
}

func runScenarios(t *testing.T, scenarios []scenario) {
	t.Helper()
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			state := fold(s.given...)
			v := state.At(state.Applied())
			got, err := decide(v, s.when, newID)
			if s.refused != nil {
				wantRefusal(t, err, s.refused, s.saying)
				return
			}
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			if diff := cmp.Diff(s.then, got.event, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("another event (-want +got):\n%s", diff)
			}
			about := s.so
			if s.then != nil {
				about = s.then.Resource()
			}
			if diff := cmp.Diff(about, got.resource); diff != "" {
				t.Errorf("about something else (-want +got):\n%s", diff)
			}
		})
	}
}

// decide asks as the registrar does.
func decide(v projections.View, cmd Command, id ulid.ULID) (decision, error) {
	if err := cmd.check(); err != nil {
		return decision{}, err
	}
	return cmd.decide(v, occasion{id: id})
}

// stable leaves out the texts, which may be worded anew.
var stable = cmp.Options{
	cmpopts.IgnoreFields(FieldError{}, "Detail"),
	cmpopts.IgnoreFields(NotFoundError{}, "Hint"),
	cmpopts.IgnoreFields(ExistsError{}, "Hint"),
	cmpopts.IgnoreFields(RuleError{}, "Detail"),
	cmpopts.IgnoreFields(UnavailableError{}, "Detail", "RetryAfter"),
	cmpopts.IgnoreFields(OutcomeUnknownError{}, "ID"),
}

func wantRefusal(t *testing.T, err error, want Refusal, saying string) {
	t.Helper()
	got, ok := errors.AsType[Refusal](err)
	if !ok {
		t.Fatalf("got %v, want a refusal %T", err, want)
	}
	if diff := cmp.Diff(want, got, stable); diff != "" {
		t.Errorf("another refusal (-want +got):\n%s", diff)
	}
	if !strings.Contains(err.Error(), saying) {
		t.Errorf("%q doesn't say %q", err, saying)
	}
}

// invalid is the refusal of fields, each given as "pointer rule".
func invalid(fields ...string) InvalidError {
	e := InvalidError{}
	for _, f := range fields {
		pointer, rule, _ := strings.Cut(f, " ")
		e.Fields = append(e.Fields, FieldError{Pointer: pointer, Rule: rule})
	}
	return e
}

// fold gives the state after registry.created and the given events, a second
// apart.
func fold(given ...events.Data) *projections.State {
	state := projections.New()
	for _, d := range append([]events.Data{events.RegistryCreated{RegistryID: registryID, Level: events.Level}}, given...) {
		state.Apply(factAfter(state, d))
	}
	return state
}

func factAfter(state *projections.State, d events.Data) events.Event {
	n := state.Applied() + 1
	return events.Event{
		Sequence: n, Registry: registryID, Subject: "somewhere", Principal: "prn_test",
		ID: idOf(n), Time: firstMoment.Add(time.Duration(n) * time.Second), Data: d,
	}
}

// idOf gives each sequence an identity of its own.
func idOf(sequence uint64) (id ulid.ULID) {
	for i := range 8 {
		id[15-i] = byte(sequence >> (8 * i))
	}
	return id
}

func registered(id ulid.ULID, name string) events.Data {
	return events.ModelRegistered{ModelID: id, Name: name}
}

// versions registers the versions 1..n of a model.
func versions(model ulid.ULID, n int) []events.Data {
	var given []events.Data
	for i := range n {
		given = append(given, version(model, i+1, ""))
	}
	return given
}

func version(model ulid.ULID, number int, semver string) events.Data {
	return events.VersionRegistered{ModelID: model, Version: number, Semver: semver, Source: "s3://models/x"}
}

// promoted moves a new version.
func promoted(model ulid.ULID, number int, to string) events.Data {
	return events.VersionPromoted{ModelID: model, Version: number, From: "None", To: to}
}

// assigned makes a new alias.
func assigned(model ulid.ULID, alias string, to int) events.Data {
	return events.AliasAssigned{ModelID: model, Alias: alias, To: to}
}

func defined(id ulid.ULID, name string) events.Data {
	return events.TargetDefined{TargetID: id, Environment: "prod", Name: name}
}

func deployed(target, model ulid.ULID, number int) events.Data {
	return events.DeploymentDeployed{TargetID: target, Strategy: events.AllAtOnce, Variants: allOf(model, number)}
}

func rolledBack(target ulid.ULID, from, to uint64, model ulid.ULID, number int) events.Data {
	return events.DeploymentRolledBack{TargetID: target, From: from, To: to, Strategy: events.AllAtOnce, Variants: allOf(model, number)}
}

// allOf is the route table of one version.
func allOf(model ulid.ULID, number int) []events.Variant {
	return []events.Variant{{ModelID: model, Version: number, Role: events.RoleChampion, Weight: events.FullWeight}}
}

// all joins given events.
func all(parts ...any) []events.Data {
	var given []events.Data
	for _, p := range parts {
		switch p := p.(type) {
		case []events.Data:
			given = append(given, p...)
		case events.Data:
			given = append(given, p)
		}
	}
	return given
}

func modelAt(id ulid.ULID) events.Resource {
	return events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: id}}
}

func targetAt(id ulid.ULID) events.Resource {
	return events.Resource{Root: events.Root{Kind: events.TargetRoot, ID: id}}
}

var prodScorer = projections.TargetName{Environment: "prod", Name: "scorer"}
