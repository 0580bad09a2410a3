package events

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendJSON appends the JSON form of a struct to dst, members as declared.
// NaN and the infinities are spelled as the strings "NaN", "Infinity" and
// "-Infinity". It fails on strings that aren't UTF-8.
func AppendJSON(dst []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	rv := reflect.ValueOf(v)
	if err := planOf(rv.Type()).write(&jsonWriter{jsontext.NewEncoder(buf)}, rv); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// ReadJSON reads JSON into the value that into points to, strictly: unknown,
// duplicate and missing members, wrong types and trailing data are errors.
func ReadJSON(data []byte, into any) error {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	v := reflect.ValueOf(into).Elem()
	if err := planOf(v.Type()).read(&jsonReader{dec}, v); err != nil {
		return err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

type jsonWriter struct{ enc *jsontext.Encoder }

func (w *jsonWriter) object(int) error      { return w.enc.WriteToken(jsontext.BeginObject) }
func (w *jsonWriter) key(name string) error { return w.str(name) }
func (w *jsonWriter) endObject() error      { return w.enc.WriteToken(jsontext.EndObject) }
func (w *jsonWriter) array(int) error       { return w.enc.WriteToken(jsontext.BeginArray) }
func (w *jsonWriter) endArray() error       { return w.enc.WriteToken(jsontext.EndArray) }
func (w *jsonWriter) null() error           { return w.enc.WriteToken(jsontext.Null) }
func (w *jsonWriter) boolean(b bool) error  { return w.enc.WriteToken(jsontext.Bool(b)) }
func (w *jsonWriter) str(s string) error    { return w.enc.WriteToken(jsontext.String(s)) }
func (w *jsonWriter) binary(b []byte) error {
	return w.str(base64.StdEncoding.EncodeToString(b))
}
func (w *jsonWriter) integer(n int64) error   { return w.enc.WriteToken(jsontext.Int(n)) }
func (w *jsonWriter) unsigned(n uint64) error { return w.enc.WriteToken(jsontext.Uint(n)) }
func (w *jsonWriter) sortsKeys() bool         { return false }

func (w *jsonWriter) float(f float64) error {
	switch {
	case math.IsNaN(f):
		return w.str("NaN")
	case math.IsInf(f, 1):
		return w.str("Infinity")
	case math.IsInf(f, -1):
		return w.str("-Infinity")
	default:
		return w.enc.WriteToken(jsontext.Float(f))
	}
}

// jsonReader leans on jsontext for duplicate members and UTF-8.
type jsonReader struct{ dec *jsontext.Decoder }

func (r *jsonReader) token(kind jsontext.Kind, want string) (jsontext.Token, error) {
	if got := r.dec.PeekKind(); got != kind {
		if got == jsontext.KindInvalid {
			_, err := r.dec.ReadToken()
			return jsontext.Token{}, fmt.Errorf("want %s: %w", want, err)
		}
		return jsontext.Token{}, fmt.Errorf("want %s, found %v", want, got)
	}
	return r.dec.ReadToken()
}

func (r *jsonReader) object() error {
	_, err := r.token(jsontext.KindBeginObject, "an object")
	return err
}

func (r *jsonReader) key() (string, bool, error) {
	t, err := r.dec.ReadToken()
	if err != nil || t.Kind() == jsontext.KindEndObject {
		return "", false, err
	}
	return t.String(), true, nil
}

func (r *jsonReader) array() error {
	_, err := r.token(jsontext.KindBeginArray, "an array")
	return err
}

func (r *jsonReader) more() (bool, error) {
	if r.dec.PeekKind() != jsontext.KindEndArray {
		return true, nil
	}
	_, err := r.dec.ReadToken()
	return false, err
}

func (r *jsonReader) boolean() (bool, error) {
	t, err := r.dec.ReadToken()
	if err != nil {
		return false, err
	}
	switch t.Kind() {
	case jsontext.KindTrue:
		return true, nil
	case jsontext.KindFalse:
		return false, nil
	default:
		return false, fmt.Errorf("want true or false, found %v", t.Kind())
	}
}

func (r *jsonReader) str() (string, error) {
	t, err := r.token(jsontext.KindString, "a string")
	if err != nil {
		return "", err
	}
	return t.String(), nil
}

func (r *jsonReader) binary() ([]byte, error) {
	s, err := r.str()
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(b) != s { // it reads over line breaks and stray bits
		return nil, errors.New("want bytes in base64")
	}
	return b, nil
}

// number gives a number's spelling: integers are read from it, since 2^53+1
// would not survive a float64.
func (r *jsonReader) number(want string) (string, error) {
	if _, err := r.peekNumber(want); err != nil {
		return "", err
	}
	v, err := r.dec.ReadValue()
	return string(v), err
}

func (r *jsonReader) peekNumber(want string) (jsontext.Kind, error) {
	kind := r.dec.PeekKind()
	if kind != jsontext.KindNumber {
		return kind, fmt.Errorf("want %s, found %v", want, kind)
	}
	return kind, nil
}

func (r *jsonReader) integer() (int64, error) {
	s, err := r.number("an integer")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a whole number of 64 bits", s)
	}
	return n, nil
}

func (r *jsonReader) unsigned() (uint64, error) {
	s, err := r.number("an integer")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a whole number of 64 bits from 0", s)
	}
	return n, nil
}

func (r *jsonReader) float() (float64, error) {
	if r.dec.PeekKind() == jsontext.KindString {
		s, err := r.str()
		if err != nil {
			return 0, err
		}
		switch s {
		case "NaN":
			return math.NaN(), nil
		case "Infinity":
			return math.Inf(1), nil
		case "-Infinity":
			return math.Inf(-1), nil
		default:
			return 0, fmt.Errorf("want a number, found %q", s)
		}
	}
	s, err := r.number("a number")
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is too large for a float64", s)
	}
	return f, nil
}

func (r *jsonReader) startsObject() bool { return r.dec.PeekKind() == jsontext.KindBeginObject }
func (r *jsonReader) canonical() bool    { return false }

func (r *jsonReader) any(depth int) (any, error) {
	switch kind := r.dec.PeekKind(); kind {
	case jsontext.KindNull:
		_, err := r.dec.ReadToken()
		return nil, err
	case jsontext.KindTrue, jsontext.KindFalse:
		return r.boolean()
	case jsontext.KindString:
		return r.str()
	case jsontext.KindNumber:
		s, err := r.number("a number")
		if err != nil {
			return nil, err
		}
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is too large for a float64", s)
		}
		return normalNumber(f), nil
	case jsontext.KindBeginObject:
		return readAnyObject(r, depth)
	case jsontext.KindBeginArray:
		return readAnyArray(r, depth)
	default:
		_, err := r.dec.ReadToken()
		return nil, fmt.Errorf("want a JSON value: %w", err)
	}
}
