package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/modelog/modelog/events/natslog/streams"
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

// OpenBoard makes the stream if it isn't there. One that is there isn't changed:
// it fails with ErrStream if that would be needed. js is asked anew for every
// call.
func OpenBoard(ctx context.Context, js func() jetstream.JetStream, replicas int) (*StreamBoard, error) {
	if _, err := streams.Open(ctx, js(), boardConfig(replicas), streams.Lasting, ErrStream); err != nil {
		return nil, err
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
	if streams.Moved(err) {
		return fmt.Errorf("%w: %w", ErrMoved, err)
	}
	return err
}
