package events

import "github.com/go-json-experiment/json/jsontext"

// UnmarshalJSONFrom reads an object as the codec does, so that what comes in
// over HTTP and what comes off the log are alike.
func (o *Object) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	x, err := readAnyObject(&jsonReader{dec}, 0)
	if err != nil {
		return err
	}
	*o = x.(map[string]any)
	return nil
}

// MarshalJSONTo writes an object as the codec does.
func (o Object) MarshalJSONTo(enc *jsontext.Encoder) error {
	return writeAny(&jsonWriter{enc}, map[string]any(o), 0)
}
