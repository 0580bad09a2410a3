package events

import (
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"
)

// TestObjectsOverHTTPAreThoseOfTheLog: the HTTP API reads its bodies with the
// json package, which must know no other objects than the codec does.
func TestObjectsOverHTTPAreThoseOfTheLog(t *testing.T) {
	list := func(x any) any { return []any{x} }
	deep, tooDeep := nested(list, nil, maxDepth), nested(list, nil, maxDepth+1)
	for _, c := range []struct {
		json string
		want Object
	}{
		{`{}`, Object{}},
		{`{"a":1,"b":0.5}`, Object{"a": int64(1), "b": 0.5}},
		{`{"x":` + spelledList(maxDepth) + `}`, Object{"x": deep}},
	} {
		var got Object
		if err := json.Unmarshal([]byte(c.json), &got); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("got %v, %v, want %v", got, err, c.want)
		}
		if again, err := json.Marshal(got); err != nil || string(again) != c.json {
			t.Errorf("got %s, %v, want %s", again, err, c.json)
		}
	}

	var o Object
	refused(t, json.Unmarshal([]byte(`{"x":`+spelledList(maxDepth+1)+`}`), &o), errDepth.Error())
	refused(t, json.Unmarshal([]byte(`{"a":1,"a":1}`), &o), "duplicate")
	refused(t, json.Unmarshal([]byte(`null`), &o), "want an object")
	_, err := json.Marshal(Object{"x": tooDeep})
	refused(t, err, errDepth.Error())
	_, err = json.Marshal(Object{"x": 1})
	refused(t, err, "int is not a JSON value")
}

// spelledList is a null in so many lists.
func spelledList(depth int) string {
	s := "null"
	for range depth {
		s = "[" + s + "]"
	}
	return s
}
