package natslog

import (
	"fmt"
	"strings"

	"github.com/modelog/modelog/events"
)

const (
	// maxSubjectBytes keeps a publish well below the 4096 bytes of the
	// server's control line; a longer one would close the connection.
	maxSubjectBytes = 1024
	// maxHeaderBytes leaves room for our own headers below the server's
	// limit of 64 KiB.
	maxHeaderBytes = 63 << 10
)

// checkGroup refuses what the log can't hold or can't give back as it was, and
// returns the bytes that the group takes. The error wraps events.ErrBadGroup.
func checkGroup(group []events.Encoded) (size int, err error) {
	if len(group) == 0 || len(group) > events.MaxGroupEvents {
		return 0, fmt.Errorf("%w: %d events, allowed are 1 to %d", events.ErrBadGroup, len(group), events.MaxGroupEvents)
	}
	for i := range group {
		n, err := checkEvent(&group[i])
		if err != nil {
			return 0, fmt.Errorf("%w: event %d of %d: %w", events.ErrBadGroup, i+1, len(group), err)
		}
		size += n
	}
	if size > events.MaxGroupBytes {
		return 0, fmt.Errorf("%w: %d bytes, allowed are %d", events.ErrBadGroup, size, events.MaxGroupBytes)
	}
	return size, nil
}

func checkEvent(e *events.Encoded) (size int, err error) {
	if err := checkSubject(e.Subject); err != nil {
		return 0, err
	}
	before := ""
	for _, f := range e.Header {
		if err := checkHeader(f); err != nil {
			return 0, err
		}
		if f.Name <= before {
			return 0, fmt.Errorf("header %.80q: it is there twice, or out of order", f.Name)
		}
		before = f.Name
	}
	size = e.Size()
	if size > events.MaxEventBytes {
		return 0, fmt.Errorf("%d bytes, allowed are %d", size, events.MaxEventBytes)
	}
	if n := size - len(e.Subject) - len(e.Data); n > maxHeaderBytes {
		return 0, fmt.Errorf("%d bytes of headers, allowed are %d", n, maxHeaderBytes)
	}
	return size, nil
}

// checkSubject wants tokens of [A-Za-z0-9_-] below the prefix: the server would
// store a wildcard as it stands, and nobody could filter for it.
func checkSubject(subject string) error {
	rest, ok := strings.CutPrefix(subject, events.SubjectPrefix)
	if !ok || len(subject) > maxSubjectBytes {
		return fmt.Errorf("subject %.80q: it must begin with %s and have at most %d bytes", subject, events.SubjectPrefix, maxSubjectBytes)
	}
	token := 0
	for i := range len(rest) {
		switch c := rest[i]; {
		case tokenByte(c):
			token++
		case c == '.' && token > 0:
			token = 0
		default:
			return fmt.Errorf("subject %.80q: %q has no place in it", subject, c)
		}
	}
	if token == 0 {
		return fmt.Errorf("subject %.80q: it ends in an empty token", subject)
	}
	return nil
}

func tokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// checkHeader refuses what wouldn't come back as it went, and what would tell
// the server to do something.
func checkHeader(f events.HeaderField) error {
	if !validHeaderName(f.Name) {
		return fmt.Errorf("header %.80q: its name must be of letters, digits and the signs -_. only", f.Name)
	}
	if isServerHeader(f.Name) {
		return fmt.Errorf("header %.80q belongs to the server", f.Name)
	}
	if v := f.Value; strings.IndexByte(v, '\r') >= 0 || strings.IndexByte(v, '\n') >= 0 || strings.Trim(v, " \t") != v {
		return fmt.Errorf("header %.80q: a value must not have line breaks, or white space at its edges", f.Name)
	}
	return nil
}

func validHeaderName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !tokenByte(c) && c != '.' {
			return false
		}
	}
	return name != ""
}

// isServerHeader says whether a header is the server's: an instruction, what it
// adds to a message that it hands out, or the status of an empty answer.
func isServerHeader(key string) bool {
	if key == "" || key[0] == 'c' { // as an event's own begin
		return false
	}
	return len(key) >= 5 && strings.EqualFold(key[:5], "nats-") || key == "Status" || key == "Description"
}
