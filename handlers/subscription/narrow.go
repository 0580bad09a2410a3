package subscription

import "strings"

// Resource gives the part of an event's subject that names the resource which all else
// in it belongs to, such as models/fraud of models/fraud/versions/8.
func Resource(subject string) string {
	if first := strings.IndexByte(subject, '/'); first >= 0 {
		if second := strings.IndexByte(subject[first+1:], '/'); second >= 0 {
			return subject[:first+1+second]
		}
	}
	return subject
}

// Narrow gives what all events that are let through have in common: the Resource of
// their subject, empty if they may have several, and their types, empty for any. It may
// know less than the filters say, and never more.
func (m *Matcher) Narrow() (resource string, types []string) {
	if m == nil {
		return "", nil
	}
	resource, one := narrow(m.filters)
	switch {
	case len(m.types) > 0:
		types = m.types
	case one != "":
		types = []string{one}
	}
	return resource, types
}

// narrow is of filters all of which must pass.
func narrow(filters []node) (resource, one string) {
	for _, f := range filters {
		var r, t string
		switch f := f.(type) {
		case comparison:
			r, t = f.narrow()
		case allOf:
			r, t = narrow(f)
		case *Matcher:
			if f != nil {
				r, t = narrow(f.filters)
			}
		}
		if r != "" {
			resource = r
		}
		if t != "" {
			one = t
		}
	}
	return resource, one
}

func (c comparison) narrow() (resource, one string) {
	for _, w := range c.wants {
		switch {
		case w.place == places["type"] && c.how == exact:
			one = w.value
		case w.place != places["subject"]:
		case c.how == exact:
			resource = Resource(w.value)
		case c.how == prefix && len(Resource(w.value)) < len(w.value): // else its last part may go on
			resource = Resource(w.value)
		}
	}
	return resource, one
}
