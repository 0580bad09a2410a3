package seal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

func TestEveryProofConvincesAnotherImplementation(t *testing.T) {
	const n = 700
	l := newTape(n)
	s := start(t, testConfig(t, t.TempDir(), l))
	eventually(t, "all is sealed", sealedUpTo(s, n))
	head := s.Checkpoint().Tree
	roots := l.roots(t)
	if head.Hash != roots[n] {
		t.Fatalf("the head's hash is %v, want %v", head.Hash, roots[n])
	}
	for sequence := uint64(1); sequence <= n; sequence++ {
		p, err := s.Prove(t.Context(), sequence)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseProof(p.Text())
		if err != nil {
			t.Fatal(err)
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(again.Record)
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, sequence-1, n, leaf, raw(again.Hashes), head.Hash[:]); err != nil {
			t.Fatalf("the proof of event %d: %v", sequence, err)
		}
	}
	for from := uint64(1); from <= n; from += 13 {
		for to := from; to <= n; to += 29 {
			e, err := s.Extend(from, to)
			if err != nil {
				t.Fatal(err)
			}
			if e.FromHash != roots[from] || e.ToHash != roots[to] {
				t.Fatalf("the trees of %d and %d events are not the log's", from, to)
			}
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, from, to, raw(e.Hashes), e.FromHash[:], e.ToHash[:]); err != nil {
				t.Fatalf("from %d to %d: %v", from, to, err)
			}
		}
	}
	_, err := s.Prove(t.Context(), n+1)
	if _, ok := errors.AsType[NotSealedError](err); !ok {
		t.Errorf("the proof of an event beyond the head: %v", err)
	}
}

func raw[H ~[]tlog.Hash](hashes H) [][]byte {
	all := make([][]byte, len(hashes))
	for i := range hashes {
		all[i] = hashes[i][:]
	}
	return all
}

// steps are those of a sealer that can fail.
var steps = []string{
	"write a tile", "sync the tiles", "sign", "write the checkpoint", "sync the checkpoint", "rename the checkpoint", "sync the directory", "publish",
}

// seen gathers every checkpoint that somebody outside may have seen, and the one
// in the file, which goes out with a backup.
type seen struct {
	lock sync.Mutex
	all  map[int64]tlog.Hash
}

func (s *seen) see(t *testing.T, cfg Config, data []byte) {
	t.Helper()
	c, err := OpenCheckpoint(data, Origin(registryID), cfg.Key.Verifier)
	if err != nil {
		t.Errorf("a checkpoint that somebody may have seen: %v", err)
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if hash, ok := s.all[c.Tree.N]; ok && hash != c.Tree.Hash {
		t.Errorf("two heads of %d events disagree", c.Tree.N)
	}
	s.all[c.Tree.N] = c.Tree.Hash
}

// wall is a board in memory.
type wall struct {
	lock       sync.Mutex
	checkpoint []byte // guarded by lock
	place      uint64 // guarded by lock
	look       func([]byte)
}

func (w *wall) Newest(context.Context) ([]byte, uint64, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.checkpoint, w.place, nil
}

func (w *wall) Publish(_ context.Context, place uint64, checkpoint []byte) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	if place != w.place {
		return ErrMoved
	}
	w.checkpoint, w.place = checkpoint, place+1
	if w.look != nil {
		w.look(checkpoint)
	}
	return nil
}

var errFault = errors.New("a fault of the test's")

// TestNoTwoHeadsDisagreeWhateverFailsWhen kills a sealer at each step, the step
// done or not done, goes on with another one, and compares all that may have been
// seen with what the log gives.
func TestNoTwoHeadsDisagreeWhateverFailsWhen(t *testing.T) {
	for _, step := range steps {
		for _, persisted := range []bool{false, true} {
			for _, killed := range []bool{false, true} {
				for _, damage := range []bool{false, true} {
					name := fmt.Sprintf("%s, persisted %v, killed %v, tiles damaged %v", step, persisted, killed, damage)
					t.Run(name, func(t *testing.T) { failAt(t, step, persisted, killed, damage) })
				}
			}
		}
	}
}

