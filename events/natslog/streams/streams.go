// Package streams makes and checks the JetStream streams that modelog keeps: the
// log's own, and those of what is kept beside it, each in a package of its own that
// says what its stream must be like.
//
// It does not belong here what is on a stream, or what may differ of its
// configuration.
package streams

import (
	"context"
	"errors"
	"fmt"
	"reflect"
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

// Moved says whether a publish was refused since the stream has moved on: two codes
// mean it.
func Moved(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
