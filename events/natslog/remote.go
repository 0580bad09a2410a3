package natslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
)

// MinServerVersion is the first release of the NATS server that stores a group
// as a whole or not at all. On one before AdvisedServerVersion a crash may take
// events that were acknowledged, also where storage is synced.
const (
	MinServerVersion     = "2.12.0"
	AdvisedServerVersion = "2.15.2"
)

const (
	// connectTimeout bounds one attempt to connect to one server.
	connectTimeout = 5 * time.Second
	// reconnectPatience is how long a call waits for a connection that was
	// lost.
	reconnectPatience = 5 * time.Second
	// pingInterval finds a dead connection within three of it.
	pingInterval = 5 * time.Second
	// answerTimeout bounds the wait for an answer that isn't an append's.
	answerTimeout = 5 * time.Second
	// askAgain is how long one question waits before it is asked again.
	askAgain = time.Second
	// leaderPause is the time between two looks for a leader at the start.
	leaderPause = 20 * time.Millisecond
	// clusterReplicas is how many replicas a new log has in a cluster, unless
	// RemoteConfig says otherwise.
	clusterReplicas = 3
	// maxOwnBytes is the most that the headers take which Append adds to an
	// event.
	maxOwnBytes = 1 << 10
)

// RemoteConfig says where a log on external NATS servers is, and how it is made.
// All but URL have useful zero values.
type RemoteConfig struct {
	// URL names one server of the cluster or more, separated by commas.
	URL string
	// Credentials is a file with a JWT and a seed ("creds"). "" means none.
	Credentials string
	// Replicas is how many servers hold the log, if it has to be made: an odd
	// number, 5 at most. 0 means 3 in a cluster and 1 on a server alone.
	Replicas int
	// AppendTimeout bounds the wait for the servers' answer to a group, or to
	// one event of it on a log without replicas, beside the caller's context.
	// 0 means DefaultAppendTimeout.
	AppendTimeout time.Duration
	// Logger takes what the log has to say: lost connections, failed appends,
	// and at every start a warning of what can't be checked. nil means
	// silence.
	Logger *slog.Logger
}

func (c RemoteConfig) withDefaults() RemoteConfig {
	if c.AppendTimeout == 0 {
		c.AppendTimeout = DefaultAppendTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// RemoteLog is a log on external NATS servers, to which other processes may
// append too. It implements events.Log.
//
// A connection that was lost comes back by itself; a call waits for that for a
// few seconds, and then gets ErrUnavailable. Readers go on where they were, also
// when the server that they read from is gone.
type RemoteLog struct {
	reader
	cfg    RemoteConfig
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	known  *watermark

	// writer is held through an append, so that at most one is in flight.
	// Close takes it first.
	writer  sync.Mutex
	inbox   string         // a prefix: every append has an address of its own
	answers chan *nats.Msg // to appends, also late ones
	appends uint64         // under writer: counts the addresses

	// maxBatch is how many events the servers take as one.
	maxBatch atomic.Int64

	mu      sync.Mutex
	current *session      // nil while there is no connection
	up      chan struct{} // closed when current becomes non-nil, and replaced when it becomes nil

	closing   chan struct{}
	closeOnce sync.Once
}

var _ events.Log = (*RemoteLog)(nil)

// Connect opens the log on external NATS servers, and makes an empty one if they
// have none.
//
// Errors wrap ErrServerConfig (a server that can't hold a log), ErrStreamConfig
// (a stream of the log's name is there but not as it must be), or
// events.ErrUnavailable (no connection, or no answer: it may help to try again).
func Connect(ctx context.Context, cfg RemoteConfig) (*RemoteLog, error) {
	l, err := connect(ctx, cfg.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("opening the log on %s: %w", withoutSecrets(cfg.URL), err)
	}
	return l, nil
}

// withoutSecrets leaves passwords and tokens out of URLs that are shown.
func withoutSecrets(urls string) string {
	all := strings.Split(urls, ",")
	for i, one := range all {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil && u.User != nil {
			u.User = url.User("xxxxx")
			all[i] = u.String()
		}
	}
	return strings.Join(all, ",")
}

func connect(ctx context.Context, cfg RemoteConfig) (*RemoteLog, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	nc, err := nats.Connect(cfg.URL, connectOptions(cfg)...)
	if err != nil {
		return nil, unavailable("connecting", err)
	}
	l := &RemoteLog{
		cfg:     cfg,
		nc:      nc,
		inbox:   nc.NewInbox(),
		answers: make(chan *nats.Msg, events.MaxGroupEvents),
		up:      make(chan struct{}),
		closing: make(chan struct{}),
	}
	l.reader = reader{l.session}
	l.maxBatch.Store(events.MaxGroupEvents)
	if err := l.open(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return l, nil
}

func connectOptions(cfg RemoteConfig) []nats.Option {
	options := []nats.Option{
		nats.Name("modelog"),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectBufSize(-1),    // what can't be sent at once is refused, not sent later
		nats.IgnoreAuthErrorAbort(),  // credentials may be renewed
		nats.SkipSubjectValidation(), // checkGroup has done it
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, "connection to NATS", slog.Any("error", err))
		}),
	}
	if cfg.Credentials != "" {
		options = append(options, nats.UserCredentials(cfg.Credentials))
	}
	return options
}

