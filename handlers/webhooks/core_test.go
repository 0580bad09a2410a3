package webhooks

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"pgregory.net/rapid"
)

var moment = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)

// model is the naive truth beside a core: a list of all events, and a set of states.
type model struct {
	t        *rapid.T
	core     core
	ordering events.DeliveryOrdering
	now      time.Time

	log       []ready         // every event; lane 0 isn't wanted
	matched   int             // how many of them the core was given
	unsettled map[uint64]bool // wanted, given to the core, and not settled since it was built
	ever      map[uint64]bool // settled at any time
	flying    map[uint64]bool
	attempts  map[uint64]int // failures since the core was built, and before as saved
	mixed     bool           // the ordering was changed: what was in flight before is still there

	saved         cursors.Cursor
	savedAttempts map[uint64]int
}

func (m *model) feed() {
	for ; m.matched < len(m.log); m.matched++ {
		e := m.log[m.matched]
		if e.lane == 0 {
			m.core.pass(e.sequence)
			continue
		}
		if !m.core.room() {
			return
		}
		m.core.match(e.sequence, e.lane)
		m.unsettled[e.sequence] = true
	}
}

func (m *model) laneOf(sequence uint64) uint64 { return m.log[sequence-1].lane }

func (m *model) send() bool {
	it, ok := m.core.next(m.now)
	if !ok {
		return false
	}
	switch {
	case !m.unsettled[it.sequence]:
		m.t.Fatalf("event %d is sent, and is settled or not wanted", it.sequence)
	case m.flying[it.sequence]:
		m.t.Fatalf("event %d is sent while it is in flight", it.sequence)
	case it.attempts != m.attempts[it.sequence]:
		m.t.Fatalf("event %d has failed %d times, and is said to have %d times", it.sequence, m.attempts[it.sequence], it.attempts)
	case it.lane != m.laneOf(it.sequence):
		m.t.Fatalf("event %d changed its lane", it.sequence)
	}
	for other := range m.unsettled {
		same := m.ordering == events.OrderStrict || m.ordering == events.OrderByKey && m.laneOf(other) == it.lane
		if same && (other < it.sequence || m.flying[other]) && (!m.mixed || !m.flying[other]) {
			m.t.Fatalf("event %d is sent before %d is settled, %s", it.sequence, other, m.ordering)
		}
	}
	m.flying[it.sequence] = true
	most := maxFlying
	if m.ordering == events.OrderStrict {
		most = 1
	}
	if len(m.flying) > most || len(m.flying) != m.core.flying {
		m.t.Fatalf("%d are in flight, the core counts %d", len(m.flying), m.core.flying)
	}
	return true
}

func (m *model) settle(sequence uint64) {
	delete(m.unsettled, sequence)
	m.ever[sequence] = true
}

func (m *model) result(sequence uint64, o outcome) {
	v := m.core.result(m.now, sequence, o, rapid.Float64Range(0, 1).Draw(m.t, "jitter"))
	delete(m.flying, sequence)
	if len(m.flying) == 0 {
		m.mixed = false
	}
	dead := false
	if !o.ok && !o.ours && !o.unsendable {
		m.attempts[sequence]++
		dead = m.attempts[sequence] == len(schedule)
	}
	dead = dead || o.unsendable
	if v.dead != dead || v.settled != (o.ok || dead) {
		m.t.Fatalf("event %d after %d failures and %+v: %+v", sequence, m.attempts[sequence], o, v)
	}
	if v.settled {
		m.settle(sequence)
	} else if !v.next.After(m.now) {
		m.t.Fatalf("event %d is sent again at once", sequence)
	}
}

// rebuild is a crash.
func (m *model) rebuild() {
	m.core = newCore(m.ordering, m.core.rate, m.saved)
	m.flying, m.unsettled, m.mixed = map[uint64]bool{}, map[uint64]bool{}, false
	m.attempts = maps.Clone(m.savedAttempts)
	for _, p := range m.saved.Pending {
		m.unsettled[p.Sequence] = true
	}
	m.matched = int(m.saved.After)
	m.feed()
}

