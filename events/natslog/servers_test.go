package natslog_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/modelog/modelog/events/natslog"
)

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func connect(tb testing.TB, cfg natslog.RemoteConfig) *natslog.RemoteLog {
	tb.Helper()
	l, err := natslog.Connect(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	closeAfter(tb, l)
	return l
}

// line is a network between a client and the servers: see logtest.Line.
type line struct {
	listener net.Listener
	targets  []string
	running  sync.WaitGroup

	mu    sync.Mutex
	calm  *sync.Cond // for what is held
	held  bool
	lossy bool
	cut   bool
	conns map[net.Conn]bool // to whether it lost something
}

func openLine(t *testing.T, targets ...string) *line {
	t.Helper()
	listener := listen(t)
	l := &line{listener: listener, targets: targets, conns: map[net.Conn]bool{}}
	l.calm = sync.NewCond(&l.mu)
	l.running.Go(l.accept)
	t.Cleanup(func() {
		_ = listener.Close() // it was open
		l.Cut()
		l.running.Wait()
	})
	return l
}

func (l *line) url() string { return "nats://" + l.listener.Addr().String() }

func (l *line) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		target, err := l.dial()
		if err != nil {
			_ = client.Close() // as if it hadn't been taken
			continue
		}
		l.mu.Lock()
		l.conns[client], l.conns[target] = false, false
		refused := l.cut
		l.mu.Unlock()
		if refused {
			l.drop(client, target)
			continue
		}
		l.running.Go(func() { l.copy(target, client, l.requests) })
		l.running.Go(func() { l.copy(client, target, l.answers) })
	}
}

func (l *line) dial() (conn net.Conn, err error) {
	dialer := net.Dialer{Timeout: time.Second}
	err = errors.New("the line leads nowhere")
	for _, target := range l.targets {
		if conn, err = dialer.DialContext(context.Background(), "tcp", target); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (l *line) drop(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // an end that is closed twice is as well
		delete(l.conns, c)
	}
}

// copy carries what pass lets through, until an end is closed.
func (l *line) copy(to, from net.Conn, pass func(net.Conn) bool) {
	defer l.drop(to, from)
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && pass(to) {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *line) requests(net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.held {
		l.calm.Wait()
	}
	return true
}

func (l *line) answers(to net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lossy {
		l.conns[to] = true
	}
	return !l.lossy
}

func (l *line) set(held, lossy, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.lossy, l.cut = held, lossy, cut
	for c, lost := range l.conns {
		if cut || lost && !lossy {
			_ = c.Close() // its copies see to the rest
		}
	}
	l.calm.Broadcast()
}

func (l *line) Hold()   { l.set(true, false, false) }
func (l *line) Lose()   { l.set(false, true, false) }
func (l *line) Cut()    { l.set(false, false, true) }
func (l *line) Resume() { l.set(false, false, false) }