func failAt(t *testing.T, step string, persisted, killed, damage bool) {
	t.Helper()
	dir, l := t.TempDir(), newTape(300)
	cfg := testConfig(t, dir, l)
	all := &seen{all: map[int64]tlog.Hash{}}
	cfg.Board = &wall{look: func(data []byte) { all.see(t, cfg, data) }}
	first := begun(t, cfg)
	eventually(t, "the first part is sealed", sealedUpTo(first, 300))
	kill(first)

	// The fault happens in the second part.
	hit := make(chan struct{})
	var once sync.Once
	faulty := cfg
	faulty.fault = func(name string, do func() error) error {
		err := do
		if name != step {
			return err()
		}
		failed := false
		once.Do(func() { failed = true; close(hit) })
		switch {
		case !failed && !killed:
			return do() // it works at the next attempt
		case failed && !persisted, !failed:
			return errFault
		default:
			return errors.Join(do(), errFault)
		}
	}
	l.write(400)
	second := begun(t, faulty)
	<-hit
	if !killed {
		eventually(t, "it goes on by itself", sealedUpTo(second, 700))
	}
	if head := second.Checkpoint(); head != nil {
		all.see(t, cfg, head.Note)
	}
	kill(second)
	if data, err := second.store.readCheckpoint(); err != nil || data == nil {
		t.Fatalf("the checkpoint here: %v", err)
	} else {
		all.see(t, cfg, data)
	}
	if damage { // what a power cut may leave of tiles that weren't synced
		for _, path := range []string{"tile/0/001", "tile/0/000"} {
			if err := os.Truncate(filepath.Join(dir, path), 100); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}

	l.write(100)
	third := start(t, cfg)
	eventually(t, "the rest is sealed", func() bool {
		if err := third.Err(); err != nil {
			t.Fatal(err)
		}
		return third.size() == 800
	})
	all.see(t, cfg, third.Checkpoint().Note)
	roots := l.roots(t)
	if len(all.all) < 2 {
		t.Fatalf("only %d heads were seen", len(all.all))
	}
	for n, hash := range all.all {
		if hash != roots[n] {
			t.Errorf("the head of %d events isn't what the log gives", n)
		}
	}
	eventually(t, "the log is compared with its tree", func() bool { return len(third.landed) == 0 })
	for sequence := uint64(1); sequence <= 800; sequence += 53 {
		if _, err := third.Prove(t.Context(), sequence); err != nil && !damage {
			t.Errorf("event %d: %v", sequence, err)
		}
	}
}

func TestALogThatIsNotTheOneThatWasSealedStopsTheSealer(t *testing.T) {
	for name, tamper := range map[string]func(*tape){
		"an event in the last tile is another one": func(l *tape) { l.events[590] = event(591, "s3://elsewhere") },
		"an old event is another one":              func(l *tape) { l.events[3] = event(4, "s3://elsewhere") },
		"two events have changed places":           func(l *tape) { l.events[10], l.events[11] = l.events[11], l.events[10] },
		"two old tiles have changed places": func(l *tape) {
			for i := range 256 {
				l.events[i], l.events[256+i] = l.events[256+i], l.events[i]
			}
		},
		"an event is gone": func(l *tape) { l.events = append(l.events[:20], l.events[21:]...) },
		"the tail is gone": func(l *tape) { l.events = l.events[:599] },
		"an event came in": func(l *tape) {
			l.events = append(l.events[:20], append([]events.Encoded{event(9, "s3://new")}, l.events[20:]...)...)
		},
		"what is there is no event": func(l *tape) { l.events[5] = events.Encoded{Subject: "x"} },
	} {
		for _, tiles := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, with tiles %v", name, tiles), func(t *testing.T) {
				dir, l := t.TempDir(), newTape(600)
				cfg := testConfig(t, dir, l)
				before := begun(t, cfg)
				eventually(t, "all is sealed", sealedUpTo(before, 600))
				kill(before)
				tamper(l)
				if !tiles {
					if err := os.RemoveAll(filepath.Join(dir, "tile")); err != nil {
						t.Fatal(err)
					}
				}
				after := start(t, cfg)
				eventually(t, "it stops", func() bool { return errors.Is(after.Err(), ErrForked) })
				t.Log(after.Err())
				<-after.done
				l.write(10)
				if head := after.Checkpoint(); head != nil && string(head.Note) != string(before.Checkpoint().Note) {
					t.Error("another head was signed")
				}
			})
		}
	}
}

