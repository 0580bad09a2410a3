package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// AppendCanonical appends the canonical msgpack of a struct to dst: the form in
// which an event's data stands on the log, and in which state is hashed. Equal
// values give equal bytes on every machine. It fails on strings that aren't
// UTF-8. A type that the codec has no form for panics.
func AppendCanonical(dst []byte, v any) ([]byte, error) {
	w := packWriters.Get().(*packWriter)
	defer packWriters.Put(w)
	w.buf = w.buf[:0]
	if e, ok := v.(VersionRegistered); !ok || !e.pack(w) {
		if err := packByPlan(w, v); err != nil {
			return nil, err
		}
	}
	return append(dst, w.buf...), nil
}

func packByPlan(w *packWriter, v any) error {
	w.buf = w.buf[:0]
	rv := reflect.ValueOf(v)
	return planOf(rv.Type()).write(w, rv)
}

// ReadCanonical reads what AppendCanonical wrote into the value that into
// points to. It fails on anything that AppendCanonical would not have written
// for that type.
func ReadCanonical(data []byte, into any) error {
	v := reflect.ValueOf(into).Elem()
	return readPack(data, func(r *packReader) error { return planOf(v.Type()).read(r, v) })
}

var errNotUTF8 = errors.New("a string is not UTF-8")

var packWriters = sync.Pool{New: func() any { return new(packWriter) }}

// packWriter writes canonical msgpack.
type packWriter struct{ buf []byte }

func (w *packWriter) object(n int) error {
	return w.enter(n, msgpcode.FixedMapLow, msgpcode.Map16, msgpcode.Map32)
}

func (w *packWriter) array(n int) error {
	return w.enter(n, msgpcode.FixedArrayLow, msgpcode.Array16, msgpcode.Array32)
}

func (w *packWriter) enter(n int, fixed, code16, code32 byte) error {
	switch {
	case n < 16:
		w.buf = append(w.buf, fixed|byte(n))
	case n <= math.MaxUint16:
		w.put16(code16, n)
	default:
		w.put32(code32, n)
	}
	return nil
}

func (w *packWriter) put8(code byte, n int) { w.buf = append(w.buf, code, byte(n)) }

func (w *packWriter) put16(code byte, n int) {
	w.buf = binary.BigEndian.AppendUint16(append(w.buf, code), uint16(n))
}

func (w *packWriter) put32(code byte, n int) {
	w.buf = binary.BigEndian.AppendUint32(append(w.buf, code), uint32(n))
}

func (w *packWriter) put64(code byte, n uint64) {
	w.buf = binary.BigEndian.AppendUint64(append(w.buf, code), n)
}

func (w *packWriter) key(name string) error { return w.str(name) }
func (w *packWriter) endObject() error      { return nil }
func (w *packWriter) endArray() error       { return nil }
func (w *packWriter) sortsKeys() bool       { return true }

func (w *packWriter) null() error {
	w.buf = append(w.buf, msgpcode.Nil)
	return nil
}

func (w *packWriter) boolean(b bool) error {
	code := msgpcode.False
	if b {
		code = msgpcode.True
	}
	w.buf = append(w.buf, code)
	return nil
}

func (w *packWriter) str(s string) error {
	if !utf8.ValidString(s) {
		return errNotUTF8
	}
	switch n := len(s); {
	case n < 32:
		w.buf = append(w.buf, msgpcode.FixedStrLow|byte(n))
	case n <= math.MaxUint8:
		w.put8(msgpcode.Str8, n)
	case n <= math.MaxUint16:
		w.put16(msgpcode.Str16, n)
	default:
		w.put32(msgpcode.Str32, n)
	}
	w.buf = append(w.buf, s...)
	return nil
}

func (w *packWriter) binary(b []byte) error {
	switch n := len(b); {
	case n <= math.MaxUint8:
		w.put8(msgpcode.Bin8, n)
	case n <= math.MaxUint16:
		w.put16(msgpcode.Bin16, n)
	default:
		w.put32(msgpcode.Bin32, n)
	}
	w.buf = append(w.buf, b...)
	return nil
}

func (w *packWriter) integer(n int64) error {
	switch {
	case n >= 0:
		return w.unsigned(uint64(n))
	case n >= -32:
		w.buf = append(w.buf, byte(n))
	case n >= math.MinInt8:
		w.put8(msgpcode.Int8, int(n))
	case n >= math.MinInt16:
		w.put16(msgpcode.Int16, int(n))
	case n >= math.MinInt32:
		w.put32(msgpcode.Int32, int(n))
	default:
		w.put64(msgpcode.Int64, uint64(n))
	}
	return nil
}

