package natslog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
)

// endless is a sequence that no log reaches.
const endless = math.MaxUint64 - 1

// reader is how a log is read, wherever its server runs.
type reader struct {
	// session returns a server that answers, or waits for one.
	session func(context.Context) (*session, error)
}

// Last implements events.Log. Its answer is durable. On a shared log it is what
// the stream's leader says.
func (r *reader) Last(ctx context.Context) (uint64, error) {
	return ask(ctx, r, "end of the log", func(s *session) (uint64, error) { return s.last(ctx) })
}

// Get implements events.Log. A sequence that should be there and isn't gives
// an error that wraps ErrMissing beside ErrNotFound.
func (r *reader) Get(ctx context.Context, sequence uint64) (events.Stored, error) {
	return ask(ctx, r, "event "+strconv.FormatUint(sequence, 10), func(s *session) (events.Stored, error) {
		return s.get(ctx, sequence)
	})
}

// ask asks a session, and once more if it was taken away meanwhile.
func ask[T any](ctx context.Context, r *reader, doing string, call func(*session) (T, error)) (answer T, err error) {
	for again := true; ; again = false {
		s, err := r.session(ctx)
		if err != nil {
			return answer, unavailable(doing, err)
		}
		answer, err = call(s)
		switch {
		case err == nil:
			return answer, nil
		case errors.Is(err, events.ErrNotFound):
			return answer, fmt.Errorf("%s: %w", doing, err)
		case !again || ctx.Err() != nil || !s.ended():
			return answer, unavailable(doing, err)
		}
	}
}

// last is the sequence of the newest event.
func (s *session) last(ctx context.Context) (uint64, error) {
	if !s.shared() {
		return s.known.get(), nil
	}
	last, err := s.lastOfLeader(ctx)
	if err == nil {
		s.known.advance(last)
	}
	return last, err
}

func (s *session) get(ctx context.Context, sequence uint64) (events.Stored, error) {
	if err := s.checkThere(ctx, sequence); err != nil {
		return events.Stored{}, err
	}
	ctx, cancel := s.during(ctx)
	defer cancel()
	m, err := s.stream.GetMsg(ctx, sequence)
	if s.shared() && errors.Is(err, jetstream.ErrMsgNotFound) {
		m, err = s.getFromLeader(ctx, sequence) // any replica may have answered, also one that lags
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return events.Stored{}, fmt.Errorf("%w: %w", events.ErrNotFound, missing(sequence))
	}
	if err != nil {
		return events.Stored{}, err
	}
	return stored(m.Sequence, m.Subject, fieldsOf(m.Header), m.Data), nil
}

// checkThere finds nothing beyond the end of the log.
func (s *session) checkThere(ctx context.Context, sequence uint64) error {
	if sequence > 0 && sequence <= s.known.get() {
		return nil
	}
	last, err := s.last(ctx)
	if err == nil && (sequence == 0 || sequence > last) {
		err = fmt.Errorf("%w: the log ends at %d", events.ErrNotFound, last)
	}
	return err
}

// Read implements events.Log. Sequence 0 reads as 1. A range that goes beyond
// the end of the log gives what there is and then ErrMissing.
func (r *reader) Read(ctx context.Context, from, to uint64) iter.Seq2[events.Stored, error] {
	return r.scan(ctx, "reading the log", from, to, func(ctx context.Context, s *session, next uint64) (uint64, error) {
		last, err := s.last(ctx)
		if err == nil && last < next {
			err = missing(next)
		}
		return min(last, to), err
	})
}

// Follow implements events.Log. Sequence 0 reads as 1.
func (r *reader) Follow(ctx context.Context, from uint64) iter.Seq2[events.Stored, error] {
	return r.scan(ctx, "following the log", from, math.MaxUint64, func(ctx context.Context, s *session, next uint64) (uint64, error) {
		if s.shared() {
			return endless, nil
		}
		return s.known.wait(ctx, s.gone, next)
	})
}

// reachFunc returns how far a session may be read now, which is at least next.
// endless stands for what isn't there yet.
type reachFunc func(ctx context.Context, s *session, next uint64) (uint64, error)

// scan yields the events from..to. A session that is taken away is replaced by
// the next, unless it didn't get the reader any further, although there was
// something to read, and nor did the one before.
func (r *reader) scan(ctx context.Context, doing string, from, to uint64, reach reachFunc) iter.Seq2[events.Stored, error] {
	return func(yield func(events.Stored, error) bool) {
		next, futile := max(from, 1), false
		for next <= to {
			s, err := r.session(ctx)
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
	c := cursor{s: s, seq: next}
	defer c.close(ctx)
	for next <= to {
		upTo, err := reach(ctx, s, next)
		if err != nil {
			return next, err
		}
		if c.consumer == "" {
			if next, err = s.readBlocks(ctx, next, upTo, yield); err != nil {
				return next, err
			}
			c.seq = next
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

// readBlocks yields what it can of a long stretch from the files of the store.
func (s *session) readBlocks(ctx context.Context, next, upTo uint64, yield func(events.Stored, error) bool) (uint64, error) {
	if s.shared() || next+s.leastInBlocks > upTo {
		return next, nil
	}
	b := blocks{dir: s.messages}
	done := func() error {
		if s.ended() {
			return errServerGone
		}
		return ctx.Err()
	}
	return b.read(done, next, upTo, yield)
}

func missing(sequence uint64) error {
	return fmt.Errorf("%w: sequence %d", events.ErrMissing, sequence)
}

// stored makes an event of a message, whose header it takes over. What Append and
// the server have put beside the event's own headers goes.
func stored(sequence uint64, subject string, header []events.HeaderField, data []byte) events.Stored {
	for len(header) > 0 && isServerHeader(header[0].Name) { // where Append puts them
		header = header[1:]
	}
	header = slices.DeleteFunc(header, func(f events.HeaderField) bool { return isServerHeader(f.Name) })
	if !slices.IsSortedFunc(header, byName) { // nats.go has sent it
		slices.SortStableFunc(header, byName)
	}
	if len(header) == 0 {
		header = nil
	}
	return events.Stored{Sequence: sequence, Encoded: events.Encoded{Subject: subject, Header: header, Data: data}}
}

func byName(a, b events.HeaderField) int { return strings.Compare(a.Name, b.Name) }

// fieldsOf takes the headers that nats.go has read.
func fieldsOf(h nats.Header) []events.HeaderField {
	fields := make([]events.HeaderField, 0, len(h))
	for name, values := range h {
		for _, v := range values {
			fields = append(fields, events.HeaderField{Name: name, Value: v})
		}
	}
	return fields
}
