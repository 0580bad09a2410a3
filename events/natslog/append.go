package natslog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
)

// Append implements events.Log, by group commit: all events are published
// without waiting, each expecting the sequence before its own; when all are
// acknowledged, one sync makes them durable.
//
// A refused event's followers are refused too, since the sequence that they
// expect is never reached. That holds only while nobody else publishes, and
// the group begins at the log's end: with an expectation below the end a later
// event of the group could fit by accident, so that case is refused here.
func (l *Log) Append(ctx context.Context, expect uint64, group []events.Encoded) error {
	if err := l.append(ctx, expect, group); err != nil {
		return fmt.Errorf("append after %d: %w", expect, err)
	}
	return nil
}

func (l *Log) append(ctx context.Context, expect uint64, group []events.Encoded) error {
	size, err := checkGroup(group)
	if err != nil {
		return err
	}
	l.writer.Lock()
	defer l.writer.Unlock()
	if b := l.broken.Load(); b != nil {
		return *b
	}
	s, err := l.session(ctx)
	if errors.Is(err, events.ErrBroken) {
		return err
	}
	if err != nil {
		return unavailable("server", err)
	}
	if last := s.known.get(); last != expect {
		return fmt.Errorf("%w: it ends at %d", events.ErrConflict, last)
	}
	if err := l.checkSpace(int64(size)); err != nil {
		return err
	}
	if err := l.publish(ctx, s, expect, group); err != nil {
		return err
	}
	if err := l.cfg.Sync(); err != nil {
		err = fmt.Errorf("%w: %w", events.ErrBroken, err)
		l.breakDown(ctx, err)
		return err
	}
	s.known.advance(expect + uint64(len(group)))
	return nil
}

// publish stores the group in the page cache. After an error the session is
// suspect.
func (l *Log) publish(ctx context.Context, s *session, expect uint64, group []events.Encoded) error {
	if err := ctx.Err(); err != nil {
		return unavailable("publishing", err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.AppendTimeout)
	defer cancel()
	sent, err := s.wire.publishGroup(expect, group, s.inbox, l.cfg.AppendTimeout)
	if err == nil {
		err = s.confirm(ctx, expect, len(group))
	} else if sent > 0 {
		err = fmt.Errorf("%w: %w", events.ErrUncertain, err)
	} else {
		err = unavailable("publishing", err)
	}
	if err != nil {
		s.suspect.Store(true)
		l.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "append failed", slog.Uint64("expected", expect), slog.Any("error", err))
	}
	return err
}

// confirm waits for the answers to n events after expect. They come in the
// order of the events.
func (s *session) confirm(ctx context.Context, expect uint64, n int) error {
	v := verdict{expect: expect}
	for n > 0 {
		select {
		case batch, ok := <-s.wire.batches:
			if !ok {
				return v.lost(errServerGone)
			}
			for i := range batch {
				v.add(&batch[i])
			}
			n -= len(batch)
		case <-s.gone:
			return v.lost(errServerGone)
		case <-ctx.Done():
			return v.lost(ctx.Err())
		}
	}
	return v.err()
}

// verdict gathers the answers to a group.
type verdict struct {
	expect  uint64
	stored  uint64
	refused error // the first refusal
	odd     error // an answer that can't be
}

func (v *verdict) add(m *message) {
	seq, err := parseAck(m)
	var refusal *refusedError
	switch {
	case errors.As(err, &refusal) && v.refused == nil:
		v.refused = err
	case errors.As(err, &refusal):
	case err != nil:
		v.odd = err
	case v.refused != nil:
		v.odd = fmt.Errorf("event stored as %d after a refusal: %w", seq, v.refused)
	case seq != v.expect+v.stored+1:
		v.odd = fmt.Errorf("event stored as %d instead of %d", seq, v.expect+v.stored+1)
	default:
		v.stored++
	}
}

// lost is the error when a part of the group is known to be stored, or may be.
// It doesn't wrap why: a refusal of a later event would make it a conflict too.
func (v *verdict) lost(why error) error {
	return fmt.Errorf("%w: %d events were acknowledged: %s", events.ErrUncertain, v.stored, why.Error())
}

// err is the error when all answers came, nil if all said yes.
func (v *verdict) err() error {
	switch {
	case v.odd != nil:
		return v.lost(v.odd)
	case v.refused != nil && v.stored > 0:
		return v.lost(v.refused)
	default:
		return v.refused
	}
}

// refusedError is the server's word that it didn't store an event. It wraps
// ErrConflict or ErrUnavailable.
type refusedError struct {
	kind error
	code jetstream.ErrorCode // 0: nobody was there to answer
	text string
}

func (e *refusedError) Error() string { return fmt.Sprintf("%v: %s", e.kind, e.text) }
func (e *refusedError) Unwrap() error { return e.kind }

// pubAck is the server's answer to a publish.
type pubAck struct {
	Stream   string              `json:"stream"`
	Sequence uint64              `json:"seq"`
	Error    *jetstream.APIError `json:"error"`
}

// parseAck reads an answer: the sequence that the event got, a *refusedError,
// or another error if it makes no sense. A server alone gives no answer at all
// when it couldn't write, so every error that it does send means that nothing was
// written; of replicas see refusesForSure.
func parseAck(m *message) (uint64, error) {
	if m.status != "" {
		return 0, &refusedError{events.ErrUnavailable, 0, "the stream doesn't answer, status " + m.status}
	}
	if seq, ok := plainAck(m.data); ok {
		return seq, nil
	}
	var ack pubAck
	if err := json.Unmarshal(m.data, &ack); err != nil {
		return 0, fmt.Errorf("answer %.80q: %w", m.data, err)
	}
	switch {
	case ack.Error == nil && ack.Stream == StreamName && ack.Sequence > 0:
		return ack.Sequence, nil
	case ack.Error == nil:
		return 0, fmt.Errorf("answer %.80q", m.data)
	case ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence,
		ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return 0, &refusedError{events.ErrConflict, ack.Error.ErrorCode, ack.Error.Error()}
	default:
		return 0, &refusedError{events.ErrUnavailable, ack.Error.ErrorCode, ack.Error.Error()}
	}
}

// plainAck reads the one form of an answer that a well server gives to each
// event, which the general way takes twenty times as long for.
func plainAck(data []byte) (uint64, bool) {
	digits, ok := bytes.CutPrefix(data, []byte(`{"stream":"`+StreamName+`","seq":`))
	if !ok {
		return 0, false
	}
	if digits, ok = bytes.CutSuffix(digits, []byte("}")); !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 10, 64)
	return seq, err == nil && seq > 0
}
