package runner

import (
	"context"
	"fmt"

	"github.com/modelog/modelog/events"
	"golang.org/x/sync/errgroup"
)

// Rebuild is a second state, built from the first event on beside a live one, to
// find out whether the live one is what the log gives. Digests of the two are
// compared at checkpoints: at the powers of ten from 1,000 on and at the last
// sequence. A digest covers all revisions up to its sequence, so that the last
// comparison covers everything; the others find early what parts early.
//
// It takes as much memory as the live state, until nobody holds it any more. It
// is for one goroutine; the live state may move on meanwhile.
type Rebuild struct {
	live  *Runner // nil: nothing is compared
	until uint64  // the last sequence to compare
	next  uint64  // the next checkpoint
	good  uint64  // the last checkpoint where the two agreed
	run   *Runner
	made  string // the digest of the rebuilt state at good
	count int    // comparisons that found no difference
}

// firstCheckpoint is after how many events the states are compared first.
const firstCheckpoint = 1000

// NewRebuild begins a rebuild. It is compared with a live state up to a sequence
// that is visible there; without a live state, nil, nothing is compared.
func NewRebuild(live *Runner, until uint64) *Rebuild {
	b := &Rebuild{live: live, until: until, run: New(nil)}
	if live != nil {
		b.next = min(firstCheckpoint, until)
	}
	return b
}

// DiffersError says that a live state isn't what the log gives.
type DiffersError struct {
	Sequence uint64 // of the first event after which they part
	Digest   string // of the rebuilt state as of that sequence
	Found    string // of the live state
}

func (e *DiffersError) Error() string {
	return fmt.Sprintf("the state differs from what the log gives, from event %d on: its digest there is %s, that of the rebuild %s", e.Sequence, e.Found, e.Digest)
}

// FoldError says that an event can't have happened after those before it: the
// fold of them has no place for it.
type FoldError struct {
	Sequence uint64
	Type     string
	Why      any // what the fold said
}

func (e *FoldError) Error() string {
	return fmt.Sprintf("event %d (%s) can't have happened after the ones before it: %v", e.Sequence, e.Type, e.Why)
}

// Add applies the next event, and compares at a checkpoint. It fails with
// events.ErrMissing if another event should come first, with ErrForeignLog,
// ErrLevel, a *FoldError, a *DiffersError or the context's error.
func (b *Rebuild) Add(ctx context.Context, e events.Event) error {
	if want := b.run.state.Applied() + 1; e.Sequence != want {
		return fmt.Errorf("rebuild the state: %w: event %d comes where %d should", events.ErrMissing, e.Sequence, want)
	}
	if err := b.apply(e); err != nil {
		return err
	}
	if e.Sequence != b.next {
		return nil
	}
	if err := b.compare(ctx, e.Sequence); err != nil {
		return err
	}
	b.next = min(10*b.next, b.until)
	return nil
}

// apply turns a panic of the fold into an error: an event that was made up must
// not take down a server that looks at it.
func (b *Rebuild) apply(e events.Event) (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = &FoldError{e.Sequence, e.Type(), why}
		}
	}()
	return b.run.Replay(e)
}

// Read applies the events of a log up to a sequence, strictly decoded. It shows
// how far it has come to progress now and then, unless that is nil. It fails like
// Add and events.Log.Read, and with an *events.UnreadableError.
func (b *Rebuild) Read(ctx context.Context, log events.Log, until uint64, progress func(applied uint64)) error {
	for e, err := range decoded("rebuild the state", log.Read(ctx, b.run.state.Applied()+1, until)) {
		if err != nil {
			return err
		}
		if err := b.Add(ctx, e); err != nil {
			return err
		}
		if progress != nil && e.Sequence%settleEvery == 0 {
			progress(e.Sequence)
		}
	}
	return nil
}

// Verdict is what a rebuild has found when nothing differs.
type Verdict struct {
	Events      uint64 // that were rebuilt from
	Digest      string // of the rebuilt state
	Compared    uint64 // the last sequence at which the two states agree, 0 if nothing was compared
	Checkpoints int    // at how many they were compared
}

// Finish gives the digest of what was rebuilt. It fails with the context's error.
func (b *Rebuild) Finish(ctx context.Context) (Verdict, error) {
	applied := b.run.state.Applied()
	v := Verdict{Events: applied, Digest: b.made, Compared: b.good, Checkpoints: b.count}
	if b.made != "" && b.good == applied {
		return v, nil
	}
	b.run.Publish(applied)
	var err error
	v.Digest, err = b.run.Digest(ctx, applied)
	return v, err
}

// Runner is the rebuilt state, which whoever drives the rebuild may read, and
// take a snapshot of. All that was added is visible after Finish.
func (b *Rebuild) Runner() *Runner { return b.run }

// compare compares the two states as of the last event that was added.
func (b *Rebuild) compare(ctx context.Context, sequence uint64) error {
	b.run.Publish(sequence)
	found, made, err := b.digests(ctx, sequence)
	if err != nil {
		return err
	}
	if found != made {
		return b.part(ctx, &DiffersError{sequence, made, found})
	}
	b.good, b.made = sequence, made
	b.count++
	return nil
}

// digests gives those of both states, which two cores make at once.
func (b *Rebuild) digests(ctx context.Context, sequence uint64) (found, made string, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		found, err = b.live.Digest(ctx, sequence)
		return err
	})
	group.Go(func() (err error) {
		made, err = b.run.Digest(ctx, sequence)
		return err
	})
	err = group.Wait()
	return found, made, err
}

// part narrows down where two states part that differ at a checkpoint: both keep
// their past, so that neither needs to be built again.
func (b *Rebuild) part(ctx context.Context, bad *DiffersError) error {
	for good := b.good; bad.Sequence-good > 1; {
		middle := good + (bad.Sequence-good)/2
		found, made, err := b.digests(ctx, middle)
		switch {
		case err != nil:
			return err
		case found == made:
			good = middle
		default:
			bad = &DiffersError{middle, made, found}
		}
	}
	return bad
}
