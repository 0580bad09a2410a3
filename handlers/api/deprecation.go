package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
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

// WithdrawnHeader names, in the answer of a call that changes what runs on a target,
// withdrawn data that what runs there now comes from: the id of a data set's node, as
// /v1/lineage takes it, in each. A rollback is not refused for such data, since it may
// be all that there is to go back to; who rolls back is told.
const WithdrawnHeader = "Modelog-Withdrawn-Data"

// maxWithdrawn keeps the headers of an answer small.
const maxWithdrawn = 20

// warnOfData names the withdrawn data that a version comes from.
func (c *call) warnOfData(v projections.View, id events.VersionID) {
	h := c.w.Header()
	for _, w := range v.WithdrawnData(id) {
		name := visible(handlers.NodeName(v, w.Dataset.Node()))
		if named := h[WithdrawnHeader]; len(named) < maxWithdrawn && !slices.Contains(named, name) {
			h.Add(WithdrawnHeader, name)
		}
	}
}

// visible percent-encodes what a header can't hold. A name has no percent sign that
// isn't encoded.
func visible(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' || name[i] == ',' {
			fmt.Fprintf(&b, "%%%02X", name[i])
		} else {
			b.WriteByte(name[i])
		}
	}
	return b.String()
}
