package webhooks

import (
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	deliveries *prometheus.CounterVec
	dead       prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "modelog_deliveries_total", Help: "Attempts to deliver an event, by what became of them: ok, or what went wrong.",
		}, []string{"class"}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "modelog_dead_letters_total", Help: "Events that were given up after the last attempt.",
		}),
	}
}

func (m *metrics) attempted(a *attempts.Attempt) {
	m.deliveries.WithLabelValues(a.Class).Inc()
	if a.Dead {
		m.dead.Inc()
	}
}

// Collectors gives the engine's metrics, for whoever serves them.
func (e *Engine) Collectors() []prometheus.Collector {
	gauge := func(name, help string, of func(s *session) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s := e.current()
			if s == nil {
				return 0
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return of(s)
		})
	}
	return []prometheus.Collector{
		e.metrics.deliveries, e.metrics.dead,
		gauge("modelog_deliveries_in_flight", "Attempts that wait for their endpoint.", func(s *session) float64 { return float64(s.flying) }),
		gauge("modelog_delivery_lag_events", "Events that the active subscription furthest behind has not looked at.", func(s *session) float64 {
			var lag uint64
			for _, f := range s.flows {
				if f.active() && (!f.inStep || len(f.core.ready) > 0) {
					lag = max(lag, s.place-min(f.core.after(), s.place))
				}
			}
			return float64(lag)
		}),
		gauge("modelog_delivery_retries_pending", "Events that failed and are sent again later.", func(s *session) float64 {
			n := 0
			for _, all := range []map[ulid.ULID]*flow{s.flows, s.jobs} {
				for _, f := range all {
					n += f.core.retrying
				}
			}
			return float64(n)
		}),
		gauge("modelog_delivering", "1 if this process delivers events to subscribers, else 0.", func(*session) float64 { return 1 }),
	}
}
