package cloudevents

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
)

// Media types of the modes in which events come over HTTP. In the binary mode the
// Content-Type is that of the data.
const (
	StructuredMedia = "application/cloudevents+json"
	BatchMedia      = "application/cloudevents-batch+json"
)

// MaxBatch is how many events a batch may have.
const MaxBatch = handlers.MaxBatch

// Item is one event of a request, or what is wrong with it.
type Item struct {
	Event event.Event // with JSON data, or none
	Err   error       // a handlers.InvalidError with pointers into the event
}

// Decode reads the events of an HTTP request in the mode that its Content-Type
// says: one, or those of a batch. It is strict where the SDK isn't, since what is
// on the log stays there: names, duplicates, types and forms are as CloudEvents
// 1.0.2 has them. Pointers are those of the structured mode in every mode.
//
// It fails with a MediaTypeError for another mode, and with a
// handlers.InvalidError for a body that is no event, or no batch; in a batch,
// events that are wrong in themselves have an error each.
func Decode(header http.Header, body []byte) (items []Item, batch bool, err error) {
	media, err := mediaOf(header)
	if err != nil {
		return nil, false, err
	}
	switch media {
	case BatchMedia:
		items, err = decodeBatch(body)
		return items, true, err
	case StructuredMedia:
		e, err := decodeStructured(body)
		return []Item{{Event: e}}, false, err
	default:
		e, err := decodeBinary(header, body)
		return []Item{{Event: e}}, false, err
	}
}

// MediaTypeError refuses a Content-Type.
type MediaTypeError struct{ Got string }

// Code is CodeUnsupportedMedia.
func (MediaTypeError) Code() handlers.Code { return handlers.CodeUnsupportedMedia }

func (e MediaTypeError) Error() string {
	return "the Content-Type is " + strconv.Quote(e.Got) + "; send " + StructuredMedia + ", " + BatchMedia +
		", or JSON data with the attributes in ce- headers"
}

// mediaOf gives the media type that says which mode it is.
func mediaOf(header http.Header) (string, error) {
	values := header.Values("Content-Type")
	refused := MediaTypeError{strings.Join(values, ", ")}
	if len(values) > 1 {
		return "", refused
	}
	if len(values) == 0 || values[0] == "" {
		if header.Get(headerPrefix+attrSpecVersion) != "" { // an event without data
			return "", nil
		}
		return "", refused
	}
	media, parameters, err := mime.ParseMediaType(values[0])
	charset, given := parameters["charset"]
	if err != nil || (given && !strings.EqualFold(charset, "utf-8")) {
		return "", refused
	}
	if media == StructuredMedia || media == BatchMedia {
		return media, nil
	}
	if strings.HasPrefix(media, "application/cloudevents") || !isJSON(media) {
		return "", refused
	}
	return media, nil
}

func isJSON(media string) bool {
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// invalid makes the error of one attribute.
func invalid(pointer, rule, format string, args ...any) error {
	return handlers.InvalidField(pointer, rule, format, args...)
}

// decodeBatch takes a batch apart. Events stand for themselves once the whole is
// JSON.
func decodeBatch(body []byte) ([]Item, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true)) // each event has its own error for that
	if kind := dec.PeekKind(); kind != jsontext.KindBeginArray && kind != jsontext.KindInvalid {
		return nil, invalid("", "type", "must be an array of events")
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, syntaxError(err)
	}
	items := []Item{}
	for dec.PeekKind() != jsontext.KindEndArray {
		raw, err := dec.ReadValue()
		if err != nil {
			return nil, syntaxError(err)
		}
		if len(items) == MaxBatch {
			return nil, invalid("", "max_items", "has more than %d events; send them in several batches", MaxBatch)
		}
		var item Item
		item.Event, item.Err = decodeStructured(raw)
		items = append(items, item)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, syntaxError(err)
	}
	return items, atEnd(dec)
}

func atEnd(dec *jsontext.Decoder) error {
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return invalid("", "json", "something follows the JSON value")
	}
	return nil
}

// syntaxError says where JSON ceases to be JSON.
func syntaxError(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return invalid(string(syntax.JSONPointer), "duplicate", "is there twice")
	case errors.As(err, &syntax):
		return invalid(string(syntax.JSONPointer), "json", "the body is not JSON: %v", syntax.Err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("", "required", "the body is empty; send an event")
	default:
		return invalid("", "json", "the body can't be read: %v", err)
	}
}

