package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
)

const (
	// readAhead is how many events a reader has under way at most, and
	// readAheadBytes how much memory they may take: a cursor's messages wait
	// in a channel, and the server drops a connection that lags by 64 MiB.
	readAhead      = 8192
	readAheadBytes = 16 << 20
	// readStall is how long an event that is known to be there may take.
	readStall = 10 * time.Second
	// consumerLife is how long the server keeps a consumer that asks for
	// nothing: a Follow may wait for days. One that is left behind ends with
	// the server, at the latest, since it lives in memory.
	consumerLife = 365 * 24 * time.Hour
	// deleteTimeout bounds the deletion of a consumer.
	deleteTimeout = 2 * time.Second
)

// Last implements events.Log. Its answer is durable.
func (l *Log) Last(ctx context.Context) (uint64, error) {
	s, err := l.session(ctx)
	if err != nil {
		return 0, unavailable("end of the log", err)
	}
	return s.durable.get(), nil
}

// Get implements events.Log. A sequence that should be there and isn't gives
// an error that wraps ErrMissing beside ErrNotFound.
func (l *Log) Get(ctx context.Context, sequence uint64) (events.Stored, error) {
	doing := "event " + strconv.FormatUint(sequence, 10)
	for again := true; ; again = false {
		s, err := l.session(ctx)
		if err != nil {
			return events.Stored{}, unavailable(doing, err)
		}
		e, err := s.get(ctx, sequence)
		switch {
		case err == nil:
			return e, nil
		case errors.Is(err, events.ErrNotFound):
			return events.Stored{}, fmt.Errorf("%s: %w", doing, err)
		case !again || ctx.Err() != nil || !s.ended():
			return events.Stored{}, unavailable(doing, err)
		}
	}
}

func (s *session) get(ctx context.Context, sequence uint64) (events.Stored, error) {
	last := s.durable.get()
	if sequence == 0 || sequence > last {
		return events.Stored{}, fmt.Errorf("%w: the log ends at %d", events.ErrNotFound, last)
	}
	m, err := s.stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return events.Stored{}, fmt.Errorf("%w: %w", events.ErrNotFound, missing(sequence))
	}
	if err != nil {
		return events.Stored{}, err
	}
	// A direct get puts its own headers beside those of the message.
	maps.DeleteFunc(m.Header, func(key string, _ []string) bool { return isServerHeader(key) })
	return stored(m.Sequence, m.Subject, m.Header, m.Data), nil
}

// Read implements events.Log. Sequence 0 reads as 1. A range that goes beyond
// the end of the log gives what there is and then ErrMissing.
func (l *Log) Read(ctx context.Context, from, to uint64) iter.Seq2[events.Stored, error] {
	return l.scan(ctx, "reading the log", from, to, func(_ context.Context, s *session, next uint64) (uint64, error) {
		last := s.durable.get()
		if last < next {
			return 0, missing(next)
		}
		return min(last, to), nil
	})
}

// Follow implements events.Log. Sequence 0 reads as 1.
func (l *Log) Follow(ctx context.Context, from uint64) iter.Seq2[events.Stored, error] {
	return l.scan(ctx, "following the log", from, math.MaxUint64, func(ctx context.Context, s *session, next uint64) (uint64, error) {
		return s.durable.wait(ctx, s.gone, next)
	})
}

// reachFunc returns how far a session may be read now, which is at least next.
type reachFunc func(ctx context.Context, s *session, next uint64) (uint64, error)

// scan yields the events from..to. A session that is taken away is replaced by
// the next, unless it didn't get the reader any further, although there was
// something to read, and nor did the one before.
func (l *Log) scan(ctx context.Context, doing string, from, to uint64, reach reachFunc) iter.Seq2[events.Stored, error] {
	return func(yield func(events.Stored, error) bool) {
		next, futile := max(from, 1), false
		for next <= to {
			s, err := l.session(ctx)
			before := next
			if err == nil {
				next, err = s.scan(ctx, next, to, reach, yield)
			}
			if err == nil || errors.Is(err, errStopped) {
				return
			}
			if s == nil || ctx.Err() != nil || !s.ended() || futile {
				yield(events.Stored{}, readError(ctx, doing, err))
				return
			}
			futile = next == before && !errors.Is(err, errIdle)
		}
	}
}

// scan yields next..to and returns the first sequence that it didn't yield. The
// error is errStopped if the reader has left the loop.
func (s *session) scan(ctx context.Context, next, to uint64, reach reachFunc, yield func(events.Stored, error) bool) (uint64, error) {
	var c *cursor
	defer func() { c.close(ctx) }()
	for next <= to {
		upTo, err := reach(ctx, s, next)
		if err != nil {
			return next, err
		}
		if c == nil {
			if c, err = s.newCursor(ctx, next); err != nil {
				return next, err
			}
		}
		for ; next <= upTo; next++ {
			e, err := c.next(ctx, upTo)
			if err != nil {
				return next, err
			}
			if !yield(e, nil) {
				return next + 1, errStopped
			}
		}
	}
	return next, nil
}

