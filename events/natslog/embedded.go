package natslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
)

// Defaults of Config.
const (
	DefaultReserve       = 256 << 20
	DefaultAppendTimeout = 5 * time.Second
)

// Config says where and how an embedded log is kept. All but Dir have useful
// zero values.
type Config struct {
	// Dir is the data directory, made if it isn't there. It must be on one
	// local file system.
	Dir string
	// Reserve is how many bytes stay free on the disk: an append that would
	// go below is refused. 0 means DefaultReserve, less than 0 no reserve.
	Reserve int64
	// AppendTimeout bounds the wait for the server's answers to one append,
	// beside the caller's context; a write error on the disk is one reason
	// for an answer that never comes. 0 means DefaultAppendTimeout.
	AppendTimeout time.Duration
	// Listen is the address, host:port, at which the embedded server takes
	// connections of those who read the log with NATS's own clients; empty for
	// none. Nobody is authenticated there, and nobody may publish (see
	// readerMaySend). The server then syncs each event by itself, since
	// these readers see it at once, and a crowd of writers takes longer.
	Listen string
	// Logger takes the embedded server's warnings and errors, its notices
	// (as debug), and what the log has to say of its own. nil means silence.
	Logger *slog.Logger
	// Sync makes durable everything that was written below Dir before the
	// call. An error is final: the log breaks. It is called by one goroutine
	// at a time but for a reopen, which may overlap an append that is about
	// to fail. nil means syncfs of Dir (Linux), and nothing where the server
	// syncs each message itself.
	Sync func() error
}

func (c Config) withDefaults() Config {
	if c.Reserve == 0 {
		c.Reserve = DefaultReserve
	}
	if c.AppendTimeout == 0 {
		c.AppendTimeout = DefaultAppendTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Log is a log on an embedded server. It implements events.Log; everything it
// shows is durable.
//
// A server that has stopped, or that an append failed on, is started anew by
// the next call, which waits for that; so do the calls beside it, and those
// that were under way start again. If that fails, the call gets ErrUnavailable
// and the next one tries again.
type Log struct {
	reader
	cfg   Config
	lock  *DirectoryLock
	syncs io.Closer

	readers *gate // nil: none are taken

	// writer is held through an append. Close takes it first.
	writer sync.Mutex
	// gate is held by whoever starts or stops the server: a mutex whose
	// waiters can give up.
	gate chan struct{}
	// current changes under the gate only. It is never nil once Open has
	// returned, but may be of no use.
	current atomic.Pointer[session]
	// broken is set once, after a failed sync, to an error that wraps
	// ErrBroken.
	broken atomic.Pointer[error]

	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
}

var _ events.Log = (*Log)(nil)

// Open opens the log in cfg.Dir, and makes an empty one if there is none. It
// takes as long as the embedded server needs to read its store.
//
// Errors wrap ErrLocked (the directory is in use), ErrStreamConfig (the stream
// in it is not ours), events.ErrBroken (the disk doesn't sync), or are what the
// operating system said of the directory.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	l, err := open(ctx, cfg.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("opening the log in %s: %w", cfg.Dir, err)
	}
	return l, nil
}

func open(ctx context.Context, cfg Config) (*Log, error) {
	lock, err := LockDirectory(cfg.Dir)
	if err != nil {
		return nil, err
	}
	syncs, err := openDirSync(cfg.Dir)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if cfg.Sync == nil {
		cfg.Sync = syncs.sync
	}
	l := &Log{cfg: cfg, lock: lock, syncs: syncs, gate: make(chan struct{}, 1), closing: make(chan struct{})}
	l.reader = reader{l.session}
	if !lock.inOrder {
		err = forgetIndex(cfg.Dir)
	}
	var s *session
	if err == nil {
		s, err = startSession(ctx, cfg)
	}
	if err != nil {
		return nil, errors.Join(err, l.release())
	}
	l.current.Store(s)
	if cfg.Listen != "" {
		if l.readers, err = openGate(cfg.Listen, l.dialInside, cfg.Logger); err != nil {
			s.stop()
			return nil, errors.Join(err, l.release())
		}
	}
	return l, nil
}

func (l *Log) dialInside(ctx context.Context) (net.Conn, error) {
	s, err := l.session(ctx)
	if err != nil {
		return nil, err
	}
	return s.ns.InProcessConn()
}

