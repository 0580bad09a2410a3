package events

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// AppendCanonical appends the canonical msgpack of a struct to dst: the form in
// which an event's data stands on the log, and in which state is hashed. Equal
// values give equal bytes on every machine. It fails on strings that aren't
// UTF-8. A type that the codec has no form for panics.
func AppendCanonical(dst []byte, v any) ([]byte, error) {
	w := packWriters.Get().(*packWriter)
	defer packWriters.Put(w)
	w.buf.Reset()
	rv := reflect.ValueOf(v)
	if err := planOf(rv.Type()).write(w, rv); err != nil {
		return nil, err
	}
	return append(dst, w.buf.Bytes()...), nil
}

// ReadCanonical reads what AppendCanonical wrote into the value that into
// points to. It fails on anything that AppendCanonical would not have written
// for that type, but for integers that aren't in their shortest form.
func ReadCanonical(data []byte, into any) error {
	r := packReaders.Get().(*packReader)
	defer packReaders.Put(r)
	r.reset(data)
	v := reflect.ValueOf(into).Elem()
	if err := planOf(v.Type()).read(r, v); err != nil {
		return err
	}
	if r.src.Len() > 0 {
		return fmt.Errorf("%d bytes follow the value", r.src.Len())
	}
	return nil
}

var packWriters = sync.Pool{New: func() any {
	w := &packWriter{}
	w.enc = msgpack.NewEncoder(&w.buf)
	return w
}}

type packWriter struct {
	buf bytes.Buffer
	enc *msgpack.Encoder
}

func (w *packWriter) object(n int) error      { return w.enc.EncodeMapLen(n) }
func (w *packWriter) key(name string) error   { return w.str(name) }
func (w *packWriter) endObject() error        { return nil }
func (w *packWriter) array(n int) error       { return w.enc.EncodeArrayLen(n) }
func (w *packWriter) endArray() error         { return nil }
func (w *packWriter) null() error             { return w.enc.EncodeNil() }
func (w *packWriter) boolean(b bool) error    { return w.enc.EncodeBool(b) }
func (w *packWriter) binary(b []byte) error   { return w.enc.EncodeBytes(b) }
func (w *packWriter) integer(n int64) error   { return w.enc.EncodeInt(n) }
func (w *packWriter) unsigned(n uint64) error { return w.enc.EncodeUint(n) }
func (w *packWriter) sortsKeys() bool         { return true }

func (w *packWriter) str(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("a string is not UTF-8")
	}
	return w.enc.EncodeString(s)
}

func (w *packWriter) float(f float64) error {
	if math.IsNaN(f) {
		f = math.NaN() // one NaN of the many
	}
	return w.enc.EncodeFloat64(f)
}

var packReaders = sync.Pool{New: func() any {
	r := &packReader{}
	r.dec = msgpack.NewDecoder(&r.src)
	return r
}}

// container is an object or array that is being read.
type container struct {
	left int
	last string // the key before, since keys must rise
	any  bool   // whether a key was read
}

type packReader struct {
	src  bytes.Reader
	dec  *msgpack.Decoder
	open []container
}

func (r *packReader) reset(data []byte) {
	r.src.Reset(data)
	r.dec.Reset(&r.src)
	r.open = r.open[:0]
}

func (r *packReader) push(n int) error {
	// Each element takes a byte at least: a larger count is a lie that must
	// not be believed when memory is set aside.
	if n < 0 || n > r.src.Len() {
		return fmt.Errorf("a length of %d is more than there is", n)
	}
	r.open = append(r.open, container{left: n})
	return nil
}

// next counts down the innermost container, and leaves it at its end.
func (r *packReader) next() (*container, bool) {
	c := &r.open[len(r.open)-1]
	if c.left == 0 {
		r.open = r.open[:len(r.open)-1]
		return nil, false
	}
	c.left--
	return c, true
}

func (r *packReader) object() error {
	if code, err := r.dec.PeekCode(); err != nil || !isMap(code) {
		return wrongType("an object", code, err)
	}
	n, err := r.dec.DecodeMapLen()
	if err != nil {
		return err
	}
	return r.push(n)
}

