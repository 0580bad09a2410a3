package seal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
	"golang.org/x/mod/sumdb/tlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	registryID  = ulid.MustParse("01KXFT0000REG1STRY00000000")
	modelID     = ulid.MustParse("01KXFT0001M0DE100000000000")
	firstMoment = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
)

// tape is a log that can be tampered with, which no real one lets anybody do.
type tape struct {
	lock   sync.Mutex
	events []events.Encoded // guarded by lock
	away   bool             // guarded by lock
}

func newTape(n int) *tape {
	l := &tape{}
	l.write(n)
	return l
}

// write appends so many events, and gives them.
func (l *tape) write(n int) []events.Encoded {
	l.lock.Lock()
	defer l.lock.Unlock()
	from := len(l.events)
	for i := range n {
		l.events = append(l.events, event(from+i+1, "s3://models/fraud"))
	}
	return l.events[from:]
}

func event(sequence int, source string) events.Encoded {
	id := ulid.ULID{14: byte(sequence >> 8), 15: byte(sequence)}
	_ = id.SetTime(uint64(firstMoment.UnixMilli()))
	e, err := events.Encode(events.Event{
		ID: id, Registry: registryID, Subject: fmt.Sprintf("models/fraud/versions/%d", sequence), Time: firstMoment.Add(time.Duration(sequence) * time.Second),
		Principal: "prn_1", Data: events.VersionRegistered{ModelID: modelID, Version: sequence, Semver: fmt.Sprintf("1.%d.0", sequence), Source: source},
	})
	if err != nil {
		panic(err)
	}
	return e
}

func (l *tape) visible() uint64 {
	l.lock.Lock()
	defer l.lock.Unlock()
	return uint64(len(l.events))
}

func (l *tape) Last(context.Context) (uint64, error) { return l.visible(), nil }

func (l *tape) Get(_ context.Context, sequence uint64) (events.Stored, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if sequence == 0 || sequence > uint64(len(l.events)) {
		return events.Stored{}, events.ErrNotFound
	}
	return events.Stored{Sequence: sequence, Encoded: l.events[sequence-1]}, nil
}

func (l *tape) Read(ctx context.Context, from, to uint64) iter.Seq2[events.Stored, error] {
	return func(yield func(events.Stored, error) bool) {
		for at := from; at <= to; at++ {
			s, err := l.Get(ctx, at)
			l.lock.Lock()
			if l.away {
				err = events.ErrUnavailable
			}
			l.lock.Unlock()
			switch {
			case err == nil:
				err = ctx.Err()
			case errors.Is(err, events.ErrNotFound):
				err = events.ErrMissing
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

func (l *tape) Append(context.Context, uint64, []events.Encoded) error { panic("unused") }

func (l *tape) Follow(context.Context, uint64) iter.Seq2[events.Stored, error] { panic("unused") }
func (l *tape) Health(context.Context) error                                   { return nil }
func (l *tape) Close() error                                                   { return nil }

// roots gives the hash of the tree of each size, as the log gives it, in the
// plainest way.
func (l *tape) roots(t *testing.T) []tlog.Hash {
	t.Helper()
	l.lock.Lock()
	defer l.lock.Unlock()
	var stored []tlog.Hash
	r := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		all := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			all[i] = stored[index]
		}
		return all, nil
	})
	roots := make([]tlog.Hash, 1)
	for i, e := range l.events {
		record, err := AppendLeaf(nil, uint64(i+1), e)
		if err != nil {
			t.Fatal(err)
		}
		hashes, err := tlog.StoredHashes(int64(i), record, r)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		root, err := tlog.TreeHash(int64(i+1), r)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root)
	}
	return roots
}

func newKey(t *testing.T, dir string) *Key {
	t.Helper()
	path := filepath.Join(dir, "signing.key")
	key, err := LoadKey(path)
	if err != nil {
		key, err = GenerateKey(path, Origin(registryID))
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func testConfig(t *testing.T, dir string, l *tape) Config {
	t.Helper()
	key := newKey(t, dir)
	return Config{
		Dir: dir, Log: l, Visible: l.visible, Registry: registryID, Key: key, Interval: time.Millisecond,
		Keys: func() []string { return []string{key.Verifier} },
	}
}

// start starts a sealer that is stopped with the test.
func start(t *testing.T, cfg Config) *Sealer {
	t.Helper()
	s := begun(t, cfg)
	t.Cleanup(func() { kill(s) })
	return s
}

func begun(t *testing.T, cfg Config) *Sealer {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Start(t.Context())
	return s
}

// kill ends a sealer in the middle of what it does, as far as that goes.
func kill(s *Sealer) {
	s.cancel()
	<-s.done
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func sealedUpTo(s *Sealer, n int) func() bool { return func() bool { return s.size() == int64(n) } }
