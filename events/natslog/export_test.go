package natslog

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// StopServer stops the embedded server behind the log's back.
func (l *Log) StopServer() { stopServer(l.current.Load().ns) }

// LoseAnswers makes the answers to publishes go where nobody listens, until the
// server is started anew.
func (l *Log) LoseAnswers() { l.current.Load().inbox = "nowhere" }

// SetStall sets how long a reader waits for an event that must be there, until
// the server is started anew.
func (l *Log) SetStall(d time.Duration) { l.current.Load().stall = d }

// StartServer starts the embedded server alone.
func StartServer(dir string) (*server.Server, error) {
	return startServer(Config{Dir: dir}.withDefaults(), login{})
}

// EmbeddedStream and SharedStream are the stream's configurations.
var (
	EmbeddedStream = embeddedStream
	SharedStream   = sharedStream
)

// OlderThan compares releases.
var OlderThan = olderThan
