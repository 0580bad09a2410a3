//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

var crashSeed = flag.Uint64("crash-seed", 0, "seed of the crash tests, to run one again; 0 for another one each time")

const (
	crashRounds = 50
	// startKillEvery says in which rounds the server is killed while it starts,
	// too.
	startKillEvery = 5
	// lateRounds is how soon a sync after the answer must be found out.
	lateRounds = 10
)

// TestAcknowledgedWritesSurviveAPowerCut is the proof of "acknowledged means
// durable": the real program is killed at random moments under load, again and
// again on one data directory, and its power is cut. After each start everything
// that was acknowledged, or ever shown, must be there.
func TestAcknowledgedWritesSurviveAPowerCut(t *testing.T) {
	c := newCrashes(t)
	rounds := crashRounds
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		if err := c.round(t.Context()); err != nil {
			t.Fatalf("round %d: %v", c.rounds, err)
		}
	}
	c.finish(t)
	c.report()
	if c.spared > rounds/5 || c.losses < rounds/5 || c.resent == 0 {
		t.Errorf("of the power cuts of %d rounds %d spared a block, and %d took something; %d writes were sent again: the test shows too little",
			rounds, c.spared, c.losses, c.resent)
	}
}

// TestASyncAfterTheAnswerIsFoundOut shows that the test above can fail: with the
// sync moved after the answer, it must find an acknowledged write lost.
func TestASyncAfterTheAnswerIsFoundOut(t *testing.T) {
	c := newCrashes(t, lateVariable+"=1")
	for range lateRounds {
		err := c.round(t.Context())
		switch {
		case errors.Is(err, errLost):
			t.Logf("round %d: %v", c.rounds, err)
			c.report()
			return
		case err != nil:
			t.Fatalf("round %d: %v", c.rounds, err)
		}
	}
	t.Errorf("nothing was lost in %d rounds, although the sync came after the answer", lateRounds)
}

// TestWhatAKilledServerStoredIsSyncedBeforeItIsServed kills a server between the
// store and the sync of an event, and looks for the sync that the next one makes
// before it shows the event.
func TestWhatAKilledServerStoredIsSyncedBeforeItIsServed(t *testing.T) {
	c := newCrashes(t)
	hold := filepath.Join(t.TempDir(), "hold")
	c.environment = append(c.environment, holdVariable+"="+hold)
	if err := c.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	block := filepath.Join(c.data, "jetstream", "$G", "streams", "MODELOG_EVENTS", "msgs", "1.blk")
	before := sizeOf(t, block)
	answered := make(chan error, 1)
	go func() { answered <- c.ledger.prepare(t.Context(), c.url) }()
	for sizeOf(t, block) == before { // until the event is stored
		time.Sleep(time.Millisecond)
	}
	c.server.kill()
	if err := <-answered; err == nil || c.ledger.acked != 0 {
		t.Fatalf("a write was acknowledged before its sync: %v", err)
	}
	stored := sizeOf(t, block)
	if err := os.Remove(hold); err != nil {
		t.Fatal(err)
	}

	_, count := c.lastNote(t)
	if err := c.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	last, after := c.lastNote(t)
	if after == count || last[block].Size < stored {
		t.Errorf("the server listens, and has synced %d bytes of %d (%d syncs)", last[block].Size, stored, after-count)
	}
	if err := c.check(t.Context()); err != nil { // it remembers what is shown
		t.Fatal(err)
	}
	if len(c.checker.seen) != 2 {
		t.Fatalf("%d events are shown, want the registry's creation and the one that was stored", len(c.checker.seen))
	}
	c.server.kill()
	if err := c.cut(); err != nil {
		t.Fatal(err)
	}
	if err := c.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.check(t.Context()); err != nil {
		t.Error(err)
	}
}

func sizeOf(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// crashes kills a server again and again.
type crashes struct {
	t           *testing.T
	seed        uint64
	chance      *rand.Rand
	data, notes string
	environment []string
	ledger      *ledger
	checker     *checker
	server      *process
	url         string

	// What was done.
	began  time.Time
	rounds int
	kills  int // each followed by a power cut
	spared int // power cuts that could not take everything
	losses int // power cuts that took something
	resent int

	lostBytes int64
}

func newCrashes(t *testing.T, environment ...string) *crashes {
	t.Helper()
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d; -crash-seed=%d runs it again", seed, seed)
	dir := t.TempDir()
	c := &crashes{
		t: t, seed: seed, chance: rand.New(rand.NewPCG(seed, 0)), began: time.Now(), ledger: &ledger{},
		data: filepath.Join(dir, "data"), notes: filepath.Join(dir, "notes"),
	}
	c.environment = append(append(cleanEnvironment(), notesVariable+"="+c.notes), environment...)
	client, done := oneConnection()
	c.checker = newChecker(c.ledger, client)
	t.Cleanup(func() {
		done()
		if c.server != nil {
			c.server.kill()
		}
		if t.Failed() {
			t.Logf("the last server's log:\n%s", c.server.log.end())
		}
	})
	return c
}

// launch starts a server, and doesn't wait for it.
func (c *crashes) launch(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "modelog", "serve", "--listen", "127.0.0.1:0", "--data", c.data)
	cmd.Env = c.environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	c.server, err = launch(cmd, io.Discard)
	return err
}

