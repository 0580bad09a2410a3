// Package logtest is the conformance suite that every events.Log passes:
//
//	func TestLog(t *testing.T) { logtest.Run(t, openEmpty) }
//
// Its tests are sentences about a log. Those of Run need one writer and a healthy
// server. Those of RunShared have a second writer, answers that get lost, appends
// that come late and a leader that is stopped, for which a Harness brings the ways
// into the network and the servers.
package logtest
