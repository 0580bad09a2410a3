package events

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestARegistrationIsPackedAsItsPlanSays(t *testing.T) {
	check := func(t interface {
		Helper()
		Fatal(...any)
		Fatalf(string, ...any)
	}, e VersionRegistered,
	) (byHand bool) {
		t.Helper()
		var want packWriter
		wrong := packByPlan(&want, e)
		got := packWriter{buf: []byte("before")}
		if byHand = e.pack(&got); byHand && wrong != nil {
			t.Fatalf("%+v was packed, and shouldn't be: %v", e, wrong)
		}
		if byHand && !bytes.Equal(append([]byte("before"), want.buf...), got.buf) {
			t.Fatalf("%+v:\ngot  %x\nwant %x", e, got.buf[len("before"):], want.buf)
		}
		b, err := AppendCanonical([]byte("x"), e)
		if (err == nil) != (wrong == nil) || err == nil && string(b) != "x"+string(want.buf) {
			t.Fatalf("%+v: got %x, %v, want %x, %v", e, b, err, want.buf, wrong)
		}
		return byHand
	}
	if !check(t, VersionRegistered{}) || !check(t, VersionRegistered{Artifacts: []Artifact{{}}, Datasets: []Dataset{{}}, Code: &Code{}, BaseModel: &VersionID{}, Signature: &Signature{}}) {
		t.Error("a plain one isn't packed by hand")
	}
	rapid.Check(t, func(t *rapid.T) { check(t, anyVersion(t)) })
	bad := "\xff"
	for _, e := range []VersionRegistered{
		{Source: bad},
		{Format: bad},
		{RunID: bad},
		{Tags: map[string]string{bad: ""}},
		{Parameters: map[string]string{"a": bad}},
		{Metrics: map[string]float64{bad: 1}},
		{Artifacts: []Artifact{{Path: bad}}},
		{Datasets: []Dataset{{Role: bad}}},
		{Code: &Code{Commit: bad}},
		{Description: Text{Plain: bad}},
		{Description: Text{Plain: "a", Sealed: &Sealed{}}},
	} {
		if check(t, e) {
			t.Errorf("%+v was packed", e)
		}
	}
}
