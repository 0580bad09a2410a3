package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startOn starts a server on a data directory. It ends with the test.
func startOn(t *testing.T, data string, flags ...string) (*process, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "modelog", append([]string{"serve", "--listen", "127.0.0.1:0", "--data", data}, flags...)...)
	cmd.Env = cleanEnvironment()
	p, err := launch(cmd, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	url, err := p.listening()
	if err != nil {
		t.Fatal(err)
	}
	return p, url
}

func TestAStopUnderLoadIsInOrderAndLosesNothing(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	server, url := startOn(t, data)
	l := &ledger{}
	if err := l.prepare(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	enough := l.expect(200)
	ended := make(chan error, 1)
	go func() { ended <- l.run(t.Context(), url, 1, 1) }()
	select {
	case <-enough:
	case err := <-ended:
		t.Fatalf("the load ended before the stop: %v", err)
	}
	begin := time.Now()
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	if err := <-ended; err != nil {
		t.Errorf("while it stopped: %v", err)
	}
	t.Logf("stopped in %v under load, after %d acknowledged writes", took, l.acked)

	_, url = startOn(t, data)
	client, done := oneConnection()
	defer done()
	c := newChecker(l, client)
	c.restarted(url)
	if _, err := c.check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAClientThatHangsDoesNotHoldUpTheStop begins a request and never ends it.
func TestAClientThatHangsDoesNotHoldUpTheStop(t *testing.T) {
	t.Parallel() // it waits for the patience to end
	server, url := startOn(t, filepath.Join(t.TempDir(), "data"))
	conn := hang(t.Context(), t, url)
	defer conn.Close() //nolint:errcheck // the server has cut it off
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	if log := server.log.end(); !strings.Contains(log, "requests that didn't end in time are cut off") {
		t.Errorf("the log doesn't tell of the client:\n%s", log)
	}
}

// hang sends a part of a request, and waits until the server is at it.
func hang(ctx context.Context, t *testing.T, url string) net.Conn {
	t.Helper()
	address := strings.TrimPrefix(url, "http://")
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST /v1/models HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", address)
	if err != nil {
		t.Fatal(err)
	}
	// The server asks for the body when it begins to read it.
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("the server said %q, %v", line, err)
	}
	return conn
}
