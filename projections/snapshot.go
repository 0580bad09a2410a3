package projections

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"
)

// A snapshot holds the tables with their history up to a sequence: a head, and
// after it blocks, each compressed by itself (zstd), so that tables can be read
// side by side and nobody needs a whole one in memory twice:
//
//	head     canonical msgpack of snapshotHead
//	block    number of the section, length, bytes
//
// Section 0 has the times of the events, as differences; section n has rows of
// table n in the order of the digest. A row is its key, the number of its
// revisions, and of each the difference to the sequence before together with what
// follows: a value, nothing since the key is gone, or nothing since the value is
// the one before. Lengths and numbers are varints (encoding/binary), keys and
// values canonical msgpack.
//
// It carries no checksum: who keeps it in a file adds one.

// snapshotHead says what a snapshot is of.
type snapshotHead struct {
	Fold     int       `json:"fold"`
	Sequence uint64    `json:"sequence"`
	Registry ulid.ULID `json:"registry"`
	Level    int       `json:"level"`
	Created  time.Time `json:"created"`
}

// ErrFold says that a snapshot is of another version of the fold.
var ErrFold = errors.New("the snapshot was made by another release")

// What follows a revision's sequence.
const (
	withValue  = iota
	withGone   // the key is gone
	withBefore // the value is that of the revision before
	revisionForms
)

// blockSize is about how much a block holds before it is compressed.
const blockSize = 256 << 10

// WriteSnapshot writes the state up to a sequence that is settled and not 0. It
// lets the writer in, and ends with the context's error.
func (s *State) WriteSnapshot(ctx context.Context, w io.Writer, sequence uint64) error {
	registry := s.At(sequence).Registry()
	head, err := events.AppendCanonical(nil, snapshotHead{
		Fold: FoldVersion, Sequence: sequence, Registry: registry.ID, Level: registry.Level, Created: registry.CreatedAt,
	})
	if err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	b, err := newBlockWriter(w)
	if err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	b.write(binary.AppendUvarint(nil, uint64(len(head))))
	b.write(head)
	s.snapshotTimes(b, sequence)
	for _, t := range s.all {
		b.begin()
		if err := t.snapshot(ctx, b, sequence); err != nil {
			return err
		}
	}
	b.flush()
	return b.err
}

func (s *State) snapshotTimes(b *blockWriter, sequence uint64) {
	s.lock.RLock()
	recorded := s.recorded[:sequence] // what is there doesn't change
	s.lock.RUnlock()
	before := int64(0)
	for _, at := range recorded {
		b.raw = binary.AppendUvarint(b.raw, uint64(at-before))
		before = at
		b.full()
	}
}

func (t *table[K, V]) snapshot(ctx context.Context, b *blockWriter, sequence uint64) error {
	for r, err := range t.history(ctx, sequence) {
		if err != nil {
			return err
		}
		b.value(r.key)
		b.raw = binary.AppendUvarint(b.raw, uint64(len(r.revisions)))
		var before revision[V]
		for i, rev := range r.revisions {
			distance := (rev.sequence() - before.sequence()) * revisionForms
			switch {
			case rev.gone():
				b.raw = binary.AppendUvarint(b.raw, distance+withGone)
			case i > 0 && !before.gone() && rev.value == before.value:
				b.raw = binary.AppendUvarint(b.raw, distance+withBefore)
			default:
				b.raw = binary.AppendUvarint(b.raw, distance+withValue)
				b.value(rev.value)
			}
			before = rev
		}
		if b.full(); b.err != nil {
			return b.err
		}
	}
	return nil
}

// blockWriter gathers blocks. The first error stays.
type blockWriter struct {
	w       io.Writer
	zstd    *zstd.Encoder
	section uint64
	raw     []byte // of the block that is being gathered
	packed  []byte
	err     error
}

func newBlockWriter(w io.Writer) (*blockWriter, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	return &blockWriter{w: w, zstd: z}, err
}

func (b *blockWriter) value(v any) {
	raw, err := events.AppendCanonical(b.raw, v)
	if err != nil {
		b.fail(err)
		return
	}
	b.raw = raw
}

func (b *blockWriter) fail(err error) {
	if b.err == nil {
		b.err = fmt.Errorf("write a snapshot: %w", err)
	}
}

// begin begins the next section.
func (b *blockWriter) begin() {
	b.flush()
	b.section++
}

func (b *blockWriter) full() {
	if len(b.raw) >= blockSize {
		b.flush()
	}
}

func (b *blockWriter) flush() {
	if len(b.raw) == 0 {
		return
	}
	b.packed = b.zstd.EncodeAll(b.raw, b.packed[:0])
	b.raw = binary.AppendUvarint(b.raw[:0], b.section)
	b.write(binary.AppendUvarint(b.raw, uint64(len(b.packed))))
	b.write(b.packed)
	b.raw = b.raw[:0]
}

func (b *blockWriter) write(data []byte) {
	if b.err != nil {
		return
	}
	if _, err := b.w.Write(data); err != nil {
		b.fail(err)
	}
}

