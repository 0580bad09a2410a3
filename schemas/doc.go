// Package schemas has the documents that describe modelog to others, as they are
// served: a JSON Schema for the data of every event type, under
// <aggregate>/<action>/v<n>.json, and the OpenAPI document of the HTTP API.
//
// All of them are generated from the Go types by tests, which fail when a
// document is not what the code says. "make generate" writes them anew.
package schemas