// open checks the servers, finds or makes the stream and looks for its end.
func (l *RemoteLog) open(ctx context.Context) error {
	if err := checkServer(l.nc); err != nil {
		return err
	}
	var err error
	if l.js, err = jetstream.New(l.nc); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	if err := l.findStream(ctx); err != nil {
		return err
	}
	if _, err := l.nc.ChanSubscribe(l.inbox+".*", l.answers); err != nil {
		return unavailable("subscribing", err)
	}
	l.known = newWatermark(0)
	l.watch()
	if err := l.waitForLeader(ctx); err != nil {
		return err
	}
	l.warn(ctx)
	return nil
}

// waitForLeader waits until the stream's leader says where the log ends: a
// stream may be known some time before it has one.
func (l *RemoteLog) waitForLeader(ctx context.Context) error {
	for {
		_, err := l.Last(ctx)
		if err == nil {
			return nil
		}
		pause := time.NewTimer(leaderPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("waiting for the leader of the stream: %w", err)
		}
	}
}

// checkServer refuses a server that a group doesn't fit into.
func checkServer(nc *nats.Conn) error {
	if v := nc.ConnectedServerVersion(); olderThan(v, MinServerVersion) {
		return fmt.Errorf("%w: it is release %q, wanted is %s or later", ErrServerConfig, v, MinServerVersion)
	}
	if most := nc.MaxPayload(); most < events.MaxEventBytes+maxOwnBytes {
		return fmt.Errorf("%w: max_payload is %d, wanted is %d or more", ErrServerConfig, most, events.MaxEventBytes+maxOwnBytes)
	}
	if !nc.HeadersSupported() {
		return fmt.Errorf("%w: it doesn't take headers", ErrServerConfig)
	}
	return nil
}

// olderThan compares releases. What comes after a dash, as in 2.12.0-RC.1,
// doesn't count, and what is no release is older than any.
func olderThan(version, than string) bool {
	version, _, _ = strings.Cut(version, "-")
	v, t := strings.Split(version, "."), strings.Split(than, ".")
	for i := range t {
		if i >= len(v) {
			return true
		}
		have, err := strconv.Atoi(v[i])
		want, _ := strconv.Atoi(t[i]) // one of our constants
		if err != nil || have != want {
			return err != nil || have < want
		}
	}
	return false
}

func (l *RemoteLog) findStream(ctx context.Context) error {
	replicas := l.cfg.Replicas
	if replicas == 0 {
		replicas = 1
		if l.nc.ConnectedClusterName() != "" {
			replicas = clusterReplicas
		}
	}
	stream, err := l.askForStream(ctx, replicas)
	l.stream = stream
	switch {
	case err == nil:
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: no JetStream answers there; is it enabled?", events.ErrUnavailable)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: %w", ErrServerConfig, err)
	case errors.Is(err, ErrStreamConfig):
		return err
	default:
		return unavailable(fmt.Sprintf("%d replicas", replicas), err)
	}
	if found := l.stream.CachedInfo().Config.Replicas; found < l.cfg.Replicas {
		l.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the log has fewer replicas than wanted",
			slog.Int("replicas", found), slog.Int("wanted", replicas))
	}
	return nil
}

// askForStream asks again when no answer comes: a request goes to nobody while a
// leader is elected.
func (l *RemoteLog) askForStream(ctx context.Context, replicas int) (jetstream.Stream, error) {
	for {
		once, cancel := context.WithTimeout(ctx, answerTimeout)
		stream, err := sharedLogStream(once, l.js, replicas)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return stream, err
		}
	}
}

// warn says what stays between a log and its durability, as far as it is known.
func (l *RemoteLog) warn(ctx context.Context) {
	if v := l.nc.ConnectedServerVersion(); olderThan(v, AdvisedServerVersion) {
		l.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "this release of the NATS server has known ways to lose what it acknowledged",
			slog.String("release", v), slog.String("advised", AdvisedServerVersion))
	}
	l.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "modelog can't check that every NATS server syncs what it stores (sync_interval: always), "+
		"without which a power cut takes acknowledged events, nor that nobody else may publish to the log's subjects",
		slog.String("subjects", events.SubjectPrefix+">"), slog.Int("replicas", l.stream.CachedInfo().Config.Replicas))
}

