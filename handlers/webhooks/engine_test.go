package webhooks

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
)

// sender answers for all endpoints.
type sender func(ctx context.Context, r Request) Result

func (f sender) Send(ctx context.Context, r Request) Result { return f(ctx, r) }

type noVault struct{}

func (noVault) Get(context.Context, ulid.ULID) (vault.Endpoint, error) { return vault.Endpoint{}, nil }

func TestThePastIsDeliveredInOrderAndOnceOverARestart(t *testing.T) {
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	run := runner.New(log)
	hub := fanout.New(fanout.Config{Log: log, Runner: run})
	defer hub.Stop()
	newID := func(at time.Time) ulid.ULID { return ulid.MustNew(ulid.Timestamp(at), ulid.DefaultEntropy()) }
	registrar, err := handlers.Start(t.Context(), handlers.Config{Log: log, Runner: run, Now: time.Now, NewID: newID, Jitter: rand.Float64, Landed: hub.Landed})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := registrar.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	create := func(after *uint64) {
		t.Helper()
		spec := handlers.SubscriptionSpec{Format: events.FormatCloudEvents, Ordering: events.OrderStrict, Signature: events.SignHMAC}
		sink := handlers.Sink{Host: "https://h", CredentialID: newID(time.Now())}
		if _, err := registrar.Do(t.Context(), handlers.Request{Command: &handlers.CreateSubscription{Spec: spec, Sink: sink, After: after}}); err != nil {
			t.Fatal(err)
		}
	}
	journal, err := attempts.Open(t.Context(), attempts.Config{JetStream: log.JetStream})
	if err != nil {
		t.Fatal(err)
	}
	store, err := cursors.Open(t.Context(), cursors.Config{JetStream: log.JetStream})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 100)
	cfg := Config{
		Hub: hub, Runner: run, Log: log, Vault: noVault{}, Journal: journal, Cursors: store, Now: time.Now, Jitter: rand.Float64, Holder: "a",
		Sender: sender(func(_ context.Context, r Request) Result {
			got <- r.ID
			return Result{Status: 200, Class: attempts.ClassOK}
		}),
		Disable: func(context.Context, Disabling) error { return nil },
	}
	create(new(uint64)) // from the beginning: the registry's event, and its own
	var all []string
	for _, n := range []int{2, 1} {
		e := Start(cfg)
		for range n {
			select {
			case id := <-got:
				all = append(all, id)
			case <-time.After(20 * time.Second):
				t.Fatalf("only %v came", all)
			}
		}
		e.Stop()
		if n == 2 {
			create(nil)
		}
	}
	want := []string{"evt_00000000000000000001", "evt_00000000000000000002", "evt_00000000000000000003"}
	if !slices.Equal(all, want) {
		t.Errorf("%v came, want %v", all, want)
	}
}
