package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

var paging = []parameter{
	{"limit", "integer", "How many entries at most"},
	{"cursor", "string", "next_cursor of the page before"},
}

var errCursor = handlers.InvalidField("cursor", "cursor", "is not the next_cursor of a page of this list")

// page is where a list goes on. All pages of a list stay at the sequence of the
// first, so that writes in between neither repeat nor hide an entry.
type page struct {
	Sequence uint64 `json:"s"`
	Last     string `json:"l"` // key of the last entry of the page before
	Query    uint32 `json:"q"` // hash of what is listed

	limit int
}

// page reads limit and cursor, and gives the view that the list is made on.
func (c *call) page(v projections.View) (page, projections.View, error) {
	p := page{Sequence: v.Sequence, Query: c.listed(), limit: defaultLimit}
	if s := c.query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLimit {
			return p, v, handlers.InvalidField("limit", "range", "must be a whole number from 1 to %d", maxLimit)
		}
		p.limit = n
	}
	s := c.query.Get("cursor")
	if s == "" {
		return p, v, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return p, v, errCursor
	}
	at := page{limit: p.limit}
	if err := json.Unmarshal(data, &at, json.RejectUnknownMembers(true)); err != nil {
		return p, v, errCursor
	}
	if at.Query != p.Query || at.Sequence > c.server.cfg.Runner.Visible() || at.Last == "" {
		return p, v, errCursor
	}
	return at, v.At(at.Sequence), nil
}

// listed hashes what makes a list this list and no other.
func (c *call) listed() uint32 {
	query := maps.Clone(c.query)
	query.Del("cursor")
	query.Del("limit")
	sum := sha256.Sum256([]byte(c.r.URL.Path + "?" + query.Encode()))
	return binary.BigEndian.Uint32(sum[:])
}

// from is the key to begin at; skip passes over the page before's last entry.
func (p page) from() string          { return p.Last }
func (p page) skip(key string) bool  { return p.Last != "" && key == p.Last }
func (p page) full(entries int) bool { return entries >= p.limit }

func (p page) next(last string) string {
	p.Last = last
	data, err := json.Marshal(p)
	if err != nil {
		return "" // numbers and a text that came out of JSON
	}
	return base64.RawURLEncoding.EncodeToString(data)
}
