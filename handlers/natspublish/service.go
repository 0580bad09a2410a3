// Package natspublish takes published events over NATS: a request to modelog.publish
// is what POST /v1/events is over HTTP, and has the same answer. It is a NATS service,
// which `nats service ls` finds, with statistics.
//
// It belongs here how a message becomes a request, and an answer a message. What an
// event may be, and what becomes of it, is the API's (handlers/api, handlers/cloudevents).
package natspublish

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelog/modelog/events/natslog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Subject is where events are published to.
const Subject = natslog.PublishSubject

const (
	serviceName  = "modelog"
	endpointName = "publish"
	queueGroup   = "modelog" // one registry of those that share a log answers

	// maxWaiting is how many requests are being answered at a time.
	maxWaiting = 1024
	// requestTimeout is more than a write waits for the log.
	requestTimeout = 30 * time.Second
	// lookEvery is how often the connection is looked at: an embedded server that is
	// started anew has another.
	lookEvery = time.Second
)

// Headers of requests beside those of CloudEvents' NATS binding, which stand for the
// query parameters of the same names.
const (
	dryRunHeader = "Modelog-Dry-Run"
	atomicHeader = "Modelog-Atomic"
)

// StatusHeader has the status that HTTP has for an answer.
const StatusHeader = "Modelog-Status"

// Config is what a service needs.
type Config struct {
	// Connection gives the connection to serve on, nil while there is none. It is asked
	// now and then, since it may be replaced.
	Connection func() *nats.Conn
	Handler    http.Handler // of the API
	Release    string
	Now        func() time.Time // monotonic
	Logger     *slog.Logger
}

// Service answers requests, from Start to Stop.
type Service struct {
	cfg     Config
	ctx     context.Context
	cancel  context.CancelFunc
	asking  context.Context // of the requests that were taken
	giveUp  context.CancelFunc
	ended   chan struct{}
	waiting chan struct{} // has one for each request that is being answered
	running sync.WaitGroup

	answered, refused, took atomic.Int64

	lock     sync.Mutex
	stopping bool // guarded by lock
}

// Statistics are in what the service tells of itself: requests are answered beside each
// other, which the counters of NATS's own know nothing of.
type Statistics struct {
	Answered       int64 `json:"answered"`
	Refused        int64 `json:"refused"`         // of those
	ProcessingTime int64 `json:"processing_time"` // of all together, in nanoseconds
	Waiting        int   `json:"waiting"`         // for their answer
}

func (s *Service) statistics(*micro.Endpoint) any {
	return Statistics{s.answered.Load(), s.refused.Load(), s.took.Load(), len(s.waiting)}
}

