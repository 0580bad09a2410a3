package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/mlflow"
	"github.com/modelog/modelog/handlers/natspublish"
	"github.com/modelog/modelog/handlers/openlineage"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/modelog/modelog/handlers/verify"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/projections/runner"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// serveConfig is what serve's flags say.
type serveConfig struct {
	data           string
	listen         string
	logLevel       string
	reserve        byteSize
	queue          int
	allowedHosts   []string
	insecureNoAuth bool
	room           func() (done func()) // for a second state, as verify.Config has it; nil for none
	localSources   string               // of MLflow's versions: localAllowed, which it is if empty, or localDenied

	natsListen string // address for native readers, empty for none

	seal sealConfig

	webhooks    webhookConfig
	pace        *webhooks.Pace // of deliveries that fail, nil for the ordinary one
	sendTimeout time.Duration  // of a delivery, 0 for the ordinary one

	nats      string // URL of external servers, empty for the one inside
	natsCreds string
	replicas  int
}

const (
	defaultListen = "127.0.0.1:7670"
	maxQueue      = 1 << 20

	localAllowed = "allow"
	localDenied  = "deny"
)

func (a *app) serveCommand() *cobra.Command {
	cfg := serveConfig{reserve: natslog.DefaultReserve}
	cmd := &cobra.Command{
		Use:     "serve",
		GroupID: "server",
		Short:   "Run a registry",
		Long: `Run a registry: one process with JetStream inside, on a data directory of its
own. It listens on loopback only, since it doesn't authenticate anybody.

Give the data directory a file system of its own: a group of events is made
durable by syncing the whole file system, which waits for the neighbours' writes
too. SIGTERM or an interrupt stops it within 10 s; a crash loses nothing that was
acknowledged.

With --nats-listen NATS clients may read the stream MODELOG_EVENTS there, publish
events with a request to modelog.publish, as over HTTP, and do nothing else. They see
an event as soon as it is stored, so each is then synced by itself, and a crowd of
writers takes longer.

With --nats the log is on external JetStream servers, and several registries may
share it; the data directory then holds snapshots only, and each registry has its
own. The servers' storage must be synced (sync_interval: always), and nobody else
may publish to modelog.events.>.`,
		Example: `  modelog serve
  modelog serve --data /var/lib/modelog --listen 127.0.0.1:7670
  modelog serve --nats nats://n1:4222,nats://n2:4222,nats://n3:4222 --nats-creds modelog.creds`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines := newLogBuffer(a.stderr)
			defer lines.Close()
			logger, err := newLogger(lines, isTerminal(a.stderr), cfg.logLevel)
			if err != nil {
				return err
			}
			if err := cfg.check(); err != nil {
				return err
			}
			memory := startMemory(a.getenv)
			cfg.room = memory.room
			cfg.pace, cfg.sendTimeout = a.pace, a.sendTimeout
			s, err := startServer(cmd.Context(), cfg, logger, a.sync)
			if err != nil {
				return err
			}
			memory.booted()
			defer runtime.KeepAlive(ballast())
			go memory.keep(cmd.Context())
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.data, "data", a.dataDirectory(), "data directory, for this process alone")
	f.StringVar(&cfg.listen, "listen", defaultListen, "address to listen on")
	f.StringVar(&cfg.logLevel, "log-level", "info", "debug, info, warn or error")
	f.Var(&cfg.reserve, "reserve", "free space below which nothing is written any more")
	f.IntVar(&cfg.queue, "queue", 4096, "how many writes may wait before more are refused")
	f.StringSliceVar(&cfg.allowedHosts, "allowed-host", nil, "host names that requests may be made to, beside loopback ones")
	f.StringVar(&cfg.natsListen, "nats-listen", "", "address at which NATS clients may read events and publish them, such as 127.0.0.1:4222")
	f.StringVar(&cfg.nats, "nats", "", "URLs of the JetStream servers that hold the log, instead of the one inside")
	f.StringVar(&cfg.natsCreds, "nats-creds", "", "file with the credentials for --nats")
	f.IntVar(&cfg.replicas, "replicas", 0, "servers that hold a new log, with --nats (default 3 in a cluster, 1 on a server alone)")
	f.StringVar(&cfg.localSources, "mlflow-local-sources", localAllowed, "allow or deny MLflow's versions with files on a local path, which are never opened")
	cfg.seal.flags(f)
	cfg.webhooks.flags(f)
	f.BoolVar(&cfg.insecureNoAuth, "insecure-no-auth", false, "listen beyond loopback although nobody is authenticated")
	return cmd
}

const maxReplicas = 5 // of a stream in JetStream