func (w *packWriter) unsigned(n uint64) error {
	switch {
	case n <= math.MaxInt8:
		w.buf = append(w.buf, byte(n))
	case n <= math.MaxUint8:
		w.put8(msgpcode.Uint8, int(n))
	case n <= math.MaxUint16:
		w.put16(msgpcode.Uint16, int(n))
	case n <= math.MaxUint32:
		w.put32(msgpcode.Uint32, int(n))
	default:
		w.put64(msgpcode.Uint64, n)
	}
	return nil
}

func (w *packWriter) float(f float64) error {
	if math.IsNaN(f) {
		f = math.NaN() // one NaN of the many
	}
	w.put64(msgpcode.Double, math.Float64bits(f))
	return nil
}

var packReaders = sync.Pool{New: func() any { return new(packReader) }}

// packReader reads canonical msgpack and nothing else: of the encodings that
// msgpack has for a value it takes the one that packWriter writes. That is why
// it is no decoder of the library's, which takes them all, and sets memory
// aside for a length before it has seen the bytes.
type packReader struct {
	src  string
	at   int         // what is left to read begins here
	open []container // the innermost last
}

// container is an object or array that is being read.
type container struct {
	left int
	last string // the key before, since keys must rise
	any  bool   // whether a key was read
}

var errLong = errors.New("not in the shortest form")

// readPack calls read with a reader of the data, and checks that nothing is
// left.
func readPack(data []byte, read func(r *packReader) error) error {
	r := packReaders.Get().(*packReader)
	defer packReaders.Put(r)
	r.src, r.at, r.open = textOf(data), 0, r.open[:0]
	if err := read(r); err != nil {
		return err
	}
	if n := r.left(); n > 0 {
		return fmt.Errorf("%d bytes follow the data", n)
	}
	return nil
}

// textOf gives bytes as a text without copying them. Nobody changes them while
// they are read, and what is kept of them is cloned.
func textOf(data []byte) string { return unsafe.String(unsafe.SliceData(data), len(data)) }

func (r *packReader) left() int { return len(r.src) - r.at }

func (r *packReader) canonical() bool { return true }

// head takes the code of the next value, which must be of a type.
func (r *packReader) head(want string, ofType func(code byte) bool) (byte, error) {
	if r.left() == 0 {
		return 0, fmt.Errorf("want %s: %w", want, io.ErrUnexpectedEOF)
	}
	code := r.src[r.at]
	if !ofType(code) {
		return 0, fmt.Errorf("want %s, found the msgpack code 0x%02x", want, code)
	}
	r.at++
	return code, nil
}

func (r *packReader) take(n int) (string, error) {
	if n > r.left() {
		return "", io.ErrUnexpectedEOF
	}
	s := r.src[r.at : r.at+n]
	r.at += n
	return s, nil
}

// bigEndian reads a number of so many bytes.
func (r *packReader) bigEndian(size int) (uint64, error) {
	s, err := r.take(size)
	var n uint64
	for i := range len(s) {
		n = n<<8 | uint64(s[i])
	}
	return n, err
}

// length reads a length of so many bytes. One below least has a shorter form.
func (r *packReader) length(size int, least uint64) (int, error) {
	n, err := r.bigEndian(size)
	if err != nil {
		return 0, err
	}
	if n < least {
		return 0, errLong
	}
	return r.believe(n)
}

// believe refuses a length that is a lie, before memory is set aside for it:
// each element takes a byte at least.
func (r *packReader) believe(n uint64) (int, error) {
	if n > uint64(r.left()) {
		return 0, fmt.Errorf("a length of %d is more than there is", n)
	}
	return int(n), nil
}

func (r *packReader) object() error {
	code, err := r.head("an object", isMap)
	if err != nil {
		return err
	}
	return r.enter(code, msgpcode.FixedMapMask, msgpcode.Map16, msgpcode.Map32)
}

func (r *packReader) array() error {
	code, err := r.head("an array", isArray)
	if err != nil {
		return err
	}
	return r.enter(code, msgpcode.FixedArrayMask, msgpcode.Array16, msgpcode.Array32)
}

