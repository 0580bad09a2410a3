// Package vault keeps what a log that never forgets must not hold: the URLs, headers
// and secrets of subscriptions' endpoints.
//
// Each endpoint is one message of the JetStream stream MODELOG_CREDENTIALS, sealed with
// AES-256-GCM under a key that is in a file for its owner alone, and bound to its id,
// so that nobody who can write to the stream can put one endpoint in the place of
// another. A record is never changed: whoever needs another one puts it under a new id.
// Erasing overwrites it (the stream's secure delete).
//
// The package does not belong here when it decides who is delivered what (handlers,
// handlers/subscription), or delivers (handlers/webhooks).
package vault
