package mlflow

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// MLflow's texts quote what was sent as Python does, and its clients' tests match
// them.

// longestQuote is how many bytes of a value a text repeats.
const longestQuote = 1000

// pythonJSON spells a string as Python's json.dumps does: ASCII only.
func pythonJSON(s string) string {
	quoted, err := jsontext.AppendQuote(nil, clip(s))
	if err != nil {
		return `""` // what isn't UTF-8 was refused before
	}
	return escapeNonASCII(string(quoted))
}

// pythonValue spells any value so, with sorted keys and no spaces.
func pythonValue(raw jsontext.Value) string {
	if len(raw) > longestQuote {
		return escapeNonASCII(clip(string(raw)))
	}
	canonical := raw.Clone()
	if err := canonical.Canonicalize(lenient); err != nil {
		return escapeNonASCII(string(raw))
	}
	return escapeNonASCII(string(canonical))
}

func clip(s string) string {
	if len(s) <= longestQuote {
		return s
	}
	cut := longestQuote
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

func escapeNonASCII(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r <= '~':
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// pythonType names the type that a JSON value has in Python.
func pythonType(raw jsontext.Value) string {
	switch raw.Kind() {
	case jsontext.KindNull, jsontext.KindInvalid:
		return "NoneType"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "bool"
	case jsontext.KindString:
		return "str"
	case jsontext.KindBeginArray:
		return "list"
	case jsontext.KindBeginObject:
		return "dict"
	default:
		if strings.ContainsAny(string(raw), ".eE") {
			return "float"
		}
		return "int"
	}
}

// pythonRepr quotes a string as Python's repr does.
func pythonRepr(s string) string {
	quote := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = `"`
	}
	var b strings.Builder
	b.WriteString(quote)
	for _, r := range clip(s) {
		switch {
		case string(r) == quote, r == '\\':
			b.WriteString(`\` + string(r))
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	b.WriteString(quote)
	return b.String()
}

// pythonInt reads a whole number as Python's int does: with spaces around it, a sign,
// zeros before it and single underscores within. It gives its digits.
func pythonInt(s string) (digits string, ok bool) {
	s = strings.TrimSpace(s)
	sign := ""
	switch {
	case strings.HasPrefix(s, "-"):
		sign, s = "-", s[1:]
	case strings.HasPrefix(s, "+"):
		s = s[1:]
	}
	if s == "" || s[0] == '_' || s[len(s)-1] == '_' || strings.Contains(s, "__") || strings.Trim(s, "0123456789_") != "" {
		return "", false
	}
	if s = strings.TrimLeft(strings.ReplaceAll(s, "_", ""), "0"); s == "" {
		return "0", true
	}
	return sign + s, true
}
