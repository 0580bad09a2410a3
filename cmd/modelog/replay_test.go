package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
)

func TestAPaceKeepsTheGapsOrShortensThem(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name     string
		speed    string
		maxGap   time.Duration
		recorded []time.Duration // since some moment
		took     []time.Duration // what each event takes to be sent
		want     []time.Duration // when each is sent, since the first
	}{
		{"as it happened", "1x", 0, []time.Duration{0, 3 * s, 3 * s, 10 * s}, nil, []time.Duration{0, 3 * s, 3 * s, 10 * s}},
		{"ten times as fast", "10x", 0, []time.Duration{0, 3 * s, 10 * s}, nil, []time.Duration{0, s * 3 / 10, s}},
		{"half as fast", "0.5x", 0, []time.Duration{0, 3 * s}, nil, []time.Duration{0, 6 * s}},
		{"no gap too long", "1x", 2 * s, []time.Duration{0, s, 86_400 * s, 86_401 * s}, nil, []time.Duration{0, s, 3 * s, 4 * s}},
		{"what sending takes is made up for", "1x", 0, []time.Duration{0, 3 * s, 4 * s, 10 * s}, []time.Duration{s, 2 * s, 0, 0}, []time.Duration{0, 3 * s, 5 * s, 10 * s}},
		{"as fast as can be", "max", 0, []time.Duration{0, 3 * s, 10 * s}, nil, []time.Duration{0, 0, 0}},
	} {
		p, err := newPacer(c.speed, c.maxGap)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
		begin := now
		p.now = func() time.Time { return now }
		p.wait = func(_ context.Context, d time.Duration) error { now = now.Add(d); return nil }
		var got []time.Duration
		for i, at := range c.recorded {
			if err := p.until(t.Context(), time.Unix(0, 0).Add(at)); err != nil {
				t.Fatal(err)
			}
			got = append(got, now.Sub(begin))
			if i < len(c.took) {
				now = now.Add(c.took[i])
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestAPaceEndsWithItsContext(t *testing.T) {
	p, err := newPacer("1x", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.until(ctx, time.Unix(0, 0)); err != nil {
		t.Error(err)
	}
	if err := p.until(ctx, time.Unix(3600, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// receiver answers one request after the other with the statuses that it is given,
// 0 for a connection that breaks.
type receiver struct {
	after string // Retry-After

	lock     sync.Mutex // a connection that broke may be at its end when the next one is served
	statuses []int
	got      []string
	media    string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.lock.Lock()
	defer r.lock.Unlock()
	status := r.statuses[0]
	r.statuses = r.statuses[1:]
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	body, _ := io.ReadAll(request.Body) // what is missing is seen
	r.got, r.media = append(r.got, request.Method+" "+string(body)), request.Header.Get("Content-Type")
	w.Header().Set("Retry-After", r.after)
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(status)
}

func TestAReceiverIsTriedAgainUntilItTakesAnEvent(t *testing.T) {
	const unavailable = "503 Service Unavailable"
	for _, c := range []struct {
		name     string
		statuses []int
		after    string
		pauses   []time.Duration
		code     int // exit code, 0 if the event is taken
		saying   string
	}{
		{"at once", []int{204}, "", nil, 0, ""},
		{"after failures", []int{500, 0, 429, 200}, "", []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second}, 0, ""},
		{"when it says so", []int{503, 202}, "7", []time.Duration{7 * time.Second}, 0, ""},
		{"but not when it says never", []int{503, 202}, "86400", []time.Duration{time.Minute}, 0, ""},
		{"a refusal", []int{400}, "", nil, 5, "the receiver refused it: 400 Bad Request"},
		{"somewhere else", []int{307}, "", nil, 5, "the receiver refused it: 307 Temporary Redirect"},
		{
			"down for long",
			[]int{503, 503, 503, 503, 503, 503, 503, 503},
			"",
			[]time.Duration{
				250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
				4 * time.Second, 8 * time.Second, 16 * time.Second,
			},
			6, "tried 8 times: the receiver answers " + unavailable,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &receiver{statuses: c.statuses, after: c.after}
			server := httptest.NewServer(r)
			defer server.Close()
			var pauses []time.Duration
			to := newReplayURL(server.URL, func(_ context.Context, d time.Duration) error { pauses = append(pauses, d); return nil })
			err := to.send(t.Context(), events.Event{}, jsontext.Value(`{"id":"x"}`))
			if closing := to.abort(); closing != nil {
				t.Error(closing)
			}
			if (err == nil) != (c.code == 0) || err != nil && (exitCode(err) != c.code || !strings.Contains(err.Error(), c.saying)) {
				t.Errorf("exit code %d, %v", exitCode(err), err)
			}
			if diff := cmp.Diff(c.pauses, pauses); diff != "" {
				t.Errorf("pauses (-want +got):\n%s", diff)
			}
			if len(r.statuses) > 0 || r.media != cloudEventMedia || r.got[len(r.got)-1] != `POST {"id":"x"}` {
				t.Errorf("it got %q as %s", r.got, r.media)
			}
		})
	}
}

func TestAReceiverThatIsNotThereIsTriedAgain(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := strings.Replace(server.URL, "http://", "http://mara:secret@", 1)
	server.Close()
	pauses := 0
	to := newReplayURL(address, func(context.Context, time.Duration) error { pauses++; return nil })
	err := to.send(t.Context(), events.Event{}, jsontext.Value(`{}`))
	if exitCode(err) != 6 || pauses != receiverAttempts-1 || strings.Contains(fmt.Sprint(err), "secret") {
		t.Errorf("after %d pauses: %v", pauses, err)
	}
}

func TestProgressSaysHowFarItIsAndHowLongItTakes(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	p := &progress{w: &out, what: "replay", total: 200, now: func() time.Time { return now }}
	for _, c := range []struct {
		after time.Duration
		done  uint64
		want  string
	}{
		{0, 0, "replay [------------------------]   0%"},
		{time.Millisecond, 1, ""}, // too soon
		{2 * time.Second, 50, "replay [######------------------]  25%, 6s left"},
		{6 * time.Second, 150, "replay [##################------]  75%, 3s left"},
		{time.Second, 200, "replay [########################] 100%"},
		{time.Second, 201, "replay [########################] 100%"}, // a file that grew
	} {
		now = now.Add(c.after)
		out.Reset()
		p.at(c.done)
		if got := strings.TrimPrefix(out.String(), clearLine); got != c.want {
			t.Errorf("at %d it says %q, want %q", c.done, got, c.want)
		}
	}
	(&progress{}).at(1) // nobody looks on
}
