package events

import (
	"errors"
	"reflect"
)

// Text is free text that a person wrote, such as a description or a reason. It
// is either plain or sealed; a sealed one is kept and shown as "[sealed]", so
// that texts can be sealed later without a new shape of any event.
//
// The zero Text is empty.
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

func writeText(w writer, t Text) error {
	switch {
	case t.Sealed == nil:
		return w.str(t.Plain)
	case t.Plain != "":
		return errors.New("a text is either plain or sealed")
	default:
		form := reflect.ValueOf(sealedForm{*t.Sealed})
		return planOf(form.Type()).write(w, form)
	}
}

func readText(r reader) (t Text, err error) {
	if !r.startsObject() {
		t.Plain, err = r.str()
		return t, err
	}
	var f sealedForm
	form := reflect.ValueOf(&f).Elem()
	err = planOf(form.Type()).read(r, form)
	return Text{Sealed: &f.Sealed}, err
}
