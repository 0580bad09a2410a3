package projections

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// In a snapshot, and in the dump, a row is its flags, and then the numbers of its
// type, root, actor and part, followed by what the flags say that it has. A number
// that comes for the first time is followed by what it stands for: types are known
// by their names, whatever release reads them. Numbers follow from the events alone,
// so that all who fold the same log write the same.

// dump writes the rows up to a sequence.
func (a *audit) dump(sequence uint64, d *dumper) error {
	d.text("audit")
	for rows, err := range a.encoded(d.ctx, sequence) {
		if err != nil {
			return err
		}
		d.number(uint64(len(rows)))
		d.write(rows)
	}
	return d.err
}

func (a *audit) snapshot(ctx context.Context, b *blockWriter, sequence uint64) error {
	for rows, err := range a.encoded(ctx, sequence) {
		if err != nil {
			return err
		}
		b.raw = append(b.raw, rows...)
		if b.full(); b.err != nil {
			return b.err
		}
	}
	return nil
}

// encoded yields the rows up to a sequence, many at a time, in a buffer that it
// uses again. It ends with the context's error.
func (a *audit) encoded(ctx context.Context, sequence uint64) func(yield func([]byte, error) bool) {
	a.lock.RLock()
	w := auditEncoder{auditReader: a.reader()}
	a.lock.RUnlock()
	return func(yield func([]byte, error) bool) {
		for i := range uint32(sequence) { //nolint:gosec // an event's
			w.encode(w.row(i + 1))
			if i%auditCheck != auditCheck-1 && uint64(i) != sequence-1 {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if !yield(w.buf, nil) {
				return
			}
			w.buf = w.buf[:0]
		}
	}
}

// auditEncoder writes rows.
type auditEncoder struct {
	auditReader
	buf                                        []byte
	seenKinds, seenRoots, seenWords, seenTexts uint32 // how many have been written
}

func (w *auditEncoder) encode(row auditRow) {
	w.buf = append(w.buf, row.flags)
	if w.number(uint32(row.kind), &w.seenKinds) {
		w.text(w.kinds[row.kind])
	}
	if w.number(row.root, &w.seenRoots) {
		root := w.roots[row.root]
		w.text(string(root.Kind))
		w.buf = append(w.buf, root.ID[:]...)
	}
	w.word(row.actor)
	if row.part&auditNamed != 0 {
		w.buf = append(w.buf, 1)
		w.word(row.part &^ auditNamed)
	} else {
		w.buf = binary.AppendUvarint(w.buf, uint64(row.part)<<1)
	}
	w.extras(row)
}

func (w *auditEncoder) extras(row auditRow) {
	has := func(flag uint8) bool { return row.flags&flag != 0 }
	if has(auditTraced) {
		w.buf = append(w.buf, row.correlation[:]...)
	}
	if has(auditOdd) {
		w.word(extra(w.odd, row.sequence).number)
	}
	if has(auditOccurred) {
		w.buf = binary.AppendUvarint(w.buf, uint64(extra(w.occurred, row.sequence).milli)) //nolint:gosec // taken back as it is
	}
	if has(auditKeyed) {
		key := extra(w.keys, row.sequence).key
		w.buf = append(w.buf, key[:]...)
	}
	if has(auditCaused) {
		w.word(extra(w.causes, row.sequence).number)
	}
	if has(auditReasoned) {
		w.reason(w.reasonOf(row.sequence))
	}
	if has(auditAlso) {
		others := w.others(row.sequence)
		w.buf = binary.AppendUvarint(w.buf, uint64(len(others)))
		for _, other := range others {
			w.buf = binary.AppendUvarint(w.buf, uint64(other.number))
		}
	}
}

// number writes a number, and says whether it is a new one.
func (w *auditEncoder) number(n uint32, seen *uint32) bool {
	w.buf = binary.AppendUvarint(w.buf, uint64(n))
	if n != *seen {
		return false
	}
	*seen++
	return true
}

func (w *auditEncoder) text(s string) {
	w.buf = binary.AppendUvarint(w.buf, uint64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *auditEncoder) word(n uint32) {
	if w.number(n, &w.seenWords) {
		w.text(w.words[n])
	}
}

// reason writes the text, or the signature of a text that stays in the log.
func (w *auditEncoder) reason(n uint32) {
	if !w.number(n, &w.seenTexts) {
		return
	}
	if w.text(w.texts[n]); w.texts[n] == "" {
		w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(w.marks[n]))
	}
}

func (a *audit) restore(b blocks, sequence uint64) error {
	d := auditDecoder{audit: a, rootKinds: words{}}
	err := b.each(func(u *events.Unpacker) error {
		d.Unpacker = u
		for u.More() && d.err == nil {
			d.row()
		}
		return d.err
	})
	if err == nil && uint64(a.length) != sequence {
		err = fmt.Errorf("%w: %d events", errSnapshot, a.length)
	}
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// auditDecoder reads rows. The first error stays.
type auditDecoder struct {
	*events.Unpacker
	*audit
	sequence  uint32 // of the row that is being read
	rootKinds words
	err       error
}

func (d *auditDecoder) row() {
	d.sequence = uint32(d.length + 1) //nolint:gosec // as in add
	row := auditRow{sequence: d.sequence, flags: d.fixed(1)[0]}
	row.kind = uint8(readNumber(d, &d.kinds, d.text)) //nolint:gosec // as in add
	row.root = readNumber(d, &d.roots, d.root)
	row.actor = d.word()
	if n := d.uvarint(); n == 1 {
		row.part = auditNamed | d.word()
	} else {
		row.part = uint32(n >> 1 & (auditNamed - 1)) //nolint:gosec // no more bits
	}
	d.extras(&row)
}

func (d *auditDecoder) extras(row *auditRow) {
	has := func(flag uint8) bool { return row.flags&flag != 0 }
	if has(auditTraced) {
		copy(row.correlation[:], d.fixed(len(row.correlation)))
	}
	if has(auditOdd) {
		d.odd = append(d.odd, auditLink{d.sequence, d.word()})
	}
	if has(auditOccurred) {
		d.occurred = append(d.occurred, auditMoment{d.sequence, int64(d.uvarint())}) //nolint:gosec // as it was
	}
	if has(auditKeyed) {
		var key events.Hash
		copy(key[:], d.fixed(len(key)))
		d.keys = append(d.keys, auditKey{d.sequence, key})
	}
	if has(auditCaused) {
		d.causes = append(d.causes, auditLink{d.sequence, d.word()})
	}
	if has(auditReasoned) {
		d.reason(d.sequence, d.reasonText())
	}
	var others []uint32
	if has(auditAlso) {
		for n := d.uvarint(); n > 0 && d.err == nil; n-- {
			others = append(others, d.knownRoot())
		}
	}
	if d.err != nil {
		return
	}
	row.flags &^= auditAlso
	d.push(*row)
	for _, other := range others {
		d.touchNumber(other)
	}
}

func (d *auditDecoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *auditDecoder) uvarint() uint64 {
	n, err := d.Uvarint()
	if err != nil {
		d.fail(err)
	}
	return n
}

// fixed reads so many bytes; zeros if they aren't there.
func (d *auditDecoder) fixed(length int) string {
	s, err := d.Text(uint64(length)) //nolint:gosec // a few
	if err != nil {
		d.fail(err)
		return string(make([]byte, length))
	}
	return s
}

func (d *auditDecoder) text() string {
	s, err := d.Text(d.uvarint())
	if err != nil {
		d.fail(err)
	}
	return s
}

func (d *auditDecoder) root() (r events.Root) {
	r.Kind = events.RootKind(d.rootKinds.one(d.text()))
	copy(r.ID[:], d.fixed(len(ulid.ULID{})))
	return r
}

func (d *auditDecoder) knownRoot() uint32 {
	n := d.uvarint()
	if n >= uint64(len(d.roots.all)) {
		d.fail(errSnapshot)
		return 0
	}
	return uint32(n)
}

func (d *auditDecoder) word() uint32 { return readNumber(d, &d.words, d.text) }

// readNumber reads a number, and what it stands for if it is a new one. It gives 0
// for what can't be.
func readNumber[K comparable](d *auditDecoder, in *numbers[K], read func() K) uint32 {
	n := d.uvarint()
	switch known := uint64(len(in.all)); {
	case n < known:
		return uint32(n)
	case n == known && d.err == nil:
		if k := read(); d.err == nil {
			return in.add(k, d.sequence)
		}
	}
	d.fail(errSnapshot)
	return 0
}

func (d *auditDecoder) reasonText() uint32 {
	n := d.uvarint()
	if n < uint64(len(d.texts.all)) {
		return uint32(n)
	}
	if n != uint64(len(d.texts.all)) {
		d.fail(errSnapshot)
		return 0
	}
	if text := d.text(); text != "" {
		return d.texts.of(text, d.sequence)
	}
	return d.texts.inLog(signature(binary.BigEndian.Uint64([]byte(d.fixed(8)))), d.sequence)
}
