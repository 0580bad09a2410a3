//go:build !(linux || darwin || freebsd || dragonfly)

package natslog

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// takeLock refuses: without a lock that dies with its process, a data directory
// can't be protected against a second one.
func takeLock(dir string) (*os.File, error) {
	return nil, fmt.Errorf("locking %s: an embedded log on %s is %w; use an external NATS server", dir, runtime.GOOS, errors.ErrUnsupported)
}

func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }
