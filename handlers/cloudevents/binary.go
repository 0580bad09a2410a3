package cloudevents

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
)

const headerPrefix = "Ce-"

var (
	errEscape   = errors.New("has a % that is not followed by two hex digits")
	errEncoding = errors.New("is not UTF-8 when its percent-encoding is undone")
)

// decodeBinary reads an event whose attributes are headers, and whose data is the
// body.
func decodeBinary(header http.Header, body []byte) (event.Event, error) {
	r := newReading()
	names := make([]string, 0, len(header))
	for name := range header {
		if len(name) > len(headerPrefix) && strings.EqualFold(name[:len(headerPrefix)], headerPrefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names) // so that the same request is refused with the same text
	for _, key := range names {
		values, name := header[key], strings.ToLower(key[len(headerPrefix):])
		if len(values) > 1 {
			return r.event, invalid("/"+escape(name), "duplicate", "is there twice")
		}
		if err := r.header(name, values[0]); err != nil {
			return r.event, err
		}
	}
	if media := header.Get("Content-Type"); media != "" {
		if err := r.set(attrContentType, media); err != nil {
			return r.event, err
		}
	}
	var err error
	if r.data, err = jsonData("/data", body); err != nil {
		return r.event, err
	}
	return r.finish()
}

// header takes the attribute that a header holds.
func (r *reading) header(name, value string) error {
	if name == "data" || name == attrContentType {
		return invalid("/"+name, "attribute_name", "is no ce- header: the data is the body, and its type the Content-Type")
	}
	if err := checkName(name); err != nil {
		return err
	}
	if name == "data_base64" {
		return invalid("/data_base64", "attribute_name", "is no ce- header: the data is the body")
	}
	decoded, err := decodeHeader(value)
	if err != nil {
		return invalid("/"+name, "percent_encoding", "%s", err)
	}
	return r.set(name, decoded)
}

// decodeHeader undoes what the HTTP binding does to a value, once: quotes around
// all of it, and then the percent-encoding.
func decodeHeader(value string) (string, error) {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(value[1 : len(value)-1])
	}
	decoded, err := url.PathUnescape(value)
	switch {
	case err != nil:
		return "", errEscape
	case !utf8.ValidString(decoded):
		return "", errEncoding
	}
	return decoded, nil
}
