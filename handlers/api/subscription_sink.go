package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
)

// Limits of what goes with a sink.
const (
	maxHeaders     = 20
	maxHeaderName  = 100   // bytes
	maxHeaderValue = 4_096 // bytes
)

// Headers that a subscription may not set: deliveries have them by themselves, or they
// are about the connection.
var (
	ownHeaders = []string{
		"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host", "Keep-Alive",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade",
	}
	ownPrefixes = []string{"Webhook-", "Proxy-", "Ce-"}
)

// parseHeaders takes the headers of deliveries, and gives them with their names as HTTP
// spells them.
func parseHeaders(headers map[string]string) (map[string]string, error) {
	const pointer = "/protocolsettings/headers"
	if len(headers) > maxHeaders {
		return nil, handlers.InvalidField(pointer, "max_items", "are more than %d", maxHeaders)
	}
	all := map[string]string{}
	for name, value := range headers {
		canonical := http.CanonicalHeaderKey(name)
		at := string(jsontext.Pointer(pointer).AppendToken(name))
		if err := checkHeader(at, name, canonical, value); err != nil {
			return nil, err
		}
		if _, twice := all[canonical]; twice {
			return nil, handlers.InvalidField(pointer, "duplicate", "have %s twice, in other letters", canonical)
		}
		all[canonical] = value
	}
	return all, nil
}

func checkHeader(at, name, canonical, value string) error {
	own := slices.Contains(ownHeaders, canonical) ||
		slices.ContainsFunc(ownPrefixes, func(prefix string) bool { return strings.HasPrefix(canonical, prefix) })
	switch {
	case !isToken(name):
		return handlers.InvalidField(at, "header_name", "is no name of a header of at most %d characters", maxHeaderName)
	case own:
		return handlers.InvalidField(at, "forbidden_header", "can't be set: deliveries have it by themselves, or the connection does")
	case len(value) > maxHeaderValue:
		return handlers.InvalidField(at, "max_length", "has more than %d bytes", maxHeaderValue)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }), strings.TrimSpace(value) != value:
		return handlers.InvalidField(at, "header_value", "must be printable ASCII on one line, without spaces at the edges")
	}
	return nil
}

// isToken says whether a text can name a header (RFC 9110, 5.6.2).
func isToken(s string) bool {
	other := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}
	return s != "" && len(s) <= maxHeaderName && !strings.ContainsFunc(s, other)
}

// showSink shows where a sink is, without what may be a secret of it.
func showSink(host string) string { return fmt.Sprintf("%s/...", host) }
