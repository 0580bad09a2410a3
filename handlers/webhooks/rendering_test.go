package webhooks

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
)

// byName renders models by their names: "2-x" has two bodies, "0-x" none, and "broken"
// can't be rendered.
func byName(_ *events.SubscriptionSettings, e events.Event, _ []byte) (bodies [][]byte, contentType string, err error) {
	name := e.Data.(events.ModelRegistered).Name
	n, _, counted := strings.Cut(name, "-")
	if !counted {
		return nil, "", errors.New("it is broken")
	}
	for i := range int(n[0] - '0') {
		bodies = append(bodies, fmt.Appendf(nil, "%s#%d", name, i+1))
	}
	return bodies, "text/plain", nil
}

// rendered starts an engine that renders so, and gives a sink of all events, in a format
// that has something for models only.
func rendered(r *registry) *sink {
	s := r.subscribe("s", ordered(events.OrderStrict), func(cmd *handlers.CreateSubscription) {
		cmd.Spec.Format, cmd.Spec.Types = events.FormatMLflow, nil
	})
	r.start(func(cfg *Config) {
		cfg.Render = byName
		cfg.Wants = func(_ *events.SubscriptionSettings, eventType string) bool {
			return eventType == events.TypeOf(events.ModelRegistered{})
		}
		cfg.Pace = &Pace{Schedule: []time.Duration{0, time.Millisecond, time.Millisecond}, Breaker: time.Millisecond}
	})
	return s
}

// bodies gives what was sent, in order: "id body".
func (s *sink) bodies() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.got {
		all = append(all, s.got[i].ID+" "+string(s.got[i].Body))
	}
	return all
}

func sentAs(sequence uint64, suffix, body string) string {
	return fmt.Sprintf("evt_%020d%s %s", sequence, suffix, body)
}

func TestWhatAFormatHasNothingForIsSettledWithoutAnAttempt(t *testing.T) {
	r := newRegistry(t)
	s := rendered(r)
	all := r.models("1-first", "0-second")
	r.do(&handlers.RenameModel{Model: "1-first", Renaming: handlers.Renaming{To: "renamed"}}) // of another type
	all = append(all, r.models("broken", "1-last")...)
	want := []string{sentAs(all[0], "", "1-first#1"), sentAs(all[3], "", "1-last#1")}
	logtest.WaitFor(t, "the last one", func() bool { return s.count() >= len(want) })
	if diff := cmp.Diff(want, s.bodies()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	logtest.WaitFor(t, "the cursor", func() bool { c := r.cursor(s); return c.After >= all[3] && len(c.Pending) == 0 })
	if n := r.cursor(s).Dead; n != 1 {
		t.Errorf("%d dead letters are counted", n)
	}
	dead, err := r.store.Dead(t.Context(), s.id)
	if err != nil || !slices.Equal(dead, []uint64{all[2]}) {
		t.Errorf("%v are dead letters (%v), want %d", dead, err, all[2])
	}
	made := []string{fmt.Sprintf("%d/1 ok", all[0]), fmt.Sprintf("%d/1 %s", all[2], attempts.ClassUnrenderable), fmt.Sprintf("%d/1 ok", all[3])}
	logtest.WaitFor(t, "the attempts", func() bool { return len(r.attempts(s)) >= len(made) })
	if diff := cmp.Diff(made, r.attempts(s)); diff != "" {
		t.Errorf("the attempts (-want +got):\n%s", diff)
	}
}

func TestAnEventOfSeveralBodiesIsOneDelivery(t *testing.T) {
	r := newRegistry(t)
	s := rendered(r)
	s.answers(func(n int, _ *Request) Result {
		if n == 2 {
			return status(http.StatusInternalServerError)
		}
		return ok
	})
	all := r.models("3-many", "1-next")
	first, second, third := sentAs(all[0], "", "3-many#1"), sentAs(all[0], "-2", "3-many#2"), sentAs(all[0], "-3", "3-many#3")
	want := []string{first, second, first, second, third, sentAs(all[1], "", "1-next#1")}
	logtest.WaitFor(t, "all", func() bool { return s.count() >= len(want) })
	if diff := cmp.Diff(want, s.bodies()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	made := []string{fmt.Sprintf("%d/1 %s", all[0], attempts.ClassStatus), fmt.Sprintf("%d/2 ok", all[0]), fmt.Sprintf("%d/1 ok", all[1])}
	logtest.WaitFor(t, "the attempts", func() bool { return len(r.attempts(s)) >= len(made) })
	if diff := cmp.Diff(made, r.attempts(s)); diff != "" {
		t.Errorf("the attempts (-want +got):\n%s", diff)
	}
}
