package events

import (
	"bytes"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// packed is the msgpack of an object with these members, in this order: names
// and values take turns. A value that is already msgpack is a msgpack.RawMessage.
func packed(tb testing.TB, members ...any) msgpack.RawMessage {
	tb.Helper()
	var b bytes.Buffer
	enc := msgpack.NewEncoder(&b)
	enc.UseCompactInts(true)
	if err := enc.EncodeMapLen(len(members) / 2); err != nil {
		tb.Fatal(err)
	}
	for _, m := range members {
		if err := enc.Encode(m); err != nil {
			tb.Fatal(err)
		}
	}
	return b.Bytes()
}

func raw(bytes ...byte) msgpack.RawMessage { return bytes }

// setHeader puts values in the place of those that a header has.
func setHeader(s *Stored, name string, values ...string) {
	s.Header = slices.DeleteFunc(slices.Clone(s.Header), func(f HeaderField) bool { return f.Name == name })
	for _, v := range values {
		s.Header = append(s.Header, HeaderField{name, v})
	}
	slices.SortStableFunc(s.Header, func(a, b HeaderField) int { return strings.Compare(a.Name, b.Name) })
}

// headerOf gives a header's value, empty without one.
func headerOf(s Stored, name string) string {
	for _, f := range s.Header {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// TestDecodeIsStrict damages a good event on the log, each time in one place.
func TestDecodeIsStrict(t *testing.T) {
	header := func(name string, values ...string) func(*Stored) {
		return func(s *Stored) { setHeader(s, name, values...) }
	}
	without := func(name string) func(*Stored) {
		return func(s *Stored) { setHeader(s, name) }
	}
	data := func(members ...any) func(*Stored) {
		return func(s *Stored) { s.Data = packed(t, members...) }
	}
	id := modelID.String()
	cases := []struct {
		name   string
		damage func(*Stored)
		want   string
	}{
		{"a header of somebody else", header("X-Trace", "1"), `header "X-Trace" is not one of an event`},
		{"a header in upper case", header("Ce-Id", "1"), `header "Ce-Id" is not one of an event`},
		{"a header twice", header("ce-id", eventID.String(), eventID.String()), `header "ce-id" is there twice, or out of order`},
		{"headers out of order", func(s *Stored) {
			s.Header = slices.Clone(s.Header)
			slices.Reverse(s.Header)
		}, "is there twice, or out of order"},
		{"an unknown attribute", header("ce-priority", "1"), "attribute priority: unknown to this release"},
		{"the sequence, which is derived", header("ce-sequence", FormatSequence(4721)), "attribute sequence: unknown to this release"},
		{"an attribute without a name", header("ce-", "1"), "unknown to this release"},
		{"an empty attribute", header("ce-authid", ""), "attribute authid is empty"},
		{"a broken encoding", header("ce-originid", "100%"), `header "ce-originid"`},
		{"a needless encoding", header("ce-originid", "%41"), `header "ce-originid"`},
		{"a raw space", header("ce-originid", "a b"), `header "ce-originid"`},
		{"an attribute that is not UTF-8", header("ce-originid", "%FF"), `header "ce-originid"`},
		{"another version of CloudEvents", header("ce-specversion", "1.1"), `attribute specversion: "1.1" must be "1.0"`},
		{"another content type", header("ce-datacontenttype", "application/json"), `attribute datacontenttype: "application/json" must be "application/msgpack"`},
		{"an id that is no ULID", header("ce-id", "8"), `attribute id: "8" is not a ULID`},
		{"an id in lower case", header("ce-id", strings.ToLower(eventID.String())), "is not a ULID in upper case"},
		{"an id that is too large", header("ce-id", "80000000000000000000000000"), "is not a ULID"},
		{"a source of somebody else", header("ce-source", "urn:other:1"), "attribute source"},
		{"a source that is no ULID", header("ce-source", "urn:modelog:1"), "attribute source"},
		{"a type of somebody else", header("ce-type", "com.example.built"), "attribute type"},
		{"an unknown kind", header("ce-type", "dev.modelog.alias.painted.v1"), `attribute type: "dev.modelog.alias.painted.v1" is not a type that this release reads`},
		{"an unknown major", header("ce-type", "dev.modelog.version.registered.v9"), `attribute type: "dev.modelog.version.registered.v9" is not a type that this release reads`},
		{"a schema of another kind than the type", header("ce-type", "dev.modelog.target.defined.v1"), "attribute dataschema"},
		{"data of another kind", func(s *Stored) {
			setHeader(s, "ce-type", "dev.modelog.target.defined.v1")
			setHeader(s, "ce-dataschema", "https://modelog.dev/schemas/target/defined/v1.json")
		}, `data: unknown field "alias"`},
		{"a schema of another kind", header("ce-dataschema", "https://modelog.dev/schemas/version/registered/v1.json"), "attribute dataschema"},
		{"a schema of another major", header("ce-dataschema", "https://modelog.dev/schemas/alias/assigned/v2.json"), "attribute dataschema"},
		{"a schema of somebody else", header("ce-dataschema", "https://example.org/schemas/alias/assigned/v1.json"), "attribute dataschema"},
		{"a subject with a space", header("ce-subject", "models/a%20b"), "attribute subject"},
		{"a time without milliseconds", header("ce-time", "2026-11-23T20:03:00Z"), `attribute time: "2026-11-23T20:03:00Z" is not a time`},
		{"a time with microseconds", header("ce-time", "2026-11-23T20:03:00.123456Z"), "attribute time"},
		{"a time in another zone", header("ce-time", "2026-11-23T20:03:00.123+01:00"), "attribute time"},
		{"a time with an hour of one digit", header("ce-time", "2026-11-23T2:03:00.1230Z"), "attribute time"},
		{"a time in lower case", header("ce-time", "2026-11-23t20:03:00.123z"), "attribute time"},
		{"a time with a comma", header("ce-time", "2026-11-23T20:03:00,123Z"), "attribute time"},
		{"a time that never was", header("ce-time", "2026-02-30T20:03:00.123Z"), "attribute time"},
		{"the zero time", header("ce-time", "0001-01-01T00:00:00.000Z"), "attribute time"},
		{"a zero time of occurrence", header("ce-occurredtime", "0001-01-01T00:00:00.000Z"), "attribute occurredtime"},
		{"a short hash", header("ce-idempotencykey", "ab"), `attribute idempotencykey: "ab" is not 32 hex digits`},
		{"a hash in upper case", header("ce-idempotencykey", strings.Repeat("AB", 16)), "attribute idempotencykey"},
		{"a hash of zeros", header("ce-requestdigest", strings.Repeat("0", 32)), "attribute requestdigest"},
		{"another partition key", header("ce-partitionkey", targetID.String()), "attribute partitionkey"},
		{"no specversion", without("ce-specversion"), "attribute specversion is missing"},
		{"no id", without("ce-id"), "attribute id is missing"},
		{"no source", without("ce-source"), "attribute source is missing"},
		{"no type", without("ce-type"), "attribute type is missing"},
		{"no subject", without("ce-subject"), "attribute subject is missing"},
		{"no time", without("ce-time"), "attribute time is missing"},
		{"no content type", without("ce-datacontenttype"), "attribute datacontenttype is missing"},
		{"no schema", without("ce-dataschema"), "attribute dataschema is missing"},
		{"no partition key", without("ce-partitionkey"), "attribute partitionkey is missing"},
		{"no headers", func(s *Stored) { s.Header = nil }, "is missing"},
		{"the NATS subject of another event", func(s *Stored) { s.Subject = strings.Replace(s.Subject, "assigned", "removed", 1) }, "it stands under the subject"},

		{"no data", func(s *Stored) { s.Data = nil }, "data: want an object"},
		{"something else than an object", func(s *Stored) { s.Data = raw(0x90) }, "data: want an object"},
		{"bytes after the data", func(s *Stored) { s.Data = append(bytes.Clone(s.Data), 0xc0) }, "1 bytes follow the data"},
		{"cut data", func(s *Stored) { s.Data = s.Data[:len(s.Data)-1] }, "data: "},
		{"an unknown field", data("alias", "a", "color", "red", "model_id", id, "to", 8), `data: unknown field "color"`},
		{"a field twice", data("alias", "a", "alias", "a", "model_id", id, "to", 8), `data: key "alias" is a duplicate or out of order`},
		{"fields out of order", data("model_id", id, "alias", "a", "to", 8), `data: key "alias" is a duplicate or out of order`},
		{"no required field", data("alias", "a", "model_id", id), `data: missing field "to"`},
		{"no field at all", data(), "data: missing field"},
		{"an empty optional text", data("alias", "a", "model_id", id, "reason", "", "to", 8), "data: reason: is empty"},
		{"an empty optional number", data("alias", "a", "from", 0, "model_id", id, "to", 8), "data: from: is empty"},
		{"a null", data("alias", nil, "model_id", id, "to", 8), "data: alias: want a string"},
		{"a name that is bytes", data("alias", []byte("a"), "model_id", id, "to", 8), "data: alias: want a string"},
		{"a key that is a number", data(1, "a", "model_id", id, "to", 8), "data: want a string"},
		{"a name that is not UTF-8", data("alias", "a\xff", "model_id", id, "to", 8), "data: alias: a string is not UTF-8"},
		{"a text that is not UTF-8", data("alias", "a", "model_id", id, "reason", "\xff", "to", 8), "data: reason: a string is not UTF-8"},
		{"a ULID in lower case", data("alias", "a", "model_id", strings.ToLower(id), "to", 8), "data: model_id: "},
		{"a number as a text", data("alias", "a", "model_id", id, "to", "8"), "data: to: want an integer"},
		{"a number as a float", data("alias", "a", "model_id", id, "to", 8.0), "data: to: want an integer"},
		{"a number that is too large", data("alias", "a", "model_id", id, "to", uint64(math.MaxUint64)), "data: to: "},
		{"a long form of a number", data("alias", "a", "model_id", id, "to", raw(0xcc, 8)), "data: to: "},
		{"a long form of a text", data("alias", raw(0xd9, 1, 'a'), "model_id", id, "to", 8), "data: alias: "},
		{"a sealed text with something in it", data("alias", "a", "model_id", id, "reason", packed(t, "sealed", packed(t, "alg", "A", "ct", "C", "iv", "", "kid", "K", "nonce", "N")), "to", 8), `data: reason: sealed: unknown field "iv"`},
		{"a sealed text with something missing", data("alias", "a", "model_id", id, "reason", packed(t, "sealed", packed(t, "alg", "A")), "to", 8), `data: reason: sealed: missing field "ct"`},
		{"a text that is neither", data("alias", "a", "model_id", id, "reason", 7, "to", 8), "data: reason: want a string"},
	}
	good := stored(t, examples()["alias.assigned.v1"])
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := good
			c.damage(&s)
			_, err := Decode(s)
			refused(t, err, c.want)
			checkUnreadable(t, err, s)
		})
	}
}

