package events

import (
	"strings"

	"github.com/oklog/ulid/v2"
)

var registryReaders = []kindReader{reads[RegistryCreated](), reads[RegistrySigningKeyChanged]()}

// Level is the level of the log that this release reads and writes. A log of a
// higher level was written by a later release, and stops the start.
const Level = 1

// RegistryCreated is the first event of every log, and is on no log twice. It
// gives the registry the identity that stands in the source of all its events.
type RegistryCreated struct {
	RegistryID ulid.ULID `json:"registry_id"`
	Level      int       `json:"level"` // the log's level, see Level
	// VerifierKey is the key that signs the heads of the log's tree from the
	// beginning, as in RegistrySigningKeyChanged; absent for none.
	VerifierKey string `json:"verifier_key,omitempty"`
}

func (RegistryCreated) kind() string { return "registry.created.v1" }

// Resource is the registry.
func (e RegistryCreated) Resource() Resource {
	return Resource{Root: Root{RegistryRoot, e.RegistryID}}
}

// Summary tells people what happened.
func (e RegistryCreated) Summary() string { return "created the registry" }

// RegistrySigningKeyChanged records which key signs the heads of the log's tree
// from now on.
type RegistrySigningKeyChanged struct {
	RegistryID ulid.ULID `json:"registry_id"`
	// VerifierKey is the public key as signed notes spell it:
	// <name>+<key id>+<base64>.
	VerifierKey string `json:"verifier_key"`
	Previous    string `json:"previous,omitempty"` // the one before, empty for none
}

func (RegistrySigningKeyChanged) kind() string { return "registry.signing_key_changed.v1" }

// Resource is the registry.
func (e RegistrySigningKeyChanged) Resource() Resource {
	return Resource{Root: Root{RegistryRoot, e.RegistryID}}
}

// Summary tells people what happened.
func (e RegistrySigningKeyChanged) Summary() string {
	if e.Previous == "" {
		return "began to sign with key " + keyID(e.VerifierKey)
	}
	return "changed the signing key from " + keyID(e.Previous) + " to " + keyID(e.VerifierKey)
}

// keyID gives the short hash that tells verifier keys of one name apart.
func keyID(verifierKey string) string {
	_, rest, _ := strings.Cut(verifierKey, "+")
	id, _, _ := strings.Cut(rest, "+")
	return id
}
