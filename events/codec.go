package events

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// One codec writes and reads both forms of an event's data: canonical msgpack
// on the log, JSON at the edges. A plan, made once per Go type from its json
// tags, says which fields there are; a writer or a reader says which form.
//
// Canonical msgpack: keys sorted by bytes, integers and lengths in their
// shortest encoding, floats always float64 with one NaN, empty optional fields
// left out. Equal values give equal bytes, so hashes can cover them.
//
// Reading is strict: unknown and duplicate keys, missing required fields, wrong
// types, invalid UTF-8 and bytes after the value are errors. So is msgpack that
// isn't canonical: what can be read from the log is written again with the same
// bytes.

// writer is one form to write.
type writer interface {
	object(members int) error
	key(name string) error
	endObject() error
	array(elements int) error
	endArray() error
	null() error
	boolean(bool) error
	binary([]byte) error
	str(string) error
	integer(int64) error
	unsigned(uint64) error
	float(float64) error
	sortsKeys() bool // whether members come sorted, or as declared
}

// reader is one form to read. A method fails when the next value isn't of its
// type.
type reader interface {
	object() error
	// key gives the next member's name; more is false at the object's end,
	// which it consumes. Whoever keeps the name clones it: it may be a part of
	// the whole input.
	key() (name string, more bool, err error)
	array() error
	more() (bool, error) // false at the array's end, which it consumes
	boolean() (bool, error)
	binary() ([]byte, error)
	str() (string, error)
	integer() (int64, error)
	unsigned() (uint64, error)
	float() (float64, error)
	any(depth int) (any, error)
	startsObject() bool // whether the next value is an object
	canonical() bool    // whether a value has only one form
}

// plan writes and reads the values of one Go type.
type plan struct {
	write func(w writer, v reflect.Value) error
	read  func(r reader, v reflect.Value) error
}

var plans sync.Map // reflect.Type -> *plan

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p, _ := plans.LoadOrStore(t, newPlan(t))
	return p.(*plan)
}

func newPlan(t reflect.Type) *plan {
	switch t {
	case reflect.TypeFor[ulid.ULID]():
		return planFor(writeULID, readULID)
	case reflect.TypeFor[time.Time]():
		return planFor(writeTime, readTime)
	case reflect.TypeFor[Hash]():
		return planFor(writeHash, readHash)
	case reflect.TypeFor[Text]():
		return planFor(writeText, readText)
	case reflect.TypeFor[[]byte]():
		return planFor(writer.binary, reader.binary)
	case reflect.TypeFor[map[string]string]():
		return mapPlan(writer.str, reader.str)
	case reflect.TypeFor[map[string]float64]():
		return mapPlan(writer.float, reader.float)
	case reflect.TypeFor[Object]():
		return planFor(writeObject, readObject)
	}
	switch t.Kind() {
	case reflect.String:
		return &plan{
			write: func(w writer, v reflect.Value) error { return w.str(v.String()) },
			read:  func(r reader, v reflect.Value) error { s, err := r.str(); v.SetString(s); return err },
		}
	case reflect.Bool:
		return &plan{
			write: func(w writer, v reflect.Value) error { return w.boolean(v.Bool()) },
			read:  func(r reader, v reflect.Value) error { b, err := r.boolean(); v.SetBool(b); return err },
		}
	case reflect.Int, reflect.Int64:
		return &plan{
			write: func(w writer, v reflect.Value) error { return w.integer(v.Int()) },
			read:  func(r reader, v reflect.Value) error { n, err := r.integer(); v.SetInt(n); return err },
		}
	case reflect.Uint64:
		return &plan{
			write: func(w writer, v reflect.Value) error { return w.unsigned(v.Uint()) },
			read:  func(r reader, v reflect.Value) error { n, err := r.unsigned(); v.SetUint(n); return err },
		}
	case reflect.Float64:
		return &plan{
			write: func(w writer, v reflect.Value) error { return w.float(v.Float()) },
			read:  func(r reader, v reflect.Value) error { f, err := r.float(); v.SetFloat(f); return err },
		}
	case reflect.Pointer:
		return pointerPlan(t)
	case reflect.Slice:
		return slicePlan(t)
	case reflect.Array:
		return arrayPlan(t)
	case reflect.Struct:
		return structPlan(t)
	default:
		panic(fmt.Sprintf("events: the codec has no form for %v", t))
	}
}

