package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/modelog/modelog/handlers/webhooks/cursors"
	"github.com/oklog/ulid/v2"
)

// delivering stands in for the engine and the sender, on stores that are real.
type delivering struct {
	journal *attempts.Journal
	cursors *cursors.Store
	refuses error // what a replay is refused with
	sent    webhooks.Request
	answer  webhooks.Exchange
}

func newDelivering(t *testing.T, log *natslog.Log) *delivering {
	t.Helper()
	d := &delivering{}
	var err error
	if d.journal, err = attempts.Open(t.Context(), attempts.Config{JetStream: log.JetStream}); err != nil {
		t.Fatal(err)
	}
	if d.cursors, err = cursors.Open(t.Context(), cursors.Config{JetStream: log.JetStream}); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *delivering) Replay(ctx context.Context, job cursors.Replay) error {
	if d.refuses != nil {
		return d.refuses
	}
	_, err := d.cursors.Put(ctx, cursors.ReplayKey(job.Subscription, job.Job), 0, job)
	return err
}

func (d *delivering) StopReplay(ctx context.Context, subscription, id ulid.ULID) error {
	var job cursors.Replay
	revision, err := d.cursors.Get(ctx, cursors.ReplayKey(subscription, id), &job)
	if errors.Is(err, cursors.ErrNone) {
		return webhooks.ErrUnknownReplay
	}
	job.Done, job.Stopped = true, true
	_, err = d.cursors.Put(ctx, cursors.ReplayKey(subscription, id), revision, job)
	return err
}

func (d *delivering) Exchange(_ context.Context, r webhooks.Request) webhooks.Exchange {
	d.sent = r
	return d.answer
}

// put writes a record of the cursors.
func (r *registry) put(key string, record any) {
	r.Helper()
	if _, err := r.delivering.cursors.Put(r.Context(), key, 0, record); err != nil {
		r.Fatal(err)
	}
}

var someMoment = time.Date(2026, 11, 23, 21, 0, 0, 120e6, time.UTC)

func TestAStatusTellsHowFarASubscriptionIs(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	hook := r.subscribe(`{"sink":"https://h","start":3}`)
	at := "/v1/subscriptions/" + hook.ID + "/status"
	visible := uint64(r.last())
	got := decode[DeliveryStatus](r.call("GET", at, "").want(200))
	if diff := cmp.Diff(DeliveryStatus{After: 2, Lag: visible - 2, Status: "active", Pending: []PendingDelivery{}}, got); diff != "" {
		t.Errorf("before anything is delivered:\n%s", diff)
	}
	c := cursors.Cursor{After: visible, Dead: 3, FailingMilli: someMoment.UnixMilli()}
	for i := range maxPending + 2 {
		c.Pending = append(c.Pending, cursors.Pending{Sequence: uint64(i + 1), Attempt: 1, DueMilli: someMoment.UnixMilli()})
	}
	c.Pending[0].DueMilli = 0
	r.put(cursors.CursorKey(ulid.MustParse(hook.ID)), c)
	got = decode[DeliveryStatus](r.call("GET", at, "").want(200))
	if len(got.Pending) != maxPending || got.PendingMore != 2 || got.Lag != 0 || got.DeadLetters != 3 || got.FailingSince != "2026-11-23T21:00:00.120Z" {
		t.Errorf("got %+v", got)
	}
	if want := (PendingDelivery{Sequence: 2, Attempts: 1, NextAt: "2026-11-23T21:00:00.120Z"}); got.Pending[0].NextAt != "" || got.Pending[1] != want {
		t.Errorf("pending are %+v and %+v", got.Pending[0], got.Pending[1])
	}
	r.call("GET", at+"?as_of=2", "").problem(400, handlers.CodeInvalid)
	r.call("GET", "/v1/subscriptions/01KXFT0005H00K000000000000/status", "").problem(404, handlers.CodeSubscriptionNotFound)
}

