package handlers

import (
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"pgregory.net/rapid"
)

// TestANodeIsReadAsItIsSpelled spells nodes whose names are made of what the
// spelling uses itself.
func TestANodeIsReadAsItIsSpelled(t *testing.T) {
	text := func(least int) *rapid.Generator[string] {
		return rapid.StringOfN(rapid.SampledFrom([]rune("ab:/@#%.")), least, 8, -1)
	}
	namespace := rapid.OneOf(rapid.Just(""), text(0), rapid.Map(text(1), func(s string) string { return "s3://" + s }))
	v := projections.New().At(0)
	rapid.Check(t, func(t *rapid.T) {
		d := events.DatasetVersion{
			Namespace: namespace.Draw(t, "namespace"), Name: text(1).Draw(t, "name"),
			Version: text(0).Draw(t, "version"), Digest: rapid.OneOf(rapid.Just(""), rapid.Just("sha256:ab"), text(0)).Draw(t, "digest"),
		}
		for _, n := range []events.LineageNode{
			d.Node(), {Kind: events.JobNode, Namespace: d.Namespace, Name: d.Name}, {Kind: events.FeatureNode, Namespace: d.Namespace, Name: d.Name},
		} {
			spelled := NodeName(v, n)
			read, err := ParseNode(v, "/node", spelled)
			if err != nil && strings.Contains(err.Error(), "credentials") {
				continue // it is read, and refused for what it says
			}
			if err != nil || read != n {
				t.Fatalf("%+v is spelled %q, which is read as %+v (%v)", n, spelled, read, err)
			}
		}
	})
}

func TestADigestNeedsNoNamespace(t *testing.T) {
	n, err := ParseNode(projections.New().At(0), "/node", "dataset:transactions@2026:1#sha256:ab")
	want := events.DatasetVersion{Name: "transactions", Version: "2026:1", Digest: "sha256:ab"}.Node()
	if err != nil || n != want {
		t.Errorf("it is %+v (%v), want %+v", n, err, want)
	}
}
