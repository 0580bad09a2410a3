// Package cloudevents takes the events that others publish: it decodes them from
// HTTP, strictly, and says which call of the native API each one stands for. A
// published event is a proposal: what it asks for goes through the same rules as
// that call, and becomes an event of the log or a refusal.
//
// It knows neither the registrar nor the API, which imports it: handlers/api serves
// POST /v1/events.
package cloudevents
