package api

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/fanout"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/modelog/modelog/handlers/verify"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// live is a registry with live streams, on a listener and by the real clock.
type live struct {
	*testing.T
	registrar *handlers.Registrar
	run       *runner.Runner
	hub       *fanout.Hub
	server    *httptest.Server
	streams   *streams
}

func newLive(t *testing.T, ring int) *live {
	t.Helper()
	log := openLog(t)
	run := runner.New(log)
	ids := newULIDs()
	hub := fanout.New(fanout.Config{Log: log, Runner: run, Ring: ring})
	t.Cleanup(hub.Stop)
	registrar, err := handlers.Start(t.Context(), handlers.Config{Log: log, Runner: run, Now: time.Now, NewID: ids, Jitter: rand.Float64, Landed: hub.Landed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registrar.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	directory, err := principals.Open(t.Context(), principals.Config{JetStream: log.JetStream, Now: time.Now, NewID: ids})
	if err != nil {
		t.Fatal(err)
	}
	verifier := verify.New(verify.Config{Log: log, Runner: run, Now: time.Now})
	t.Cleanup(verifier.Stop)
	s := New(Config{
		Registrar: registrar, Runner: run, Log: log, Principals: directory, Verifier: verifier, Hub: hub, Now: time.Now, NewID: ids,
		Release: "test", Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	l := &live{T: t, registrar: registrar, run: run, hub: hub, streams: s.server.streams}
	l.server = httptest.NewUnstartedServer(s)
	l.server.Config.ReadTimeout = 300 * time.Millisecond // a stream lasts longer
	l.server.Config.WriteTimeout = 300 * time.Millisecond
	l.server.Start()
	t.Cleanup(func() {
		l.hub.Stop()
		l.server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return l
}

// newULIDs gives more ids than newIDs does.
func newULIDs() func(time.Time) ulid.ULID {
	var n atomic.Uint64
	return func(at time.Time) ulid.ULID {
		var id ulid.ULID
		_ = id.SetTime(ulid.Timestamp(at)) // a time of this century fits
		binary.BigEndian.PutUint64(id[8:], n.Add(1))
		return id
	}
}

// write makes n models, the names of which begin with a word.
func (l *live) write(name string, n int) {
	l.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			_, err := l.registrar.Do(context.Background(), handlers.Request{Command: &handlers.RegisterModel{Spec: handlers.ModelSpec{Name: fmt.Sprintf("%s-%d", name, i)}}})
			if err != nil {
				l.Error(err)
			}
		})
	}
	all.Wait()
}

// sse reads one stream strictly by the HTML standard.
type sse struct {
	lines *bufio.Reader
	last  string
}

type message struct{ id, event, data string }

// next gives the next message, once all of it has come.
func (s *sse) next() (message, error) {
	m := message{}
	id, data := s.last, []string(nil)
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return m, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			s.last = id
			if data == nil {
				m = message{}
				continue
			}
			m.id, m.data = id, strings.Join(data, "\n")
			return m, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "", "retry":
		case "id":
			id = value
		case "event":
			m.event = value
		case "data":
			data = append(data, value)
		default:
			return m, fmt.Errorf("a line %q", line)
		}
	}
}

func (l *live) open(base, query, last string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(l.Context(), http.MethodGet, base+"/v1/events/stream"+query, http.NoBody)
	if err != nil {
		return nil, err
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	return http.DefaultClient.Do(r)
}

// sequences reads a stream until it has as many events, and gives their sequences.
func (l *live) sequences(query string, n int) []uint64 {
	l.Helper()
	response, err := l.open(l.server.URL, query, "")
	if err != nil {
		l.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is left in the middle
	if response.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(response.Body)
		l.Fatalf("%s is answered %s: %s", query, response.Status, data)
	}
	s := &sse{lines: bufio.NewReader(response.Body)}
	var all []uint64
	for len(all) < n {
		m, err := s.next()
		if err != nil {
			l.Fatalf("%s ended after %v: %v", query, all, err)
		}
		all = append(all, l.check(m))
	}
	return all
}

// check holds a message against the event that it must be.
func (l *live) check(m message) uint64 {
	l.Helper()
	e, err := events.ReadEvent([]byte(m.data))
	if err != nil || e.Type() != m.event || strconv.FormatUint(e.Sequence, 10) != m.id {
		l.Errorf("%v is no event: %v", m, err)
	}
	return e.Sequence
}

func TestAStreamBeginsWhereItIsAsked(t *testing.T) {
	l := newLive(t, 4)
	l.write("old", 20)
	moment := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for query, first := range map[string]uint64{"?after=0": 1, "?after=15": 16, "?after=20": 21, "?from=" + moment: 1} {
		if got := l.sequences(query, 1); got[0] != first {
			t.Errorf("%s begins at %d, want %d", query, got[0], first)
		}
	}
	l.write("models", 1) // 22
	for query, first := range map[string]uint64{
		"?after=0&subject_prefix=models/models":                                                       22,
		"?after=0&type=dev.modelog.registry.created.v1,dev.modelog.model.deleted.v1":                  1,
		"?after=0&type_prefix=dev.modelog.model.":                                                     2,
		"?after=0&filter=" + url.QueryEscape("INT(sequence) > 7"):                                     8,
		"?after=0&filters=" + url.QueryEscape(`[{"not":{"prefix":{"subject":"models/old"}}}]`):        1,
		"?after=1&filters=" + url.QueryEscape(`[{"not":{"prefix":{"subject":"models/old"}}}]`):        22,
		"?after=0&type_prefix=dev.modelog.model.&subject_prefix=models/models-0&filter=EXISTS%20time": 22,
	} {
		if got := l.sequences(query, 1); got[0] != first {
			t.Errorf("%s begins at %d, want %d", query, got[0], first)
		}
	}
}

func TestAStreamThatIsCutAtRandomHasEverySequenceOnce(t *testing.T) {
	l := newLive(t, 16)
	proxy := newCutter(t, strings.TrimPrefix(l.server.URL, "http://"))
	const n = 400
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for i := range 20 {
			l.write(fmt.Sprintf("m%d", i), n/20)
		}
	}()
	last, want, cuts := "", uint64(1), 0
	for want <= n+1 {
		response, err := l.open(proxy, "?after=0", last)
		if err != nil {
			cuts++
			continue
		}
		s := &sse{lines: bufio.NewReader(response.Body), last: last}
		for want <= n+1 {
			m, err := s.next()
			if err != nil {
				cuts++
				break
			}
			if got := l.check(m); got != want {
				t.Fatalf("event %d came, want %d", got, want)
			}
			want++
		}
		last = s.last
		_ = response.Body.Close()
	}
	<-writing
	if cuts < 5 {
		t.Errorf("the line was cut %d times only", cuts)
	}
}

// newCutter passes connections on, and cuts each after some bytes.
func newCutter(t *testing.T, target string) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", target)
			if err != nil {
				_ = client.Close()
				return
			}
			running.Go(func() {
				_, _ = io.Copy(server, client)
				_ = server.Close()
			})
			running.Go(func() {
				_, _ = io.CopyN(client, server, rand.Int64N(20_000))
				_, _ = client.Close(), server.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return "http://" + listener.Addr().String()
}

func TestASlowReaderHoldsUpNobody(t *testing.T) {
	l := newLive(t, 8)
	slow, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(l.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close() //nolint:errcheck // it was never read
	if _, err := io.WriteString(slow, "GET /v1/events/stream?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for i, got := range l.sequences("?after=0", 201) {
				if got != uint64(i+1) {
					t.Errorf("event %d came, want %d", got, i+1)
					return
				}
			}
		})
	}
	l.write("m", 200)
	all.Wait()
}

