package openlineage

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
)

// limits are how large the body of a request may be.
type limits struct {
	sent     int64 // as it comes, perhaps compressed
	unpacked int64
}

// Limits of single events and of batches. An event beyond half a mebibyte doesn't
// fit on the log anyway; what is over is white space and the way of saying so.
var (
	eventLimits = limits{1 << 20, 1 << 20}
	batchLimits = limits{4 << 20, 8 << 20}
)

// encodingError refuses a Content-Encoding that isn't spoken here.
type encodingError struct{ got string }

func (encodingError) Code() handlers.Code { return handlers.CodeUnsupportedMedia }

func (e encodingError) Error() string {
	return fmt.Sprintf("the Content-Encoding is %q; send gzip, or no encoding", e.got)
}

// readBody reads a JSON body, unpacking it if it is compressed. It fails with a
// handlers.Refusal. What is unpacked is counted while it is, so that a small body
// that would fill the memory is refused when it has filled the limit.
func readBody(w http.ResponseWriter, r *http.Request, l limits) ([]byte, error) {
	if err := api.CheckJSON(r); err != nil {
		return nil, err
	}
	sent := http.MaxBytesReader(w, r.Body, l.sent)
	switch encoding := strings.ToLower(strings.Join(r.Header.Values("Content-Encoding"), ", ")); encoding {
	case "", "identity":
		data, err := io.ReadAll(sent)
		return data, bodyError(err, false)
	case "gzip", "x-gzip":
		return unpack(sent, l.unpacked)
	default:
		return nil, encodingError{encoding}
	}
}

func unpack(sent io.Reader, limit int64) ([]byte, error) {
	unpacked, err := gzip.NewReader(sent)
	if err != nil {
		return nil, bodyError(err, true)
	}
	data, err := io.ReadAll(io.LimitReader(unpacked, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, handlers.TooLargeError{Limit: int(limit)}
	}
	return data, bodyError(err, true)
}

func bodyError(err error, packed bool) error {
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return handlers.TooLargeError{Limit: int(tooLarge.Limit)}
	case !packed || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return handlers.InvalidField("", "complete", "the body ended too early")
	default:
		return handlers.InvalidField("", "gzip", "the body is not gzip, as the Content-Encoding has it: %v", err)
	}
}
