package main

import (
	"io"
	"sync"
)

// logBuffer writes log lines behind the backs of those who log them: a request
// doesn't wait for its line, and the lines of a crowd become one write. Nothing
// is held back: a line is written as soon as the one before it is. A crash can
// lose the lines of its last moment.
//
// It is safe for concurrent use.
type logBuffer struct {
	to io.Writer

	lock    sync.Mutex
	changed *sync.Cond // of what follows, all guarded by lock
	waiting []byte     // lines that are not yet being written
	closed  bool

	done chan struct{} // closed when the last line is written
}

// maxLogWaiting is how much may wait. Whoever logs more waits too.
const maxLogWaiting = 1 << 20

func newLogBuffer(to io.Writer) *logBuffer {
	b := &logBuffer{to: to, done: make(chan struct{})}
	b.changed = sync.NewCond(&b.lock)
	go b.loop()
	return b
}

// Write takes lines to be written. It never fails: nobody could be told of it.
func (b *logBuffer) Write(lines []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	for len(b.waiting) > maxLogWaiting {
		b.changed.Wait()
	}
	if len(b.waiting) == 0 {
		b.changed.Broadcast()
	}
	b.waiting = append(b.waiting, lines...)
	return len(lines), nil
}

// Close returns when all lines are written. Nobody may write any more.
func (b *logBuffer) Close() {
	b.lock.Lock()
	b.closed = true
	b.changed.Broadcast()
	b.lock.Unlock()
	<-b.done
}

func (b *logBuffer) loop() {
	defer close(b.done)
	var writing []byte
	for {
		b.lock.Lock()
		for len(b.waiting) == 0 && !b.closed {
			b.changed.Wait()
		}
		writing, b.waiting = b.waiting, writing[:0]
		b.changed.Broadcast()
		b.lock.Unlock()
		if len(writing) == 0 {
			return
		}
		_, _ = b.to.Write(writing)
	}
}
