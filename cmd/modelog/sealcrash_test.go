//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/seal"
	"golang.org/x/mod/sumdb/tlog"
)

const sealRounds = 8

// TestASealingServerThatIsKilledNeverSignsTwoHeads kills the program and cuts its
// power at random moments while it seals what is written. Every head that was ever
// shown is the beginning of every later one, as tiles and proofs show it.
func TestASealingServerThatIsKilledNeverSignsTwoHeads(t *testing.T) {
	c := &sealCrashes{crashes: newCrashes(t)}
	rounds := sealRounds
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		if err := c.round(t.Context()); err != nil {
			t.Fatalf("round %d: %v", c.rounds, err)
		}
	}
	if err := c.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.server.stop(); err != nil {
		t.Fatal(err)
	}
	if code := testApp().run(t.Context(), []string{"verify", "--data", c.data}); code != 0 {
		t.Fatalf("verify exits with %d", code)
	}
	t.Logf("%d heads of up to %d events seen; after %d of %d starts there was one larger than the last that was seen",
		len(c.seen), c.last().Tree.N, c.larger, c.rounds)
	if len(c.seen) < rounds {
		t.Errorf("%d heads were seen in %d rounds: the test shows too little", len(c.seen), rounds)
	}
}

// sealCrashes kills a server while it seals.
type sealCrashes struct {
	*crashes
	origin string
	keys   []string
	seen   []seal.Checkpoint // every head that was shown, each once
	larger int               // starts that showed a head nobody had seen
}

func (c *sealCrashes) last() seal.Checkpoint {
	if len(c.seen) == 0 {
		return seal.Checkpoint{}
	}
	return c.seen[len(c.seen)-1]
}

func (c *sealCrashes) round(ctx context.Context) error {
	const longest = 1300 * time.Millisecond // more than the interval of the sealer
	c.rounds++
	if err := c.start(ctx); err != nil {
		return err
	}
	if c.rounds == 1 {
		if err := c.ledger.prepare(ctx, c.url); err != nil {
			return err
		}
	}
	before := c.last().Tree.N
	if err := c.settle(ctx); err != nil {
		return err
	}
	if c.last().Tree.N > before && before > 0 {
		c.larger++
	}
	ended := make(chan error, 1)
	go func() { ended <- c.ledger.run(ctx, c.url, c.seed, uint64(c.rounds)) }()
	kill := time.After(time.Duration(c.chance.Int64N(int64(longest)))) // the moment of the kill, not a wait for anything
	for killed := false; !killed; {
		select {
		case <-kill:
			c.kills++
			c.server.kill()
			killed = true
		case err := <-ended:
			return errors.Join(errors.New("the load ended before the kill"), err)
		case <-time.After(10 * time.Millisecond):
			if _, err := c.watch(ctx); err != nil {
				return err
			}
		}
	}
	if err := <-ended; err != nil {
		return err
	}
	return c.cut()
}

// settle waits until all is sealed that there is, and holds what was seen against
// it.
func (c *sealCrashes) settle(ctx context.Context) error {
	var list api.SigningKeyList
	if err := c.checker.get(ctx, "/v1/log/keys", &list); err != nil {
		return err
	}
	c.origin, c.keys = list.Origin, nil
	for _, k := range list.Keys {
		c.keys = append(c.keys, k.VerifierKey)
	}
	var state api.State
	if err := c.checker.get(ctx, "/v1/state", &state); err != nil {
		return err
	}
	if n := c.last().Tree.N; uint64(n) > state.Sequence {
		return fmt.Errorf("a head of %d events was shown, and there are %d", n, state.Sequence)
	}
	shown := false                                                                                      // by this server
	for limit := time.Now().Add(5 * time.Second); !shown || uint64(c.last().Tree.N) < state.Sequence; { // as is promised
		if time.Now().After(limit) {
			return fmt.Errorf("of %d events %d are sealed after 5 s", state.Sequence, c.last().Tree.N)
		}
		var err error
		if shown, err = c.watch(ctx); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return c.consistent(ctx)
}

// watch looks at the head that is shown, if there is one yet.
func (c *sealCrashes) watch(ctx context.Context) (shown bool, err error) {
	data, err := c.checker.body(ctx, "/log/checkpoint")
	if err != nil {
		return false, nil //nolint:nilerr // there is none yet
	}
	head, err := seal.OpenCheckpoint(data, c.origin, c.keys...)
	if err != nil {
		return false, err
	}
	switch last := c.last().Tree; {
	case head.Tree == last:
	case head.Tree.N <= last.N:
		return true, fmt.Errorf("the head of %d events (%v) was shown after that of %d (%v)", head.Tree.N, head.Tree.Hash, last.N, last.Hash)
	default:
		c.seen = append(c.seen, head)
	}
	return true, nil
}

// consistent proves that each head is the beginning of the last one: with the tiles
// of that, and with the proofs from each to the next.
func (c *sealCrashes) consistent(ctx context.Context) error {
	newest := c.last().Tree
	hashes := tlog.TileHashReader(newest, &servedTiles{ctx, c.checker})
	for i, head := range c.seen {
		root, err := tlog.TreeHash(head.Tree.N, hashes)
		if err != nil {
			return fmt.Errorf("the root of %d events from the tiles: %w", head.Tree.N, err)
		}
		if root != head.Tree.Hash {
			return fmt.Errorf("the head of %d events had root %v, and in that of %d events it is %v", head.Tree.N, head.Tree.Hash, newest.N, root)
		}
		if i == 0 {
			continue
		}
		if err := c.checker.extends(ctx, c.seen[i-1].Tree, head.Tree); err != nil {
			return err
		}
	}
	return nil
}

// servedTiles reads tiles of the tree as they are served.
type servedTiles struct {
	ctx     context.Context //nolint:containedctx // tlog has no place for it
	checker *checker
}

// Height implements tlog.TileReader.
func (*servedTiles) Height() int { return 8 }

// ReadTiles implements tlog.TileReader.
func (r *servedTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := r.checker.body(r.ctx, "/log/"+seal.TilePath(tile.L, tile.N, tile.W))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, errors.New(strconv.Itoa(len(data)) + " bytes in a tile of " + strconv.Itoa(tile.W) + " hashes")
		}
		all = append(all, slices.Clone(data))
	}
	return all, nil
}

// SaveTiles implements tlog.TileReader.
func (*servedTiles) SaveTiles([]tlog.Tile, [][]byte) {}
