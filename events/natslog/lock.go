//go:build linux || darwin || freebsd || dragonfly

package natslog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// DirectoryLock keeps a data directory for one process. It goes with the process
// at the latest.
type DirectoryLock struct {
	file *os.File
	// inOrder says that whoever had the directory before closed it in order:
	// everything it wrote was synced after its server had stopped.
	inOrder bool
}

// closedInOrder is what the lock's file says after a close in order. A process
// that holds the lock writes its id there.
const closedInOrder = "closed in order\n"

// LockDirectory takes a data directory, and makes it if it isn't there. The error
// wraps ErrLocked when another process has it.
func LockDirectory(dir string) (*DirectoryLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the data directory can't be made: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data directory can't be written: %w", err)
	}
	l := &DirectoryLock{file: f}
	if err := l.take(dir); err != nil {
		_ = f.Close() // the refusal counts, and nothing was written
		return nil, err
	}
	return l, nil
}

func (l *DirectoryLock) take(dir string) error {
	err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s, by process %s", ErrLocked, dir, holder(l.file))
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", l.file.Name(), err)
	}
	before, err := io.ReadAll(io.LimitReader(l.file, 64))
	if err != nil {
		return fmt.Errorf("the data directory can't be read: %w", err)
	}
	l.inOrder = string(before) == closedInOrder
	return l.write(strconv.Itoa(os.Getpid()) + "\n")
}

// write is durable when it returns: what the file said before is true no more.
func (l *DirectoryLock) write(text string) error {
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("the data directory can't be written: %w", err)
	}
	if _, err := l.file.WriteAt([]byte(text), 0); err != nil {
		return fmt.Errorf("the data directory can't be written: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("the data directory can't be written: %w", err)
	}
	return nil
}

// Close gives the directory back.
func (l *DirectoryLock) Close() error { return l.file.Close() }

// holder reads who holds the lock: the holder may not have written it yet.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 20))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "(unknown)"
}
