package api

import (
	"log/slog"
	"slices"
	"strconv"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/projections/runner"
)

// newPolled is a registry with a hub.
func newPolled(t *testing.T) *registry {
	t.Helper()
	log := openLog(t)
	run := runner.New(log)
	r := startRegistry(t, log, run)
	hub := fanout.New(fanout.Config{Log: log, Runner: run, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(hub.Stop)
	r.handler.(*Server).server.cfg.Hub = hub
	return r
}

// polled gives the sequences of a page, and its cursor.
func (r *registry) polled(at, query string) ([]uint64, PolledEvents) {
	r.Helper()
	page := decode[PolledEvents](r.call("GET", at+"/poll"+query, "").want(200))
	sequences := []uint64{}
	for _, raw := range page.Events {
		e, err := events.ReadEvent(raw)
		if err != nil {
			r.Fatal(err)
		}
		sequences = append(sequences, e.Sequence)
	}
	return sequences, page
}

func TestASubscriptionWithoutASinkIsPolled(t *testing.T) {
	r := newPolled(t)
	r.seed()
	made := r.subscribe(`{"protocol":"POLL","types":["dev.modelog.version.registered.v1","dev.modelog.model.registered.v1"],"start":1}`)
	if made.Secret != "" || made.Sink != "" || made.Protocol != "POLL" || made.Signature != "" || made.Credential != "" {
		t.Errorf("it is %+v", made)
	}
	at := "/v1/subscriptions/" + made.ID
	var want []uint64
	for _, e := range decode[EventList](r.call("GET", "/v1/events?limit=100", "").want(200)).Events {
		read, err := events.ReadEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		if k := read.Type(); k == "dev.modelog.version.registered.v1" || k == "dev.modelog.model.registered.v1" {
			want = append(want, read.Sequence)
		}
	}
	slices.Sort(want)
	got, page := r.polled(at, "")
	if again, _ := r.polled(at, ""); len(want) < 2 || !slices.Equal(got, want) || !slices.Equal(again, want) || page.More {
		t.Errorf("got %v, then %v, want %v; more %v", got, again, want, page.More)
	}
	first, one := r.polled(at, "?limit=1")
	if !slices.Equal(first, want[:1]) || !one.More {
		t.Errorf("one at a time it gives %v, more %v", first, one.More)
	}

	commit := func(cursor string) PollPosition {
		t.Helper()
		return decode[PollPosition](r.call("POST", at+"/commit", `{"cursor":"`+cursor+`"}`).want(200))
	}
	if p := commit(one.Cursor); p.After != want[0] {
		t.Errorf("committed %+v", p)
	}
	if rest, _ := r.polled(at, ""); !slices.Equal(rest, want[1:]) {
		t.Errorf("after the first one: %v", rest)
	}
	if p := commit(page.Cursor); p.After != uint64(r.last()) {
		t.Errorf("committed %+v of %d", p, r.last())
	}
	if p := commit(one.Cursor); p.After != uint64(r.last()) {
		t.Errorf("it went back to %+v", p)
	}
	if none, empty := r.polled(at, "?wait=10ms"); len(none) != 0 || empty.Cursor != page.Cursor || empty.More {
		t.Errorf("after all: %v, %+v", none, empty)
	}
	for to, after := range map[string]uint64{`"start"`: 0, `3`: 2, `"now"`: uint64(r.last()), `"2020-01-01T00:00:00Z"`: 0, `"3"`: 2} {
		if p := decode[PollPosition](r.call("POST", at+"/seek", `{"to":`+to+`}`).want(200)); p.After != after {
			t.Errorf("to %s it goes on after %d, want %d", to, p.After, after)
		}
	}
	for _, c := range []struct{ method, path, body, field string }{
		{"GET", "/poll?limit=0", "", "limit"},
		{"GET", "/poll?limit=1001", "", "limit"},
		{"GET", "/poll?wait=31s", "", "wait"},
		{"GET", "/poll?wait=x", "", "wait"},
		{"GET", "/poll?as_of=1", "", "as_of"},
		{"GET", "/poll?after=1", "", "after"},
		{"POST", "/commit", `{}`, "/cursor"},
		{"POST", "/commit", `{"cursor":"x"}`, "/cursor"},
		{"POST", "/commit", `{"cursor":"` + pollCursorOf(made.ID, 1_000_000) + `"}`, "/cursor"},
		{"POST", "/commit", `{"cursor":"` + pollCursorOf("01KXFT0005H00K000000000000", 1) + `"}`, "/cursor"},
		{"POST", "/seek", `{}`, "/to"},
		{"POST", "/seek", `{"to":1000000}`, "/to"},
		{"POST", "/seek", `{"to":"soon"}`, "/to"},
	} {
		if p := r.call(c.method, at+c.path, c.body).problem(400, handlers.CodeInvalid); len(p.Errors) != 1 || p.Errors[0].Pointer != c.field {
			t.Errorf("%s %s %s: %+v", c.method, c.path, c.body, p.Errors)
		}
	}
}

func TestPollAndDeliveryAreDifferentThings(t *testing.T) {
	r := newPolled(t)
	polled := "/v1/subscriptions/" + r.subscribe(`{"protocol":"POLL"}`).ID
	delivered := "/v1/subscriptions/" + r.subscribe(`{"sink":"https://h"}`).ID
	r.call("GET", delivered+"/poll", "").problem(409, handlers.CodeHasSink)
	r.call("POST", delivered+"/commit", `{"cursor":"x"}`).problem(409, handlers.CodeHasSink)
	r.call("POST", delivered+"/seek", `{"to":1}`).problem(409, handlers.CodeHasSink)
	r.call("POST", polled+"/rotate-secret", `{}`).problem(409, handlers.CodeNoSink)
	r.call("POST", polled+"/test", `{}`).problem(409, handlers.CodeNoSink)
	r.call("PATCH", polled, `{"sink":"https://h"}`).problem(409, handlers.CodeNoSink)
	r.call("PATCH", polled, `{"description":"d"}`).want(200)
	r.call("POST", polled+"/pause", `{}`).want(200)
	r.call("GET", polled+"/poll", "").problem(409, handlers.CodeNotActive)
	r.call("DELETE", polled, "").want(204)
	for _, c := range []struct{ more, field string }{
		{`"sink":"https://h"`, "/sink"},
		{`"protocolsettings":{"headers":{"A":"b"}}`, "/protocolsettings"},
		{`"signature":"v1a"`, "/signature"},
		{`"format":"slack"`, "/format"},
		{`"ordering":"none"`, "/ordering"},
		{`"rate":1`, "/rate"},
	} {
		if p := r.call("POST", "/v1/subscriptions", `{"protocol":"POLL",`+c.more+`}`).problem(400, handlers.CodeInvalid); len(p.Errors) != 1 || p.Errors[0].Pointer != c.field {
			t.Errorf("%s: %+v", c.more, p.Errors)
		}
	}
}

func pollCursorOf(id string, after uint64) string {
	return encodePollCursor(id + "/" + strconv.FormatUint(after, 10))
}
