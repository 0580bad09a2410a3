package runner

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// A snapshot's file is a line that names its format, the SHA-256 of the event
// that it ends with, the state (projections.WriteSnapshot) and a SHA-256 of all
// that. It is named after the sequence of that event.
const (
	snapshotFormat = "modelog snapshot 1\n"
	snapshotSuffix = ".snapshot"
	asideSuffix    = ".set-aside"
	unfinished     = "unfinished-"
)

const (
	// SnapshotEvery is after how many events Keep takes the next snapshot.
	SnapshotEvery = 100_000
	// keptSnapshots is how many are kept: should the last one be damaged, the
	// one before saves most of a replay.
	keptSnapshots = 2
	// syncEvery bounds what a sync of the log, which waits for the whole file
	// system, finds unwritten.
	syncEvery = 8 << 20
)

// Snapshots is a folder of snapshots of a state, which make its start quick. They
// are a cache: deleting all of them changes nothing else. It is for one
// goroutine.
type Snapshots struct {
	dir    string
	log    events.Log
	logger *slog.Logger
	last   uint64 // sequence of the newest one
}

// OpenSnapshots opens the folder of a log's snapshots, and makes it if it isn't
// there. It fails when the folder can't be written.
func OpenSnapshots(dir string, log events.Log, logger *slog.Logger) (*Snapshots, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the snapshots: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, unfinished+"*"))
	if err != nil {
		return nil, fmt.Errorf("open the snapshots: %w", err)
	}
	for _, name := range left { // of a process that died over it
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("open the snapshots: %w", err)
		}
	}
	return &Snapshots{dir: dir, log: log, logger: logger}, nil
}

// Restore gives a runner that begins at the newest good snapshot, or at the
// beginning of the log without one. A snapshot that is damaged, of another
// release, of another log or ahead of the log is set aside with a warning. It
// fails with the errors of events.Log.Last and Get, and of the folder.
func (s *Snapshots) Restore(ctx context.Context) (*Runner, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(names) {
		state, err := s.load(ctx, name)
		if err == nil {
			s.last = state.Applied()
			return &Runner{log: s.log, state: state, visible: state.Applied()}, nil
		}
		if errors.Is(err, events.ErrUnavailable) || ctx.Err() != nil {
			return nil, err
		}
		s.logger.LogAttrs(ctx, slog.LevelWarn, "a snapshot is set aside; the log is replayed instead",
			slog.String("snapshot", name), slog.Any("error", err))
		if err := os.Rename(name, name+asideSuffix); err != nil {
			return nil, fmt.Errorf("set a snapshot aside: %w", err)
		}
	}
	return New(s.log), nil
}

// NewestSnapshot gives a runner at the newest snapshot in a folder, nil if there is
// none. It changes nothing there. It fails when the snapshot can't be read, or isn't of
// the log; Restore would set it aside.
func NewestSnapshot(ctx context.Context, dir string, log events.Log) (*Runner, error) {
	s := &Snapshots{dir: dir, log: log}
	names, err := s.names()
	if err != nil || len(names) == 0 {
		return nil, err
	}
	newest := names[len(names)-1]
	state, err := s.load(ctx, newest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", newest, err)
	}
	return &Runner{log: log, state: state, visible: state.Applied()}, nil
}

// names lists the snapshots, the oldest first.
func (s *Snapshots) names() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(s.dir, "*"+snapshotSuffix))
	slices.Sort(names)
	return names, err
}

var (
	errNotSnapshot = errors.New("it is not a snapshot that this release reads")
	errDamaged     = errors.New("it is damaged: its checksum is another")
	errOtherLog    = errors.New("it is of another log")
	errAhead       = errors.New("it is ahead of the log, which has lost events or was replaced")
)

