package api

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	// found has the metrics of a seriesKey, which take long to look up.
	found sync.Map
}

type seriesKey struct {
	method, route string
	status        int
}

type series struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "modelog_http_requests_total", Help: "HTTP requests by method, route and status.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "modelog_http_request_seconds", Help: "Time from a request's head to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}, []string{"method", "route"}),
	}
}

func (m *metrics) observe(method, route string, status int, took time.Duration) {
	if route == "" { // no route: neither its path nor its method is ours to count by
		method, route = "other", "none"
	}
	s := m.series(seriesKey{method, route, status})
	s.requests.Inc()
	s.seconds.Observe(took.Seconds())
}

func (m *metrics) series(key seriesKey) *series {
	if s, ok := m.found.Load(key); ok {
		return s.(*series)
	}
	s, _ := m.found.LoadOrStore(key, &series{
		requests: m.requests.WithLabelValues(key.method, key.route, strconv.Itoa(key.status)),
		seconds:  m.seconds.WithLabelValues(key.method, key.route),
	})
	return s.(*series)
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.seconds}
}
