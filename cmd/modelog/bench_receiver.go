package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

// benchArrivals is what a receiver of deliveries has got since it was asked last, at
// paths that begin with /ok.
type benchArrivals struct {
	Count int   `json:"count"`
	First int64 `json:"first"` // nanoseconds since 1970
	Last  int64 `json:"last"`
	// At is when the first delivery of each event came, by webhook-id.
	At map[string]int64 `json:"at,omitempty"`
}

// rate is in deliveries a second.
func (a benchArrivals) rate() float64 {
	return float64(a.Count-1) / time.Duration(a.Last-a.First).Seconds()
}

// benchReceiver answers deliveries: at once below /ok, and below /hang only after it was
// told to.
type benchReceiver struct {
	keep  atomic.Bool // when each came
	mu    sync.Mutex
	found benchArrivals // guarded by mu
	freed chan struct{} // guarded by mu; closed when nobody hangs any more, nil while nobody is to
}

// benchReceiveCommand is the process of the receiver.
func (a *app) benchReceiveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "receive", Short: "Receive the deliveries of bench", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			listener, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			server := &http.Server{Handler: new(benchReceiver), ReadHeaderTimeout: requestTimeout}
			logger := slog.New(slog.NewJSONHandler(a.stderr, nil))
			logger.LogAttrs(cmd.Context(), slog.LevelInfo, "listening", slog.String("url", "http://"+listener.Addr().String()))
			context.AfterFunc(cmd.Context(), func() { _ = server.Close() })
			return server.Serve(listener)
		},
	}
}

// ServeHTTP implements http.Handler.
func (r *benchReceiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if _, err := io.Copy(io.Discard, q.Body); err != nil {
		return
	}
	switch {
	case strings.HasPrefix(q.URL.Path, "/ok"):
		r.arrived(q.Header.Get("Webhook-Id"))
	case strings.HasPrefix(q.URL.Path, "/hang"):
		r.mu.Lock()
		freed := r.freed
		r.mu.Unlock()
		if freed != nil {
			select {
			case <-freed:
			case <-q.Context().Done():
			}
		}
	case q.URL.Path == "/arrivals":
		r.keep.Store(q.URL.Query().Get("keep") == "true")
		r.report(w)
		return
	case q.URL.Path == "/hanging":
		r.hang(q.URL.Query().Get("on") == "true")
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *benchReceiver) arrived(id string) {
	now := time.Now().UnixNano()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found.Count++; r.found.Count == 1 {
		r.found.First = now
	}
	r.found.Last = now
	if r.keep.Load() && r.found.At[id] == 0 {
		if r.found.At == nil {
			r.found.At = map[string]int64{}
		}
		r.found.At[id] = now
	}
}

func (r *benchReceiver) report(w http.ResponseWriter) {
	r.mu.Lock()
	found := r.found
	r.found = benchArrivals{}
	r.mu.Unlock()
	data, err := json.Marshal(found)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(data) // whoever asked has gone, or reads it
}

func (r *benchReceiver) hang(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case on && r.freed == nil:
		r.freed = make(chan struct{})
	case !on && r.freed != nil:
		close(r.freed)
		r.freed = nil
	}
}

// benchPosters is how many the bare loop has in flight: as many as a subscription has.
const benchPosters = 16

// benchPostCommand is the process that delivers with nothing around it: it signs a body
// and posts it, again and again, and prints how many a second.
func (a *app) benchPostCommand() *cobra.Command {
	var to string
	var size int
	var seconds float64
	cmd := &cobra.Command{
		Use: "post", Short: "Sign and post in a loop", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rate, err := postInLoop(cmd.Context(), to, size, time.Duration(seconds*float64(time.Second)))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, rate)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "URL")
	f.IntVar(&size, "size", 1_000, "bytes of the body")
	f.Float64Var(&seconds, "seconds", 2, "length, after a warm-up of a quarter of it")
	return cmd
}

func postInLoop(ctx context.Context, to string, size int, length time.Duration) (rate float64, err error) {
	transport := &http.Transport{MaxIdleConnsPerHost: benchPosters, DisableCompression: true}
	defer transport.CloseIdleConnections()
	body, key := bytes.Repeat([]byte("x"), size), bytes.Repeat([]byte("k"), 32)
	from := time.Now().Add(length / 4)
	until := from.Add(length)
	var posted atomic.Int64
	var group sync.WaitGroup
	failures := make(chan error, benchPosters)
	for range benchPosters {
		group.Go(func() {
			for n := 0; ; n++ {
				began := time.Now()
				if !began.Before(until) {
					return
				}
				if err := postSigned(ctx, transport, to, fmt.Sprintf("evt_%020d", n), began, key, body); err != nil {
					failures <- err
					return
				}
				if !began.Before(from) {
					posted.Add(1)
				}
			}
		})
	}
	group.Wait()
	select {
	case err := <-failures:
		return 0, err
	default:
		return float64(posted.Load()) / length.Seconds(), nil
	}
}

func postSigned(ctx context.Context, transport *http.Transport, to, id string, at time.Time, key, body []byte) error {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/cloudevents+json")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", timestamp)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	response, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it is empty
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("POST %s: %s", to, response.Status)
	}
	return nil
}