// cursor reads the stream through a pull consumer of its own. It asks only for
// what is known to be there, so every wait is a short one.
type cursor struct {
	s           *session
	consumer    string
	sub         *nats.Subscription
	msgs        chan *nats.Msg
	seq         uint64 // the next one
	outstanding uint64 // asked for and not yet here
}

func (s *session) newCursor(ctx context.Context, from uint64) (*cursor, error) {
	consumer, err := s.js.CreateConsumer(ctx, StreamName, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       from,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: consumerLife,
	})
	if err != nil {
		return nil, fmt.Errorf("making a consumer: %w", err)
	}
	c := &cursor{s: s, consumer: consumer.CachedInfo().Name, msgs: make(chan *nats.Msg, readAhead+1), seq: from}
	if c.sub, err = s.nc.ChanSubscribe(s.nc.NewInbox(), c.msgs); err != nil {
		c.close(ctx)
		return nil, fmt.Errorf("subscribing: %w", err)
	}
	return c, nil
}

// close frees the consumer, also of a reader whose context has ended. A nil
// cursor is closed already.
func (c *cursor) close(ctx context.Context) {
	if c == nil || c.s.ended() {
		return
	}
	if c.sub != nil {
		_ = c.sub.Unsubscribe() // fails on a closed connection only
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	_ = c.s.js.DeleteConsumer(ctx, StreamName, c.consumer) // ends with the server at the latest
}

// next returns the next event. upTo is a sequence that is known to be there.
func (c *cursor) next(ctx context.Context, upTo uint64) (events.Stored, error) {
	for {
		if err := c.request(upTo); err != nil {
			return events.Stored{}, err
		}
		m, err := c.receive(ctx)
		if err != nil {
			return events.Stored{}, err
		}
		if m.Reply == "" {
			if err := c.status(m); err != nil {
				return events.Stored{}, err
			}
			continue
		}
		return c.accept(m)
	}
}

// pullRequest is the body of a request for events. Without an expiry it stands
// until it is fulfilled.
type pullRequest struct {
	Batch    uint64 `json:"batch"`
	MaxBytes int    `json:"max_bytes"`
}

// request keeps up to readAhead events on their way, in two halves.
func (c *cursor) request(upTo uint64) error {
	if c.outstanding > readAhead/2 {
		return nil
	}
	more := min(upTo+1-c.seq-c.outstanding, readAhead/2)
	if more == 0 {
		return nil
	}
	body, err := json.Marshal(pullRequest{Batch: more, MaxBytes: readAheadBytes / 2})
	if err != nil {
		return fmt.Errorf("asking for events: %w", err)
	}
	if err := c.s.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+StreamName+"."+c.consumer, c.sub.Subject, body); err != nil {
		return fmt.Errorf("asking for events: %w", err)
	}
	c.outstanding += more
	return nil
}

func (c *cursor) receive(ctx context.Context) (*nats.Msg, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case m := <-c.msgs:
		return m, nil
	default:
	}
	stall := time.NewTimer(c.s.stall)
	defer stall.Stop()
	select {
	case m := <-c.msgs:
		return m, nil
	case <-c.s.gone:
		return nil, errServerGone
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-stall.C:
		return nil, c.stalled(ctx)
	}
}

// stalled finds out why an event that is known to be there doesn't come.
func (c *cursor) stalled(ctx context.Context) error {
	if _, err := c.s.get(ctx, c.seq); err != nil {
		return err
	}
	return fmt.Errorf("event %d didn't come within %v", c.seq, c.s.stall)
}

// status takes a message that is no event: a request ends early when its bytes
// are used up, and says how many events it still owed.
func (c *cursor) status(m *nats.Msg) error {
	owed, err := strconv.ParseUint(m.Header.Get("Nats-Pending-Messages"), 10, 64)
	if err != nil || owed > c.outstanding || m.Header.Get("Status") != "409" {
		return fmt.Errorf("the consumer answered %q %q", m.Header.Get("Status"), m.Header.Get("Description"))
	}
	c.outstanding -= owed
	return nil
}

func (c *cursor) accept(m *nats.Msg) (events.Stored, error) {
	meta, err := m.Metadata()
	if err != nil {
		return events.Stored{}, fmt.Errorf("sequence of an event: %w", err)
	}
	if meta.Sequence.Stream != c.seq {
		return events.Stored{}, missing(c.seq)
	}
	c.seq++
	c.outstanding--
	return stored(meta.Sequence.Stream, m.Subject, m.Header, m.Data), nil
}

func missing(sequence uint64) error {
	return fmt.Errorf("%w: sequence %d", events.ErrMissing, sequence)
}

// stored makes an event of a message, which it takes over. The headers that
// Append has added go.
func stored(sequence uint64, subject string, header nats.Header, data []byte) events.Stored {
	delete(header, jetstream.ExpectedLastSeqHeader)
	delete(header, jetstream.ExpectedStreamHeader)
	if len(header) == 0 {
		header = nil
	}
	return events.Stored{Sequence: sequence, Encoded: events.Encoded{Subject: subject, Header: header, Data: data}}
}
