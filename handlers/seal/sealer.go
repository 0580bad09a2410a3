package seal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
	"golang.org/x/mod/sumdb/tlog"
)

// Config is what a sealer needs.
type Config struct {
	Dir string // of its own, for tiles and the last checkpoint
	Log events.Log
	// Visible gives the last sequence that may be seen: those are durable.
	Visible  func() uint64
	Registry ulid.ULID
	// Keys gives the verifier keys that the log has recorded, the one in force
	// last.
	Keys func() []string
	// Key signs, as long as it is the one in force; nil where nothing is signed.
	Key *Key
	// Board is where those that seal the same log see each other's checkpoints;
	// nil if nobody else does.
	Board    Board
	Interval time.Duration // between two checkpoints, 1 s if 0
	// ReviewAfter is how long after Start the whole log is compared with the tree,
	// which takes a core for some seconds a million events.
	ReviewAfter time.Duration
	Logger      *slog.Logger // nil means silence

	// fault, unless nil, stands in the way of each step, for tests.
	fault func(step string, do func() error) error
}

// Board is a place outside where the newest checkpoint hangs.
type Board interface {
	// Newest gives the newest checkpoint, nil for none, and its place on the
	// board.
	Newest(ctx context.Context) (checkpoint []byte, place uint64, err error)
	// Publish hangs up a checkpoint after the one with a place. It wraps
	// ErrMoved if there is another one by now.
	Publish(ctx context.Context, place uint64, checkpoint []byte) error
}

// ErrMoved says that somebody else has published a checkpoint.
var ErrMoved = errors.New("another checkpoint was published meanwhile")

// ErrForked says that the log isn't the one that was sealed: it has lost, gained
// or changed an event. Nothing is signed any more.
var ErrForked = errors.New("the log is not the one that was sealed")

// Sealer grows the tree with the log, and signs its head about once a second
// when there is something new. One goroutine does all of it; every other method
// is safe for concurrent use.
//
// What a crash finds at each step:
//
//	step               after a crash
//	write a tile       tiles beyond the last checkpoint are written again, the same
//	sync the tiles     a damaged one doesn't give the checkpoint's hash: all are
//	                   made from the log again
//	sign               nobody has seen it
//	write, sync and    the one before, or this one, which nobody has seen; the
//	rename             tree must give whichever it is before anything is signed
//	publish            whoever seals next reads what hangs there, and proves it
//	serve              it is durable here, and on the board
type Sealer struct {
	cfg     Config
	origin  string
	store   *store
	bundles bundles
	tree    atomic.Pointer[tree]       // nil until it is proved
	head    atomic.Pointer[Checkpoint] // what is served, nil for none
	failed  atomic.Pointer[error]

	landed  chan batch
	waiting atomic.Int64 // bytes in landed
	stop    chan struct{}
	done    chan struct{}
	ctx     context.Context
	cancel  context.CancelFunc

	// What follows belongs to run.
	signed tlog.Tree // the largest head that was signed or published, as far as is known here
	record []byte    // buffers
	form   []byte
}

// batch is a group of events that have become visible.
type batch struct {
	first uint64
	group []events.Encoded
	bytes int64
}

const (
	maxBatches      = 256
	maxBatchedBytes = 32 << 20
)

