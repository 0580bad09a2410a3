// Package natslog keeps the event log on a NATS JetStream stream.
//
// [Open] runs a NATS server inside the process, without a listener, on a data
// directory that belongs to this process alone:
//
//	LOCK        held with flock while the log is open, and names the process;
//	            else it says whether the log was closed in order
//	jetstream/  the server's store
//
// That server writes lazily, so what it has acknowledged is in the page cache
// and no further. Append makes a whole group durable with one sync of the file
// system before it returns (design, section 4), and nothing is visible before
// that: Last, Get, Read and Follow end at the last sync.
//
// [Connect] uses external servers, one alone or a cluster, which several
// processes may share. There the servers sync, what they have acknowledged is
// durable, and others append too: so Append has one group in flight, as one
// atomic batch where the stream has replicas, and Last asks the stream's leader.
//
// The package is the only one above which nobody imports NATS: its errors are
// those of the events package.
package natslog
