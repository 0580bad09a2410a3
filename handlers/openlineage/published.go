package openlineage

import (
	"time"

	"github.com/modelog/modelog/handlers"
)

// Published reads an event that came inside another, as api.Config.OpenLineage has
// it. What the two say of themselves is not compared.
func Published(data []byte, now time.Time) (handlers.Command, time.Time, error) {
	e, err := Parse(data, now)
	if err != nil {
		return nil, time.Time{}, err
	}
	return command(e), e.Time, nil
}
