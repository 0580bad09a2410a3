package verify_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers/verify"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	registryID = ulid.MustParse("01KXFT0000REG1STRY00000000")
	start      = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
)

// told gives the events 1 to last of a registry.
func told(last uint64) []events.Event {
	var all []events.Event
	for s := uint64(1); s <= last; s++ {
		id := ulid.ULID{14: byte(s >> 8), 15: byte(s)}
		e := events.Event{Sequence: s, ID: id, Registry: registryID, Subject: "somewhere", Time: start.Add(time.Duration(s) * time.Second)}
		e.Data = events.ModelRegistered{ModelID: id, Name: fmt.Sprint("m", s)}
		if s == 1 {
			e.Data = events.RegistryCreated{RegistryID: registryID, Level: events.Level}
		}
		all = append(all, e)
	}
	return all
}

// checked is a verifier of a log, and what becomes of its verifications.
type checked struct {
	*testing.T
	*verify.Verifier
	log   *awayLog
	live  *runner.Runner
	ended ends         // has one for each verification that ended
	rooms atomic.Int32 // second states that there is room for
}

// awayLog may be away, or hold whoever reads it.
type awayLog struct {
	events.Log
	away atomic.Bool
	hold chan struct{} // nil: not held
}

func (l *awayLog) Read(ctx context.Context, from, to uint64) iter.Seq2[events.Stored, error] {
	return func(yield func(events.Stored, error) bool) {
		if l.away.Load() {
			yield(events.Stored{}, events.ErrUnavailable)
			return
		}
		if l.hold != nil {
			select {
			case <-l.hold:
			case <-ctx.Done():
				yield(events.Stored{}, ctx.Err())
				return
			}
		}
		l.Log.Read(ctx, from, to)(yield)
	}
}

// ends is a logger's handler that counts what is logged: the end of each
// verification, once it can be seen.
type ends chan struct{}

func (ends) Enabled(context.Context, slog.Level) bool    { return true }
func (e ends) Handle(context.Context, slog.Record) error { e <- struct{}{}; return nil }
func (e ends) WithAttrs([]slog.Attr) slog.Handler        { return e }
func (e ends) WithGroup(string) slog.Handler             { return e }

// newChecked has so many events on the log, and a live state in which the events
// that are given stand in for those of the log.
func newChecked(t *testing.T, last uint64, others ...events.Event) *checked {
	t.Helper()
	inner, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir(), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inner.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &checked{T: t, log: &awayLog{Log: inner}, live: runner.New(inner), ended: make(ends, 10)}
	now := func() time.Time { return start }
	room := func() func() {
		c.rooms.Add(1)
		return func() { c.rooms.Add(-1) }
	}
	var group []events.Encoded
	for _, e := range told(last) {
		encoded, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		group = append(group, encoded)
		for _, other := range others {
			if other.Sequence == e.Sequence {
				e = other
			}
		}
		c.live.Apply(e)
	}
	if err := inner.Append(t.Context(), 0, group); err != nil {
		t.Fatal(err)
	}
	c.live.Publish(last)
	c.Verifier = verify.New(verify.Config{Log: c.log, Runner: c.live, Now: now, Room: room, Logger: slog.New(c.ended)})
	t.Cleanup(c.Stop)
	return c
}

// ends wants a verification, which it starts, to end so.
func (c *checked) ends(want verify.Outcome, firstBad uint64) *verify.Result {
	c.Helper()
	c.Start()
	<-c.ended
	running, last := c.Status()
	if running.Number != 0 || last.Outcome != want || last.FirstBad != firstBad || c.rooms.Load() != 0 {
		c.Fatalf("running %+v, last %+v, want %s from event %d", running, last, want, firstBad)
	}
	return last
}

func (c *checked) digest() string {
	c.Helper()
	d, err := c.live.Digest(c.Context(), c.live.Visible())
	if err != nil {
		c.Fatal(err)
	}
	return d
}

