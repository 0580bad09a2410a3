package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
	// consumerLife is how long an embedded server keeps a consumer that asks
	// for nothing: a Follow may wait for days. One that is left behind ends
	// with the server, at the latest, since it lives in memory.
	consumerLife = 365 * 24 * time.Hour
	// openTimeout bounds the making of a consumer, which nobody answers while a
	// leader is elected.
	openTimeout = 2 * time.Second
	// deleteTimeout bounds the deletion of a consumer.
	deleteTimeout = 2 * time.Second
)

// An external server may lose a consumer (its one server is stopped) without a
// word, so a reader there asks for signs of life.
const (
	// sharedConsumerLife is long enough for a reader that pauses; one whose
	// consumer is gone makes another.
	sharedConsumerLife = time.Minute
	// heartbeat is how often a consumer that has nothing to give says so, and
	// sharedStall how long a reader waits for that.
	heartbeat   = time.Second
	sharedStall = 2500 * time.Millisecond
	// requestLife is how long a request stands, and requestSigns how many
	// messages two of them bring at most that are no events.
	requestLife  = 30 * time.Second
	requestSigns = 2 * int(requestLife/heartbeat+1)
	// lostLimit is how many times in a row a reader makes another consumer,
	// with pauses that grow to a second: for about ten seconds.
	lostLimit = 15
	lostPause = 20 * time.Millisecond
)

// cursor reads the stream through a pull consumer of its own, made when the
// first event is asked for.
//
// On an embedded server it asks only for what is known to be there, so every wait
// is a short one. On an external one a request stands for a while, and a consumer
// that is lost is replaced.
type cursor struct {
	s           *session
	consumer    string // "": there is none
	inlet       *inlet
	batch       []message // that came, and were not taken yet
	seq         uint64    // the next one
	outstanding uint64    // asked for and not yet here
	losses      int       // consumers lost since the last sign of life
}

func (c *cursor) open(ctx context.Context) error {
	config := jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       c.seq,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: consumerLife,
	}
	if c.s.shared() {
		config.InactiveThreshold = sharedConsumerLife
	}
	making, cancel := c.s.during(ctx)
	defer cancel()
	making, cancelTimeout := context.WithTimeout(making, openTimeout)
	defer cancelTimeout()
	consumer, err := c.s.js.CreateConsumer(making, StreamName, config)
	if err != nil {
		return c.lost("making a consumer", err)
	}
	c.consumer, c.outstanding = consumer.CachedInfo().Name, 0
	c.batch = nil
	if c.inlet, err = c.s.openInlet(readAhead + requestSigns); err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	return nil
}

// close frees the consumer, also of a reader whose context has ended.
func (c *cursor) close(ctx context.Context) {
	name := c.consumer
	c.forget()
	if name == "" || c.s.ended() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	_ = c.s.js.DeleteConsumer(ctx, StreamName, name) // ends by itself at the latest
}

// forget leaves a consumer to its end.
func (c *cursor) forget() {
	if c.inlet != nil {
		c.inlet.close()
	}
	c.consumer, c.inlet = "", nil
}

// next returns the next event. upTo is a sequence that is known to be there, or
// endless.
func (c *cursor) next(ctx context.Context, upTo uint64) (events.Stored, error) {
	for {
		e, err := c.step(ctx, upTo)
		switch {
		case err != nil && !c.replaceable(ctx, err):
			if upTo == endless && errors.Is(err, errCursorLost) && c.s.life.Err() != nil {
				err = errIdle // the consumer told of the server's end before the connection did
			}
			return events.Stored{}, err
		case err == nil:
			c.losses = 0
			if e.Sequence > 0 {
				return e, nil
			}
		}
	}
}

// replaceable says whether another consumer may help, and waits before that.
func (c *cursor) replaceable(ctx context.Context, err error) bool {
	if !errors.Is(err, errCursorLost) || c.losses == lostLimit {
		return false
	}
	c.forget()
	pause := time.NewTimer(min(lostPause<<c.losses, time.Second))
	defer pause.Stop()
	c.losses++
	select {
	case <-pause.C:
		return true
	case <-c.s.gone:
	case <-ctx.Done():
	}
	return false
}

