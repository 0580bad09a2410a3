// Package api is the native HTTP API, /v1: JSON over net/http, described by an
// OpenAPI 3.1 document that is made from the same table that routes requests.
//
// A request's way: routes.go names it, endpoint.go reads what all endpoints
// have in common (as_of, Idempotency-Key, If-Match, the actor), the function of
// the endpoint builds one command or reads one view, and shapes.go says how the
// answer looks. Errors leave through problem.go.
//
// It does not belong here when it decides anything (handlers), or speaks
// another dialect.
package api
