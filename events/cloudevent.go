package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json/jsontext"
)

const jsonType = "application/json"

// CloudEvent gives an event as it goes over the edges: with its sequence, and
// with its data as JSON. It fails on what could not be read again, such as text
// that isn't UTF-8.
func CloudEvent(e Event) (cloudevents.Event, error) {
	data, err := AppendJSON(nil, e.Data)
	if err != nil {
		return cloudevents.Event{}, fmt.Errorf("show %s: %w", e.Type(), err)
	}
	attrs, err := e.attributes(jsonType)
	if err != nil {
		return cloudevents.Event{}, fmt.Errorf("show %s: %w", e.Type(), err)
	}
	ce := cloudevents.New(specVersion)
	for _, a := range attrs {
		if err := setAttribute(&ce, a.name(), a.value); err != nil {
			return cloudevents.Event{}, err
		}
	}
	if e.Sequence > 0 {
		ce.SetExtension(attrSequence, FormatSequence(e.Sequence))
	}
	ce.DataEncoded = data
	return ce, nil
}

// FormatSequence spells a sequence as the CloudEvents extension "sequence": 20
// digits, so that it sorts as text.
func FormatSequence(sequence uint64) string { return fmt.Sprintf("%020d", sequence) }

// FromCloudEvent reads one of modelog's own events from the form that
// CloudEvent gave it, as strictly as Decode does.
func FromCloudEvent(ce cloudevents.Event) (Event, error) {
	v := envelope{}
	for _, a := range attributesOf(ce) {
		text, ok := a.value.(string)
		if !ok {
			return Event{}, fmt.Errorf("attribute %s: want a string", a.name)
		}
		if err := v.setAtEdge(a.name, text); err != nil {
			return Event{}, err
		}
	}
	dec := jsontext.NewDecoder(bytes.NewReader(ce.DataEncoded))
	if err := v.readData(&jsonReader{dec}); err != nil {
		return Event{}, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return Event{}, errors.New("data: something follows the JSON value")
	}
	return v.Event, nil
}

func (v *envelope) setAtEdge(name, value string) error {
	if name != attrSequence {
		return v.set(name, value, jsonType)
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n == 0 || FormatSequence(n) != value {
		return fmt.Errorf("attribute %s: %q is not 20 digits, from 1", attrSequence, value)
	}
	v.Sequence = n
	return nil
}

type edgeAttribute struct {
	name  string
	value any // string, bool or int32
}

// attributesOf lists the attributes of a CloudEvent, the standard ones first
// and the extensions sorted.
func attributesOf(ce cloudevents.Event) []edgeAttribute {
	var all []edgeAttribute
	add := func(name, value string) {
		if value != "" {
			all = append(all, edgeAttribute{name, value})
		}
	}
	add(attrSpecVersion, ce.SpecVersion())
	add(attrID, ce.ID())
	add(attrSource, ce.Source())
	add(attrType, ce.Type())
	add(attrSubject, ce.Subject())
	if t := ce.Time(); !t.IsZero() {
		add(attrTime, FormatTime(t))
	}
	add(attrContentType, ce.DataContentType())
	add(attrSchema, ce.DataSchema())
	extensions := ce.Extensions()
	for _, name := range slices.Sorted(maps.Keys(extensions)) {
		all = append(all, edgeAttribute{name, extensions[name]})
	}
	return all
}

// AppendCloudEvent appends the structured JSON of a CloudEvent with JSON data
// to dst, attributes first and data last. The SDK's own encoder drops zeros
// from the milliseconds.
func AppendCloudEvent(dst []byte, ce cloudevents.Event) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	enc := jsontext.NewEncoder(buf)
	err := enc.WriteToken(jsontext.BeginObject)
	for _, a := range attributesOf(ce) {
		var value jsontext.Token
		switch x := a.value.(type) {
		case string:
			value = jsontext.String(x)
		case bool:
			value = jsontext.Bool(x)
		case int32:
			value = jsontext.Int(int64(x))
		default:
			return nil, fmt.Errorf("attribute %s: %T has no JSON form", a.name, x)
		}
		err = errors.Join(err, enc.WriteToken(jsontext.String(a.name)), enc.WriteToken(value))
	}
	if ce.DataEncoded != nil {
		err = errors.Join(err, enc.WriteToken(jsontext.String("data")), enc.WriteValue(ce.DataEncoded))
	}
	if err = errors.Join(err, enc.WriteToken(jsontext.EndObject)); err != nil {
		return nil, fmt.Errorf("write the CloudEvent %s: %w", ce.ID(), err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// ParseCloudEvent reads the structured JSON of any CloudEvent with JSON data,
// strictly: attributes that are twice there, null, of a wrong type or wrongly
// named, and trailing data are errors. The SDK's own decoder lets several of
// these through.
func ParseCloudEvent(data []byte) (cloudevents.Event, error) {
	r := &jsonReader{jsontext.NewDecoder(bytes.NewReader(data))}
	ce := cloudevents.New(specVersion)
	if err := r.object(); err != nil {
		return ce, err
	}
	version := ""
	for {
		name, more, err := r.key()
		if err != nil {
			return ce, err
		}
		if !more {
			break
		}
		switch name {
		case "data":
			var body jsontext.Value
			if body, err = r.dec.ReadValue(); err == nil {
				ce.DataEncoded = body.Clone()
			}
		case attrSpecVersion:
			version, err = r.str()
		default:
			err = readAttribute(r, &ce, name)
		}
		if err != nil {
			return ce, fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return ce, errors.New("something follows the event")
	}
	if err := mustBe(version, specVersion); err != nil {
		return ce, fmt.Errorf("attribute %s: %w", attrSpecVersion, err)
	}
	return ce, ce.Validate()
}

func readAttribute(r *jsonReader, ce *cloudevents.Event, name string) error {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return errors.New("a name has only lower-case letters and digits")
		}
	}
	value, err := r.any(maxDepth - 1) // attributes aren't nested
	if err != nil {
		return err
	}
	switch x := value.(type) {
	case string:
		return setAttribute(ce, name, x)
	case bool:
		ce.SetExtension(name, x)
	case int64:
		if int64(int32(x)) != x {
			return fmt.Errorf("%d is not an integer of 32 bits", x)
		}
		ce.SetExtension(name, int32(x))
	default:
		return errors.New("want a string, a boolean or an integer")
	}
	return nil
}

// setAttribute refuses what the SDK would not keep as it was sent: it drops
// spaces and what is empty, and spells URIs anew.
func setAttribute(ce *cloudevents.Event, name, value string) error {
	kept := value
	switch name {
	case attrSpecVersion: // set when it was made
	case attrID:
		ce.SetID(value)
		kept = ce.ID()
	case attrSource:
		ce.SetSource(value)
		kept = ce.Source()
	case attrType:
		ce.SetType(value)
		kept = ce.Type()
	case attrSubject:
		ce.SetSubject(value)
		kept = ce.Subject()
	case attrTime:
		t, err := parseTime(value)
		if err != nil {
			return err
		}
		ce.SetTime(t)
	case attrContentType:
		ce.SetDataContentType(value)
		kept = ce.DataContentType()
	case attrSchema:
		ce.SetDataSchema(value)
		kept = ce.DataSchema()
	default:
		ce.SetExtension(name, value)
		return nil
	}
	if kept != value || value == "" {
		return fmt.Errorf("%q is not in the form in which it is kept, %q", value, kept)
	}
	return nil
}