// planFor makes the plan of a type that has functions of its own.
func planFor[T any](write func(writer, T) error, read func(reader) (T, error)) *plan {
	return &plan{
		write: func(w writer, v reflect.Value) error {
			x, _ := reflect.TypeAssert[T](v)
			return write(w, x)
		},
		read: func(r reader, v reflect.Value) error {
			x, err := read(r)
			*v.Addr().Interface().(*T) = x
			return err
		},
	}
}

func writeULID(w writer, id ulid.ULID) error { return w.str(id.String()) }

func readULID(r reader) (ulid.ULID, error) {
	s, err := r.str()
	if err != nil {
		return ulid.ULID{}, err
	}
	return parseULID(s)
}

// parseULID takes only the canonical spelling, so that what is read is written
// the same.
func parseULID(s string) (ulid.ULID, error) {
	id, err := ulid.ParseStrict(s)
	if err != nil {
		return ulid.ULID{}, fmt.Errorf("%q is not a ULID: %w", s, err)
	}
	for i := range len(s) {
		if s[i] >= 'a' { // the one other spelling that is taken
			return ulid.ULID{}, fmt.Errorf("%q is not a ULID in upper case", s)
		}
	}
	return id, nil
}

// isULID says whether a text is the canonical spelling of a ULID.
func isULID(s string, id ulid.ULID) bool {
	var canonical [ulid.EncodedSize]byte
	err := id.MarshalTextTo(canonical[:])
	return err == nil && string(canonical[:]) == s
}

func writeTime(w writer, t time.Time) error {
	if err := checkTime(t); err != nil {
		return err
	}
	return w.str(FormatTime(t))
}

func readTime(r reader) (time.Time, error) {
	s, err := r.str()
	if err != nil {
		return time.Time{}, err
	}
	return parseTime(s)
}

func writeHash(w writer, h Hash) error { return w.str(hex.EncodeToString(h[:])) }

func readHash(r reader) (Hash, error) {
	s, err := r.str()
	if err != nil {
		return Hash{}, err
	}
	return parseHash(s)
}

func pointerPlan(t reflect.Type) *plan {
	elem := planOf(t.Elem())
	return &plan{
		write: func(w writer, v reflect.Value) error { return elem.write(w, v.Elem()) },
		read: func(r reader, v reflect.Value) error {
			v.Set(reflect.New(t.Elem()))
			return elem.read(r, v.Elem())
		},
	}
}

func slicePlan(t reflect.Type) *plan {
	elem := planOf(t.Elem())
	return &plan{
		write: func(w writer, v reflect.Value) error { return writeElements(w, elem, v) },
		read: func(r reader, v reflect.Value) error {
			if err := r.array(); err != nil {
				return err
			}
			for i := 0; ; i++ {
				more, err := r.more()
				if err != nil || !more {
					return err
				}
				v.Grow(1)
				v.SetLen(i + 1)
				if err := elem.read(r, v.Index(i)); err != nil {
					return fmt.Errorf("%d: %w", i, err)
				}
			}
		},
	}
}

func arrayPlan(t reflect.Type) *plan {
	elem := planOf(t.Elem())
	return &plan{
		write: func(w writer, v reflect.Value) error { return writeElements(w, elem, v) },
		read: func(r reader, v reflect.Value) error {
			if err := r.array(); err != nil {
				return err
			}
			for i := range t.Len() {
				if more, err := r.more(); err != nil || !more {
					return errors.Join(err, fmt.Errorf("the array has fewer than %d elements", t.Len()))
				}
				if err := elem.read(r, v.Index(i)); err != nil {
					return fmt.Errorf("%d: %w", i, err)
				}
			}
			if more, err := r.more(); err != nil || more {
				return errors.Join(err, fmt.Errorf("the array has more than %d elements", t.Len()))
			}
			return nil
		},
	}
}

