package natslog

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// login is what a server knows a client by.
type login struct {
	User     string `json:"user,omitempty"`
	Password string `json:"pass,omitempty"`
}

// newLogin makes the one of this process, which nobody else can guess.
func newLogin() login { return login{User: "modelog", Password: rand.Text()} }

const readerUser = "reader"

// ownInbox begins what this process listens to, where readers can't hear: the
// directory of principals goes that way too.
const ownInbox = "_MODELOG"

const readerInbox = "_INBOX."

// PublishSubject is where clients ask for events to be published; see
// handlers/natspublish.
const PublishSubject = "modelog.publish"

// readerMaySend is all that a reader may send: it may look at the stream, have
// consumers on it, and ask the registry's service for events to be published, of which
// the registry decides. The rest of JetStream's API, which could delete the stream or
// someone's consumer, and the events' own subjects are not there.
var readerMaySend = []string{
	"$JS.API.INFO",
	"$JS.API.STREAM.INFO." + StreamName,
	"$JS.API.STREAM.MSG.GET." + StreamName,
	"$JS.API.DIRECT.GET." + StreamName,
	"$JS.API.DIRECT.GET." + StreamName + ".>",
	createConsumer + StreamName,
	createConsumer + StreamName + ".>",
	createDurable + StreamName + ".>",
	"$JS.API.CONSUMER.INFO." + StreamName + ".>",
	"$JS.API.CONSUMER.MSG.NEXT." + StreamName + ".>",
	"$JS.ACK." + StreamName + ".>",
	"$JS.FC." + StreamName + ".>",
	PublishSubject,
	"$SRV.PING", "$SRV.PING.>", "$SRV.INFO", "$SRV.INFO.>", "$SRV.STATS", "$SRV.STATS.>",
}

const (
	createConsumer = "$JS.API.CONSUMER.CREATE."
	createDurable  = "$JS.API.CONSUMER.DURABLE.CREATE."
)

// admitReaders prepares a server for connections that are not this process's own.
// They need no login, and are readers.
func admitReaders(options *server.Options, own login) {
	options.SyncAlways = true // a reader sees an event as soon as it is stored
	options.Users = []*server.User{
		{Username: own.User, Password: own.Password},
		{Username: readerUser, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: readerMaySend},
			Subscribe: &server.SubjectPermission{Allow: []string{readerInbox + ">"}},
		}},
	}
	options.NoAuthUser = readerUser
}

// gate takes connections of readers, and passes what they say on to the embedded
// server as far as it is harmless. The server's permissions are not enough: it
// checks where a client publishes, but not where the answer goes, and that may be
// the events' own subjects, or those of JetStream's API.
type gate struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error) // to the embedded server
	logger   *slog.Logger
	ctx      context.Context // ends with the gate
	cancel   context.CancelFunc
	running  sync.WaitGroup
	places   chan struct{} // one for each connection
}

const maxReaders = 256

func openGate(address string, dial func(context.Context) (net.Conn, error), logger *slog.Logger) (*gate, error) {
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("listening for readers: %w", err)
	}
	g := &gate{listener: listener, dial: dial, logger: logger, ctx: ctx, cancel: cancel, places: make(chan struct{}, maxReaders)}
	g.running.Go(g.accept)
	return g, nil
}

// close returns when the last connection has ended.
func (g *gate) close() error {
	g.cancel()
	err := g.listener.Close()
	g.running.Wait()
	return err
}

func (g *gate) accept() {
	for {
		select {
		case g.places <- struct{}{}:
		case <-g.ctx.Done():
			return
		}
		conn, err := g.listener.Accept()
		if err != nil {
			if g.ctx.Err() == nil {
				g.logger.LogAttrs(g.ctx, slog.LevelError, "no more readers are taken", slog.Any("error", err))
			}
			return
		}
		g.running.Go(func() {
			defer func() { <-g.places }()
			g.serve(conn)
		})
	}
}

