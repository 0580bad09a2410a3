package api

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/filter"
	"github.com/modelog/modelog/projections"
)

// filtered are the parameters of a list that takes a filter.
func filtered(example string) []parameter {
	about := "What an entry must be, in the filter language of MLflow's searches, such as " + example
	return append([]parameter{{"filter", "string", about}}, paging...)
}

// sieve lets entries of a list through.
type sieve struct {
	filter.Filter
	c      *call
	all    bool // no filter was given
	hides  bool // prompts are hidden, unless they are asked for
	passed int  // entries looked at
}

// sieve reads the filter parameter. MLflow's searches hide prompts unless a clause
// asks for them; a list does so only for a filter that speaks of prompts.
func (c *call) sieve(kind filter.Kind) (*sieve, error) {
	text := c.query.Get("filter")
	f, err := filter.Parse(kind, text)
	if wrong, ok := errors.AsType[*filter.Error](err); ok {
		return nil, handlers.InvalidField("filter", "filter", "%s", wrong.Message)
	}
	return &sieve{Filter: f, c: c, all: text == "", hides: strings.Contains(text, filter.PromptTag)}, err
}

// passes says whether an entry is let through. It fails when nobody waits any more
// for what takes long to find.
func (s *sieve) passes(row filter.Row) (bool, error) {
	if s.passed++; s.passed%1024 == 0 && context.Cause(s.c.r.Context()) != nil {
		return false, handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "the list was given up", RetryAfter: time.Second}
	}
	return s.all || s.Match(row), nil
}

// modelEntry is a model as a filter sees it.
type modelEntry struct {
	s *sieve
	m *projections.Model
}

func (e modelEntry) String(filter.Attribute) string { return e.m.Name }
func (e modelEntry) Int(filter.Attribute) int64     { return e.m.UpdatedMilli }

func (e modelEntry) Tag(key string) (string, bool) {
	value, ok := e.m.Tags()[key]
	return value, ok
}

func (e modelEntry) Prompt() bool { return e.s.hides && e.m.Tags()[filter.PromptTag] == "true" }

// versionEntry is a version of a model as a filter sees it.
type versionEntry struct {
	modelEntry
	view    projections.View
	version *projections.Version
}

func (e versionEntry) String(a filter.Attribute) string {
	registration, ok := e.view.Registration(e.version.ID)
	switch {
	case a == filter.Name || !ok:
		return e.m.Name
	case a == filter.RunID:
		return registration.RunID
	default:
		return registration.Source
	}
}

func (e versionEntry) Int(filter.Attribute) int64 { return int64(e.version.ID.Version) }

func (e versionEntry) Tag(key string) (string, bool) {
	value, ok := e.version.Tags()[key]
	return value, ok
}
