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

// takeLock takes the data directory for this process. The lock goes with the
// returned file, and with the process at the latest.
func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data directory can't be written: %w", err)
	}
	if err := lockFile(dir, f); err != nil {
		_ = f.Close() // the refusal counts, and nothing was written
		return nil, err
	}
	return f, nil
}

func lockFile(dir string, f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s, by process %s", ErrLocked, dir, holder(f))
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("the data directory can't be written: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("the data directory can't be written: %w", err)
	}
	return nil
}

// holder reads who holds the lock: the holder may not have written it yet.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 20))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "(unknown)"
}