func (r *packReader) enter(code, mask, code16, code32 byte) error {
	var n int
	var err error
	switch code {
	case code16:
		n, err = r.length(2, 16)
	case code32:
		n, err = r.length(4, 1<<16)
	default:
		n, err = r.believe(uint64(code & mask))
	}
	if err != nil {
		return err
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

func (r *packReader) key() (string, bool, error) {
	c, more := r.next()
	if !more {
		return "", false, nil
	}
	name, err := r.text()
	if err != nil {
		return "", false, err
	}
	if c.any && name <= c.last {
		return "", false, fmt.Errorf("key %q is a duplicate or out of order", name)
	}
	c.last, c.any = name, true
	return name, true, nil
}

func (r *packReader) more() (bool, error) {
	_, more := r.next()
	return more, nil
}

func (r *packReader) boolean() (bool, error) {
	code, err := r.head("true or false", isBool)
	return code == msgpcode.True, err
}

// str gives a string of its own: a part of src would keep all of it in memory.
func (r *packReader) str() (string, error) {
	s, err := r.text()
	return strings.Clone(s), err
}

// text gives a part of src.
func (r *packReader) text() (string, error) {
	code, err := r.head("a string", msgpcode.IsString)
	if err != nil {
		return "", err
	}
	var n int
	switch code {
	case msgpcode.Str8:
		n, err = r.length(1, 32)
	case msgpcode.Str16:
		n, err = r.length(2, 1<<8)
	case msgpcode.Str32:
		n, err = r.length(4, 1<<16)
	default:
		n, err = r.believe(uint64(code & msgpcode.FixedStrMask))
	}
	if err != nil {
		return "", err
	}
	s, err := r.take(n)
	if err == nil && !utf8.ValidString(s) {
		err = errNotUTF8
	}
	return s, err
}

func (r *packReader) binary() ([]byte, error) {
	code, err := r.head("bytes", msgpcode.IsBin)
	if err != nil {
		return nil, err
	}
	var n int
	switch code {
	case msgpcode.Bin8:
		n, err = r.length(1, 0)
	case msgpcode.Bin16:
		n, err = r.length(2, 1<<8)
	default:
		n, err = r.length(4, 1<<16)
	}
	if err != nil {
		return nil, err
	}
	s, err := r.take(n)
	return []byte(s), err
}

func (r *packReader) integer() (int64, error) {
	n, negative, err := r.whole()
	if err == nil && !negative && n > math.MaxInt64 {
		err = fmt.Errorf("%d is too large", n)
	}
	return int64(n), err
}

func (r *packReader) unsigned() (uint64, error) {
	n, negative, err := r.whole()
	if err == nil && negative {
		err = fmt.Errorf("%d is negative", int64(n))
	}
	return n, err
}

// What the next shorter form of an integer reaches up to and down to, from the
// form with one byte to that with eight.
var (
	shorterUp   = [...]uint64{math.MaxInt8, math.MaxUint8, math.MaxUint16, math.MaxUint32}
	shorterDown = [...]int64{-32, math.MinInt8, math.MinInt16, math.MinInt32}
)

// whole reads an integer: of a negative one it gives the two's complement.
func (r *packReader) whole() (n uint64, negative bool, err error) {
	code, err := r.head("an integer", isInteger)
	switch {
	case err != nil:
		return 0, false, err
	case msgpcode.IsFixedNum(code):
		return uint64(int8(code)), int8(code) < 0, nil
	case code <= msgpcode.Uint64:
		form := code - msgpcode.Uint8
		n, err = r.bigEndian(1 << form)
		if err == nil && n <= shorterUp[form] {
			err = errLong
		}
		return n, false, err
	default:
		form := code - msgpcode.Int8
		n, err = r.bigEndian(1 << form)
		unused := 64 - 8<<form
		signed := int64(n<<unused) >> unused
		if err == nil && signed >= shorterDown[form] {
			err = errLong
		}
		return uint64(signed), true, err
	}
}

func (r *packReader) float() (float64, error) {
	if _, err := r.head("a float64", isDouble); err != nil {
		return 0, err
	}
	bits, err := r.bigEndian(8)
	f := math.Float64frombits(bits)
	if err == nil && math.IsNaN(f) && bits != math.Float64bits(math.NaN()) {
		err = errors.New("not the one NaN")
	}
	return f, err
}

func (r *packReader) startsObject() bool { return r.left() > 0 && isMap(r.src[r.at]) }

func (r *packReader) any(depth int) (any, error) {
	if r.left() == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	switch code := r.src[r.at]; {
	case code == msgpcode.Nil:
		_, err := r.take(1)
		return nil, err
	case isBool(code):
		return r.boolean()
	case msgpcode.IsString(code):
		return r.str()
	case isInteger(code):
		return r.integer()
	case isDouble(code):
		return r.anyFloat()
	case isMap(code):
		return readAnyObject(r, depth)
	case isArray(code):
		return readAnyArray(r, depth)
	default:
		return nil, fmt.Errorf("want a JSON value, found the msgpack code 0x%02x", code)
	}
}

// anyFloat takes only what writeAnyFloat writes.
func (r *packReader) anyFloat() (any, error) {
	f, err := r.float()
	switch {
	case err != nil:
		return nil, err
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, notJSON(f)
	}
	if n, whole := normalNumber(f).(int64); whole {
		return nil, fmt.Errorf("%d is a float64, and should be an integer", n)
	}
	return f, nil
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

func isBool(code byte) bool   { return code == msgpcode.True || code == msgpcode.False }
func isDouble(code byte) bool { return code == msgpcode.Double }
