package natslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
)

// The headers that make an atomic batch of messages (NATS ADR-50).
const (
	batchIDHeader       = "Nats-Batch-Id"
	batchSequenceHeader = "Nats-Batch-Sequence"
	batchCommitHeader   = "Nats-Batch-Commit"
)

// Error codes of the server that nats.go has no names for.
const (
	errCodeBatchDisabled   jetstream.ErrorCode = 10174
	errCodeBatchNoSequence jetstream.ErrorCode = 10175
	errCodeBatchIncomplete jetstream.ErrorCode = 10176
	errCodeBatchHeader     jetstream.ErrorCode = 10177
	errCodeBatchID         jetstream.ErrorCode = 10179
	errCodeBatchTooLarge   jetstream.ErrorCode = 10199
	errCodeBatchCommit     jetstream.ErrorCode = 10200
	errCodeBatchTooMany    jetstream.ErrorCode = 10210
	errCodeNoResources     jetstream.ErrorCode = 10023
	errCodeSealed          jetstream.ErrorCode = 10109
)

// Append implements events.Log. At most one append is in flight: others may
// append to the same stream, and of a group that is sent without waiting a later
// event could be accepted by accident after an earlier one was refused.
//
// A replicated stream takes the group as one atomic batch, all or nothing. On
// one without replicas a batch is dear, and a disk that fills up can leave a part
// of it behind, so there the events go one by one, each after the answer to the
// one before.
//
// A conflict may come before the event that it comes from can be read, or even
// with one that is never stored, when the leader changes just then.
func (l *RemoteLog) Append(ctx context.Context, expect uint64, group []events.Encoded) error {
	err := l.append(ctx, expect, group)
	if err == nil {
		return nil
	}
	if !errors.Is(err, events.ErrConflict) { // which is daily life here
		l.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "append failed", slog.Uint64("expected", expect), slog.Any("error", err))
	}
	return fmt.Errorf("append after %d: %w", expect, err)
}

func (l *RemoteLog) append(ctx context.Context, expect uint64, group []events.Encoded) error {
	if _, err := checkGroup(group); err != nil {
		return err
	}
	l.writer.Lock()
	defer l.writer.Unlock()
	stored := 0
	for stored < len(group) {
		n := min(len(group)-stored, l.atOnce())
		err := l.store(ctx, expect+uint64(stored), group[stored:stored+n])
		switch {
		case err == nil:
			stored += n
		case !l.learnLimit(err, n):
			return afterPrefix(stored, err)
		}
	}
	return nil
}

// atOnce is how many events the stream takes as one.
func (l *RemoteLog) atOnce() int {
	if l.Replicas() == 1 {
		return 1
	}
	return int(l.maxBatch.Load())
}

// learnLimit takes the servers' refusal of a batch for its length, which an
// operator may have limited below MaxGroupEvents. Nothing of it was written.
func (l *RemoteLog) learnLimit(err error, n int) bool {
	var refusal *refusedError
	if !errors.As(err, &refusal) || refusal.code != errCodeBatchTooLarge || n == 1 {
		return false
	}
	_, said, _ := strings.Cut(refusal.text, "too large: ")
	limit, err := strconv.Atoi(said)
	if err != nil || limit < 1 || limit >= n {
		limit = n / 2
	}
	l.maxBatch.Store(int64(limit))
	return true
}

// afterPrefix is the error of an append that has stored some events already: a
// conflict stays one, and "nothing was written" would be wrong.
func afterPrefix(stored int, err error) error {
	if stored == 0 || errors.Is(err, events.ErrUncertain) {
		return err
	}
	if errors.Is(err, events.ErrConflict) {
		return fmt.Errorf("after %d events of the group: %w", stored, err)
	}
	return fmt.Errorf("%w: %d events of the group were stored: %s", events.ErrUncertain, stored, err.Error())
}

// store appends what travels as one, and waits for the answer.
func (l *RemoteLog) store(ctx context.Context, expect uint64, chunk []events.Encoded) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.AppendTimeout)
	defer cancel()
	s, err := l.session(ctx)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return unavailable("publishing", err)
	}
	l.appends++
	reply := l.inbox + "." + strconv.FormatUint(l.appends, 10)
	if len(chunk) == 1 {
		err = s.publish(&chunk[0], reply, expectation(expect))
	} else {
		err = s.publishBatch(chunk, reply, expect)
	}
	if err != nil {
		return notSent(err)
	}
	last := expect + uint64(len(chunk))
	if err := s.await(ctx, reply, last); err != nil {
		return err
	}
	s.known.advance(last)
	return nil
}

