package seal

import "github.com/prometheus/client_golang/prometheus"

// Collectors gives the sealer's metrics.
func (s *Sealer) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "modelog_sealed_sequence", Help: "The last event that the newest signed head covers.",
		}, func() float64 { return float64(s.size()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "modelog_sealer_failed", Help: "1 if the log is not the one that was sealed, so that nothing is sealed any more.",
		}, func() float64 {
			if s.Err() != nil {
				return 1
			}
			return 0
		}),
	}
}
