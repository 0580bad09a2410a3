// Package openlineage takes OpenLineage events (https://openlineage.io, 2-0-2) at
// the paths that its clients use, so that Airflow, Spark, dbt and whoever else
// speaks it tell modelog which run read and wrote what, unmodified.
//
// Parse reads one event into an Event of this package: leniently where real
// producers break the schema, which is noted in the Event's marks, and strictly
// where nobody could say any more what the event is about. server.go takes requests,
// batch.go arrays of events, and report.go makes the command of an Event.
//
// What follows from an event is not decided here (handlers), nor how those of one
// run add up (projections): each is stored as it came, byte for byte.
package openlineage
