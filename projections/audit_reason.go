package projections

import (
	"strings"
	"unicode/utf8"
)

// maxAuditReason is how many bytes of a reason the index keeps. A longer one stays
// in the log, and is read from there for who asks.
const maxAuditReason = 128

// reasons has the reasons of events. Those that come again and again are kept once.
type reasons struct {
	numbers[string]             // the texts; empty for one that stays in the log
	signatures      []signature // by number
}

func (r *reasons) of(text string, sequence uint32) uint32 {
	if len(text) <= maxAuditReason {
		number := r.numbers.of(text, sequence)
		if int(number) == len(r.signatures) {
			r.signatures = append(r.signatures, signatureOf(text))
		}
		return number
	}
	return r.inLog(signatureOf(text), sequence)
}

// inLog takes a text of which the signature alone is kept.
func (r *reasons) inLog(s signature, sequence uint32) uint32 {
	r.all, r.first, r.signatures = append(r.all, ""), append(r.first, sequence), append(r.signatures, s)
	return uint32(len(r.all) - 1) //nolint:gosec // fewer than events
}

func (r *reasons) cutAfter(last uint32) {
	r.numbers.cutAfter(last)
	r.signatures = r.signatures[:len(r.all)]
}

// signature has a bit for each three letters that follow each other in a text, in
// lower case, as a hash spreads them: a text that holds another has all of its bits.
type signature uint64

func signatureOf(text string) (s signature) {
	var window uint64 // the last three letters, 21 bits each
	n := 0
	for _, letter := range strings.ToLower(text) {
		if letter == utf8.RuneError {
			letter = 0
		}
		window = (window<<21 | uint64(letter)) & (1<<63 - 1)
		if n++; n >= 3 {
			s |= 1 << (window * 0x9E3779B97F4A7C15 >> 58)
		}
	}
	return s
}

// needle is a text that is looked for, whatever its case.
type needle struct {
	text      string // in lower case
	signature signature
}

func newNeedle(text string) needle {
	return needle{strings.ToLower(text), signatureOf(text)}
}

// in says whether a text holds the needle. One that stays in the log may hold it:
// who has it asks HoldsText.
func (n needle) in(text string) bool {
	return text == "" || strings.Contains(strings.ToLower(text), n.text)
}

// HoldsText says whether a text holds another, whatever the case of their letters.
func HoldsText(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}
