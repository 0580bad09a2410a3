package natslog

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog/streams"
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
var streamRules = []streams.Rule{
	{Field: "subjects", Of: func(c *jetstream.StreamConfig) any { return c.Subjects }},
	{Field: "retention", Of: func(c *jetstream.StreamConfig) any { return c.Retention }},
	{Field: "storage", Of: func(c *jetstream.StreamConfig) any { return c.Storage }},
	{Field: "num_replicas", Of: func(c *jetstream.StreamConfig) any { return c.Replicas }},
	{Field: "discard", Of: func(c *jetstream.StreamConfig) any { return c.Discard }},
	{Field: "max_msgs", Of: func(c *jetstream.StreamConfig) any { return c.MaxMsgs }},
	{Field: "max_bytes", Of: func(c *jetstream.StreamConfig) any { return c.MaxBytes }},
	{Field: "max_age", Of: func(c *jetstream.StreamConfig) any { return c.MaxAge }},
	{Field: "max_msgs_per_subject", Of: func(c *jetstream.StreamConfig) any { return c.MaxMsgsPerSubject }},
	{Field: "max_msg_size", Of: func(c *jetstream.StreamConfig) any { return c.MaxMsgSize }},
	{Field: "first_seq", Of: func(c *jetstream.StreamConfig) any { return max(c.FirstSeq, 1) }},
	{Field: "no_ack", Of: func(c *jetstream.StreamConfig) any { return c.NoAck }},
	{Field: "sealed", Of: func(c *jetstream.StreamConfig) any { return c.Sealed }},
	{Field: "deny_delete", Of: func(c *jetstream.StreamConfig) any { return c.DenyDelete }},
	{Field: "deny_purge", Of: func(c *jetstream.StreamConfig) any { return c.DenyPurge }},
	{Field: "allow_rollup_hdrs", Of: func(c *jetstream.StreamConfig) any { return c.AllowRollup }},
	{Field: "allow_atomic", Of: func(c *jetstream.StreamConfig) any { return c.AllowAtomicPublish }},
	{Field: "allow_direct", Of: func(c *jetstream.StreamConfig) any { return c.AllowDirect }},
	{Field: "allow_msg_ttl", Of: func(c *jetstream.StreamConfig) any { return c.AllowMsgTTL }},
	{Field: "allow_msg_counter", Of: func(c *jetstream.StreamConfig) any { return c.AllowMsgCounter }},
	{Field: "allow_msg_schedules", Of: func(c *jetstream.StreamConfig) any { return c.AllowMsgSchedules }},
	{Field: "subject_delete_marker_ttl", Of: func(c *jetstream.StreamConfig) any { return c.SubjectDeleteMarkerTTL }},
	{Field: "persist_mode", Of: func(c *jetstream.StreamConfig) any { return c.PersistMode }},
	{Field: "mirror", Of: func(c *jetstream.StreamConfig) any { return c.Mirror != nil }},
	{Field: "sources", Of: func(c *jetstream.StreamConfig) any { return len(c.Sources) }},
	{Field: "subject_transform", Of: func(c *jetstream.StreamConfig) any { return c.SubjectTransform != nil }},
	{Field: "republish", Of: func(c *jetstream.StreamConfig) any { return c.RePublish != nil }},
}

// embeddedLogStream returns the event stream of a server of our own.
func embeddedLogStream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	want := embeddedStream()
	stream, err := streams.Ensure(ctx, js, want)
	if err != nil {
		return nil, err
	}
	return stream, streams.Check(&stream.CachedInfo().Config, &want, streamRules, ErrStreamConfig)
}

// sharedLogStream returns the event stream of servers of others. Once there is
// one, how many replicas it has is the operator's affair.
func sharedLogStream(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.Stream, error) {
	stream, err := streams.Ensure(ctx, js, sharedStream(replicas))
	if err != nil {
		return nil, err
	}
	found := &stream.CachedInfo().Config
	want := sharedStream(found.Replicas)
	if found.Replicas == 1 {
		want.AllowAtomicPublish = found.AllowAtomicPublish // it isn't used
	}
	return stream, streams.Check(found, &want, streamRules, ErrStreamConfig)
}