func (s *Snapshots) load(ctx context.Context, name string) (*projections.State, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	body, ok := bytes.CutPrefix(data, []byte(snapshotFormat))
	if !ok || len(body) < 2*sha256.Size {
		return nil, errNotSnapshot
	}
	sum := sha256.Sum256(data[:len(data)-sha256.Size])
	if !bytes.Equal(sum[:], data[len(data)-sha256.Size:]) {
		return nil, errDamaged
	}
	state, err := projections.ReadSnapshot(body[sha256.Size : len(body)-sha256.Size])
	if err != nil {
		return nil, err
	}
	if level := state.At(state.Applied()).Registry().Level; level > events.Level {
		return nil, fmt.Errorf("%w: it has level %d, this release reads up to %d", ErrLevel, level, events.Level)
	}
	return state, s.check(ctx, state.Applied(), body[:sha256.Size])
}

// check compares the event that a snapshot ends with, given by its hash, with
// the one on the log.
func (s *Snapshots) check(ctx context.Context, sequence uint64, hash []byte) error {
	last, err := s.log.Last(ctx)
	if err != nil {
		return err
	}
	if last < sequence {
		return fmt.Errorf("%w: it ends at %d, the log at %d", errAhead, sequence, last)
	}
	e, err := s.log.Get(ctx, sequence)
	if err != nil {
		return err
	}
	if sum := e.Sum(); !bytes.Equal(sum[:], hash) {
		return fmt.Errorf("%w: its event %d is not the one that is there", errOtherLog, sequence)
	}
	return nil
}

// Keep takes a snapshot whenever so many events have become visible since the
// last, until the context ends. A snapshot that can't be taken is no harm, and
// logged.
func (s *Snapshots) Keep(ctx context.Context, run *Runner) {
	for {
		if run.Wait(ctx, s.last+SnapshotEvery) != nil {
			return
		}
		err := s.Take(ctx, run)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.last = run.Visible() // try again much later
			s.logger.LogAttrs(ctx, slog.LevelWarn, "no snapshot was taken; the next start takes longer", slog.Any("error", err))
		}
	}
}

// Take takes a snapshot of what is visible, and removes the oldest ones. It does
// nothing when the newest one is of the same sequence. It fails with the errors
// of the log and of the folder, and with the context's; what is unfinished is
// removed.
func (s *Snapshots) Take(ctx context.Context, run *Runner) error {
	sequence := run.Visible()
	if sequence == s.last || sequence == 0 {
		return nil
	}
	if err := s.log.Health(ctx); errors.Is(err, events.ErrNoSpace) {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	last, err := s.log.Get(ctx, sequence)
	if err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	f, err := os.CreateTemp(s.dir, unfinished)
	if err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	err = write(ctx, f, run.state, sequence, last.Sum())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, fmt.Sprintf("%020d%s", sequence, snapshotSuffix)))
	}
	if err != nil {
		return fmt.Errorf("take a snapshot: %w", errors.Join(err, discard(f.Name())))
	}
	s.last = sequence
	return s.prune()
}

func discard(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func write(ctx context.Context, f *os.File, state *projections.State, sequence uint64, last [sha256.Size]byte) error {
	sum := sha256.New()
	w := bufio.NewWriterSize(&syncedWriter{file: f, sum: sum}, 1<<20)
	if _, err := io.WriteString(w, snapshotFormat); err != nil {
		return err
	}
	if _, err := w.Write(last[:]); err != nil {
		return err
	}
	if err := state.WriteSnapshot(ctx, w, sequence); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if _, err := f.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return f.Sync()
}

// syncedWriter hashes what it writes, and syncs now and then.
type syncedWriter struct {
	file     *os.File
	sum      hash.Hash
	unsynced int
}

func (w *syncedWriter) Write(p []byte) (int, error) {
	w.sum.Write(p)
	n, err := w.file.Write(p)
	if w.unsynced += n; err == nil && w.unsynced >= syncEvery {
		w.unsynced, err = 0, w.file.Sync()
	}
	return n, err
}

// prune removes all but the newest snapshots, and all but the newest that was set
// aside.
func (s *Snapshots) prune() error {
	names, err := s.names()
	if err != nil {
		return err
	}
	aside, err := filepath.Glob(filepath.Join(s.dir, "*"+asideSuffix))
	if err != nil {
		return err
	}
	slices.Sort(aside)
	names = names[:max(0, len(names)-keptSnapshots)]
	for _, name := range append(names, aside[:max(0, len(aside)-1)]...) {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("remove an old snapshot: %w", err)
		}
	}
	return nil
}
