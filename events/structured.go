package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendEvent appends the structured JSON of an event to dst: the bytes that
// AppendCloudEvent gives for its CloudEvent, in a fraction of the time, since
// whole logs go this way. It fails on what could not be read again, such as text
// that isn't UTF-8.
func AppendEvent(dst []byte, e Event) ([]byte, error) {
	attrs, err := e.attributes(jsonType)
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", e.Type(), err)
	}
	if e.Sequence > 0 {
		attrs = append(attrs, attribute{headerPrefix + attrSequence, FormatSequence(e.Sequence)})
	}
	slices.SortFunc(attrs, func(a, b attribute) int { return edgeRank(a.name(), b.name()) })
	for i, a := range attrs {
		dst = append(dst, ",\""...)
		if i == 0 {
			dst[len(dst)-2] = '{'
		}
		dst = append(append(dst, a.name()...), "\":"...)
		if dst, err = jsontext.AppendQuote(dst, a.value); err != nil {
			return nil, fmt.Errorf("show %s: attribute %s: %w", e.Type(), a.name(), err)
		}
	}
	if dst, err = AppendJSON(append(dst, ",\"data\":"...), e.Data); err != nil {
		return nil, fmt.Errorf("show %s: %w", e.Type(), err)
	}
	return append(dst, '}'), nil
}

// edgeRank orders attributes as attributesOf does: the standard ones first, and
// the extensions sorted.
func edgeRank(a, b string) int {
	standard := func(name string) int {
		if i := slices.Index(standardAttributes[:], name); i >= 0 {
			return i
		}
		return len(standardAttributes)
	}
	if c := standard(a) - standard(b); c != 0 {
		return c
	}
	return bytes.Compare([]byte(a), []byte(b))
}

// standardAttributes are those that CloudEvents itself has, in their order at the
// edges.
var standardAttributes = [...]string{attrSpecVersion, attrID, attrSource, attrType, attrSubject, attrTime, attrContentType, attrSchema}

// ReadEvent reads one of modelog's own events from its structured JSON, as strictly
// as ParseCloudEvent and FromCloudEvent do together, in half the time. What it gives
// has its canonical form made.
func ReadEvent(data []byte) (Event, error) {
	v := envelope{}
	body, err := v.readAttributes(&jsonReader{jsontext.NewDecoder(bytes.NewBuffer(data))})
	if err != nil {
		return Event{}, err
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(body))
	if err := v.readData(&jsonReader{dec}); err != nil {
		return Event{}, err
	}
	return v.WithCanonical()
}

// readAttributes reads the whole of a structured event, and gives its data.
func (v *envelope) readAttributes(r *jsonReader) (body jsontext.Value, err error) {
	if err := r.object(); err != nil {
		return nil, err
	}
	for {
		name, more, err := r.key()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		if name == "data" {
			value, err := r.dec.ReadValue()
			if err != nil {
				return nil, fmt.Errorf("data: %w", err)
			}
			body = value.Clone()
			continue
		}
		text, err := r.str()
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		if err := v.setAtEdge(name, text); err != nil {
			return nil, err
		}
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the event")
	}
	return body, nil
}
