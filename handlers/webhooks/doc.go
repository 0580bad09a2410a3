// Package webhooks delivers events to subscribers: every event that a subscription
// wants is settled, with a 2xx answer of its endpoint or as a dead letter, in the order
// that it asks for, over crashes on either side.
//
// There is one Engine a process, and one that delivers among those that share a log:
// the holder of a lease. It reads the log once for all subscriptions, and keeps of what
// is to be delivered nothing but sequences.
//
// The core of a subscription (core.go) is a state machine without a clock or I/O. Every
// wanted sequence is in one of these states, and goes from left to right but for the
// one way back:
//
//		ready -> [held behind its lane] -> due -> in flight -> settled (2xx | dead letter)
//		                                    ^---- failed ---'
//
//	  - ready: matched and not looked at, in order; all of them are above everything else
//	    that is unsettled, so that the cursor can say "up to the first of them".
//	  - A lane is what must stay in order: all events (strict), those of one model, target
//	    and so on (key), or each event by itself (none). A lane has one event due or in
//	    flight, others of it are held.
//	  - A failure makes the event due again later, after the last attempt it is a dead
//	    letter, and its lane goes on. What is modelog's own fault counts as no attempt.
//	  - The circuit breaker, Retry-After, the rate and the window of an endpoint hold back
//	    what would be sent next, whatever it is.
//	  - The cursor is {after, pending}: everything up to after is settled or in pending.
//	    A crash is a rebuild from the last cursor that was saved.
//
// A change of filters is good for everything that isn't ready yet, also for the past
// of a subscription that lags behind. What was missed while paused is delivered after.
//
// A replay is a second core with a cursor of its own, from one sequence to another. Its
// record is written by whichever process is asked, and looked for by the one that
// delivers; whoever marks or deletes it stops the replay.
//
// It does not belong here how a request is made (send), what an event looks like in it
// (format), and where to (vault).
package webhooks