func TestTheStopOfTheHubEndsStreams(t *testing.T) {
	l := newLive(t, 8)
	response, err := l.open(l.server.URL, "?after=0", "")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is read to its end
	begin := time.Now()
	l.hub.Stop()
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Errorf("the stream was not ended in order: %v", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
	again, err := l.open(l.server.URL, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Body.Close() //nolint:errcheck // nobody reads it
	if again.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a stopped hub is answered %s", again.Status)
	}
}

func TestTooManyStreamsAreRefused(t *testing.T) {
	l := newLive(t, 8)
	l.streams.open.Store(maxStreams)
	response, err := l.open(l.server.URL, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // nobody reads it
	if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") == "" || l.streams.open.Load() != maxStreams {
		t.Errorf("one too many is answered %s, and %d are open", response.Status, l.streams.open.Load())
	}
}

func TestBadStreamsAreRefused(t *testing.T) {
	r := newRegistry(t)
	for query, want := range map[string][2]string{
		"?after=x":                              {"after", "sequence"},
		"?after=-1":                             {"after", "sequence"},
		"?after=7":                              {"after", "not_in_the_future"},
		"?after=":                               {"after", "required"},
		"?after=0&from=2026-01-01T00:00:00Z":    {"from", "one_of"},
		"?from=yesterday":                       {"from", "time"},
		"?from=2036-01-01T00:00:00Z":            {"from", "not_in_the_future"},
		"?as_of=1":                              {"as_of", "unknown_parameter"},
		"?limit=1":                              {"limit", "unknown_parameter"},
		"?after=0&after=1":                      {"after", "duplicate"},
		"?type=promoted":                        {"type/0", "unknown_type"},
		"?filter=type%20%3D":                    {"filter", "cesql"},
		"?filter=typ%20%3D%20'x'":               {"filter", "unknown_attribute"},
		"?filters=x":                            {"filters", "json"},
		"?filters=%5B%7B%22any%22:%5B%5D%7D%5D": {"filters/0/any", "required"},
		"?filters=%5B%7B%22re%22:%5B%5D%7D%5D":  {"filters/0/re", "unknown_dialect"},
	} {
		p := r.call(http.MethodGet, "/v1/events/stream"+query, "").problem(http.StatusBadRequest, handlers.CodeInvalid)
		if len(p.Errors) != 1 || [2]string{p.Errors[0].Pointer, p.Errors[0].Rule} != want {
			t.Errorf("%s is refused with %v, want %v", query, p.Errors, want)
		}
	}
	for last, rule := range map[string]string{"x": "sequence", "99": "not_in_the_future", "-3": "sequence", "1.5": "sequence"} {
		p := r.call(http.MethodGet, "/v1/events/stream", "", "Last-Event-ID", last).problem(http.StatusBadRequest, handlers.CodeInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != "Last-Event-ID" || p.Errors[0].Rule != rule {
			t.Errorf("Last-Event-ID %s is refused with %v, want %s", last, p.Errors, rule)
		}
	}
}

// TestDeliveryIsQuick measures from the call of a write to its event at a client.
func TestDeliveryIsQuick(t *testing.T) {
	l := newLive(t, 0)
	response, err := l.open(l.server.URL, "?after=1", "")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is left in the middle
	s := &sse{lines: bufio.NewReader(response.Body)}
	var all []time.Duration
	for i := range 200 {
		begin := time.Now()
		l.write(fmt.Sprintf("m%d", i), 1)
		if _, err := s.next(); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(begin))
	}
	slices.Sort(all)
	t.Logf("append to delivered: p50 %v, p99 %v, max %v", all[100], all[198], all[199])
}