func TestAttemptsAreListedTheLastOnesFirst(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	hook := r.subscribe(`{"sink":"https://h"}`)
	id, job := ulid.MustParse(hook.ID), ulid.MustParse("01KXFT000APEAT000000000000")
	for i := range 5 {
		a := attempts.Attempt{
			Subscription: id, Sequence: uint64(i/2 + 1), Number: i%2 + 1, StartedAt: someMoment, Milliseconds: 1.5, Status: 500, Class: attempts.ClassStatus,
			Body: "no", NextAt: someMoment.Add(5 * time.Second),
		}
		if i == 4 {
			a = attempts.Attempt{Subscription: id, Sequence: 3, Number: 1, StartedAt: someMoment, Class: attempts.ClassTimeout, Replay: job, Dead: true}
		}
		if err := r.delivering.journal.Record(t.Context(), &a); err != nil {
			t.Fatal(err)
		}
	}
	at := "/v1/subscriptions/" + hook.ID + "/attempts"
	var all []DeliveryAttempt
	for next := at + "?limit=2"; next != ""; {
		page := decode[AttemptList](r.call("GET", next, "").want(200))
		all, next = append(all, page.Attempts...), ""
		if page.NextCursor != "" {
			next = at + "?limit=2&cursor=" + page.NextCursor
		}
	}
	if len(all) != 5 {
		t.Fatalf("%d attempts", len(all))
	}
	want := DeliveryAttempt{Sequence: 3, Attempt: 1, StartedAt: "2026-11-23T21:00:00.120Z", Class: "timeout", Replay: job.String(), Dead: true}
	if diff := cmp.Diff(want, all[0]); diff != "" {
		t.Error(diff)
	}
	want = DeliveryAttempt{
		Sequence: 2, Attempt: 2, StartedAt: "2026-11-23T21:00:00.120Z", DurationMS: 1.5, Status: 500, Class: "status", Body: "no", NextAt: "2026-11-23T21:00:05.120Z",
	}
	if diff := cmp.Diff(want, all[1]); diff != "" {
		t.Error(diff)
	}
	for query, n := range map[string]int{"?sequence=1": 2, "?class=timeout": 1, "?status=500": 4, "?sequence=3&status=500": 0} {
		if got := decode[AttemptList](r.call("GET", at+query, "").want(200)); len(got.Attempts) != n {
			t.Errorf("%s gives %d", query, len(got.Attempts))
		}
	}
	for _, query := range []string{"?sequence=x", "?sequence=0", "?status=99", "?status=abc", "?class=lost", "?cursor=x", "?limit=0", "?class=ours"} {
		r.call("GET", at+query, "").problem(400, handlers.CodeInvalid)
	}
}

func TestDeadLettersAreListedInOrder(t *testing.T) {
	r := newRegistry(t)
	hook := r.subscribe(`{"sink":"https://h"}`)
	id := ulid.MustParse(hook.ID)
	for _, sequence := range []uint64{9, 11, 100} {
		r.put(cursors.DeadKey(id, sequence), cursors.DeadLetter{Sequence: sequence, AtMilli: someMoment.UnixMilli(), Status: 500, Class: "status"})
	}
	at := "/v1/subscriptions/" + hook.ID + "/dead-letters"
	first := decode[DeadLetterList](r.call("GET", at+"?limit=2", "").want(200))
	rest := decode[DeadLetterList](r.call("GET", at+"?limit=2&cursor="+first.NextCursor, "").want(200))
	var sequences []uint64
	for _, l := range append(first.DeadLetters, rest.DeadLetters...) {
		sequences = append(sequences, l.Sequence)
	}
	if fmt.Sprint(sequences) != "[9 11 100]" || rest.NextCursor != "" || first.DeadLetters[0].At != "2026-11-23T21:00:00.120Z" {
		t.Errorf("got %v, %+v", sequences, first)
	}
}

