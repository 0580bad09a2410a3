package filter

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// How large a filter may be: room for some hundred run ids in a list, and a bound for
// the work per row. MLflow has none of these.
const (
	maxText    = 16 << 10 // bytes
	maxClauses = 100
	maxPattern = 1000 // characters
)

// Parse reads a filter; the empty text is the zero Filter. Its errors are *Error.
//
// Where MLflow fails with a server error (IS NULL, words in a list, numbers beyond 64
// bits), Parse refuses. An AND that is missing or has nothing to join is let through,
// as there: there is no other way to read it.
func Parse(kind Kind, source string) (Filter, error) {
	switch {
	case source == "":
		return Filter{}, nil
	case len(source) > maxText:
		return Filter{}, refuse(-1, "Invalid filter. It must be at most %d bytes long, but has %d", maxText, len(source))
	case !utf8.ValidString(source):
		return Filter{}, refuse(-1, "Invalid filter. It must be UTF-8")
	case strings.TrimSpace(source) == "":
		return Filter{}, refuse(-1, "Invalid filter %s. Could not be parsed.", pythonQuote(source))
	}
	comparisons, err := group(source)
	if err != nil {
		return Filter{}, err
	}
	clauses := make([]Clause, len(comparisons))
	for i, c := range comparisons {
		if clauses[i], err = c.check(kind); err != nil {
			return Filter{}, err
		}
	}
	return pickPrompts(clauses), nil
}

// A comparison is a clause that has the right shape, and is not checked yet.
type comparison struct {
	left  token
	op    string // in upper case
	right token
	list  []token // what is between the parentheses, if right is open
}

// group finds the comparisons in a filter, and refuses it for all that is left over, as
// MLflow does: what is wrong inside of a comparison is only looked at afterwards.
func group(source string) ([]comparison, *Error) {
	tokens := lex(source)
	if i := slices.IndexFunc(tokens, func(t token) bool { return t.kind == end }); i >= 0 && i < len(tokens)-1 {
		return nil, refuse(tokens[i].at, "Search filter contained multiple expression %s. Provide AND-ed expression list.",
			pythonQuote(source))
	}
	var found []comparison
	var invalid []token
	for i := 0; i < len(tokens); {
		if tokens[i].kind == keyword && tokens[i].value == "AND" {
			i++
			continue
		}
		if c, size := compare(source, tokens, i); size > 0 {
			found = append(found, c)
			i += size
			continue
		}
		last := max(i, tokens[i].match) // what is in parentheses is one piece
		tokens[i].raw = between(source, tokens[i], tokens[last])
		invalid = append(invalid, tokens[i])
		i = last + 1
	}
	if len(invalid) > 0 {
		return nil, refuseTokens(invalid)
	}
	if len(found) > maxClauses {
		return nil, refuse(found[maxClauses].left.at, "Invalid filter. It must have at most %d clauses, but has %d",
			maxClauses, len(found))
	}
	return found, nil
}

func refuseTokens(invalid []token) *Error {
	const most = 10
	var texts []string
	for i, t := range invalid {
		if i == most {
			texts = append(texts, "...")
			break
		}
		texts = append(texts, clip(t.raw))
	}
	return refuse(invalid[0].at, "Invalid clause(s) in filter string: %s", strings.Join(texts, ", "))
}

// compare reads the comparison at a token, and how many tokens it has: none if there is
// no comparison.
func compare(source string, tokens []token, i int) (comparison, int) {
	switch tokens[i].kind {
	case path, text, integer, fraction:
	default:
		return comparison{}, 0
	}
	op, size := compareOp(tokens[i+1:])
	at := i + 1 + size
	if size == 0 || at >= len(tokens) {
		return comparison{}, 0
	}
	c := comparison{left: tokens[i], op: op, right: tokens[at]}
	switch c.right.kind {
	case path, text, integer, fraction:
		if op == string(In) || op == string(NotIn) {
			return comparison{}, 0
		}
	case open:
		last := c.right.match
		if last == 0 {
			return comparison{}, 0
		}
		c.list = tokens[at+1 : last]
		c.right.raw = between(source, c.right, tokens[last])
		at = last
	default:
		return comparison{}, 0
	}
	return c, at + 1 - i
}

