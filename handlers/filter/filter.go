// Package filter holds the language in which lists of models and versions are
// filtered and ordered: MLflow's grammar, with MLflow's own texts for what it
// refuses, because its clients match them. The MLflow dialect and the native lists
// share it.
//
// A filter is comparisons joined by AND, and nothing else: no OR, no parentheses
// around a clause. Parse reads one, Match decides about a row, and Clauses shows
// it to whoever can answer a part of it from an index.
//
// It belongs here when it says which rows a list holds, or in what order. Finding
// the rows, cursors and what a dialect calls its errors do not. The package does no
// I/O, knows no clock, and imports nothing of ours.
package filter

import (
	"cmp"
	"slices"
	"strings"
)

// A Kind is what is listed; it decides which attributes there are.
type Kind uint8

// What can be listed.
const (
	Models   Kind = iota // registered models
	Versions             // versions of models
	Events               // of the log; they have no tags, and an order of their own
)

// An Attribute is a property every row of a kind has, by its name in the language.
type Attribute string

// The attributes. Models are filtered by Name, and ordered by Name and Updated.
// Versions are filtered by all but Created and Updated, and ordered by Name, Number,
// Created and Updated. Events are filtered by Type, Subject and Principal.
const (
	Name       Attribute = "name"
	RunID      Attribute = "run_id"
	SourcePath Attribute = "source_path"
	Number     Attribute = "version_number"         // an integer
	Created    Attribute = "creation_timestamp"     // an integer, milliseconds
	Updated    Attribute = "last_updated_timestamp" // an integer, milliseconds
	Type       Attribute = "type"                   // of a CloudEvent
	Subject    Attribute = "subject"                // of a CloudEvent
	Principal  Attribute = "authid"                 // of a CloudEvent
)

// PromptTag marks prompts, which MLflow keeps among the models and their versions:
// its value is "true" on each of them.
const PromptTag = "mlflow.prompt.is_prompt"

// A Row is one model, version or event, as a filter sees it. Its methods are called many
// times per list: they should look up, not compute.
type Row interface {
	// String is the value of an attribute that is a text, "" when it has none.
	String(a Attribute) string
	// Int is the value of Number, Created or Updated.
	Int(a Attribute) int64
	// Tag is the value of a tag, and whether the row has it.
	Tag(key string) (value string, ok bool)
	// Prompt says whether the row is a prompt, or a version of one. For a model:
	// whether its PromptTag is "true". For a version: whether that of any version
	// of the same name is, or that of its model.
	Prompt() bool
}

// A Target is what a clause compares.
type Target uint8

// The targets.
const (
	OnAttribute Target = iota
	OnTag
)

// An Op is how a clause compares, as it is written in upper case.
type Op string

// The operators. Tags know the first four; string attributes also In and NotIn, where
// Parse allows lists; the version number knows the two equalities and the last four.
const (
	Equal        Op = "="
	NotEqual     Op = "!="
	Like         Op = "LIKE"  // % for any text, _ for any one character
	ILike        Op = "ILIKE" // Like, but case does not matter
	In           Op = "IN"
	NotIn        Op = "NOT IN"
	Less         Op = "<"
	LessEqual    Op = "<="
	Greater      Op = ">"
	GreaterEqual Op = ">="
)

// A Clause is one comparison. Whoever has an index for it may use the index instead,
// and Match for the rest.
type Clause struct {
	Target Target
	Key    string // the attribute's name, or the tag's key
	Op     Op
	Values []string // the text; for In and NotIn the list, sorted, without duplicates; nil for a number
	Number int64    // for Number

	like *pattern // for Like and ILike
}

// Prefix is the text every value this clause lets through begins with: more than ""
// for Equal and Like alone.
func (c *Clause) Prefix() string {
	switch {
	case c.Op == Equal && c.Values != nil:
		return c.Values[0]
	case c.Op == Like:
		return c.like.prefix
	default:
		return ""
	}
}

// A Filter says which rows a list holds. The zero Filter is that of the empty text: all
// but prompts. It does not change once it is parsed, so that any number of goroutines
// may share it.
type Filter struct {
	clauses []Clause
	prompts bool
}

// Clauses are the comparisons that must all hold, as they were written. Those on the
// PromptTag are left out unless Prompts is true, for then they only say that prompts
// are not wanted. The caller must not change them.
func (f Filter) Clauses() []Clause { return f.clauses }

// Prompts says whether the filter asks for prompts. If not, it hides them.
func (f Filter) Prompts() bool { return f.prompts }

// Match says whether the list holds the row. It allocates nothing.
func (f Filter) Match(row Row) bool {
	if !f.prompts && row.Prompt() {
		return false
	}
	for i := range f.clauses {
		if !f.clauses[i].match(row) {
			return false
		}
	}
	return true
}

func (c *Clause) match(row Row) bool {
	if c.Target == OnTag {
		value, ok := row.Tag(c.Key)
		return ok && c.matchText(value) // even a != holds only where there is a tag
	}
	if a := Attribute(c.Key); a == Number {
		return c.matchNumber(row.Int(a))
	}
	return c.matchText(row.String(Attribute(c.Key)))
}

func (c *Clause) matchText(value string) bool {
	switch c.Op {
	case Equal:
		return value == c.Values[0]
	case NotEqual:
		return value != c.Values[0]
	case Like, ILike:
		return c.like.match(value)
	case In, NotIn:
		_, found := slices.BinarySearch(c.Values, value)
		return found == (c.Op == In)
	default:
		return false // Parse lets no other through
	}
}

func (c *Clause) matchNumber(value int64) bool {
	order := cmp.Compare(value, c.Number)
	switch c.Op {
	case Equal:
		return order == 0
	case NotEqual:
		return order != 0
	case Less:
		return order < 0
	case LessEqual:
		return order <= 0
	case Greater:
		return order > 0
	case GreaterEqual:
		return order >= 0
	default:
		return false // Parse lets no other through
	}
}

// pickPrompts decides whether the clauses ask for prompts, and drops those that say
// that models are wanted: a model has no PromptTag, so that taking
//
//	tags.`mlflow.prompt.is_prompt` != 'true'
//
// at its word would find nothing. MLflow looks at the first clause on the tag alone, and
// finds all models for the contradiction "models, and prompts"; here it finds nothing
// in either order.
func pickPrompts(clauses []Clause) Filter {
	if slices.ContainsFunc(clauses, Clause.asksForPrompts) {
		return Filter{clauses: clauses, prompts: true}
	}
	return Filter{clauses: slices.DeleteFunc(clauses, Clause.onPromptTag)}
}

func (c Clause) onPromptTag() bool { return c.Target == OnTag && c.Key == PromptTag }

func (c Clause) asksForPrompts() bool {
	return c.onPromptTag() &&
		(c.Op == Equal && strings.EqualFold(c.Values[0], "true") || c.Op == NotEqual && strings.EqualFold(c.Values[0], "false"))
}
