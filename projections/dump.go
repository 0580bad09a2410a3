package projections

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/modelog/modelog/events"
)

// Dump writes all revisions up to a sequence in one canonical form, which is
// what Digest hashes: two states of the same log write the same bytes, however
// each was made. The sequence must be visible. It writes in small pieces, reads
// the whole state, and lets the state's writer in. It fails with the errors of w
// and of the context.
func (s *State) Dump(ctx context.Context, w io.Writer, sequence uint64) error {
	d := &dumper{ctx: ctx, w: w}
	d.number(FoldVersion)
	d.number(sequence)
	registry := s.At(sequence).Registry()
	d.text(registry.ID.String())
	d.number(uint64(registry.Level))
	s.dumpTimes(sequence, d)
	for _, t := range s.all {
		if err := t.dump(sequence, d); err != nil {
			return err
		}
	}
	return d.err
}

func (s *State) dumpTimes(sequence uint64, d *dumper) {
	s.lock.RLock()
	times := s.recorded[:sequence] // those of visible events stay as they are
	s.lock.RUnlock()
	for _, at := range times {
		d.number(uint64(at))
	}
}

// dumper writes the canonical dump. Numbers are 8 bytes and texts carry their
// length, so that no two dumps are alike by accident.
type dumper struct {
	ctx context.Context
	w   io.Writer
	err error // the first one of w; nothing is written after it
	buf []byte
}

func (d *dumper) write(b []byte) {
	if d.err == nil {
		_, d.err = d.w.Write(b)
	}
}

func (d *dumper) number(n uint64) {
	d.buf = binary.BigEndian.AppendUint64(d.buf[:0], n)
	d.write(d.buf)
}

func (d *dumper) text(s string) {
	d.number(uint64(len(s)))
	d.write([]byte(s))
}

func (d *dumper) value(v any) error {
	const length = 8
	b, err := events.AppendCanonical(append(d.buf[:0], make([]byte, length)...), v)
	if err != nil {
		return fmt.Errorf("dump the state: %w", err)
	}
	binary.BigEndian.PutUint64(b, uint64(len(b)-length))
	d.buf = b
	d.write(b)
	return d.err
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
	return d.err
}
