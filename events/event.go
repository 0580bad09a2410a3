package events

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
)

// Event is one fact on the log: a CloudEvents 1.0 envelope around Data. It is
// never edited.
type Event struct {
	// Sequence is the event's place on the log, from 1. It is derived from
	// the log, never stored in the event; 0 for an event that isn't on it.
	Sequence uint64
	ID       ulid.ULID
	Registry ulid.ULID // in source, as urn:modelog:<ULID>
	// Subject is the path of the resource, with the names it had at that
	// time percent-encoded: models/fraud/versions/8.
	Subject string
	// Time is when the event was recorded, in UTC and whole milliseconds. It
	// never goes backwards along the log.
	Time time.Time

	// Principal is the opaque id of who asked for it, "prn_...", or empty.
	Principal     string
	CorrelationID string // the request it belongs to
	CausationID   string // the event that made somebody ask for it
	TraceParent   string // W3C trace context

	// What a publisher sent of its own, when the event was published by one.
	OriginSource string
	OriginID     string
	Occurred     time.Time

	// Key is the hash of the idempotency key the request came with, and
	// Request that of its content. Both are zero for a request without one.
	Key     Hash
	Request Hash

	Data Data

	canonical []byte // of Data, nil until it is made or read
}

// WithCanonical gives the event with the canonical form of its data made, once
// for all who need it. It fails on what Decode would not read again, such as
// text that isn't UTF-8.
func (e Event) WithCanonical() (Event, error) {
	data, err := AppendCanonical(nil, e.Data)
	if err != nil {
		return e, fmt.Errorf("encode %s: %w", e.Type(), err)
	}
	e.canonical = data
	return e, nil
}

// Canonical gives the canonical msgpack of the event's data, which must not be
// changed: that of an event from Decode or WithCanonical, nil of any other.
func (e Event) Canonical() []byte { return e.canonical }

// Hash is the first half of a SHA-256.
type Hash [16]byte

// Happened is when somebody says that it happened, or else when it was recorded.
func (e Event) Happened() time.Time {
	if !e.Occurred.IsZero() {
		return e.Occurred
	}
	return e.Time
}

// Type is the CloudEvents type: dev.modelog.<aggregate>.<past tense>.v<n>.
func (e Event) Type() string { return TypeOf(e.Data) }

// Source is the CloudEvents source.
func (e Event) Source() string { return sourcePrefix + e.Registry.String() }

// Names of the attributes, as CloudEvents and its extensions have them.
const (
	attrSpecVersion   = "specversion"
	attrID            = "id"
	attrSource        = "source"
	attrType          = "type"
	attrSubject       = "subject"
	attrTime          = "time"
	attrContentType   = "datacontenttype"
	attrSchema        = "dataschema"
	attrPartitionKey  = "partitionkey"
	attrPrincipal     = "authid"
	attrCorrelationID = "correlationid"
	attrCausationID   = "causationid"
	attrTraceParent   = "traceparent"
	attrOriginSource  = "originsource"
	attrOriginID      = "originid"
	attrOccurred      = "occurredtime"
	attrKey           = "idempotencykey" // its hash
	attrRequest       = "requestdigest"
	attrSequence      = "sequence" // at the edges only
)

const (
	sourcePrefix = "urn:modelog:"
	specVersion  = "1.0"
	timeLayout   = "2006-01-02T15:04:05.000Z"
)

// FormatTime spells a time as everywhere in modelog: RFC 3339 in UTC, with
// milliseconds, truncated.
func FormatTime(t time.Time) string {
	t = t.UTC().Truncate(time.Millisecond)
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.Format(timeLayout)
	}
	hour, minute, second := t.Clock()
	b := []byte("0000-00-00T00:00:00.000Z") // in a fifth of the time that Format takes
	putDigits(b[0:4], year)
	putDigits(b[5:7], int(month))
	putDigits(b[8:10], day)
	putDigits(b[11:13], hour)
	putDigits(b[14:16], minute)
	putDigits(b[17:19], second)
	putDigits(b[20:23], t.Nanosecond()/int(time.Millisecond))
	return string(b)
}

func putDigits(dst []byte, n int) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
}

// parseTime takes only what FormatTime writes, so that reading and writing an
// event gives the same bytes.
func parseTime(s string) (time.Time, error) {
	t, ok := readTimeFields(s)
	if !ok {
		return time.Time{}, fmt.Errorf("%q is not a time such as %s", s, timeLayout)
	}
	return t, checkTime(t)
}