func (c *crashes) start(ctx context.Context) error {
	if err := c.launch(ctx); err != nil {
		return err
	}
	var err error
	c.url, err = c.server.listening()
	c.checker.restarted(c.url)
	return err
}

// round starts the server, checks what is there, and kills it under load.
func (c *crashes) round(ctx context.Context) error {
	c.rounds++
	if c.rounds%startKillEvery == 0 {
		if err := c.killStarting(ctx); err != nil {
			return err
		}
	}
	if err := c.start(ctx); err != nil {
		return err
	}
	if err := c.check(ctx); err != nil {
		return err
	}
	if c.rounds == 1 {
		if err := c.ledger.prepare(ctx, c.url); err != nil {
			return err
		}
	}
	if err := c.killUnderLoad(ctx); err != nil {
		return err
	}
	return c.cut()
}

func (c *crashes) check(ctx context.Context) error {
	resent, err := c.checker.check(ctx)
	c.resent += resent
	return err
}

// killUnderLoad lets some writes be acknowledged, and kills the server a moment
// later.
func (c *crashes) killUnderLoad(ctx context.Context) error {
	const (
		mostWrites = 60
		longest    = 4 * time.Millisecond
	)
	enough := c.ledger.expect(1 + c.chance.IntN(mostWrites))
	moment := time.Duration(c.chance.Int64N(int64(longest)))
	ended := make(chan error, 1)
	go func() { ended <- c.ledger.run(ctx, c.url, c.seed, uint64(c.rounds)) }()
	select {
	case <-enough:
	case err := <-ended:
		return errors.Join(errors.New("the load ended before the kill"), err)
	}
	time.Sleep(moment) // the moment of the kill, not a wait for anything
	c.kills++
	c.server.kill()
	return <-ended
}

// killStarting kills a server while it starts.
func (c *crashes) killStarting(ctx context.Context) error {
	const longest = 150 * time.Millisecond
	if err := c.launch(ctx); err != nil {
		return err
	}
	time.Sleep(time.Duration(c.chance.Int64N(int64(longest)))) // as above
	c.kills++
	c.server.kill()
	return c.cut()
}

func (c *crashes) cut() error {
	lost, err := cutPower(c.data, c.notes, c.chance)
	if err != nil {
		return err
	}
	if lost.replaced > 0 {
		c.spared++
	}
	if lost.bytes > 0 {
		c.losses++
	}
	c.lostBytes += lost.bytes
	return nil
}

// finish looks at the registry for the last time, stops it in order, and
// verifies what is left.
func (c *crashes) finish(t *testing.T) {
	t.Helper()
	if err := c.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		w := c.ledger.writes[c.chance.IntN(len(c.ledger.writes))]
		if w.sequence == 0 || w.key == "" {
			continue
		}
		if err := c.checker.repeat(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.server.stop(); err != nil {
		t.Fatal(err)
	}
	digest, err := c.checker.history.runner.Digest(t.Context(), uint64(len(c.checker.seen)))
	if err != nil {
		t.Fatal(err)
	}
	if code := testApp().run(t.Context(), []string{"verify", "--data", c.data, "--expect", digest}); code != 0 {
		t.Fatalf("verify exits with %d", code)
	}
}

func (c *crashes) report() {
	c.t.Helper()
	c.t.Logf("%d rounds in %v: %d kills, each with a power cut, of which %d took something (%d bytes in all) and %d spared a block; "+
		"%d writes acknowledged of %d, %d of them when they were sent again; %d events",
		c.rounds, time.Since(c.began).Round(time.Millisecond), c.kills, c.losses, c.lostBytes, c.spared,
		c.ledger.acked, len(c.ledger.writes), c.resent, len(c.checker.seen))
}

func (c *crashes) lastNote(t *testing.T) (note, int) {
	t.Helper()
	n, count, err := readNotes(c.notes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return n, count
}
