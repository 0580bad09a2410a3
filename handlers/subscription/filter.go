package subscription

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
)

// Limits of what is compiled.
const (
	MaxTypes   = 100
	MaxFilters = 100  // all those within others counted
	MaxDepth   = 8    // of filters within each other
	MaxValue   = 1024 // bytes of a value of exact, prefix and suffix
	MaxSQL     = 4096 // bytes
)

// Filter is one filter expression: exactly one of its fields, each of which is a
// dialect, is set.
type Filter struct {
	// By name of an attribute; all of them must match.
	Exact  map[string]string `json:"exact,omitempty"`
	Prefix map[string]string `json:"prefix,omitempty"`
	Suffix map[string]string `json:"suffix,omitempty"`

	All []Filter `json:"all,omitempty"` // at least one; all must pass
	Any []Filter `json:"any,omitempty"` // at least one; one must pass
	Not *Filter  `json:"not,omitempty"`
	SQL *string  `json:"sql,omitempty"` // CloudEvents SQL
}

// ParseFilters reads a JSON array of filters strictly. It fails with
// handlers.InvalidError, whose pointer leads into the array.
func ParseFilters(data []byte) ([]Filter, error) {
	var filters []Filter
	err := json.Unmarshal(data, &filters, json.RejectUnknownMembers(true))
	syntax, semantic := (*jsontext.SyntacticError)(nil), (*json.SemanticError)(nil)
	switch {
	case err == nil && filters == nil: // null
		return nil, handlers.InvalidField("", "type", "must be an array of filters")
	case err == nil:
		return filters, nil
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return nil, handlers.InvalidField(string(syntax.JSONPointer), "duplicate", "is there twice")
	case errors.As(err, &syntax):
		return nil, handlers.InvalidField(string(syntax.JSONPointer), "json", "is not JSON: %v", syntax.Err)
	case errors.As(err, &semantic) && errors.Is(semantic.Err, json.ErrUnknownName):
		return nil, handlers.InvalidField(string(semantic.JSONPointer), "unknown_dialect", "is no dialect; there are %s", dialects)
	case errors.As(err, &semantic):
		return nil, handlers.InvalidField(string(semantic.JSONPointer), "type", "is not what the dialect takes: a map of strings, filters, or an expression")
	default:
		return nil, handlers.InvalidField("", "json", "can't be read: %v", err)
	}
}

const dialects = "exact, prefix, suffix, all, any, not and sql"

// Compile makes a matcher that lets through the events that all of the filters let
// through and that have one of the types; no filters, or no types, let all through.
// It fails with handlers.InvalidError, whose pointers begin with /filters or /types.
func Compile(filters []Filter, types []string) (*Matcher, error) {
	m := &Matcher{types: slices.Clone(types)}
	if len(types) > MaxTypes {
		return nil, handlers.InvalidField("/types", "max_items", "are more than %d", MaxTypes)
	}
	known := knownTypes()
	for i, t := range types {
		if !slices.Contains(known, t) {
			return nil, handlers.InvalidField(fmt.Sprintf("/types/%d", i), "unknown_type", "%.100q is no type of event here; there are such as %s", t, known[0])
		}
	}
	c := compiler{}
	all, err := c.list("/filters", filters, 1)
	m.filters = all
	return m, err
}

func knownTypes() []string {
	var types []string
	for _, zero := range events.Kinds() {
		types = append(types, events.TypeOf(zero))
	}
	slices.Sort(types)
	return types
}

// compiler counts what it has compiled.
type compiler struct{ count int }

func (c *compiler) list(pointer string, filters []Filter, depth int) ([]node, error) {
	nodes := make([]node, len(filters))
	for i, f := range filters {
		var err error
		if nodes[i], err = c.filter(pointer+"/"+strconv.Itoa(i), f, depth); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

func (c *compiler) filter(pointer string, f Filter, depth int) (node, error) {
	c.count++
	switch set := f.dialects(); {
	case depth > MaxDepth:
		return nil, handlers.InvalidField(pointer, "max_depth", "is more than %d filters deep", MaxDepth)
	case c.count > MaxFilters:
		return nil, handlers.InvalidField(pointer, "max_items", "is more than the %d filters that there may be", MaxFilters)
	case len(set) != 1:
		return nil, handlers.InvalidField(pointer, "one_dialect", "must have exactly one of the dialects %s", dialects)
	default:
		return c.dialect(pointer+"/"+set[0], f, depth)
	}
}

// dialects lists those that are set.
func (f Filter) dialects() []string {
	var set []string
	for _, d := range []struct {
		name string
		set  bool
	}{
		{"exact", f.Exact != nil},
		{"prefix", f.Prefix != nil},
		{"suffix", f.Suffix != nil},
		{"all", f.All != nil},
		{"any", f.Any != nil},
		{"not", f.Not != nil},
		{"sql", f.SQL != nil},
	} {
		if d.set {
			set = append(set, d.name)
		}
	}
	return set
}

func (c *compiler) dialect(pointer string, f Filter, depth int) (node, error) {
	switch {
	case f.Exact != nil:
		return attributes(pointer, f.Exact, exact, func(value, want string) bool { return value == want })
	case f.Prefix != nil:
		return attributes(pointer, f.Prefix, prefix, strings.HasPrefix)
	case f.Suffix != nil:
		return attributes(pointer, f.Suffix, suffix, strings.HasSuffix)
	case f.All != nil:
		nodes, err := c.some(pointer, f.All, depth)
		return allOf(nodes), err
	case f.Any != nil:
		nodes, err := c.some(pointer, f.Any, depth)
		return anyOf(nodes), err
	case f.Not != nil:
		inner, err := c.filter(pointer, *f.Not, depth+1)
		return inverse{inner}, err
	default:
		return parseSQL(pointer, *f.SQL)
	}
}

func (c *compiler) some(pointer string, filters []Filter, depth int) ([]node, error) {
	if len(filters) == 0 {
		return nil, handlers.InvalidField(pointer, "required", "must have at least one filter")
	}
	return c.list(pointer, filters, depth+1)
}

// attributes makes a node of exact, prefix or suffix.
func attributes(pointer string, values map[string]string, how dialect, compare func(value, want string) bool) (node, error) {
	if len(values) == 0 {
		return nil, handlers.InvalidField(pointer, "required", "must have at least one attribute")
	}
	n := comparison{how: how, compare: compare}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		at := string(jsontext.Pointer(pointer).AppendToken(name))
		place, known := places[name]
		switch {
		case !known:
			return nil, unknownAttribute(at, name)
		case value == "":
			return nil, handlers.InvalidField(at, "required", "must not be empty")
		case len(value) > MaxValue:
			return nil, handlers.InvalidField(at, "max_length", "is longer than %d bytes", MaxValue)
		}
		n.wants = append(n.wants, want{place, value})
	}
	return n, nil
}

// unknownAttribute refuses names that no event has: a misspelt one would let nothing
// through, for ever and without a word.
func unknownAttribute(pointer, name string) error {
	return handlers.InvalidField(pointer, "unknown_attribute", "%.100q is no attribute of events here; they have %s", name, strings.Join(attributeNames, ", "))
}