// readTimeFields reads the layout by hand, in a fifth of the time that time.Parse
// and a comparison of what it is written as again take: each event has a time.
func readTimeFields(s string) (t time.Time, ok bool) {
	if len(s) != len(timeLayout) {
		return t, false
	}
	var fields [7]int // year to millisecond
	field := 0
	for i := range len(s) {
		switch c, layout := s[i], timeLayout[i]; {
		case layout >= '0' && layout <= '9' && c >= '0' && c <= '9':
			fields[field] = 10*fields[field] + int(c-'0')
		case layout == c && (layout < '0' || layout > '9'):
			field++
		default:
			return t, false
		}
	}
	year, month, day, hour, minute, second := fields[0], time.Month(fields[1]), fields[2], fields[3], fields[4], fields[5]
	t = time.Date(year, month, day, hour, minute, second, fields[6]*int(time.Millisecond), time.UTC)
	// time.Date takes what is too large for a further day.
	y, m, d := t.Date()
	return t, y == year && m == month && d == day && hour < 24 && minute < 60 && second < 60
}

// checkTime refuses times that have no spelling, and the zero time, which
// stands for none.
func checkTime(t time.Time) error {
	const first, last = -62_135_596_800_000, 253_402_300_799_999 // the years 1 to 9999
	if ms := t.UnixMilli(); ms <= first || ms > last {
		return fmt.Errorf("%v is not a time in the years 1 to 9999", t)
	}
	return nil
}

// checkSubject holds the subject to its percent-encoding: whatever a name is, a
// subject has no spaces to lose, and can be a header.
func checkSubject(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	if !isVisible(s) {
		return fmt.Errorf("%q has names that are not percent-encoded", s)
	}
	return nil
}

// attribute has its name as a header, "ce-id", so that no event makes it anew.
type attribute struct{ header, value string }

func (a attribute) name() string { return a.header[len(headerPrefix):] }

// attributes lists the attributes that are not empty by name, without the sequence. It
// fails on those that could not be read again.
func (e Event) attributes(contentType string) ([]attribute, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	kind := kinds[e.Data.kind()]
	all := []attribute{ // by name, as headers are
		{headerPrefix + attrPrincipal, e.Principal},
		{headerPrefix + attrCausationID, e.CausationID},
		{headerPrefix + attrCorrelationID, e.CorrelationID},
		{headerPrefix + attrContentType, contentType},
		{headerPrefix + attrSchema, kind.schema},
		{headerPrefix + attrID, e.ID.String()},
		{headerPrefix + attrKey, optionalHash(e.Key)},
		{headerPrefix + attrOccurred, optionalTime(e.Occurred)},
		{headerPrefix + attrOriginID, e.OriginID},
		{headerPrefix + attrOriginSource, e.OriginSource},
		{headerPrefix + attrPartitionKey, e.Data.Resource().Root.ID.String()},
		{headerPrefix + attrRequest, optionalHash(e.Request)},
		{headerPrefix + attrSource, e.Source()},
		{headerPrefix + attrSpecVersion, specVersion},
		{headerPrefix + attrSubject, e.Subject},
		{headerPrefix + attrTime, FormatTime(e.Time)},
		{headerPrefix + attrTraceParent, e.TraceParent},
		{headerPrefix + attrType, kind.typ},
	}
	present := all[:0]
	for _, a := range all {
		if !utf8.ValidString(a.value) {
			return nil, fmt.Errorf("attribute %s: %w", a.name(), errNotUTF8)
		}
		if a.value != "" {
			present = append(present, a)
		}
	}
	return present, nil
}

func (e Event) check() error {
	if err := checkSubject(e.Subject); err != nil {
		return fmt.Errorf("attribute %s: %w", attrSubject, err)
	}
	if err := checkTime(e.Time); err != nil {
		return fmt.Errorf("attribute %s: %w", attrTime, err)
	}
	if e.Occurred.IsZero() {
		return nil
	}
	if err := checkTime(e.Occurred); err != nil {
		return fmt.Errorf("attribute %s: %w", attrOccurred, err)
	}
	return nil
}

func optionalTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return FormatTime(t)
}

func optionalHash(h Hash) string {
	if h == (Hash{}) {
		return ""
	}
	return hex.EncodeToString(h[:])
}

