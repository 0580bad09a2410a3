// Package events holds what can have happened: the event types, one file per
// aggregate, the CloudEvents envelope around them, the codec between Go values,
// the log's msgpack and the edges' JSON, and the Log interface.
//
// It belongs here when it describes a fact or the way a fact is written down.
// It does not belong here when it decides whether something may happen
// (handlers), or says what follows from it (projections).
//
// The package does no I/O and reads no clock: natslog, below it, keeps the log
// on JetStream, and logtest is the conformance suite that every Log passes.
package events
