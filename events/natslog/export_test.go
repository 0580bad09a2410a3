package natslog

import (
	"context"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/modelog/modelog/events"
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

// SetLeastInBlocks sets from how many events on the store's files are read, until
// the server is started anew.
func (l *Log) SetLeastInBlocks(n uint64) { l.current.Load().leastInBlocks = n }

// ReadBlocks reads as far as the store's files go.
func (l *Log) ReadBlocks(ctx context.Context, from, to uint64) (read []events.Stored, err error) {
	_, err = l.current.Load().readBlocks(ctx, from, to, func(e events.Stored, _ error) bool {
		read = append(read, e)
		return true
	})
	return read, err
}

// MessagesDirectory is where the store's files are.
var MessagesDirectory = messagesDirectory
