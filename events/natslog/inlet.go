package natslog

import "github.com/nats-io/nats.go"

// inlet is where a cursor's messages come in, and its requests go out.
type inlet struct {
	subject string           // to send messages to
	batches <-chan []message // closed when none will come
	publish func(subject, reply string, body []byte) error
	close   func()
}

// openInlet makes an inlet in which up to room messages can wait.
func (s *session) openInlet(room int) (*inlet, error) {
	subject := s.nc.NewInbox()
	if !s.shared() {
		w, err := dialWire(s.ns, s.own, subject, room)
		if err != nil {
			return nil, err
		}
		return &inlet{subject: subject, batches: w.batches, publish: w.publish, close: w.close}, nil
	}
	batches, closed := make(chan []message, room), make(chan struct{})
	sub, err := s.nc.Subscribe(subject, func(m *nats.Msg) {
		select {
		case batches <- []message{messageOf(m)}:
		case <-closed:
		}
	})
	if err != nil {
		return nil, err
	}
	return &inlet{subject: subject, batches: batches, publish: s.nc.PublishRequest, close: func() {
		close(closed)
		_ = sub.Unsubscribe() // fails on a closed connection only
	}}, nil
}