func TestTheEventThatChangedIsNamed(t *testing.T) {
	dir, l := t.TempDir(), newTape(600)
	cfg := testConfig(t, dir, l)
	before := begun(t, cfg)
	eventually(t, "all is sealed", sealedUpTo(before, 600))
	kill(before)
	l.events[299] = event(300, "s3://elsewhere")
	after := start(t, cfg)
	eventually(t, "it stops", func() bool { return after.Err() != nil })
	if !strings.HasSuffix(after.Err().Error(), "sealed as event 300") {
		t.Error(after.Err())
	}
	if _, err := after.Prove(t.Context(), 300); !errors.Is(err, ErrForked) {
		t.Errorf("its proof: %v", err)
	}
	if _, err := after.Prove(t.Context(), 301); err != nil {
		t.Errorf("the proof of another one: %v", err)
	}
}

func TestADamagedTileIsMadeAgain(t *testing.T) {
	for _, tile := range []string{"tile/0/000", "tile/0/255", "tile/1/000"} {
		t.Run(tile, func(t *testing.T) {
			const n = 256*256 + 300
			if testing.Short() {
				t.Skip("writes 65,836 events")
			}
			dir, l := t.TempDir(), newTape(n)
			cfg := testConfig(t, dir, l)
			before := begun(t, cfg)
			eventually(t, "all is sealed", sealedUpTo(before, n))
			kill(before)
			path := filepath.Join(dir, tile)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			bad := append([]byte{good[0] ^ 1}, good[1:]...)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			after := start(t, cfg)
			eventually(t, "it is as it was", func() bool {
				now, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return string(now) == string(good) && after.size() == n
			})
			if err := after.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatThereIsNoRoomForIsReadFromTheLog(t *testing.T) {
	l := newTape(1)
	s := start(t, testConfig(t, t.TempDir(), l))
	eventually(t, "the first event is sealed", sealedUpTo(s, 1))
	for range 2000 { // more than can wait
		first := l.visible() + 1
		s.Landed(first, l.write(1))
	}
	s.Landed(l.visible()+1, nil)
	eventually(t, "all is sealed", sealedUpTo(s, 2001))
	s.Landed(5, l.events[4:9]) // known already
	l.write(3)
	s.Landed(2004, l.events[2003:]) // two are missing before it
	eventually(t, "all is sealed", sealedUpTo(s, 2004))
	if got, want := s.Checkpoint().Tree.Hash, l.roots(t)[2004]; got != want {
		t.Errorf("the head is %v, want %v", got, want)
	}
	if waiting := s.waiting.Load(); waiting != 0 {
		t.Errorf("%d bytes are still waiting", waiting)
	}
}

func TestStoppingSealsWhatIsThere(t *testing.T) {
	l := newTape(10)
	cfg := testConfig(t, t.TempDir(), l)
	s := begun(t, cfg)
	eventually(t, "the first events are sealed", sealedUpTo(s, 10))
	l.write(5)
	s.Stop(t.Context())
	if s.size() != 15 {
		t.Errorf("it was stopped at %d, want 15", s.size())
	}
}

func TestALogThatIsAwayIsTriedAgain(t *testing.T) {
	l := newTape(10)
	l.away = true
	s := start(t, testConfig(t, t.TempDir(), l))
	l.lock.Lock()
	l.away = false
	l.lock.Unlock()
	eventually(t, "all is sealed", sealedUpTo(s, 10))
}

func TestNothingIsSignedWithAKeyThatIsNotInForce(t *testing.T) {
	dir, l := t.TempDir(), newTape(10)
	cfg := testConfig(t, dir, l)
	s := begun(t, cfg)
	eventually(t, "all is sealed", sealedUpTo(s, 10))
	kill(s)
	old := cfg.Key.Verifier
	another, err := GenerateKey(filepath.Join(dir, "next.key"), Origin(registryID))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Keys = func() []string { return []string{old, another.Verifier} }
	l.write(5)
	s = begun(t, cfg)
	eventually(t, "it has begun", func() bool { return s.tree.Load() != nil })
	s.Stop(t.Context())
	if s.size() != 10 {
		t.Errorf("with the old key it signed up to %d", s.size())
	}
	cfg.Key = another
	s = start(t, cfg)
	eventually(t, "the new key signs", sealedUpTo(s, 15))
	if _, err := OpenCheckpoint(s.Checkpoint().Note, Origin(registryID), old); err == nil {
		t.Error("the old key signed the new head")
	}
}

func TestSealersOfOneLogTakeTurns(t *testing.T) {
	l, w := newTape(100), &wall{}
	cfg := testConfig(t, t.TempDir(), l)
	cfg.Board = w
	var sealers []*Sealer
	for range 3 {
		c := cfg
		c.Dir = t.TempDir()
		sealers = append(sealers, start(t, c))
	}
	follower := cfg
	follower.Dir, follower.Key = t.TempDir(), nil
	sealers = append(sealers, start(t, follower))
	for range 20 {
		first := l.visible() + 1
		group := l.write(50)
		for _, s := range sealers {
			s.Landed(first, group)
		}
	}
	roots := l.roots(t)
	for i, s := range sealers {
		eventually(t, fmt.Sprintf("sealer %d is at the end", i), sealedUpTo(s, 1100))
		if s.Checkpoint().Tree.Hash != roots[1100] {
			t.Errorf("sealer %d serves another head", i)
		}
	}
}

// TestAPublishedHeadThatTheLogDoesNotGiveStopsTheSealer: perhaps another replica's
// log is another one.
func TestAPublishedHeadThatTheLogDoesNotGiveStopsTheSealer(t *testing.T) {
	l, other := newTape(100), newTape(50)
	other.events = append(other.events, event(77, "s3://elsewhere"))
	other.write(60)
	cfg := testConfig(t, t.TempDir(), l)
	forged := cfg
	forged.Dir, forged.Log, forged.Visible, forged.Board = t.TempDir(), other, other.visible, &wall{}
	s := begun(t, forged)
	eventually(t, "the other log is sealed", sealedUpTo(s, 111))
	kill(s)
	for _, late := range []bool{false, true} {
		c := cfg
		w := &wall{}
		c.Dir, c.Board = t.TempDir(), w
		l.write(20)
		if !late {
			c.Board = forged.Board
		}
		s := start(t, c)
		if late {
			eventually(t, "it seals", sealedUpTo(s, int(l.visible())))
			w.lock.Lock()
			w.checkpoint = forged.Board.(*wall).checkpoint
			w.lock.Unlock()
			l.write(1)
			s.Landed(l.visible()+1, nil)
		}
		eventually(t, "it stops", func() bool { return errors.Is(s.Err(), ErrForked) })
	}
}

func TestADamagedCheckpointStopsTheSealer(t *testing.T) {
	dir, l := t.TempDir(), newTape(10)
	cfg := testConfig(t, dir, l)
	s := begun(t, cfg)
	eventually(t, "all is sealed", sealedUpTo(s, 10))
	kill(s)
	path := filepath.Join(dir, checkpointFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 1
		if c, err := OpenCheckpoint(bad, Origin(registryID), cfg.Key.Verifier); err == nil {
			t.Fatalf("byte %d is another one, and it is read as %v", i, c)
		}
	}
	good[len(good)-5] ^= 1
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	eventually(t, "it stops", func() bool { return errors.Is(s.Err(), ErrForked) })
}
