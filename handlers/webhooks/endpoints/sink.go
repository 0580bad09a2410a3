package endpoints

import (
	"net/url"
	"strings"

	"github.com/modelog/modelog/handlers"
)

// MaxSink is how many bytes the URL of a sink may have.
const MaxSink = 2_048

// ParseSink takes a URL to deliver to, and gives what of it may be shown. One without
// TLS is taken only if overHTTP says so. It fails with a handlers.InvalidError.
func ParseSink(text string, overHTTP bool) (shown string, err error) {
	refuse := func(rule, format string, args ...any) (string, error) {
		return "", handlers.InvalidField("/sink", rule, format, args...)
	}
	u, err := url.Parse(text)
	switch {
	case text == "":
		return refuse("required", "is required")
	case len(text) > MaxSink:
		return refuse("max_length", "has more than %d bytes", MaxSink)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return refuse("visible_ascii", "must be visible ASCII; percent-encode the rest, and write the host in Punycode")
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return refuse("url", "must be a URL such as https://hooks.example.com/modelog")
	case u.User != nil:
		return refuse("no_credentials", "must not name a user; put an Authorization header into /protocolsettings/headers")
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return refuse("no_fragment", "must not have a fragment, which is never sent")
	case u.Scheme != "https" && (u.Scheme != "http" || !overHTTP):
		return refuse("https", "must be an https URL, unless the server allows others (--webhook-allow-http)")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}
