package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

// benchResult is what one run of the client found.
type benchResult struct {
	Ops        int     `json:"ops"`
	Seconds    float64 `json:"seconds"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"first_error,omitempty"`
}

// benchLoadCommand is the client's process. It prints a benchResult.
func (a *app) benchLoadCommand() *cobra.Command {
	var l benchLoad
	var seconds float64
	cmd := &cobra.Command{
		Use: "load", Short: "Run the client of bench", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l.length = time.Duration(seconds * float64(time.Second))
			result, err := l.run(cmd.Context())
			if err != nil {
				return err
			}
			data, err := json.Marshal(result)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s\n", data)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&l.url, "url", "", "server")
	f.StringVar(&l.what, "what", benchRegistrations, "registrations, get, past, or one of those through MLflow's API")
	f.IntVar(&l.connections, "connections", 1, "connections, each with one request at a time")
	f.Uint64Var(&l.past, "past", 0, "sequence to ask for")
	f.Float64Var(&seconds, "seconds", 2, "length, after a warm-up of a quarter of it")
	return cmd
}

// benchLoad keeps a number of connections busy.
type benchLoad struct {
	url, what   string
	connections int
	past        uint64 // sequence that a GET of the past asks for
	length      time.Duration

	client *http.Client
	bodies benchBodies
	next   atomic.Int64 // counts requests
	from   time.Time    // an answer counts from here
	to     time.Time    // to here
}

// benchDrain is how long the last answers may take.
const benchDrain = 30 * time.Second

func (l *benchLoad) run(ctx context.Context) (result benchResult, err error) {
	if l.bodies, err = newBenchBodies(); err != nil {
		return result, err
	}
	l.client = &http.Client{Transport: &http.Transport{
		MaxConnsPerHost: l.connections, MaxIdleConnsPerHost: l.connections, DisableCompression: true,
	}}
	l.from = time.Now().Add(l.length / 4)
	l.to = l.from.Add(l.length)
	ctx, cancel := context.WithDeadline(ctx, l.to.Add(benchDrain))
	defer cancel()
	defer l.client.CloseIdleConnections()
	workers := make([]benchWorker, l.connections)
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { workers[i].run(ctx, l) })
	}
	group.Wait()
	return l.result(workers), nil
}

func (l *benchLoad) result(workers []benchWorker) benchResult {
	r := benchResult{Seconds: l.length.Seconds()}
	var took []time.Duration
	for _, w := range workers {
		took = append(took, w.took...)
		if w.err != nil {
			r.Errors++
			r.FirstError = w.err.Error()
		}
	}
	if r.Ops = len(took); r.Ops > 0 {
		slices.Sort(took)
		r.P50, r.P99 = milliseconds(took[r.Ops/2]), milliseconds(took[r.Ops*99/100])
		r.Max = milliseconds(took[r.Ops-1])
	}
	return r
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// benchWorker is one connection.
type benchWorker struct {
	took []time.Duration // of the answers that count
	err  error           // which ended it
}

// run sends one request after another until the time is over, or one fails.
func (w *benchWorker) run(ctx context.Context, l *benchLoad) {
	w.took = make([]time.Duration, 0, 1<<16)
	for {
		begin := time.Now()
		if !begin.Before(l.to) {
			return
		}
		if w.err = l.request(ctx, int(l.next.Add(1))); w.err != nil {
			return
		}
		end := time.Now()
		if !end.Before(l.from) && end.Before(l.to) {
			w.took = append(w.took, end.Sub(begin))
		}
	}
}

// request sends one request, and takes only the answer that it should have.
func (l *benchLoad) request(ctx context.Context, n int) error {
	return l.call(n).send(ctx, l.client, l.url)
}

// benchCall is a request, and what makes an answer the one that it should have.
type benchCall struct {
	method, path, body string
	status             int
	holds              string // what the answer's body holds, if not empty,
	times              int    // so many times
}

func (l *benchLoad) call(n int) benchCall {
	if call, ok := benchMLflowCalls[l.what]; ok {
		return call(n)
	}
	switch l.what {
	case benchRegistrations:
		return benchCall{method: http.MethodPost, path: benchPostPath(n), body: l.bodies.body(n), status: http.StatusCreated}
	case benchPast:
		return benchCall{method: http.MethodGet, path: benchGetPath(n) + "?as_of=" + strconv.FormatUint(l.past, 10), status: http.StatusOK}
	default:
		return benchCall{method: http.MethodGet, path: benchGetPath(n), status: http.StatusOK}
	}
}

func (c benchCall) send(ctx context.Context, client *http.Client, url string) error {
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	r, err := http.NewRequestWithContext(ctx, c.method, url+c.path, body)
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Modelog-Actor", benchActor)
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it was read, or the read failed
	if response.StatusCode != c.status {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 500)) // as much as there is
		return fmt.Errorf("%s %s: %s: %s", c.method, c.path, response.Status, strings.TrimSpace(string(said)))
	}
	if c.holds == "" {
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	answer, err := io.ReadAll(response.Body)
	if found := bytes.Count(answer, []byte(c.holds)); err == nil && found != c.times {
		err = fmt.Errorf("%s %s: %q is %d times in the answer, want %d: %.500s", c.method, c.path, c.holds, found, c.times, answer)
	}
	return err
}
