package principals_test

import (
	"testing"
	"time"

	"github.com/modelog/modelog/handlers/principals"
)

func TestFindLooksForWhatAnotherReplicaAdded(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	now := moment
	cfg := config(log)
	cfg.Now = func() time.Time { return now }
	here, err := principals.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	there := open(t, log)
	anna := idOf(t, there, "anna")
	if _, ok := here.Name(anna); ok {
		t.Error("anna is known before anybody looked")
	}
	if name, ok := here.Find(t.Context(), anna); name != "anna" || !ok {
		t.Errorf("found %q, %t", name, ok)
	}
	ben := idOf(t, there, "ben")
	if _, ok := here.Find(t.Context(), ben); ok {
		t.Error("the stream was read again at once")
	}
	now = now.Add(time.Second)
	if name, ok := here.Find(t.Context(), ben); name != "ben" || !ok {
		t.Errorf("found %q, %t", name, ok)
	}
	erase(t, there, ben)
	now = now.Add(time.Second)
	if name, ok := here.Find(t.Context(), "prn_00000000000000000000000000"); ok {
		t.Errorf("found %q", name)
	}
	if name, ok := here.Find(t.Context(), ben); ok {
		t.Errorf("found %q, who is erased", name)
	}
}

func TestIsIDKnowsTheForm(t *testing.T) {
	for text, want := range map[string]bool{
		"prn_01K0000000000000000000000A": true, "01K0000000000000000000000A": false, "prn_": false, "prn_01K000000000000000000000OA!": false, "anna": false,
	} {
		if principals.IsID(text) != want {
			t.Errorf("IsID(%q) is not %t", text, want)
		}
	}
}
