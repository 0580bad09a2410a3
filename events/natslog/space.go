//go:build linux || darwin || freebsd || dragonfly

package natslog

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// freeSpace returns the bytes that this process may still write below dir.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // the fields' types differ between systems
}
