package attempts

import (
	"slices"
	"strings"
)

// Classes say in one word what became of an attempt.
const (
	ClassOK       = "ok"       // the endpoint answered 2xx
	ClassStatus   = "status"   // it answered with another status
	ClassRedirect = "redirect" // it answered 3xx, which is never followed
	ClassTimeout  = "timeout"  // it didn't answer in time
	ClassRefused  = "refused"  // nobody listens there
	ClassReset    = "reset"    // the connection ended before the answer
	ClassProtocol = "protocol" // what came back is no HTTP, or its headers are too long
	ClassTLS      = "tls"      // no TLS connection came about: a bad certificate, for one
	ClassDNS      = "dns"      // the name of its host can't be resolved
	ClassNoRoute  = "no_route" // no way leads to its address
	// ClassForbidden is of addresses that nothing may be sent to, such as those of
	// private networks, and of URLs without TLS unless they are allowed.
	ClassForbidden = "forbidden"
	// ClassUnrenderable is of an attempt that was never sent, since the event has no
	// body in the format of the subscription.
	ClassUnrenderable = "unrenderable"
	// ClassOurs is of what modelog itself couldn't do, or didn't since it was stopped.
	// It counts as no attempt, so that no attempt is recorded with it.
	ClassOurs = "ours"
)

// recorded are the classes that attempts are recorded with.
var recorded = []string{
	ClassOK, ClassStatus, ClassRedirect, ClassTimeout, ClassRefused, ClassReset, ClassProtocol, ClassTLS, ClassDNS, ClassNoRoute, ClassForbidden, ClassUnrenderable,
}

// IsClass says whether attempts are recorded with a class.
func IsClass(class string) bool { return slices.Contains(recorded, class) }

// Classes lists those for people.
func Classes() string { return strings.Join(recorded, ", ") }
