package format_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/cloudevents"
	"github.com/modelog/modelog/handlers/webhooks/format"
	"github.com/modelog/modelog/projections"
)

func cdEvent(t *testing.T, f *format.Formats, sequence uint64, subject string, d events.Data) []byte {
	t.Helper()
	e := events.Event{Sequence: sequence, Registry: registryID, Subject: subject, Time: time.Unix(0, 0), Data: d}
	bodies, _, err := f.Render(&events.SubscriptionSettings{Format: events.FormatCDEvents}, e, nil)
	if err != nil || len(bodies) != 1 {
		t.Fatalf("got %s, %v", bodies, err)
	}
	return bodies[0]
}

// TestAnotherRegistryUnderstandsOurCDEvents publishes them, and looks at what they ask for.
func TestAnotherRegistryUnderstandsOurCDEvents(t *testing.T) {
	f := formats()
	scorer := projections.TargetName{Environment: "prod", Name: "scorer"}
	variants := []events.Variant{
		{ModelID: fraudID, Version: 3, Role: events.RoleChallenger}, {ModelID: baseID, Version: 4, Role: events.RoleChampion}, {ModelID: fraudID, Version: 5, Role: events.RoleShadow},
	}
	for _, test := range []struct {
		subject string
		d       events.Data
		want    handlers.Command
	}{
		{"models/x/versions/8", events.VersionRegistered{ModelID: fraudID, Version: 8, Source: "s3://b/ä?x=1&y=2#z"}, &handlers.RegisterVersion{
			Model: "Größe 100%", Spec: handlers.VersionSpec{Version: 8, Source: "s3://b/ä?x=1&y=2#z"},
		}},
		{"models/x/versions/8", events.VersionRegistered{ModelID: baseID, Version: 8, Source: "pkg:mlflow/base@8"}, &handlers.RegisterVersion{
			Model: "base", Spec: handlers.VersionSpec{Version: 8, Source: "pkg:mlflow/base@8"},
		}},
		{"targets/prod/scorer", events.DeploymentDeployed{TargetID: targetID, Variants: variants}, &handlers.DeployVersion{
			Target: scorer, Deployment: handlers.Deployment{Model: "base", Ref: "4"},
		}},
		{"targets/prod/scorer", events.DeploymentRolledBack{TargetID: targetID, Variants: variants[:1]}, &handlers.RollBackToVersion{Target: scorer, Model: "Größe 100%", Ref: "3"}},
		{"targets/prod/scorer", events.DeploymentWithdrawn{TargetID: targetID}, &handlers.Undeploy{Target: scorer}},
	} {
		body := cdEvent(t, f, 10, test.subject, test.d)
		items, _, err := cloudevents.Decode(http.Header{"Content-Type": {"application/cloudevents+json"}}, body)
		if err != nil || len(items) != 1 || items[0].Err != nil {
			t.Errorf("%T: %v, %+v: %s", test.d, err, items, body)
			continue
		}
		call, err := cloudevents.Map(items[0].Event)
		if err != nil {
			t.Errorf("%T: %v", test.d, err)
			continue
		}
		if diff := cmp.Diff(test.want, call.Command); diff != "" {
			t.Errorf("%T (-want +got):\n%s", test.d, diff)
		}
	}
}

func TestADeploymentOverAnotherIsAnUpgrade(t *testing.T) {
	deployed := events.DeploymentDeployed{TargetID: targetID, Variants: []events.Variant{{ModelID: baseID, Version: 1, Role: events.RoleChampion, Weight: 10_000}}}
	registered := events.VersionRegistered{ModelID: baseID, Version: 1, Source: "s"}
	typeOf := func(happened ...events.Data) string {
		happened = append(happened, deployed)
		var e struct {
			Type string
			Data struct{ Context struct{ Type string } }
		}
		if err := json.Unmarshal(cdEvent(t, formats(happened...), uint64(4+len(happened)), "targets/prod/scorer", deployed), &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != e.Data.Context.Type {
			t.Errorf("the types are %s and %s", e.Type, e.Data.Context.Type)
		}
		return e.Type
	}
	if got := typeOf(registered); got != "dev.cdevents.service.deployed.0.2.0" {
		t.Errorf("the first one is %s", got)
	}
	if got := typeOf(registered, deployed); got != "dev.cdevents.service.upgraded.0.2.0" {
		t.Errorf("the second one is %s", got)
	}
	if got := typeOf(registered, deployed, events.DeploymentWithdrawn{TargetID: targetID}); got != "dev.cdevents.service.deployed.0.2.0" {
		t.Errorf("after a withdrawal it is %s", got)
	}
}
