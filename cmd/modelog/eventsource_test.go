package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
)

// eventSource follows a stream as browsers do, by the HTML standard: it knows nothing
// of modelog.
type eventSource struct {
	url        string
	lastID     string
	retry      time.Duration // what the server has said
	opened     int
	data, kind string
	listen     func(kind, data, lastID string)
}

// run follows until the context ends. A browser gives up where this fails.
func (s *eventSource) run(ctx context.Context) error {
	for {
		if err := s.once(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(time.Millisecond): // a browser waits for retry, and may wait longer
		case <-ctx.Done():
			return nil
		}
	}
}

// once follows one connection. Its loss is no error.
func (s *eventSource) once(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Cache-Control", "no-store")
	if s.lastID != "" {
		r.Header.Set("Last-Event-ID", s.lastID)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil // the line is bad: it is tried again
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || media != "text/event-stream" || response.StatusCode != http.StatusOK {
		return fmt.Errorf("a browser gives up: %s, %q, %w", response.Status, media, err)
	}
	s.opened++
	id := s.lastID
	s.data, s.kind = "", ""
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 4<<20)
	lines.Split(streamLines)
	for lines.Scan() {
		s.line(lines.Text(), &id)
	}
	return nil
}

// streamLines splits at CR, LF and CRLF. A line that isn't ended is none.
func streamLines(data []byte, _ bool) (advance int, token []byte, err error) {
	i := slices.IndexFunc(data, func(c byte) bool { return c == '\n' || c == '\r' })
	switch {
	case i < 0 || (data[i] == '\r' && i+1 == len(data)):
		return 0, nil, nil
	case data[i] == '\r' && data[i+1] == '\n':
		return i + 2, data[:i], nil
	default:
		return i + 1, data[:i], nil
	}
}

func (s *eventSource) line(line string, id *string) {
	if line == "" {
		s.lastID = *id
		if s.data != "" {
			s.listen(s.kind, strings.TrimSuffix(s.data, "\n"), s.lastID)
		}
		s.data, s.kind = "", ""
		return
	}
	field, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch field {
	case "event":
		s.kind = value
	case "data":
		s.data += value + "\n"
	case "id":
		if !strings.Contains(value, "\x00") {
			*id = value
		}
	case "retry":
		if ms, err := strconv.ParseUint(value, 10, 31); err == nil {
			s.retry = time.Duration(ms) * time.Millisecond
		}
	}
}

// cutLine passes connections on, and cuts each after some bytes.
func cutLine(t *testing.T, target string) string {
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
			server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			running.Go(func() {
				_, _ = io.Copy(server, client)
				_ = server.Close()
			})
			running.Go(func() {
				_, _ = io.CopyN(client, server, rand.Int64N(4_000))
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

// TestAnEventSourceOverABadLineHasEverySequenceOnce follows the program, and one more
// that a filter keeps most events from, over a line that is cut at any byte while
// events are written.
func TestAnEventSourceOverABadLineHasEverySequenceOnce(t *testing.T) {
	_, url := startOn(t, filepath.Join(t.TempDir(), "data"))
	line := cutLine(t, strings.TrimPrefix(url, "http://"))
	writer := &client{app: &app{}, server: url, actor: "mara"}
	const models = 150
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var following sync.WaitGroup
	defer following.Wait()
	follow := func(query, last string, check func(got []uint64, opened int)) {
		following.Go(func() {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			var got []uint64
			s := &eventSource{url: line + "/v1/events/stream?after=0" + query}
			s.listen = func(kind, data, lastID string) {
				e, err := events.ReadEvent([]byte(data))
				if err != nil || kind != e.Type() || strings.TrimLeft(lastID, "0") != strconv.FormatUint(e.Sequence, 10) {
					t.Errorf("%s %s %s: %v", lastID, kind, data, err)
				}
				if got = append(got, e.Sequence); e.Subject == last {
					cancel()
				}
			}
			if err := s.run(ctx); err != nil {
				t.Error(err)
			}
			if s.retry <= 0 {
				t.Error("it isn't told how long to wait")
			}
			check(got, s.opened)
		})
	}
	follow("", "models/m149", func(got []uint64, opened int) {
		if opened < 5 {
			t.Errorf("the line was cut %d times only", opened-1)
		}
		for i, n := range got {
			if n != uint64(i)+1 {
				t.Errorf("at %d there is %d: %v", i, n, got)
				break
			}
		}
		if len(got) != models+1 {
			t.Errorf("%d events have come, want %d", len(got), models+1)
		}
	})
	follow("&filter=subject+%3D+%27models/m149%27", "models/m149", func(got []uint64, _ int) {
		if len(got) != 1 {
			t.Errorf("%v have come to the one with a filter", got)
		}
	})
	for i := range models {
		if _, err := writer.send(ctx, http.MethodPost, "/v1/models", handlers.ModelSpec{Name: fmt.Sprintf("m%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
}
