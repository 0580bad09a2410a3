package natslog

import (
	"context"
	"errors"
	"fmt"

	"github.com/modelog/modelog/events"
)

// ErrLocked says that the data directory belongs to another process, or to
// another log of this one. The error that wraps it names the directory and the
// process.
var ErrLocked = errors.New("the data directory is in use")

// ErrStreamConfig says that the stream on the log's server isn't configured as a
// log must be. The error that wraps it names each field, what was found and what
// was wanted.
var ErrStreamConfig = errors.New("the event stream is configured differently")

// ErrServerConfig says that an external NATS server can't hold a log, for its
// version, its limits or its settings. The error that wraps it says which.
var ErrServerConfig = errors.New("the NATS server can't hold a log")

// errClosed is what calls get after Close.
var errClosed = fmt.Errorf("%w: it was closed", events.ErrUnavailable)

// errCursorLost says that a reader's consumer is of no more use, but that another
// one may be. It happens on external servers only.
var errCursorLost = errors.New("the consumer was lost")

// errStopped says that whoever ranges over an iterator has left the loop.
var errStopped = errors.New("the reader stopped")

// unavailable wraps what went wrong while the log was asked for something.
func unavailable(doing string, err error) error {
	if errors.Is(err, events.ErrUnavailable) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w: %w", doing, events.ErrUnavailable, err)
}

// readError is the last error of an iterator: a reader whose context has ended
// wants to hear that, and not what its end did to the connection.
func readError(ctx context.Context, doing string, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	case errors.Is(err, events.ErrMissing):
		return fmt.Errorf("%s: %w", doing, err)
	}
	return unavailable(doing, err)
}
