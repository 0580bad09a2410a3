package natslog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelog/modelog/events"
)

// wire is a connection to the embedded server that speaks the part of NATS's
// client protocol that a log needs: HPUB, PUB, one SUB, and what comes of it. It
// sends a group as one write, and hands over what it reads in batches, headers as
// they stand; nats.go makes and takes a map for each message. Replay and the
// registrations of a crowd are the faster for it (docs/decisions/0009-wire.md). What
// happens once a start, such as making a stream, goes through nats.go.
//
// Its methods are safe for concurrent use.
type wire struct {
	conn    net.Conn
	inbox   string         // the subject of its subscription
	batches chan []message // what comes there; closed when the connection has ended

	lock sync.Mutex // of writing
	out  []byte     // what is being written, guarded by lock

	closed    chan struct{}
	closeOnce sync.Once
}

// message is what came to a subscription.
type message struct {
	subject, reply string
	// status and description are those of a message that has them instead of
	// data, empty otherwise.
	status, description string
	header              []events.HeaderField // as it came
	data                []byte
}

// value gives a header's value, empty if it isn't there.
func (m *message) value(name string) string {
	for _, f := range m.header {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

const (
	wireBuffer = 64 << 10
	// wireBatch bounds how many messages are handed over at once.
	wireBatch = 64
	// wireKeeps is how large a buffer is kept for the next write.
	wireKeeps = 1 << 20
)

// dialWire connects, and subscribes to what is sent to inbox. Up to room messages
// may wait to be taken; with more under way the server would be held up.
func dialWire(ns *server.Server, own login, inbox string, room int) (*wire, error) {
	conn, err := ns.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("connecting to the embedded server: %w", err)
	}
	w := &wire{conn: conn, inbox: inbox, batches: make(chan []message, room), closed: make(chan struct{})}
	r := bufio.NewReaderSize(conn, wireBuffer)
	if err := w.greet(r, own); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to the embedded server: %w", err), conn.Close())
	}
	go w.read(r)
	return w, nil
}

// helloOptions are what a client says of itself.
type helloOptions struct {
	login
	Verbose      bool   `json:"verbose"`
	Pedantic     bool   `json:"pedantic"`
	Protocol     int    `json:"protocol"`
	Headers      bool   `json:"headers"`
	NoResponders bool   `json:"no_responders"`
	Name         string `json:"name"`
	Language     string `json:"lang"`
	Version      string `json:"version"`
}

// greet ends when the server has confirmed the subscription.
func (w *wire) greet(r *bufio.Reader, own login) error {
	late := time.AfterFunc(startTimeout, func() { _ = w.conn.Close() }) // which is told by the next read
	defer late.Stop()
	if _, err := r.ReadSlice('\n'); err != nil { // INFO
		return err
	}
	hello, err := json.Marshal(helloOptions{login: own, Protocol: 1, Headers: true, NoResponders: true, Name: "modelog", Language: "go", Version: "1"})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w.conn, "CONNECT %s\r\nSUB %s 1\r\nPING\r\n", hello, w.inbox); err != nil {
		return err
	}
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(line, []byte("PONG")):
			return nil
		case bytes.HasPrefix(line, []byte("-ERR")):
			return fmt.Errorf("the server says %q", line)
		}
	}
}

// close returns when nothing more comes.
func (w *wire) close() {
	w.closeOnce.Do(func() {
		close(w.closed)
		_ = w.conn.Close() // nothing is lost by it
	})
	for range w.batches {
	}
}

// publish sends one message without headers.
func (w *wire) publish(subject, reply string, body []byte) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.out = fmt.Appendf(w.out[:0], "PUB %s %s %d\r\n%s\r\n", subject, reply, len(body), body)
	_, err := w.conn.Write(w.out)
	return err
}

// publishGroup sends events, each of which expects the sequence before its own,
// and says how many bytes went out before an error. A server that doesn't take
// them in time loses the connection.
func (w *wire) publishGroup(expect uint64, group []events.Encoded, reply string, timeout time.Duration) (sent int, err error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.out = w.out[:0]
	for i := range group {
		w.out = appendPublish(w.out, &group[i], reply, expect+uint64(i))
	}
	late := time.AfterFunc(timeout, func() { _ = w.conn.Close() }) // which is told by Write
	defer late.Stop()
	sent, err = w.conn.Write(w.out)
	if cap(w.out) > wireKeeps {
		w.out = nil
	}
	return sent, err
}

// The headers that Append puts before an event's own.
const (
	expectedLast   = jetstream.ExpectedLastSeqHeader + ": "
	expectedStream = jetstream.ExpectedStreamHeader + ": " + StreamName + "\r\n"
)

const headerBegin = "NATS/1.0\r\n"

