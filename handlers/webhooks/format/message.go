package format

import (
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/modelog/modelog/events"
)

// message is what people are told of an event: in a line each, about what it is, what
// happened, and how it came about.
type message struct{ about, what, how string }

// Limits of a message's lines, in UTF-16 units, as they are escaped.
const (
	maxAbout = 300
	maxHow   = 200
)

func messageOf(e events.Event) message {
	by := ""
	if e.Principal != "" {
		by = " by " + e.Principal
	}
	_, kind, _ := strings.Cut(strings.TrimPrefix(e.Type(), "dev."), ".")
	if i := strings.LastIndexByte(kind, '.'); i >= 0 {
		kind = kind[:i] // without its version
	}
	return message{
		about: oneLine(about(e.Subject)), what: oneLine(e.Data.Summary()),
		how: oneLine(kind + by + ", " + events.FormatTime(e.Happened()) + ", sequence " + strings.TrimLeft(events.FormatSequence(e.Sequence), "0")),
	}
}

// about names what an event is about as people name it: "fraud/8", "fraud@champion".
func about(subject string) string {
	names := named(subject)
	switch {
	case names[0] == "models" && len(names) == 4 && names[2] == "versions":
		return names[1] + "/" + names[3]
	case names[0] == "models" && len(names) == 4:
		return names[1] + "@" + names[3]
	case len(names) > 1: // models, targets, datasets, subscriptions
		return strings.TrimSuffix(names[0], "s") + " " + strings.Join(names[1:], "/")
	default:
		return names[0]
	}
}

// oneLine makes spaces of line breaks, and leaves out what can't be seen and changes
// how the rest is shown.
func oneLine(s string) string {
	const joiner = '\u200d' // of emoji
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r != joiner && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, s)), " ")
}

// written escapes a text rune by rune, and shortens it so that it has at most limit
// UTF-16 units, in which the platforms count.
func written(s string, limit int, escape func(r rune) string) string {
	var b strings.Builder
	size, fits := 0, 0 // fits is the length of what leaves room for an ellipsis
	for _, r := range s {
		spelled := escape(r)
		n := units(spelled)
		if size+n > limit {
			return b.String()[:fits] + "…"
		}
		b.WriteString(spelled)
		if size += n; size < limit {
			fits = b.Len()
		}
	}
	return b.String()
}

// units gives the length of a text in UTF-16.
func units(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// asIs is for texts without markup.
func asIs(r rune) string { return string(r) }