// session returns a running server, and starts it anew if it isn't running, or
// suspect.
func (l *Log) session(ctx context.Context) (*session, error) {
	if s := l.current.Load(); s.usable() {
		return s, nil
	}
	select {
	case l.gate <- struct{}{}:
		defer func() { <-l.gate }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the embedded server: %w", ctx.Err())
	}
	select {
	case <-l.closing:
		return nil, errClosed
	default:
	}
	if s := l.current.Load(); s.usable() {
		return s, nil
	}
	return l.reopen(ctx)
}

// reopen replaces the server. The caller holds the gate.
func (l *Log) reopen(ctx context.Context) (*session, error) {
	if b := l.broken.Load(); b != nil {
		return nil, *b
	}
	l.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "starting the embedded server anew")
	l.current.Load().stop()
	// A start that ends with its caller's deadline helps nobody.
	if err := forgetIndex(l.cfg.Dir); err != nil {
		return nil, err
	}
	s, err := startSession(context.WithoutCancel(ctx), l.cfg)
	if errors.Is(err, events.ErrBroken) {
		l.breakDown(ctx, err)
	}
	if err != nil {
		return nil, fmt.Errorf("starting the embedded server anew: %w", err)
	}
	l.current.Store(s)
	return s, nil
}

// breakDown is for a sync that failed: the kernel has forgotten which pages it
// couldn't write, so that a second sync would succeed and prove nothing. err
// wraps ErrBroken.
func (l *Log) breakDown(ctx context.Context, err error) {
	l.broken.CompareAndSwap(nil, &err)
	l.cfg.Logger.LogAttrs(ctx, slog.LevelError, "nothing more is written", slog.Any("error", err))
}

// JetStream gives access to the embedded server, for streams of other things
// than events. It is valid until the server is started anew (see Log); a caller
// whose calls fail asks again.
func (l *Log) JetStream() jetstream.JetStream { return l.current.Load().js }

// URL says where readers connect with NATS's own clients, empty if nowhere.
func (l *Log) URL() string {
	if l.readers == nil {
		return ""
	}
	return "nats://" + l.readers.listener.Addr().String()
}

// Health implements events.Log.
func (l *Log) Health(ctx context.Context) error {
	if err := l.health(ctx); err != nil {
		return fmt.Errorf("health of the log: %w", err)
	}
	return nil
}

func (l *Log) health(ctx context.Context) error {
	if b := l.broken.Load(); b != nil {
		return *b
	}
	s, err := l.session(ctx)
	if err != nil {
		return unavailable("server", err)
	}
	if h := s.ns.Healthz(&server.HealthzOptions{}); h.Error != "" {
		return fmt.Errorf("%w: %s", events.ErrUnavailable, h.Error)
	}
	if _, err := s.stream.Info(ctx); err != nil {
		return unavailable("stream", err)
	}
	return l.checkSpace(0)
}

// checkSpace refuses to write n bytes that would eat into the reserve.
func (l *Log) checkSpace(n int64) error {
	if l.cfg.Reserve < 0 {
		return nil
	}
	free, err := freeSpace(l.cfg.Dir)
	if err != nil {
		return unavailable("looking for space", err)
	}
	if free-n < l.cfg.Reserve {
		return fmt.Errorf("%w: %d bytes are free in %s, and %d are kept in reserve", events.ErrNoSpace, free, l.cfg.Dir, l.cfg.Reserve)
	}
	return nil
}

// Close implements events.Log. It waits for an append under way, which takes
// Config.AppendTimeout and a sync at most.
func (l *Log) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Log) close() error {
	l.writer.Lock()
	defer l.writer.Unlock()
	close(l.closing)
	var err error
	if l.readers != nil {
		err = l.readers.close()
	}
	l.gate <- struct{}{}
	defer func() { <-l.gate }()
	l.current.Load().stop()
	return errors.Join(err, l.note(), l.release())
}

// note writes down that the log was closed in order, so that the next start may
// trust the server's summary, which then is as durable as the messages.
func (l *Log) note() error {
	if l.broken.Load() != nil {
		return nil
	}
	if err := l.cfg.Sync(); err != nil {
		return fmt.Errorf("closing the log: %w", err)
	}
	return l.lock.write(closedInOrder)
}

// release gives the directory back, the lock last.
func (l *Log) release() error {
	if err := errors.Join(l.syncs.Close(), l.lock.Close()); err != nil {
		return fmt.Errorf("closing the data directory: %w", err)
	}
	return nil
}