// checkUnreadable checks that the error of Decode tells where it stopped.
func checkUnreadable(t *testing.T, err error, s Stored) {
	t.Helper()
	var unreadable *UnreadableError
	if !errors.As(err, &unreadable) {
		t.Fatalf("got a %T, want an *UnreadableError", err)
	}
	kind := headerOf(s, "ce-type")
	if unreadable.Sequence != s.Sequence || unreadable.Type != kind {
		t.Errorf("got sequence %d and type %q, want %d and %q", unreadable.Sequence, unreadable.Type, s.Sequence, kind)
	}
	if errors.Unwrap(unreadable) == nil {
		t.Error("it wraps no cause")
	}
}

func TestAnUnreadableEventSaysWhichItIs(t *testing.T) {
	cause := errors.New("no such field")
	for _, c := range []struct {
		err  UnreadableError
		want string
	}{
		{UnreadableError{7, "dev.modelog.alias.assigned.v1", cause}, "event 7 (dev.modelog.alias.assigned.v1) can't be read: no such field; it was damaged, or written by a later release of modelog"},
		{UnreadableError{7, "", cause}, "event 7 (unknown type) can't be read: no such field; it was damaged, or written by a later release of modelog"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestHeadersOfNATSAreIgnored(t *testing.T) {
	want := examples()["alias.assigned.v1"]
	s := stored(t, want)
	setHeader(&s, "Nats-Expected-Last-Sequence", "4720")
	setHeader(&s, "Nats-Sequence", "1", "2")
	if got := decoded(t, s); got.ID != want.ID {
		t.Errorf("got %+v", got)
	}
}

// forms has a field of every form that the codec knows.
type forms struct {
	Array   Range              `json:"array"`
	Bool    bool               `json:"bool"`
	Bytes   []byte             `json:"bytes,omitempty"`
	Float   float64            `json:"float"`
	Hash    Hash               `json:"hash"`
	Int     int64              `json:"int"`
	Map     map[string]float64 `json:"map,omitempty"`
	Object  Object             `json:"object,omitempty"`
	Pointer *Code              `json:"pointer,omitempty"`
	Slice   []string           `json:"slice,omitempty"`
	String  string             `json:"string"`
	Uint    uint64             `json:"uint"`
}

// TestReadCanonicalTakesOneFormOfEachValue: equal values have equal bytes, so
// that any other bytes are refused.
func TestReadCanonicalTakesOneFormOfEachValue(t *testing.T) {
	for _, c := range []struct {
		field string
		value any
		want  string
	}{
		{"array", raw(0x91, 1), "array: the array has fewer than 2 elements"},
		{"array", raw(0x93, 1, 2, 3), "array: the array has more than 2 elements"},
		{"array", raw(0x92, 1, 0xc0), "array: 1: want an integer"},
		{"array", raw(0xdc, 0, 2, 1, 2), "array: "}, // a long length
		{"array", 1, "array: want an array"},
		{"bool", 1, "bool: want true or false"},
		{"bool", nil, "bool: want true or false"},
		{"bytes", "text", "bytes: want bytes"},
		{"bytes", []byte{}, "bytes: is empty"},
		{"bytes", raw(0xc5, 0, 1, 1), "bytes: "}, // a long length
		{"bytes", raw(0xc6, 0, 0, 0, 1, 1), "bytes: "},
		{"float", 1, "float: want a float64"},
		{"float", float32(1), "float: want a float64"},
		{"float", "NaN", "float: want a float64"},
		{"float", quietNaN, "float: "}, // another NaN
		{"hash", strings.Repeat("AB", 16), "hash: "},
		{"hash", "", "hash: "},
		{"int", true, "int: want an integer"},
		{"int", 1.0, "int: want an integer"},
		{"int", uint64(math.MaxInt64 + 1), "int: 9223372036854775808 is too large"},
		{"int", raw(0xcd, 0, 200), "int: "},
		{"int", raw(0xce, 0, 0, 255, 255), "int: "},
		{"int", raw(0xcf, 0, 0, 0, 0, 255, 255, 255, 255), "int: "},
		{"int", raw(0xd0, 5), "int: "},
		{"int", raw(0xd0, 0xe0), "int: "},
		{"int", raw(0xd1, 0xff, 0x80), "int: "},
		{"int", raw(0xd2, 0xff, 0xff, 0x80, 0x00), "int: "},
		{"int", raw(0xd3, 0xff, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00), "int: "},
		{"int", raw(0xd3, 0, 0, 0, 1, 0, 0, 0, 0), "int: "}, // a positive one as int64
		{"uint", -1, "uint: -1 is negative"},
		{"uint", raw(0xcc, 127), "uint: "},
		{"uint", "1", "uint: want an integer"},
		{"map", raw(0x80), "map: is empty"},
		{"map", []int{1}, "map: want an object"},
		{"map", packed(t, "b", 1.0, "a", 1.0), `map: key "a" is a duplicate or out of order`},
		{"map", packed(t, "a", 1.0, "a", 1.0), `map: key "a" is a duplicate or out of order`},
		{"map", packed(t, "a", "1"), "map: a: want a float64"},
		{"map", raw(0xde, 0, 1, 0xa1, 'a', 0xcb, 0, 0, 0, 0, 0, 0, 0, 0), "map: "},
		{"object", packed(t, "b", 1, "a", 1), `object: key "a" is a duplicate or out of order`},
		{"object", packed(t, "o", packed(t, "b", 1, "a", 1)), `object: o: key "a" is a duplicate or out of order`},
		{"object", packed(t, "n", 1.0), "object: n: "}, // 1 is an integer
		{"object", packed(t, "n", 1e16), "object: n: "},
		{"object", packed(t, "n", math.Copysign(0, -1)), "object: n: "},
		{"object", packed(t, "n", math.NaN()), "object: n: NaN is not a JSON number"},
		{"object", packed(t, "n", math.Inf(1)), "object: n: +Inf is not a JSON number"},
		{"object", packed(t, "n", uint64(math.MaxUint64)), "object: n: 18446744073709551615 is too large"},
		{"object", packed(t, "n", float32(0.5)), "object: n: want a JSON value"},
		{"object", packed(t, "n", []byte("x")), "object: n: want a JSON value"},
		{"object", packed(t, "n", raw(0xd4, 1, 0)), "object: n: want a JSON value"}, // an extension type
		{"object", packed(t, "n", raw(0xc1)), "object: n: want a JSON value"},       // never used
		{"object", packed(t, "n", "\xff"), "object: n: a string is not UTF-8"},
		{"object", packed(t, "\xff", 1), "object: a string is not UTF-8"},
		{"pointer", nil, "pointer: want an object"},
		{"pointer", packed(t, "commit", "", "repository", "r"), "pointer: commit: is empty"},
		{"slice", raw(0x90), "slice: is empty"},
		{"slice", []any{"a", nil}, "slice: 1: want a string"},
		{"string", 1, "string: want a string"},
		{"string", nil, "string: want a string"},
		{"string", "\xed\xa0\x80", "string: a string is not UTF-8"}, // half a surrogate pair
		{"string", raw(0xda, 0, 1, 'x'), "string: "},
		{"string", raw(0xdb, 0, 0, 0, 1, 'x'), "string: "},
	} {
		var into forms
		refused(t, ReadCanonical(formsWith(t, c.field, c.value), &into), c.want)
	}
	var into forms
	if err := ReadCanonical(formsWith(t, "", nil), &into); err != nil {
		t.Error("without a change:", err)
	}
}

func formsWith(t *testing.T, field string, value any) []byte {
	t.Helper()
	members := []any{
		"array", raw(0x92, 1, 2),
		"bool", true,
		"bytes", raw(0xc4, 1, 1),
		"float", 0.5,
		"hash", strings.Repeat("ab", 16),
		"int", -1,
		"map", packed(t, "a", 1.0),
		"object", packed(t, "a", nil),
		"pointer", packed(t, "repository", "r"),
		"slice", raw(0x91, 0xa1, 'a'),
		"string", "s",
		"uint", 1,
	}
	for i := 0; i < len(members); i += 2 {
		if members[i] == field {
			members[i+1] = value
		}
	}
	return packed(t, members...)
}

// TestLyingLengthsAreNotBelieved: ten bytes must not make the process set aside
// gigabytes.
func TestLyingLengthsAreNotBelieved(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff}
	for name, data := range map[string][]byte{
		"bytes":              append([]byte{0x81, 0xa5, 'b', 'y', 't', 'e', 's', 0xc6}, huge...),
		"an array":           append([]byte{0x81, 0xa5, 's', 'l', 'i', 'c', 'e', 0xdd}, huge...),
		"a map":              append([]byte{0x81, 0xa3, 'm', 'a', 'p', 0xdf}, huge...),
		"a string":           append([]byte{0x81, 0xa6, 's', 't', 'r', 'i', 'n', 'g', 0xdb}, huge...),
		"an object":          append([]byte{0xdf}, huge...),
		"a key":              append([]byte{0x81, 0xdb}, huge...),
		"an array of arrays": append([]byte{0x81, 0xa6, 'o', 'b', 'j', 'e', 'c', 't', 0x81, 0xa0, 0xdd}, huge...),
	} {
		t.Run(name, func(t *testing.T) {
			var into forms
			before := allocated()
			err := ReadCanonical(data, &into)
			if used := allocated() - before; used > 64<<10 {
				t.Errorf("it set aside %d bytes", used)
			}
			refused(t, err, "a length of 4294967295 is more than there is")
		})
	}
}

// TestWhatIsKeptOfAnEventDoesNotKeepTheEvent: state keeps a name or a tag of an
// event, and must not keep all the other bytes with it.
func TestWhatIsKeptOfAnEventDoesNotKeepTheEvent(t *testing.T) {
	const events, size = 32, 256 << 10
	e := examples()["model.registered.v1"]
	data := e.Data.(ModelRegistered)
	data.Description = Plain(strings.Repeat("x", size))
	e.Data = data
	s := stored(t, e)
	before := inUse()
	var names []string
	for range events {
		m := decoded(t, s).Data.(ModelRegistered)
		names = append(names, m.Name)
		for k := range m.Tags {
			names = append(names, k)
		}
	}
	if after := inUse(); after > before+events*size/4 {
		t.Errorf("%d names take %d bytes", len(names), after-before)
	}
	runtime.KeepAlive(names)
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC() // pools empty at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestEncodeRefusesWhatDecodeWould: an event that can't be read again would stop
// every fold for ever.
func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	signed := func(o Object) func(*Event) {
		return func(e *Event) { e.Data = VersionRegistered{Signature: &Signature{Inputs: []Object{{}, o}}} }
	}
	for _, c := range []struct {
		name   string
		change func(*Event)
		want   string
	}{
		{"no subject", func(e *Event) { e.Subject = "" }, "attribute subject: is empty"},
		{"a subject with a space", func(e *Event) { e.Subject = "models/a b" }, "attribute subject"},
		{"a subject with a raw name", func(e *Event) { e.Subject = "models/Größe" }, "attribute subject"},
		{"no time", func(e *Event) { e.Time = e.Time.AddDate(-e.Time.Year()+1, 0, 0).Truncate(1 << 62) }, "attribute time"},
		{"a time before all", func(e *Event) { e.Time = e.Time.AddDate(-3000, 0, 0) }, "attribute time"},
		{"a time after all", func(e *Event) { e.Time = e.Time.AddDate(9000, 0, 0) }, "attribute time"},
		{"an occurrence after all", func(e *Event) { e.Occurred = e.Time.AddDate(9000, 0, 0) }, "attribute occurredtime"},
		{"an attribute that is not UTF-8", func(e *Event) { e.OriginID = "\xff" }, "attribute originid"},
		{"a text that is not UTF-8", func(e *Event) { e.Data = AliasAssigned{Alias: "\xff"} }, "alias: a string is not UTF-8"},
		{"a tag that is not UTF-8", func(e *Event) { e.Data = ModelRegistered{Tags: map[string]string{"k": "\xff"}} }, "tags: k: a string is not UTF-8"},
		{"a tag's key that is not UTF-8", func(e *Event) { e.Data = ModelRegistered{Tags: map[string]string{"\xff": "v"}} }, "tags: a string is not UTF-8"},
		{"a text that is plain and sealed", func(e *Event) { e.Data = AliasAssigned{Reason: Text{Plain: "x", Sealed: &Sealed{}}} }, "reason: a text is either plain or sealed"},
		{"a NaN in an object", signed(Object{"n": math.NaN()}), "signature: inputs: 1: n: NaN is not a JSON number"},
		{"an infinity in an object", signed(Object{"n": []any{math.Inf(-1)}}), "n: 0: -Inf is not a JSON number"},
		{"an int in an object", signed(Object{"n": 1}), "n: int is not a JSON value"},
		{"an object in an object", signed(Object{"n": Object{}}), "n: events.Object is not a JSON value"},
		{"an object's key that is not UTF-8", signed(Object{"n": map[string]any{"\xff": nil}}), "n: a string is not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := examples()["alias.assigned.v1"]
			c.change(&e)
			_, err := Encode(e)
			refused(t, err, c.want)
		})
	}
}