// compareOp reads an operator, one word or two, and how many tokens it has.
func compareOp(tokens []token) (op string, size int) {
	if len(tokens) == 0 {
		return "", 0
	}
	if tokens[0].kind == operator {
		return tokens[0].value, 1
	}
	if tokens[0].kind == keyword && tokens[0].value == "NOT" {
		if op, size = compareOp(tokens[1:]); size == 1 && tokens[1].kind == keyword {
			return "NOT " + op, 2
		}
		return "", 0
	}
	if tokens[0].kind == keyword {
		switch word := tokens[0].value; word {
		case "LIKE", "ILIKE", "IN":
			return word, 1
		}
	}
	return "", 0
}

func between(source string, first, last token) string {
	return source[first.at : last.at+len(last.raw)]
}

// check makes a clause of a comparison. It looks at the column, the value and the
// operator in this order, so that of several mistakes the one MLflow finds is named.
func (c comparison) check(kind Kind) (Clause, *Error) {
	if c.left.kind != path {
		return Clause{}, refuse(c.left.at, "Invalid comparison clause. Expected 'Identifier' found '%s'", clip(c.left.raw))
	}
	target, key, err := column(c.left, kind.filtered())
	if err != nil {
		return Clause{}, err
	}
	if kind == Events && target == OnTag {
		return Clause{}, refuse(c.left.at, "Invalid entity type '%s'. Events have attributes only", clip(c.left.parts[0]))
	}
	clause := Clause{Target: target, Key: key, Op: Op(c.op)}
	switch {
	case target == OnTag:
		err = c.tagValue(&clause)
	case Attribute(key) == Number:
		err = c.numberValue(&clause, kind)
	default:
		err = c.textValue(&clause, kind)
	}
	if err == nil {
		err = c.compile(&clause)
	}
	return clause, err
}

// column says what a path names.
func column(t token, valid []Attribute) (Target, string, *Error) {
	head, key := t.parts[0], strings.Join(t.parts[1:], ".")
	switch {
	case len(t.parts) == 1:
		key = strings.Trim(head, "`")
	case head == "tag" || head == "tags":
		if key == "" {
			return 0, "", refuse(t.at, "Invalid tag key '' specified. It must not be empty")
		}
		return OnTag, key, nil
	case head != "attribute":
		return 0, "", refuse(t.at, "Invalid entity type '%s'. Valid entity types are ('attribute', 'tag', 'tags')", clip(head))
	}
	if !slices.Contains(valid, Attribute(key)) {
		return 0, "", refuse(t.at, "Invalid attribute key '%s' specified. Valid keys are '%s'",
			clip(key), pythonList("{", valid, "}"))
	}
	return OnAttribute, key, nil
}

func (k Kind) filtered() []Attribute {
	switch k {
	case Models:
		return []Attribute{Name}
	case Events:
		return []Attribute{Type, Subject, Principal}
	default:
		return []Attribute{Name, RunID, SourcePath, Number}
	}
}

// listed are the attributes that know IN.
func (k Kind) listed() []Attribute {
	switch k {
	case Models:
		return []Attribute{Name}
	case Events:
		return []Attribute{Type, Subject, Principal}
	default:
		return []Attribute{Name, RunID}
	}
}

func (c comparison) tagValue(clause *Clause) *Error {
	switch c.right.kind {
	case text:
		clause.Values = []string{c.right.value}
	case path:
		return c.notQuoted()
	default:
		return refuse(c.right.at, "Expected a quoted string value for tag (e.g. 'my-value'). Got value %s", clip(c.right.raw))
	}
	switch clause.Op {
	case Equal, NotEqual, Like, ILike:
		return nil
	default:
		return refuse(c.right.at, "Invalid comparator for tag: %s", clip(c.op))
	}
}

