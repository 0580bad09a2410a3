package send

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modelog/modelog/handlers/webhooks/attempts"
)

const (
	// maxDrained is how much more of an answer than what is kept is read, in bytes, so
	// that its connection can be used again.
	maxDrained    = 64 << 10
	maxRetryAfter = 24 * time.Hour
)

// classOf gives the class of an answer.
func classOf(status int) string {
	switch {
	case status >= 200 && status < 300:
		return attempts.ClassOK
	case status >= 300 && status < 400:
		return attempts.ClassRedirect
	default:
		return attempts.ClassStatus
	}
}

// beginning gives the beginning of a body, as far as it comes in time. Whether it comes
// to an end changes nothing: the status is the endpoint's word, and a delivery that it
// has said it took must not be sent again for an answer that never ends.
func beginning(r *http.Response) []byte {
	if r.StatusCode == http.StatusSwitchingProtocols { // what follows is no body
		return nil
	}
	kept, err := io.ReadAll(io.LimitReader(r.Body, attempts.MaxBody))
	if err == nil && len(kept) == attempts.MaxBody {
		_, _ = io.CopyN(io.Discard, r.Body, maxDrained) // without it the connection is closed
	}
	return kept
}

// retryAfter reads the header of that name in both its forms. What can't be read is 0.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
