package filter

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	unknown  tokenKind = iota // a character, or a quote without its end, that begins nothing
	path                      // name, tags.k, tags.`any key`
	keyword                   // a word that is neither a column nor a value
	text                      // 'in quotes' or "in quotes"
	integer                   // 12, -12
	fraction                  // 1.5
	operator                  // = != < <= > >=, and what looks like one
	open                      // (
	closing                   // )
	comma                     // ,
	end                       // ;
)

// A token is a piece of a filter, or of an order.
type token struct {
	kind  tokenKind
	at    int      // its first byte
	raw   string   // as written
	value string   // of text: without quotes; of keywords and operators: in upper case
	parts []string // of a path: the first as written, the others without quotes
	match int      // of open: the index of its closing token, or 0
}

type lexer struct {
	source string
	pos    int
	tokens []token
	opened []int // indexes of the open tokens that still miss their end
}

// lex cuts a source in pieces. It refuses nothing: that is the parser's part, which
// knows what was expected.
func lex(source string) []token {
	l := &lexer{source: source}
	for {
		l.skipSpace()
		if l.pos == len(source) {
			return l.tokens
		}
		at := l.pos
		t := l.next()
		t.at, t.raw = at, source[at:l.pos]
		switch t.kind {
		case open:
			l.opened = append(l.opened, len(l.tokens))
		case closing:
			if last := len(l.opened) - 1; last >= 0 {
				l.tokens[l.opened[last]].match = len(l.tokens)
				l.opened = l.opened[:last]
			}
		default:
		}
		l.tokens = append(l.tokens, t)
	}
}

// next reads the token at pos, which is not at the end, and goes beyond it.
func (l *lexer) next() token {
	r, size := utf8.DecodeRuneInString(l.source[l.pos:])
	switch {
	case r == '\'':
		return l.quotedText()
	case r == '"':
		at := l.pos
		t := l.quotedText()
		if t.kind == text && l.peek() == '.' { // "tags".k
			l.pos = at
			return l.path()
		}
		return t
	case r == '`' || unicode.IsLetter(r) || r == '_':
		return l.path()
	case isDigit(r) || r == '-' && isDigit(l.peekAfter(size)):
		return l.number()
	case strings.ContainsRune("=!<>~", r):
		at := l.pos
		for strings.ContainsRune("=!<>~", l.peek()) {
			l.pos++
		}
		return token{kind: operator, value: l.source[at:l.pos]}
	}
	l.pos += size
	switch r {
	case '(':
		return token{kind: open}
	case ')':
		return token{kind: closing}
	case ',':
		return token{kind: comma}
	case ';':
		return token{kind: end}
	default:
		return token{kind: unknown}
	}
}

// quotedText reads a string. A quote in it is written twice; MLflow keeps both of the
// two. A backslash is a character like any other, for Windows paths end in one.
func (l *lexer) quotedText() token {
	value, ok := l.quoted()
	if !ok {
		return token{kind: unknown}
	}
	return token{kind: text, value: value}
}

// quoted reads what stands between two of the quotes at pos. Where the second is
// missing it goes to the end.
func (l *lexer) quoted() (value string, ok bool) {
	quote := l.source[l.pos : l.pos+1]
	rest := l.source[l.pos+1:]
	for from := 0; ; {
		i := strings.Index(rest[from:], quote)
		if i < 0 {
			l.pos = len(l.source)
			return "", false
		}
		from += i + 1
		if !strings.HasPrefix(rest[from:], quote) {
			l.pos += 1 + from
			return strings.ReplaceAll(rest[:from-1], quote+quote, quote), true
		}
		from++
	}
}

// path reads a column: parts with dots between them, where a part may be in quotes. It
// tells keywords apart, which are never in quotes.
func (l *lexer) path() token {
	at := l.pos
	if _, ok := l.part(); !ok {
		return token{kind: unknown}
	}
	parts := []string{l.source[at:l.pos]}
	for l.peek() == '.' {
		l.pos++
		part, ok := l.part()
		if !ok {
			return token{kind: unknown}
		}
		parts = append(parts, part)
	}
	if len(parts) == 1 {
		switch word := strings.ToUpper(parts[0]); word {
		case "AND", "OR", "NOT", "IN", "IS", "LIKE", "ILIKE", "BETWEEN", "NULL", "TRUE", "FALSE":
			return token{kind: keyword, value: word}
		}
	}
	return token{kind: path, parts: parts}
}

// part reads a word, which may be empty, or what is in quotes.
func (l *lexer) part() (value string, ok bool) {
	if next := l.peek(); next == '`' || next == '"' || next == '\'' {
		return l.quoted()
	}
	at := l.pos
	l.word()
	return l.source[at:l.pos], true
}

// number reads a number, or the word that begins like one, which is no value.
func (l *lexer) number() token {
	at := l.pos
	l.pos++ // the sign, or a digit
	for l.word(); l.peek() == '.'; l.word() {
		l.pos++
	}
	raw := l.source[at:l.pos]
	if strings.Trim(raw, "-0123456789") == "" {
		return token{kind: integer}
	}
	if _, err := strconv.ParseFloat(raw, 64); err == nil {
		return token{kind: fraction}
	}
	return token{kind: path, parts: []string{raw}}
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

func (l *lexer) word() {
	for l.pos < len(l.source) {
		r, size := utf8.DecodeRuneInString(l.source[l.pos:])
		if r != '_' && !unicode.In(r, unicode.L, unicode.N, unicode.M) {
			return
		}
		l.pos += size
	}
}

func (l *lexer) skipSpace() {
	for l.pos < len(l.source) {
		r, size := utf8.DecodeRuneInString(l.source[l.pos:])
		if !unicode.IsSpace(r) {
			return
		}
		l.pos += size
	}
}

func (l *lexer) peek() rune { return l.peekAfter(0) }

// peekAfter is the character so many bytes from here: utf8.RuneError at the end.
func (l *lexer) peekAfter(bytes int) rune {
	r, _ := utf8.DecodeRuneInString(l.source[l.pos+bytes:])
	return r
}
