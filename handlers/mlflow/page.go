package mlflow

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers/filter"
	"github.com/modelog/modelog/projections"
)

// page is where a search goes on. All pages of a search stay at the sequence of the
// first, so that writes in between neither repeat nor hide a row.
type page struct {
	Sequence uint64 `json:"s"`
	Query    uint32 `json:"q"` // hash of what is searched

	// One of them says where the page before ended.
	Name   string `json:"n,omitzero"` // of models by name: the last one
	Event  uint64 `json:"e,omitzero"` // of versions by update: place of the last one
	Number int    `json:"v,omitzero"`
	Offset int    `json:"o,omitzero"` // of any other order: how many there were
}

// tokens are padded: MLflow's texts tell a token that can't be decoded by that.
var tokens = base64.URLEncoding

// page reads the token, and gives the view that the page is made on.
func (c *call) page(v projections.View) (page, projections.View, error) {
	first := page{Sequence: v.Sequence, Query: c.searched()}
	given := c.params.text[pageToken]
	if given == "" {
		return first, v, nil
	}
	data, err := tokens.DecodeString(given)
	if err != nil {
		return first, v, invalid("Invalid page token, could not base64-decode")
	}
	var at page
	if err := json.Unmarshal(data, &at, json.RejectUnknownMembers(true)); err != nil || at.Offset < 0 || at.Number < 0 {
		return first, v, invalid("Invalid page token, decoded value=b%s", pythonRepr(strings.ToValidUTF8(string(data), "\uFFFD")))
	}
	if at.Query != first.Query || at.Sequence > c.server.cfg.Runner.Visible() {
		return first, v, invalid("Invalid page token, it belongs to another search")
	}
	v = v.At(at.Sequence)
	c.setSequence(v.Sequence)
	return at, v, nil
}

// searched hashes what makes a search this search and no other, once it has its view.
func (c *call) searched() uint32 {
	h := sha256.New()
	all := append([]string{c.params.text[filterText], c.asOf}, c.params.orders...)
	for _, s := range all {
		h.Write(strconv.AppendQuote(nil, s))
	}
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// token spells where the next page begins.
func (p page) token() string {
	data, err := json.Marshal(p)
	if err != nil {
		return "" // numbers and a name
	}
	return tokens.EncodeToString(data)
}

// cut gives a page of a list, and moves on.
func cut[T any](p *page, all []T, size int) (rows []T, more bool) {
	rows = all[min(p.Offset, len(all)):]
	if more = len(rows) > size; more {
		rows = rows[:size]
	}
	p.Offset += len(rows)
	return rows, more
}

// pageSize gives how many rows a page is to have.
func (c *call) pageSize(kind filter.Kind, usual, most int64) (int, error) {
	n := usual
	if c.params.given[maxResults] {
		n = c.params.results
	}
	if n > most {
		spelled, python := strconv.FormatInt(n, 10), "int"
		if c.r.URL.RawQuery != "" {
			spelled, python = `"`+spelled+`"`, "str"
		}
		return 0, invalidParam("max_results", spelled, python)
	}
	return int(n), filter.CheckMaxResults(kind, n)
}
