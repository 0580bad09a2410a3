package events

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnEventIsShownAndReadAsItsCloudEventIs(t *testing.T) {
	for kind, e := range examples() {
		ce, err := CloudEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		want, err := AppendCloudEvent(nil, ce)
		if err != nil {
			t.Fatal(err)
		}
		got, err := AppendEvent([]byte("before "), e)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("before "+string(want), string(got)); diff != "" {
			t.Errorf("%s is shown otherwise (-want +got):\n%s", kind, diff)
		}
		read, err := ReadEvent(want)
		if err != nil {
			t.Errorf("%s can't be read: %v", kind, err)
			continue
		}
		ours, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := Encode(read)
		if err != nil || ours.Sum() != theirs.Sum() || read.Sequence != e.Sequence || read.Canonical() == nil {
			t.Errorf("%s is read as another (%v)", kind, err)
		}
	}
}

func TestAnEventIsReadStrictly(t *testing.T) {
	var e Event
	for _, e = range examples() {
		if e.Type() == "dev.modelog.alias.assigned.v1" {
			break
		}
	}
	line, err := AppendEvent(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	good := string(line)
	for name, bad := range map[string]string{
		"nothing":              "",
		"no JSON":              "fraud",
		"an array":             "[]",
		"cut off":              good[:len(good)-3],
		"more after it":        good + "{}",
		"an attribute twice":   `{"id":"x",` + good[1:],
		"an unknown attribute": `{"color":"red",` + good[1:],
		"a number for an id":   strings.Replace(good, `"specversion":"1.0"`, `"specversion":1.0`, 1),
		"null for an actor":    strings.Replace(good, `"specversion"`, `"authid":null,"specversion"`, 1),
		"no data":              good[:strings.Index(good, `,"data"`)] + "}",
		"another time":         strings.Replace(good, `Z","`, `+00:00","`, 1),
		"a foreign source":     strings.Replace(good, `urn:modelog:`, `urn:other:`, 1),
		"an unknown type":      strings.Replace(good, `assigned.v1"`, `assigned.v9"`, 1),
		"a short sequence":     strings.Replace(good, `"sequence":"0000`, `"sequence":"0`, 1),
		"unknown data":         strings.Replace(good, `"data":{`, `"data":{"color":"red",`, 1),
	} {
		if bad == good {
			t.Fatalf("%s: nothing was changed in %s", name, good)
		}
		if _, err := ReadEvent([]byte(bad)); err == nil {
			t.Errorf("%s is read: %s", name, bad)
		}
	}
	if _, err := ReadEvent(line); err != nil {
		t.Errorf("the good one isn't read: %v", err)
	}
	if _, err := AppendEvent(nil, Event{Subject: "x", Time: time.Unix(1, 0), Principal: "\xff", Data: e.Data}); err == nil {
		t.Error("text that isn't UTF-8 is shown")
	}
}
