package handlers

import (
	"crypto/sha256"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// Command is what is asked. Each is a struct of this package, named in the
// imperative. A command must not be changed after it was given to the registrar.
type Command interface {
	// Kind names the command, for metrics and for the hash of its content.
	Kind() string
	// check refuses, with an InvalidError, what is wrong whatever the state, and
	// brings names into their normal form. It is called before decide; calling
	// it again changes nothing.
	check() error
	// decide is pure: it says what follows from the command on a view.
	decide(v projections.View, on occasion) (decision, error)
	// etag gives the sequence of what the command would change, for If-Match;
	// ok is false when it isn't there.
	etag(v projections.View) (sequence uint64, ok bool)
}

// occasion is what enters a decision from outside the state.
type occasion struct {
	id ulid.ULID // of the event, and of what it newly makes
}

// decision is an event, or nothing: what is asked for is already so.
type decision struct {
	event    events.Data     // nil for nothing
	resource events.Resource // what the answer is about, for nothing
}

func write(e events.Data) (decision, error) { return decision{event: e, resource: e.Resource()}, nil }

func alreadySo(r events.Resource) (decision, error) { return decision{resource: r}, nil }

// Request is a command with what goes around it.
type Request struct {
	Command       Command
	Principal     string // opaque id of who asks, or empty
	CorrelationID string // of the request, or of what it belongs to
	CausationID   string
	TraceParent   string
	// Key makes the request safe to repeat: 1 to 128 visible ASCII
	// characters, or empty for none.
	Key string
	// Origin, unless nil, is the publisher's event that it comes from; then there
	// is no Key.
	Origin *Origin
	// OccurredAt is when it happened, for those who bring a history along, not
	// before 1970; zero for now. It is not part of the content that Key is bound to.
	OccurredAt time.Time
	// IfMatch, unless nil, is the sequence that what the command changes must
	// have.
	IfMatch *uint64
	// Patience is how long an outcome may stay uncertain before that is the answer,
	// if it is longer than the registrar's deadline. It is for those who can't ask
	// again, having no Key.
	Patience time.Duration
}

// Outcome is what became of a request.
type Outcome struct {
	// Sequence is that of the event, or of the state in which what was asked
	// for was found to be so already.
	Sequence uint64
	Resource events.Resource
	Event    events.Event // that this request wrote, zero without one
	// Repeated says that an earlier request with the same key wrote the event that
	// has the Sequence.
	Repeated bool
}

// Written says whether the request wrote an event.
func (o Outcome) Written() bool { return o.Event.Data != nil }

// Check refuses, with an InvalidError, what is wrong with the request whatever
// the state. The registrar does so too: it is for those who do something for a
// request before they hand it over.
func (r *Request) Check() error {
	if len(r.Key) > MaxIdempotencyKey {
		return InvalidField("Idempotency-Key", "max_length", "has more than %d characters", MaxIdempotencyKey)
	}
	for i := range len(r.Key) {
		if c := r.Key[i]; c <= ' ' || c > '~' {
			return InvalidField("Idempotency-Key", "visible_ascii", "has characters that are not visible ASCII")
		}
	}
	if !r.OccurredAt.IsZero() && (r.OccurredAt.UnixMilli() < 0 || r.OccurredAt.UTC().Year() > 9999) {
		return InvalidField("Modelog-Occurred-Time", "time", "must be a time in the years 1970 to 9999")
	}
	if r.Origin != nil {
		if err := r.Origin.Check(); err != nil {
			return err
		}
	}
	return r.Command.check()
}

// hashes gives the hashes of the request's key and content, zero without a key.
// It fails with InvalidError for content that has no canonical form.
func (r *Request) hashes() (key, content events.Hash, err error) {
	if r.Origin != nil {
		key, content = r.Origin.hashes()
		return key, content, nil
	}
	if r.Key == "" {
		return key, content, nil
	}
	asked := any(r.Command)
	if partly, ok := r.Command.(partlyMade); ok {
		asked = partly.asked()
	}
	canonical, err := events.AppendCanonical([]byte(r.Command.Kind()+"\n"), asked)
	if err != nil {
		return key, content, InvalidField("", "canonical", "the request holds what can't be written down: %v", err)
	}
	return hashOf([]byte(r.Key)), hashOf(canonical), nil
}

// partlyMade is a command that has parts which nobody asked for: they are made for
// it, anew each time that the same is asked.
type partlyMade interface {
	// asked gives the command without those parts.
	asked() any
}

func hashOf(b []byte) (h events.Hash) {
	sum := sha256.Sum256(b)
	copy(h[:], sum[:])
	return h
}

// precondition compares what a caller expected to find, nil for anything, with
// what is there.
func precondition(name string, want *uint64, found uint64) error {
	if want != nil && *want != found {
		return PreconditionError{Precondition: name, Want: *want, Found: found}
	}
	return nil
}

// recordedAt gives the time of the next event: recorded times never go
// backwards, whatever the clock does.
func recordedAt(now, last time.Time) time.Time {
	now = now.UTC().Truncate(time.Millisecond)
	if now.Before(last) {
		return last
	}
	return now
}
