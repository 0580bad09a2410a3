package logtest

import (
	"context"
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
)

const (
	// serversPatience is how long a cluster may take to come to rest.
	serversPatience = 30 * time.Second

	streamName = "MODELOG_EVENTS"
)

// Servers are external NATS servers: one alone, or a cluster.
type Servers struct {
	Options []*server.Options // of each
	mu      sync.Mutex
	running []*server.Server // nil where one is stopped
}

// StartServers starts n servers on ports of their own, which sync what they store, for as long as the
// test.
func StartServers(tb testing.TB, n int, change ...func(*server.Options)) *Servers {
	tb.Helper()
	s := &Servers{running: make([]*server.Server, n)}
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
		s.Options = append(s.Options, o)
	}
	tb.Cleanup(func() {
		for i := range n {
			s.Stop(i)
		}
	})
	for i := range n {
		if err := s.Start(i); err != nil {
			tb.Fatal(err)
		}
	}
	WaitFor(tb, "the cluster", s.Current)
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

// Start starts a server that was stopped, on its own store.
func (s *Servers) Start(i int) error {
	ns, err := server.NewServer(s.Options[i].Clone())
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

// Stop shuts a server down, if it runs.
func (s *Servers) Stop(i int) {
	s.mu.Lock()
	ns := s.running[i]
	s.running[i] = nil
	s.mu.Unlock()
	if ns != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
	}
}

// Current says whether all servers are in the cluster, know each other and have
// what its leader has.
func (s *Servers) Current() bool {
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

// URL names all servers, for a client.
func (s *Servers) URL() string {
	var urls []string
	for i := range s.Options {
		urls = append(urls, "nats://"+s.Address(i))
	}
	return strings.Join(urls, ",")
}

// Address is where a server listens.
func (s *Servers) Address(i int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Options[i].Port))
}

// Leader is the server that leads the log, once all replicas have all of it: an
// election that a lagging one takes part in may take ten seconds.
func (s *Servers) Leader(tb testing.TB) (leader int) {
	tb.Helper()
	if len(s.Options) == 1 {
		return 0
	}
	WaitFor(tb, "all replicas", func() bool {
		leader = -1
		if !s.Current() {
			return false
		}
		for i := range s.Options {
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

func (s *Servers) replica(i int, is func(ns *server.Server, account, stream string) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[i] != nil && is(s.running[i], server.DEFAULT_GLOBAL_ACCOUNT, streamName)
}

// WaitFor waits for a condition that nothing else tells of.
func WaitFor(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), serversPatience)
	defer cancel()
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