func (cfg serveConfig) check() error {
	switch {
	case cfg.queue < 1 || cfg.queue > maxQueue:
		return usage("--queue: %d is not a number from 1 to %d", cfg.queue, maxQueue)
	case cfg.localSources != "" && cfg.localSources != localAllowed && cfg.localSources != localDenied:
		return usage("--mlflow-local-sources: %q is not %s or %s", cfg.localSources, localAllowed, localDenied)
	case cfg.nats == "" && (cfg.natsCreds != "" || cfg.replicas != 0):
		return usage("--nats-creds and --replicas go with --nats")
	case cfg.nats != "" && cfg.natsListen != "":
		return usage("--nats-listen goes with the server inside; with --nats readers connect to the servers themselves")
	case cfg.replicas < 0 || cfg.replicas > maxReplicas:
		return usage("--replicas: %d is not a number from 1 to %d", cfg.replicas, maxReplicas)
	}
	return cfg.webhooks.checkDelivery()
}

// newLogger logs as text for people, and as JSON for programs.
func newLogger(w io.Writer, forPeople bool, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usage("--log-level: %q is not debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: l}
	if forPeople {
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return slog.New(slog.NewJSONHandler(w, options)), nil
}

// isTerminal says whether a stream goes to a person, or comes from one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// server is a running registry.
type server struct {
	lock       io.Closer // of a data directory that has no log, nil otherwise
	log        servedLog
	snapshots  *snapshotKeeper
	sweeper    *vaultSweeper
	registrar  *handlers.Registrar
	verifier   *verify.Verifier
	feed       sealFeed
	hub        *fanout.Hub
	deliveries *deliveries
	http       *http.Server
	publishing *natspublish.Service // nil where nobody publishes over NATS
	listener   net.Listener
	logger     *slog.Logger
	failed     chan error // what http.Serve ended with
	madeKey    bool       // the signing key was made for a registry that was being created
}

// servedLog is a log, and the JetStream that the directory of principals is on.
type servedLog interface {
	events.Log
	JetStream() jetstream.JetStream
}

// stopTimeout is how long a stop may take, so that a service manager's 10 s are
// never used up.
const stopTimeout = 8 * time.Second

// requestsTimeout is how much of it requests may take.
const requestsTimeout = 5 * time.Second

// startServer opens the log, follows it, and listens. Requests are served once
// it returns. The data directory belongs to the server until its close.
func startServer(ctx context.Context, cfg serveConfig, logger *slog.Logger, sync func(string) func() error) (*server, error) {
	if err := cfg.checkListen(ctx, logger, "--listen", cfg.listen, "write to the registry"); err != nil {
		return nil, err
	}
	if cfg.natsListen != "" {
		if err := cfg.checkListen(ctx, logger, "--nats-listen", cfg.natsListen, "read all events and publish some"); err != nil {
			return nil, err
		}
	}
	s := &server{logger: logger, failed: make(chan error, 1)}
	if err := s.start(ctx, cfg, sync); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// checkListen refuses addresses beyond loopback, since nobody is authenticated,
// and those that can't be had.
func (cfg serveConfig) checkListen(ctx context.Context, logger *slog.Logger, flag, address, anybodyCould string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usage("%s: %v", flag, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		if !cfg.insecureNoAuth {
			return usage("%s %s is beyond loopback, where anybody could %s; "+
				"listen on 127.0.0.1, or say --insecure-no-auth if something in front of it decides who may", flag, address, anybodyCould)
		}
		logger.LogAttrs(ctx, slog.LevelWarn, "listening beyond loopback without authentication: whoever can reach it can "+anybodyCould, slog.String("listen", address))
	}
	return canListen(ctx, flag, address)
}

func (s *server) start(ctx context.Context, cfg serveConfig, sync func(string) func() error) error {
	if cfg.nats != "" { // the log inside locks the directory itself
		lock, err := natslog.LockDirectory(cfg.data)
		if err != nil {
			return lockedError(err)
		}
		s.lock = lock
	}
	log, replicas, err := cfg.openLog(ctx, s.logger, sync)
	if err != nil {
		return err
	}
	s.log = log
	snapshots, err := runner.OpenSnapshots(filepath.Join(cfg.data, "snapshots"), log, s.logger)
	if err != nil {
		return err
	}
	run, err := snapshots.Restore(ctx)
	if err != nil {
		return err
	}
	newID := newIDs()
	s.hub = fanout.New(fanout.Config{Log: log, Runner: run, Logger: s.logger})
	s.registrar, err = handlers.Start(ctx, handlers.Config{
		Log: log, Runner: run, Shared: cfg.nats != "", Now: time.Now, NewID: newID, Jitter: rand.Float64, Queue: cfg.queue, Logger: s.logger,
		FirstKey: s.firstKey(cfg),
		Landed: func(first uint64, group []events.Encoded) {
			s.feed.landed(first, group)
			s.hub.Landed(first, group)
		},
	})
	if err != nil {
		return err
	}
	s.snapshots = keepSnapshots(ctx, snapshots, run)
	sealer, err := s.startSealer(ctx, cfg, run, replicas)
	if err != nil {
		return err
	}
	s.verifier = verify.New(verify.Config{Log: log, Runner: run, Now: time.Now, Room: cfg.room, Sealed: sealer.Reviewer, Logger: s.logger})
	directory, err := principals.Open(ctx, principals.Config{JetStream: log.JetStream, Replicas: replicas, Now: time.Now, NewID: newID})
	if err != nil {
		return err
	}
	secrets, err := cfg.openVault(ctx, log, replicas)
	if err != nil {
		return err
	}
	s.sweeper = sweepVault(ctx, secrets, log, run, s.logger)
	if s.deliveries, err = cfg.openDeliveries(ctx, log, replicas); err != nil {
		return err
	}
	matchers := &subscription.Cache{}
	s.startDeliveries(cfg, run, secrets, matchers)
	metrics := prometheus.NewRegistry()
	dialect := mlflow.New(mlflow.Config{
		Registrar: s.registrar, Runner: run, Principals: directory, Now: time.Now,
		DenyLocalSources: cfg.localSources == localDenied, Logger: s.logger,
		Vault: secrets, NewID: newID, SinksOverHTTP: cfg.webhooks.allowHTTP, Handshake: s.deliveries.handshake(cfg.webhooks), Sender: s.deliveries.sender,
	})
	lineage := openlineage.New(openlineage.Config{Registrar: s.registrar, Runner: run, Principals: directory, Now: time.Now, Logger: s.logger})
	handler := api.New(api.Config{
		Registrar: s.registrar, Runner: run, Log: log, Principals: directory, Verifier: s.verifier, Hub: s.hub, Sealer: sealer, Now: time.Now, NewID: newID,
		Vault: secrets, Matchers: matchers, SinksOverHTTP: cfg.webhooks.allowHTTP, Handshake: s.deliveries.handshake(cfg.webhooks), Deliveries: s.deliveries.calls(),
		Release: release(), Hosts: cfg.allowedHosts, Logger: s.logger, Metrics: metrics,
		OpenLineage: openlineage.Published, Mounts: slices.Concat(dialect.Mounts(), lineage.Mounts()),
	})
	metrics.MustRegister(slices.Concat(handler.Collectors(), s.registrar.Collectors(), s.verifier.Collectors(), sealer.Collectors(), s.deliveries.engine.Collectors())...)
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if cfg.natsListen != "" || cfg.nats != "" {
		s.publishing = natspublish.Start(natspublish.Config{
			Connection: func() *nats.Conn { return log.JetStream().Conn() }, Handler: handler, Release: release(), Now: time.Now, Logger: s.logger,
		})
	}
	return s.listen(ctx, cfg.listen, handler)
}

// openLog opens the log that is to be served, and says how many servers hold it.
func (cfg serveConfig) openLog(ctx context.Context, logger *slog.Logger, sync func(string) func() error) (servedLog, int, error) {
	if cfg.nats != "" {
		if _, err := os.Stat(cfg.natsCreds); err != nil && cfg.natsCreds != "" {
			return nil, 0, usage("--nats-creds: %v", err)
		}
		log, err := natslog.Connect(ctx, natslog.RemoteConfig{
			URL: cfg.nats, Credentials: cfg.natsCreds, Replicas: cfg.replicas, Logger: logger,
		})
		if err != nil {
			return nil, 0, exitOf(err)
		}
		return log, log.Replicas(), nil
	}
	config := natslog.Config{Dir: cfg.data, Reserve: int64(cfg.reserve), Listen: cfg.natsListen, Logger: logger}
	if cfg.reserve == 0 {
		config.Reserve = -1 // its 0 means the default
	}
	if sync != nil {
		config.Sync = sync(cfg.data)
	}
	log, err := openLog(ctx, config)
	if err == nil && log.URL() != "" {
		logger.LogAttrs(ctx, slog.LevelInfo, "NATS clients may read events and publish them", slog.String("url", log.URL()), slog.String("stream", natslog.StreamName))
	}
	return log, 1, err
}

// exitOf gives the exit code of a log that can't be opened: one that is away may
// be back later, one that isn't as it must be is an error of the set-up.
func exitOf(err error) error {
	if errors.Is(err, events.ErrUnavailable) {
		return &exitError{handlers.ExitUnavailable, err}
	}
	return &exitError{handlers.ExitInvalid, err}
}

// openLog opens the log in a data directory. One that is in use will be free
// again, so that is not an error of the command line.
func openLog(ctx context.Context, cfg natslog.Config) (*natslog.Log, error) {
	log, err := natslog.Open(ctx, cfg)
	return log, lockedError(err)
}

func lockedError(err error) error {
	if errors.Is(err, natslog.ErrLocked) {
		return &exitError{handlers.ExitUnavailable, fmt.Errorf("%w; stop that process first, or name another directory with --data", err)}
	}
	return err
}

// canListen refuses an address that can't be had before a data directory is made
// for nothing. The listener itself is opened last, so that nobody has to wait for
// answers while the log is read.
func canListen(ctx context.Context, flag, address string) error {
	listener, err := openListener(ctx, flag, address)
	if err != nil {
		return err
	}
	return listener.Close()
}

func openListener(ctx context.Context, flag, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &exitError{handlers.ExitUnavailable, fmt.Errorf("%w; stop what runs there, or name another address with %s", err, flag)}
	case err != nil:
		return nil, usage("%s: %v", flag, err)
	}
	return listener, nil
}

// requestTimeout is how long a request may take to come in, its head included: a
// limit of its own for that would be set and taken back for each.
const requestTimeout = 30 * time.Second

func (s *server) listen(ctx context.Context, address string, handler http.Handler) error {
	var err error
	if s.listener, err = openListener(ctx, "--listen", address); err != nil {
		return err
	}
	s.http = &http.Server{
		Handler: handler, ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout,
		WriteTimeout: 90 * time.Second, // a write over MLflow's dialect may take a minute
		IdleTimeout:  2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
	go func() { s.failed <- s.http.Serve(s.listener) }()
	s.logger.LogAttrs(ctx, slog.LevelInfo, "listening", slog.String("url", s.url()), slog.String("release", release()))
	return nil
}

func (s *server) url() string { return "http://" + s.listener.Addr().String() }

// run serves until the context ends or something fails, and closes.
func (s *server) run(ctx context.Context) error {
	var failure error
	select {
	case <-ctx.Done():
		s.logger.LogAttrs(context.WithoutCancel(ctx), slog.LevelInfo, "stopping")
	case err := <-s.failed:
		failure = fmt.Errorf("serve: %w", err)
	case <-s.registrar.Done():
		failure = fmt.Errorf("serve: %w", s.registrar.Err())
	}
	return errors.Join(failure, s.close())
}

// stopPublishing ends what is asked over NATS.
func (s *server) stopPublishing(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestsTimeout)
	defer cancel()
	s.publishing.Stop(ctx)
}

// close stops taking requests, finishes those that were taken, and lets the
// data directory go.
func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	if s.deliveries != nil {
		s.deliveries.begin()
	}
	if s.hub != nil {
		s.hub.Stop() // live streams would never end by themselves
	}
	if s.publishing != nil {
		s.stopPublishing(ctx)
	}
	if s.http != nil {
		errs = append(errs, s.stopHTTP(ctx))
	}
	if s.verifier != nil {
		s.verifier.Stop()
	}
	if s.registrar != nil {
		errs = append(errs, s.registrar.Stop(ctx))
	}
	if s.deliveries != nil {
		s.deliveries.wait(ctx, s.logger)
	}
	if sealer := s.feed.sealer.Load(); sealer != nil {
		sealer.Stop(ctx)
	}
	if s.sweeper != nil {
		s.sweeper.stop()
	}
	if s.snapshots != nil {
		s.snapshots.stop(ctx, s.logger, s.registrar.Err() == nil)
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// snapshotKeeper takes snapshots in the background.
type snapshotKeeper struct {
	snapshots *runner.Snapshots
	run       *runner.Runner
	cancel    context.CancelFunc
	ended     chan struct{}
}

func keepSnapshots(ctx context.Context, snapshots *runner.Snapshots, run *runner.Runner) *snapshotKeeper {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k := &snapshotKeeper{snapshots, run, cancel, make(chan struct{})}
	go func() {
		defer close(k.ended)
		snapshots.Keep(ctx, run)
	}()
	return k
}

// stop takes a last snapshot, if there is time enough and the log is well.
func (k *snapshotKeeper) stop(ctx context.Context, logger *slog.Logger, well bool) {
	k.cancel()
	<-k.ended
	if !well {
		return
	}
	if err := k.snapshots.Take(ctx, k.run); err != nil {
		logger.LogAttrs(ctx, slog.LevelWarn, "no snapshot was taken; the next start takes longer", slog.Any("error", err))
	}
}

// stopHTTP lets the requests under way end. A client that doesn't come to an
// end is cut off, so that it can't keep the log from being closed in order.
func (s *server) stopHTTP(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, requestsTimeout)
	defer cancel()
	err := s.http.Shutdown(patience)
	if errors.Is(err, context.DeadlineExceeded) {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "requests that didn't end in time are cut off")
		err = s.http.Close()
	}
	return err
}

// release names this build.
func release() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which release this is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.stdout, "modelog", release())
			return err
		},
	}
}
