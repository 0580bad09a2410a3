package events

import "github.com/oklog/ulid/v2"

var registryReaders = []kindReader{reads[RegistryCreated]()}

// Level is the level of the log that this release reads and writes. A log of a
// higher level was written by a later release, and stops the start.
const Level = 1

// RegistryCreated is the first event of every log, and is on no log twice. It
// gives the registry the identity that stands in the source of all its events.
type RegistryCreated struct {
	RegistryID ulid.ULID `json:"registry_id"`
	Level      int       `json:"level"` // the log's level, see Level
}

func (RegistryCreated) kind() string { return "registry.created.v1" }

// Resource is the registry.
func (e RegistryCreated) Resource() Resource {
	return Resource{Root: Root{RegistryRoot, e.RegistryID}}
}

// Summary tells people what happened.
func (e RegistryCreated) Summary() string { return "created the registry" }
