package filter

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// An Error refuses a filter, an order or the size of a page. It is the caller's
// mistake: INVALID_PARAMETER_VALUE in MLflow's words.
type Error struct {
	Message string // MLflow's text, where MLflow refuses it too
	Offset  int    // the byte of the filter the mistake begins at; -1 outside of a filter, or about all of it
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

func refuse(offset int, format string, args ...any) *Error {
	return &Error{fmt.Sprintf(format, args...), offset}
}

// clip keeps a message short, whatever was sent.
func clip(s string) string {
	const longest = 200
	if len(s) <= longest {
		return s
	}
	cut := longest
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// pythonQuote writes a string as MLflow's messages do.
func pythonQuote(s string) string {
	s = clip(s)
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		return `"` + s + `"`
	}
	return "'" + strings.ReplaceAll(s, "'", `\'`) + "'"
}

// pythonList writes a list or a set as MLflow's messages do, between two brackets.
// Sets have no order there; here it is the one given.
func pythonList[S ~string](open string, items []S, closing string) string {
	const most = 10
	quoted := make([]string, 0, most+1)
	for i, item := range items {
		if i == most {
			quoted = append(quoted, "...")
			break
		}
		quoted = append(quoted, pythonQuote(string(item)))
	}
	return open + strings.Join(quoted, ", ") + closing
}
