package api

import (
	"fmt"
	"net/http"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// warn says in headers that a version is deprecated: Deprecation (RFC 9745),
// Sunset (RFC 8594), and a link to what to use instead.
func (c *call) warn(v projections.View, id events.VersionID) {
	version, _, ok := v.Version(id)
	if !ok || version.Deprecation == nil {
		return
	}
	h, d := c.w.Header(), version.Deprecation
	h.Set("Deprecation", fmt.Sprintf("@%d", d.Since().Unix()))
	if at, ok := d.Sunset(); ok {
		h.Set("Sunset", at.UTC().Format(http.TimeFormat))
	}
	if d.Replacement != nil {
		resource := events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: d.Replacement.ModelID}, Version: d.Replacement.Version}
		if path := v.Path(resource); path != "" {
			h.Set("Link", fmt.Sprintf(`</v1/%s>; rel="successor-version"`, path))
		}
	}
}
