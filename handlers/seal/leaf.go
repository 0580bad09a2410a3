package seal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"golang.org/x/mod/sumdb/tlog"
)

// Leaf is what the tree holds of an event: enough to know it by, and the hash
// of its canonical form, but no name, no text and nobody that it tells of.
//
// Its fields are in the order of its JSON, which is canonical (RFC 8785).
type Leaf struct {
	ID       string `json:"id"`
	Sequence uint64 `json:"seq"`
	SHA256   string `json:"sha256"` // of the canonical form (events.Encoded.Sum), in hex
	Source   string `json:"source"`
	Stream   string `json:"stream"` // what it is an event of: <model|target|registry>.<ULID>
	Time     string `json:"time"`
	Type     string `json:"type"`
	Version  int    `json:"v"` // of the record's shape, LeafVersion
}

// LeafVersion is the version of the records that this release writes.
const LeafVersion = 1

// AppendLeaf appends the record of an event on the log to dst. It fails for what
// is no event.
func AppendLeaf(dst []byte, sequence uint64, e events.Encoded) ([]byte, error) {
	dst, _, err := appendLeaf(dst, nil, sequence, e)
	return dst, err
}

// appendLeaf needs a buffer for the event's form, and gives it back.
func appendLeaf(dst, form []byte, sequence uint64, e events.Encoded) (record, buffer []byte, err error) {
	var id, source, at, kind string
	for _, f := range e.Header {
		switch f.Name {
		case "ce-id":
			id = f.Value
		case "ce-source":
			source = f.Value
		case "ce-time":
			at = f.Value
		case "ce-type":
			kind = f.Value
		}
	}
	stream, err := streamOf(e.Subject)
	if err != nil {
		return dst, form, fmt.Errorf("the record of event %d: %w", sequence, err)
	}
	for _, text := range []string{id, source, at, kind, stream} {
		if text == "" || strings.ContainsFunc(text, mustQuote) {
			return dst, form, fmt.Errorf("the record of event %d: %q can't be an attribute of one", sequence, text)
		}
	}
	form = e.AppendForm(form[:0])
	sum := sha256.Sum256(form)
	dst = append(append(dst, `{"id":"`...), id...)
	dst = strconv.AppendUint(append(dst, `","seq":`...), sequence, 10)
	dst = hex.AppendEncode(append(dst, `,"sha256":"`...), sum[:])
	dst = append(append(dst, `","source":"`...), source...)
	dst = append(append(dst, `","stream":"`...), stream...)
	dst = append(append(dst, `","time":"`...), at...)
	dst = append(append(dst, `","type":"`...), kind...)
	return append(dst, `","v":1}`...), form, nil
}

func mustQuote(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }

// streamOf gives the root of an event from its NATS subject, which no text of a
// user gets into.
func streamOf(subject string) (string, error) {
	rest, ok := strings.CutPrefix(subject, events.SubjectPrefix)
	kind, rest, _ := strings.Cut(rest, ".")
	id, _, more := strings.Cut(rest, ".")
	if !ok || !more {
		return "", fmt.Errorf("%q is no subject of an event", subject)
	}
	return kind + "." + id, nil
}

// ParseLeaf reads a record, and takes only what AppendLeaf writes.
func ParseLeaf(record []byte) (Leaf, error) {
	var l Leaf
	if err := json.Unmarshal(record, &l, json.RejectUnknownMembers(true)); err != nil {
		return l, fmt.Errorf("read the record of an event: %w", err)
	}
	if l.Version != LeafVersion {
		return l, fmt.Errorf("read the record of an event: version %d is not known to this release", l.Version)
	}
	again, err := json.Marshal(l)
	if err != nil || string(again) != string(record) {
		return l, errors.New("read the record of an event: it is not in its canonical form")
	}
	return l, nil
}

// hashRecord is the hash of a record as a leaf.
func hashRecord(record []byte) tlog.Hash { return tlog.RecordHash(record) }

// MaxRecord is how long a record may be: bundles have its length in two bytes.
const MaxRecord = 1<<16 - 1

// AppendEntry appends a record to a bundle of entries (C2SP tlog-tiles).
func AppendEntry(bundle, record []byte) []byte {
	return append(binary.BigEndian.AppendUint16(bundle, uint16(len(record))), record...)
}

// Entries splits a bundle into its records.
func Entries(bundle []byte) ([][]byte, error) {
	var all [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 {
			return nil, fmt.Errorf("entry %d of the bundle is cut off", len(all))
		}
		n := 2 + int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < n {
			return nil, fmt.Errorf("entry %d of the bundle is cut off", len(all))
		}
		all = append(all, bundle[2:n])
		bundle = bundle[n:]
	}
	return all, nil
}
