// Package endpoints sees to where subscriptions deliver to, for whichever API asks: it
// checks URLs, and keeps an endpoint in the vault around the command that names it.
//
// The sink, the headers and the secrets of a subscription are put into the vault first,
// under a new id, and the event that follows names it. What is refused after that, or
// was asked before, leaves a record that is erased here; what a crash leaves, the
// vault's sweep erases.
//
// It does not belong here what a subscription may be (handlers), or how its endpoint is
// sealed (vault) and reached (send).
package endpoints
