package projections

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/modelog/modelog/events"
)

// Digest is a SHA-256 over all revisions up to a sequence, in hex. Two states
// of the same log agree on it, however each was made. It reads the whole state,
// and lets the writer in.
func (s *State) Digest(ctx context.Context, sequence uint64) (string, error) {
	d := &dumper{ctx: ctx, hash: sha256.New()}
	d.number(FoldVersion)
	d.number(sequence)
	registry := s.At(sequence).Registry()
	d.text(registry.ID.String())
	d.number(uint64(registry.Level))
	s.dumpTimes(sequence, d)
	for _, t := range s.all {
		if err := t.dump(sequence, d); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(d.hash.Sum(nil)), nil
}

func (s *State) dumpTimes(sequence uint64, d *dumper) {
	s.lock.RLock()
	defer s.lock.RUnlock()
	for _, at := range s.recorded[:sequence] {
		d.number(uint64(at))
	}
}

// dumper writes the canonical dump. Numbers are 8 bytes and texts carry their
// length, so that no two dumps are alike by accident.
type dumper struct {
	ctx  context.Context
	hash hash.Hash
	buf  []byte
}

func (d *dumper) number(n uint64) {
	d.buf = binary.BigEndian.AppendUint64(d.buf[:0], n)
	d.hash.Write(d.buf)
}

func (d *dumper) text(s string) {
	d.number(uint64(len(s)))
	d.hash.Write([]byte(s))
}

func (d *dumper) value(v any) error {
	b, err := events.AppendCanonical(d.buf[:0], v)
	if err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	n := len(b)
	d.buf = b
	d.hash.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	d.hash.Write(b)
	return nil
}

// dump writes the rows in the order of their keys, each with its revisions up
// to the sequence.
func (t *table[K, V]) dump(sequence uint64, d *dumper) error {
	d.text(t.name)
	for r, err := range t.history(d.ctx, sequence) {
		if err != nil {
			return err
		}
		if err := d.value(r.key); err != nil {
			return err
		}
		d.number(uint64(len(r.revisions)))
		for _, rev := range r.revisions {
			d.number(rev.mark)
			if rev.gone() {
				continue
			}
			if err := d.value(rev.value); err != nil {
				return err
			}
		}
	}
	return nil
}