// Open makes a sealer, which begins with Start.
func Open(cfg Config) (*Sealer, error) {
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.fault == nil {
		cfg.fault = func(_ string, do func() error) error { return do() }
	}
	store, err := openStore(cfg.Dir)
	if err != nil {
		return nil, err
	}
	return &Sealer{
		cfg: cfg, origin: Origin(cfg.Registry), store: store, bundles: bundles{dir: cfg.Dir},
		landed: make(chan batch, maxBatches), stop: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// Start proves the last checkpoint and seals from then on, until Stop. What fails
// meanwhile is logged, and tried again; what no retry helps against is in Err.
func (s *Sealer) Start(ctx context.Context) {
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go s.run()
}

// Stop seals what is visible, and ends the sealer. It gives that up when the
// context ends.
func (s *Sealer) Stop(ctx context.Context) {
	close(s.stop)
	select {
	case <-s.done:
	case <-ctx.Done():
		s.cancel()
		<-s.done
	}
	s.cancel()
}

// Err says why nothing is sealed any more: it wraps ErrForked. It is nil while all
// is well.
func (s *Sealer) Err() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *Sealer) fail(err error) {
	if s.failed.CompareAndSwap(nil, &err) {
		s.cfg.Logger.LogAttrs(s.ctx, slog.LevelError, "nothing is sealed any more: the log is not the one that was sealed; "+
			"keep the data directory as it is, and find out who changed it", slog.Any("error", err))
		s.cancel()
	}
}

// Landed takes a group of events that have become visible; see handlers.Config.
// It never blocks: what there is no room for is read from the log later.
func (s *Sealer) Landed(first uint64, group []events.Encoded) {
	b := batch{first: first, group: group}
	for _, e := range group {
		b.bytes += int64(e.Size())
	}
	if s.waiting.Add(b.bytes) > maxBatchedBytes {
		s.waiting.Add(-b.bytes)
		b.group, b.bytes = nil, 0
	}
	select {
	case s.landed <- b:
	default: // those before it will make run look at what is visible
		s.waiting.Add(-b.bytes)
	}
}

func (s *Sealer) run() {
	defer close(s.done)
	timer := time.NewTimer(0) // something may be there already
	defer timer.Stop()
	armed := true
	var reviewed chan struct{}
	defer func() {
		s.cancel()
		if reviewed != nil {
			<-reviewed
		}
	}()
	for s.Err() == nil {
		select {
		case <-s.stop:
			s.finish()
			return
		case <-s.ctx.Done():
			return
		case b := <-s.landed:
			s.take(b)
			if !armed {
				timer.Reset(s.cfg.Interval)
				armed = true
			}
		case <-timer.C:
			armed = false
			if s.tree.Load() == nil && s.attempt(s.begin) && reviewed == nil {
				reviewed = make(chan struct{})
				go s.review(s.signed, reviewed)
			}
			if s.tree.Load() != nil {
				s.attempt(s.seal)
			}
			if again, pause := s.more(); again {
				timer.Reset(pause)
				armed = true
			}
		}
	}
}

// attempt tries something, and says whether it worked.
func (s *Sealer) attempt(what func(context.Context) error) bool {
	err := what(s.ctx)
	switch {
	case err == nil:
		return true
	case s.ctx.Err() != nil:
	case errors.Is(err, ErrForked):
		s.fail(err)
	default:
		s.cfg.Logger.LogAttrs(s.ctx, slog.LevelWarn, "sealing the log failed; it is tried again", slog.Any("error", err))
	}
	return false
}

// more says whether there is something left to seal, and when to do so.
func (s *Sealer) more() (bool, time.Duration) {
	t := s.tree.Load()
	switch {
	case t == nil:
		return true, s.cfg.Interval
	case s.size() >= int64(s.cfg.Visible()):
		return false, 0
	case !s.maySign() && s.cfg.Board == nil: // nobody will
		return false, 0
	case t.grown() < int64(s.cfg.Visible()) && s.size() == t.grown(): // a long log, piece by piece
		return true, 0
	default:
		return true, s.cfg.Interval
	}
}

// finish seals what is left.
func (s *Sealer) finish() {
	for s.tree.Load() != nil && s.Err() == nil && s.size() < int64(s.cfg.Visible()) && s.maySign() {
		if before := s.size(); !s.attempt(s.seal) || s.size() == before {
			return
		}
	}
}

// take adds events to the tree, if they are the next ones.
func (s *Sealer) take(b batch) {
	s.waiting.Add(-b.bytes)
	t := s.tree.Load()
	if t == nil {
		return
	}
	next := uint64(t.grown()) + 1
	for i, e := range b.group {
		sequence := b.first + uint64(i)
		if sequence != next {
			continue // known, or after some that must be read from the log
		}
		if err := s.grow(t, sequence, e); err != nil {
			s.fail(err)
			return
		}
		next++
	}
}

// grow adds one event to a tree.
func (s *Sealer) grow(t *tree, sequence uint64, e events.Encoded) error {
	h, err := s.leafHash(sequence, e)
	if err == nil {
		t.append(h)
	}
	return err
}

// leafHash fails with ErrForked for what can't be an event.
func (s *Sealer) leafHash(sequence uint64, e events.Encoded) (tlog.Hash, error) {
	var err error
	if s.record, s.form, err = appendLeaf(s.record[:0], s.form, sequence, e); err != nil {
		return tlog.Hash{}, fmt.Errorf("%w: %w", ErrForked, err)
	}
	s.bundles.add(sequence, s.record)
	return hashRecord(s.record), nil
}

// How much of a log is read, and written as tiles, before the head is signed.
const (
	piece     = 1 << 17
	tilesHeld = 256
)

// follow grows a tree from the log, up to a sequence. A gap in the log is
// ErrForked.
func (s *Sealer) follow(ctx context.Context, t *tree, to int64) error {
	if t.grown() >= to {
		return nil
	}
	for stored, err := range s.cfg.Log.Read(ctx, uint64(t.grown())+1, uint64(to)) {
		if err != nil {
			return logError(err)
		}
		if err := s.grow(t, stored.Sequence, stored.Encoded); err != nil {
			return err
		}
		if t.waiting() >= tilesHeld {
			if err := s.flush(t); err != nil {
				return err
			}
		}
	}
	return nil
}

// logError takes a gap in the log for what it is.
func logError(err error) error {
	if errors.Is(err, events.ErrMissing) {
		return fmt.Errorf("%w: %w", ErrForked, err)
	}
	return fmt.Errorf("read the log: %w", err)
}

func (s *Sealer) flush(t *tree) error {
	return t.flush(func(tile tlog.Tile, data []byte) error {
		if err := s.cfg.fault("write a tile", func() error { return s.store.writeTile(tile, data) }); err != nil {
			return fmt.Errorf("write %s: %w", TilePath(tile.L, tile.N, tile.W), err)
		}
		return nil
	})
}

// size is that of the head that is served.
func (s *Sealer) size() int64 {
	if head := s.head.Load(); head != nil {
		return head.Tree.N
	}
	return 0
}

// maySign says whether the key here is the one in force.
func (s *Sealer) maySign() bool {
	keys := s.cfg.Keys()
	return s.cfg.Key != nil && len(keys) > 0 && keys[len(keys)-1] == s.cfg.Key.Verifier
}

// seal brings the tree up to what is visible, and signs and publishes its head
// if there is something new.
func (s *Sealer) seal(ctx context.Context) error {
	t := s.tree.Load()
	if err := s.follow(ctx, t, min(int64(s.cfg.Visible()), t.grown()+piece)); err != nil {
		return err
	}
	place, err := s.adopt(ctx, t)
	if err != nil {
		return err
	}
	if t.grown() <= s.size() || !s.maySign() {
		return s.flush(t)
	}
	next, err := s.sign(t)
	if err != nil {
		return err
	}
	if s.cfg.Board != nil {
		err := s.cfg.fault("publish", func() error { return s.cfg.Board.Publish(ctx, place, next.Note) })
		if errors.Is(err, ErrMoved) {
			_, err = s.adopt(ctx, t)
			return err
		}
		if err != nil {
			return fmt.Errorf("publish the checkpoint: %w", err)
		}
	}
	s.head.Store(&next)
	return nil
}

// sign makes the tree's head durable, and gives it, signed. Nobody has seen it
// when sign returns.
func (s *Sealer) sign(t *tree) (next Checkpoint, err error) {
	if err := s.flush(t); err != nil {
		return next, err
	}
	if err := s.cfg.fault("sync the tiles", s.store.syncTiles); err != nil {
		return next, fmt.Errorf("sync the tiles: %w", err)
	}
	head := tlog.Tree{N: t.grown()}
	if head.Hash, err = t.hash(head.N); err != nil {
		return next, err
	}
	if err := s.extends(t, head); err != nil {
		return next, err
	}
	if err := s.Err(); err != nil {
		return next, err
	}
	err = s.cfg.fault("sign", func() error {
		next, err = sign(s.origin, head, s.cfg.Key)
		return err
	})
	if err != nil {
		return next, fmt.Errorf("sign the checkpoint: %w", err)
	}
	return next, s.keep(next)
}

// extends proves that a head of the tree extends the last one that was signed.
func (s *Sealer) extends(t *tree, head tlog.Tree) error {
	if s.signed.N == 0 || s.signed == head {
		return nil
	}
	if head.N < s.signed.N {
		return fmt.Errorf("%w: its tree has %d leaves, but %d were sealed", ErrForked, head.N, s.signed.N)
	}
	if head.N == s.signed.N {
		return fmt.Errorf("%w: its tree of %d leaves isn't the one that was signed", ErrForked, head.N)
	}
	proof, err := tlog.ProveTree(head.N, s.signed.N, t.proved(head))
	if err != nil {
		return fmt.Errorf("prove the new head: %w", err)
	}
	if err := tlog.CheckTree(proof, head.N, head.Hash, s.signed.N, s.signed.Hash); err != nil {
		return fmt.Errorf("%w: the tree doesn't extend the head of %d leaves: %w", ErrForked, s.signed.N, err)
	}
	return nil
}

// keep makes a checkpoint durable here.
func (s *Sealer) keep(c Checkpoint) error {
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"write the checkpoint", func() error { return s.store.writeCheckpoint(c.Note) }},
		{"sync the checkpoint", s.store.syncCheckpoint},
		{"rename the checkpoint", s.store.renameCheckpoint},
		{"sync the directory", s.store.syncDirectory},
	} {
		if err := s.cfg.fault(step.name, step.do); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	s.signed = c.Tree
	return nil
}

