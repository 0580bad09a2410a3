package seal

import (
	"os"
	"path/filepath"

	"github.com/klauspost/compress/s2"
)

// bundles keeps the records of full tiles as files, so that a proof needn't read
// its event from the log, where that takes as long as a whole block of the store. It
// is a cache: a record is believed only where the tree proves it, and what isn't
// there, or can't be read, comes from the log. Nothing is synced for it.
type bundles struct {
	dir string

	growing []byte // of the bundle that isn't full yet; nil if its beginning wasn't seen
	count   int    // records in it
	last    uint64 // sequence of the last one
}

const bundleSuffix = ".s2" // a block of it

// maxBundle is how large a bundle may be unpacked.
const maxBundle = tileWidth * (MaxRecord + 2)

func (b *bundles) path(n int64) string {
	return filepath.Join(b.dir, filepath.FromSlash(TilePath(EntriesLevel, n, tileWidth))+bundleSuffix)
}

// add takes the record of an event. It is for one goroutine.
func (b *bundles) add(sequence uint64, record []byte) {
	place := int((sequence - 1) % tileWidth)
	switch {
	case place == 0:
		b.growing, b.count = b.growing[:0], 0
	case b.count != place || b.last+1 != sequence:
		b.count = -1 // until the next bundle begins
		return
	}
	b.growing = AppendEntry(b.growing, record)
	b.count, b.last = place+1, sequence
	if b.count == tileWidth {
		_ = putFile(b.path(int64(sequence-1)/tileWidth), s2.Encode(nil, b.growing)) // proofs take longer without it
	}
}

// record gives the record of an event as it is kept, nil if it isn't.
func (b *bundles) record(sequence uint64) []byte {
	packed, err := os.ReadFile(b.path(int64(sequence-1) / tileWidth))
	if err != nil {
		return nil
	}
	if size, err := s2.DecodedLen(packed); err != nil || size > maxBundle {
		return nil
	}
	bundle, err := s2.Decode(nil, packed)
	if err != nil {
		return nil
	}
	records, err := Entries(bundle)
	if err != nil || len(records) != tileWidth {
		return nil
	}
	return records[(sequence-1)%tileWidth]
}
