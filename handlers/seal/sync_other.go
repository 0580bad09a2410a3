//go:build !linux

package seal

import (
	"errors"
	"os"
	"path/filepath"
)

// syncTiles makes the tiles durable, one by one.
func (s *store) syncTiles() error {
	for _, path := range s.unsynced {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close(), syncDirectory(filepath.Dir(path))); err != nil {
			return err
		}
	}
	s.unsynced = nil
	return nil
}
