package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lastOfLeader asks the stream's leader for its newest event. The stream's info
// wouldn't do: for some seconds after a start a replica that only was the leader
// before may give it too, and it may end in the middle of a batch.
func (s *session) lastOfLeader(ctx context.Context) (uint64, error) {
	m, err := s.askLeader(ctx, []byte(`{"last_by_subj":">","no_hdr":true}`))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// getFromLeader asks the stream's leader for an event. The client's own GetMsg
// asks any replica, which may lag behind.
func (s *session) getFromLeader(ctx context.Context, sequence uint64) (*jetstream.RawStreamMsg, error) {
	m, err := s.askLeader(ctx, fmt.Appendf(nil, `{"seq":%d}`, sequence))
	if err != nil {
		return nil, err
	}
	found := &jetstream.RawStreamMsg{Sequence: m.Sequence, Subject: m.Subject, Data: m.Data}
	if len(m.Header) > 0 {
		if found.Header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return nil, fmt.Errorf("headers of event %d: %w", sequence, err)
		}
	}
	return found, nil
}

// leaderAnswer is what a stream's leader says to a request for a message.
type leaderAnswer struct {
	Message *leaderMessage      `json:"message"`
	Error   *jetstream.APIError `json:"error"`
}

type leaderMessage struct {
	Subject  string `json:"subject"`
	Sequence uint64 `json:"seq"`
	Header   []byte `json:"hdrs"`
	Data     []byte `json:"data"`
}

// askLeader asks for a message. The request goes to nobody while a leader is
// elected, so it is made again until the context ends, or answerTimeout is over.
func (s *session) askLeader(ctx context.Context, request []byte) (*leaderMessage, error) {
	ctx, cancel := s.during(ctx)
	defer cancel()
	ctx, cancelTimeout := context.WithTimeout(ctx, answerTimeout)
	defer cancelTimeout()
	for {
		m, err := s.askLeaderOnce(ctx, request)
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return m, err
		}
	}
}

func (s *session) askLeaderOnce(ctx context.Context, request []byte) (*leaderMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	m, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+StreamName, request)
	if err != nil {
		return nil, fmt.Errorf("asking the leader: %w", err)
	}
	var answer leaderAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("answer %.80q: %w", m.Data, err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, jetstream.ErrMsgNotFound
	case answer.Error != nil:
		return nil, answer.Error
	case answer.Message == nil:
		return nil, fmt.Errorf("answer %.80q", m.Data)
	}
	return answer.Message, nil
}
