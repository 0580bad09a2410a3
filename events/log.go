package events

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"iter"
	"strings"
)

// Encoded is an event as it stands on the log: its NATS subject, its
// CloudEvents attributes as "ce-" headers and its data as canonical msgpack.
// What Encode returned must not be changed any more.
type Encoded struct {
	Subject string
	Header  []HeaderField // by name; each name is there once
	Data    []byte
}

// HeaderField is one header of an event on the log.
type HeaderField struct{ Name, Value string }

// Size is what the event takes on the log, in bytes, without JetStream's own
// few dozen bytes a message.
func (e Encoded) Size() int {
	n := len(e.Subject) + len(e.Data)
	for _, f := range e.Header {
		n += len(f.Name) + len(f.Value) + len(": \r\n")
	}
	return n
}

// Sum is the SHA-256 of the event's canonical form: its subject, its own headers
// sorted by name and its data, with their lengths and numbers before them. Headers of the
// server are no part of it, so that a copy of a log has the same sums.
func (e Encoded) Sum() [sha256.Size]byte { return sha256.Sum256(e.AppendForm(nil)) }

// AppendForm appends the canonical form, which Sum hashes, to dst.
func (e Encoded) AppendForm(dst []byte) []byte {
	b := dst
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	text(e.Subject)
	for _, f := range e.Header {
		if strings.HasPrefix(f.Name, natsOwnHeaders) {
			continue
		}
		text(f.Name)
		b = binary.AppendUvarint(b, 1) // a value
		text(f.Value)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	return append(b, e.Data...)
}

// Stored is an event on the log together with the place that the log gave it.
type Stored struct {
	Sequence uint64 // counts from 1, without gaps
	Encoded
}

// Log is the one ordered, durable record of everything that happened. Every
// implementation passes the suite in events/logtest.
//
// Append is for one writer at a time in a process; the other methods are safe
// for concurrent use, also beside Append.
type Log interface {
	// Append stores a group of 1 to MaxGroupEvents events so that the first
	// has the sequence expect+1, the second expect+2 and so on, and returns
	// when all of them are durable: on disk, or on a quorum of synced disks.
	//
	// On an error a prefix of the group may be on the log, so the caller
	// reads the log to its end before it appends again. The error is, or
	// wraps, one of ErrBadGroup, ErrConflict, ErrUnavailable, ErrNoSpace,
	// ErrUncertain and ErrBroken.
	Append(ctx context.Context, expect uint64, group []Encoded) error

	// Last returns the sequence of the newest event, 0 for an empty log.
	// It wraps ErrUnavailable when the log can't be reached.
	Last(ctx context.Context) (uint64, error)

	// Get returns one event. It wraps ErrNotFound when the log has no such
	// sequence, and ErrUnavailable when the log can't be reached.
	Get(ctx context.Context, sequence uint64) (Stored, error)

	// Read yields the events from..to, both included, in order, and ends. An
	// error, yielded as the last pair, wraps ErrUnavailable, ErrMissing (a
	// sequence that should be there is not, also when to is beyond the end of
	// the log) or the context's error.
	Read(ctx context.Context, from, to uint64) iter.Seq2[Stored, error]

	// Follow yields the events from a sequence on, in order, and then waits
	// for new ones until the context ends, which it yields as the last error.
	// Other errors are those of Read.
	Follow(ctx context.Context, from uint64) iter.Seq2[Stored, error]

	// Health says whether the log can take appends and reads right now: nil,
	// or an error that says what is wrong.
	Health(ctx context.Context) error

	// Close releases the log. Calls under way return ErrUnavailable or
	// ErrUncertain. Closing twice is harmless.
	Close() error
}

// Limits of one append (design, section 6).
const (
	MaxEventBytes  = 512 << 10
	MaxGroupEvents = 500
	MaxGroupBytes  = 4 << 20
)

// What can go wrong with a log. Test with errors.Is.
var (
	// ErrBadGroup: the group breaks a limit, or has a subject or a header that
	// the log can't hold. Nothing was written, and trying again is of no use.
	ErrBadGroup = errors.New("the log can't hold the group")
	// ErrConflict: the log has moved on past the expected sequence. Nothing
	// of the group that wasn't there before was written, but for a prefix on
	// a shared log that doesn't take a group as a whole.
	ErrConflict = errors.New("the log has moved on")
	// ErrUnavailable: the log can't be reached; nothing was written.
	ErrUnavailable = errors.New("the log is unavailable")
	// ErrNoSpace: writing would go below the free-space reserve; nothing was
	// written.
	ErrNoSpace = errors.New("the log's disk is nearly full")
	// ErrUncertain: the answer was lost; the group, or a prefix of it, may be
	// on the log now or later, until another append with the same
	// expectation has succeeded.
	ErrUncertain = errors.New("the outcome of the append is unknown")
	// ErrBroken: a sync failed, so that nothing is known of what is on the
	// disk. The process must stop; a new start reads what survived.
	ErrBroken = errors.New("the log's disk failed to sync")
	// ErrNotFound: there is no event with this sequence.
	ErrNotFound = errors.New("no such event")
	// ErrMissing: the log lacks a sequence below its end: it was damaged.
	ErrMissing = errors.New("the log is missing an event")
)
