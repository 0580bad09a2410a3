// Package send makes the requests of deliveries: one HTTP POST for each attempt, signed
// as Standard Webhooks has it, to addresses that may be sent to.
//
// An attempt is one request and one result. Nothing is tried again here, redirects
// aren't followed, and no proxy of the environment is used. A connection that an
// endpoint kept open may be closed by it just when the next request is written; that
// attempt has failed, since the endpoint may have seen the request.
//
// The guard looks at the address that is connected to, once its name is resolved: a
// name that gives another address each time it is asked gets no further.
//
// It does not belong here what is sent (webhooks, format), and what follows from it.
package send
