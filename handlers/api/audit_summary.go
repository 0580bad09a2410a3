package api

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a summary: what is longer is shortened, what is more is counted.
const (
	maxSummaryFields = 3
	maxSummaryOthers = 3
	maxSummaryValue  = 60 // characters
)

// summarizeChange tells in a line what an entry says that was done: "promoted, stage
// None -> Staging".
func summarizeChange(e AuditEntry) string {
	_, verb, _ := strings.Cut(e.Action, ".")
	parts := []string{strings.ReplaceAll(verb, "_", " ")}
	if e.Forced {
		parts[0] += " (forced)"
	}
	if fields := changedFields(e.Changes); len(fields) > maxSummaryFields {
		parts = append(append(parts, fields[:maxSummaryFields]...), fmt.Sprintf("%d more fields", len(fields)-maxSummaryFields))
	} else {
		parts = append(parts, fields...)
	}
	return strings.Join(append(parts, others(e)...), ", ")
}

// changedFields spells what changed of something that was there before and after.
func changedFields(changes []FieldChange) (spelled []string) {
	for _, c := range changes {
		if c.Field == "id" || c.Field == "model_id" { // it is new, or gone
			return nil
		}
		if !secondary(c.Field) {
			spelled = append(spelled, c.String())
		}
	}
	return spelled
}

// secondary says whether a field follows from who did something, and when.
func secondary(field string) bool {
	switch field {
	case "generation", "previous_generation", "deployed_at", "deployed_by", "reason":
		return true
	default:
		return false
	}
}

// others names what changed with it, without the model of a version.
func others(e AuditEntry) []string {
	var names []string
	for _, c := range e.Also {
		if !strings.HasPrefix(e.Resource, c.Resource+"/") {
			names = append(names, c.Resource)
		}
	}
	more := e.AlsoMore + max(0, len(names)-maxSummaryOthers)
	names = names[:min(len(names), maxSummaryOthers)]
	if len(names) == 0 {
		return nil
	}
	names[0] = "also " + names[0]
	if more > 0 {
		names = append(names, strconv.Itoa(more)+" more")
	}
	return names
}

// String tells what changed: "stage None -> Staging".
func (c FieldChange) String() string {
	switch {
	case c.Before == nil:
		return c.Field + " " + SpellValue(c.Field, c.After)
	case c.After == nil:
		return "no " + c.Field + " any more"
	default:
		return c.Field + " " + SpellValue(c.Field, c.Before) + " -> " + SpellValue(c.Field, c.After)
	}
}

// SpellValue spells the value of a field for people, in one line that isn't long.
func SpellValue(field string, value jsontext.Value) string {
	var text string
	var variants []Variant
	var list []string
	switch {
	case len(value) == 0:
		return "nothing"
	case value.Kind() == '"':
		unquoted, err := jsontext.AppendUnquote(nil, value)
		if text = string(unquoted); err == nil && text == "" {
			return `""`
		}
	case field == "variants" && json.Unmarshal(value, &variants) == nil:
		return spellVariants(variants)
	case value.Kind() == '[' && json.Unmarshal(value, &list) == nil:
		if text = strings.Join(list, " "); text == "" {
			return "none"
		}
	default:
		text = string(value)
	}
	return SpellText(text)
}

func spellVariants(variants []Variant) string {
	if len(variants) == 0 {
		return "nothing"
	}
	parts := make([]string, len(variants))
	for i, v := range variants {
		parts[i] = fmt.Sprintf("%s/%d", v.Model, v.Version)
		if len(variants) > 1 {
			parts[i] += fmt.Sprintf(" as %s (%g %%)", v.Role, float64(v.Weight)/100)
		}
	}
	return strings.Join(parts, " and ")
}

// SpellText keeps a text to a line that isn't long.
func SpellText(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) > maxSummaryValue {
		text = string([]rune(text)[:maxSummaryValue-3]) + "..."
	}
	return text
}
