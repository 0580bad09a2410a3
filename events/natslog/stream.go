package natslog

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
)

// StreamName is the name of the stream that holds the events. Nothing else is
// ever published on it.
const StreamName = "MODELOG_EVENTS"

// maxConsumers is how many readers the stream takes at once. The server's own
// default is 1000; readers here live as long as one Read or Follow.
const maxConsumers = 4096

// embeddedStream is the configuration of the event stream on a server of our
// own.
func embeddedStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              StreamName,
		Description:       "The event log of a modelog registry. Only modelog may publish here.",
		Subjects:          []string{events.SubjectPrefix + ">"},
		Retention:         jetstream.LimitsPolicy,
		MaxConsumers:      maxConsumers,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        -1,
		Discard:           jetstream.DiscardNew,
		Storage:           jetstream.FileStorage,
		Replicas:          1,
		Compression:       jetstream.S2Compression,
		// The least that the server takes: events carry no Nats-Msg-Id, and a
		// start reads all messages of the window.
		Duplicates:  100 * time.Millisecond,
		DenyDelete:  true,
		DenyPurge:   true,
		AllowDirect: true,
	}
}

// sharedStream is the configuration of the event stream on servers of others.
func sharedStream(replicas int) jetstream.StreamConfig {
	cfg := embeddedStream()
	cfg.Replicas = replicas
	cfg.AllowAtomicPublish = replicas > 1
	return cfg
}

// streamRules are the parts of the configuration that could lose, change,
// renumber or hide an event. Compression, the number of consumers and the like
// may be what an operator likes.
var streamRules = []struct {
	field string
	of    func(*jetstream.StreamConfig) any
}{
	{"subjects", func(c *jetstream.StreamConfig) any { return c.Subjects }},
	{"retention", func(c *jetstream.StreamConfig) any { return c.Retention }},
	{"storage", func(c *jetstream.StreamConfig) any { return c.Storage }},
	{"num_replicas", func(c *jetstream.StreamConfig) any { return c.Replicas }},
	{"discard", func(c *jetstream.StreamConfig) any { return c.Discard }},
	{"max_msgs", func(c *jetstream.StreamConfig) any { return c.MaxMsgs }},
	{"max_bytes", func(c *jetstream.StreamConfig) any { return c.MaxBytes }},
	{"max_age", func(c *jetstream.StreamConfig) any { return c.MaxAge }},
	{"max_msgs_per_subject", func(c *jetstream.StreamConfig) any { return c.MaxMsgsPerSubject }},
	{"max_msg_size", func(c *jetstream.StreamConfig) any { return c.MaxMsgSize }},
	{"first_seq", func(c *jetstream.StreamConfig) any { return max(c.FirstSeq, 1) }},
	{"no_ack", func(c *jetstream.StreamConfig) any { return c.NoAck }},
	{"sealed", func(c *jetstream.StreamConfig) any { return c.Sealed }},
	{"deny_delete", func(c *jetstream.StreamConfig) any { return c.DenyDelete }},
	{"deny_purge", func(c *jetstream.StreamConfig) any { return c.DenyPurge }},
	{"allow_rollup_hdrs", func(c *jetstream.StreamConfig) any { return c.AllowRollup }},
	{"allow_atomic", func(c *jetstream.StreamConfig) any { return c.AllowAtomicPublish }},
	{"allow_direct", func(c *jetstream.StreamConfig) any { return c.AllowDirect }},
	{"allow_msg_ttl", func(c *jetstream.StreamConfig) any { return c.AllowMsgTTL }},
	{"allow_msg_counter", func(c *jetstream.StreamConfig) any { return c.AllowMsgCounter }},
	{"allow_msg_schedules", func(c *jetstream.StreamConfig) any { return c.AllowMsgSchedules }},
	{"subject_delete_marker_ttl", func(c *jetstream.StreamConfig) any { return c.SubjectDeleteMarkerTTL }},
	{"persist_mode", func(c *jetstream.StreamConfig) any { return c.PersistMode }},
	{"mirror", func(c *jetstream.StreamConfig) any { return c.Mirror != nil }},
	{"sources", func(c *jetstream.StreamConfig) any { return len(c.Sources) }},
	{"subject_transform", func(c *jetstream.StreamConfig) any { return c.SubjectTransform != nil }},
	{"republish", func(c *jetstream.StreamConfig) any { return c.RePublish != nil }},
}

// embeddedLogStream returns the event stream of a server of our own.
func embeddedLogStream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	want := embeddedStream()
	stream, err := ensureStream(ctx, js, want)
	if err != nil {
		return nil, err
	}
	return stream, checkStream(&stream.CachedInfo().Config, &want)
}

// sharedLogStream returns the event stream of servers of others. Once there is
// one, how many replicas it has is the operator's affair.
func sharedLogStream(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.Stream, error) {
	stream, err := ensureStream(ctx, js, sharedStream(replicas))
	if err != nil {
		return nil, err
	}
	found := &stream.CachedInfo().Config
	want := sharedStream(found.Replicas)
	if found.Replicas == 1 {
		want.AllowAtomicPublish = found.AllowAtomicPublish // it isn't used
	}
	return stream, checkStream(found, &want)
}

// ensureStream returns the event stream, made if the server has none. One that
// is there already isn't changed.
func ensureStream(ctx context.Context, js jetstream.JetStream, create jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, create.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, create)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster, with another wish
		stream, err = js.Stream(ctx, create.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", create.Name, err)
	}
	return stream, nil
}

// checkStream refuses a stream that differs in anything that matters. The error
// wraps ErrStreamConfig and names every difference.
func checkStream(found, want *jetstream.StreamConfig) error {
	if diff := streamDifferences(found, want); len(diff) > 0 {
		return fmt.Errorf("%w: %s: %s", ErrStreamConfig, want.Name, strings.Join(diff, "; "))
	}
	return nil
}

func streamDifferences(found, want *jetstream.StreamConfig) []string {
	var diff []string
	for _, rule := range streamRules {
		if f, w := rule.of(found), rule.of(want); !reflect.DeepEqual(f, w) {
			diff = append(diff, fmt.Sprintf("%s is %v, wanted %v", rule.field, f, w))
		}
	}
	return diff
}