// Start begins to answer.
func Start(cfg Config) *Service {
	s := &Service{cfg: cfg, ended: make(chan struct{}), waiting: make(chan struct{}, maxWaiting)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.asking, s.giveUp = context.WithCancel(context.Background())
	go s.keep()
	return s
}

// Stop takes no more requests, and returns when those that were taken are answered.
// When the context ends they are given up.
func (s *Service) Stop(ctx context.Context) {
	s.lock.Lock()
	s.stopping = true
	s.lock.Unlock()
	s.cancel()
	<-s.ended
	defer context.AfterFunc(ctx, s.giveUp)()
	s.running.Wait()
	s.giveUp()
}

// keep serves on whichever connection there is.
func (s *Service) keep() {
	defer close(s.ended)
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	var on *nats.Conn
	var service micro.Service
	stop := func() {
		if service != nil && !on.IsClosed() {
			s.told("the NATS service can't be stopped", service.Stop())
		}
		on, service = nil, nil
	}
	defer stop()
	for {
		if nc := s.cfg.Connection(); nc != on && nc != nil {
			stop()
			var err error
			if service, err = s.serve(nc); err == nil {
				on = nc
			}
			s.told("events can't be published over NATS; it is tried again", err)
		}
		select {
		case <-ticks.C:
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Service) told(what string, err error) {
	if err != nil {
		s.cfg.Logger.LogAttrs(s.ctx, slog.LevelWarn, what, slog.Any("error", err))
	}
}

func (s *Service) serve(nc *nats.Conn) (micro.Service, error) {
	service, err := micro.AddService(nc, micro.Config{
		Name: serviceName, Version: "1.0.0", Description: "A model registry that is a log", QueueGroup: queueGroup,
		Metadata: map[string]string{"release": s.cfg.Release}, StatsHandler: s.statistics,
	})
	if err != nil {
		return nil, err
	}
	err = service.AddEndpoint(endpointName, micro.HandlerFunc(s.take), micro.WithEndpointSubject(Subject))
	if err != nil {
		return nil, errors.Join(err, service.Stop())
	}
	return service, nil
}

// take answers beside the others: events that wait together are stored together.
func (s *Service) take(r micro.Request) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.stopping {
		s.told("a request isn't answered", r.Error("503", "the registry is stopping; send it again", nil))
		return
	}
	select {
	case s.waiting <- struct{}{}:
	default:
		s.told("a request isn't answered", r.Error("429", "too many requests are waiting; send it again later", nil))
		return
	}
	s.running.Go(func() {
		defer func() { <-s.waiting }()
		s.answer(r)
	})
}

// answer asks the API, as somebody on this machine.
func (s *Service) answer(r micro.Request) {
	ctx, cancel := context.WithTimeout(s.asking, requestTimeout)
	defer cancel()
	begin := s.cfg.Now()
	request, err := requestOf(ctx, nats.Header(r.Headers()), r.Data())
	if err != nil {
		s.count(begin, http.StatusBadRequest)
		s.told("a request isn't answered", r.Error("400", err.Error(), nil))
		return
	}
	w := &answer{header: http.Header{}, status: http.StatusOK}
	s.cfg.Handler.ServeHTTP(w, request)
	s.count(begin, w.status)
	status := strconv.Itoa(w.status)
	headers := micro.Headers{StatusHeader: {status}}
	for _, name := range []string{"Content-Type", "Modelog-Sequence", "Modelog-Request-Id", "Retry-After"} {
		if value := w.header.Get(name); value != "" {
			headers[name] = []string{value}
		}
	}
	if w.status >= http.StatusBadRequest {
		err = r.Error(status, http.StatusText(w.status), w.body.Bytes(), micro.WithHeaders(headers))
	} else {
		err = r.Respond(w.body.Bytes(), micro.WithHeaders(headers))
	}
	s.told("a request isn't answered", err)
}

func (s *Service) count(begin time.Time, status int) {
	s.took.Add(int64(s.cfg.Now().Sub(begin)))
	if status >= http.StatusBadRequest {
		s.refused.Add(1)
	}
	s.answered.Add(1)
}

// answer is what the API says.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is that of an http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader keeps the status.
func (a *answer) WriteHeader(status int) { a.status = status }

// Write keeps a part of the body.
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// structuredMedia is what a message without a content type is (CloudEvents' NATS
// binding, 1.0.2), unless its attributes are headers.
const structuredMedia = "application/cloudevents+json"

// requestOf makes the request over HTTP that a message stands for.
func requestOf(ctx context.Context, header nats.Header, data []byte) (*http.Request, error) {
	query, binary := url.Values{}, false
	to := http.Header{}
	for name, values := range header {
		switch canonical := http.CanonicalHeaderKey(name); {
		case strings.EqualFold(name, dryRunHeader):
			query["dry_run"] = values
		case strings.EqualFold(name, atomicHeader):
			query["atomic"] = values
		case strings.HasPrefix(canonical, "Ce-"):
			binary = true
			to[canonical] = append(to[canonical], values...)
		case canonical == "Content-Type", canonical == "Modelog-Actor", canonical == "Traceparent", canonical == "If-Match":
			to[canonical] = append(to[canonical], values...)
		}
	}
	if to.Get("Content-Type") == "" && !binary {
		to.Set("Content-Type", structuredMedia)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/v1/events?"+query.Encode(), io.NopCloser(bytes.NewReader(data)))
	if err != nil {
		return nil, err
	}
	r.Header, r.ContentLength = to, int64(len(data))
	r.RemoteAddr = "127.0.0.1:0"
	return r, nil
}
