package seal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Reviewer compares a log with a signed head while somebody reads it from its first
// event on. It trusts no tile: it makes the head's hash anew, and looks at tiles only
// to say where the log differs. It is for one goroutine at a time.
type Reviewer struct {
	head  tlog.Tree
	note  []byte // as it was signed, nil of a sealer's own
	store *store

	size    int64
	roots   []tlog.Hash // of the perfect trees that make up the first size leaves, the largest first
	leaves  []byte      // of the tile that isn't full yet
	suspect int64       // the first event that isn't the one in the tiles, 0 for none
	record  []byte      // buffers
	form    []byte
}

// Reviewer makes a reviewer of the newest head, nil before the first.
func (s *Sealer) Reviewer() *Reviewer {
	head := s.head.Load()
	if head == nil {
		return nil
	}
	return &Reviewer{head: head.Tree, store: &store{dir: s.cfg.Dir}}
}

// OpenReviewer makes a reviewer of the last head that was signed in a sealer's
// directory, nil if there is none. Who signed it is for Signed to say.
func OpenReviewer(dir string) (*Reviewer, error) {
	r := &Reviewer{store: &store{dir: dir}}
	var err error
	if r.note, err = r.store.readCheckpoint(); err != nil || r.note == nil {
		return nil, err
	}
	unsigned, isUnsigned := errors.AsType[*note.UnverifiedNoteError](func() error {
		_, err := note.Open(r.note, note.VerifierList())
		return err
	}())
	if !isUnsigned {
		return nil, fmt.Errorf("%w: the last checkpoint, %s, is damaged", ErrForked, r.path())
	}
	c, err := parseCheckpoint(unsigned.Note.Text)
	if err != nil {
		return nil, fmt.Errorf("%w: the last checkpoint, %s: %w", ErrForked, r.path(), err)
	}
	r.head = c.Tree
	return r, nil
}

func (r *Reviewer) path() string { return filepath.Join(r.store.dir, checkpointFile) }

// Signed says whether one of the keys of a registry has signed the head that
// OpenReviewer found. It fails with ErrForked.
func (r *Reviewer) Signed(registry ulid.ULID, keys ...string) error {
	if _, err := OpenCheckpoint(r.note, Origin(registry), keys...); err != nil {
		return fmt.Errorf("%w: the last checkpoint, %s: %w", ErrForked, r.path(), err)
	}
	return nil
}

// Size is how many events the head has.
func (r *Reviewer) Size() uint64 { return uint64(r.head.N) }

// Watch gives a log that is reviewed as it is read. It must be read once, from the
// first event on.
func (r *Reviewer) Watch(log events.Log) events.Log { return &watchedLog{log, r} }

type watchedLog struct {
	events.Log
	reviewer *Reviewer
}

// Read yields what is reviewed.
func (l *watchedLog) Read(ctx context.Context, from, to uint64) iter.Seq2[events.Stored, error] {
	return func(yield func(events.Stored, error) bool) {
		for stored, err := range l.Log.Read(ctx, from, to) {
			if err == nil {
				err = l.reviewer.add(stored)
			}
			if !yield(stored, err) {
				return
			}
		}
	}
}

func (r *Reviewer) add(stored events.Stored) (err error) {
	if r.size == r.head.N {
		return nil
	}
	if stored.Sequence != uint64(r.size)+1 {
		return fmt.Errorf("compare the log with its seal: %w: event %d comes where %d should", events.ErrMissing, stored.Sequence, r.size+1)
	}
	if r.record, r.form, err = appendLeaf(r.record[:0], r.form, stored.Sequence, stored.Encoded); err != nil {
		return fmt.Errorf("%w: %w", ErrForked, err)
	}
	leaf := hashRecord(r.record)
	r.leaves = append(r.leaves, leaf[:]...)
	for n := r.size; n&1 == 1; n >>= 1 {
		last := len(r.roots) - 1
		leaf = tlog.NodeHash(r.roots[last], leaf)
		r.roots = r.roots[:last]
	}
	r.roots = append(r.roots, leaf)
	r.size++
	if len(r.leaves) == tileBytes {
		r.lookAtTile()
	}
	return nil
}

// lookAtTile remembers the first event of which the tiles say otherwise. Either of the
// two may be wrong; the head tells.
func (r *Reviewer) lookAtTile() {
	n := r.size/tileWidth - 1
	if there, err := r.store.readTile(tlog.Tile{H: tileHeight, L: 0, N: n}); r.suspect == 0 && err == nil {
		for at := 0; at < tileWidth && r.suspect == 0; at++ {
			if place := at * tlog.HashSize; tlog.Hash(there[place:]) != tlog.Hash(r.leaves[place:]) {
				r.suspect = n*tileWidth + int64(at) + 1
			}
		}
	}
	r.leaves = r.leaves[:0]
}

// Finish fails with ErrForked if what was read isn't what was sealed, and names the
// first event that differs if the tiles tell.
func (r *Reviewer) Finish() error {
	switch {
	case r.size < r.head.N:
		return fmt.Errorf("%w: it ends at %d, but was sealed up to %d", ErrForked, r.size, r.head.N)
	case r.root() == r.head.Hash:
		return nil
	case r.suspect > 0:
		return fmt.Errorf("%w: event %d is not the one that was sealed", ErrForked, r.suspect)
	default:
		return fmt.Errorf("%w: the first %d events give another tree than the one that was signed", ErrForked, r.head.N)
	}
}

func (r *Reviewer) root() tlog.Hash {
	if len(r.roots) == 0 {
		return r.head.Hash // of an empty head, which says nothing
	}
	root := r.roots[len(r.roots)-1]
	for i := len(r.roots) - 2; i >= 0; i-- {
		root = tlog.NodeHash(r.roots[i], root)
	}
	return root
}
