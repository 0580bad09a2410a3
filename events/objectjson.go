package events

import "github.com/go-json-experiment/json/jsontext"

// UnmarshalJSONFrom reads an object as the codec does, so that what comes in
// over HTTP and what comes off the log are alike.
func (o *Object) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	x, err := readObject(&jsonReader{dec})
	if x == nil {
		x = Object{}
	}
	*o = x
	return err
}

// MarshalJSONTo writes an object as the codec does.
func (o Object) MarshalJSONTo(enc *jsontext.Encoder) error {
	return writeObject(&jsonWriter{enc}, o)
}
