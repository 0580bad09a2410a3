package filter

import (
	"strings"
	"unicode"
)

// words is how many 64-bit words the longest pattern needs: a bit per character, and
// one for the beginning.
const words = (maxPattern + 1 + 63) / 64

// A pattern is what LIKE compares with: % is any text, and _ any one character.
//
// It is a machine that reads a value once, from left to right, and knows at every
// character all the numbers of characters of the pattern (a % is none) that may have been
// met so far, as a set of bits. So the work is the length of the value times the words
// of the pattern, whatever the two are: a matcher that tries, fails and goes back can be
// made to need hours by a hostile pattern.
type pattern struct {
	prefix string // what stands before the first % or _; not for ILIKE
	rest   string // the others; not for ILIKE
	fold   bool   // ILIKE

	size   int             // characters, without the %
	words  int             // of the sets below
	loop   []uint64        // bit i: a % follows the first i characters
	ascii  [128]uint16     // the class of a character: which of the sets it has
	others map[rune]uint16 // the same beyond ASCII
	sets   [][words]uint64 // by class; bit i: the class is the pattern's i-th character; class 0 is what the pattern does not have
}

func newPattern(text string, fold bool) *pattern {
	p := &pattern{fold: fold, sets: make([][words]uint64, 1), loop: make([]uint64, words)}
	if !fold {
		cut := strings.IndexAny(text, "%_")
		if cut < 0 {
			cut = len(text)
		}
		p.prefix, p.rest = text[:cut], text[cut:]
	}
	var anything []int
	for _, r := range text {
		switch r {
		case '%':
			p.loop[p.size/64] |= 1 << (p.size % 64)
			continue
		case '_':
			p.size++
			anything = append(anything, p.size)
		default:
			p.size++
			p.sets[p.newClass(r)][p.size/64] |= 1 << (p.size % 64)
		}
	}
	for class := range p.sets {
		for _, i := range anything {
			p.sets[class][i/64] |= 1 << (i % 64)
		}
	}
	p.words = p.size/64 + 1
	return p
}

// newClass is the class of a character the pattern has.
func (p *pattern) newClass(r rune) uint16 {
	if p.fold {
		r = fold(r)
	}
	if class := p.class(r); class != 0 {
		return class
	}
	class := uint16(len(p.sets))
	p.sets = append(p.sets, [words]uint64{})
	if r < 128 {
		p.ascii[r] = class
		return class
	}
	if p.others == nil {
		p.others = map[rune]uint16{}
	}
	p.others[r] = class
	return class
}

func (p *pattern) class(r rune) uint16 {
	if r < 128 {
		return p.ascii[r]
	}
	return p.others[r]
}

// match says whether the pattern fits the whole value.
func (p *pattern) match(value string) bool {
	if !p.fold { // the frequent cases: no wildcard, and one % at the end
		if !strings.HasPrefix(value, p.prefix) {
			return false
		}
		switch p.rest {
		case "":
			return len(value) == len(p.prefix)
		case "%":
			return true
		}
	}
	if p.words == 1 {
		return p.matchOne(value)
	}
	return p.matchMany(value)
}

// matchOne is matchMany for a pattern of one word, as nearly all are.
func (p *pattern) matchOne(value string) bool {
	state, loop := uint64(1), p.loop[0]
	for _, r := range value {
		if p.fold {
			r = fold(r)
		}
		if state = state<<1&p.sets[p.class(r)][0] | state&loop; state == 0 {
			return false
		}
	}
	return state>>p.size&1 == 1
}

func (p *pattern) matchMany(value string) bool {
	var state [words]uint64
	state[0] = 1
	for _, r := range value {
		if p.fold {
			r = fold(r)
		}
		set := &p.sets[p.class(r)]
		var carry, alive uint64
		for i := range p.words {
			was := state[i]
			state[i] = (was<<1|carry)&set[i] | was&p.loop[i]
			carry = was >> 63
			alive |= state[i]
		}
		if alive == 0 {
			return false
		}
	}
	return state[p.size/64]>>(p.size%64)&1 == 1
}

// fold gives all the cases of a character the same one: Unicode's simple folding, one
// character for one, so that ß is not ss.
func fold(r rune) rune {
	if r < 128 {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return least
}
