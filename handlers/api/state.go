package api

import (
	"sync"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// digests remembers the last digest, since making one reads the whole state.
type digests struct {
	lock sync.Mutex
	last *Digest // guarded by lock
}

func (s *server) stateRoutes() []endpoint {
	return []endpoint{
		read("/v1/state", "getState", "Get the sequence and the digest of the state",
			[]parameter{{"compute", "boolean", "true computes the digest as of the answer's sequence; else the last one computed is given"}},
			func(c *call, v projections.View) (answer[State], error) {
				registry := v.Registry()
				state := State{
					RegistryID: registry.ID.String(), Level: registry.Level, Sequence: v.Sequence, Fold: projections.FoldVersion,
				}
				if v.Sequence > 0 {
					state.RecordedAt = events.FormatTime(v.Recorded())
				}
				var err error
				state.Digest, err = c.digest(v.Sequence)
				return answer[State]{value: state}, err
			}),
	}
}

func (c *call) digest(sequence uint64) (*Digest, error) {
	d := &c.server.digests
	d.lock.Lock() // one at a time: each reads the whole state
	defer d.lock.Unlock()
	switch c.query.Get("compute") {
	case "", "false":
		return d.last, nil
	case "true":
	default:
		return nil, handlers.InvalidField("compute", "type", "must be true or false")
	}
	if d.last == nil || d.last.Sequence != sequence {
		hex, err := c.server.cfg.Runner.Digest(c.r.Context(), sequence)
		if err != nil {
			return nil, err
		}
		d.last = &Digest{Sequence: sequence, SHA256: hex}
	}
	return d.last, nil
}
