package events

import "reflect"

// why is where the data of an event type has its reason, and whether a rule spoke
// against what happened: indexes of fields, -1 for none.
type why struct{ reason, forced int }

func whyOf(data reflect.Type) why {
	w := why{-1, -1}
	if f, ok := data.FieldByName("Reason"); ok && f.Type == reflect.TypeFor[Text]() {
		w.reason = f.Index[0]
	}
	if f, ok := data.FieldByName("Forced"); ok && f.Type.Kind() == reflect.Bool {
		w.forced = f.Index[0]
	}
	return w
}

// Why gives the reason that somebody gave for an event, empty for none, and
// whether it was forced: a rule spoke against it.
func Why(d Data) (reason Text, forced bool) {
	w, v := kinds[d.kind()].why, reflect.ValueOf(d)
	if w.reason >= 0 {
		text := v.Field(w.reason)
		reason.Plain = text.Field(0).String()
		if sealed := text.Field(1); !sealed.IsNil() {
			reason.Sealed, _ = reflect.TypeAssert[*Sealed](sealed) // which it is
		}
	}
	return reason, w.forced >= 0 && v.Field(w.forced).Bool()
}
