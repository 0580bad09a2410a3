package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// begin proves that the tree of this log has the heads that were signed, and goes
// on from the largest of them. The tree comes from the tiles here if they give
// that head, else from the log.
func (s *Sealer) begin(ctx context.Context) error {
	local, published, err := s.last(ctx)
	if err != nil {
		return err
	}
	last := local
	if published.Tree.N > last.Tree.N {
		last = published
	}
	if err := s.reaches(ctx, last.Tree.N); err != nil {
		return err
	}
	t, err := s.regrow(ctx, last.Tree)
	if err != nil {
		return err
	}
	for _, c := range []Checkpoint{local, published} {
		if c.Tree.N == 0 {
			continue
		}
		if err := gives(t, c.Tree); err != nil {
			return err
		}
	}
	s.signed = last.Tree
	served := local
	if s.cfg.Board != nil { // what isn't there yet nobody has seen
		served = published
	}
	if served.Tree.N > 0 {
		s.head.Store(&served)
	}
	s.tree.Store(t)
	return nil
}

// last gives the last checkpoint that was signed here, and the last that was
// published; of size 0 for none.
func (s *Sealer) last(ctx context.Context) (local, published Checkpoint, err error) {
	data, err := s.store.readCheckpoint()
	if err != nil {
		return local, published, fmt.Errorf("read the last checkpoint: %w", err)
	}
	if data != nil {
		if local, err = OpenCheckpoint(data, s.origin, s.cfg.Keys()...); err != nil {
			return local, published, fmt.Errorf("%w: the last checkpoint here, %s: %w", ErrForked, checkpointFile, err)
		}
	}
	if s.cfg.Board == nil {
		return local, published, nil
	}
	if data, _, err = s.cfg.Board.Newest(ctx); err != nil {
		return local, published, fmt.Errorf("read the published checkpoint: %w", err)
	}
	if data != nil {
		published, err = OpenCheckpoint(data, s.origin, s.cfg.Keys()...)
	}
	return local, published, err
}

// regrow gives the tree that has a head. It fails with ErrForked if the log gives
// another one.
func (s *Sealer) regrow(ctx context.Context, head tlog.Tree) (*tree, error) {
	if head.N == 0 {
		return &tree{store: s.store}, nil
	}
	var rest []tlog.Hash
	for stored, err := range s.cfg.Log.Read(ctx, uint64(head.N&^(tileWidth-1))+1, uint64(head.N)) {
		if err != nil {
			return nil, logError(err)
		}
		h, err := s.leafHash(stored.Sequence, stored.Encoded)
		if err != nil {
			return nil, err
		}
		rest = append(rest, h)
	}
	t, err := restore(s.store, head.N, rest)
	if err == nil {
		err = gives(t, head)
	}
	if err == nil {
		return t, nil
	}
	s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the tiles of the log's tree don't give the head that was signed; they are made from the log again",
		slog.Any("error", err))
	t = &tree{store: s.store}
	if err := s.follow(ctx, t, head.N); err != nil {
		return nil, err
	}
	return t, gives(t, head)
}

// review compares the log with the head that it was begun with, event by event:
// until then the proof of that head rests on tiles. It runs beside run.
func (s *Sealer) review(head tlog.Tree, done chan<- struct{}) {
	defer close(done)
	select {
	case <-time.After(s.cfg.ReviewAfter):
	case <-s.ctx.Done():
		return
	}
	err := s.compare(s.ctx, head)
	switch {
	case err == nil || s.ctx.Err() != nil:
	case errors.Is(err, ErrForked):
		s.fail(err)
	default:
		s.cfg.Logger.LogAttrs(s.ctx, slog.LevelWarn, "comparing the log with its tree failed", slog.Any("error", err))
	}
}

// compare grows the tree from the log once more, and compares it with the tiles
// that are there. It repairs tiles that are damaged.
func (s *Sealer) compare(ctx context.Context, head tlog.Tree) error {
	shadow := &tree{store: s.store}
	var record, form []byte
	if head.N == 0 {
		return nil
	}
	for stored, err := range s.cfg.Log.Read(ctx, 1, uint64(head.N)) {
		if err != nil {
			return logError(err)
		}
		if record, form, err = appendLeaf(record[:0], form, stored.Sequence, stored.Encoded); err != nil {
			return fmt.Errorf("%w: %w", ErrForked, err)
		}
		shadow.append(hashRecord(record))
		if err := shadow.flush(func(t tlog.Tile, data []byte) error { return s.compareTile(head, t, data) }); err != nil {
			return err
		}
	}
	return gives(shadow, head)
}

// compareTile compares what the log gives for a tile with what is there. If that
// is a proved part of the head, the log has changed; else the tile has.
func (s *Sealer) compareTile(head tlog.Tree, t tlog.Tile, data []byte) error {
	there, err := s.tree.Load().tile(t)
	if err == nil && bytes.Equal(there, data) {
		return nil
	}
	first := tlog.StoredHashIndex(tileHeight*t.L, t.N*tileWidth)
	proved := func() error {
		_, err := s.tree.Load().proved(head).ReadHashes([]int64{first})
		return err
	}
	if proved() == nil {
		at := 0
		for at < len(data) && there[at] == data[at] {
			at++
		}
		wide := int64(1) << (tileHeight * t.L)
		from := (t.N*tileWidth + int64(at/tlog.HashSize)) * wide
		return fmt.Errorf("%w: it was another one, or is in another place, that was sealed as event %d%s", ErrForked, from+1, upTo(from+wide, wide))
	}
	s.cfg.Logger.LogAttrs(s.ctx, slog.LevelWarn, "a tile of the log's tree was damaged; it is made from the log again",
		slog.String("tile", TilePath(t.L, t.N, t.W)), slog.Any("error", err))
	if err := s.store.writeTileAlone(t, data); err != nil {
		return err
	}
	return proved()
}

func upTo(last, wide int64) string {
	if wide == 1 {
		return ""
	}
	return fmt.Sprintf(" to %d", last)
}