// check holds the cursor against the truth.
func (m *model) check(*rapid.T) {
	c := m.core.cursor()
	pending := map[uint64]bool{}
	for i, p := range c.Pending {
		if i > 0 && c.Pending[i-1].Sequence >= p.Sequence {
			m.t.Fatalf("pending isn't in order: %v", c.Pending)
		}
		if pending[p.Sequence] = true; !m.unsettled[p.Sequence] || p.Sequence > c.After {
			m.t.Fatalf("event %d is pending, and is settled or above the cursor %d", p.Sequence, c.After)
		}
	}
	for _, e := range m.log[:c.After] {
		if e.lane != 0 && !pending[e.sequence] && !m.ever[e.sequence] {
			m.t.Fatalf("the cursor passed %d, which was never settled", e.sequence)
		}
		if m.unsettled[e.sequence] != pending[e.sequence] {
			m.t.Fatalf("event %d: unsettled is %v, pending is %v", e.sequence, m.unsettled[e.sequence], pending[e.sequence])
		}
	}
}

func TestEveryWantedEventIsSettledInOrderOverCrashes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		orderings := []events.DeliveryOrdering{events.OrderByKey, events.OrderNone, events.OrderStrict}
		m := &model{
			t: t, ordering: rapid.SampledFrom(orderings).Draw(t, "ordering"), now: moment,
			unsettled: map[uint64]bool{}, ever: map[uint64]bool{}, flying: map[uint64]bool{}, attempts: map[uint64]int{}, savedAttempts: map[uint64]int{},
		}
		m.core = newCore(m.ordering, rapid.SampledFrom([]int{0, 3}).Draw(t, "rate"), cursors.Cursor{})
		one := func() uint64 {
			all := slices.Sorted(maps.Keys(m.flying))
			if len(all) == 0 {
				t.Skip("nothing is in flight")
			}
			return rapid.SampledFrom(all).Draw(t, "of")
		}
		t.Repeat(map[string]func(*rapid.T){
			"": m.check,
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "events") {
					m.log = append(m.log, ready{uint64(len(m.log) + 1), rapid.Uint64Range(0, 3).Draw(t, "lane")})
				}
				m.feed()
			},
			"send": func(*rapid.T) {
				for m.send() {
				}
			},
			"succeed": func(*rapid.T) { m.result(one(), outcome{ok: true}) },
			"all succeed": func(*rapid.T) {
				for _, sequence := range slices.Sorted(maps.Keys(m.flying)) {
					m.result(sequence, outcome{ok: true})
				}
			},
			"fail": func(t *rapid.T) {
				m.result(one(), outcome{
					slow:       rapid.Bool().Draw(t, "slow"),
					retryAfter: time.Duration(rapid.IntRange(0, 100).Draw(t, "retry after")) * time.Hour,
					gone:       rapid.IntRange(0, 9).Draw(t, "gone") == 0,
				})
			},
			"own fault":  func(*rapid.T) { m.result(one(), outcome{ours: true}) },
			"unsendable": func(*rapid.T) { m.result(one(), outcome{unsendable: true}) },
			"stranger":   func(*rapid.T) { m.core.result(m.now, uint64(len(m.log)+1), outcome{}, 0) },
			"wait": func(t *rapid.T) {
				if at, ok := m.core.opening(); ok && at.After(m.now) {
					m.now = at
				}
				m.now = m.now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			},
			"save":  func(*rapid.T) { m.saved, m.savedAttempts = m.core.cursor(), maps.Clone(m.attempts) },
			"crash": func(*rapid.T) { m.rebuild() },
			"pause": func(*rapid.T) {
				m.core.rewind()
				m.core.stopped = true
				m.matched = int(m.core.seen)
				for sequence := range m.unsettled {
					if sequence > m.core.seen {
						delete(m.unsettled, sequence)
					}
				}
				if it, ok := m.core.next(m.now); ok {
					m.t.Fatalf("event %d is sent while paused", it.sequence)
				}
			},
			"resume": func(*rapid.T) {
				m.core.start()
				m.feed()
			},
			"reorder": func(t *rapid.T) {
				if ordering := rapid.SampledFrom(orderings).Draw(t, "ordering"); ordering != m.ordering {
					m.ordering, m.mixed = ordering, len(m.flying) > 0
					m.core.reorder(ordering)
				}
			},
		})
		// An endpoint that answers gets everything.
		m.core.start()
		m.feed()
		for len(m.flying) > 0 || !m.core.idle() || m.matched < len(m.log) {
			for m.send() {
			}
			if len(m.flying) == 0 {
				at, ok := m.core.opening()
				if !ok || !at.After(m.now) {
					t.Fatalf("nothing moves: %+v", m.core)
				}
				m.now = at
			}
			for _, sequence := range slices.Sorted(maps.Keys(m.flying)) {
				m.result(sequence, outcome{ok: true})
			}
			m.feed()
		}
		for _, e := range m.log {
			if e.lane != 0 && !m.ever[e.sequence] {
				t.Fatalf("event %d was never settled", e.sequence)
			}
		}
		if c := m.core.cursor(); c.After != uint64(len(m.log)) || len(c.Pending) > 0 {
			t.Fatalf("the cursor is %+v at the end of %d events", c, len(m.log))
		}
		if m.core.begun != nil || m.core.lanes != nil || m.core.due != nil || m.core.ready != nil || m.core.held != 0 {
			t.Fatalf("an idle core holds memory: %+v", m.core)
		}
	})
}