// lost is the error of a consumer that may be replaced, as those of an external
// server may.
func (c *cursor) lost(doing string, err error) error {
	if c.s.shared() {
		return fmt.Errorf("%w: %s: %w", errCursorLost, doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// step takes one message, which may be no event: then the sequence is 0.
func (c *cursor) step(ctx context.Context, upTo uint64) (events.Stored, error) {
	if c.consumer == "" {
		if err := c.open(ctx); err != nil {
			return events.Stored{}, err
		}
	}
	if err := c.request(upTo); err != nil {
		return events.Stored{}, err
	}
	m, err := c.receive(ctx, upTo)
	if err != nil {
		return events.Stored{}, err
	}
	if m.reply == "" {
		return events.Stored{}, c.status(&m)
	}
	return c.accept(ctx, &m)
}

// pullRequest is the body of a request for events. Without an expiry it stands
// until it is fulfilled.
type pullRequest struct {
	Batch     uint64        `json:"batch"`
	MaxBytes  int           `json:"max_bytes"`
	Expires   time.Duration `json:"expires,omitempty"`
	Heartbeat time.Duration `json:"idle_heartbeat,omitempty"`
}

// request keeps up to readAhead events on their way, in two halves.
func (c *cursor) request(upTo uint64) error {
	if c.outstanding > readAhead/2 {
		return nil
	}
	more := min(upTo+1-c.seq-c.outstanding, readAhead/2)
	if more == 0 || upTo == endless && c.outstanding > 0 && len(c.batch)+len(c.inlet.batches) == 0 {
		return nil // one request is enough to wait with
	}
	r := pullRequest{Batch: more, MaxBytes: readAheadBytes / 2}
	if c.s.shared() {
		r.Expires, r.Heartbeat = requestLife, heartbeat
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("asking for events: %w", err)
	}
	if err := c.inlet.publish("$JS.API.CONSUMER.MSG.NEXT."+StreamName+"."+c.consumer, c.inlet.subject, body); err != nil {
		return fmt.Errorf("asking for events: %w", err)
	}
	c.outstanding += more
	return nil
}

func (c *cursor) receive(ctx context.Context, upTo uint64) (message, error) {
	if err := ctx.Err(); err != nil {
		return message{}, err
	}
	if len(c.batch) == 0 {
		if err := c.await(ctx, upTo); err != nil {
			return message{}, err
		}
	}
	m := c.batch[0]
	c.batch = c.batch[1:]
	return m, nil
}

// await waits for the next batch.
func (c *cursor) await(ctx context.Context, upTo uint64) error {
	open := true
	select {
	case c.batch, open = <-c.inlet.batches:
	default:
		stall := time.NewTimer(c.s.stall)
		defer stall.Stop()
		select {
		case c.batch, open = <-c.inlet.batches:
		case <-c.s.gone:
			open = false
		case <-ctx.Done():
			return ctx.Err()
		case <-stall.C:
			return c.stalled(ctx)
		}
	}
	switch {
	case open:
		return nil
	case upTo == endless:
		return errIdle
	default:
		return errServerGone
	}
}

// stalled finds out why an event that is known to be there doesn't come, or no
// sign of life.
func (c *cursor) stalled(ctx context.Context) error {
	silence := fmt.Errorf("nothing came within %v", c.s.stall)
	if c.s.shared() {
		return c.lost("waiting", silence)
	}
	if _, err := c.s.get(ctx, c.seq); err != nil {
		return err
	}
	return fmt.Errorf("event %d: %w", c.seq, silence)
}

// status takes a message that is no event: a sign of life, or a request that
// ends early, when its time is over or its bytes are used up, and says how many
// events it still owed.
func (c *cursor) status(m *message) error {
	code := m.status
	if code == "100" {
		return nil
	}
	owed, err := strconv.ParseUint(m.value("Nats-Pending-Messages"), 10, 64)
	goesOn := code == "408" || code == "409" && m.description != "Server Shutdown"
	if err != nil || owed > c.outstanding || !goesOn {
		return c.lost("waiting", fmt.Errorf("the consumer answered %q %q", code, m.description))
	}
	c.outstanding -= owed
	return nil
}

func (c *cursor) accept(ctx context.Context, m *message) (events.Stored, error) {
	sequence, err := streamSequence(m.reply)
	switch {
	case err != nil:
		return events.Stored{}, fmt.Errorf("sequence of an event: %w", err)
	case sequence > c.seq:
		return events.Stored{}, c.gap(ctx)
	case sequence < c.seq && c.s.shared(): // made while its replica lagged behind
		c.outstanding--
		return events.Stored{}, nil
	case sequence < c.seq:
		return events.Stored{}, missing(c.seq)
	}
	c.seq++
	c.outstanding--
	return stored(sequence, m.subject, m.header, m.data), nil
}

// streamSequence gives the sequence of a message that a consumer delivered. It
// takes it from the usual form of the reply subject,
//
//	$JS.ACK.<stream>.<consumer>.<deliveries>.<stream sequence>.<...>.<...>.<...>
//
// and leaves the rarer ones to the client, which takes everything apart.
func streamSequence(reply string) (uint64, error) {
	rest, usual := reply, strings.Count(reply, ".") == 8
	for range 5 {
		_, rest, _ = strings.Cut(rest, ".")
	}
	if digits, _, _ := strings.Cut(rest, "."); usual && strings.HasPrefix(reply, "$JS.ACK.") {
		return strconv.ParseUint(digits, 10, 64)
	}
	meta, err := (&nats.Msg{Reply: reply, Sub: &nats.Subscription{}}).Metadata()
	if err != nil {
		return 0, err
	}
	return meta.Sequence.Stream, nil
}

// gap finds out why another event came than the next. A server alone would have
// given it; on the way from a cluster it may get lost.
func (c *cursor) gap(ctx context.Context) error {
	if !c.s.shared() {
		return missing(c.seq)
	}
	if _, err := c.s.get(ctx, c.seq); errors.Is(err, events.ErrMissing) {
		return err
	}
	return c.lost("reading", fmt.Errorf("event %d was left out", c.seq))
}
