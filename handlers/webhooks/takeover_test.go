package webhooks

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAnotherTakesOverFromOneThatIsKilled(t *testing.T) {
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprintf("on %d servers", servers), func(t *testing.T) {
			t.Parallel()
			takesOver(t, logtest.StartServers(t, servers))
		})
	}
}

// takesOver has two registries on one log. The one that delivers is cut off from the
// log, and sends nothing any more, in the middle of it.
func takesOver(t *testing.T, servers *logtest.Servers) {
	t.Helper()
	to := newSinks()
	var both [2]*registry
	for i := range both {
		log, err := natslog.Connect(t.Context(), natslog.RemoteConfig{URL: servers.URL()})
		if err != nil {
			t.Fatal(err)
		}
		both[i] = registryOn(t, log, true, to)
		both[i].holder = fmt.Sprint("holder ", i)
	}
	line, err := nats.Connect(servers.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	js, err := jetstream.New(line)
	if err != nil {
		t.Fatal(err)
	}
	if both[0].store, err = cursors.Open(t.Context(), cursors.Config{JetStream: func() jetstream.JetStream { return js }}); err != nil {
		t.Fatal(err)
	}
	s := both[0].subscribe("s", ordered(events.OrderStrict))
	var dead atomic.Bool
	s.answers(func(int, *Request) Result {
		if dead.Load() {
			return Result{Ours: true, Class: attempts.ClassOurs}
		}
		return ok
	})
	first := both[0].start()
	all := both[0].models(names("before", 5)...)
	s.wait(t, all...)
	second := both[1].start()
	all = append(all, both[0].models(names("meanwhile", 5)...)...)
	s.wait(t, all...)
	if second.current() != nil {
		t.Fatal("both deliver")
	}
	dead.Store(true)
	line.Close()
	began := time.Now()
	all = append(all, both[0].models(names("after", 5)...)...)
	logtest.WaitFor(t, "the second", func() bool { return second.current() != nil })
	if first.current() != nil {
		t.Error("the first takes itself to deliver still")
	}
	s.mu.Lock()
	s.got = slices.DeleteFunc(s.got, func(r Request) bool { return r.Time.After(began) && sequenceOf(&r) > all[9] }) // the first's, which came to nothing
	s.mu.Unlock()
	dead.Store(false)
	logtest.WaitFor(t, "all of them", func() bool { return len(unique(s.sequences())) == len(all) })
	took := time.Since(began)
	t.Logf("it took %v", took)
	if took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := unique(s.sequences()); !slices.Equal(got, all) {
		t.Errorf("they came as %v, want %v", got, all)
	}
}

// What was held and given back is taken at once, and so is what was ours before an
// outage, if nobody took it meanwhile.
func TestALeaseThatIsFreeIsTakenAtOnce(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	now := time.Now()
	a := &Engine{ctx: t.Context(), cfg: Config{Cursors: r.store, Holder: "a", Now: time.Now, Logger: quiet}}
	b := &Engine{ctx: t.Context(), cfg: Config{Cursors: r.store, Holder: "b", Now: time.Now, Logger: quiet}}
	var of, other holding
	held := func(h *holding) bool { return !h.until.IsZero() }
	a.hold(&of, now)
	b.hold(&other, now)
	if !held(&of) || held(&other) {
		t.Fatal("the first doesn't have it, or both do")
	}
	of.until = time.Time{} // an outage
	b.hold(&other, now.Add(leaseDead-time.Second))
	a.hold(&of, now.Add(leaseDead-time.Second))
	if !held(&of) || held(&other) {
		t.Error("it isn't taken again after an outage, or by both")
	}
	b.hold(&other, now.Add(leaseDead))
	if held(&other) {
		t.Error("it is taken although it was renewed")
	}
	of.until = time.Time{}
	b.hold(&other, now.Add(2*leaseDead))
	a.hold(&of, now.Add(2*leaseDead))
	if held(&of) || !held(&other) {
		t.Error("it isn't taken from one that is dead, or by both")
	}
	// A renewal without an answer.
	lost := cursors.Lease{Holder: "b", Count: other.lease.Count + 1}
	if _, err := r.store.Put(t.Context(), cursors.LeaseKey, other.revision, lost); err != nil {
		t.Fatal(err)
	}
	other.tried = lost
	if b.hold(&other, now.Add(2*leaseDead+time.Second)); !held(&other) {
		t.Error("it isn't known again")
	}
}
