package natslog

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// serverSyncs says whether the server must sync every message itself, because
// there is no way to sync everything that it wrote at once.
const serverSyncs = false

// dirSync makes everything that was written to a file system durable.
type dirSync struct {
	// dir stays open as long as the log: syncfs reports to a descriptor the
	// write-back errors that happened since that descriptor was opened (from
	// Linux 5.8 on; before, it reports none).
	dir *os.File
}

func openDirSync(path string) (*dirSync, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the data directory: %w", err)
	}
	return &dirSync{dir: dir}, nil
}

func (d *dirSync) sync() error {
	if err := unix.Syncfs(int(d.dir.Fd())); err != nil {
		return fmt.Errorf("syncfs of %s: %w", d.dir.Name(), err)
	}
	return nil
}

func (d *dirSync) Close() error { return d.dir.Close() }