func (c comparison) textValue(clause *Clause, kind Kind) (err *Error) {
	switch c.right.kind {
	case text:
		clause.Values = []string{c.right.value}
	case path:
		return c.notQuoted()
	case open:
		if clause.Values, err = c.values(kind); err != nil {
			return err
		}
	default:
		if kind == Versions {
			return refuse(c.right.at, "Only the '{'%s'}' attributes support comparison with numeric values.", Number)
		}
		return refuse(c.right.at,
			"Expected a quoted string value or a list of quoted string values for attributes. Got value %s", clip(c.right.raw))
	}
	switch clause.Op {
	case Equal, NotEqual, Like, ILike:
		if c.right.kind == open { // MLflow compares with the whole list, which its database refuses
			return refuse(c.right.at, "Invalid comparator for attribute: %s (a list needs IN or NOT IN)", c.op)
		}
		return nil
	case In, NotIn:
		return nil // with a list: group saw to it
	default:
		return refuse(c.right.at, "Invalid comparator for attribute: %s", clip(c.op))
	}
}

// numberValue takes numbers, in quotes too, as MLflow does.
func (c comparison) numberValue(clause *Clause, kind Kind) *Error {
	number := c.right.raw
	switch c.right.kind {
	case integer, fraction:
	case text:
		number = strings.TrimSpace(c.right.value)
	case path:
		return c.notQuoted()
	default:
		_, err := c.values(kind)
		return err
	}
	switch clause.Op {
	case Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual:
	default:
		return refuse(c.right.at, "Invalid comparator for attribute %s: %s", Number, clip(c.op))
	}
	var err error
	if clause.Number, err = strconv.ParseInt(number, 10, 64); err != nil {
		if c.right.kind == text {
			number = pythonQuote(c.right.value)
		}
		return refuse(c.right.at, "Invalid value for numeric attribute '%s': %s", Number, clip(number))
	}
	return nil
}

func (c comparison) notQuoted() *Error {
	return refuse(c.right.at, "Parameter value is either not quoted or unidentified quote types used for string value %s."+
		" Use either single or double quotes.", clip(c.right.raw))
}

// values reads the list between the parentheses. A comma may follow the last value.
// MLflow reads the list as Python would: 'it”s' would be its, and 'a' 'b' would be ab.
func (c comparison) values(kind Kind) ([]string, *Error) {
	if listed := kind.listed(); !slices.Contains(listed, Attribute(c.left.parts[len(c.left.parts)-1])) {
		return nil, refuse(c.right.at, "Only %s attributes support comparison with a list of quoted string values.",
			pythonList("[", listed, "]"))
	}
	if len(c.list) == 0 {
		return nil, refuse(c.right.at,
			"While parsing a list in the query, expected a non-empty list of string values, but got empty list")
	}
	values := make([]string, 0, len(c.list)/2+1)
	var strange *token
	for i := range c.list {
		t := &c.list[i]
		if (t.kind == comma) != (i%2 == 1) {
			return nil, refuse(t.at,
				"While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list.")
		}
		switch {
		case t.kind == text:
			values = append(values, t.value)
		case t.kind != comma && strange == nil:
			strange = t
		}
	}
	if strange != nil {
		return nil, refuse(strange.at, "While parsing a list in the query, expected string value, punctuation, "+
			"or whitespace, but got different type in list: %s", clip(c.right.raw))
	}
	slices.Sort(values)
	return slices.Compact(values), nil
}

// compile prepares what Match needs.
func (c comparison) compile(clause *Clause) *Error {
	if clause.Op != Like && clause.Op != ILike {
		return nil
	}
	value := clause.Values[0]
	if n := utf8.RuneCountInString(value); n > maxPattern {
		return refuse(c.right.at, "Invalid filter. A pattern must be at most %d characters long, but one has %d", maxPattern, n)
	}
	clause.like = newPattern(value, clause.Op == ILike)
	return nil
}