func writeElements(w writer, elem *plan, v reflect.Value) error {
	if err := w.array(v.Len()); err != nil {
		return err
	}
	for i := range v.Len() {
		if err := elem.write(w, v.Index(i)); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	return w.endArray()
}

func mapPlan[V any](write func(writer, V) error, read func(reader) (V, error)) *plan {
	return planFor(
		func(w writer, m map[string]V) error { return writeMap(w, m, write) },
		func(r reader) (map[string]V, error) { return readMap(r, read) },
	)
}

// writeMap writes maps sorted in both forms: they have no declared order.
func writeMap[V any](w writer, m map[string]V, write func(writer, V) error) error {
	if err := w.object(len(m)); err != nil {
		return err
	}
	keys := slices.AppendSeq(make([]string, 0, len(m)), maps.Keys(m))
	slices.Sort(keys)
	for _, k := range keys {
		if err := w.key(k); err != nil {
			return err
		}
		if err := write(w, m[k]); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	return w.endObject()
}

// readMap gives nil for an empty map.
func readMap[V any](r reader, read func(reader) (V, error)) (map[string]V, error) {
	if err := r.object(); err != nil {
		return nil, err
	}
	var m map[string]V
	for {
		name, more, err := r.key()
		if err != nil || !more {
			return m, err
		}
		x, err := read(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if m == nil {
			m = map[string]V{}
		}
		m[strings.Clone(name)] = x
	}
}

// field is one field of a struct's plan.
type field struct {
	name     string
	index    int
	optional bool
	*plan
}

// fieldsOf lists the fields of a struct as declared. A field that has an empty
// form must be optional: absent is the only way to write "nothing".
func fieldsOf(t reflect.Type) []field {
	if t.NumField() > 64 { // readFields keeps a bit for each
		panic(fmt.Sprintf("events: %v has more than 64 fields", t))
	}
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || !f.IsExported() {
			panic(fmt.Sprintf("events: %v.%s needs a json name", t, f.Name))
		}
		optional := options != ""
		switch f.Type.Kind() {
		case reflect.Slice, reflect.Map, reflect.Pointer:
			if !optional {
				panic(fmt.Sprintf("events: %v.%s must be optional", t, f.Name))
			}
		default:
		}
		fields = append(fields, field{name: name, index: i, optional: optional, plan: planOf(f.Type)})
	}
	return fields
}

func structPlan(t reflect.Type) *plan {
	declared := fieldsOf(t)
	sorted := slices.Clone(declared)
	slices.SortFunc(sorted, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return &plan{
		write: func(w writer, v reflect.Value) error {
			fields := declared
			if w.sortsKeys() {
				fields = sorted
			}
			return writeFields(w, fields, v)
		},
		read: func(r reader, v reflect.Value) error { return readFields(r, sorted, v) },
	}
}

func writeFields(w writer, fields []field, v reflect.Value) error {
	n := 0
	for i := range fields {
		if !fields[i].absent(v) {
			n++
		}
	}
	if err := w.object(n); err != nil {
		return err
	}
	for i := range fields {
		f := &fields[i]
		if f.absent(v) {
			continue
		}
		if err := w.key(f.name); err != nil {
			return err
		}
		if err := f.write(w, v.Field(f.index)); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return w.endObject()
}

func (f *field) absent(v reflect.Value) bool {
	if !f.optional {
		return false
	}
	x := v.Field(f.index)
	switch x.Kind() {
	case reflect.Slice, reflect.Map:
		return x.Len() == 0
	default:
		return x.IsZero()
	}
}

func readFields(r reader, sorted []field, v reflect.Value) error {
	if err := r.object(); err != nil {
		return err
	}
	var seen uint64
	next := 0 // where the name is in sorted, if no optional field was left out
	for {
		name, more, err := r.key()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		i := next
		if i == len(sorted) || sorted[i].name != name {
			var known bool
			i, known = slices.BinarySearchFunc(sorted, name, func(f field, n string) int { return strings.Compare(f.name, n) })
			if !known {
				return fmt.Errorf("unknown field %q", name)
			}
		}
		next = i + 1
		seen |= 1 << i
		f := &sorted[i]
		if err := f.read(r, v.Field(f.index)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if r.canonical() && f.absent(v) {
			return fmt.Errorf("%s: is empty, and should have been left out", name)
		}
	}
	for i := range sorted {
		if !sorted[i].optional && seen&(1<<i) == 0 {
			return fmt.Errorf("missing field %q", sorted[i].name)
		}
	}
	return nil
}
