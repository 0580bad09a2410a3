// Package attempts keeps the journal of deliveries: the JetStream stream
// MODELOG_ATTEMPTS, kept for a fortnight and within a size.
//
// A message has attempts of one subscription whose events lie close to each other, and
// its subject says which: a server holds all subjects in memory, so that one for each
// attempt would be dear. Attempts that are recorded while a message is on its way go
// into the next one together.
//
// It does not belong here what follows from an attempt.
package attempts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events/natslog/streams"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

const (
	streamName    = "MODELOG_ATTEMPTS"
	subjectPrefix = "modelog.attempts."

	maxAge   = 14 * 24 * time.Hour
	maxBytes = 1 << 30

	// MaxBody is how much of an endpoint's answer is kept, in bytes.
	MaxBody = 20_000

	// What a call of List reads at most, and of it between two looks at where it is.
	maxVisited  = 2_000
	maxWindow   = 512
	leastWindow = 4 // messages

	// span is how many events have a subject in common.
	span = 1024

	// What a message has at most. A place in the journal is the message's sequence and,
	// in placeBits, that of the attempt in it.
	maxTogether   = 256
	maxBodies     = 256 << 10 // bytes of answers, but for one attempt
	placeBits     = 10
	recordTimeout = 5 * time.Second // of what is recorded together
)

// ErrStream says that the stream is not as the journal needs it.
var ErrStream = errors.New("the stream of the attempts is configured otherwise")

// Attempt is one try to deliver an event.
type Attempt struct {
	Subscription ulid.ULID `json:"subscription_id"`
	Sequence     uint64    `json:"sequence"` // of the event
	Number       int       `json:"attempt"`  // counts from 1
	StartedAt    time.Time `json:"started_at"`
	Milliseconds float64   `json:"duration_ms"`
	Status       int       `json:"status,omitzero"` // of HTTP, 0 without an answer
	Class        string    `json:"class"`           // one of the classes
	Body         string    `json:"body,omitempty"`  // the beginning of the answer's, or more of what went wrong
	NextAt       time.Time `json:"next_at,omitzero"`
	Replay       ulid.ULID `json:"replay,omitzero"` // the job it was for
	Dead         bool      `json:"dead,omitzero"`   // it was the last one, and failed
}

// Filter chooses attempts; zero fields choose all.
type Filter struct {
	Sequence uint64
	Status   int
	Class    string
}

func (f Filter) passes(a *Attempt) bool {
	return (f.Sequence == 0 || a.Sequence == f.Sequence) && (f.Status == 0 || a.Status == f.Status) && (f.Class == "" || a.Class == f.Class)
}

// Config is what a journal needs.
type Config struct {
	// JetStream gives the server that the stream is on. It is asked anew for every
	// call, since an embedded server may be started anew.
	JetStream func() jetstream.JetStream
	Replicas  int // of the stream, 1 if 0
}

// Journal has the attempts. It is safe for concurrent use.
type Journal struct {
	cfg Config

	mu     sync.Mutex
	queues map[string]*queue // guarded by mu; by subject, of those that are being written
}

func streamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName, Description: "Attempts to deliver events to subscribers",
		Subjects: []string{subjectPrefix + ">"}, Storage: jetstream.FileStorage, Replicas: max(replicas, 1),
		MaxAge: maxAge, MaxBytes: maxBytes, Discard: jetstream.DiscardOld, Compression: jetstream.S2Compression,
	}
}

// rules are the parts of the configuration that the journal's meaning depends on; an
// operator may keep more or less of it.
var rules = []streams.Rule{
	{Field: "subjects", Of: func(c *jetstream.StreamConfig) any { return c.Subjects }},
	{Field: "retention", Of: func(c *jetstream.StreamConfig) any { return c.Retention }},
	{Field: "discard", Of: func(c *jetstream.StreamConfig) any { return c.Discard }},
	{Field: "max_msgs_per_subject", Of: func(c *jetstream.StreamConfig) any { return max(c.MaxMsgsPerSubject, 0) }},
	{Field: "no_ack", Of: func(c *jetstream.StreamConfig) any { return c.NoAck }},
	{Field: "mirror", Of: func(c *jetstream.StreamConfig) any { return c.Mirror != nil }},
	{Field: "sources", Of: func(c *jetstream.StreamConfig) any { return len(c.Sources) }},
}

// Open makes the stream if it isn't there. One that is there isn't changed: it fails
// with ErrStream if that would be needed.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	if _, err := streams.Open(ctx, cfg.JetStream(), streamConfig(cfg.Replicas), rules, ErrStream); err != nil {
		return nil, err
	}
	return &Journal{cfg: cfg, queues: map[string]*queue{}}, nil
}

