// Package handlers holds what may be asked: the commands, the rules that decide
// each of them on a view of the state, the registrar that is the log's only
// writer, and the one table of errors. One file per aggregate.
//
// It belongs here when it decides whether something may happen, whatever dialect
// asked for it. It does not belong here when it says what follows from an event
// (projections), or reads and writes a protocol (api and the other folders
// below).
//
// The package does no I/O. Time and identity enter once, in the registrar's
// Config.
package handlers
