// Package streams makes and checks the JetStream streams that modelog keeps: the
// log's own, and those of what is kept beside it, each in a package of its own that
// says what its stream must be like. What several of them must not lose is named once,
// here.
//
// It does not belong here what is on a stream, or what one of them alone asks for.
package streams

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Rule is a part of a stream's configuration that must be as wanted.
type Rule struct {
	Field string // as the server spells it
	Of    func(*jetstream.StreamConfig) any
}

// Ensure returns a stream, made if the server has none of that name. One that is
// there already isn't changed. It fails with the client's errors.
func Ensure(ctx context.Context, js jetstream.JetStream, create jetstream.StreamConfig) (jetstream.Stream, error) {
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

// Check refuses a stream that differs in anything that the rules name. The error
// wraps mismatch and names every difference.
func Check(found, want *jetstream.StreamConfig, rules []Rule, mismatch error) error {
	var differences []string
	for _, rule := range rules {
		if f, w := rule.Of(found), rule.Of(want); !reflect.DeepEqual(f, w) {
			differences = append(differences, fmt.Sprintf("%s is %v, wanted %v", rule.Field, f, w))
		}
	}
	if len(differences) > 0 {
		return fmt.Errorf("%w: %s: %s", mismatch, want.Name, strings.Join(differences, "; "))
	}
	return nil
}

// Open ensures a stream and checks it. It fails like both.
func Open(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, rules []Rule, mismatch error) (jetstream.Stream, error) {
	stream, err := Ensure(ctx, js, want)
	if err != nil {
		return nil, err
	}
	return stream, Check(&stream.CachedInfo().Config, &want, rules, mismatch)
}

// Lasting are the parts of a configuration that could lose the last message of a
// subject.
var Lasting = []Rule{
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

// Erasable are those too that could change a message, or keep one from being erased.
var Erasable = append(slices.Clip(Lasting),
	Rule{"discard_new_per_subject", func(c *jetstream.StreamConfig) any { return c.DiscardNewPerSubject }},
	Rule{"max_msgs_per_subject", func(c *jetstream.StreamConfig) any { return c.MaxMsgsPerSubject }},
	Rule{"deny_delete", func(c *jetstream.StreamConfig) any { return c.DenyDelete }},
	Rule{"republish", func(c *jetstream.StreamConfig) any { return c.RePublish != nil }},
)

// Moved says whether a publish was refused since the stream has moved on: two codes
// mean it.
func Moved(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