func subject(subscription ulid.ULID, sequence uint64) string {
	return subjectPrefix + subscription.String() + "." + strconv.FormatUint(sequence/span, 10)
}

// List gives attempts of a subscription, the last ones first, and at most limit. next,
// unless 0, is the before of the call that goes on; before is 0 for the first. A page
// may have fewer than there are, even none, when a filter passes few: a call reads a
// bounded part of the journal. It fails with the client's errors.
func (j *Journal) List(ctx context.Context, subscription ulid.ULID, f Filter, before uint64, limit int) (page []Attempt, next uint64, err error) {
	stream, err := j.cfg.JetStream().Stream(ctx, streamName)
	if err != nil {
		return nil, 0, err
	}
	filter := subjectPrefix + subscription.String() + ".*"
	if f.Sequence != 0 {
		filter = subject(subscription, f.Sequence)
	}
	state := stream.CachedInfo().State
	if before == 0 {
		before = (state.LastSeq + 1) << placeBits
	}
	high := min((before-1)>>placeBits, state.LastSeq)
	// The server reads forwards only: so windows of the stream are read, from its end. An
	// empty one costs one request, and after one with little the next is twice as wide.
	visited := 0
	for width := uint64(leastWindow); high >= max(state.FirstSeq, 1); {
		low := high - min(width, high) + 1
		window, all, err := between(ctx, stream, filter, low, high)
		switch {
		case err != nil:
			return nil, 0, err
		case !all && low < high:
			width /= 2
			continue
		case len(window) < maxWindow/4:
			width *= 2
		}
		for _, e := range slices.Backward(window) {
			if e.at >= before || !f.passes(&e.Attempt) {
				continue
			}
			if page = append(page, e.Attempt); len(page) >= limit {
				return page, e.at, nil
			}
		}
		high = low - 1
		if visited += len(window); visited >= maxVisited {
			return page, low << placeBits, nil
		}
	}
	return page, 0, nil
}

// entry is an attempt, and its place.
type entry struct {
	Attempt
	at uint64
}

// between gives the attempts of a part of the stream, in order, unless they are more
// than a window.
func between(ctx context.Context, stream jetstream.Stream, filter string, low, high uint64) (window []entry, all bool, err error) {
	for len(window) < maxWindow {
		m, err := stream.GetMsg(ctx, low, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Sequence > high {
			return window, true, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("read the attempts: %w", err)
		}
		together, err := read(m)
		if err != nil {
			return nil, false, err
		}
		for i := range together {
			window = append(window, entry{together[i], m.Sequence<<placeBits | uint64(i)})
		}
		low = m.Sequence + 1
	}
	return window, false, nil
}

func read(m *jetstream.RawStreamMsg) (together []Attempt, err error) {
	if err := json.Unmarshal(m.Data, &together); err != nil {
		return nil, fmt.Errorf("read the attempts: %w", err)
	}
	return together, nil
}

// Delivered gives those of some sequences of events, in order, that an attempt which is
// still known has delivered to a subscription. It fails with the client's errors.
func (j *Journal) Delivered(ctx context.Context, subscription ulid.ULID, sequences []uint64) (map[uint64]bool, error) {
	delivered := map[uint64]bool{}
	if len(sequences) == 0 {
		return delivered, nil
	}
	stream, err := j.cfg.JetStream().Stream(ctx, streamName)
	if err != nil {
		return nil, fmt.Errorf("read the attempts: %w", err)
	}
	known := ""
	for _, sequence := range sequences {
		at := subject(subscription, sequence)
		if at == known {
			continue
		}
		known = at
		if err := addDelivered(ctx, stream, at, delivered); err != nil {
			return nil, err
		}
	}
	return delivered, nil
}

func addDelivered(ctx context.Context, stream jetstream.Stream, subject string, delivered map[uint64]bool) error {
	for from := uint64(1); ; {
		m, err := stream.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the attempts: %w", err)
		}
		together, err := read(m)
		if err != nil {
			return err
		}
		for i := range together {
			if together[i].Class == ClassOK {
				delivered[together[i].Sequence] = true
			}
		}
		from = m.Sequence + 1
	}
}

// Forget removes the attempts of a subscription.
func (j *Journal) Forget(ctx context.Context, subscription ulid.ULID) error {
	stream, err := j.cfg.JetStream().Stream(ctx, streamName)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(subjectPrefix+subscription.String()+".>"))
	}
	return err
}
