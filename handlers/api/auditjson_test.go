package api

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestTheTrailIsWrittenAsMarshalWritesIt compares the writer by hand with the one
// that goes by the json tags.
func TestTheTrailIsWrittenAsMarshalWritesIt(t *testing.T) {
	text := rapid.String()
	value := rapid.Custom(func(t *rapid.T) jsontext.Value {
		shown := rapid.SampledFrom([]any{nil, "", "x <&> \u2028 é", 1.5, true, []string{}, []string{"a"}, map[string]string{}, map[string]string{"a": ""}}).Draw(t, "value")
		if rapid.Bool().Draw(t, "absent") {
			return nil
		}
		data, err := appendJSON(nil, shown)
		if err != nil {
			t.Fatal(err)
		}
		return data
	})
	fields := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) FieldChange {
		return FieldChange{Field: text.Draw(t, "field"), Before: value.Draw(t, "before"), After: value.Draw(t, "after")}
	}), 0, 3)
	also := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ResourceChange {
		return ResourceChange{Resource: text.Draw(t, "resource"), Change: text.Draw(t, "change"), Fields: fields.Draw(t, "fields")}
	}), 0, 2)
	entry := rapid.Custom(func(t *rapid.T) AuditEntry {
		e := AuditEntry{
			Sequence: rapid.Uint64().Draw(t, "sequence"), RecordedAt: text.Draw(t, "recorded"), HappenedAt: text.Draw(t, "happened"),
			Action: text.Draw(t, "action"), Type: text.Draw(t, "type"), Resource: text.Draw(t, "resource"), ResourceID: text.Draw(t, "id"),
			Summary: text.Draw(t, "summary"), Changes: fields.Draw(t, "changes"), Also: also.Draw(t, "also"), AlsoMore: rapid.IntRange(0, 2).Draw(t, "more"),
			Reason: text.Draw(t, "reason"), Forced: rapid.Bool().Draw(t, "forced"), RequestID: text.Draw(t, "request"), KeyHash: text.Draw(t, "key"),
			CorrelationID: text.Draw(t, "correlation"), CausationID: text.Draw(t, "causation"),
		}
		if rapid.Bool().Draw(t, "has actor") {
			e.Actor = &AuditActor{ID: text.Draw(t, "actor"), Name: text.Draw(t, "name"), Erased: rapid.Bool().Draw(t, "erased")}
		}
		return e
	})
	rapid.Check(t, func(t *rapid.T) {
		list := AuditList{Entries: rapid.SliceOfN(entry, 0, 3).Draw(t, "entries"), NextCursor: text.Draw(t, "cursor")}
		got, err := appendJSON([]byte("x"), list)
		want, wantErr := json.Marshal(list, jsonOptions)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, want %v", err, wantErr)
		}
		if diff := cmp.Diff("x"+string(want), string(got)); err == nil && diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
