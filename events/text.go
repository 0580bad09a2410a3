package events

import (
	"reflect"
)

// Text is free text that a person wrote, such as a description or a reason. It
// is either plain or sealed; a sealed one is kept and shown as "[sealed]", so
// that texts can be sealed later without a new shape of any event. The zero
// Text is empty.
type Text struct {
	Plain  string
	Sealed *Sealed // nil for a plain text
}

// Sealed is an encrypted text. Whoever holds the key named by KeyID can read
// it; when that key is destroyed nobody can.
type Sealed struct {
	Algorithm  string `json:"alg"`   // e.g. "A256GCM"
	KeyID      string `json:"kid"`   // opaque
	Nonce      string `json:"nonce"` // base64url
	Ciphertext string `json:"ct"`    // base64url
}

// Plain is a text as it was written.
func Plain(s string) Text { return Text{Plain: s} }

// String is what people are shown.
func (t Text) String() string {
	if t.Sealed != nil {
		return "[sealed]"
	}
	return t.Plain
}

// sealedForm is how a sealed text is written; a plain one is a string.
type sealedForm struct {
	Sealed Sealed `json:"sealed"`
}

func textPlan() *plan {
	sealed := planOf(reflect.TypeFor[sealedForm]())
	return &plan{
		write: func(w writer, v reflect.Value) error {
			t := v.Interface().(Text)
			if t.Sealed == nil {
				return w.str(t.Plain)
			}
			return sealed.write(w, reflect.ValueOf(sealedForm{*t.Sealed}))
		},
		read: func(r reader, v reflect.Value) error {
			var t Text
			var err error
			if r.startsObject() {
				var f sealedForm
				err = sealed.read(r, reflect.ValueOf(&f).Elem())
				t.Sealed = &f.Sealed
			} else {
				t.Plain, err = r.str()
			}
			v.Set(reflect.ValueOf(t))
			return err
		},
	}
}
