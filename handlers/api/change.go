package api

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// FieldChange is what one field of a resource was and is, as the API shows it.
type FieldChange struct {
	Field  string         `json:"field"`            // such as stage, or tags.owner for an entry of an object
	Before jsontext.Value `json:"before,omitempty"` // absent for what wasn't there
	After  jsontext.Value `json:"after,omitempty"`  // absent for what is there no more
}

// changesOf compares what two views show of a resource: a Model, a VersionSummary,
// an Alias, a Target, a Dataset or a Subscription. It gives the fields that differ, in the order in which they
// are shown, those of a new or a gone resource all; none for one that neither view
// has. Of tags and aliases each entry is a field. What moves along with whatever
// else changes is left out: sequence and updated_at. The views are of one state,
// before the earlier one.
func changesOf(before, after projections.View, r events.Resource) ([]FieldChange, error) {
	was, err := shownAs(before, r)
	if err != nil {
		return nil, err
	}
	is, err := shownAs(after, r)
	if err != nil {
		return nil, err
	}
	return compareShown(was, is)
}

// touched yields what changesOf may have something to tell of between two
// sequences of a view, each resource once, in the order of the events.
func touched(v projections.View, from, to uint64) iter.Seq[events.Resource] {
	return v.Touched(from, to)
}

// compareShown compares two values of one shape, either of them perhaps nil.
func compareShown(was, is any) ([]FieldChange, error) {
	return compareFields(was, is, func(f shownField) bool { return !f.movesAlong })
}

