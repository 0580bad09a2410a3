package events

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

func TestAnEventWithEverythingHasAllAttributeNames(t *testing.T) {
	id := ulid.ULID{1}
	e := Event{
		Sequence: 7, ID: id, Registry: id, Subject: "models/fraud", Time: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC),
		Principal: "prn_1", CorrelationID: "a", CausationID: "b", TraceParent: "c", OriginSource: "d", OriginID: "e",
		Occurred: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Key: Hash{1}, Request: Hash{2},
		Data: ModelRegistered{ModelID: id, Name: "fraud"},
	}
	all, err := Attributes(e)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range all {
		names = append(names, a.Name)
		if a.Name == "sequence" && a.Value != "00000000000000000007" {
			t.Errorf("the sequence is spelled %s", a.Value)
		}
	}
	slices.Sort(names)
	want := slices.Sorted(slices.Values(AttributeNames()))
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("the names differ:\n%s", diff)
	}
}
