package projections

import (
	"slices"
	"time"

	"github.com/modelog/modelog/events"
)

// SigningKey is the key that signs the heads of the log's tree, as of a
// sequence.
type SigningKey struct {
	VerifierKey  string `json:"verifier_key"`       // as signed notes spell it
	Previous     string `json:"previous,omitempty"` // the one before, empty for none
	ChangedMilli int64  `json:"changed_at"`
}

// ChangedAt is when the key came into force.
func (k *SigningKey) ChangedAt() time.Time { return fromMilli(k.ChangedMilli) }

func (s *State) firstSigningKey(c change, e events.RegistryCreated) {
	if e.VerifierKey != "" {
		s.signingKeys.put(c.sequence, e.RegistryID, &SigningKey{VerifierKey: e.VerifierKey, ChangedMilli: c.at})
	}
}

func (s *State) signingKeyChanged(c change, e events.RegistrySigningKeyChanged) {
	s.signingKeys.put(c.sequence, e.RegistryID, &SigningKey{e.VerifierKey, e.Previous, c.at})
}

// SigningKey gives the key in force, and the sequence of the event that made it
// so.
func (v View) SigningKey() (key *SigningKey, sequence uint64, ok bool) {
	f, ok := v.state.signingKeys.get(v.Sequence, v.Registry().ID)
	return f.value, f.sequence, ok
}

// KeyChange is a signing key together with the sequence that it is in force from.
type KeyChange struct {
	*SigningKey
	Sequence uint64
}

// SigningKeys gives all keys up to the view's sequence, the first one first.
func (v View) SigningKeys() []KeyChange {
	var all []KeyChange
	for at := v.Sequence; ; {
		key, sequence, ok := v.At(at).SigningKey()
		if !ok {
			break
		}
		all = append(all, KeyChange{key, sequence})
		at = sequence - 1
	}
	slices.Reverse(all)
	return all
}
