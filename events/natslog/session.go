package natslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
)

// startTimeout bounds the calls of a start but for the server's recovery of its
// store, which takes as long as the log is long (about 1 s for 1 M events).
const startTimeout = 30 * time.Second

// maxPayload is how large a message may be, in bytes.
const maxPayload = 1 << 20

// errServerGone says that the server of a session was shut down, by itself or
// by a reopen, or that the connection to it was lost.
var errServerGone = errors.New("the server is gone")

// errIdle says the same to a reader that had nothing to ask of it.
var errIdle = errors.New("the server is gone, while nothing was to be read")

// session is one uninterrupted time with a server: a run of the embedded one
// with the one connection to it, or a connection to an external one from its
// beginning to its loss. Nothing that was asked of a session is answered by the
// next.
type session struct {
	ns     *server.Server // nil: an external server, where others append too
	own    login          // what ns knows modelog by
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	wire   *wire          // to the embedded server, nil to an external one
	acks   chan *nats.Msg // answers of an external server to publishes
	inbox  string         // where answers come from

	messages      string // directory of the embedded server's block files
	leastInBlocks uint64 // from how many events on they are read

	// known is a sequence that the log holds for sure and durably, with all
	// before it. On an embedded server it also ends what the session shows.
	known *watermark
	// suspect is set when an append failed in a way that may leave messages
	// under way. Only a reopen makes sure that none turns up later.
	suspect atomic.Bool
	// life ends, and gone is closed, when the connection is.
	life context.Context
	gone <-chan struct{}
	end  context.CancelFunc
	// stall is how long a reader waits for an event that is known to be there,
	// or for any sign of its consumer.
	stall time.Duration
}

// newSession begins the life of a session.
func newSession(s *session) *session {
	s.life, s.end = context.WithCancel(context.Background())
	s.gone = s.life.Done()
	return s
}

// during is a context that ends with the session too: the client goes on waiting
// for the answer to what it asked on a connection that is lost.
func (s *session) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// shared says whether other processes append to the log too.
func (s *session) shared() bool { return s.ns == nil }

// startSession starts a server on cfg.Dir, finds or makes the event stream, and
// calls sync before it looks at what the log holds: a process that was killed
// may have left events in the page cache only, and what is visible must be
// durable. An error of sync wraps ErrBroken.
func startSession(ctx context.Context, cfg Config) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	own := newLogin()
	ns, err := startServer(cfg, own)
	if err != nil {
		return nil, err
	}
	s := newSession(&session{ns: ns, own: own, stall: readStall, messages: messagesDirectory(cfg.Dir), leastInBlocks: leastInBlocks})
	if err := s.open(ctx, cfg.Logger, cfg.Sync); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// forgetIndex removes the server's own summary of the event stream, which it
// makes anew from the messages. The server writes the summary without a sync, so
// that a power cut can leave one on the disk that knows of messages which never
// got there: they would be taken for deleted, and the log for damaged. Making it
// anew takes a second or two for a million events, so a log that was closed in
// order keeps it.
func forgetIndex(dir string) error {
	index := filepath.Join(messagesDirectory(dir), "index.db")
	if _, err := os.Stat(index); err != nil {
		return nil //nolint:nilerr // nothing is there, or the server will say why it can't be read
	}
	if err := os.Remove(index); err != nil {
		return fmt.Errorf("the data directory can't be written: %w", err)
	}
	return nil
}

func startServer(cfg Config, own login) (*server.Server, error) {
	options := &server.Options{
		ServerName:             "modelog",
		DontListen:             true,
		NoSigs:                 true,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               cfg.Dir, // the server adds "jetstream"
		SyncAlways:             serverSyncs,
		MaxPayload:             maxPayload,
		JetStreamMaxStore:      1 << 62, // Config.Reserve guards the disk
		JetStreamMaxMemory:     256 << 20,
		JetStreamLimits:        server.JSLimitOpts{DefaultMaxConsumers: maxConsumers},
	}
	if cfg.Listen != "" {
		admitReaders(options, own)
	}
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	bridge := &serverLogger{log: cfg.Logger}
	ns.SetLoggerV2(bridge, false, false, false)
	ns.Start() // returns when JetStream has read its store, or has failed to
	if why := bridge.fatal.Load(); why != nil {
		stopServer(ns)
		return nil, fmt.Errorf("embedded server: %s", *why)
	}
	if !ns.ReadyForConnections(startTimeout) {
		stopServer(ns)
		return nil, fmt.Errorf("embedded server: not ready after %v", startTimeout)
	}
	return ns, nil
}

func (s *session) open(ctx context.Context, log *slog.Logger, sync func() error) error {
	if err := s.connect(log); err != nil {
		return fmt.Errorf("connecting to the embedded server: %w", err)
	}
	var err error
	if s.stream, err = embeddedLogStream(ctx, s.js); err != nil {
		return err
	}
	if err := sync(); err != nil {
		return fmt.Errorf("%w: %w", events.ErrBroken, err)
	}
	info, err := s.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("looking for the end of the log: %w", err)
	}
	s.known = newWatermark(info.State.LastSeq)
	return nil
}

func (s *session) connect(log *slog.Logger) error {
	var err error
	s.nc, err = nats.Connect("",
		nats.InProcessServer(s.ns),
		nats.UserInfo(s.own.User, s.own.Password),
		nats.CustomInboxPrefix(ownInbox),
		nats.Name("modelog"),
		nats.NoReconnect(), // a server that is gone is started anew, by reopen
		nats.ClosedHandler(func(*nats.Conn) { s.end() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.LogAttrs(context.Background(), slog.LevelWarn, "connection to the embedded server", slog.Any("error", err))
		}),
	)
	if err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return err
	}
	s.inbox = s.nc.NewInbox()
	s.wire, err = dialWire(s.ns, s.own, s.inbox, events.MaxGroupEvents)
	return err
}

// usable says whether the session can serve calls.
func (s *session) usable() bool {
	return !s.suspect.Load() && s.ns.Running() && s.ns.JetStreamEnabled() && !s.nc.IsClosed()
}

// ended says whether the session was taken away from the calls on it.
func (s *session) ended() bool {
	return s.life.Err() != nil || s.nc.IsClosed() || !s.shared() && !s.ns.Running()
}

func (s *session) stop() {
	if s.nc != nil {
		s.nc.Close()
	}
	if s.wire != nil {
		s.wire.close()
	}
	s.end()
	stopServer(s.ns)
}

func stopServer(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}