// compareFields compares those fields of two values of one shape that are wanted.
func compareFields(was, is any, wanted func(shownField) bool) (changes []FieldChange, err error) {
	if was == nil && is == nil {
		return nil, nil
	}
	fields := fieldsOf(cmp.Or(reflect.TypeOf(is), reflect.TypeOf(was)))
	if was == nil || is == nil { // nearly all of them differ
		changes = make([]FieldChange, 0, len(fields))
	}
	for _, f := range fields {
		before, after := f.of(was), f.of(is)
		if !wanted(f) || f.same(before, after) {
			continue
		}
		if changes, err = f.append(changes, before, after); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// shownAs gives how a view shows a resource, nil for one that it doesn't have.
func shownAs(v projections.View, r events.Resource) (any, error) {
	shown, err := showResource(v, r)
	if missing := (handlers.NotFoundError{}); errors.As(err, &missing) {
		return nil, nil //nolint:nilnil // nothing is an answer
	}
	return shown, err
}

func showResource(v projections.View, r events.Resource) (any, error) {
	switch r.Root.Kind {
	case events.ModelRoot:
		return showUnderModel(v, r)
	case events.TargetRoot:
		if t, sequence, ok := v.TargetByID(r.Root.ID); ok {
			return showTarget(v, t, sequence), nil
		}
	case events.SubscriptionRoot:
		if s, sequence, ok := v.Subscription(r.Root.ID); ok {
			return showSubscription(v, s, sequence)
		}
	case events.RegistryRoot:
		if r.Dataset != (events.DatasetName{}) {
			return showDataset(v, r.Dataset), nil
		}
	default:
	}
	return nil, nil //nolint:nilnil // as in shownAs
}

func showUnderModel(v projections.View, r events.Resource) (any, error) {
	if r.Version != 0 {
		summary, _, err := summarize(v, events.VersionID{ModelID: r.Root.ID, Version: r.Version})
		return summary, err
	}
	m, sequence, ok := v.ModelByID(r.Root.ID)
	if !ok {
		return nil, nil //nolint:nilnil // as in shownAs
	}
	if r.Alias == "" {
		return showModel(v, m, sequence), nil
	}
	version, sequence, ok := v.Alias(m.ID, r.Alias)
	if !ok {
		return nil, nil //nolint:nilnil // as in shownAs
	}
	return Alias{Model: m.Name, ModelID: m.ID.String(), Alias: r.Alias, Version: version, Sequence: sequence}, nil
}

// shownField is a field of a shape.
type shownField struct {
	name    string
	index   int
	entries bool // an object of which each entry is a field
	omit    bool // left out when it is empty
	// movesAlong says that it changes with any other.
	movesAlong bool
}

// shapeFields has the fields of the shapes that are compared.
var shapeFields = func() map[reflect.Type][]shownField {
	shapes := map[reflect.Type][]shownField{}
	for _, shape := range []reflect.Type{
		reflect.TypeFor[Model](), reflect.TypeFor[VersionSummary](), reflect.TypeFor[Version](), reflect.TypeFor[Alias](), reflect.TypeFor[Target](), reflect.TypeFor[Dataset](), reflect.TypeFor[Subscription](),
	} {
		shapes[shape] = readFields(shape)
	}
	return shapes
}()

func readFields(shape reflect.Type) (fields []shownField) {
	for i := range shape.NumField() {
		f := shape.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		entries := name == "tags" || name == "aliases" && f.Type.Kind() == reflect.Map
		movesAlong := name == "sequence" || name == "updated_at"
		fields = append(fields, shownField{name, i, entries, options != "", movesAlong})
	}
	return fields
}

// fieldsOf gives the fields of a shape.
func fieldsOf(shape reflect.Type) []shownField {
	fields, ok := shapeFields[shape]
	if !ok {
		fields = readFields(shape)
	}
	return fields
}

// of gives the field of a value, the zero Value for none.
func (f shownField) of(shown any) reflect.Value {
	if shown == nil {
		return reflect.Value{}
	}
	v := reflect.ValueOf(shown).Field(f.index)
	if f.omit && v.IsZero() {
		return reflect.Value{}
	}
	return v
}

func (f shownField) same(before, after reflect.Value) bool {
	switch {
	case !before.IsValid() || !after.IsValid():
		return before.IsValid() == after.IsValid()
	case before.Kind() == reflect.String: // as most are
		return before.String() == after.String()
	case before.Comparable() && before.Kind() != reflect.Pointer:
		return before.Equal(after)
	default:
		return reflect.DeepEqual(before.Interface(), after.Interface())
	}
}

// append spells what changed of a field.
func (f shownField) append(changes []FieldChange, before, after reflect.Value) ([]FieldChange, error) {
	if !f.entries {
		return appendChange(changes, f.name, before, after)
	}
	for _, key := range keysOf(before, after) {
		was, is := entryOf(before, key), entryOf(after, key)
		if f.same(was, is) {
			continue
		}
		var err error
		if changes, err = appendChange(changes, f.name+"."+key, was, is); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

func appendChange(changes []FieldChange, name string, before, after reflect.Value) ([]FieldChange, error) {
	c := FieldChange{Field: name}
	var err error
	if c.Before, err = fieldJSON(before); err == nil {
		c.After, err = fieldJSON(after)
	}
	if err != nil {
		return nil, fmt.Errorf("show what changed of %s: %w", name, err)
	}
	return append(changes, c), nil
}

// fieldJSON spells a field, nil for none. It has a way of its own for plain texts,
// which most are.
func fieldJSON(v reflect.Value) ([]byte, error) {
	if !v.IsValid() {
		return nil, nil
	}
	if v.Type() == reflect.TypeFor[string]() {
		text := v.String()
		if data, err := jsontext.AppendQuote(make([]byte, 0, len(text)+2), text); err == nil {
			return data, nil
		}
	}
	return appendJSON(nil, v.Interface())
}

// keysOf gives the keys of two objects, sorted.
func keysOf(before, after reflect.Value) []string {
	keys := map[string]struct{}{}
	for _, object := range []reflect.Value{before, after} {
		if !object.IsValid() {
			continue
		}
		for _, key := range object.MapKeys() {
			keys[key.String()] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

func entryOf(object reflect.Value, key string) reflect.Value {
	if !object.IsValid() {
		return reflect.Value{}
	}
	return object.MapIndex(reflect.ValueOf(key))
}
