// Package logtest is the conformance suite that every events.Log passes:
//
//	func TestLog(t *testing.T) { logtest.Run(t, openEmpty) }
//
// Its tests are sentences about a log with one writer on a healthy disk. What
// needs a second writer, an answer that gets lost, a disk that fills up or a
// cluster is not in here yet: it takes ways into the server that a Harness
// doesn't offer, and comes with the external log.
package logtest