// publishBatch sends an atomic batch. Answers are asked for the first message,
// which may be refused for a reason that the others don't know, and for the last.
// Only the last makes the server store anything.
func (s *session) publishBatch(chunk []events.Encoded, reply string, expect uint64) error {
	id, own := strings.TrimPrefix(reply, nats.InboxPrefix), expectation(expect)
	last := len(chunk) - 1
	for i := range chunk[:last] {
		if err := s.publish(&chunk[i], reply, append(own, batchPlace(id, i+1)...)); err != nil {
			return unavailable("publishing", err)
		}
		if i == 0 {
			own, reply = own[1:], "" // a batch has one expectation
		}
	}
	own = append(append(own, batchPlace(id, last+1)...), events.HeaderField{Name: batchCommitHeader, Value: "1"})
	return s.publish(&chunk[last], nats.InboxPrefix+id, own)
}

// batchPlace makes the headers of a message's place in a batch, from 1.
func batchPlace(id string, place int) []events.HeaderField {
	return []events.HeaderField{{Name: batchIDHeader, Value: id}, {Name: batchSequenceHeader, Value: strconv.Itoa(place)}}
}

// expectation makes the headers of an event that is to be stored after a
// sequence.
func expectation(last uint64) []events.HeaderField {
	return []events.HeaderField{
		{Name: jetstream.ExpectedLastSeqHeader, Value: strconv.FormatUint(last, 10)},
		{Name: jetstream.ExpectedStreamHeader, Value: StreamName},
	}
}

// publish sends one event, with headers beside its own.
func (s *session) publish(e *events.Encoded, reply string, own []events.HeaderField) error {
	header := make(nats.Header, len(e.Header)+len(own))
	for _, f := range e.Header {
		header[f.Name] = []string{f.Value}
	}
	for _, f := range own {
		header[f.Name] = []string{f.Value}
	}
	return s.nc.PublishMsg(&nats.Msg{Subject: e.Subject, Reply: reply, Header: header, Data: e.Data})
}

// notSent is the error of a message that the client didn't take, or of which it
// may have sent a part.
func notSent(err error) error {
	for _, sure := range []error{
		events.ErrUnavailable, nats.ErrConnectionClosed, nats.ErrReconnectBufExceeded,
		nats.ErrConnectionDraining, nats.ErrMaxPayload, nats.ErrHeadersNotSupported,
	} {
		if errors.Is(err, sure) {
			return unavailable("publishing", err)
		}
	}
	return fmt.Errorf("%w: publishing: %w", events.ErrUncertain, err)
}

// await waits for the answer to events of which the newest should be last. Answers
// to other appends, which come late, don't count.
func (s *session) await(ctx context.Context, reply string, last uint64) error {
	for {
		select {
		case m := <-s.acks:
			if m.Subject != reply || len(m.Data) == 0 && m.Header == nil { // the first of a batch was taken
				continue
			}
			answer := messageOf(m)
			return outcome(&answer, last)
		case <-s.gone:
			return fmt.Errorf("%w: the connection was lost", events.ErrUncertain)
		case <-ctx.Done():
			return fmt.Errorf("%w: no answer: %w", events.ErrUncertain, ctx.Err())
		}
	}
}

// outcome reads the answer to events of which the newest should be last.
func outcome(m *message, last uint64) error {
	sequence, err := parseAck(m)
	var refusal *refusedError
	switch {
	case errors.As(err, &refusal) && refusesForSure(refusal):
		return err
	case err != nil:
		return fmt.Errorf("%w: %s", events.ErrUncertain, err.Error())
	case sequence != last:
		return fmt.Errorf("%w: stored as %d instead of %d", events.ErrUncertain, sequence, last)
	}
	return nil
}

// refusesForSure says whether nothing was written. The leader of a replicated
// stream answers with its own word when it couldn't store what its followers may
// have: so only the codes are sure that come before anything is handed to them.
func refusesForSure(refusal *refusedError) bool {
	switch refusal.code {
	case 0,
		jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant,
		errCodeBatchDisabled, errCodeBatchNoSequence, errCodeBatchIncomplete, errCodeBatchHeader, errCodeBatchID,
		errCodeBatchTooLarge, errCodeBatchCommit, errCodeBatchTooMany, errCodeNoResources, errCodeSealed:
		return true
	default:
		return false
	}
}
