package api

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// appendAuditList appends a page of the trail as JSON to dst: what json.Marshal
// gives, without what that makes on the way, which was half of a page's garbage.
// TestTheTrailIsWrittenAsMarshalWritesIt holds the two together.
func appendAuditList(dst []byte, list *AuditList) ([]byte, error) {
	w := jsonAppender{buf: dst}
	w.begin('{')
	w.name("entries")
	w.begin('[')
	for i := range list.Entries {
		w.entry(&list.Entries[i])
	}
	w.end(']')
	w.optional("next_cursor", list.NextCursor)
	w.end('}')
	return w.buf, w.err
}

func appendAuditEntry(dst []byte, e *AuditEntry) ([]byte, error) {
	w := jsonAppender{buf: dst}
	w.entry(e)
	return w.buf, w.err
}

func (w *jsonAppender) entry(e *AuditEntry) {
	w.begin('{')
	w.name("sequence")
	w.buf, w.comma = strconv.AppendUint(w.buf, e.Sequence, 10), true
	w.str("recorded_at", e.RecordedAt)
	w.str("happened_at", e.HappenedAt)
	if e.Actor != nil {
		w.name("actor")
		w.begin('{')
		w.str("id", e.Actor.ID)
		w.optional("name", e.Actor.Name)
		w.truth("erased", e.Actor.Erased)
		w.end('}')
	}
	w.str("action", e.Action)
	w.str("type", e.Type)
	w.str("resource", e.Resource)
	w.str("resource_id", e.ResourceID)
	w.str("summary", e.Summary)
	w.changes("changes", e.Changes)
	objects(w, "also", e.Also, func(c ResourceChange) {
		w.str("resource", c.Resource)
		w.str("change", c.Change)
		w.changes("fields", c.Fields)
	})
	if e.AlsoMore != 0 {
		w.integer("also_more", int64(e.AlsoMore))
	}
	w.optional("reason", e.Reason)
	w.truth("forced", e.Forced)
	w.optional("request_id", e.RequestID)
	w.optional("idempotency_key_hash", e.KeyHash)
	w.optional("correlation_id", e.CorrelationID)
	w.optional("causation_id", e.CausationID)
	w.end('}')
}

// changes appends what fieldJSON has spelled as it is.
func (w *jsonAppender) changes(name string, all []FieldChange) {
	w.name(name)
	w.begin('[')
	for i := range all {
		w.begin('{')
		w.str("field", all[i].Field)
		w.spelled("before", all[i].Before)
		w.spelled("after", all[i].After)
		w.end('}')
	}
	w.end(']')
}

func (w *jsonAppender) spelled(name string, value jsontext.Value) {
	if emptyJSON(value) {
		return
	}
	w.name(name)
	w.buf, w.comma = append(w.buf, value...), true
}

// emptyJSON says what omitempty leaves out.
func emptyJSON(value jsontext.Value) bool {
	switch string(value) {
	case "", "null", `""`, "{}", "[]":
		return true
	default:
		return false
	}
}

// truth appends a member that is left out when it is false.
func (w *jsonAppender) truth(name string, is bool) {
	if is {
		w.name(name)
		w.buf, w.comma = append(w.buf, "true"...), true
	}
}