// filled is a core with events of one lane each.
func filled(ordering events.DeliveryOrdering, lanes ...uint64) core {
	k := newCore(ordering, 0, cursors.Cursor{})
	for i, lane := range lanes {
		k.match(uint64(i+1), lane)
	}
	return k
}

func mustNext(t *testing.T, k *core, now time.Time) uint64 {
	t.Helper()
	it, ok := k.next(now)
	if !ok {
		at, some := k.opening()
		t.Fatalf("nothing is sent at %v; opening is %v, %v", now.Sub(moment), at.Sub(moment), some)
	}
	return it.sequence
}

func wantNone(t *testing.T, k *core, now time.Time) {
	t.Helper()
	if it, ok := k.next(now); ok {
		t.Fatalf("event %d is sent at %v", it.sequence, now.Sub(moment))
	}
}

func TestRetriesFollowTheSchedule(t *testing.T) {
	t.Parallel()
	want := []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	for _, jitter := range []struct{ drawn, factor float64 }{{0, 0.8}, {0.5, 1}, {1, 1.2}} {
		k, now := filled(events.OrderByKey, 1, 1), moment
		for i, d := range want {
			mustNext(t, &k, now)
			v := k.result(now, 1, outcome{}, jitter.drawn)
			exact := time.Duration(float64(d) * jitter.factor)
			if got := v.next.Sub(now); (got-exact).Abs() > time.Millisecond || v.settled || v.dead {
				t.Fatalf("after failure %d with jitter %v: %+v, in %v, want %v", i+1, jitter.drawn, v, got, exact)
			}
			wantNone(t, &k, v.next.Add(-time.Millisecond))
			now = cmp.Or(k.open, v.next) // the breaker may be open for longer
			if now.Before(v.next) {
				now = v.next
			}
		}
		mustNext(t, &k, now)
		if v := k.result(now, 1, outcome{}, jitter.drawn); !v.dead || !v.settled || k.dead != 1 {
			t.Errorf("after the last attempt: %+v, %d dead", v, k.dead)
		}
		if got := mustNext(t, &k, now.Add(breakerMost)); got != 2 {
			t.Errorf("after the dead letter, %d is sent", got)
		}
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		o           outcome
		item, other time.Duration // when the one that failed, and another, are sent
	}{
		{"less than the schedule", outcome{retryAfter: time.Second}, 5 * time.Second, 0},
		{"more than the schedule", outcome{retryAfter: time.Minute}, time.Minute, 0},
		{"at most a day", outcome{retryAfter: 100 * time.Hour}, 24 * time.Hour, 0},
		{"an endpoint that asks for less", outcome{retryAfter: time.Minute, slow: true}, time.Minute, time.Minute},
		{"for at most a day", outcome{retryAfter: 100 * time.Hour, slow: true}, 24 * time.Hour, 24 * time.Hour},
		{"without a time", outcome{slow: true}, 5 * time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := filled(events.OrderByKey, 1, 2)
			mustNext(t, &k, moment)
			if got := k.result(moment, 1, c.o, 0.5).next.Sub(moment); got != c.item {
				t.Errorf("it is sent again after %v, want %v", got, c.item)
			}
			if at, _ := k.opening(); max(at.Sub(moment), 0) != c.other {
				t.Errorf("the other is sent after %v, want %v", at.Sub(moment), c.other)
			}
		})
	}
}

func TestTheBreakerOpensAndProbes(t *testing.T) {
	t.Parallel()
	k := filled(events.OrderNone, make([]uint64, 20)...)
	for range breakerFailures {
		k.result(moment, mustNext(t, &k, moment), outcome{retryAfter: time.Hour}, 0.5)
	}
	now := moment
	for _, seconds := range []int{30, 60, 120, 240, 480, 600, 600} {
		open := time.Duration(seconds) * time.Second
		wantNone(t, &k, now.Add(open-1))
		now = now.Add(open)
		probe := mustNext(t, &k, now)
		wantNone(t, &k, now) // one probe at a time
		if seconds == 120 {  // what wasn't sent doesn't count
			k.result(now, probe, outcome{ours: true}, 0.5)
			probe = mustNext(t, &k, now.Add(ownFirst))
		}
		k.result(now, probe, outcome{retryAfter: 10 * time.Hour}, 0.5)
	}
	now = now.Add(breakerMost)
	k.result(now, mustNext(t, &k, now), outcome{ok: true}, 0.5)
	mustNext(t, &k, now)
	mustNext(t, &k, now) // the window has grown
	wantNone(t, &k, now)
}

