package events

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// UnreadableError says that an event on the log can't be read by this release:
// it was damaged, or written by a later one. The fold stops at it, since going
// on without it would give a state that never was.
type UnreadableError struct {
	Sequence uint64
	Type     string // as it stands on the log, perhaps empty
	Err      error
}

func (e *UnreadableError) Error() string {
	kind := e.Type
	if kind == "" {
		kind = "unknown type"
	}
	return fmt.Sprintf("event %d (%s) can't be read: %v; it was damaged, or written by a later release of modelog", e.Sequence, kind, e.Err)
}

func (e *UnreadableError) Unwrap() error { return e.Err }

const (
	headerPrefix   = "ce-"
	packType       = "application/msgpack"
	natsOwnHeaders = "Nats-"
)

// Encode writes an event as it stands on the log: attributes as headers by the
// binary mode of the CloudEvents NATS binding (1.0.3-wip), data as canonical
// msgpack. Equal events give equal bytes. It fails on what Decode would not read
// again, such as text that isn't UTF-8.
func Encode(e Event) (Encoded, error) {
	if e.canonical == nil {
		var err error
		if e, err = e.WithCanonical(); err != nil {
			return Encoded{}, err
		}
	}
	attrs, err := e.attributes(packType)
	if err != nil {
		return Encoded{}, fmt.Errorf("encode %s: %w", e.Type(), err)
	}
	header := make([]HeaderField, len(attrs))
	for i, a := range attrs {
		header[i] = HeaderField{a.header, escapeHeader(a.value)}
	}
	return Encoded{Subject: logSubject(e.Data), Header: header, Data: e.canonical}, nil
}

// Decode reads an event from the log, strictly. A failure is an
// *UnreadableError.
func Decode(s Stored) (Event, error) {
	e, err := decode(s)
	if err != nil {
		kind := ""
		for _, f := range s.Header {
			if f.Name == headerPrefix+attrType {
				kind = f.Value
			}
		}
		return Event{}, &UnreadableError{Sequence: s.Sequence, Type: kind, Err: err}
	}
	return e, nil
}

func decode(s Stored) (Event, error) {
	v := envelope{}
	v.Sequence = s.Sequence
	for i, f := range s.Header {
		attr, ours := strings.CutPrefix(f.Name, headerPrefix)
		switch {
		case !ours && strings.HasPrefix(f.Name, natsOwnHeaders):
			continue
		case !ours:
			return Event{}, fmt.Errorf("header %q is not one of an event", f.Name)
		case i > 0 && s.Header[i-1].Name >= f.Name:
			return Event{}, fmt.Errorf("header %q is there twice, or out of order", f.Name)
		}
		value, err := unescapeHeader(f.Value)
		if err != nil {
			return Event{}, fmt.Errorf("header %q: %w", f.Name, err)
		}
		if err := v.set(attr, value, packType); err != nil {
			return Event{}, err
		}
	}
	if err := readPack(s.Data, func(r *packReader) error { return v.readData(r) }); err != nil {
		return Event{}, err
	}
	v.canonical = s.Data
	if !isLogSubject(s.Subject, v.Data) {
		return Event{}, fmt.Errorf("it stands under the subject %q instead of %q", s.Subject, logSubject(v.Data))
	}
	return v.Event, nil
}

// escapeHeader percent-encodes what the CloudEvents HTTP and NATS bindings want
// encoded in a header: space, the double quote, the percent sign, and all
// outside of printable ASCII.
func escapeHeader(s string) string {
	if isEscaped(s) {
		return s
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; mustEscape(c) {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func mustEscape(c byte) bool { return escapes[c] }

// escapes says which bytes are encoded: a replay looks at every one of a header.
var escapes = func() (t [256]bool) {
	for c := range t {
		t[c] = c <= ' ' || c > '~' || c == '"' || c == '%'
	}
	return t
}()

// isEscaped says whether there is nothing in it that must be escaped.
func isEscaped(s string) bool {
	for i := range len(s) {
		if mustEscape(s[i]) {
			return false
		}
	}
	return true
}

// isVisible says whether there is only printable ASCII in it, and no space.
func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// unescapeHeader decodes once, and takes only what escapeHeader writes.
func unescapeHeader(s string) (string, error) {
	if isEscaped(s) {
		return s, nil
	}
	t, err := url.PathUnescape(s)
	if err != nil {
		return "", err
	}
	if escapeHeader(t) != s || !utf8.ValidString(t) {
		return "", fmt.Errorf("%q is not the percent-encoding of a text", s)
	}
	return t, nil
}
