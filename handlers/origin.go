package handlers

import (
	"fmt"

	"github.com/modelog/modelog/events"
)

// MaxOrigin is how many characters a source and an id of a publisher may have.
const MaxOrigin = 1_024

// Origin names the event of a publisher that a request comes from. Source and id
// together are the request's identity for ever, in the place of a key.
type Origin struct {
	Source string // URI-reference
	ID     string
	// Content is what the identity is bound to: the canonical form of what was
	// published. The same identity with other content is refused.
	Content []byte
}

// Check refuses, with an InvalidError, what can't be an identity. It is visible
// ASCII, so that it is the same in every header, and no two look alike.
func (o *Origin) Check() error {
	var c checker
	c.identity("/source", o.Source)
	c.identity("/id", o.ID)
	if holdsCredentials(o.Source) {
		c.fail("/source", "no_credentials", "must not hold credentials: the log never forgets them")
	}
	return c.err()
}

func (c *checker) identity(pointer, s string) {
	if c.required(pointer, s) && !isVisible(s) {
		c.fail(pointer, "visible_ascii", "has characters that are not visible ASCII")
	}
	c.length(pointer, s, MaxOrigin)
}

func isVisible(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// hashes gives the hashes of identity and content, as Request.hashes does. No key
// of a request can have the same, since none has a line break.
func (o *Origin) hashes() (key, content events.Hash) {
	return hashOf([]byte("origin\n" + o.Source + "\n" + o.ID)), hashOf(o.Content)
}

// IdentityReusedError says that a publisher's source and id were used for an event
// with other content.
type IdentityReusedError struct {
	Origin   Origin
	Sequence uint64
}

// Code is CodeKeyReused.
func (IdentityReusedError) Code() Code { return CodeKeyReused }

func (e IdentityReusedError) Error() string {
	return fmt.Sprintf("the id %s of the source %s became event %d with other content; give another event another id",
		e.Origin.ID, e.Origin.Source, e.Sequence)
}

// reused refuses a request whose key or identity has other content.
func (r *Request) reused(sequence uint64) error {
	if r.Origin != nil {
		return IdentityReusedError{*r.Origin, sequence}
	}
	return KeyReusedError{sequence}
}
