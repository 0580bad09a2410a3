package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections/runner"
)

// freshRegistry is a registry that is made of the events of another one. Until it is
// whole and durable it grows in a directory of its own within the data directory,
// where no server looks for one; then its parts are moved to their places, the log
// first, by one rename. A process that dies over it leaves a directory behind that
// the next one removes.
type freshRegistry struct {
	data    string // the data directory, which is ours meanwhile
	made    bool   // it wasn't there before
	locked  bool   // it had a LOCK before
	lock    *natslog.DirectoryLock
	grows   string // where it grows
	log     *natslog.Log
	durable atomic.Bool // syncs are real from here on
	rebuild *runner.Rebuild

	last  uint64 // the last event that was appended
	group []events.Encoded
	bytes int
}

// freshPrefix begins the name of the directory in which a registry grows.
const freshPrefix = "unfinished-import-"

// Names within a data directory.
const (
	dataLog       = "jetstream"
	dataSnapshots = "snapshots"
	dataLock      = "LOCK"
)

// newFreshRegistry takes a data directory that has no registry, and makes it if it
// isn't there. Either install or discard ends it.
func newFreshRegistry(ctx context.Context, data string) (f *freshRegistry, err error) {
	if err := mustBeUninitialised(data); err != nil {
		return nil, err
	}
	f = &freshRegistry{data: data, rebuild: runner.NewRebuild(nil, 0)}
	_, err = os.Stat(data)
	f.made = errors.Is(err, fs.ErrNotExist)
	_, err = os.Stat(filepath.Join(data, dataLock))
	f.locked = err == nil
	if f.lock, err = natslog.LockDirectory(data); err != nil {
		if errors.Is(err, natslog.ErrLocked) {
			return nil, lockedError(err)
		}
		return nil, usage("--data: %v", err)
	}
	if err := f.begin(ctx); err != nil {
		return nil, errors.Join(err, f.discard())
	}
	return f, nil
}

// mustBeUninitialised refuses a directory that has a registry, or parts of one.
func mustBeUninitialised(data string) error {
	if _, err := os.Stat(filepath.Join(data, dataLog)); err == nil {
		return &exitError{handlers.ExitConflict, fmt.Errorf("%s holds a registry already, and is left as it is; name a directory without one with --data", data)}
	}
	if entries, err := os.ReadDir(filepath.Join(data, dataSnapshots)); err == nil && len(entries) > 0 {
		return &exitError{handlers.ExitConflict, fmt.Errorf("%s holds snapshots of a registry, and is left as it is; name a directory without one with --data", data)}
	}
	return nil
}

// begin removes what a process that died has left, and opens a log.
func (f *freshRegistry) begin(ctx context.Context) (err error) {
	if err := mustBeUninitialised(f.data); err != nil { // now that nobody else can make one
		return err
	}
	left, err := filepath.Glob(filepath.Join(f.data, freshPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if f.grows, err = os.MkdirTemp(f.data, freshPrefix); err != nil {
		return err
	}
	// Nobody is told anything before the end, so that is soon enough for a sync.
	sync := func() error {
		if !f.durable.Load() {
			return nil
		}
		return syncOnce(f.grows)
	}
	f.log, err = openLog(ctx, natslog.Config{Dir: f.grows, Sync: sync})
	return err
}

// add takes the next event. It fails like runner.Rebuild.Add and events.Log.Append.
func (f *freshRegistry) add(ctx context.Context, e events.Event, encoded events.Encoded) error {
	if err := f.rebuild.Add(ctx, e); err != nil {
		return err
	}
	size := encoded.Size()
	if len(f.group) == events.MaxGroupEvents || f.bytes+size > events.MaxGroupBytes {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.group, f.bytes = append(f.group, encoded), f.bytes+size
	return nil
}

func (f *freshRegistry) flush(ctx context.Context) error {
	if len(f.group) == 0 {
		return nil
	}
	if err := f.log.Append(ctx, f.last, f.group); err != nil {
		return appendError(err)
	}
	f.last += uint64(len(f.group))
	f.group, f.bytes = f.group[:0], 0
	return nil
}

// appendError gives the exit code of an append that failed.
func appendError(err error) error {
	switch {
	case errors.Is(err, events.ErrNoSpace):
		return &exitError{handlers.ExitUnavailable, fmt.Errorf("%w; free some space", err)}
	case errors.Is(err, events.ErrBadGroup):
		return &exitError{handlers.ExitInvalid, err}
	default:
		return err
	}
}

// finish appends the last events, and gives the digest of the state that all of them
// give. Nothing is in place yet.
func (f *freshRegistry) finish(ctx context.Context) (runner.Verdict, error) {
	if err := f.flush(ctx); err != nil {
		return runner.Verdict{}, err
	}
	return f.rebuild.Finish(ctx)
}

// install makes the registry durable, and puts it where a server finds it.
func (f *freshRegistry) install(ctx context.Context) error {
	if err := f.moveIn(ctx); err != nil {
		return errors.Join(err, f.discard())
	}
	return errors.Join(os.RemoveAll(f.grows), f.lock.Close())
}

func (f *freshRegistry) moveIn(ctx context.Context) error {
	// A snapshot spares the first start the replay. It is a cache: no harm without.
	snapshots, err := runner.OpenSnapshots(filepath.Join(f.grows, dataSnapshots), f.log, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := snapshots.Take(ctx, f.rebuild.Runner()); err != nil {
		return err
	}
	f.durable.Store(true)
	if err := f.log.Close(); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(f.data, dataSnapshots)); err != nil { // it is empty
		return err
	}
	// The log comes first: with it there is a registry, without it there is none.
	// The LOCK says that the log was closed in order, and comes last, since
	// whoever opens it now may have the directory.
	for _, part := range []string{dataLog, dataSnapshots, dataLock} {
		if err := os.Rename(filepath.Join(f.grows, part), filepath.Join(f.data, part)); err != nil {
			return err
		}
	}
	return syncDirectory(f.data)
}

// discard removes everything that was written.
func (f *freshRegistry) discard() error {
	var errs []error
	if f.log != nil {
		errs = append(errs, f.log.Close())
	}
	if f.grows != "" {
		errs = append(errs, os.RemoveAll(f.grows))
	}
	if !f.locked {
		errs = append(errs, os.Remove(filepath.Join(f.data, dataLock)))
	}
	if f.made {
		errs = append(errs, os.Remove(f.data))
	}
	return errors.Join(append(errs, f.lock.Close())...)
}

// syncDirectory makes durable what was renamed in a directory.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