// appendPublish appends the HPUB of an event that is to be stored after a
// sequence.
func appendPublish(b []byte, e *events.Encoded, reply string, last uint64) []byte {
	var digits [20]byte
	expected := strconv.AppendUint(digits[:0], last, 10)
	size := len(headerBegin) + len(expectedLast) + len(expected) + len("\r\n") + len(expectedStream) + len("\r\n")
	for _, f := range e.Header {
		size += len(f.Name) + len(": ") + len(f.Value) + len("\r\n")
	}
	b = append(append(append(append(b, "HPUB "...), e.Subject...), ' '), reply...)
	b = strconv.AppendInt(append(b, ' '), int64(size), 10)
	b = strconv.AppendInt(append(b, ' '), int64(size+len(e.Data)), 10)
	b = append(append(append(b, "\r\n"+headerBegin+expectedLast...), expected...), "\r\n"+expectedStream...)
	for _, f := range e.Header {
		b = append(append(append(append(b, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	return append(append(append(b, "\r\n"...), e.Data...), "\r\n"...)
}

// read hands over what comes, until the connection ends.
func (w *wire) read(r *bufio.Reader) {
	defer close(w.batches)
	var batch []message
	for {
		m, ok, err := w.next(r)
		if err != nil {
			return
		}
		if ok {
			if batch == nil {
				batch = make([]message, 0, wireBatch)
			}
			batch = append(batch, m)
		}
		if len(batch) == 0 || len(batch) < wireBatch && r.Buffered() > 0 {
			continue
		}
		select {
		case w.batches <- batch:
			batch = nil
		case <-w.closed:
			return
		}
	}
}

// next reads what the server sends next; ok is false when that is no message.
func (w *wire) next(r *bufio.Reader) (m message, ok bool, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return m, false, err
	}
	switch line[0] {
	case 'M', 'H':
		m, err = readMessage(r, line)
		return m, err == nil, err
	case 'P':
		if bytes.HasPrefix(line, []byte("PING")) {
			go w.pong() // a write under way may wait for what is read here
		}
	case '-':
		return m, false, fmt.Errorf("the server says %q", line)
	}
	return m, false, nil
}

func (w *wire) pong() {
	w.lock.Lock()
	defer w.lock.Unlock()
	_, _ = io.WriteString(w.conn, "PONG\r\n") // a connection that is lost is noticed by read
}

var errWire = errors.New("the server sent what can't be read")

// readMessage reads what follows one of
//
//	MSG <subject> <sid> [reply] <bytes>
//	HMSG <subject> <sid> [reply] <header bytes> <total bytes>
//
// The line and what follows it are one piece of memory, which nobody changes, so
// that texts are read where they are.
func readMessage(r *bufio.Reader, line []byte) (m message, err error) {
	fields, n := splitLine(line)
	sizes := 1
	if line[0] == 'H' {
		sizes = 2
	}
	if n -= sizes; n != 3 && n != 4 {
		return m, errWire
	}
	total, err := strconv.Atoi(string(fields[n+sizes-1]))
	if err != nil || total < 0 {
		return m, errWire
	}
	headers := 0
	if sizes == 2 {
		if headers, err = strconv.Atoi(string(fields[n])); err != nil || headers < 0 || headers > total {
			return m, errWire
		}
	}
	subject, reply := len(fields[1]), 0
	if n == 4 {
		reply = len(fields[3])
	}
	memory := make([]byte, 0, subject+reply+total+len("\r\n"))
	memory = append(memory, fields[1]...)
	if n == 4 {
		memory = append(memory, fields[3]...)
	}
	memory = memory[:cap(memory)]
	payload := memory[subject+reply:]
	if _, err := io.ReadFull(r, payload); err != nil {
		return m, err
	}
	text := unsafe.String(&memory[0], len(memory))
	m.subject, m.reply = text[:subject], text[subject:subject+reply]
	m.data = payload[headers:total:total]
	if headers > 0 {
		err = m.readHeader(text[subject+reply : subject+reply+headers])
	}
	return m, err
}

// maxFields is how many a line of the protocol has at most, with one more to tell
// a line that has too many.
const maxFields = 7

// splitLine splits a line at its spaces, of which the server writes one each.
func splitLine(line []byte) (fields [maxFields][]byte, n int) {
	rest := bytes.TrimRight(line, "\r\n")
	for more := true; more && n < maxFields; n++ {
		fields[n], rest, more = bytes.Cut(rest, []byte{' '})
	}
	return fields, n
}

// usualHeaders is how many headers an event has, those of Append included.
const usualHeaders = 14

func (m *message) readHeader(s string) error {
	first, rest, ok := strings.Cut(s, "\r\n")
	status, versioned := strings.CutPrefix(first, "NATS/1.0")
	if !ok || !versioned {
		return errWire
	}
	m.status, m.description, _ = strings.Cut(strings.TrimSpace(status), " ")
	m.header = make([]events.HeaderField, 0, usualHeaders)
	for {
		line, after, ok := strings.Cut(rest, "\r\n")
		if !ok || line == "" {
			return nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return errWire
		}
		m.header = append(m.header, events.HeaderField{Name: name, Value: strings.TrimLeft(value, " \t")})
		rest = after
	}
}

// messageOf takes over what nats.go has read.
func messageOf(m *nats.Msg) message {
	r := message{subject: m.Subject, reply: m.Reply, header: fieldsOf(m.Header), data: m.Data}
	r.status, r.description = r.value("Status"), r.value("Description")
	return r
}
