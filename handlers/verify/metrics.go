package verify

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	ends *prometheus.CounterVec
	last *prometheus.GaugeVec
}

func newMetrics() *metrics {
	return &metrics{
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "modelog_verifications_total", Help: "Verifications by outcome: passed, differs, or failed for one without a result.",
		}, []string{"outcome"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "modelog_verification_last_timestamp_seconds", Help: "When the last verification with an outcome ended, in seconds since 1970.",
		}, []string{"outcome"}),
	}
}

func (m *metrics) ended(r *Result) {
	m.ends.WithLabelValues(string(r.Outcome)).Inc()
	m.last.WithLabelValues(string(r.Outcome)).Set(float64(r.EndedAt.UnixMilli()) / 1000)
}

// Collectors gives the verifier's metrics, for whoever serves them.
func (v *Verifier) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		v.metrics.ends, v.metrics.last,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "modelog_state_differs", Help: "1 from a verification that found the state not to be what its log gives, until one passes; else 0.",
		}, func() float64 {
			if v.Err() != nil {
				return 1
			}
			return 0
		}),
	}
}