// envelope gathers the attributes of an event that is being read.
type envelope struct {
	Event
	kind         kindReader // from the type
	schema       string
	partitionKey string
	seen         uint // a bit for each of the required attributes
}

// Bits of envelope.seen, in the order of required.
const (
	sawSpecVersion = 1 << iota
	sawID
	sawSource
	sawType
	sawSubject
	sawTime
	sawContentType
	sawSchema
	sawPartitionKey
)

// required lists the attributes that every event has.
var required = [...]string{
	attrSpecVersion, attrID, attrSource, attrType, attrSubject, attrTime, attrContentType, attrSchema, attrPartitionKey,
}

// set takes one attribute; each comes once. Attributes that this release doesn't
// know are refused: they might change what the event means.
func (v *envelope) set(name, value, contentType string) error {
	if value == "" {
		return fmt.Errorf("attribute %s is empty", name)
	}
	if err := v.assign(name, value, contentType); err != nil {
		return fmt.Errorf("attribute %s: %w", name, err)
	}
	return nil
}

func (v *envelope) assign(name, value, contentType string) (err error) {
	switch name {
	case attrSpecVersion:
		v.seen |= sawSpecVersion
		return mustBe(value, specVersion)
	case attrContentType:
		v.seen |= sawContentType
		return mustBe(value, contentType)
	case attrID:
		v.seen |= sawID
		v.ID, err = parseULID(value)
	case attrSource:
		v.seen |= sawSource
		id, ok := strings.CutPrefix(value, sourcePrefix)
		if !ok {
			return fmt.Errorf("%q does not begin with %s", value, sourcePrefix)
		}
		v.Registry, err = parseULID(id)
	case attrType:
		v.seen |= sawType
		v.kind = kinds[strings.TrimPrefix(value, typePrefix)]
		if v.kind.typ != value {
			return fmt.Errorf("%q is not a type that this release reads", value)
		}
	case attrSchema:
		v.seen |= sawSchema
		v.schema = value // compared when the type is known
	case attrSubject:
		v.seen |= sawSubject
		v.Subject, err = value, checkSubject(value)
	case attrTime:
		v.seen |= sawTime
		v.Time, err = parseTime(value)
	case attrPartitionKey:
		v.seen |= sawPartitionKey
		v.partitionKey = value
	case attrPrincipal:
		v.Principal = value
	case attrCorrelationID:
		v.CorrelationID = value
	case attrCausationID:
		v.CausationID = value
	case attrTraceParent:
		v.TraceParent = value
	case attrOriginSource:
		v.OriginSource = value
	case attrOriginID:
		v.OriginID = value
	case attrOccurred:
		v.Occurred, err = parseTime(value)
	case attrKey:
		v.Key, err = parseOptionalHash(value)
	case attrRequest:
		v.Request, err = parseOptionalHash(value)
	default:
		return errors.New("unknown to this release")
	}
	return err
}

func mustBe(got, want string) error {
	if got != want {
		return fmt.Errorf("%q must be %q", got, want)
	}
	return nil
}

// parseHash takes lower-case digits only, as they are written.
func parseHash(s string) (h Hash, err error) {
	var again [2 * len(h)]byte
	if len(s) == len(again) {
		_, err = hex.Decode(h[:], []byte(s))
		hex.Encode(again[:], h[:])
	}
	if err != nil || string(again[:]) != s {
		return Hash{}, fmt.Errorf("%q is not %d hex digits", s, len(again))
	}
	return h, nil
}

// parseOptionalHash refuses the zero hash, which stands for none.
func parseOptionalHash(s string) (Hash, error) {
	h, err := parseHash(s)
	if err == nil && h == (Hash{}) {
		err = errors.New("zeros stand for no hash")
	}
	return h, err
}

// readData finishes the event with its data, and checks what the attributes
// say of it.
func (v *envelope) readData(r reader) (err error) {
	for i, name := range required {
		if v.seen&(1<<i) == 0 {
			return fmt.Errorf("attribute %s is missing", name)
		}
	}
	if err := mustBe(v.schema, v.kind.schema); err != nil {
		return fmt.Errorf("attribute %s: %w", attrSchema, err)
	}
	if v.Data, err = v.kind.read(r); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if id := v.Data.Resource().Root.ID; !isULID(v.partitionKey, id) {
		return fmt.Errorf("attribute %s: %w", attrPartitionKey, mustBe(v.partitionKey, id.String()))
	}
	return nil
}
