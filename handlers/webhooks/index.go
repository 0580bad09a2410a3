package webhooks

import (
	"slices"

	"github.com/modelog/modelog/handlers/subscription"
)

// index has the flows that are in step with the reader, by what all of their events
// have in common, so that an event isn't held against the filters of thousands that
// want others.
type index struct {
	resources map[string][]*flow
	types     map[string][]*flow
	rest      []*flow
}

// each calls do with those that an event matches.
func (x *index) each(e *subscription.Event, do func(f *flow)) {
	for _, some := range [...][]*flow{x.resources[subscription.Resource(e.Value("subject"))], x.types[e.Value("type")], x.rest} {
		for _, f := range some {
			if f.match.Matches(e) {
				do(f)
			}
		}
	}
}

// mayWant says whether anybody may want an event of a type: whether it is worth
// decoding.
func (x *index) mayWant(eventType string) bool {
	return len(x.rest) > 0 || len(x.resources) > 0 || len(x.types[eventType]) > 0
}

func (x *index) add(f *flow) {
	resource, types := f.match.Narrow()
	switch {
	case resource != "":
		x.resources = into(x.resources, resource, f)
	case len(types) > 0:
		for _, t := range types {
			x.types = into(x.types, t, f)
		}
	default:
		x.rest = append(x.rest, f)
	}
}

// remove takes a flow out that has the matcher with which it was added.
func (x *index) remove(f *flow) {
	resource, types := f.match.Narrow()
	switch {
	case resource != "":
		outOf(x.resources, resource, f)
	case len(types) > 0:
		for _, t := range types {
			outOf(x.types, t, f)
		}
	default:
		x.rest = without(x.rest, f)
	}
}

// into adds a flow, once.
func into(m map[string][]*flow, key string, f *flow) map[string][]*flow {
	if m == nil {
		m = map[string][]*flow{}
	}
	if !slices.Contains(m[key], f) {
		m[key] = append(m[key], f)
	}
	return m
}

func outOf(m map[string][]*flow, key string, f *flow) {
	if m[key] = without(m[key], f); len(m[key]) == 0 {
		delete(m, key)
	}
}

func without(some []*flow, f *flow) []*flow {
	return slices.DeleteFunc(some, func(other *flow) bool { return other == f })
}
