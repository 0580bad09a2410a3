package natslog

import (
	"context"
	"sync"
	"sync/atomic"
)

// watermark is a sequence up to which a log is known to be durable.
type watermark struct {
	seq   atomic.Uint64
	mu    sync.Mutex
	moved chan struct{} // closed and replaced, under mu, when seq grows
}

func newWatermark(seq uint64) *watermark {
	w := &watermark{moved: make(chan struct{})}
	w.seq.Store(seq)
	return w
}

func (w *watermark) get() uint64 { return w.seq.Load() }

// advance never goes back: on a shared log what was learned first may come last.
func (w *watermark) advance(seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq <= w.get() {
		return
	}
	w.seq.Store(seq)
	close(w.moved)
	w.moved = make(chan struct{})
}

// wait returns the watermark once it has reached seq. It gives up when the
// context ends, or, with errIdle, when gone is closed.
func (w *watermark) wait(ctx context.Context, gone <-chan struct{}, seq uint64) (uint64, error) {
	for {
		w.mu.Lock()
		moved := w.moved
		w.mu.Unlock()
		if at := w.get(); at >= seq {
			return at, nil
		}
		select {
		case <-moved:
		case <-gone:
			return 0, errIdle
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