func TestReplaysAreBegunFollowedAndStopped(t *testing.T) {
	r := newRegistry(t)
	r.seed()
	hook := r.subscribe(`{"sink":"https://h","start":3}`)
	visible := uint64(r.last())
	at := "/v1/subscriptions/" + hook.ID + "/replays"
	begun := r.call("POST", at, `{}`).want(201)
	all := decode[Replay](begun)
	if want := (Replay{ID: all.ID, From: 3, To: visible, Mode: "all", After: 2, State: "running", CreatedAt: all.CreatedAt}); all != want {
		t.Errorf("got %+v, want %+v", all, want)
	}
	if location := begun.Header().Get("Location"); location != at+"/"+all.ID || decode[Replay](r.call("GET", location, "").want(200)) != all {
		t.Errorf("it is at %s", location)
	}
	some := decode[Replay](r.call("POST", at, `{"from":2,"to":"4","mode":"failed","rate":7}`).want(201))
	if some.From != 2 || some.To != 4 || some.Mode != "failed" || some.Rate != 7 {
		t.Errorf("got %+v", some)
	}
	moment := decode[Replay](r.call("POST", at, `{"from":"2020-01-01T00:00:00Z","mode":"missing"}`).want(201))
	if moment.From != 1 || moment.To != visible {
		t.Errorf("from a moment before all events: %+v", moment)
	}
	r.call("DELETE", at+"/"+some.ID, "").want(204)
	if got := decode[Replay](r.call("GET", at+"/"+some.ID, "").want(200)); got.State != "stopped" {
		t.Errorf("it is %s", got.State)
	}
	if list := decode[ReplayList](r.call("GET", at, "").want(200)); len(list.Replays) != 3 || list.Replays[0].ID != all.ID {
		t.Errorf("got %+v", list)
	}
	for _, c := range []struct{ body, field string }{
		{`{"from":0}`, "/from"},
		{`{"to":0}`, "/to"},
		{`{"to":1000000}`, "/to"},
		{`{"from":4,"to":3}`, "/from"},
		{`{"from":"soon"}`, "/from"},
		{`{"to":"3000-01-01T00:00:00Z"}`, "/to"},
		{`{"mode":"most"}`, "/mode"},
		{`{"rate":-1}`, "/rate"},
		{`{"rate":10001}`, "/rate"},
		{`{"until":3}`, "/until"},
		{`{"from":[]}`, "/from"},
	} {
		if p := r.call("POST", at, c.body).problem(400, handlers.CodeInvalid); len(p.Errors) != 1 || p.Errors[0].Pointer != c.field {
			t.Errorf("%s: %+v", c.body, p.Errors)
		}
	}
	for _, id := range []string{"x", "01KXFT000APEAT000000000000"} {
		r.call("GET", at+"/"+id, "").problem(404, handlers.CodeReplayNotFound)
		r.call("DELETE", at+"/"+id, "").problem(404, handlers.CodeReplayNotFound)
	}
	for refusal, code := range map[error]handlers.Code{webhooks.ErrReplays: handlers.CodeTooManyReplays, webhooks.ErrNoSink: handlers.CodeNoSink} {
		r.delivering.refuses = fmt.Errorf("no: %w", refusal)
		r.call("POST", at, `{}`).problem(409, code)
	}
	r.delivering.refuses = errors.New("away")
	r.call("POST", at, `{}`).problem(503, handlers.CodeUnavailable)
}

func TestATestShowsWhatCameBack(t *testing.T) {
	r := newRegistry(t)
	for format, has := range map[string]string{"cloudevents": `"type":"dev.modelog.ping.v1"`, "slack": `This is a test`, "mlflow": `"entity":`} {
		hook := r.subscribe(`{"sink":"https://h/path","format":"` + format + `","protocolsettings":{"headers":{"Authorization":"Bearer x"}}}`)
		r.delivering.answer = webhooks.Exchange{
			Sent: http.Header{"Webhook-Id": {"ping_1"}}, Got: http.Header{"Server": {"x", "y"}},
			Result: webhooks.Result{Status: 418, Class: attempts.ClassStatus, Duration: 1500 * time.Microsecond, Body: []byte("tea\xff")},
		}
		got := decode[DeliveryExchange](r.call("POST", "/v1/subscriptions/"+hook.ID+"/test", `{}`).want(200))
		sent := r.delivering.sent
		want := DeliveryExchange{
			Sent: map[string]string{"Webhook-Id": "ping_1"}, SentBody: string(sent.Body), Status: 418, Class: "status", DurationMS: 1.5,
			Headers: map[string]string{"Server": "x, y"}, Body: "tea\uFFFD",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", format, diff)
		}
		if !strings.HasPrefix(sent.ID, "ping_") || sent.Endpoint.URL != "https://h/path" || len(sent.Endpoint.Secrets) != 1 || !strings.Contains(string(sent.Body), has) {
			t.Errorf("%s: sent is %s", format, sent.Body)
		}
	}
	r.call("POST", "/v1/subscriptions/01KXFT0005H00K000000000000/test", `{}`).problem(404, handlers.CodeSubscriptionNotFound)
}
