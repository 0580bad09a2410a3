package filter

import (
	"cmp"
	"slices"
	"strings"
)

// A Field is one criterion of an order.
type Field struct {
	Attribute  Attribute
	Descending bool
}

// An Order is how a list is sorted: total, so that no two rows are equal. It does not
// change once it is parsed. The zero Order is none.
type Order struct {
	kind   Kind
	fields []Field
}

// Fields are the criteria, the first decides first. The last ones tell any two rows
// apart, and nothing follows them. The caller must not change them.
func (o Order) Fields() []Field { return o.fields }

// Default says whether the order is the one of a list without any: models by name,
// versions by the last update, newest first.
func (o Order) Default() bool { return slices.Equal(o.fields, o.kind.defaultOrder()) }

// Compare is negative where a comes first, and positive where b does. Names are
// compared by their bytes.
func (o Order) Compare(a, b Row) int {
	for _, f := range o.fields {
		var order int
		if f.Attribute == Name {
			order = strings.Compare(a.String(Name), b.String(Name))
		} else {
			order = cmp.Compare(a.Int(f.Attribute), b.Int(f.Attribute))
		}
		if f.Descending {
			order = -order
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

// ParseOrder reads an order: each a field, and ASC or DESC if it likes. What tells equal
// rows apart is appended: the name, and of versions the highest number first. Its errors
// are *Error; a field named twice is one, where MLflow fails with a server error.
func ParseOrder(kind Kind, by []string) (Order, error) {
	if len(by) == 0 {
		return Order{kind, kind.defaultOrder()}, nil
	}
	o := Order{kind: kind}
	for _, clause := range by {
		f, err := parseField(kind, clause)
		if err != nil {
			return Order{}, err
		}
		if o.has(f.Attribute) {
			return Order{}, refuse(-1, "`order_by` contains duplicate fields: %s", pythonList("[", by, "]"))
		}
		o.fields = append(o.fields, f)
	}
	for _, f := range kind.tieBreakers() {
		if !o.has(f.Attribute) {
			o.fields = append(o.fields, f)
		}
	}
	o.cut()
	return o, nil
}

func (o Order) has(a Attribute) bool {
	return slices.ContainsFunc(o.fields, func(f Field) bool { return f.Attribute == a })
}

// cut drops the fields that no two rows get to, so that "name, timestamp" is known to
// be "name".
func (o *Order) cut() {
	missing := len(o.kind.tieBreakers())
	for i, f := range o.fields {
		if f.Attribute == Name || f.Attribute == Number {
			missing--
		}
		if missing == 0 {
			o.fields = o.fields[:i+1]
			return
		}
	}
}

func (k Kind) defaultOrder() []Field {
	if k == Models {
		return k.tieBreakers()
	}
	return append([]Field{{Updated, true}}, k.tieBreakers()...)
}

func (k Kind) tieBreakers() []Field {
	if k == Models {
		return []Field{{Name, false}}
	}
	return []Field{{Name, false}, {Number, true}}
}

func parseField(kind Kind, clause string) (Field, *Error) {
	unparsable := refuse(-1, "Invalid order_by clause '%s'. Could not be parsed.", clip(clause))
	if len(clause) > maxText {
		return Field{}, unparsable
	}
	tokens := lex(clause)
	if len(tokens) == 0 || len(tokens) > 2 || tokens[0].kind != path {
		return Field{}, unparsable
	}
	f := Field{}
	if len(tokens) == 2 {
		switch word := tokens[1]; {
		case word.kind != path:
			return Field{}, unparsable
		case strings.EqualFold(word.raw, "desc"):
			f.Descending = true
		case !strings.EqualFold(word.raw, "asc"):
			return Field{}, refuse(-1, "Invalid ordering key in order_by clause '%s'.", clip(clause))
		}
	}
	var err *Error
	f.Attribute, err = orderColumn(kind, tokens[0])
	return f, err
}

// orderColumn says which attribute a list is ordered by. The two kinds have texts of
// their own, and MLflow lists only one of the two names of a model's last update.
func orderColumn(kind Kind, t token) (Attribute, *Error) {
	valid := []Attribute{Name, Number, Created, Updated}
	if kind == Models {
		valid = []Attribute{Name, Updated, "timestamp"}
	}
	target, key, err := column(t, valid)
	switch {
	case kind == Models && (err != nil || target == OnTag):
		return "", refuse(-1, "Invalid order by key '%s' specified. Valid keys are '{'name', 'timestamp'}'", clip(t.raw))
	case err != nil:
		err.Offset = -1
		return "", err
	case target == OnTag:
		return "", refuse(-1, "Invalid order by key '%s' specified. Valid keys are %s", clip(key), pythonList("{", valid, "}"))
	case key == "timestamp":
		return Updated, nil
	default:
		return Attribute(key), nil
	}
}
