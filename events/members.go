package events

import (
	"encoding/binary"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// AppendMembers appends the canonical msgpack of an object that has some of the
// members of another, given by its own canonical msgpack: what AppendCanonical
// gives of a struct with those fields alone, without writing their values anew.
// The names must be sorted. There is no telling what it does with data that
// neither AppendCanonical wrote nor Decode read.
func AppendMembers(dst, object []byte, names ...string) []byte {
	header := len(dst)
	dst = append(dst, msgpcode.FixedMapLow) // fewer than 16 names
	at, n := containerAt(object, 0)
	for ; n > 0 && len(names) > 0; n-- {
		from := at
		nameEnd := skipValue(object, at)
		at = skipValue(object, nameEnd)
		name := string(object[from+1 : nameEnd]) // of less than 32 bytes, as field names are
		for len(names) > 0 && names[0] < name {
			names = names[1:]
		}
		if len(names) > 0 && names[0] == name {
			dst[header]++
			dst = append(dst, object[from:at]...)
		}
	}
	return dst
}

// containerAt gives where the content of an array or object begins, and how many
// elements or members it has.
func containerAt(b []byte, at int) (next, n int) {
	switch code := b[at]; {
	case msgpcode.IsFixedMap(code):
		return at + 1, int(code & msgpcode.FixedMapMask)
	case msgpcode.IsFixedArray(code):
		return at + 1, int(code & msgpcode.FixedArrayMask)
	case code == msgpcode.Map16 || code == msgpcode.Array16:
		return at + 3, int(binary.BigEndian.Uint16(b[at+1:]))
	default:
		return at + 5, int(binary.BigEndian.Uint32(b[at+1:]))
	}
}

// skipValue gives where the value that begins at an index ends.
func skipValue(b []byte, at int) int {
	switch code := b[at]; {
	case isMap(code) || isArray(code):
		next, n := containerAt(b, at)
		if isMap(code) {
			n *= 2
		}
		for range n {
			next = skipValue(b, next)
		}
		return next
	case msgpcode.IsFixedString(code):
		return at + 1 + int(code&msgpcode.FixedStrMask)
	case code == msgpcode.Str8 || code == msgpcode.Bin8:
		return at + 2 + int(b[at+1])
	case code == msgpcode.Str16 || code == msgpcode.Bin16:
		return at + 3 + int(binary.BigEndian.Uint16(b[at+1:]))
	case code == msgpcode.Str32 || code == msgpcode.Bin32:
		return at + 5 + int(binary.BigEndian.Uint32(b[at+1:]))
	case code == msgpcode.Double:
		return at + 9
	case code >= msgpcode.Uint8 && code <= msgpcode.Uint64:
		return at + 1 + 1<<(code-msgpcode.Uint8)
	case code >= msgpcode.Int8 && code <= msgpcode.Int64:
		return at + 1 + 1<<(code-msgpcode.Int8)
	default: // nil, booleans and small integers
		return at + 1
	}
}
