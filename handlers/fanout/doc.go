// Package fanout hands every event that has become visible to all who follow the log
// in this process: live streams today, and whoever delivers events to others.
//
// There is one Hub. It makes the JSON of an event once, and keeps the last events in
// a ring that all followers read; none of them has a queue of its own, so a slow one
// costs the others nothing. A Follower that has fallen behind the ring reads the log
// itself, a page at a time, until it has caught up. While nobody follows, the hub does
// nothing and holds nothing.
//
// What a follower is given has no gaps and no repetitions, and is never ahead of what
// is durable. The package doesn't belong to any protocol, and keeps no cursors.
package fanout