// adopt takes what hangs on the board for the head, once the tree has proved it,
// and gives its place there.
func (s *Sealer) adopt(ctx context.Context, t *tree) (place uint64, err error) {
	if s.cfg.Board == nil {
		return 0, nil
	}
	data, place, err := s.cfg.Board.Newest(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the published checkpoint: %w", err)
	}
	if data == nil {
		return place, nil
	}
	c, err := OpenCheckpoint(data, s.origin, s.cfg.Keys()...)
	if err != nil {
		return 0, fmt.Errorf("the published checkpoint: %w", err)
	}
	if err := s.reaches(ctx, c.Tree.N); err != nil {
		return 0, err
	}
	if err := s.follow(ctx, t, c.Tree.N); err != nil {
		return 0, err
	}
	if err := gives(t, c.Tree); err != nil {
		return 0, err
	}
	if c.Tree.N <= s.size() {
		return place, nil
	}
	if c.Tree.N >= s.signed.N {
		if err := s.flush(t); err != nil {
			return 0, err
		}
		if err := s.keep(c); err != nil {
			return 0, err
		}
	}
	s.head.Store(&c)
	return place, nil
}

// reaches says whether the log has a sequence that was sealed.
func (s *Sealer) reaches(ctx context.Context, sequence int64) error {
	if s.cfg.Visible() >= uint64(sequence) {
		return nil
	}
	last, err := s.cfg.Log.Last(ctx)
	if err == nil && last < uint64(sequence) {
		err = fmt.Errorf("%w: it ends at %d, but was sealed up to %d", ErrForked, last, sequence)
	}
	return err
}

// gives proves that a tree has a head.
func gives(t *tree, head tlog.Tree) error {
	hash, err := t.hash(head.N)
	if err == nil && hash != head.Hash {
		err = fmt.Errorf("%w: the first %d events give another tree than the one that was signed", ErrForked, head.N)
	}
	return err
}

// Signs says whether this sealer has the key that is in force.
func (s *Sealer) Signs() bool { return s.maySign() }

// Checkpoint gives the newest signed head, nil before the first.
func (s *Sealer) Checkpoint() *Checkpoint { return s.head.Load() }
