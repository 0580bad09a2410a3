// Package projections holds what is known: the state of the registry as the log
// tells it, with all of its past. State.Apply folds one event after another
// into temporal tables; a View reads them as of one sequence. One file per
// aggregate says how its events change the tables and how a View reads them.
//
// It belongs here when it follows from the log alone. It does not belong here
// when it decides whether something may happen (handlers), or how an answer
// looks (handlers/api).
//
// The package does no I/O and reads no clock: the same log gives the same
// state, and the same digest, on any machine. The runner, below it, follows a
// log and applies it.
package projections
