package projections

import (
	"net/url"
	"strconv"
	"time"

	"github.com/modelog/modelog/events"
)

// View reads the state as of one sequence. Everything that one View gives fits
// together, whatever is written in the meantime. What it gives must not be
// changed. It is safe for concurrent use.
type View struct {
	state    *State
	Sequence uint64
}

// Registry gives the registry's identity; its ID is zero at sequence 0.
func (v View) Registry() Registry {
	v.state.lock.RLock()
	defer v.state.lock.RUnlock()
	if v.Sequence == 0 {
		return Registry{}
	}
	return v.state.registry
}

// Recorded gives the time of the view's last event, the zero time at sequence 0.
func (v View) Recorded() time.Time {
	v.state.lock.RLock()
	defer v.state.lock.RUnlock()
	if v.Sequence == 0 {
		return time.Time{}
	}
	return fromMilli(v.state.recorded[v.Sequence-1])
}

// KeyUse says which event an idempotency key, given by its hash, was bound to.
func (v View) KeyUse(key events.Hash) (use *KeyUse, sequence uint64, ok bool) {
	f, ok := v.state.keys.get(v.Sequence, key)
	return f.value, f.sequence, ok
}

// At gives the view of the same state as of an earlier sequence.
func (v View) At(sequence uint64) View { return View{state: v.state, Sequence: sequence} }

// Path gives the path of a resource with the names it has in this view, each
// percent-encoded: "models/fraud/versions/8". It is empty for a resource that
// isn't there.
func (v View) Path(r events.Resource) string {
	switch r.Root.Kind {
	case events.RegistryRoot:
		if r.Dataset != (events.DatasetName{}) {
			return datasetPath(r.Dataset)
		}
		return "registry"
	case events.ModelRoot:
		m, _, ok := v.ModelByID(r.Root.ID)
		if !ok {
			return ""
		}
		path := "models/" + url.PathEscape(m.Name)
		switch {
		case r.Version > 0:
			path += "/versions/" + strconv.Itoa(r.Version)
		case r.Alias != "":
			path += "/aliases/" + url.PathEscape(r.Alias)
		}
		return path
	case events.TargetRoot:
		if t, _, ok := v.TargetByID(r.Root.ID); ok {
			return "targets/" + t.Name.Environment + "/" + t.Name.Name
		}
	case events.SubscriptionRoot:
		if s, _, ok := v.Subscription(r.Root.ID); ok {
			return s.path()
		}
	}
	return ""
}