// serve passes on what a reader and the server say, until one of them ends.
func (g *gate) serve(reader net.Conn) {
	defer reader.Close() //nolint:errcheck // there is nothing to be told
	inside, err := g.dial(g.ctx)
	if err != nil {
		return
	}
	defer inside.Close() //nolint:errcheck // as above
	stop := context.AfterFunc(g.ctx, func() { _, _ = reader.Close(), inside.Close() })
	defer stop()
	var answers sync.WaitGroup
	answers.Go(func() {
		_, _ = io.Copy(reader, inside) // an end is an end, whatever its reason
		_ = reader.Close()
	})
	err = passOn(inside, bufio.NewReaderSize(reader, wireBuffer))
	if errors.Is(err, errHarmful) {
		g.logger.LogAttrs(g.ctx, slog.LevelWarn, "a reader was cut off", slog.String("address", reader.RemoteAddr().String()), slog.Any("error", err))
	}
	_ = inside.Close()
	answers.Wait()
}

// errHarmful says that a reader asked for what could change something.
var errHarmful = errors.New("readers may not do this")

// maxRequest is more than any request to JetStream needs, and maxPublished what the
// server takes.
const (
	maxRequest   = 64 << 10
	maxPublished = maxPayload
)

// passOn passes commands on, as long as they are harmless.
func passOn(inside io.Writer, r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		command := bytes.Clone(line)
		verb, arguments, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		switch strings.ToUpper(string(verb)) {
		case "PUB", "HPUB":
			payload, err := readRequest(r, bytes.Fields(arguments), len(verb) == len("HPUB"))
			if err != nil {
				return err
			}
			command = append(command, payload...)
		case "CONNECT", "SUB", "UNSUB", "PING", "PONG":
		default:
			return fmt.Errorf("%w: %.20q", errHarmful, verb)
		}
		if _, err := inside.Write(command); err != nil {
			return err
		}
	}
}

// readRequest reads what follows one of
//
//	PUB <subject> [reply] <bytes>
//	HPUB <subject> [reply] <header bytes> <total bytes>
//
// and refuses answers that would go to something else than an inbox.
func readRequest(r *bufio.Reader, fields [][]byte, headers bool) ([]byte, error) {
	sizes := 1
	if headers {
		sizes = 2
	}
	n := len(fields) - sizes
	if n != 1 && n != 2 {
		return nil, errWire
	}
	if n == 2 && !bytes.HasPrefix(fields[1], []byte(readerInbox)) {
		return nil, fmt.Errorf("%w: an answer to %.80q", errHarmful, fields[1])
	}
	limit := maxRequest
	if string(fields[0]) == PublishSubject {
		limit = maxPublished
	}
	begin, size, err := requestSizes(fields[n:], limit)
	if err != nil {
		return nil, err
	}
	payload := make([]byte, size+len("\r\n"))
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, err
	}
	subject := string(fields[0])
	if strings.HasPrefix(subject, createConsumer) || strings.HasPrefix(subject, createDurable) {
		return payload, checkConsumer(payload[begin:size])
	}
	return payload, nil
}

// requestSizes gives where a payload's data begins, and its size, which has a limit.
func requestSizes(fields [][]byte, limit int) (begin, size int, err error) {
	size, err = strconv.Atoi(string(fields[len(fields)-1]))
	if err == nil && len(fields) == 2 {
		begin, err = strconv.Atoi(string(fields[0]))
	}
	if err != nil || begin < 0 || begin > size || size > limit {
		return 0, 0, errWire
	}
	return begin, size, nil
}

// checkConsumer wants a consumer that delivers to an inbox, if it delivers by
// itself. Members are found as the server finds them, in any case.
func checkConsumer(body []byte) error {
	var request struct {
		Config struct {
			DeliverSubject string `json:"deliver_subject"`
		} `json:"config"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return fmt.Errorf("%w: a consumer that can't be read", errHarmful)
	}
	if to := request.Config.DeliverSubject; to != "" && !strings.HasPrefix(to, readerInbox) {
		return fmt.Errorf("%w: a consumer that delivers to %.80q", errHarmful, to)
	}
	return nil
}
