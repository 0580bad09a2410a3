package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
)

// replayURL sends events to a receiver, each until it is taken.
type replayURL struct {
	address string
	client  *http.Client
	wait    func(ctx context.Context, d time.Duration) error
}

const (
	receiverTimeout    = 30 * time.Second
	receiverAttempts   = 8
	firstReplayPause   = 250 * time.Millisecond // doubled each time: 32 s in all
	longestReplayPause = time.Minute            // that a receiver may ask for
	cloudEventMedia    = "application/cloudevents+json"
)

func newReplayURL(address string, wait func(context.Context, time.Duration) error) *replayURL {
	return &replayURL{address: address, wait: wait, client: &http.Client{
		Timeout: receiverTimeout,
		// A POST that is sent on becomes a GET without an event.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (*replayURL) lines() bool { return false }

// send sends an event, and again after a pause when the receiver may take it later.
func (t *replayURL) send(ctx context.Context, _ events.Event, shown jsontext.Value) error {
	pause := firstReplayPause
	for attempt := 1; ; attempt++ {
		later, err := t.post(ctx, shown)
		if err == nil {
			return nil
		}
		var refused *refusedError
		if errors.As(err, &refused) || ctx.Err() != nil {
			return err
		}
		if attempt == receiverAttempts {
			return &exitError{handlers.ExitUnavailable, fmt.Errorf("tried %d times: %w", attempt, err)}
		}
		if err := t.wait(ctx, max(pause, later)); err != nil {
			return err
		}
		pause *= 2
	}
}

// refusedError says that a receiver won't take an event, however often it is sent.
type refusedError struct{ status string }

func (e *refusedError) Error() string { return "the receiver refused it: " + e.status }

// post sends an event once. later is for how long the receiver asks to be left alone.
func (t *replayURL) post(ctx context.Context, shown jsontext.Value) (later time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.address, bytes.NewReader(shown))
	if err != nil {
		return 0, usage("--to-url: %v", err)
	}
	request.Header.Set("Content-Type", cloudEventMedia)
	response, err := t.client.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // its text has the URL, perhaps with a secret in it
		}
		return 0, fmt.Errorf("the receiver can't be reached: %w", err)
	}
	defer response.Body.Close()                                       //nolint:errcheck // its text is of no use
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be used again
	switch code := response.StatusCode; {
	case code < http.StatusMultipleChoices:
		return 0, nil
	case code == http.StatusTooManyRequests || code >= http.StatusInternalServerError:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // 0 if it names none
		return min(max(0, time.Duration(seconds)*time.Second), longestReplayPause), fmt.Errorf("the receiver answers %s", response.Status)
	default:
		return 0, &exitError{handlers.ExitRule, &refusedError{response.Status}}
	}
}

func (t *replayURL) finish(_ context.Context, r *replay) error {
	t.client.CloseIdleConnections()
	shown, err := url.Parse(t.address)
	if err != nil {
		return err
	}
	return r.report(shown.Redacted(), "")
}

func (t *replayURL) abort() error {
	t.client.CloseIdleConnections()
	return nil
}
