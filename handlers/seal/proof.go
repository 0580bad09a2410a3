package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// NotSealedError says that no signed head covers a sequence yet.
type NotSealedError struct{ Sequence, Sealed uint64 }

func (e NotSealedError) Error() string {
	return fmt.Sprintf("event %d is not sealed yet: the newest signed head covers the log up to %d", e.Sequence, e.Sealed)
}

// covering gives the head if it covers a sequence.
func (s *Sealer) covering(sequence uint64) (*Checkpoint, *tree, error) {
	head, t := s.head.Load(), s.tree.Load()
	if t == nil || uint64(s.size()) < sequence || head == nil {
		return nil, nil, NotSealedError{sequence, uint64(s.size())}
	}
	return head, t, nil
}

// Tile gives the hashes of a tile of the newest head; ok is false for one that the
// head doesn't have.
func (s *Sealer) Tile(level int, n int64, width int) (data []byte, ok bool, err error) {
	head, t, err := s.covering(1)
	if err != nil || level < 0 || !has(head.Tree.N, level, n, width) {
		return nil, false, nil //nolint:nilerr // there is none before the first head
	}
	data, err = t.tile(tlog.Tile{H: tileHeight, L: level, N: n, W: width})
	return data, err == nil, err
}

// has says whether a tree of a size has a tile of a width.
func has(size int64, level int, n int64, width int) bool {
	if level >= 8 || n >= 1<<(63-tileHeight*(level+1)) {
		return false
	}
	return n*tileWidth+int64(width) <= size>>(tileHeight*level)
}

// Entries gives the bundle of records from n*256 on; ok is false if the newest
// head doesn't have them all.
func (s *Sealer) Entries(ctx context.Context, n int64, width int) (bundle []byte, ok bool, err error) {
	head, _, err := s.covering(1)
	if err != nil || !has(head.Tree.N, 0, n, width) {
		return nil, false, nil
	}
	first := uint64(n*tileWidth) + 1
	var record, form []byte
	for stored, err := range s.cfg.Log.Read(ctx, first, first+uint64(width)-1) {
		if err == nil {
			record, form, err = appendLeaf(record[:0], form, stored.Sequence, stored.Encoded)
		}
		if err != nil {
			return nil, false, err
		}
		bundle = AppendEntry(bundle, record)
	}
	return bundle, true, nil
}

// Prove gives the proof that an event is on the log that the newest head is of. It
// fails with NotSealedError, with ErrForked if the event isn't the one that was
// sealed, and with errors of the log and of files. The event itself is looked at
// only if its record isn't kept here, or if the log is known to have changed;
// comparing its hash with that of the record is for who has the event too.
func (s *Sealer) Prove(ctx context.Context, sequence uint64) (Proof, error) {
	head, t, err := s.covering(max(sequence, 1))
	if err != nil {
		return Proof{}, err
	}
	if s.Err() == nil {
		if record := s.bundles.record(sequence); record != nil {
			if p, err := prove(head, t, sequence, record); err == nil {
				return p, nil
			}
		}
	}
	stored, err := s.cfg.Log.Get(ctx, sequence)
	if err != nil {
		return Proof{}, err
	}
	record, err := AppendLeaf(nil, sequence, stored.Encoded)
	if err != nil {
		return Proof{}, err
	}
	return prove(head, t, sequence, record)
}

// prove proves that a record is an event's in the tree of a head.
func prove(head *Checkpoint, t *tree, sequence uint64, record []byte) (p Proof, err error) {
	p = Proof{Record: record, Index: int64(sequence) - 1, Checkpoint: head.Note}
	if p.Hashes, err = tlog.ProveRecord(head.Tree.N, p.Index, t.proved(head.Tree)); err != nil {
		return Proof{}, fmt.Errorf("prove event %d: %w", sequence, err)
	}
	if err := p.Verify(head.Tree); err != nil {
		return Proof{}, fmt.Errorf("%w: %w", ErrForked, err)
	}
	return p, nil
}

// Extension is the proof that the log's first From events are a part of its first
// To.
type Extension struct {
	From, To         int64
	FromHash, ToHash tlog.Hash
	Hashes           tlog.TreeProof // RFC 6962
}

// Extend proves that the log of one size is the beginning of the log of another,
// or the newest head's for 0: 1 <= from <= to. It fails with NotSealedError.
func (s *Sealer) Extend(from, to uint64) (Extension, error) {
	head, t, err := s.covering(max(from, to, 1))
	if err != nil {
		return Extension{}, err
	}
	if to == 0 {
		to = uint64(head.Tree.N)
	}
	e := Extension{From: int64(from), To: int64(to)}
	r := t.proved(head.Tree)
	if e.FromHash, err = tlog.TreeHash(e.From, r); err == nil {
		e.ToHash, err = tlog.TreeHash(e.To, r)
	}
	if err == nil {
		e.Hashes, err = tlog.ProveTree(e.To, e.From, r)
	}
	return e, err
}

// Proof proves that an event's record is in a log: all that is needed, in one
// file (C2SP tlog-proof).
type Proof struct {
	Record     []byte // the leaf
	Index      int64
	Hashes     tlog.RecordProof
	Checkpoint []byte // signed
}

const proofHeader = "c2sp.org/tlog-proof@v1"

// Text gives the file.
func (p Proof) Text() []byte {
	b := []byte(proofHeader + "\nextra " + base64.StdEncoding.EncodeToString(p.Record) + "\nindex " + strconv.FormatInt(p.Index, 10) + "\n")
	for _, h := range p.Hashes {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	return append(append(b, '\n'), p.Checkpoint...)
}

// ParseProof reads what Text gives, and nothing else.
func ParseProof(text []byte) (Proof, error) {
	var p Proof
	head, checkpoint, ok := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 3 || lines[0] != proofHeader {
		return p, fmt.Errorf("is no %s", proofHeader)
	}
	p.Checkpoint = checkpoint
	var err error
	extra, ok := strings.CutPrefix(lines[1], "extra ")
	if p.Record, err = base64.StdEncoding.DecodeString(extra); err != nil || !ok {
		return p, fmt.Errorf("has no record of the event in its second line")
	}
	index, ok := strings.CutPrefix(lines[2], "index ")
	if p.Index, err = strconv.ParseInt(index, 10, 64); err != nil || !ok {
		return p, fmt.Errorf("has no index in its third line")
	}
	for i, line := range lines[3:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return p, fmt.Errorf("has no hash in line %d", i+4)
		}
		p.Hashes = append(p.Hashes, h)
	}
	if !bytes.Equal(p.Text(), text) {
		return p, fmt.Errorf("is not in the form in which it was written")
	}
	return p, nil
}

// Verify checks the proof against a head, whose signature it doesn't check.
func (p Proof) Verify(head tlog.Tree) error {
	if err := tlog.CheckRecord(p.Hashes, head.N, head.Hash, p.Index, hashRecord(p.Record)); err != nil {
		return fmt.Errorf("event %d isn't in the tree of %d events as this one: %w", p.Index+1, head.N, err)
	}
	return nil
}
