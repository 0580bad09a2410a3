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
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/projections/runner"
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
}

const (
	defaultListen = "127.0.0.1:7670"
	maxQueue      = 1 << 20
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
acknowledged.`,
		Example: `  modelog serve
  modelog serve --data /var/lib/modelog --listen 127.0.0.1:7670`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines := newLogBuffer(a.stderr)
			defer lines.Close()
			logger, err := newLogger(lines, isTerminal(a.stderr), cfg.logLevel)
			if err != nil {
				return err
			}
			if cfg.queue < 1 || cfg.queue > maxQueue {
				return usage("--queue: %d is not a number from 1 to %d", cfg.queue, maxQueue)
			}
			s, err := startServer(cmd.Context(), cfg, logger, a.sync)
			if err != nil {
				return err
			}
			defer runtime.KeepAlive(ballast())
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
	f.BoolVar(&cfg.insecureNoAuth, "insecure-no-auth", false, "listen beyond loopback although nobody is authenticated")
	return cmd
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

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// server is a running registry.
type server struct {
	log       *natslog.Log
	registrar *handlers.Registrar
	http      *http.Server
	listener  net.Listener
	logger    *slog.Logger
	failed    chan error // what http.Serve ended with
}

// ballast is memory that is never touched, so that it takes none: the garbage
// collector reckons with it, and doesn't run for every few megabytes of requests
// while the registry is small. Measured: 8 to 15 us less CPU a request.
func ballast() []byte { return make([]byte, 128<<20) }

// stopTimeout is how long a stop may take, so that a service manager's 10 s are
// never used up.
const stopTimeout = 8 * time.Second

// requestsTimeout is how much of it requests may take.
const requestsTimeout = 5 * time.Second

// startServer opens the log, follows it, and listens. Requests are served once
// it returns. The data directory belongs to the server until its close.
func startServer(ctx context.Context, cfg serveConfig, logger *slog.Logger, sync func(string) func() error) (*server, error) {
	if err := checkListen(ctx, cfg, logger); err != nil {
		return nil, err
	}
	s := &server{logger: logger, failed: make(chan error, 1)}
	if err := s.start(ctx, cfg, sync); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// checkListen refuses addresses beyond loopback: whoever can reach the server
// can write to the registry.
func checkListen(ctx context.Context, cfg serveConfig, logger *slog.Logger) error {
	host, _, err := net.SplitHostPort(cfg.listen)
	if err != nil {
		return usage("--listen: %v", err)
	}
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) {
		return nil
	}
	if !cfg.insecureNoAuth {
		return usage("--listen %s is beyond loopback, where anybody could write to the registry; "+
			"listen on 127.0.0.1, or say --insecure-no-auth if something in front of it decides who may", cfg.listen)
	}
	logger.LogAttrs(ctx, slog.LevelWarn, "listening beyond loopback without authentication: whoever can reach it can write", slog.String("listen", cfg.listen))
	return nil
}

func (s *server) start(ctx context.Context, cfg serveConfig, sync func(string) func() error) error {
	logConfig := natslog.Config{Dir: cfg.data, Reserve: int64(cfg.reserve), Logger: s.logger}
	if cfg.reserve == 0 {
		logConfig.Reserve = -1 // its 0 means the default
	}
	if sync != nil {
		logConfig.Sync = sync(cfg.data)
	}
	log, err := openLog(ctx, logConfig)
	if err != nil {
		return err
	}
	s.log = log
	run := runner.New(log)
	newID := newIDs()
	s.registrar, err = handlers.Start(ctx, handlers.Config{
		Log: log, Runner: run, Now: time.Now, NewID: newID, Jitter: rand.Float64, Queue: cfg.queue, Logger: s.logger,
	})
	if err != nil {
		return err
	}
	directory, err := principals.Open(ctx, principals.Config{JetStream: log.JetStream, Now: time.Now, NewID: newID})
	if err != nil {
		return err
	}
	metrics := prometheus.NewRegistry()
	handler := api.New(api.Config{
		Registrar: s.registrar, Runner: run, Log: log, Principals: directory, Now: time.Now, NewID: newID,
		Release: release(), Hosts: cfg.allowedHosts, Logger: s.logger, Metrics: metrics,
	})
	metrics.MustRegister(append(handler.Collectors(), s.registrar.Collectors()...)...)
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s.listen(ctx, cfg.listen, handler)
}

// openLog opens the log in a data directory. One that is in use will be free
// again, so that is not an error of the command line.
func openLog(ctx context.Context, cfg natslog.Config) (*natslog.Log, error) {
	log, err := natslog.Open(ctx, cfg)
	if errors.Is(err, natslog.ErrLocked) {
		return nil, &exitError{handlers.ExitUnavailable, fmt.Errorf("%w; stop that process first, or name another directory with --data", err)}
	}
	return log, err
}

func (s *server) listen(ctx context.Context, address string, handler http.Handler) error {
	var err error
	if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", address); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return &exitError{handlers.ExitUnavailable, fmt.Errorf("%w; stop what runs there, or name another address with --listen", err)}
		}
		return usage("--listen: %v", err)
	}
	s.http = &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
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

// close stops taking requests, finishes those that were taken, and lets the
// data directory go.
func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	if s.http != nil {
		errs = append(errs, s.stopHTTP(ctx))
	}
	if s.registrar != nil {
		errs = append(errs, s.registrar.Stop(ctx))
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(errs...)
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
