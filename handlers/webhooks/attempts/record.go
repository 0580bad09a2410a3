package attempts

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"
)

// queue is there while somebody writes attempts with a subject.
type queue struct{ waiting []*batch }

// batch is what is written next.
type batch struct {
	attempts []*Attempt
	bodies   int           // bytes
	done     chan struct{} // closed when it was written, or wasn't
	err      error
}

// Record writes an attempt down. It fails with the client's errors, or that of the
// context: then it may be written yet.
func (j *Journal) Record(ctx context.Context, a *Attempt) error {
	if len(a.Body) > MaxBody {
		a.Body = a.Body[:MaxBody]
	}
	a.Body = strings.ToValidUTF8(a.Body, "�")
	to := subject(a.Subscription, a.Sequence)
	b := j.enqueue(to, a)
	if b == nil { // nobody is writing there
		err := j.write(ctx, to, []*Attempt{a})
		j.next(to)
		return err
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("record an attempt: %w", ctx.Err())
	}
}

// enqueue gives the batch that an attempt is in, or nil if it is to be written at once.
func (j *Journal) enqueue(to string, a *Attempt) *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	q := j.queues[to]
	if q == nil {
		j.queues[to] = &queue{}
		return nil
	}
	n := len(q.waiting)
	if n == 0 || len(q.waiting[n-1].attempts) == maxTogether || q.waiting[n-1].bodies+len(a.Body) > maxBodies {
		q.waiting = append(q.waiting, &batch{done: make(chan struct{})})
		n++
	}
	b := q.waiting[n-1]
	b.attempts = append(b.attempts, a)
	b.bodies += len(a.Body)
	return b
}

// next has those written that have come meanwhile.
func (j *Journal) next(to string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	q := j.queues[to]
	if len(q.waiting) == 0 {
		delete(j.queues, to)
		return
	}
	b := q.waiting[0]
	q.waiting = q.waiting[1:]
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
		defer cancel()
		b.err = j.write(ctx, to, b.attempts)
		j.next(to)
		close(b.done) // after which nothing of this is left to do
	}()
}

func (j *Journal) write(ctx context.Context, to string, together []*Attempt) error {
	data, err := json.Marshal(together)
	if err != nil {
		return err
	}
	if _, err := j.cfg.JetStream().Publish(ctx, to, data, jetstream.WithExpectStream(streamName)); err != nil {
		return fmt.Errorf("record an attempt: %w", err)
	}
	return nil
}
