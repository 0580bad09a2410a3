package events

import (
	"fmt"
	"net/url"
	"strings"
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
// msgpack. Equal events give equal bytes. It fails on text that isn't UTF-8.
func Encode(e Event) (Encoded, error) {
	data, err := AppendCanonical(nil, e.Data)
	if err != nil {
		return Encoded{}, fmt.Errorf("encode %s: %w", e.Type(), err)
	}
	attrs := e.attributes(packType)
	header := make(map[string][]string, len(attrs)+2) // room for the log's own two
	values := make([]string, len(attrs))
	for i, a := range attrs {
		values[i] = escapeHeader(a.value)
		header[headerNames[a.name]] = values[i : i+1 : i+1]
	}
	return Encoded{Subject: logSubject(e.Data), Header: header, Data: data}, nil
}

// headerNames saves making each name again for every event.
var headerNames = func() map[string]string {
	names := map[string]string{}
	for _, a := range []string{
		attrSpecVersion, attrID, attrSource, attrType, attrSubject, attrTime, attrContentType, attrSchema,
		attrPartitionKey, attrPrincipal, attrCorrelationID, attrCausationID, attrTraceParent, attrOriginSource,
		attrOriginID, attrOccurred, attrKey, attrRequest,
	} {
		names[a] = headerPrefix + a
	}
	return names
}()

// Decode reads an event from the log, strictly. A failure is an
// *UnreadableError.
func Decode(s Stored) (Event, error) {
	e, err := decode(s)
	if err != nil {
		kind := ""
		if v := s.Header[headerPrefix+attrType]; len(v) > 0 {
			kind = v[0]
		}
		return Event{}, &UnreadableError{Sequence: s.Sequence, Type: kind, Err: err}
	}
	return e, nil
}

func decode(s Stored) (Event, error) {
	v := envelope{}
	v.Sequence = s.Sequence
	for name, values := range s.Header {
		attr, ours := strings.CutPrefix(name, headerPrefix)
		switch {
		case !ours && strings.HasPrefix(name, natsOwnHeaders):
			continue
		case !ours:
			return Event{}, fmt.Errorf("header %q is not one of an event", name)
		case len(values) != 1:
			return Event{}, fmt.Errorf("header %q has %d values", name, len(values))
		}
		value, err := unescapeHeader(values[0])
		if err != nil {
			return Event{}, fmt.Errorf("header %q: %w", name, err)
		}
		if err := v.set(attr, value, packType); err != nil {
			return Event{}, err
		}
	}
	r := packReaders.Get().(*packReader)
	defer packReaders.Put(r)
	r.reset(s.Data)
	e, err := v.readData(r)
	if err != nil {
		return Event{}, err
	}
	if n := r.src.Len(); n > 0 {
		return Event{}, fmt.Errorf("%d bytes follow the data", n)
	}
	if want := logSubject(e.Data); s.Subject != want {
		return Event{}, fmt.Errorf("it stands under the subject %q instead of %q", s.Subject, want)
	}
	return e, nil
}

// escapeHeader percent-encodes what the CloudEvents HTTP and NATS bindings want
// encoded in a header: space, the double quote, the percent sign, and all
// outside of printable ASCII.
func escapeHeader(s string) string {
	plain := true
	for i := range len(s) {
		if mustEscape(s[i]) {
			plain = false
			break
		}
	}
	if plain {
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

func mustEscape(c byte) bool { return c <= ' ' || c > '~' || c == '"' || c == '%' }

// unescapeHeader decodes once, and takes only what escapeHeader writes.
func unescapeHeader(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	t, err := url.PathUnescape(s)
	if err != nil {
		return "", err
	}
	if escapeHeader(t) != s {
		return "", fmt.Errorf("%q is not encoded as it should be", s)
	}
	return t, nil
}
