package main

import (
	"time"

	"github.com/modelog/modelog/events"
)

// parseMoment reads a time that a flag has. It may be a second ahead, as the API
// has it.
func parseMoment(flag, text string) (time.Time, error) {
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return moment, usage("%s: %q is neither a sequence nor a time such as 2026-11-24T02:10:00Z", flag, text)
	}
	if now := time.Now(); moment.After(now.Add(time.Second)) {
		return moment, usage("%s: %s is in the future; it is %s", flag, text, events.FormatTime(now))
	}
	return moment, nil
}
