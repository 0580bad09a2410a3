package seal

import (
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the Merkle tree as far as it has grown. One goroutine grows it; it can
// be read beside that.
type tree struct {
	store *store

	lock sync.RWMutex
	size int64 // leaves; guarded by lock
	// edge has, for each level of tiles, the hashes of the tile that isn't full
	// yet. Guarded by lock; only ever appended to.
	edge [][]byte
	// full are the tiles that became full and aren't in the store yet. Guarded
	// by lock.
	full []fullTile
}

type fullTile struct {
	tlog.Tile
	data []byte
}

// append adds the hash of the next leaf.
func (t *tree) append(h tlog.Hash) {
	t.lock.Lock()
	defer t.lock.Unlock()
	for level := 0; ; level++ {
		if level == len(t.edge) {
			t.edge = append(t.edge, nil)
		}
		if t.edge[level] == nil {
			t.edge[level] = make([]byte, 0, tileBytes)
		}
		t.edge[level] = append(t.edge[level], h[:]...)
		if len(t.edge[level]) < tileBytes {
			break
		}
		data := t.edge[level]
		n := t.size >> (tileHeight * (level + 1))
		t.full = append(t.full, fullTile{tlog.Tile{H: tileHeight, L: level, N: n, W: tileWidth}, data})
		t.edge[level] = nil
		h = rootOf(data)
	}
	t.size++
}

// rootOf gives the hash of a perfect subtree from the hashes at its foot.
func rootOf(data []byte) tlog.Hash {
	if len(data) == tlog.HashSize {
		return tlog.Hash(data)
	}
	return tlog.NodeHash(rootOf(data[:len(data)/2]), rootOf(data[len(data)/2:]))
}

// grown gives the number of leaves.
func (t *tree) grown() int64 {
	t.lock.RLock()
	defer t.lock.RUnlock()
	return t.size
}

// flush writes the tiles that became full to the store, each with write.
func (t *tree) flush(write func(tlog.Tile, []byte) error) error {
	for {
		t.lock.RLock()
		var next *fullTile
		if len(t.full) > 0 {
			next = &t.full[0]
		}
		t.lock.RUnlock()
		if next == nil {
			return nil
		}
		if err := write(next.Tile, next.data); err != nil {
			return err
		}
		t.lock.Lock()
		t.full = t.full[1:]
		t.lock.Unlock()
	}
}

// waiting says how many tiles aren't in the store yet.
func (t *tree) waiting() int {
	t.lock.RLock()
	defer t.lock.RUnlock()
	return len(t.full)
}

// tile gives the first hashes of a tile.
func (t *tree) tile(want tlog.Tile) ([]byte, error) {
	data := t.inMemory(want)
	if data == nil {
		var err error
		if data, err = t.store.readTile(want); err != nil {
			return nil, fmt.Errorf("read the log's tree: %w", err)
		}
	}
	if len(data) < want.W*tlog.HashSize {
		return nil, fmt.Errorf("read the log's tree: %s isn't there", TilePath(want.L, want.N, want.W))
	}
	return data[:want.W*tlog.HashSize], nil
}

func (t *tree) inMemory(want tlog.Tile) []byte {
	t.lock.RLock()
	defer t.lock.RUnlock()
	if want.L < len(t.edge) && want.N == t.size>>(tileHeight*(want.L+1)) && t.edge[want.L] != nil {
		return t.edge[want.L]
	}
	for _, f := range t.full {
		if f.L == want.L && f.N == want.N {
			return f.data
		}
	}
	return nil
}

// hash gives the root of the tree's first size leaves, read without proof of the
// tiles: they are this tree's own.
func (t *tree) hash(size int64) (tlog.Hash, error) { return tlog.TreeHash(size, t) }

// ReadHashes is what tlog's functions read the tree with.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		tile := tlog.TileForIndex(tileHeight, index)
		data, err := t.tile(tile)
		if err == nil {
			hashes[i], err = tlog.HashFromTile(tile, data, index)
		}
		if err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// proved reads hashes of a signed tree, and proves every tile that it reads to be
// a part of it.
func (t *tree) proved(head tlog.Tree) tlog.HashReader {
	return tlog.TileHashReader(head, (*tileReader)(t))
}

// tileReader is a tree as tlog reads tiles.
type tileReader tree

// Height is the height of the tiles.
func (*tileReader) Height() int { return tileHeight }

// ReadTiles reads tiles.
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, tile := range tiles {
		var err error
		if all[i], err = (*tree)(r).tile(tile); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// SaveTiles has nothing to do: they are here already.
func (*tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// restore makes the tree of a size from the full tiles in the store and the
// hashes of the leaves that no full tile has. Nothing of it is proved: compare its
// hash with one that was signed.
func restore(s *store, size int64, rest []tlog.Hash) (*tree, error) {
	t := &tree{store: s, size: size - int64(len(rest))}
	for level := 1; size>>(tileHeight*level) > 0; level++ {
		n := size >> (tileHeight * level) // tiles below that are full
		first := n &^ (tileWidth - 1)
		for len(t.edge) <= level {
			t.edge = append(t.edge, nil)
		}
		if first < n {
			t.edge[level] = make([]byte, 0, tileBytes)
		}
		for ; first < n; first++ {
			data, err := s.readTile(tlog.Tile{H: tileHeight, L: level - 1, N: first})
			if err != nil {
				return nil, err
			}
			h := rootOf(data)
			t.edge[level] = append(t.edge[level], h[:]...)
		}
	}
	for _, h := range rest {
		t.append(h)
	}
	return t, nil
}
