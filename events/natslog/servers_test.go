package natslog_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/modelog/modelog/events/natslog"
)

// servers are external NATS servers: one alone, or a cluster.
type servers struct {
	options []*server.Options
	mu      sync.Mutex
	running []*server.Server // nil where one is stopped
}

// startServers starts n servers, which sync what they store, for as long as the
// test.
func startServers(tb testing.TB, n int, change ...func(*server.Options)) *servers {
	tb.Helper()
	s := &servers{running: make([]*server.Server, n)}
	ports := freePorts(tb, 2*n)
	var routes []*url.URL
	for _, port := range ports[n:] {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))})
	}
	for i := range n {
		o := &server.Options{
			ServerName: fmt.Sprintf("s%d", i), Host: "127.0.0.1", Port: ports[i],
			JetStream: true, StoreDir: tb.TempDir(), SyncAlways: true,
			NoLog: true, NoSigs: true, DisableJetStreamBanner: true,
		}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[n+i], NoAdvertise: true, PoolSize: -1}
			o.Routes = slices.Concat(routes[:i], routes[i+1:])
		}
		for _, c := range change {
			c(o)
		}
		s.options = append(s.options, o)
	}
	tb.Cleanup(func() {
		for i := range n {
			s.stop(i)
		}
	})
	for i := range n {
		if err := s.start(i); err != nil {
			tb.Fatal(err)
		}
	}
	waitFor(tb, "the cluster", s.current)
	return s
}

func freePorts(tb testing.TB, n int) (ports []int) {
	tb.Helper()
	for range n {
		l := listen(tb)
		defer func() { _ = l.Close() }() // only its port is wanted
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func (s *servers) start(i int) error {
	ns, err := server.NewServer(s.options[i].Clone())
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.running[i] = ns
	s.mu.Unlock()
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("server %d isn't ready", i)
	}
	return nil
}

func (s *servers) stop(i int) {
	s.mu.Lock()
	ns := s.running[i]
	s.running[i] = nil
	s.mu.Unlock()
	if ns != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
	}
}

// current says whether all servers are in the cluster, know each other and have
// what its leader has.
func (s *servers) current() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.running)
	led := n == 1
	for _, ns := range s.running {
		if ns == nil || n > 1 && (!ns.JetStreamIsCurrent() || ns.NumRoutes() < n-1) {
			return false
		}
		led = led || ns.JetStreamIsLeader() && len(ns.JetStreamClusterPeers()) == n
	}
	return led
}

func (s *servers) url() string {
	var urls []string
	for i := range s.options {
		urls = append(urls, "nats://"+s.addr(i))
	}
	return strings.Join(urls, ",")
}

func (s *servers) addr(i int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.options[i].Port))
}

// leader is the server that leads the log, once all replicas have all of it: an
// election that a lagging one takes part in may take ten seconds.
func (s *servers) leader(t *testing.T) (leader int) {
	t.Helper()
	if len(s.options) == 1 {
		return 0
	}
	waitFor(t, "all replicas", func() bool {
		leader = -1
		if !s.current() {
			return false
		}
		for i := range s.options {
			if !s.replica(i, (*server.Server).JetStreamIsStreamCurrent) {
				return false
			}
			if s.replica(i, (*server.Server).JetStreamIsStreamLeader) {
				leader = i
			}
		}
		return leader >= 0
	})
	return leader
}

func (s *servers) replica(i int, is func(ns *server.Server, account, stream string) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[i] != nil && is(s.running[i], server.DEFAULT_GLOBAL_ACCOUNT, natslog.StreamName)
}

// waitFor waits for a condition that nothing else tells of.
func waitFor(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ctx := timeLimit(tb)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("waiting for %s: %v", what, ctx.Err())
		}
	}
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
