package events

import (
	"errors"
	"fmt"
	"math"
)

// Object is a JSON object of the sender's own making, kept as it was sent but
// for its numbers: one without a fraction is an integer, so that 1.0 and 1 are
// the same, and one that isn't an integer of 64 bits is a float64, with the
// digits that this has. Its values are nested at most 32 deep.
//
// In Go they are nil, bool, string, int64, float64, []any and map[string]any.
type Object map[string]any

const maxDepth = 32

var errDepth = errors.New("nested more than 32 deep")

func notJSON(f float64) error { return fmt.Errorf("%v is not a JSON number", f) }

// normalNumber gives equal numbers one form, whatever their spelling was.
func normalNumber(f float64) any {
	if f == math.Trunc(f) && f >= math.MinInt64 && f < -math.MinInt64 {
		return int64(f)
	}
	return f
}

func writeObject(w writer, o Object) error {
	return writeMap(w, o, func(w writer, x any) error { return writeAny(w, x, 0) })
}

func readObject(r reader) (Object, error) {
	return readMap(r, func(r reader) (any, error) { return r.any(0) })
}

// writeAny writes a value that stands depth deep in an Object.
func writeAny(w writer, v any, depth int) error {
	switch x := v.(type) {
	case nil:
		return w.null()
	case bool:
		return w.boolean(x)
	case string:
		return w.str(x)
	case int64:
		return w.integer(x)
	case float64:
		return writeAnyFloat(w, x)
	case []any:
		return writeAnyArray(w, x, depth)
	case map[string]any:
		if depth >= maxDepth {
			return errDepth
		}
		return writeMap(w, x, func(w writer, e any) error { return writeAny(w, e, depth+1) })
	default:
		return fmt.Errorf("%T is not a JSON value", v)
	}
}

// writeAnyFloat refuses what JSON can't say: in an untyped place the string
// "NaN" would come back as a string.
func writeAnyFloat(w writer, f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return notJSON(f)
	}
	if n, ok := normalNumber(f).(int64); ok {
		return w.integer(n)
	}
	return w.float(f)
}

func writeAnyArray(w writer, a []any, depth int) error {
	if depth >= maxDepth {
		return errDepth
	}
	if err := w.array(len(a)); err != nil {
		return err
	}
	for i, e := range a {
		if err := writeAny(w, e, depth+1); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	return w.endArray()
}

func readAnyObject(r reader, depth int) (any, error) {
	if depth >= maxDepth {
		return nil, errDepth
	}
	m, err := readMap(r, func(r reader) (any, error) { return r.any(depth + 1) })
	if m == nil {
		m = map[string]any{}
	}
	return m, err
}

func readAnyArray(r reader, depth int) (any, error) {
	if depth >= maxDepth {
		return nil, errDepth
	}
	if err := r.array(); err != nil {
		return nil, err
	}
	a := []any{}
	for {
		more, err := r.more()
		if err != nil || !more {
			return a, err
		}
		x, err := r.any(depth + 1)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", len(a), err)
		}
		a = append(a, x)
	}
}
