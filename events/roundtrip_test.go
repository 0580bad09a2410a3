package events

import (
	"reflect"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameEvent compares events as the codec sees them: nil and empty can't be told
// apart in either form, and there is one NaN.
var sameEvent = cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateNaNs(), cmpopts.IgnoreUnexported(Event{})}

func TestEveryKindHasAFilledExample(t *testing.T) {
	filled := examples()
	for kind := range Kinds() {
		if _, ok := filled[kind]; !ok {
			t.Errorf("add an example of %s to examples()", kind)
		}
	}
	for kind, e := range filled {
		if _, ok := Kinds()[kind]; !ok {
			t.Errorf("%s has an example, and no row in its file's list of readers", kind)
		}
		for _, path := range emptyFields(reflect.ValueOf(e.Data), "") {
			t.Errorf("the example of %s leaves %s empty", kind, path)
		}
	}
}

func emptyFields(v reflect.Value, path string) []string {
	if v.IsZero() {
		return []string{path}
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	whole := v.Type() == reflect.TypeFor[Text]() || v.Type() == reflect.TypeFor[time.Time]() // a text is plain or sealed
	if v.Kind() != reflect.Struct || whole {
		return nil
	}
	var empty []string
	for i := range v.NumField() {
		empty = append(empty, emptyFields(v.Field(i), path+"."+v.Type().Field(i).Name)...)
	}
	return empty
}

func TestDecodeGivesBackWhatEncodeWrote(t *testing.T) {
	for kind, e := range examples() {
		t.Run(kind, func(t *testing.T) {
			got, err := Decode(stored(t, e))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, got, sameEvent); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnEventWithoutOptionalAttributesHasNone(t *testing.T) {
	e := Event{
		Sequence: 1, ID: eventID, Registry: registryID, Subject: "registry", Time: examples()["registry.created.v1"].Time,
		Data: RegistryCreated{RegistryID: registryID, Level: 1},
	}
	s := stored(t, e)
	got, err := Decode(s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, got, sameEvent); diff != "" {
		t.Error(diff)
	}
	if len(s.Header) != 9 {
		t.Errorf("want the nine attributes that every event has, got %v", s.Header)
	}
}

// TestTheEdgesKeepTheBytes goes from the log over the edges and back: whoever
// exports and imports a log gets the same log.
func TestTheEdgesKeepTheBytes(t *testing.T) {
	for kind, e := range examples() {
		t.Run(kind, func(t *testing.T) {
			want := stored(t, e)
			got := stored(t, fromJSON(t, toJSON(t, decoded(t, want))))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheSDKReadsWhatWeWrite(t *testing.T) {
	for kind, e := range examples() {
		t.Run(kind, func(t *testing.T) {
			ours, err := CloudEvent(e)
			if err != nil {
				t.Fatal(err)
			}
			var theirs cloudevents.Event
			if err := theirs.UnmarshalJSON(toJSON(t, e)); err != nil {
				t.Fatal(err)
			}
			if err := theirs.Validate(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(attributesOf(ours), attributesOf(theirs), cmp.AllowUnexported(edgeAttribute{})); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(string(ours.Data()), string(theirs.Data())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAppendingKeepsWhatWasThere(t *testing.T) {
	e := examples()["alias.assigned.v1"]
	ce, err := CloudEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	for name, appendTo := range map[string]func([]byte) ([]byte, error){
		"AppendJSON":       func(dst []byte) ([]byte, error) { return AppendJSON(dst, e.Data) },
		"AppendCanonical":  func(dst []byte) ([]byte, error) { return AppendCanonical(dst, e.Data) },
		"AppendCloudEvent": func(dst []byte) ([]byte, error) { return AppendCloudEvent(dst, ce) },
	} {
		alone, err := appendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		after, err := appendTo([]byte("before\n"))
		if err != nil {
			t.Fatal(err)
		}
		if string(after) != "before\n"+string(alone) {
			t.Errorf("%s: got %q", name, after)
		}
	}
}

func decoded(tb testing.TB, s Stored) Event {
	tb.Helper()
	e, err := Decode(s)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func toJSON(tb testing.TB, e Event) []byte {
	tb.Helper()
	ce, err := CloudEvent(e)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := AppendCloudEvent(nil, ce)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func fromJSON(tb testing.TB, b []byte) Event {
	tb.Helper()
	e, err := readEdge(b)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// readEdge reads one of modelog's own events from its JSON.
func readEdge(b []byte) (Event, error) {
	ce, err := ParseCloudEvent(b)
	if err != nil {
		return Event{}, err
	}
	return FromCloudEvent(ce)
}

func TestSizeIsThatOfTheMessage(t *testing.T) {
	e := Encoded{Subject: "s.1", Header: []HeaderField{{"ce-id", "1"}, {"ce-type", "abc"}}, Data: []byte{0x80}}
	if got, want := e.Size(), len("s.1"+"ce-id: 1\r\n"+"ce-type: abc\r\n")+1; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}
