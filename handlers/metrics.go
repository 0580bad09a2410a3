package handlers

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests      *prometheus.CounterVec
	groupSize     prometheus.Histogram
	failedAppends prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "modelog_commands_total", Help: "Commands by kind and outcome: written, unchanged, or the code of the refusal.",
		}, []string{"command", "outcome"}),
		groupSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "modelog_group_events", Help: "Events made durable together.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		failedAppends: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "modelog_failed_appends_total", Help: "Groups that the log did not take, or not for sure.",
		}),
	}
}

func (m *metrics) answered(command string, outcome Outcome, err error) {
	label := "unchanged"
	switch {
	case err != nil:
		label = string(CodeOf(err))
	case outcome.Written():
		label = "written"
	}
	m.requests.WithLabelValues(command, label).Inc()
}

// Collectors gives the registrar's metrics, for whoever serves them.
func (r *Registrar) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		r.metrics.requests, r.metrics.groupSize, r.metrics.failedAppends,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "modelog_queue_length", Help: "Requests that wait to be decided.",
		}, func() float64 { return float64(len(r.queue)) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "modelog_visible_sequence", Help: "The last sequence of the log that can be seen.",
		}, func() float64 { return float64(r.cfg.Runner.Visible()) }),
	}
}
