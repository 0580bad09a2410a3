package events

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

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
}

// Hash is the first half of a SHA-256.
type Hash [16]byte

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
func FormatTime(t time.Time) string { return t.UTC().Truncate(time.Millisecond).Format(timeLayout) }

// parseTime takes only what FormatTime writes, so that reading and writing an
// event gives the same bytes.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(timeLayout, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time such as %s", s, timeLayout)
	}
	return t, nil
}

type attribute struct{ name, value string }

// attributes lists the attributes that are not empty, without the sequence.
func (e Event) attributes(contentType string) []attribute {
	kind := e.Data.kind()
	all := [...]attribute{
		{attrSpecVersion, specVersion},
		{attrID, e.ID.String()},
		{attrSource, e.Source()},
		{attrType, typePrefix + kind},
		{attrSubject, e.Subject},
		{attrTime, FormatTime(e.Time)},
		{attrContentType, contentType},
		{attrSchema, schemaBase + SchemaPath(kind)},
		{attrPartitionKey, e.Data.Resource().Root.ID.String()},
		{attrPrincipal, e.Principal},
		{attrCorrelationID, e.CorrelationID},
		{attrCausationID, e.CausationID},
		{attrTraceParent, e.TraceParent},
		{attrOriginSource, e.OriginSource},
		{attrOriginID, e.OriginID},
		{attrOccurred, optionalTime(e.Occurred)},
		{attrKey, optionalHash(e.Key)},
		{attrRequest, optionalHash(e.Request)},
	}
	present := make([]attribute, 0, len(all))
	for _, a := range all {
		if a.value != "" {
			present = append(present, a)
		}
	}
	return present
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
	kind         string // from the type
	partitionKey string
	seen         map[string]bool
}

// set takes one attribute. Attributes that this release doesn't know are
// refused: they might change what the event means.
func (v *envelope) set(name, value, contentType string) error {
	if v.seen == nil {
		v.seen = make(map[string]bool, 16)
	}
	if v.seen[name] {
		return fmt.Errorf("attribute %s is there twice", name)
	}
	v.seen[name] = true
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
		return mustBe(value, specVersion)
	case attrContentType:
		return mustBe(value, contentType)
	case attrID:
		v.ID, err = parseULID(value)
	case attrSource:
		id, ok := strings.CutPrefix(value, sourcePrefix)
		if !ok {
			return fmt.Errorf("%q does not begin with %s", value, sourcePrefix)
		}
		v.Registry, err = parseULID(id)
	case attrType:
		kind, ok := strings.CutPrefix(value, typePrefix)
		if !ok || kinds[kind].read == nil {
			return fmt.Errorf("%q is not a type that this release reads", value)
		}
		v.kind = kind
	case attrSchema:
		if !strings.HasPrefix(value, schemaBase) {
			return fmt.Errorf("%q does not begin with %s", value, schemaBase)
		}
	case attrSubject:
		v.Subject = value
	case attrTime:
		v.Time, err = parseTime(value)
	case attrPartitionKey:
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
		v.Key, err = parseHash(value)
	case attrRequest:
		v.Request, err = parseHash(value)
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

func parseHash(s string) (h Hash, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) || hex.EncodeToString(b) != s {
		return h, fmt.Errorf("%q is not %d hex digits", s, 2*len(h))
	}
	copy(h[:], b)
	return h, nil
}

// readData finishes the event with its data, and checks what the attributes
// say of it.
func (v *envelope) readData(r reader) (Event, error) {
	for _, name := range []string{
		attrSpecVersion, attrID, attrSource, attrType, attrSubject, attrTime, attrContentType, attrSchema, attrPartitionKey,
	} {
		if !v.seen[name] {
			return Event{}, fmt.Errorf("attribute %s is missing", name)
		}
	}
	data, err := kinds[v.kind].read(r)
	if err != nil {
		return Event{}, fmt.Errorf("data: %w", err)
	}
	if err := mustBe(v.partitionKey, data.Resource().Root.ID.String()); err != nil {
		return Event{}, fmt.Errorf("attribute %s: %w", attrPartitionKey, err)
	}
	v.Data = data
	return v.Event, nil
}
