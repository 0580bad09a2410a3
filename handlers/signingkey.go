package handlers

import (
	"fmt"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"golang.org/x/mod/sumdb/note"
)

// ChangeSigningKey asks that the heads of the log's tree be signed with another
// key from now on. The registry asks for it at its start; no API does.
type ChangeSigningKey struct {
	VerifierKey string `json:"verifier_key"` // as signed notes spell it
	// Previous is the key that must be in force now, empty for none.
	Previous string `json:"previous,omitempty"`
}

// Kind names the command.
func (*ChangeSigningKey) Kind() string { return "change_signing_key" }

func (cmd *ChangeSigningKey) check() error {
	if _, err := note.NewVerifier(cmd.VerifierKey); err != nil {
		return InvalidField("/verifier_key", "verifier_key", "is no verifier key of a signed note: %v", err)
	}
	return nil
}

func (cmd *ChangeSigningKey) decide(v projections.View, _ occasion) (decision, error) {
	e := events.RegistrySigningKeyChanged{RegistryID: v.Registry().ID, VerifierKey: cmd.VerifierKey, Previous: cmd.Previous}
	inForce := ""
	if key, _, ok := v.SigningKey(); ok {
		inForce = key.VerifierKey
	}
	switch inForce {
	case cmd.VerifierKey:
		return alreadySo(e.Resource())
	case cmd.Previous:
		return write(e)
	default:
		return decision{}, RuleError{CodeSigningKey, fmt.Sprintf(
			"the log is signed with the key %q, not with %q; put that key in place, or record the change with --rotate-signing-key", inForce, cmd.Previous)}
	}
}

func (cmd *ChangeSigningKey) etag(v projections.View) (uint64, bool) {
	_, sequence, ok := v.SigningKey()
	return sequence, ok
}
