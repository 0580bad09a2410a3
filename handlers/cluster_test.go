package handlers

import (
	"context"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/events/natslog"
)

func connect(t *testing.T, url string) events.Log {
	t.Helper()
	l, err := natslog.Connect(t.Context(), natslog.RemoteConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// TestReplicasOnAClusterAgree is the test of rivals on three servers.
func TestReplicasOnAClusterAgree(t *testing.T) {
	servers := logtest.StartServers(t, 3)
	replicas := replicasOn(t, 3, func(int) events.Log { return connect(t, servers.URL()) })
	wantRivalsAgree(t, replicas, 2, 6, 4)
}

// TestALeaderThatIsKilledCostsWaitingOnly stops the server that leads the log
// while three replicas write. A write may be told that nobody knows what became
// of it; asked again, with the same key, it is answered, and it was done once.
func TestALeaderThatIsKilledCostsWaitingOnly(t *testing.T) {
	servers := logtest.StartServers(t, 3)
	replicas := replicasOn(t, 3, func(int) events.Log { return connect(t, servers.URL()) })
	mustDo(t, replicas[0], &RegisterModel{ModelSpec{Name: "fraud"}})
	leader := servers.Leader(t)
	const each = 20
	done := make(chan error, len(replicas))
	started := make(chan struct{}, len(replicas))
	for i, r := range replicas {
		go func() {
			for n := range each {
				if n == 2 {
					started <- struct{}{}
				}
				if err := registerForSure(t, r, i, n); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range replicas {
		<-started
	}
	servers.Stop(leader)
	for range replicas {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := servers.Start(leader); err != nil {
		t.Error(err)
	}
	wantAlike(t, replicas)
	v := replicas[0].cfg.Runner.Now()
	for m := range v.Models("") {
		if want := len(replicas) * each; m.LastVersion != want || m.LiveVersions != want {
			t.Errorf("%d versions are there, the last is %d; want %d", m.LiveVersions, m.LastVersion, want)
		}
	}
}

// registerForSure asks again, with the same key, until it knows.
func registerForSure(t *testing.T, r *Registrar, replica, n int) error {
	t.Helper()
	source := "s3://" + string(rune('a'+replica)) + "/" + string(rune('a'+n))
	ctx, cancel := context.WithTimeout(t.Context(), 2*testTimeout)
	defer cancel()
	for {
		_, err := r.Do(ctx, Request{Command: &RegisterVersion{"fraud", VersionSpec{Source: source}}, Key: source})
		code := CodeOf(err)
		if err == nil || ctx.Err() != nil || (code != CodeOutcomeUnknown && code != CodeUnavailable) {
			return err
		}
	}
}