// another is the event with a sequence, as it isn't on the log.
func another(sequence uint64) events.Event {
	e := told(sequence)[sequence-1]
	e.Data = events.ModelRegistered{ModelID: e.ID, Name: "another"}
	return e
}

func TestAStateThatIsWhatItsLogGivesPasses(t *testing.T) {
	c := newChecked(t, 300)
	if running, last := c.Status(); running.Number != 0 || last != nil || c.Err() != nil {
		t.Errorf("before the first: %+v, %+v, %v", running, last, c.Err())
	}
	want := verify.Result{
		Running: verify.Running{Number: 1, StartedAt: start, Until: 300, Applied: 300},
		EndedAt: start, Outcome: verify.Passed, Digest: c.digest(), Found: c.digest(), Checkpoints: 1,
	}
	if diff := cmp.Diff(want, *c.ends(verify.Passed, 0)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if second := c.ends(verify.Passed, 0); second.Number != 2 || c.Err() != nil {
		t.Errorf("the second is %+v", second)
	}
	c.measures("modelog_verifications_total", `value:"passed"} counter:{value:2 `)
	c.measures("modelog_verification_last_timestamp_seconds", fmt.Sprintf(`value:"passed"} gauge:{value:%v}`, float64(start.Unix())))
	c.measures("modelog_state_differs", "gauge:{value:0}")
}

// measures wants a metric to have one value.
func (c *checked) measures(name, want string) {
	c.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c.Collectors()...)
	data, err := registry.Gather()
	if err != nil {
		c.Fatal(err)
	}
	for _, family := range data {
		if family.GetName() == name {
			got := strings.Join(strings.Fields(fmt.Sprint(family.GetMetric())), " ") // it has spaces at random
			if !strings.Contains(got, want) {
				c.Errorf("%s is %s, want %s", name, got, want)
			}
			return
		}
	}
	c.Errorf("there is no %s", name)
}

func TestAStateThatDiffersIsNamedUntilOnePasses(t *testing.T) {
	c := newChecked(t, 300, another(123))
	result := c.ends(verify.Differs, 123)
	if result.Digest == result.Found || c.Err() == nil || !strings.Contains(c.Err().Error(), "from event 123 on") {
		t.Errorf("%+v, %v", result, c.Err())
	}
	c.measures("modelog_state_differs", "gauge:{value:1}")
	// What proves nothing doesn't take it back.
	c.log.away.Store(true)
	c.ends(verify.Failed, 0)
	if c.Err() == nil {
		t.Error("a verification without a result has taken it back")
	}
	c.log.away.Store(false)
	c.ends(verify.Differs, 123)
}

func TestALogThatIsAwayProvesNothing(t *testing.T) {
	c := newChecked(t, 3)
	c.log.away.Store(true)
	if result := c.ends(verify.Failed, 0); !errors.Is(result.Err, events.ErrUnavailable) || c.Err() != nil {
		t.Errorf("%+v, %v", result, c.Err())
	}
	c.log.away.Store(false)
	c.ends(verify.Passed, 0)
}

func TestTheOneThatRunsIsJoined(t *testing.T) {
	c := newChecked(t, 3)
	c.log.hold = make(chan struct{})
	first, second := c.Start(), c.Start()
	if first.Number != 1 || second != first {
		t.Errorf("got %+v and %+v", first, second)
	}
	close(c.log.hold)
	<-c.ended
	if _, last := c.Status(); last.Number != 1 || last.Outcome != verify.Passed {
		t.Errorf("%+v", last)
	}
}

func TestStopEndsTheOneThatRuns(t *testing.T) {
	c := newChecked(t, 3)
	c.log.hold = make(chan struct{})
	c.Start()
	c.Stop()
	_, last := c.Status()
	if last == nil || last.Outcome != verify.Failed || !errors.Is(last.Err, context.Canceled) || c.Err() != nil {
		t.Errorf("%+v, %v", last, c.Err())
	}
	if again := c.Start(); again.Number != 0 {
		t.Errorf("after that there is %+v", again)
	}
}