func (r *packReader) key() (string, bool, error) {
	c, more := r.next()
	if !more {
		return "", false, nil
	}
	name, err := r.str()
	if err != nil {
		return "", false, err
	}
	if c.any && name <= c.last {
		return "", false, fmt.Errorf("key %q is a duplicate or out of order", name)
	}
	c.last, c.any = name, true
	return name, true, nil
}

func (r *packReader) array() error {
	if code, err := r.dec.PeekCode(); err != nil || !isArray(code) {
		return wrongType("an array", code, err)
	}
	n, err := r.dec.DecodeArrayLen()
	if err != nil {
		return err
	}
	return r.push(n)
}

func (r *packReader) more() (bool, error) {
	_, more := r.next()
	return more, nil
}

func (r *packReader) boolean() (bool, error) {
	if code, err := r.dec.PeekCode(); err != nil || (code != msgpcode.True && code != msgpcode.False) {
		return false, wrongType("true or false", code, err)
	}
	return r.dec.DecodeBool()
}

func (r *packReader) str() (string, error) {
	if code, err := r.dec.PeekCode(); err != nil || !msgpcode.IsString(code) {
		return "", wrongType("a string", code, err)
	}
	s, err := r.dec.DecodeString()
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(s) {
		return "", errors.New("a string is not UTF-8")
	}
	return s, nil
}

func (r *packReader) binary() ([]byte, error) {
	if code, err := r.dec.PeekCode(); err != nil || !msgpcode.IsBin(code) {
		return nil, wrongType("bytes", code, err)
	}
	return r.dec.DecodeBytes()
}

func (r *packReader) integer() (int64, error) {
	code, err := r.dec.PeekCode()
	if err != nil || !isInteger(code) {
		return 0, wrongType("an integer", code, err)
	}
	if code == msgpcode.Uint64 {
		n, err := r.dec.DecodeUint64()
		if err == nil && n > math.MaxInt64 {
			err = fmt.Errorf("%d is too large", n)
		}
		return int64(n), err
	}
	return r.dec.DecodeInt64()
}

func (r *packReader) unsigned() (uint64, error) {
	code, err := r.dec.PeekCode()
	if err != nil || !isInteger(code) {
		return 0, wrongType("an integer", code, err)
	}
	if code == msgpcode.Uint64 {
		return r.dec.DecodeUint64()
	}
	n, err := r.dec.DecodeInt64()
	if err == nil && n < 0 {
		err = fmt.Errorf("%d is negative", n)
	}
	return uint64(n), err
}

func (r *packReader) float() (float64, error) {
	if code, err := r.dec.PeekCode(); err != nil || code != msgpcode.Double {
		return 0, wrongType("a float64", code, err)
	}
	return r.dec.DecodeFloat64()
}

func (r *packReader) startsObject() bool {
	code, err := r.dec.PeekCode()
	return err == nil && isMap(code)
}

func (r *packReader) any(depth int) (any, error) {
	code, err := r.dec.PeekCode()
	switch {
	case err != nil:
		return nil, err
	case code == msgpcode.Nil:
		return nil, r.dec.DecodeNil()
	case code == msgpcode.True, code == msgpcode.False:
		return r.dec.DecodeBool()
	case msgpcode.IsString(code):
		return r.str()
	case isInteger(code):
		return r.integer()
	case code == msgpcode.Double:
		f, err := r.dec.DecodeFloat64()
		return normalNumber(f), err
	case isMap(code):
		return readAnyObject(r, depth)
	case isArray(code):
		return readAnyArray(r, depth)
	default:
		return nil, wrongType("a JSON value", code, nil)
	}
}

func isMap(code byte) bool {
	return msgpcode.IsFixedMap(code) || code == msgpcode.Map16 || code == msgpcode.Map32
}

func isArray(code byte) bool {
	return msgpcode.IsFixedArray(code) || code == msgpcode.Array16 || code == msgpcode.Array32
}

func isInteger(code byte) bool {
	return msgpcode.IsFixedNum(code) || (code >= msgpcode.Uint8 && code <= msgpcode.Int64)
}

func wrongType(want string, code byte, err error) error {
	if err != nil {
		return fmt.Errorf("want %s: %w", want, err)
	}
	return fmt.Errorf("want %s, found the msgpack code 0x%02x", want, code)
}