// decodeStructured reads an event in the JSON format.
func decodeStructured(body []byte) (event.Event, error) {
	r := newReading()
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	if kind := dec.PeekKind(); kind != jsontext.KindBeginObject && kind != jsontext.KindInvalid {
		return r.event, invalid("", "type", "must be an object: an event in the JSON format of CloudEvents")
	}
	if _, err := dec.ReadToken(); err != nil {
		return r.event, syntaxError(err)
	}
	for dec.PeekKind() != jsontext.KindEndObject {
		name, err := dec.ReadToken()
		if err != nil {
			return r.event, syntaxError(err)
		}
		attribute := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return r.event, syntaxError(err)
		}
		if err := r.member(attribute, value); err != nil {
			return r.event, err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return r.event, syntaxError(err)
	}
	if err := atEnd(dec); err != nil {
		return r.event, err
	}
	return r.finish()
}

// reading is an event that is being read.
type reading struct {
	event       event.Event
	specVersion bool
	data        jsontext.Value // nil for none
	base64      *string        // data in that form
}

func newReading() *reading { return &reading{event: event.New(event.CloudEventsVersionV1)} }

// Names of the attributes that CloudEvents itself has.
const (
	attrSpecVersion = "specversion"
	attrID          = "id"
	attrSource      = "source"
	attrType        = "type"
	attrSubject     = "subject"
	attrTime        = "time"
	attrContentType = "datacontenttype"
	attrSchema      = "dataschema"
)

// member takes one member of a structured event. One that is null is absent.
func (r *reading) member(name string, value jsontext.Value) error {
	if value.Kind() == jsontext.KindNull {
		return checkName(name)
	}
	switch name {
	case "data":
		r.data = value.Clone()
		return nil
	case "data_base64":
		s, err := text(name, value)
		r.base64 = &s
		return err
	case attrSpecVersion, attrID, attrSource, attrType, attrSubject, attrTime, attrContentType, attrSchema:
		s, err := text(name, value)
		if err != nil {
			return err
		}
		return r.set(name, s)
	}
	if err := checkName(name); err != nil {
		return err
	}
	return r.extension(name, value)
}

// checkName refuses names that CloudEvents doesn't allow.
func checkName(name string) error {
	if name == "data_base64" {
		return nil
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return invalid("/"+escape(name), "attribute_name", "has a name that isn't lower-case letters and digits only")
		}
	}
	if name == "" {
		return invalid("/", "attribute_name", "has no name")
	}
	return nil
}

// escape spells a name for a JSON pointer.
func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

func text(name string, value jsontext.Value) (string, error) {
	if value.Kind() != jsontext.KindString {
		return "", invalid("/"+name, "type", "must be a string")
	}
	unquoted, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return "", invalid("/"+name, "utf8", "must be valid Unicode")
	}
	return string(unquoted), nil
}

// extension takes an extension: a string, a boolean or an integer of 32 bits.
func (r *reading) extension(name string, value jsontext.Value) error {
	switch value.Kind() {
	case jsontext.KindString:
		s, err := text(name, value)
		if err != nil {
			return err
		}
		return r.set(name, s)
	case jsontext.KindTrue, jsontext.KindFalse:
		r.event.SetExtension(name, value.Kind() == jsontext.KindTrue)
		return nil
	case jsontext.KindNumber:
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < math.MinInt32 || n > math.MaxInt32 {
			return invalid("/"+name, "integer", "%s is not an integer of 32 bits", value)
		}
		r.event.SetExtension(name, int32(n))
		return nil
	default:
		return invalid("/"+name, "type", "must be a string, a boolean or an integer")
	}
}

