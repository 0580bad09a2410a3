package cloudevents

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

const seedCore = `"specversion":"1.0","id":"1","source":"/ci","type":"dev.modelog.model.registered.v1","subject":"models/fraud"`

var seeds = []string{
	`{` + seedCore + `}`,
	`{` + seedCore + `,"data":{"description":"a","tags":{"a":"b"}},"datacontenttype":"application/json; charset=utf-8"}`,
	`{` + seedCore + `,"data_base64":"e30=","time":"2026-11-24T02:10:00.1234+01:00","dataschema":"https://schemas.example/a#b"}`,
	`{` + seedCore + `,"correlationid":"c","flag":true,"level":-2147483648,"absent":null,"data":null}`,
	`{` + seedCore + `,"id":"2"}`,
	`{` + seedCore + `,"BadExt":1,"data":"\ud83d\ude80","level":1e0}`,
	`{` + seedCore + `,"data":1.0,"a":"\u0000"}`,
	`{"specversion":"1.0","id":"%41","source":"//a b/%zz","type":"t"}`,
	`[]`, `{}`, ``, `null`, `{"a`,
}

// encode writes an event in the JSON format. The SDK makes a string of data that is
// some +json with a parameter.
func encode(t *testing.T, e event.Event) []byte {
	t.Helper()
	members := map[string]any{attrSpecVersion: e.SpecVersion()}
	for name, value := range plain(t, e) {
		if text, is := value.(string); is && text != "" && name != "data" {
			members[name] = text
		}
	}
	maps.Copy(members, e.Extensions())
	if at := e.Time(); !at.IsZero() {
		members[attrTime] = at.Format(time.RFC3339Nano)
	}
	if data := e.Data(); len(data) > 0 {
		members["data"] = jsontext.Value(data)
	}
	encoded, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		t.Fatalf("%v can't be encoded: %v", e, err)
	}
	return encoded
}

// same holds what was accepted against what its encoding is decoded to, and maps it.
func same(t *testing.T, e event.Event) {
	t.Helper()
	encoded := encode(t, e)
	again, _, err := Decode(http.Header{"Content-Type": {StructuredMedia}}, encoded)
	if err != nil {
		t.Fatalf("%s was accepted, and is not: %v", encoded, err)
	}
	if diff := cmp.Diff(plain(t, e), plain(t, again[0].Event)); diff != "" {
		t.Fatalf("%s becomes another event (-first +again):\n%s", encoded, diff)
	}
	mapped, err := Map(e)
	if err == nil && (mapped.Method == "" || !strings.HasPrefix(mapped.Path, "/v1/")) {
		t.Fatalf("%s asks for %+v", encoded, mapped)
	}
	_, _ = OriginOf(e) // it may be refused
}

func plain(t *testing.T, e event.Event) map[string]any {
	t.Helper()
	data := jsontext.Value(e.Data()).Clone()
	if len(data) > 0 {
		if err := data.Compact(); err != nil {
			t.Fatalf("the data %s of an event is no JSON: %v", data, err)
		}
	}
	return map[string]any{
		attrID: e.ID(), attrSource: e.Source(), attrType: e.Type(), attrSubject: e.Subject(), attrTime: e.Time(),
		attrContentType: e.DataContentType(), attrSchema: e.DataSchema(), "extensions": e.Extensions(), "data": string(data),
	}
}

func FuzzStructured(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		items, batch, err := Decode(http.Header{"Content-Type": {StructuredMedia}}, body)
		if err != nil {
			return
		}
		if batch || len(items) != 1 || items[0].Err != nil {
			t.Fatalf("it gives %+v", items)
		}
		same(t, items[0].Event)
	})
}

func FuzzBatch(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte("[" + s + "]"))
	}
	f.Add([]byte("[" + strings.Join(seeds[:5], ",") + "]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		items, batch, err := Decode(http.Header{"Content-Type": {BatchMedia}}, body)
		if err != nil {
			return
		}
		if !batch || len(items) > MaxBatch {
			t.Fatalf("a batch of %d events: %t", len(items), batch)
		}
		for _, item := range items {
			if item.Err == nil {
				same(t, item.Event)
			}
		}
	})
}

func FuzzBinary(f *testing.F) {
	f.Add("1", "/ci", "dev.modelog.model.registered.v1", "models/fraud", "correlationid", "a%20b", "application/json", []byte(`{}`))
	f.Add(`"1"`, "/ci", "t", "models/%F0%9F%9A%80", "level", `"a\"b"`, "application/a+json; charset=UTF-8", []byte(` [1.0] `))
	f.Add("1", "/ci", "t", "models/%ff", "time", "2026-11-24T02:10:00Z", "", []byte(nil))
	f.Add("1%", "", "t", "", "data", "", "text/plain", []byte(`{"a`))
	f.Fuzz(func(t *testing.T, id, source, kind, subject, name, value, media string, body []byte) {
		header := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {source}, "Ce-Type": {kind}, "Content-Type": {media}}
		if subject != "" {
			header.Set("ce-subject", subject)
		}
		header[headerPrefix+name] = []string{value} // as it is spelled
		items, batch, err := Decode(header, body)
		if err != nil || batch || media == StructuredMedia || strings.Contains(media, "cloudevents") {
			return
		}
		same(t, items[0].Event)
	})
}
