package seal

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	boardStream  = "MODELOG_CHECKPOINTS"
	boardSubject = "modelog.checkpoints.newest"
)

// ErrStream says that the stream of the checkpoints is not as it must be.
var ErrStream = errors.New("the stream of the checkpoints is configured otherwise")

// StreamBoard is the board of those that share a log: a JetStream stream of one
// message, the newest checkpoint. Everybody may know what is on it.
type StreamBoard struct{ jetStream func() jetstream.JetStream }

func boardConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: boardStream, Description: "The newest signed head of the log's tree",
		Subjects: []string{boardSubject}, Storage: jetstream.FileStorage, Replicas: max(replicas, 1),
		MaxMsgsPerSubject: 1, DenyDelete: true, DenyPurge: true, AllowDirect: false,
	}
}

// boardRules are the parts of the configuration that could lose the newest
// checkpoint.
var boardRules = []struct {
	field string
	of    func(*jetstream.StreamConfig) any
}{
	{"subjects", func(c *jetstream.StreamConfig) any { return c.Subjects }},
	{"retention", func(c *jetstream.StreamConfig) any { return c.Retention }},
	{"storage", func(c *jetstream.StreamConfig) any { return c.Storage }},
	{"discard", func(c *jetstream.StreamConfig) any { return c.Discard }},
	{"max_msgs", func(c *jetstream.StreamConfig) any { return max(c.MaxMsgs, 0) }},
	{"max_bytes", func(c *jetstream.StreamConfig) any { return max(c.MaxBytes, 0) }},
	{"max_age", func(c *jetstream.StreamConfig) any { return c.MaxAge }},
	{"no_ack", func(c *jetstream.StreamConfig) any { return c.NoAck }},
	{"sealed", func(c *jetstream.StreamConfig) any { return c.Sealed }},
	{"mirror", func(c *jetstream.StreamConfig) any { return c.Mirror != nil }},
	{"sources", func(c *jetstream.StreamConfig) any { return len(c.Sources) }},
}

// OpenBoard makes the stream if it isn't there. One that is there isn't changed:
// it fails with ErrStream if that would be needed. js is asked anew for every
// call.
func OpenBoard(ctx context.Context, js func() jetstream.JetStream, replicas int) (*StreamBoard, error) {
	want := boardConfig(replicas)
	stream, err := js().Stream(ctx, boardStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js().CreateStream(ctx, want)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster, with another wish
		stream, err = js().Stream(ctx, boardStream)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", boardStream, err)
	}
	var differences []string
	for _, rule := range boardRules {
		if found, want := rule.of(&stream.CachedInfo().Config), rule.of(&want); !reflect.DeepEqual(found, want) {
			differences = append(differences, fmt.Sprintf("%s is %v, wanted %v", rule.field, found, want))
		}
	}
	if len(differences) > 0 {
		return nil, fmt.Errorf("%w: %s: %s", ErrStream, boardStream, strings.Join(differences, "; "))
	}
	return &StreamBoard{js}, nil
}

// Newest asks the stream's leader.
func (b *StreamBoard) Newest(ctx context.Context) (checkpoint []byte, place uint64, err error) {
	stream, err := b.jetStream().Stream(ctx, boardStream)
	if err != nil {
		return nil, 0, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, boardSubject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	return m.Data, m.Sequence, nil
}

// Publish is a compare-and-set.
func (b *StreamBoard) Publish(ctx context.Context, place uint64, checkpoint []byte) error {
	_, err := b.jetStream().Publish(ctx, boardSubject, checkpoint,
		jetstream.WithExpectStream(boardStream), jetstream.WithExpectLastSequencePerSubject(place))
	var api *jetstream.APIError
	if errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return fmt.Errorf("%w: %w", ErrMoved, err)
	}
	return err
}
