package pack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modelog/modelog/handlers/seal"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
)

// tiles reads the tiles of a head by their paths, and proves each that it reads.
type tiles struct {
	head tlog.Tree
	dir  string                           // that their paths are shown below
	read func(path string) ([]byte, bool) // of a file; false if it isn't there
	good map[tlog.Tile][]byte             // proved
}

// at gives the tile of a level that a node is in, as wide as the head has it.
func at(head tlog.Tree, level int, node int64) tlog.Tile {
	t := tlog.Tile{H: height, L: level, N: node >> height, W: width}
	if last := head.N >> (height * level); last>>height == t.N {
		t.W = int(last & (width - 1))
	}
	return t
}

// edge lists the tiles that aren't full, the lowest first.
func edge(head tlog.Tree) []tlog.Tile {
	var all []tlog.Tile
	for level := 0; head.N>>(height*level) > 0; level++ {
		nodes := head.N >> (height * level)
		if nodes&(width-1) != 0 {
			all = append(all, at(head, level, nodes-1))
		}
	}
	return all
}

func pathOf(t tlog.Tile) string { return seal.TilePath(t.L, t.N, t.W) }

func (r *tiles) load(t tlog.Tile) ([]byte, error) {
	data, ok := r.read(pathOf(t))
	switch {
	case !ok:
		return nil, finding(r.dir+pathOf(t), 0, "is missing")
	case len(data) != t.W*tlog.HashSize:
		return nil, finding(r.dir+pathOf(t), 0, "has %d bytes, not %d", len(data), t.W*tlog.HashSize)
	}
	return data, nil
}

// proveEdge proves the tiles that aren't full: together they give the head.
func (r *tiles) proveEdge() error {
	r.good = map[tlog.Tile][]byte{}
	all := edge(r.head)
	loaded := map[tlog.Tile][]byte{}
	names := make([]string, len(all))
	for i, t := range all {
		data, err := r.load(t)
		if err != nil {
			return err
		}
		loaded[t], names[i] = data, r.dir+pathOf(t)
	}
	root, err := tlog.TreeHash(r.head.N, tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			t := tlog.TileForIndex(height, index)
			for have, data := range loaded {
				if have.L == t.L && have.N == t.N && have.W >= t.W {
					var err error
					if hashes[i], err = tlog.HashFromTile(have, data, index); err != nil {
						return nil, err
					}
				}
			}
		}
		return hashes, nil
	}))
	if err != nil {
		return err
	}
	if root != r.head.Hash {
		return finding(strings.Join(names, " or "), 0, "doesn't give the root that the checkpoint signs")
	}
	r.good = loaded
	return nil
}

// prove gives a tile that is a part of the head.
func (r *tiles) prove(t tlog.Tile) ([]byte, error) {
	if data, ok := r.good[t]; ok {
		return data, nil
	}
	parent, err := r.prove(at(r.head, t.L+1, t.N))
	if err != nil {
		return nil, err
	}
	data, err := r.load(t)
	if err != nil {
		return nil, err
	}
	slot := int(t.N&(width-1)) * tlog.HashSize
	if root := rootOf(data); !slices.Equal(root[:], parent[slot:slot+tlog.HashSize]) {
		return nil, finding(r.dir+pathOf(t), 0, "isn't what the tile above it says")
	}
	r.good[t] = data
	return data, nil
}

// leaf gives the proved hash of a record.
func (r *tiles) leaf(sequence uint64) (tlog.Hash, error) {
	index := int64(sequence) - 1
	if index < 0 || index >= r.head.N {
		return tlog.Hash{}, fmt.Errorf("event %d is beyond the checkpoint's %d", sequence, r.head.N)
	}
	data, err := r.prove(at(r.head, 0, index))
	if err != nil {
		return tlog.Hash{}, err
	}
	slot := int(index&(width-1)) * tlog.HashSize
	return tlog.Hash(data[slot : slot+tlog.HashSize]), nil
}

// every lists all tiles of a head.
func every(head tlog.Tree) []tlog.Tile {
	var all []tlog.Tile
	for level := 0; head.N>>(height*level) > 0; level++ {
		for first := int64(0); first < head.N>>(height*level); first += width {
			all = append(all, at(head, level, first))
		}
	}
	return all
}

func rootOf(data []byte) tlog.Hash {
	if len(data) == tlog.HashSize {
		return tlog.Hash(data)
	}
	return tlog.NodeHash(rootOf(data[:len(data)/2]), rootOf(data[len(data)/2:]))
}

// proved reads hashes of the head through its proved tiles.
func (r *tiles) proved() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			t := at(r.head, level/height, n<<(level%height))
			data, err := r.prove(t)
			if err == nil {
				hashes[i], err = tlog.HashFromTile(t, data, index)
			}
			if err != nil {
				return nil, err
			}
		}
		return hashes, nil
	})
}
