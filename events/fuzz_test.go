package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sortedKinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// FuzzDecode takes any bytes as the data of some kind. What is read is written
// again with the same bytes: the log has one form of every event.
func FuzzDecode(f *testing.F) {
	all := examples()
	for i, kind := range sortedKinds() {
		f.Add(uint8(i), stored(f, all[kind]).Data)
	}
	f.Add(uint8(0), []byte{0xdf, 0xff, 0xff, 0xff, 0xff})
	names := sortedKinds()
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		kind := names[int(which)%len(names)]
		d := readOf(kind, data)
		s := stored(t, all[kind])
		s.Data = data
		if d.err != nil {
			var unreadable *UnreadableError
			if _, err := Decode(s); !errors.As(err, &unreadable) {
				t.Fatalf("got %v, want an *UnreadableError, since %v", err, d.err)
			}
			return
		}
		e := all[kind]
		e.Data = d.data
		again := stored(t, e)
		if !bytes.Equal(again.Data, data) {
			t.Fatalf("%x is written as %x", data, again.Data)
		}
		if diff := cmp.Diff(e, decoded(t, again), sameEvent); diff != "" {
			t.Fatal(diff)
		}
	})
}

type readData struct {
	data Data
	err  error
}

// readOf reads data without an envelope, which would have to fit to it.
func readOf(kind string, data []byte) (d readData) {
	d.err = readPack(data, func(r *packReader) (err error) {
		d.data, err = kinds[kind].read(r)
		return err
	})
	return d
}

// FuzzParseCloudEvent takes any bytes as JSON from outside. An event that is
// taken has one form from then on.
func FuzzParseCloudEvent(f *testing.F) {
	for _, e := range examples() {
		f.Add(toJSON(f, e))
	}
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/ci","type":"org.example.built","flag":true,"priority":-5,"data":[1.50,1e16]}`))
	files, err := filepath.Glob(wireDir + "/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add([]byte(read(f, file)))
	}
	f.Fuzz(func(t *testing.T, in []byte) { staysTheSame(t, in) })
}

// FuzzMember puts any JSON into one member of an event or of its data, which
// goes deeper than bytes that are seldom JSON.
func FuzzMember(f *testing.F) {
	for i := range sortedKinds() {
		f.Add(uint8(i), false, "authid", `"prn_1"`)
		f.Add(uint8(i), true, "reason", `{"sealed":{"alg":"A","kid":"K","nonce":"N","ct":"C"}}`)
	}
	registered := uint8(slices.Index(sortedKinds(), "version.registered.v1"))
	f.Add(registered, true, "metrics", `{"a":"NaN","b":-0,"c":1e21,"d":1e-7}`)
	f.Add(registered, true, "signature", `{"inputs":[{"a":1.0,"b":1e16,"c":[null,true,{}],"d":9223372036854775808}]}`)
	f.Add(registered, true, "displaced", `[[1,3],[7,7]]`)
	f.Add(registered, false, "subject", `"models/Gr%C3%B6%C3%9Fe"`)
	f.Add(registered, false, "originid", `"\u00e9 %41"`)
	f.Add(registered, false, "occurredtime", `"2026-11-23T20:03:00.120Z"`)
	f.Add(registered, false, "sequence", `"00000000000000004721"`)
	f.Add(registered, false, "source", `"urn:modelog:01KXFT0000REG1STRY00000000"`)
	f.Add(registered, false, "priority", `5`)
	all, names := examples(), sortedKinds()
	f.Fuzz(func(t *testing.T, which uint8, inData bool, name, value string) {
		var event, data map[string]json.RawMessage
		if err := json.Unmarshal(toJSON(t, all[names[int(which)%len(names)]]), &event); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(event["data"], &data); err != nil {
			t.Fatal(err)
		}
		if inData {
			data[name] = json.RawMessage(value)
			event["data"] = spelled(data)
		} else {
			event[name] = json.RawMessage(value)
		}
		staysTheSame(t, spelled(event))
	})
}

// spelled joins members without looking at them.
func spelled(members map[string]json.RawMessage) []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(members)) {
		fmt.Fprintf(&b, `,"%s":%s`, name, members[name])
	}
	return append(append([]byte{'{'}, bytes.TrimPrefix(b.Bytes(), []byte{','})...), '}')
}

// staysTheSame checks that an event from outside, if it is taken, has one form
// from then on.
func staysTheSame(t *testing.T, in []byte) {
	t.Helper()
	ce, err := ParseCloudEvent(in)
	if err != nil {
		return
	}
	first, err := AppendCloudEvent(nil, ce)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseCloudEvent(first)
	if err != nil {
		t.Fatalf("%v: %s", err, first)
	}
	second, err := AppendCloudEvent(nil, again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Fatalf("%s is written as %s", first, second)
	}
	e, err := FromCloudEvent(ce)
	if err != nil {
		return
	}
	pack := stored(t, e)
	json := toJSON(t, decoded(t, pack))
	e = fromJSON(t, json)
	if diff := cmp.Diff(pack, stored(t, e)); diff != "" {
		t.Fatalf("JSON, msgpack, JSON, msgpack: %s", diff)
	}
	if last := toJSON(t, e); !bytes.Equal(json, last) {
		t.Fatalf("%s is written as %s", json, last)
	}
}

var subjectForm = regexp.MustCompile(`^modelog\.events\.[a-z]+\.[0-7][0-9A-HJKMNP-TV-Z]{25}\.[a-z]+\.[a-z_]+$`)

// FuzzLogSubject puts any text into every text of every kind: none of it may
// reach a NATS subject, where a dot, a star or a space would do harm.
func FuzzLogSubject(f *testing.F) {
	for _, s := range []string{"fraud", "a.b", "*", ">", "a b", "\r\n", "Größe 100%", "", "\xff"} {
		f.Add(s)
	}
	all := examples()
	f.Fuzz(func(t *testing.T, text string) {
		for kind, e := range all {
			d := reflect.New(reflect.TypeOf(e.Data)).Elem()
			d.Set(reflect.ValueOf(e.Data))
			for _, field := range d.Fields() {
				switch {
				case field.Kind() == reflect.String:
					field.SetString(text)
				case field.Type() == reflect.TypeFor[Text]():
					field.Set(reflect.ValueOf(Plain(text)))
				}
			}
			got := logSubject(d.Interface().(Data))
			if !subjectForm.MatchString(got) || got != logSubject(e.Data) {
				t.Errorf("%s with the text %q is on the subject %q", kind, text, got)
			}
		}
	})
}
