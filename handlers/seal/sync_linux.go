package seal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncTiles makes the tiles durable all at once: a sync of each would come in
// between the log's own, many times a second.
func (s *store) syncTiles() error {
	if len(s.unsynced) == 0 {
		return nil
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close()); err != nil {
		return err
	}
	s.unsynced = nil
	return nil
}
