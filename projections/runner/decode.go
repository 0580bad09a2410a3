package runner

import (
	"fmt"
	"iter"

	"github.com/modelog/modelog/events"
)

// decodeBatch is how many events are handed over at a time, and decodeAhead how many
// such batches may wait.
const (
	decodeBatch = 256
	decodeAhead = 4
)

// decoded decodes what a log yields, ahead of who applies it, so that two cores have
// something to do. It ends with the log's error, told with what was being done, or
// with an *events.UnreadableError. A loop that leaves it early waits for the log to
// give the event that it is asked for.
func decoded(doing string, stored iter.Seq2[events.Stored, error]) iter.Seq2[events.Event, error] {
	type batch struct {
		events []events.Event
		err    error
	}
	read := func(send func(batch) bool) {
		var b batch
		for s, err := range stored {
			var e events.Event
			if err != nil {
				err = fmt.Errorf("%s: %w", doing, err)
			} else {
				e, err = events.Decode(s)
			}
			if err != nil {
				b.err = err
				break
			}
			if b.events == nil {
				b.events = make([]events.Event, 0, decodeBatch)
			}
			if b.events = append(b.events, e); len(b.events) == decodeBatch {
				if !send(b) {
					return
				}
				b.events = nil
			}
		}
		send(b)
	}
	return func(yield func(events.Event, error) bool) {
		batches, left := make(chan batch, decodeAhead), make(chan struct{})
		go func() {
			defer close(batches)
			read(func(b batch) bool {
				select {
				case batches <- b:
					return true
				case <-left:
					return false
				}
			})
		}()
		defer func() {
			close(left)
			for range batches { // the log is being read until then
			}
		}()
		for b := range batches {
			for _, e := range b.events {
				if !yield(e, nil) {
					return
				}
			}
			if b.err != nil {
				yield(events.Event{}, b.err)
				return
			}
		}
	}
}
