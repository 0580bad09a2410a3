package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
)

const benchStartTimeout = 30 * time.Second

// command makes a process of this very program, which ends with the context,
// and with this process.
func (b *bench) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.executable, args...)
	// Flags come from the command line alone, so that two benches of one
	// release do the same.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MODELOG_") })
	cmd.SysProcAttr = dieWithParent()
	return cmd
}

// benchServer is a server's process.
type benchServer struct {
	url     string
	past    uint64    // sequence that a GET of the past asks for
	started time.Time // just before the process was
	process *os.Process

	dir    string // of data and log, removed by stop
	cancel context.CancelFunc
	ended  chan struct{} // closed when the process has ended
}

// startServer starts a server on a fresh data directory, and returns when it
// listens. What it logs goes to a file.
func (b *bench) startServer(ctx context.Context, name string, args func(data string) []string) (*benchServer, error) {
	return b.startProgram(ctx, name, func(ctx context.Context, dir string) *exec.Cmd {
		return b.command(ctx, args(filepath.Join(dir, "data"))...)
	}, (*benchServer).listening)
}

// startProgram starts a server in a fresh directory, and returns when it is ready.
func (b *bench) startProgram(
	ctx context.Context, name string, command func(ctx context.Context, dir string) *exec.Cmd, ready func(*benchServer, context.Context) error,
) (*benchServer, error) {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return nil, err
	}
	// What earlier runs left to be written would slow this one down.
	if err := syncOnce(dir); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &benchServer{dir: dir, cancel: cancel, ended: make(chan struct{})}
	if err := s.run(command(ctx, dir)); err != nil {
		cancel()
		return nil, err
	}
	if err := ready(s, ctx); err != nil {
		defer s.stop()
		return nil, fmt.Errorf("start %s: %w%s", name, err, s.lastWords())
	}
	return s, nil
}

// run starts the process.
func (s *benchServer) run(cmd *exec.Cmd) error {
	log, err := os.Create(s.logFile())
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the process has it
	cmd.Stderr = log
	s.started = time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	s.process = cmd.Process
	go func() {
		defer close(s.ended)
		_ = cmd.Wait() // it is killed, or has said why it ended
	}()
	return nil
}

func (s *benchServer) logFile() string { return filepath.Join(s.dir, "server.log") }

// listening waits until the server has logged its URL.
func (s *benchServer) listening(ctx context.Context) error {
	return s.wait(ctx, benchStartTimeout, func() (bool, error) {
		data, err := os.ReadFile(s.logFile())
		s.url = listeningURL(data)
		return s.url != "", err
	})
}

// wait waits for a condition while the process runs.
func (s *benchServer) wait(ctx context.Context, most time.Duration, ready func() (bool, error)) error {
	for time.Since(s.started) < most {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		select {
		case <-s.ended:
			return errors.New("it ended at once")
		default:
		}
		// A long start isn't to be slowed down by those who wait for it.
		if err := sleep(ctx, max(time.Millisecond/2, time.Since(s.started)/200)); err != nil {
			return err
		}
	}
	return fmt.Errorf("it doesn't listen after %v", most)
}

// listeningURL finds the line of a log that says where its server listens.
func listeningURL(log []byte) string {
	for line := range bytes.Lines(log) {
		var entry struct {
			Message string `json:"msg"`
			URL     string `json:"url"`
		}
		if json.Unmarshal(line, &entry) == nil && entry.Message == "listening" {
			return entry.URL
		}
	}
	return ""
}

// lastWords gives the end of the server's log, to follow an error.
func (s *benchServer) lastWords() string {
	const most = 2000
	data, err := os.ReadFile(s.logFile())
	if err != nil || len(data) == 0 {
		return ""
	}
	return "\nits log ends with:\n" + strings.TrimSpace(string(data[max(0, len(data)-most):]))
}

// stop ends the process at once, which harms nothing that is needed any more,
// and removes what it wrote.
func (s *benchServer) stop() {
	s.cancel()
	<-s.ended
	_ = os.RemoveAll(s.dir) // the bench removes what is left
}

// terminate ends the process in order.
func (s *benchServer) terminate() error {
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(benchStartTimeout):
		return fmt.Errorf("the server doesn't end in %v", benchStartTimeout)
	}
}

// load runs the client's process against a server.
func (b *bench) load(ctx context.Context, url string, p benchPoint, past uint64) (result benchResult, err error) {
	err = b.child(ctx, &result, "bench", "load", "--url", url, "--what", p.what, "--connections", strconv.Itoa(p.connections), "--past", strconv.FormatUint(past, 10),
		"--seconds", strconv.FormatFloat(b.cfg.seconds, 'g', -1, 64))
	return result, err
}

// child runs a process of its own that prints its result as JSON.
func (b *bench) child(ctx context.Context, result any, args ...string) error {
	cmd := b.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	what := strings.Join(args[:2], " ")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s failed: %w: %s", what, err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(stdout.Bytes(), result); err != nil {
		return fmt.Errorf("the result of %s: %w", what, err)
	}
	return nil
}

func removeSnapshots(data string) error { return os.RemoveAll(filepath.Join(data, "snapshots")) }
