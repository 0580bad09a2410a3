//go:build !(linux || darwin || freebsd || dragonfly)

package natslog

import (
	"errors"
	"fmt"
	"runtime"
)

// DirectoryLock keeps a data directory for one process.
type DirectoryLock struct{ inOrder bool }

const closedInOrder = ""

// LockDirectory refuses: without a lock that dies with its process, a data
// directory can't be protected against a second one.
func LockDirectory(dir string) (*DirectoryLock, error) {
	return nil, fmt.Errorf("locking %s: an embedded log on %s is %w; use an external NATS server", dir, runtime.GOOS, errors.ErrUnsupported)
}

func (*DirectoryLock) write(string) error { return errors.ErrUnsupported }

// Close gives the directory back.
func (*DirectoryLock) Close() error { return nil }

func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }
