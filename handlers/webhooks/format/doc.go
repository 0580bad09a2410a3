// Package format writes events of the log as subscribers want them: as MLflow's webhook
// payloads, as messages for people in Slack, Teams and Discord, and as CDEvents.
//
// Not every format has something for every event, and one event may be several of
// MLflow's: a Formats gives none, one or more bodies.
//
// Names are those as of the event. Whoever acted stays an opaque principal, and nothing
// is a link: what a person wrote into a description must not become one, nor a mention.
//
// It does not belong here how a body is sent and signed (send), or whether a
// subscription wants an event (handlers/subscription).
package format
