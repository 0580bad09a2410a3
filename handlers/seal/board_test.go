package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/modelog/modelog/events/logtest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// jetStreamOf connects to servers.
func jetStreamOf(t *testing.T, servers *logtest.Servers) func() jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(servers.URL(), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return func() jetstream.JetStream { return js }
}

func openBoard(t *testing.T, servers *logtest.Servers) *StreamBoard {
	t.Helper()
	b, err := OpenBoard(t.Context(), jetStreamOf(t, servers), len(servers.Options))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// witness is a board that remembers whatever may hang, or have hung, there.
type witness struct {
	Board
	lock sync.Mutex
	sent [][]byte // guarded by lock
}

func (w *witness) Publish(ctx context.Context, place uint64, checkpoint []byte) error {
	err := w.Board.Publish(ctx, place, checkpoint)
	if !errors.Is(err, ErrMoved) { // after any other error it may be there
		w.lock.Lock()
		w.sent = append(w.sent, checkpoint)
		w.lock.Unlock()
	}
	return err
}

// heads gives what may have hung there.
func (w *witness) heads(t *testing.T, cfg Config) (heads []Checkpoint) {
	t.Helper()
	w.lock.Lock()
	defer w.lock.Unlock()
	for _, data := range w.sent {
		head, err := OpenCheckpoint(data, Origin(registryID), cfg.Keys()...)
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, head)
	}
	return heads
}

func TestTheStreamOfCheckpointsIsACompareAndSet(t *testing.T) {
	servers := logtest.StartServers(t, 1)
	b, other := openBoard(t, servers), openBoard(t, servers)
	if data, place, err := b.Newest(t.Context()); data != nil || place != 0 || err != nil {
		t.Errorf("an empty board has %q at %d, %v", data, place, err)
	}
	if err := b.Publish(t.Context(), 0, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := other.Publish(t.Context(), 0, []byte("another first")); !errors.Is(err, ErrMoved) {
		t.Errorf("a second first one: %v", err)
	}
	_, place, err := other.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Publish(t.Context(), place, []byte("second")); err != nil {
		t.Error(err)
	}
	if err := b.Publish(t.Context(), place, []byte("another second")); !errors.Is(err, ErrMoved) {
		t.Errorf("another second one: %v", err)
	}
	if data, _, err := b.Newest(t.Context()); string(data) != "second" || err != nil {
		t.Errorf("the board has %q, %v", data, err)
	}
	js := jetStreamOf(t, servers)()
	stream, err := js.Stream(t.Context(), boardStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err == nil {
		t.Error("the board can be wiped")
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"an age":          func(c *jetstream.StreamConfig) { c.MaxAge = 1e12 },
		"another storage": func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"a limit":         func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
	} {
		cfg := boardConfig(1)
		change(&cfg)
		if err := js.DeleteStream(t.Context(), boardStream); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the files of the stream before are gone", func() bool {
			_, err := js.CreateStream(t.Context(), cfg)
			return err == nil
		})
		if _, err := OpenBoard(t.Context(), jetStreamOf(t, servers), 1); !errors.Is(err, ErrStream) {
			t.Errorf("a stream with %s: %v", name, err)
		}
	}
}

// TestSealersOnAClusterNeverPublishTwoHeads has two sealers of one log take turns
// while the server that leads the checkpoints goes away, and comes back.
func TestSealersOnAClusterNeverPublishTwoHeads(t *testing.T) {
	servers := logtest.StartServers(t, 3)
	l := newTape(100)
	cfg := testConfig(t, t.TempDir(), l)
	var sealers []*Sealer
	var witnesses []*witness
	for range 2 {
		c, w := cfg, &witness{Board: openBoard(t, servers)}
		c.Dir, c.Board = t.TempDir(), w
		sealers, witnesses = append(sealers, start(t, c)), append(witnesses, w)
	}
	write := func(n int) {
		first := l.visible() + 1
		group := l.write(n)
		for _, s := range sealers {
			s.Landed(first, group)
		}
	}
	for i, s := range sealers {
		eventually(t, fmt.Sprintf("sealer %d has begun", i), sealedUpTo(s, 100))
	}
	logtest.WaitFor(t, "a whole cluster", servers.Current)
	stream, err := jetStreamOf(t, servers)().Stream(t.Context(), boardStream)
	if err != nil {
		t.Fatal(err)
	}
	leader := slices.IndexFunc(servers.Options, func(o *server.Options) bool { return o.ServerName == stream.CachedInfo().Cluster.Leader })
	servers.Stop(leader)
	for range 10 {
		write(20)
	}
	eventually(t, "it goes on with two servers", sealedUpTo(sealers[0], 300))
	if err := servers.Start(leader); err != nil {
		t.Fatal(err)
	}
	write(50)
	roots := l.roots(t)
	for i, s := range sealers {
		eventually(t, fmt.Sprintf("sealer %d is at the end", i), sealedUpTo(s, len(roots)-1))
		if s.Err() != nil || s.Checkpoint().Tree.Hash != roots[len(roots)-1] {
			t.Errorf("sealer %d serves another head, %v", i, s.Err())
		}
	}
	for i, w := range witnesses {
		for _, head := range w.heads(t, cfg) {
			if head.Tree.Hash != roots[head.Tree.N] {
				t.Errorf("sealer %d published a head of %d events with another root", i, head.Tree.N)
			}
		}
	}
}

// TestOnlyOneOfTwoLogsIsSealedOnACluster: two servers with one key whose logs part,
// which can't be and must not be signed.
func TestOnlyOneOfTwoLogsIsSealedOnACluster(t *testing.T) {
	servers := logtest.StartServers(t, 3)
	logs := []*tape{newTape(60), newTape(59)}
	logs[1].events = append(logs[1].events, event(77, "s3://elsewhere"))
	cfg := testConfig(t, t.TempDir(), logs[0])
	boards := []*witness{{Board: openBoard(t, servers)}, {Board: openBoard(t, servers)}}
	var sealers []*Sealer
	for i, l := range logs {
		c := cfg
		c.Dir, c.Log, c.Visible, c.Board = t.TempDir(), l, l.visible, boards[i]
		sealers = append(sealers, start(t, c))
	}
	eventually(t, "one of them finds out", func() bool { return sealers[0].Err() != nil || sealers[1].Err() != nil })
	loser := 0
	if sealers[1].Err() != nil {
		loser = 1
	}
	winner := 1 - loser
	if !errors.Is(sealers[loser].Err(), ErrForked) {
		t.Errorf("the loser says %v", sealers[loser].Err())
	}
	first := logs[winner].visible() + 1
	sealers[winner].Landed(first, logs[winner].write(10))
	eventually(t, "the winner goes on", sealedUpTo(sealers[winner], 70))
	if heads := boards[loser].heads(t, cfg); len(heads) > 0 || sealers[loser].Checkpoint() != nil && sealers[loser].Checkpoint().Tree.N >= 60 {
		t.Errorf("the loser published %v, and serves %v", heads, sealers[loser].Checkpoint())
	}
	roots := logs[winner].roots(t)
	for _, head := range boards[winner].heads(t, cfg) {
		if head.Tree.Hash != roots[head.Tree.N] {
			t.Errorf("the winner published another head of %d events", head.Tree.N)
		}
	}
	if sealers[winner].Err() != nil {
		t.Error(sealers[winner].Err())
	}
}
