package mlflow

import (
	"context"
	"iter"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/filter"
	"github.com/modelog/modelog/projections"
)

var searchRoutes = []rpc{
	{http.MethodGet, "registered-models/search", searchSchema, searchModels},
	{http.MethodGet, "model-versions/search", searchSchema, searchVersions},
}

var searchSchema = []field{{filterText, false}, {maxResults, false}, {orderBy, false}, {pageToken, false}}

// How many rows a page has, usually and at most.
const (
	usualModels   = 100
	mostModels    = 1000
	usualVersions = 200_000
	mostVersions  = 200_000
)

// search is a search on its way.
type search struct {
	*call
	view   projections.View
	filter filter.Filter
	order  filter.Order
	page   page
	size   int
	seen   int // rows
}

func (c *call) search(kind filter.Kind, usual, most int64) (*search, error) {
	s := &search{call: c}
	var err error
	if s.size, err = c.pageSize(kind, usual, most); err != nil {
		return nil, err
	}
	if s.filter, err = filter.Parse(kind, c.params.text[filterText]); err != nil {
		return nil, err
	}
	if s.order, err = filter.ParseOrder(kind, c.params.orders); err != nil {
		return nil, err
	}
	if s.view, err = c.view(); err != nil {
		return nil, err
	}
	s.page, s.view, err = c.page(s.view)
	return s, err
}

// look counts a row, and now and then says no because nobody waits any more.
func (s *search) look() error {
	if s.seen++; s.seen%1024 != 0 {
		return nil
	}
	if err := context.Cause(s.r.Context()); err != nil {
		return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "the search was given up", RetryAfter: time.Second}
	}
	return nil
}

// modelsAnswer is a page of models, absent if there are none.
type modelsAnswer struct {
	Models []registeredModel `json:"registered_models,omitempty"`
	Next   string            `json:"next_page_token,omitzero"`
}

func searchModels(c *call) (any, error) {
	s, err := c.search(filter.Models, usualModels, mostModels)
	if err != nil {
		return nil, err
	}
	rows, more, err := s.models()
	if err != nil {
		return nil, err
	}
	a := modelsAnswer{Models: make([]registeredModel, 0, len(rows))}
	for _, row := range rows {
		a.Models = append(a.Models, c.showModel(s.view, row.m))
	}
	if more {
		a.Next = s.page.token()
	}
	return a, nil
}

// models finds a page of models. By name, they come sorted, and no more of them is
// looked at than it takes.
func (s *search) models() (rows []*modelRow, more bool, err error) {
	byName := s.order.Default()
	for m := range s.named(s.page.Name) {
		if err := s.look(); err != nil {
			return nil, false, err
		}
		row := &modelRow{call: s.call, m: m}
		if (byName && m.Name <= s.page.Name) || !s.filter.Match(row) {
			continue
		}
		if byName && len(rows) == s.size {
			s.page.Name = rows[s.size-1].m.Name
			return rows, true, nil
		}
		rows = append(rows, row)
	}
	if !byName {
		slices.SortFunc(rows, func(a, b *modelRow) int { return s.order.Compare(a, b) })
		rows, more = cut(&s.page, rows, s.size)
	}
	return rows, more, nil
}

// named yields the models that the filter's clauses on the name leave, by name, from
// one on. Match still has to look at them.
func (s *search) named(from string) iter.Seq[*projections.Model] {
	names, prefix := s.names()
	if names != nil {
		return func(yield func(*projections.Model) bool) {
			for _, name := range names {
				if m, _, ok := s.view.Model(name); ok && name >= from && !yield(m) {
					return
				}
			}
		}
	}
	return func(yield func(*projections.Model) bool) {
		for m := range s.view.Models(max(prefix, from)) {
			if !strings.HasPrefix(m.Name, prefix) || !yield(m) {
				return
			}
		}
	}
}

// names gives the only names that the filter lets through, nil for any, or else how
// they all begin.
func (s *search) names() (names []string, prefix string) {
	for _, clause := range s.filter.Clauses() {
		if clause.Target != filter.OnAttribute || clause.Key != string(filter.Name) {
			continue
		}
		if clause.Op == filter.Equal || clause.Op == filter.In {
			return clause.Values, ""
		}
		if p := clause.Prefix(); len(p) > len(prefix) {
			prefix = p
		}
	}
	return nil, prefix
}

func searchVersions(c *call) (any, error) {
	s, err := c.search(filter.Versions, usualVersions, mostVersions)
	if err != nil {
		return nil, err
	}
	find := s.sortedVersions
	if s.order.Default() {
		find = s.versionsByUpdate
	}
	rows, more, err := find()
	if err != nil {
		return nil, err
	}
	var a versionsAnswer
	for _, row := range rows {
		a.Versions = append(a.Versions, c.showVersion(s.view, row.model, row.version, aliasesOf(s.view, row.version.ID)))
	}
	if more {
		a.Next = s.page.token()
	}
	return a, nil
}

// versionsByUpdate finds a page in the default order, the last update first. Updates
// within a millisecond have an order too, that of their events, which is finer than
// MLflow's. No more versions are looked at than it takes.
func (s *search) versionsByUpdate() (rows []*versionRow, more bool, err error) {
	var last projections.UpdatePlace
	models := modelCache{}
	for version, sequence := range s.byUpdate(projections.UpdatePlace{Sequence: s.page.Event, Version: s.page.Number}) {
		if err := s.look(); err != nil {
			return nil, false, err
		}
		row := &versionRow{search: s, version: version, model: models.get(s.view, version.ID)}
		if row.model == nil || !s.filter.Match(row) {
			continue
		}
		if len(rows) == s.size {
			s.page.Event, s.page.Number = last.Sequence, last.Version
			return rows, true, nil
		}
		rows, last = append(rows, row), projections.UpdatePlace{Sequence: sequence, Version: version.ID.Version}
	}
	return rows, false, nil
}

// byUpdate yields the versions of the one model that the filter names, or of all.
func (s *search) byUpdate(below projections.UpdatePlace) iter.Seq2[*projections.Version, uint64] {
	names, _ := s.names()
	if len(names) != 1 {
		return s.view.AllVersionsByUpdate(below)
	}
	m, _, ok := s.view.Model(names[0])
	if !ok {
		return func(func(*projections.Version, uint64) bool) {}
	}
	return s.view.VersionsByUpdate(m.ID, below)
}

// sortedVersions finds a page in any other order.
func (s *search) sortedVersions() (rows []*versionRow, more bool, err error) {
	for m := range s.named("") {
		for version := range s.view.Versions(m.ID, math.MaxInt) {
			if err := s.look(); err != nil {
				return nil, false, err
			}
			if row := (&versionRow{search: s, version: version, model: m}); s.filter.Match(row) {
				rows = append(rows, row)
			}
		}
	}
	slices.SortFunc(rows, func(a, b *versionRow) int { return s.order.Compare(a, b) })
	rows, more = cut(&s.page, rows, s.size)
	return rows, more, nil
}

// modelCache remembers the models of the versions that were looked at.
type modelCache map[[16]byte]*projections.Model

func (cache modelCache) get(v projections.View, id events.VersionID) *projections.Model {
	m, ok := cache[id.ModelID]
	if !ok {
		m, _, _ = v.ModelByID(id.ModelID)
		cache[id.ModelID] = m
	}
	return m
}
