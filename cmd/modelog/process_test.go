package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	startLimit = 30 * time.Second
	// stopLimit is what is promised from a SIGTERM to the exit.
	stopLimit = 10 * time.Second
)

// process is a modelog serve in a process of its own.
type process struct {
	cmd   *exec.Cmd
	log   *serverLog
	ended chan struct{} // closed when the process has ended
}

// launch starts a server's process; it doesn't wait until it listens. What the
// server logs goes to a writer.
func launch(cmd *exec.Cmd, log io.Writer) (*process, error) {
	p := &process{cmd: cmd, log: &serverLog{to: log, url: make(chan string, 1)}, ended: make(chan struct{})}
	cmd.Stderr = p.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // cmd.ProcessState tells how it ended
	}()
	return p, nil
}

// listening waits until the server takes requests, and gives its URL.
func (p *process) listening() (string, error) {
	select {
	case url := <-p.log.url:
		return url, nil
	case <-p.ended:
		return "", fmt.Errorf("the server ended (%v) before it listened:\n%s", p.cmd.ProcessState, p.log.end())
	case <-time.After(startLimit):
		p.kill()
		return "", fmt.Errorf("the server doesn't listen after %v:\n%s", startLimit, p.log.end())
	}
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails when it has ended already
	<-p.ended
}

// stop asks the server to end, and expects it to do so in time and with exit
// code 0.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
		p.kill()
		return fmt.Errorf("the server hasn't ended %v after SIGTERM:\n%s", stopLimit, p.log.end())
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("the server ended with %v after SIGTERM:\n%s", p.cmd.ProcessState, p.log.end())
	}
	return nil
}

// serverLog passes on what a server logs, and finds where it listens. Only the
// goroutine that copies the log writes to it.
type serverLog struct {
	to   io.Writer
	url  chan string // takes one without waiting
	line []byte      // the last one, as far as it has come
	last []byte      // the end of the log, for errors
}

var listeningLine = regexp.MustCompile(`"msg":"listening","url":"([^"]+)"`)

// Write implements io.Writer.
func (l *serverLog) Write(data []byte) (int, error) {
	l.line = append(l.line, data...)
	for {
		line, rest, whole := bytes.Cut(l.line, []byte("\n"))
		if !whole {
			break
		}
		if m := listeningLine.FindSubmatch(line); m != nil {
			l.url <- string(m[1])
		}
		l.line = append(l.line[:0], rest...)
	}
	const most = 4000
	l.last = append(l.last, data...)
	l.last = l.last[max(0, len(l.last)-most):]
	return l.to.Write(data)
}

// end gives the end of the log of a process that has ended.
func (l *serverLog) end() string { return string(l.last) }

// quickExit lets a process that was built with the race detector exit without
// waiting for a second.
const quickExit = "GORACE=atexit_sleep_ms=0"

// cleanEnvironment is this process's environment without what configures
// modelog.
func cleanEnvironment() []string {
	clean := []string{quickExit}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "MODELOG_") {
			clean = append(clean, v)
		}
	}
	return clean
}

// exitCodeOf gives the exit code of a process from the error of its run.
func exitCodeOf(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	default:
		return -1 // it didn't run
	}
}
