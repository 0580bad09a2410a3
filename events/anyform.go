package events

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Object is a JSON object of the sender's own making, kept as it was sent but
// for the spelling of its numbers: a number without a fraction is an integer,
// 1.0 and 1 are the same. Its values are nil, bool, string, int64, float64,
// []any and map[string]any, nested at most 32 deep.
type Object map[string]any

const maxDepth = 32

var errDepth = errors.New("nested more than 32 deep")

// normalNumber gives equal numbers one form, whatever their spelling was.
func normalNumber(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return int64(f)
	}
	return f
}

func writeAny(w writer, v any, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
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
		if err := w.array(len(x)); err != nil {
			return err
		}
		for _, e := range x {
			if err := writeAny(w, e, depth+1); err != nil {
				return err
			}
		}
		return w.endArray()
	case map[string]any:
		if err := w.object(len(x)); err != nil {
			return err
		}
		for _, k := range slices.Sorted(maps.Keys(x)) {
			if err := w.key(k); err != nil {
				return err
			}
			if err := writeAny(w, x[k], depth+1); err != nil {
				return err
			}
		}
		return w.endObject()
	default:
		return fmt.Errorf("%T is not a JSON value", v)
	}
}

// writeAnyFloat refuses what JSON can't say: in an untyped place the string
// "NaN" would come back as a string.
func writeAnyFloat(w writer, f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("%v is not a JSON number", f)
	}
	if n, ok := normalNumber(f).(int64); ok {
		return w.integer(n)
	}
	return w.float(f)
}

func readAnyObject(r reader, depth int) (any, error) {
	if depth >= maxDepth {
		return nil, errDepth
	}
	if err := r.object(); err != nil {
		return nil, err
	}
	m := map[string]any{}
	for {
		name, more, err := r.key()
		if err != nil {
			return nil, err
		}
		if !more {
			return m, nil
		}
		if m[name], err = r.any(depth + 1); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
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
		if err != nil {
			return nil, err
		}
		if !more {
			return a, nil
		}
		x, err := r.any(depth + 1)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", len(a), err)
		}
		a = append(a, x)
	}
}