// ReadSnapshot gives the state that a snapshot holds. It fails with ErrFold, or
// says what is wrong with it.
func ReadSnapshot(data []byte) (*State, error) {
	s := New()
	head, sections, err := splitSnapshot(data, 1+len(s.all))
	if err != nil {
		return nil, fmt.Errorf("read a snapshot: %w", err)
	}
	if head.Fold != FoldVersion {
		return nil, fmt.Errorf("read a snapshot: %w: its fold has version %d, this one %d", ErrFold, head.Fold, FoldVersion)
	}
	s.registry = Registry{ID: head.Registry, Level: head.Level, CreatedAt: head.Created}
	s.applied = head.Sequence
	updates := s.gatherUpdates()
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range s.all {
		group.Go(func() error { return t.restore(sections[i+1], head.Sequence) })
	}
	group.Go(func() error { return s.restoreTimes(sections[0], head.Sequence) })
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read a snapshot: %w", err)
	}
	updates()
	return s, nil
}

var errSnapshot = errors.New("its bytes are not those of a snapshot")

// splitSnapshot gives the head and the blocks of each section.
func splitSnapshot(data []byte, count int) (head snapshotHead, sections []blocks, err error) {
	next := func() []byte {
		n, size := binary.Uvarint(data)
		if size <= 0 || n > uint64(len(data)-size) {
			err = errSnapshot
			return nil
		}
		part := data[size : size+int(n)]
		data = data[size+int(n):]
		return part
	}
	if packed := next(); err == nil {
		err = events.ReadCanonical(packed, &head)
	}
	sections = make([]blocks, count)
	for len(data) > 0 && err == nil {
		section, size := binary.Uvarint(data)
		if size <= 0 || section >= uint64(count) {
			return head, nil, errSnapshot
		}
		data = data[size:]
		if block := next(); err == nil {
			sections[section] = append(sections[section], block)
		}
	}
	return head, sections, err
}

// blocks are those of a section, compressed.
type blocks [][]byte

// each unpacks one block after another.
func (b blocks) each(visit func(*events.Unpacker) error) error {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return err
	}
	defer z.Close()
	var raw []byte
	for _, packed := range b {
		if raw, err = z.DecodeAll(packed, raw[:0]); err != nil {
			return err
		}
		if err := visit(events.NewUnpacker(raw)); err != nil {
			return err
		}
	}
	return nil
}

func (s *State) restoreTimes(b blocks, sequence uint64) error {
	s.recorded = make([]int64, 0, sequence)
	at := int64(0)
	err := b.each(func(u *events.Unpacker) error {
		for u.More() {
			n, err := u.Uvarint()
			if err != nil {
				return err
			}
			at += int64(n)
			s.recorded = append(s.recorded, at)
		}
		return nil
	})
	if err == nil && uint64(len(s.recorded)) != sequence {
		err = fmt.Errorf("%w: it has the times of %d events instead of %d", errSnapshot, len(s.recorded), sequence)
	}
	return err
}

func (t *table[K, V]) restore(b blocks, sequence uint64) error {
	words := words{}
	var last K
	return b.each(func(u *events.Unpacker) error {
		for u.More() {
			e, err := t.restoreRow(u, words, sequence)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			if t.rows.Len() > 0 && t.compare(last, e.key) >= 0 {
				return fmt.Errorf("%s: %w: its keys are out of order", t.name, errSnapshot)
			}
			last = e.key
			t.rows.Load(e)
		}
		return nil
	})
}

func (t *table[K, V]) restoreRow(u *events.Unpacker, words words, sequence uint64) (e entry[K, V], err error) {
	if err := u.Value(&e.key); err != nil {
		return e, err
	}
	n, err := u.Uvarint()
	if err != nil {
		return e, err
	}
	if n == 0 || n > sequence {
		return e, fmt.Errorf("%w: a key has %d revisions", errSnapshot, n)
	}
	e.row = &row[V]{revisions: make([]revision[V], 0, n)}
	var before revision[V]
	for range n {
		rev, err := t.restoreRevision(u, words, &e.key, before)
		if err != nil {
			return e, err
		}
		if rev.sequence() > sequence || (len(e.row.revisions) > 0 && rev.sequence() <= before.sequence()) {
			return e, fmt.Errorf("%w: the sequences of a key are out of order", errSnapshot)
		}
		e.row.revisions = append(e.row.revisions, rev)
		before = rev
	}
	return e, nil
}

func (t *table[K, V]) restoreRevision(u *events.Unpacker, words words, key *K, before revision[V]) (rev revision[V], err error) {
	n, err := u.Uvarint()
	if err != nil {
		return rev, err
	}
	rev.mark = (before.sequence() + n/revisionForms) << 1
	switch n % revisionForms {
	case withGone:
		rev.mark |= 1
	case withBefore:
		rev.value = before.value
	default:
		if err = u.Value(&rev.value); err != nil {
			return rev, err
		}
		if t.share != nil {
			t.share(words, key, rev.value, before.value)
		}
		if t.restored != nil {
			t.restored(rev.sequence(), *key, rev.value)
		}
	}
	return rev, err
}
