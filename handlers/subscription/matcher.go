package subscription

import (
	"slices"
	"sync"

	"github.com/cloudevents/sdk-go/v2/binding/spec"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/modelog/modelog/events"
)

// Matcher says of events whether they are wanted. It never changes, and is safe for
// concurrent use. A nil one lets all through.
type Matcher struct {
	types   []string // the event has one of these; empty for any
	filters []node   // all let it through
}

// And gives the matcher that lets through what both do.
func (m *Matcher) And(other *Matcher) *Matcher {
	return &Matcher{filters: []node{m, other}}
}

// Matches says whether an event is wanted. Without sql it allocates nothing.
func (m *Matcher) Matches(e *Event) bool {
	if m == nil {
		return true
	}
	if len(m.types) > 0 && !slices.Contains(m.types, e.values[places["type"]]) {
		return false
	}
	return allOf(m.filters).Matches(e)
}

// Event has the attributes of an event, for as many matchers as there are. It is safe
// for concurrent use.
type Event struct {
	values [maxAttributes]string // by place, empty for none

	once  sync.Once
	event cloudevents.Event // for sql; made once
}

// Value gives an attribute, empty for none.
func (e *Event) Value(name string) string { return e.values[places[name]] }

// Of gives the attributes of an event. It fails on one that has no form at the edges.
func Of(e events.Event) (*Event, error) {
	all, err := events.Attributes(e)
	if err != nil {
		return nil, err
	}
	a := &Event{}
	for _, attribute := range all {
		a.values[places[attribute.Name]] = attribute.Value
	}
	return a, nil
}

const maxAttributes = 24 // more than there are

// Places are where the attributes stand.
var (
	attributeNames = slices.Sorted(slices.Values(events.AttributeNames()))
	places         = func() map[string]int {
		places := map[string]int{}
		for i, name := range attributeNames {
			places[name] = i
		}
		return places
	}()
)

// cloudEvent gives the event as expressions take it, without data.
func (e *Event) cloudEvent() cloudevents.Event {
	e.once.Do(func() {
		e.event = cloudevents.New(e.values[places["specversion"]])
		for i, name := range attributeNames {
			if value := e.values[i]; value != "" && name != "specversion" {
				// What can't be set can't be an attribute, so it counts as absent.
				_ = spec.V1.SetAttribute(e.event.Context, name, value)
			}
		}
	})
	return e.event
}

// node is a compiled filter.
type node interface{ Matches(e *Event) bool }

// comparison is exact, prefix or suffix.
type comparison struct {
	how     dialect
	wants   []want
	compare func(value, want string) bool
}

type dialect uint8

const (
	exact dialect = iota
	prefix
	suffix
)

type want struct {
	place int
	value string // not empty, so that no absent attribute has it
}

// Matches implements node.
func (c comparison) Matches(e *Event) bool {
	for _, w := range c.wants {
		if !c.compare(e.values[w.place], w.value) {
			return false
		}
	}
	return true
}

type allOf []node

// Matches implements node.
func (all allOf) Matches(e *Event) bool {
	for _, n := range all {
		if !n.Matches(e) {
			return false
		}
	}
	return true
}

type anyOf []node

// Matches implements node.
func (some anyOf) Matches(e *Event) bool {
	for _, n := range some {
		if n.Matches(e) {
			return true
		}
	}
	return false
}

type inverse struct{ node }

// Matches implements node.
func (i inverse) Matches(e *Event) bool { return !i.node.Matches(e) }
