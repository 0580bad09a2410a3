package webhooks

import "time"

// Pace says how soon failing endpoints are tried again. A nil one is the ordinary pace;
// any other is for tests, which haven't days.
type Pace struct {
	Schedule []time.Duration // how long after the attempt before each attempt is made
	Breaker  time.Duration   // how long an endpoint that fails again and again is left alone at first
}

func (p *Pace) schedule() []time.Duration {
	if p == nil {
		return schedule[:]
	}
	return p.Schedule
}

func (p *Pace) breaker() time.Duration {
	if p == nil {
		return breakerFirst
	}
	return p.Breaker
}

// last says whether an item that has failed so often is a dead letter if it fails again.
func (p *Pace) last(failed int) bool { return failed+1 >= len(p.schedule()) }
