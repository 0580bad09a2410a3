package handlers

import (
	"sync"
	"time"
)

// deadlines ends waits that began about the same time together: a timer for each
// request was two hundredths of a registration. It is safe for concurrent use.
type deadlines struct {
	after time.Duration

	mu     sync.Mutex
	newest sharedDeadline // guarded by mu
}

type sharedDeadline struct {
	until  time.Time     // waits that begin by then share it
	passed chan struct{} // closed at the deadline
}

// begin gives what is closed when a wait that begins now has lasted long enough,
// and by a hundredth longer at most.
func (d *deadlines) begin() <-chan struct{} {
	now := time.Now() //nolint:forbidigo // how long a wait lasts is no moment of the registry's
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newest.passed == nil || now.After(d.newest.until) {
		passed, share := make(chan struct{}), d.after/100
		d.newest = sharedDeadline{until: now.Add(share), passed: passed}
		time.AfterFunc(d.after+share, func() { close(passed) })
	}
	return d.newest.passed
}
