package schemas

import (
	"embed"

	"github.com/modelog/modelog/events"
)

// FS has the documents: the schema of an event type under its path, such as
// "version/promoted/v1.json", and "openapi.json".
//
//go:embed *.json */*/*.json
var FS embed.FS

// Event gives the JSON Schema of an event type's data by its wire name, such as
// "version.promoted.v1".
func Event(kind string) ([]byte, bool) {
	if _, known := events.Kinds()[kind]; !known {
		return nil, false
	}
	schema, err := FS.ReadFile(events.SchemaPath(kind))
	return schema, err == nil
}
