package webhooks

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
)

const (
	saveEvery = 250 * time.Millisecond
	// maxSaves is how many cursors are written in one go. It is the others' turn next,
	// so that many subscriptions cost writes of events little.
	maxSaves = 250
	// behind is how many events the saved cursor of an idle subscription may lie back.
	behind = 5_000
)

var sums = maphash.MakeSeed()

// write is a cursor on its way.
type write struct {
	cursors.Write
	flow  *flow
	data  jsontext.Value
	after uint64
	done  bool
}

// save writes the cursors that have moved, now and then.
func (s *session) save() {
	ticks := time.NewTicker(saveEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-s.ctx.Done():
			return
		}
		switch err := s.flush(s.ctx, false); {
		case errors.Is(err, cursors.ErrMoved): // somebody else delivers
			s.told("another registry delivers now", err)
			s.cancel()
		case s.ctx.Err() == nil:
			s.told("cursors aren't saved; it is tried again", err)
		}
	}
}

// mark has the cursor of a flow saved. It is called with the lock held.
func (s *session) mark(f *flow) {
	if !f.dirty && !f.gone {
		f.dirty = true
		s.dirty = append(s.dirty, f)
	}
}

// sweep marks the flows that have passed by events: those that lie far back, or all.
// It is called with the lock held.
func (s *session) sweep(all bool) {
	if !all && s.place < s.swept+behind/2 {
		return
	}
	s.swept = s.place
	for _, f := range s.flows {
		if f.inStep {
			f.core.pass(s.place)
		}
		if f.core.seen > f.saved+behind/2 || all && f.core.seen > f.saved {
			s.mark(f)
		}
	}
}

// flush writes cursors that have moved: a number of them, or all. It fails with
// cursors.ErrMoved if somebody else writes them.
func (s *session) flush(ctx context.Context, all bool) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	s.sweep(all)
	n := len(s.dirty)
	s.mu.Unlock()
	for ; n > 0; n -= maxSaves {
		if err := s.flushSome(ctx); err != nil || !all {
			return err
		}
	}
	return nil
}

func (s *session) flushSome(ctx context.Context) error {
	moved, err := s.moved()
	if err != nil {
		return err
	}
	asked := make([]*cursors.Write, len(moved))
	for i, w := range moved {
		asked[i] = &w.Write
	}
	s.cfg.Cursors.PutAll(ctx, asked)
	var failed error
	for _, w := range moved {
		if err := s.wrote(ctx, w); err != nil && !errors.Is(failed, cursors.ErrMoved) {
			failed = err
		}
	}
	return failed
}

// take gives those whose cursors are to be written next, and the cursors.
func (s *session) take() (all []*write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.dirty), maxSaves)
	for _, f := range s.dirty[:n] {
		f.dirty = false
		if f.gone {
			continue
		}
		if f.inStep {
			f.core.pass(s.place)
		}
		if f.unsure != nil { // it must be known first what became of it
			w := *f.unsure
			all = append(all, &w)
			continue
		}
		key, record := f.record()
		all = append(all, &write{Write: cursors.Write{Key: key, Revision: f.revision, Record: record}, flow: f, after: f.core.after(), done: f.done()})
	}
	if s.dirty = s.dirty[n:]; len(s.dirty) == 0 {
		s.dirty = nil
	}
	return all
}

// record gives what is saved.
func (f *flow) record() (key string, record any) {
	c := f.core.cursor()
	if f.job == nil {
		return cursors.CursorKey(f.id), c
	}
	job := *f.job
	job.Cursor, job.Done = c, f.done()
	return cursors.ReplayKey(f.sub.ID, f.id), job
}

// moved gives the writes that change anything.
func (s *session) moved() (moved []*write, err error) {
	for _, w := range s.take() {
		if w.data == nil {
			if w.data, err = json.Marshal(w.Record); err != nil {
				return nil, err
			}
			w.Record = w.data
		}
		if w.flow.unsure != nil || w.flow.revision == 0 || w.done || maphash.Bytes(sums, w.data) != w.flow.sum {
			moved = append(moved, w)
		}
	}
	return moved, nil
}

// wrote takes what became of a write.
func (s *session) wrote(ctx context.Context, w *write) error {
	f := w.flow
	if errors.Is(w.Err, cursors.ErrMoved) {
		w.Err = s.settleMoved(ctx, w)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.gone {
		return nil
	}
	if w.Err != nil {
		f.unsure = w
		s.mark(f)
		return w.Err
	}
	if f.unsure != nil && !w.done { // there may be something newer
		s.mark(f)
	}
	f.unsure, f.revision, f.saved, f.sum = nil, w.Next, w.after, maphash.Bytes(sums, w.data)
	if w.done {
		s.drop(f)
	}
	return nil
}

// settleMoved says what it means that a record was written meanwhile: nothing if it is
// what a write without an answer left, or if a job was stopped.
func (s *session) settleMoved(ctx context.Context, w *write) error {
	var found jsontext.Value
	revision, err := s.cfg.Cursors.Get(ctx, w.Key, &found)
	switch {
	case err == nil && string(found) == string(w.data):
		w.Next = revision
		return nil
	case w.flow.job != nil && (errors.Is(err, cursors.ErrNone) || err == nil && over(found)):
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(w.flow)
		return nil
	case err != nil && !errors.Is(err, cursors.ErrNone):
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.flow.gone {
		return nil
	}
	return w.Err
}

// over says whether the record of a job says that it is at its end.
func over(record jsontext.Value) bool {
	var job cursors.Replay
	return json.Unmarshal(record, &job) == nil && job.Done
}