func TestSuccessEndsARowOfFailures(t *testing.T) {
	t.Parallel()
	k := filled(events.OrderNone, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	for i := range 12 {
		k.result(moment, mustNext(t, &k, moment), outcome{ok: i%breakerFailures == breakerFailures-1}, 0.5)
	}
	if !k.open.IsZero() {
		t.Error("the breaker is open")
	}
}

func TestAGoneEndpointIsDisabledAtOnce(t *testing.T) {
	t.Parallel()
	k := filled(events.OrderNone, 1, 2)
	sequence := mustNext(t, &k, moment)
	if v := k.result(moment, sequence, outcome{gone: true}, 0.5); v.disable != events.CauseGone || v.settled {
		t.Errorf("the verdict is %+v", v)
	}
	wantNone(t, &k, moment.Add(48*time.Hour))
	if c := k.cursor(); c.After != 1 || len(c.Pending) != 1 {
		t.Errorf("the cursor is %+v", c)
	}
	k.start()
	mustNext(t, &k, moment.Add(48*time.Hour))
}

func TestDaysOfFailuresDisableOverCrashes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		healed  bool
		after   time.Duration
		disable events.DisableCause
	}{
		{"just before", false, disableAfter - time.Millisecond, ""},
		{"after days", false, disableAfter, events.CauseFailing},
		{"with a success between", true, disableAfter, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := filled(events.OrderNone, 1, 2, 3)
			k.result(moment, mustNext(t, &k, moment), outcome{}, 0.5)
			if c.healed {
				k.result(moment, mustNext(t, &k, moment), outcome{ok: true}, 0.5)
			}
			k = newCore(events.OrderNone, 0, k.cursor())
			k.match(4, 4)
			now := moment.Add(c.after)
			if v := k.result(now, mustNext(t, &k, now), outcome{}, 0.5); v.disable != c.disable {
				t.Errorf("the verdict is %+v, want %q", v, c.disable)
			}
			if stopped := c.disable != ""; k.stopped != stopped {
				t.Errorf("stopped is %v", k.stopped)
			}
		})
	}
}

func TestTheRateHolds(t *testing.T) {
	t.Parallel()
	k, now := newCore(events.OrderNone, 50, cursors.Cursor{}), moment
	for i := range 1000 {
		k.match(uint64(i+1), 1)
	}
	sent := 0
	for now.Before(moment.Add(2 * time.Second)) {
		for it, ok := k.next(now); ok; it, ok = k.next(now) {
			k.result(now, it.sequence, outcome{ok: true}, 0.5)
			sent++
		}
		now = now.Add(time.Millisecond)
	}
	if sent < 100 || sent > 106 { // of the burst too
		t.Errorf("%d are sent in 2 s at 50 a second", sent)
	}
}

// A lane that fails holds its own events, up to a bound, and nobody else's.
func TestAFailingLaneIsBounded(t *testing.T) {
	t.Parallel()
	k := newCore(events.OrderByKey, 0, cursors.Cursor{})
	k.match(1, 1)
	k.result(moment, mustNext(t, &k, moment), outcome{}, 0.5)
	for i := range maxReady {
		k.match(uint64(i+2), 1)
	}
	if k.room() {
		t.Error("there is room for more than the most")
	}
	wantNone(t, &k, moment)
	if n := len(k.cursor().Pending); n != maxUnsettled {
		t.Errorf("%d are pending, want %d", n, maxUnsettled)
	}
	if c := k.cursor(); c.After != maxUnsettled {
		t.Errorf("the cursor is after %d", c.After)
	}
	now := moment.Add(time.Hour)
	for i := range maxReady + 1 {
		if got := mustNext(t, &k, now); got != uint64(i+1) {
			t.Fatalf("%d is sent, want %d", got, i+1)
		}
		k.result(now, uint64(i+1), outcome{ok: true}, 0.5)
	}
	if !k.idle() {
		t.Error("something is left")
	}
}
