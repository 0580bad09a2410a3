package projections

// textRun keeps texts one after another, in chunks that stay where they are, so
// that there is no pointer for each.
type textRun struct {
	chunks [][]byte
}

// textPlace is where a text is.
type textPlace struct {
	from   uint32 // the chunk, and where in it
	length uint32
}

// chunkBits is as large as the largest event needs.
const chunkBits = 20

func (r *textRun) add(text []byte) textPlace {
	last := len(r.chunks) - 1
	if last < 0 || len(r.chunks[last])+len(text) >= 1<<chunkBits { // so that even an empty text begins within
		r.chunks = append(r.chunks, nil)
		last++
	}
	from := len(r.chunks[last])
	r.chunks[last] = append(r.chunks[last], text...)
	return textPlace{uint32(last<<chunkBits | from), uint32(len(text))} //nolint:gosec // memory ends long before
}

func (r *textRun) get(p textPlace) []byte {
	from := p.from & (1<<chunkBits - 1)
	return r.chunks[p.from>>chunkBits][from : from+p.length : from+p.length]
}

// cut takes a text away that was the last one added.
func (r *textRun) cut(p textPlace) {
	chunk := int(p.from >> chunkBits)
	r.chunks = r.chunks[:chunk+1]
	r.chunks[chunk] = r.chunks[chunk][:p.from&(1<<chunkBits-1)]
}

// numberIndex finds numbers by what they are the numbers of: a hash table, with
// the places after a taken one tried in turn. Number 0 is none. It takes eight
// bytes a place, of which at least a quarter is free: half a hash in front of the
// number, so that what isn't meant needn't be looked at, nor hashed again to grow.
type numberIndex struct {
	slots []uint64
	used  int
	hash  func(n uint32) uint64 // of what a number in the table is the number of
}

const halfHash = 1<<32 - 1

// find gives the number with a hash for which same says yes, and where it is; 0
// for none.
func (x *numberIndex) find(hash uint64, same func(n uint32) bool) (at int, n uint32) {
	if len(x.slots) == 0 {
		return 0, 0
	}
	half, mask := hash&halfHash, uint64(len(x.slots)-1)
	place := half & mask
	for ; x.slots[place] != 0; place = (place + 1) & mask {
		if n := uint32(x.slots[place] & halfHash); x.slots[place]>>32 == half && same(n) {
			return int(place), n //nolint:gosec // it is below the length
		}
	}
	return int(place), 0 //nolint:gosec // it is below the length
}

// insert adds a number that isn't there.
func (x *numberIndex) insert(n uint32) { x.insertHashed(x.hash(n), n) }

func (x *numberIndex) insertHashed(hash uint64, n uint32) {
	if 4*(x.used+1) > 3*len(x.slots) {
		x.grow()
	}
	x.place(hash<<32 | uint64(n))
	x.used++
}

func (x *numberIndex) place(slot uint64) {
	mask := uint64(len(x.slots) - 1)
	at := slot >> 32 & mask
	for x.slots[at] != 0 {
		at = (at + 1) & mask
	}
	x.slots[at] = slot
}

func (x *numberIndex) grow() {
	old := x.slots
	x.slots = make([]uint64, max(16, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			x.place(slot)
		}
	}
}

// push puts a number in the place of the one that it is the same as, and gives
// that, 0 for none.
func (x *numberIndex) push(n uint32, same func(o uint32) bool) (before uint32) {
	hash := x.hash(n)
	at, before := x.find(hash, same)
	if before == 0 {
		x.insertHashed(hash, n)
		return 0
	}
	x.slots[at] = hash<<32 | uint64(n)
	return before
}

// pop puts the one before into the place of a number, or takes it out if there is
// none before.
func (x *numberIndex) pop(n, before uint32) {
	hash := x.hash(n)
	at, found := x.find(hash, func(o uint32) bool { return o == n })
	switch {
	case found == 0:
	case before != 0:
		x.slots[at] = hash<<32 | uint64(before)
	default:
		x.remove(at)
	}
}

// remove frees a place, and moves up those after it that were to be there.
func (x *numberIndex) remove(at int) {
	mask := len(x.slots) - 1
	x.used--
	for next := (at + 1) & mask; x.slots[next] != 0; next = (next + 1) & mask {
		wanted := int(x.slots[next]>>32) & mask //nolint:gosec // its low bits count
		if (next-wanted)&mask >= (next-at)&mask {
			x.slots[at] = x.slots[next]
			at = next
		}
	}
	x.slots[at] = 0
}

// numberMap maps numbers to numbers other than 0, in a fifth of the time of a map
// of Go. Its zero value is empty.
type numberMap struct {
	keys   []uint32 // one more than the key, 0 for none
	values []uint32
	used   int
}

// at gives the place of a key, or where it would be.
func (m *numberMap) at(key uint32) int {
	mask := len(m.keys) - 1
	at := int((key*0x9e3779b1)>>8) & mask
	for m.keys[at] != 0 && m.keys[at] != key+1 {
		at = (at + 1) & mask
	}
	return at
}

// get gives 0 for a key that isn't there.
func (m *numberMap) get(key uint32) uint32 {
	if m.used == 0 {
		return 0
	}
	return m.values[m.at(key)]
}

func (m *numberMap) set(key, value uint32) {
	if 2*(m.used+1) > len(m.keys) {
		m.grow()
	}
	at := m.at(key)
	if m.keys[at] == 0 {
		m.keys[at] = key + 1
		m.used++
	}
	m.values[at] = value
}

func (m *numberMap) grow() {
	old := *m
	n := max(64, 2*len(old.keys))
	m.keys, m.values = make([]uint32, n), make([]uint32, n)
	for i, key := range old.keys {
		if key != 0 {
			at := m.at(key - 1)
			m.keys[at], m.values[at] = key, old.values[i]
		}
	}
}
