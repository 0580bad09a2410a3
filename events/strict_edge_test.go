package events

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTheEdgesAreStrict damages the JSON of a good event, each time in one
// place.
func TestTheEdgesAreStrict(t *testing.T) {
	good := string(toJSON(t, examples()["alias.assigned.v1"]))
	for _, c := range []struct {
		name, old, new string
		want           string
	}{
		{"nothing", good, ``, "want an object"},
		{"a list", good, `[]`, "want an object"},
		{"a text", good, `"event"`, "want an object"},
		{"broken JSON", `{"specversion"`, `{specversion`, "invalid character"},
		{"cut JSON", `}}`, `}`, "unexpected EOF"},
		{"a second event", `}}`, `}}{}`, "something follows the event"},
		{"not UTF-8", `"AUC +0.02"`, "\"\xff\"", "UTF-8"},
		{"half a surrogate pair", `"AUC +0.02"`, `"\ud800"`, "surrogate"},

		{"an attribute twice", `{"specversion":"1.0"`, `{"id":"x","specversion":"1.0"`, `duplicate object member name "id"`},
		{"data twice", `}}`, `},"data":{}}`, `duplicate object member name "data"`},
		{"data in base64", `}}`, `},"data_base64":"e30="}`, "attribute data_base64"},
		{"no data", `,"data":{`, `,"x":{`, "attribute x"},
		{"a name in upper case", `"authid":`, `"authID":`, "attribute authID: a name has only lower-case letters and digits"},
		{"a name with a dash", `"authid":`, `"auth-id":`, "attribute auth-id"},
		{"an empty name", `"authid":`, `"":`, "attribute"},
		{"a null attribute", `"authid":"prn_01KXFT0005"`, `"authid":null`, "attribute authid: want a string"},
		{"a null id", `"id":"01KXFT0004EVENT00000000000"`, `"id":null`, "attribute id: want a string"},
		{"a nested attribute", `"authid":"prn_01KXFT0005"`, `"authid":{}`, "attribute authid: want a string"},
		{"a list as an attribute", `"authid":"prn_01KXFT0005"`, `"authid":["x"]`, "attribute authid: want a string"},
		{"a number as an attribute", `"authid":"prn_01KXFT0005"`, `"authid":5`, "attribute authid: want a string"},
		{"a large number as an attribute", `"authid":"prn_01KXFT0005"`, `"authid":2147483648`, "attribute authid: 2147483648 is not an integer of 32 bits"},
		{"a fraction as an attribute", `"authid":"prn_01KXFT0005"`, `"authid":0.5`, "attribute authid"},
		{"a boolean as an attribute", `"authid":"prn_01KXFT0005"`, `"authid":true`, "attribute authid: want a string"},
		{"an empty attribute", `"authid":"prn_01KXFT0005"`, `"authid":""`, "attribute authid"},
		{"an unknown attribute", `{"specversion"`, `{"priority":"1","specversion"`, "attribute priority: unknown to this release"},

		{"no specversion", `"specversion":"1.0",`, ``, "attribute specversion"},
		{"another version of CloudEvents", `"specversion":"1.0"`, `"specversion":"1.1"`, `attribute specversion: "1.1" must be "1.0"`},
		{"a number as the version", `"specversion":"1.0"`, `"specversion":1.0`, "attribute specversion: want a string"},
		{"no id", `"id":"01KXFT0004EVENT00000000000",`, ``, "id"},
		{"an empty id", `"id":"01KXFT0004EVENT00000000000"`, `"id":""`, "attribute id"},
		{"an id that is no ULID", `"id":"01KXFT0004EVENT00000000000"`, `"id":"8"`, "attribute id"},
		{"spaces around an id", `"id":"01KXFT0004EVENT00000000000"`, `"id":" 01KXFT0004EVENT00000000000"`, "attribute id"},
		{"no source", `"source":"urn:modelog:01KXFT0000REG1STRY00000000",`, ``, "source"},
		{"a source of somebody else", `"source":"urn:modelog:01KXFT0000REG1STRY00000000"`, `"source":"https://example.org/"`, "attribute source"},
		{"a source that is no URI", `"source":"urn:modelog:01KXFT0000REG1STRY00000000"`, `"source":"http://[::1"`, "attribute source"},
		{"no type", `"type":"dev.modelog.alias.assigned.v1",`, ``, "type"},
		{"an unknown major", `alias.assigned.v1"`, `alias.assigned.v9"`, `attribute type: "dev.modelog.alias.assigned.v9" is not a type that this release reads`},
		{"an unknown kind", `alias.assigned.v1"`, `alias.painted.v1"`, "attribute type"},
		{"no subject", `"subject":"models/fraud/aliases/champion",`, ``, "attribute subject is missing"},
		{"an empty subject", `"subject":"models/fraud/aliases/champion"`, `"subject":""`, "attribute subject"},
		{"spaces around a subject", `"subject":"models/fraud/aliases/champion"`, `"subject":"models/fraud/aliases/champion "`, "attribute subject"},
		{"no time", `"time":"2026-11-23T20:03:00.120Z",`, ``, "attribute time is missing"},
		{"a time without milliseconds", `"time":"2026-11-23T20:03:00.120Z"`, `"time":"2026-11-23T20:03:00Z"`, "attribute time"},
		{"a time with too few digits", `"time":"2026-11-23T20:03:00.120Z"`, `"time":"2026-11-23T20:03:00.12Z"`, "attribute time"},
		{"a time in another zone", `"time":"2026-11-23T20:03:00.120Z"`, `"time":"2026-11-23T20:03:00.120+00:00"`, "attribute time"},
		{"the zero time", `"time":"2026-11-23T20:03:00.120Z"`, `"time":"0001-01-01T00:00:00.000Z"`, "attribute time"},
		{"an occurrence without milliseconds", `"occurredtime":"2026-11-23T20:02:59.000Z"`, `"occurredtime":"2026-11-23T20:02:59Z"`, "attribute occurredtime"},
		{"no content type", `"datacontenttype":"application/json",`, ``, "attribute datacontenttype is missing"},
		{"another content type", `"datacontenttype":"application/json"`, `"datacontenttype":"application/msgpack"`, "attribute datacontenttype"},
		{"an empty content type", `"datacontenttype":"application/json"`, `"datacontenttype":""`, "attribute datacontenttype"},
		{"a content type that is none", `"datacontenttype":"application/json"`, `"datacontenttype":";"`, "datacontenttype"},
		{"no schema", `"dataschema":"https://modelog.dev/schemas/alias/assigned/v1.json",`, ``, "attribute dataschema is missing"},
		{"a schema of another kind", `schemas/alias/assigned/v1.json`, `schemas/version/registered/v1.json`, "attribute dataschema"},
		{"another spelling of the schema", `"dataschema":"https://`, `"dataschema":"HTTPS://`, "attribute dataschema"},
		{"another partition key", `"partitionkey":"01KXFT0001`, `"partitionkey":"01KXFT0002`, "attribute partitionkey"},
		{"a short sequence", `"sequence":"00000000000000004721"`, `"sequence":"4721"`, `attribute sequence: "4721" is not 20 digits`},
		{"a sequence of zero", `"sequence":"00000000000000004721"`, `"sequence":"00000000000000000000"`, "attribute sequence"},
		{"a sequence that is too large", `"sequence":"00000000000000004721"`, `"sequence":"99999999999999999999"`, "attribute sequence"},
		{"a number as the sequence", `"sequence":"00000000000000004721"`, `"sequence":4721`, "attribute sequence: want a string"},

		{"data that is null", good[strings.Index(good, `"data":`):], `"data":null}`, "data: want an object"},
		{"data that is a text", good[strings.Index(good, `"data":`):], `"data":"x"}`, "data: want an object"},
		{"an unknown field", `"alias":`, `"color":"red","alias":`, `data: unknown field "color"`},
		{"a field twice", `"alias":`, `"alias":"x","alias":`, `duplicate object member name "alias"`},
		{"a field in upper case", `"alias":`, `"Alias":`, `data: unknown field "Alias"`},
		{"no required field", `"alias":"champion",`, ``, `data: missing field "alias"`},
		{"a number as a text", `"to":8`, `"to":"8"`, "data: to: want an integer"},
		{"a fraction", `"to":8`, `"to":8.5`, "data: to: 8.5 is not a whole number of 64 bits"},
		{"a whole number with a fraction", `"to":8`, `"to":8.0`, "data: to: 8.0 is not a whole number of 64 bits"},
		{"a number that is too large", `"to":8`, `"to":9223372036854775808`, "data: to: 9223372036854775808 is not a whole number of 64 bits"},
		{"a null", `"alias":"champion"`, `"alias":null`, "data: alias: want a string"},
		{"a text that is neither", `"reason":"AUC +0.02"`, `"reason":7`, "data: reason: want a string"},
		{"a sealed text with something missing", `"reason":"AUC +0.02"`, `"reason":{"sealed":{"alg":"A"}}`, `data: reason: sealed: missing field`},
		{"an object that is no sealed text", `"reason":"AUC +0.02"`, `"reason":{}`, `data: reason: missing field "sealed"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatalf("%q is not in %s", c.old, good)
			}
			_, err := readEdge([]byte(bad))
			refused(t, err, c.want)
		})
	}
	fromJSON(t, []byte(good))
}

func TestWhitespaceAndOrderAtTheEdgesAreFree(t *testing.T) {
	want := examples()["alias.assigned.v1"]
	good := string(toJSON(t, want))
	data := good[strings.Index(good, `,"data":`):]
	moved := "\n{ " + strings.TrimSuffix(data, "}")[1:] + " ,\t" + strings.TrimSuffix(good, data)[1:] + "}\n"
	if got := string(toJSON(t, fromJSON(t, []byte(moved)))); got != good {
		t.Errorf("got %s, want %s", got, good)
	}
}

// TestEventsOfOthersKeepTheirAttributes: publishers bring extensions of their
// own, of the other types that CloudEvents have.
func TestEventsOfOthersKeepTheirAttributes(t *testing.T) {
	foreign := `{"specversion":"1.0","id":"a/1","source":"//example.org/ci?x=%7e","type":"org.example.built",` +
		`"flag":true,"priority":-5,"text":"größe","data":{"n":1.50,"s":"\u00e9"}}`
	ce, err := ParseCloudEvent([]byte(foreign))
	if err != nil {
		t.Fatal(err)
	}
	got, err := AppendCloudEvent(nil, ce)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseCloudEvent(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(attributesOf(ce), attributesOf(again), cmp.AllowUnexported(edgeAttribute{})); diff != "" {
		t.Error(diff)
	}
	for _, part := range []string{`"flag":true`, `"priority":-5`, `"text":"größe"`, `"source":"//example.org/ci?x=%7e"`, `1.50`} {
		if !strings.Contains(string(got), part) {
			t.Errorf("%s is not in %s", part, got)
		}
	}
}

// TestReadJSONIsStrict has what the log's test of forms has, for JSON.
func TestReadJSONIsStrict(t *testing.T) {
	const good = `{"array":[1,2],"bool":true,"bytes":"AQ==","float":0.5,"hash":"abababababababababababababababab","int":-1,` +
		`"map":{"a":1},"object":{"a":null},"pointer":{"repository":"r"},"slice":["a"],"string":"s","uint":1}`
	for _, c := range []struct{ old, new, want string }{
		{`[1,2]`, `[1]`, "array: the array has fewer than 2 elements"},
		{`[1,2]`, `[1,2,3]`, "array: the array has more than 2 elements"},
		{`[1,2]`, `[1,null]`, "array: 1: want an integer"},
		{`[1,2]`, `{}`, "array: want an array"},
		{`[1,2]`, `[1,2`, "array: "},
		{`true`, `1`, "bool: want true or false"},
		{`true`, `"true"`, "bool: want true or false"},
		{`true`, `null`, "bool: want true or false"},
		{`"AQ=="`, `"AQ"`, "bytes: want bytes in base64"},
		{`"AQ=="`, `"AR=="`, "bytes: want bytes in base64"},
		{`"AQ=="`, `"A\nQ=="`, "bytes: want bytes in base64"},
		{`"AQ=="`, `[1]`, "bytes: want a string"},
		{`0.5`, `"0.5"`, `float: want a number, found "0.5"`},
		{`0.5`, `"nan"`, `float: want a number, found "nan"`},
		{`0.5`, `1e999`, "float: 1e999 is too large for a float64"},
		{`0.5`, `null`, "float: want a number"},
		{`"abababababababababababababababab"`, `"ab"`, "hash: "},
		{`"abababababababababababababababab"`, `"ABababababababababababababababab"`, "hash: "},
		{`"int":-1`, `"int":-1.0`, "int: -1.0 is not a whole number of 64 bits"},
		{`"int":-1`, `"int":1e3`, "int: 1e3 is not a whole number of 64 bits"},
		{`"int":-1`, `"int":`, "int: want an integer"},
		{`"uint":1`, `"uint":-1`, "uint: -1 is not a whole number of 64 bits from 0"},
		{`"uint":1`, `"uint":18446744073709551616`, "uint: 18446744073709551616 is not"},
		{`"uint":1`, `"uint":true`, "uint: want an integer"},
		{`{"a":1}`, `[]`, "map: want an object"},
		{`{"a":1}`, `{"a":1,"a":1}`, `map: `},
		{`{"a":1}`, `{"a":"1"}`, "map: a: want a number"},
		{`{"a":null}`, `{"a":1e999}`, "object: a: 1e999 is too large for a float64"},
		{`{"a":null}`, `{"a":{"b":1,"b":1}}`, `object: a: `},
		{`{"a":null}`, `{"a":`, `object: a: want a JSON value`},
		{`{"a":null}`, `null`, `object: want an object`},
		{`{"a":null}`, `{"a":` + strings.Repeat("[", 33) + strings.Repeat("]", 33) + `}`, "object: a: "},
		{`{"repository":"r"}`, `null`, "pointer: want an object"},
		{`{"repository":"r"}`, `{}`, `pointer: missing field "repository"`},
		{`["a"]`, `["a",1]`, "slice: 1: want a string"},
		{`["a"]`, `null`, "slice: want an array"},
		{`"string":"s"`, `"string":1`, "string: want a string"},
		{`"uint":1}`, `"uint":1} 1`, "something follows the JSON value"},
		{`"uint":1}`, `"uint":1`, "unexpected EOF"},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%q is not in %s", c.old, good)
		}
		var into forms
		refused(t, ReadJSON([]byte(bad), &into), c.want)
	}
	var into forms
	if err := ReadJSON([]byte(good), &into); err != nil {
		t.Error("without a change:", err)
	}
}

func TestCloudEventRefusesWhatCanNotBeShown(t *testing.T) {
	for name, change := range map[string]func(*Event){
		"a text that is not UTF-8":       func(e *Event) { e.Data = AliasAssigned{Alias: "\xff"} },
		"an attribute that is not UTF-8": func(e *Event) { e.OriginID = "\xff" },
		"no subject":                     func(e *Event) { e.Subject = "" },
	} {
		e := examples()["alias.assigned.v1"]
		change(&e)
		if _, err := CloudEvent(e); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