// watch begins the first session, and keeps up with the connection from then on.
func (l *RemoteLog) watch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nc.SetDisconnectErrHandler(func(_ *nats.Conn, err error) { l.disconnected(err) })
	l.nc.SetClosedHandler(func(*nats.Conn) { l.disconnected(nil) })
	l.nc.SetReconnectHandler(func(*nats.Conn) { l.reconnected() })
	if l.nc.IsConnected() {
		l.begin()
	}
}

func (l *RemoteLog) disconnected(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return
	}
	if err != nil {
		l.cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, "the connection to NATS was lost", slog.Any("error", err))
	}
	l.end()
	l.up = make(chan struct{})
}

func (l *RemoteLog) reconnected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slog.String("server", l.nc.ConnectedUrlRedacted())
	if err := checkServer(l.nc); err != nil {
		l.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "connected to a NATS server of another kind", at, slog.Any("error", err))
	} else {
		l.cfg.Logger.LogAttrs(context.Background(), slog.LevelInfo, "connected to NATS again", at)
	}
	l.begin()
}

// begin and end are called under mu.
func (l *RemoteLog) begin() {
	if l.current == nil {
		close(l.up)
	} else {
		l.end()
	}
	l.current = newSession(&session{
		nc: l.nc, js: l.js, stream: l.stream, acks: l.answers, inbox: l.inbox, known: l.known, stall: sharedStall,
	})
}

func (l *RemoteLog) end() {
	l.current.end()
	l.current = nil
}

// session returns the connection, and waits a while for one that was lost.
func (l *RemoteLog) session(ctx context.Context) (*session, error) {
	patience := time.NewTimer(reconnectPatience)
	defer patience.Stop()
	for {
		l.mu.Lock()
		s, up := l.current, l.up
		l.mu.Unlock()
		select {
		case <-l.closing:
			return nil, errClosed
		default:
		}
		if s != nil {
			return s, nil
		}
		select {
		case <-up:
		case <-l.closing:
		case <-patience.C:
			return nil, l.notConnected()
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", l.notConnected(), ctx.Err())
		}
	}
}

func (l *RemoteLog) notConnected() error {
	if err := l.nc.LastError(); err != nil {
		return fmt.Errorf("%w: not connected to NATS: %w", events.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: not connected to NATS", events.ErrUnavailable)
}

// JetStream gives access to the servers, for streams of other things than
// events. It is valid until Close.
func (l *RemoteLog) JetStream() jetstream.JetStream { return l.js }

// Replicas is how many servers hold the log, as it was when it was opened.
func (l *RemoteLog) Replicas() int { return l.stream.CachedInfo().Config.Replicas }

// Health implements events.Log.
func (l *RemoteLog) Health(ctx context.Context) error {
	if err := l.health(ctx); err != nil {
		return fmt.Errorf("health of the log: %w", err)
	}
	return nil
}

func (l *RemoteLog) health(ctx context.Context) error {
	select {
	case <-l.closing:
		return errClosed
	default:
	}
	l.mu.Lock()
	s := l.current
	l.mu.Unlock()
	if s == nil || !l.nc.IsConnected() {
		return l.notConnected()
	}
	info, err := s.info(ctx)
	switch {
	case err == nil:
		return quorum(info.Cluster)
	case s.ended():
		return l.notConnected()
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: the stream %s is gone", events.ErrUnavailable, StreamName)
	default:
		return fmt.Errorf("%w: the stream %s has no leader that answers: %w", events.ErrUnavailable, StreamName, err)
	}
}

// info looks at a stream whose leader answers.
func (s *session) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := s.during(ctx)
	defer cancel()
	ctx, cancelTimeout := context.WithTimeout(ctx, answerTimeout)
	defer cancelTimeout()
	info, err := s.stream.Info(ctx)
	if err == nil {
		_, err = s.last(ctx)
	}
	return info, err
}

// quorum says whether enough replicas are there to take an append.
func quorum(c *jetstream.ClusterInfo) error {
	if c == nil {
		return nil
	}
	all, online := 1, 1
	for _, peer := range c.Replicas {
		all++
		if !peer.Offline {
			online++
		}
	}
	if online <= all/2 {
		return fmt.Errorf("%w: %d of %d replicas of the stream %s are online", events.ErrUnavailable, online, all, StreamName)
	}
	return nil
}

// Close implements events.Log. It waits for an append under way, which takes
// RemoteConfig.AppendTimeout at most, or that for each event on a log without
// replicas.
func (l *RemoteLog) Close() error {
	l.closeOnce.Do(func() {
		close(l.closing)
		l.writer.Lock()
		defer l.writer.Unlock()
		l.nc.Close()
	})
	return nil
}
