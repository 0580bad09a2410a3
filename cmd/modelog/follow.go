package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
)

const (
	// streamSilence is how long a live stream may say nothing before it is taken for
	// lost: three of the server's signs of life.
	streamSilence = 45 * time.Second
	// Pauses before a lost stream is taken up again grow from the one to the other.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second
	// maxStreamLine is more than any event takes.
	maxStreamLine = 4 << 20
)

// liveStream follows the events of a registry over lost connections.
type liveStream struct {
	client *client
	query  url.Values
	last   string // id of the last event, empty before the first
	opened bool   // at least once
	do     func(jsontext.Value, events.Event) error
}

// errEnough ends a stream from within.
var errEnough = errors.New("enough events")

// run follows until the context ends or do fails. What the registry refuses, and one
// that can't be reached at all, is an error; a stream that is lost is taken up again
// after its last event.
func (s *liveStream) run(ctx context.Context) error {
	pause := firstRetry
	for {
		before := s.last
		err := s.once(ctx)
		var failed *exitError
		switch {
		case ctx.Err() != nil || errors.Is(err, errEnough):
			return nil //nolint:nilerr // it was to end
		case errors.As(err, &failed) && (!s.opened || failed.code != handlers.ExitUnavailable):
			return err
		case err != nil && failed == nil:
			return err
		}
		if s.last != before {
			pause = firstRetry
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, lastRetry)
	}
}

// once follows one connection. A stream that is lost gives an error of exit code
// ExitUnavailable.
func (s *liveStream) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(streamSilence, cancel)
	defer silence.Stop()
	r, err := s.client.request(ctx, http.MethodGet, "/v1/events/stream?"+s.query.Encode(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	if s.last != "" {
		r.Header.Set("Last-Event-Id", s.last)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return s.client.unreachable(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read, or the read failed
	if response.StatusCode != http.StatusOK {
		data, err := io.ReadAll(response.Body)
		if err != nil {
			return s.client.unreachable(err)
		}
		return problemOf(response, data)
	}
	s.opened = true
	return s.read(response.Body, func() { silence.Reset(streamSilence) })
}

// read takes a stream as the HTML standard says, but that the server's lines end in
// line feeds only.
func (s *liveStream) read(body io.Reader, alive func()) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxStreamLine)
	id, data := s.last, []byte(nil)
	for lines.Scan() {
		alive()
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(lines.Bytes()) > 0 && string(name) == "id":
			id = string(value)
		case len(lines.Bytes()) > 0 && string(name) == "data":
			data = bytes.Clone(value)
		case len(lines.Bytes()) == 0:
			if err := s.dispatch(data); err != nil {
				return err
			}
			s.last, data = id, nil // only when all of it has come
		}
	}
	err := lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return s.client.unreachable(err)
}

func (s *liveStream) dispatch(data []byte) error {
	if data == nil {
		return nil
	}
	e, err := readEvent(data)
	if err != nil {
		return err
	}
	return s.do(data, e)
}

// follow prints events as they come, at most limit of them, 0 for no limit.
func (c *client) follow(ctx context.Context, query url.Values, limit int) error {
	table := &growingTable{w: c.app.stdout}
	if !c.asJSON {
		if err := table.row(logHead); err != nil {
			return err
		}
	}
	seen := 0
	s := &liveStream{client: c, query: query, do: func(raw jsontext.Value, e events.Event) error {
		var err error
		if c.asJSON {
			_, err = fmt.Fprintf(c.app.stdout, "%s\n", raw)
		} else {
			err = table.row(eventRow(e))
		}
		if seen++; err == nil && seen == limit {
			err = errEnough
		}
		return err
	}}
	return s.run(ctx)
}

// followQuery says from where and which events are followed.
func followQuery(after *uint64, filter string) url.Values {
	query := url.Values{}
	if after != nil {
		query.Set("after", strconv.FormatUint(*after, 10))
	}
	if filter != "" {
		query.Set("filter", filter)
	}
	return query
}

// growingTable prints rows one by one, each column as wide as it was so far.
type growingTable struct {
	w      io.Writer
	widths [5]int
}

func (t *growingTable) row(cells []string) error {
	line := &strings.Builder{}
	for i, cell := range cells {
		t.widths[i] = max(t.widths[i], len([]rune(cell)), logWidths[i])
		if i == len(cells)-1 {
			line.WriteString(cell)
			continue
		}
		fmt.Fprintf(line, "%-*s  ", t.widths[i], cell)
	}
	_, err := fmt.Fprintln(t.w, line)
	return err
}

// The columns of the log, and how wide they are at least when it is followed.
var (
	logHead   = []string{"SEQUENCE", "TIME", "RESOURCE", "EVENT", "SUMMARY"}
	logWidths = [5]int{8, 24, 24, 34, 0}
)
