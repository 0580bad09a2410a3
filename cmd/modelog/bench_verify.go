package main

import (
	"context"
	"time"
)

// verifyLong has a registry on a history verify itself, as a user would with modelog
// verify, and gives the events a second: the rebuild, and the digests of both states.
func (b *bench) verifyLong(ctx context.Context, dir string) (rate float64, err error) {
	server, err := b.startServer(ctx, "verify", func(string) []string {
		return []string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}
	})
	if err != nil {
		return 0, err
	}
	defer server.stop()
	if _, err := b.untilReady(ctx, server); err != nil {
		return 0, err
	}
	var v Verification
	begin := time.Now()
	if err := b.child(ctx, &v, "verify", "--json", "--server", server.url); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	return float64(v.Events) / took.Seconds(), server.terminate()
}