// set takes an attribute that is a string.
func (r *reading) set(name, value string) error {
	if value == "" {
		return invalid("/"+name, "not_empty", "must not be empty; leave it out")
	}
	if i := strings.IndexFunc(value, notAllowed); i >= 0 {
		c, _ := utf8.DecodeRuneInString(value[i:])
		return invalid("/"+name, "no_control_characters", "must not contain the character U+%04X", c)
	}
	switch name {
	case attrSpecVersion:
		r.specVersion = true
		if value != event.CloudEventsVersionV1 {
			return invalid("/specversion", "enum", "is %q; it must be %s", value, event.CloudEventsVersionV1)
		}
	case attrID:
		r.event.SetID(value)
		return asKept(name, value, r.event.ID())
	case attrSource:
		if _, err := url.Parse(value); err != nil {
			return invalid("/source", "uri_reference", "%q is not a URI or a relative reference", value)
		}
		r.event.SetSource(value)
		return asKept(name, value, r.event.Source())
	case attrType:
		r.event.SetType(value)
		return asKept(name, value, r.event.Type())
	case attrSubject:
		r.event.SetSubject(value)
		return asKept(name, value, r.event.Subject())
	case attrTime:
		t, err := parseTime(value)
		if err != nil {
			return err
		}
		r.event.SetTime(t)
	case attrContentType:
		media, _, err := mime.ParseMediaType(value)
		if err != nil || !isJSON(media) {
			return invalid("/datacontenttype", "json", "is %q; the registry takes JSON data only", value)
		}
		r.event.SetDataContentType(value)
	case attrSchema:
		if u, err := url.Parse(value); err != nil || !u.IsAbs() {
			return invalid("/dataschema", "absolute_uri", "%q is not an absolute URI", value)
		}
		r.event.SetDataSchema(value)
	default:
		r.event.SetExtension(name, value)
	}
	return nil
}

// asKept refuses what the SDK spells anew or cuts: an identity must have one
// spelling.
func asKept(name, value, kept string) error {
	if value != kept {
		return invalid("/"+name, "normal_form", "%q is not in its normal form, %q", value, kept)
	}
	return nil
}

// notAllowed says which characters CloudEvents doesn't allow in a string: control
// characters, and code points that are no characters.
func notAllowed(c rune) bool {
	return unicode.Is(unicode.Cc, c) || c == utf8.RuneError || (c >= 0xFDD0 && c <= 0xFDEF) || c&0xFFFE == 0xFFFE
}

// parseTime takes any RFC 3339 time, and gives it in UTC and whole milliseconds.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, strings.ToUpper(s))
	if err != nil || strings.Contains(s, ",") {
		return t, invalid("/time", "time", "%q is not a time such as 2026-11-24T02:10:00Z (RFC 3339)", s)
	}
	return t.UTC().Truncate(time.Millisecond), nil
}

// finish checks what only the whole event tells.
func (r *reading) finish() (event.Event, error) {
	e := r.event
	var missing []handlers.FieldError
	for name, there := range map[string]bool{
		attrSpecVersion: r.specVersion, attrID: e.ID() != "", attrSource: e.Source() != "", attrType: e.Type() != "",
	} {
		if !there {
			missing = append(missing, handlers.FieldError{Pointer: "/" + name, Rule: "required", Detail: "is required"})
		}
	}
	if len(missing) > 0 {
		slices.SortFunc(missing, func(a, b handlers.FieldError) int { return strings.Compare(a.Pointer, b.Pointer) })
		return e, handlers.InvalidError{Fields: missing}
	}
	if r.base64 != nil {
		if r.data != nil {
			return e, invalid("/data_base64", "not_with_data", "must not be there together with data")
		}
		data, err := base64.StdEncoding.Strict().DecodeString(*r.base64)
		if err != nil {
			return e, invalid("/data_base64", "base64", "is not base64")
		}
		if r.data, err = jsonData("/data_base64", data); err != nil {
			return e, err
		}
	}
	if r.data != nil {
		e.DataEncoded = r.data
	}
	return e, nil
}

// jsonData reads data that came as bytes: JSON, or nothing.
func jsonData(pointer string, data []byte) (jsontext.Value, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	value, err := dec.ReadValue()
	if err != nil {
		return nil, below(pointer, syntaxError(err))
	}
	value = value.Clone()
	if err := atEnd(dec); err != nil {
		return nil, below(pointer, err)
	}
	if value.Kind() == jsontext.KindNull {
		return nil, nil
	}
	return value, nil
}

// below moves what an error points at below a pointer.
func below(pointer string, err error) error {
	moved, ok := errors.AsType[handlers.InvalidError](err)
	if !ok {
		return err
	}
	fields := slices.Clone(moved.Fields)
	for i := range fields {
		fields[i].Pointer = pointer + fields[i].Pointer
	}
	return handlers.InvalidError{Fields: fields}
}
