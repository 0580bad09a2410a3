package seal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	tileBytes  = tileWidth * tlog.HashSize
)

// EntriesLevel stands for the bundles of entries where levels are asked for.
const EntriesLevel = -1

// TilePath gives the path of a tile as C2SP tlog-tiles has it, such as
// tile/0/x001/234.p/56; level -1 stands for the bundles of entries.
func TilePath(level int, n int64, width int) string {
	path := tlog.Tile{H: tileHeight, L: level, N: n, W: width}.Path()
	path = strings.Replace(path, fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

// ParseTilePath reads what TilePath writes, and nothing else.
func ParseTilePath(path string) (level int, n int64, width int, err error) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if entries, data := strings.CutPrefix(rest, "entries/"); data {
		rest = "data/" + entries
	} else if strings.HasPrefix(rest, "data/") {
		ok = false
	}
	t, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s", tileHeight, rest))
	if !ok || err != nil {
		return 0, 0, 0, fmt.Errorf("%q is no path of a tile", path)
	}
	return t.L, t.N, t.W, nil
}

// store keeps the full tiles and the last checkpoint as files. What lies right of
// the last full tile isn't kept: it comes from the log again.
type store struct {
	dir string
	// unsynced are the files and directories that were written since the last
	// sync, for systems that can't sync them at once.
	unsynced []string
}

const checkpointFile = "checkpoint"

func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(filepath.Join(dir, "tile"), 0o700); err != nil {
		return nil, fmt.Errorf("the directory of the log's tree: %w", err)
	}
	return &store{dir: dir}, nil
}

// writeTile puts a full tile in its place. It is durable after syncTiles; until
// then a crash may leave it damaged, which shows when it is read.
func (s *store) writeTile(t tlog.Tile, data []byte) error {
	path := s.path(t)
	s.unsynced = append(s.unsynced, path)
	return s.writeTileAlone(t, data)
}

func (s *store) path(t tlog.Tile) string {
	return filepath.Join(s.dir, filepath.FromSlash(TilePath(t.L, t.N, tileWidth)))
}

// writeTileAlone leaves it to chance when the tile is durable.
func (s *store) writeTileAlone(t tlog.Tile, data []byte) error {
	return putFile(s.path(t), data)
}

// putFile puts a file in its place whole, or leaves what was there.
func putFile(path string, data []byte) error {
	err := os.WriteFile(path+".new", data, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(path+".new", data, 0o600)
		}
	}
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (s *store) readTile(t tlog.Tile) ([]byte, error) {
	data, err := os.ReadFile(s.path(t))
	if err == nil && len(data) != tileBytes {
		err = fmt.Errorf("%s has %d bytes, not %d", TilePath(t.L, t.N, tileWidth), len(data), tileBytes)
	}
	return data, err
}

// readCheckpoint gives nil without one.
func (s *store) readCheckpoint() ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, checkpointFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// The steps by which a checkpoint gets in its place.

func (s *store) newCheckpoint() string { return filepath.Join(s.dir, checkpointFile+".new") }

func (s *store) writeCheckpoint(data []byte) error {
	return os.WriteFile(s.newCheckpoint(), data, 0o600)
}

func (s *store) syncCheckpoint() error {
	f, err := os.OpenFile(s.newCheckpoint(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (s *store) renameCheckpoint() error {
	return os.Rename(s.newCheckpoint(), filepath.Join(s.dir, checkpointFile))
}

func (s *store) syncDirectory() error { return syncDirectory(s.dir) }
