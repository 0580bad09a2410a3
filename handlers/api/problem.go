package api

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
)

// Problem is how an error is shown: RFC 9457, with a stable code.
type Problem struct {
	Type      string                `json:"type"`
	Title     string                `json:"title"`
	Status    int                   `json:"status"`
	Code      handlers.Code         `json:"code"`
	Detail    string                `json:"detail"`
	Instance  string                `json:"instance"`
	RequestID string                `json:"request_id"`
	Errors    []handlers.FieldError `json:"errors,omitempty"`
}

const problemBase = "https://modelog.dev/problems/"

// problem answers with an error. The text of an error without a code is for the
// operator's log only.
func (c *call) problem(err error) {
	p := c.problemOf(err)
	if unavailable, ok := errors.AsType[handlers.UnavailableError](err); ok && unavailable.RetryAfter > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(unavailable.RetryAfter.Seconds()))))
	}
	c.send(p.Status, "application/problem+json", p)
}

// problemOf shows an error. One without a code is logged.
func (c *call) problemOf(err error) Problem {
	code := handlers.CodeOf(err)
	row := handlers.Errors[code]
	p := Problem{
		Type: problemBase + strings.ReplaceAll(string(code), "_", "-"), Title: row.Title, Status: row.Status, Code: code,
		Detail: err.Error(), Instance: c.r.URL.EscapedPath(), RequestID: c.id,
	}
	p.Errors = handlers.FieldsOf(err)
	if code == handlers.CodeInternal {
		c.server.cfg.Logger.LogAttrs(c.r.Context(), slog.LevelError, "internal error", slog.String("request_id", c.id), slog.Any("error", err))
		p.Detail = "something went wrong in modelog; its log says what, under the request id"
	}
	return p
}

// readBody reads a JSON body strictly: unknown and duplicate members, wrong
// types, invalid UTF-8 and trailing data are refused, naming where.
func (c *call) readBody(into any) error {
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	if err := ReadBody(c.w, c.r, buf); err != nil {
		return err
	}
	if string(bytes.TrimSpace(buf.Bytes())) == "null" { // which would be read as {}
		return handlers.InvalidField("", "type", "must be an object")
	}
	return bodyError(unmarshal(buf.Bytes(), into))
}

// ReadBody puts the body of a request into buf, in place of what is there. It fails
// with handlers.TooLargeError beyond 1 MiB, and with handlers.InvalidError if the
// body ends too early.
func ReadBody(w http.ResponseWriter, r *http.Request, buf *bytes.Buffer) error {
	buf.Reset()
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return handlers.TooLargeError{Limit: maxBody}
	case err != nil:
		return handlers.InvalidField("", "complete", "the body ended too early")
	}
	return nil
}

// buffers are for bodies, of which nothing is kept.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// unmarshal reads JSON strictly. Numbers that are spelled as strings are rare, so
// they are looked for only when there is something that a plain reader refuses.
func unmarshal(data []byte, into any) error {
	spec, ok := into.(*handlers.VersionSpec)
	if ok {
		if readVersionSpec(data, spec) {
			return nil
		}
		*spec = handlers.VersionSpec{}
	}
	if json.Unmarshal(data, into, plainOptions) == nil {
		return nil
	}
	reflect.ValueOf(into).Elem().SetZero()
	return json.Unmarshal(data, into, jsonOptions)
}

// appendJSON appends JSON to dst, numbers that it can't spell as strings.
func appendJSON(dst []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case Version:
		return appendVersion(dst, &v)
	case AuditList:
		return appendAuditList(dst, &v)
	case AuditEntry:
		return appendAuditEntry(dst, &v)
	}
	w := appender(dst)
	if err := json.MarshalWrite(&w, value, plainOptions); err != nil {
		w = dst
		err = json.MarshalWrite(&w, value, jsonOptions)
		return w, err
	}
	return w, nil
}

// appender is an io.Writer that appends.
type appender []byte

// Write never fails.
func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// Numbers has numbers that JSON can't spell, such as NaN, read and written as
// strings, as in events. Whoever speaks with the API needs it.
var Numbers = json.JoinOptions(
	json.WithUnmarshalers(json.UnmarshalFromFunc(readFloat)),
	json.WithMarshalers(json.MarshalToFunc(writeFloat)),
)

// What isn't known is refused, and maps are sorted. With jsonOptions come the
// Numbers; that doubles the time it takes.
var (
	plainOptions = json.JoinOptions(json.RejectUnknownMembers(true), json.Deterministic(true))
	jsonOptions  = json.JoinOptions(plainOptions, Numbers)
)

func readFloat(dec *jsontext.Decoder, f *float64) error {
	if dec.PeekKind() != jsontext.KindString {
		return errors.ErrUnsupported
	}
	t, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch s := t.String(); s {
	case "NaN":
		*f = math.NaN()
	case "Infinity":
		*f = math.Inf(1)
	case "-Infinity":
		*f = math.Inf(-1)
	default:
		return fmt.Errorf("%q is not a number", s)
	}
	return nil
}

func writeFloat(enc *jsontext.Encoder, f float64) error {
	if s := spellFloat(f); s != "" {
		return enc.WriteToken(jsontext.String(s))
	}
	return errors.ErrUnsupported
}

// FormatNumber spells a number as the API does, without quotes.
func FormatNumber(f float64) string {
	if s := spellFloat(f); s != "" {
		return s
	}
	return string(appendFloat(nil, f))
}

// spellFloat spells a number that JSON can't, and gives nothing for any other.
func spellFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	default:
		return ""
	}
}

func bodyError(err error) error {
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF) && errors.As(err, &syntax) && syntax.ByteOffset == 0:
		return handlers.InvalidField("", "required", "the body is empty; send a JSON object")
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return handlers.InvalidField(string(syntax.JSONPointer), "duplicate", "is there twice")
	case errors.As(err, &syntax):
		return handlers.InvalidField(string(syntax.JSONPointer), "json", "the body is not JSON: %v", syntax.Err)
	case errors.As(err, &semantic) && errors.Is(semantic.Err, json.ErrUnknownName):
		return handlers.InvalidField(string(semantic.JSONPointer), "unknown_field", "is unknown here")
	case errors.As(err, &semantic):
		return handlers.InvalidField(string(semantic.JSONPointer), "type", "%s", wrongType(semantic))
	default:
		return handlers.InvalidField("", "json", "the body can't be read: %v", err)
	}
}

func wrongType(e *json.SemanticError) string {
	if e.GoType == nil {
		return fmt.Sprintf("has a value that does not fit: %v", e.Err)
	}
	return "must be " + typeName(e.GoType)
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[textPatch]():
		return "a string or null"
	case reflect.TypeFor[tagPatch]():
		return "an object or null"
	case reflect.TypeFor[Transitions]():
		return `"any" or an array of pairs`
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "a string"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint64:
		return "a whole number from 0"
	case reflect.Float64:
		return `a number, "NaN", "Infinity" or "-Infinity"`
	case reflect.Slice:
		return "an array"
	default:
		return "an object"
	}
}
