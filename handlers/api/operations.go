package api

import (
	"context"
	"net/http"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/schemas"
)

// Health says whether the server is alive, or ready.
type Health struct {
	Status string `json:"status"` // "ok"
}

// Release says what runs.
type Release struct {
	Release string `json:"release"`
	Go      string `json:"go"`
	Fold    int    `json:"fold"`
}

const readyTimeout = 2 * time.Second

func (s *server) operationRoutes() []endpoint {
	alive := func(c *call) error {
		c.json(http.StatusOK, Health{"ok"})
		return nil
	}
	return []endpoint{
		operation[Health]("/healthz", "healthz", "Whether the process is alive", alive),
		operation[Health]("/health", "health", "The same as /healthz", alive),
		operation[Health]("/readyz", "readyz", "Whether the registry takes reads and writes", s.ready),
		operation[Release]("/version", "version", "What runs", s.version),
		operation[jsontext.Value]("/openapi.json", "openapi", "This document", openapi),
		operation[jsontext.Value]("/asyncapi.json", "asyncapi", "The AsyncAPI document: deliveries, live streams, and NATS", asyncapi),
		schemaRoute(),
	}
}

// operation makes the row of a GET that reads no view.
func operation[A any](path, name, summary string, serve func(*call) error) endpoint {
	return endpoint{
		method: http.MethodGet, path: path, name: name, summary: summary, status: http.StatusOK,
		timeless: true, answer: reflect.TypeFor[A](), serve: serve,
	}
}

func (s *server) ready(c *call) error {
	ctx, cancel := context.WithTimeout(c.r.Context(), readyTimeout)
	defer cancel()
	if err := s.cfg.Registrar.Err(); err != nil {
		return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: "the registrar has given up: " + err.Error()}
	}
	if err := s.cfg.Log.Health(ctx); err != nil {
		return handlers.UnavailableError{Kind: handlers.CodeUnavailable, Detail: err.Error(), RetryAfter: time.Second}
	}
	if err := s.checkSealed(); err != nil {
		return err
	}
	if err := s.checkVerified(); err != nil {
		return err
	}
	c.json(http.StatusOK, Health{"ok"})
	return nil
}

func (s *server) version(c *call) error {
	release := Release{Release: s.cfg.Release, Fold: projections.FoldVersion}
	if info, ok := debug.ReadBuildInfo(); ok {
		release.Go = info.GoVersion
	}
	c.json(http.StatusOK, release)
	return nil
}

func openapi(c *call) error {
	return c.document("openapi.json", "application/json")
}

func asyncapi(c *call) error {
	return c.document("asyncapi.json", "application/json")
}

const schemaMedia = "application/schema+json"

func schemaRoute() endpoint {
	e := operation[jsontext.Value]("/schemas/{aggregate}/{action}/{version}", "getSchema", "The JSON Schema of an event type's data", schema)
	e.media = schemaMedia
	return e
}

func schema(c *call) error {
	path := c.r.PathValue("aggregate") + "/" + c.r.PathValue("action") + "/" + c.r.PathValue("version")
	return c.document(path, schemaMedia)
}

func (c *call) document(path, contentType string) error {
	data, err := schemas.FS.ReadFile(path)
	if err != nil {
		return routeError{handlers.CodeRouteNotFound, "there is no schema " + path}
	}
	c.raw(http.StatusOK, contentType, data)
	return nil
}
