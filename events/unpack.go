package events

import (
	"encoding/binary"
	"errors"
	"io"
	"reflect"
)

// Unpacker reads what was written one after another with AppendCanonical and
// binary.AppendUvarint. It is for one goroutine.
type Unpacker struct{ r packReader }

// NewUnpacker reads from a block, of which nothing is kept, and which must not
// be changed meanwhile.
func NewUnpacker(block []byte) *Unpacker { return &Unpacker{packReader{src: textOf(block)}} }

// More says whether there is more to read.
func (u *Unpacker) More() bool { return u.r.left() > 0 }

var errVarint = errors.New("not a number of 64 bits")

// Uvarint reads a number that binary.AppendUvarint wrote.
func (u *Unpacker) Uvarint() (uint64, error) {
	var n uint64
	for shift := 0; shift < binary.MaxVarintLen64*7; shift += 7 {
		if u.r.left() == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		b := u.r.src[u.r.at]
		u.r.at++
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n, nil
		}
	}
	return 0, errVarint
}

// Text reads so many bytes. They are the block's: who keeps them copies them.
func (u *Unpacker) Text(length uint64) (string, error) {
	if length > uint64(u.r.left()) {
		return "", io.ErrUnexpectedEOF
	}
	u.r.at += int(length)
	return u.r.src[u.r.at-int(length) : u.r.at], nil
}

// Value reads a value that AppendCanonical wrote into the one that into points
// to. It fails on anything that AppendCanonical would not have written for that
// type.
func (u *Unpacker) Value(into any) error {
	v := reflect.ValueOf(into).Elem()
	u.r.open = u.r.open[:0]
	return planOf(v.Type()).read(&u.r, v)
}
