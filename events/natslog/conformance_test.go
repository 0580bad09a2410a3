package natslog_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/events/natslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEmbeddedLogPassesTheSuite(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Harness {
		t.Helper()
		cfg := natslog.Config{Dir: t.TempDir()}
		return harness(t, func(t *testing.T) events.Log { t.Helper(); return openLog(t, cfg) })
	})
}

// harness is an open log that can be opened again.
func harness(t *testing.T, open func(*testing.T) events.Log) logtest.Harness {
	t.Helper()
	l := open(t)
	return logtest.Harness{
		Log: l,
		Reopen: func(t *testing.T) events.Log {
			t.Helper()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t)
			return l
		},
	}
}

func TestExternalLogPassesTheSuite(t *testing.T) {
	logtest.RunShared(t, harnessOf(logtest.StartServers(t, 1)))
}

func TestReplicatedLogPassesTheSuite(t *testing.T) {
	logtest.RunShared(t, harnessOf(logtest.StartServers(t, 3)))
}

// servers are external servers with the harness of a log on them.
type servers struct{ *logtest.Servers }

// harnessOf gives each test an empty log on the same servers.
func harnessOf(external *logtest.Servers) func(*testing.T) logtest.Harness {
	s := servers{external}
	return func(t *testing.T) logtest.Harness {
		t.Helper()
		logtest.WaitFor(t, "all servers", s.Current)
		withJetStream(t, s.URL(), func(js jetstream.JetStream) {
			if err := js.DeleteStream(t.Context(), natslog.StreamName); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
				t.Fatal(err)
			}
		})
		h := harness(t, s.open)
		h.Shared = &logtest.Shared{
			Replicated: len(s.Options) > 1,
			Open:       s.openOnLine,
			StopLeader: s.stopLeader,
		}
		return h
	}
}

// open opens the log once the server has taken away the one before.
func (s servers) open(t *testing.T) events.Log {
	t.Helper()
	var l *natslog.RemoteLog
	logtest.WaitFor(t, "the last log's end", func() bool {
		var err error
		if l, err = natslog.Connect(t.Context(), natslog.RemoteConfig{URL: s.URL()}); err == nil {
			closeAfter(t, l)
		} else if !errors.Is(err, events.ErrUnavailable) && !strings.Contains(err.Error(), "error creating store") { // a slow machine takes long to elect a leader
			t.Fatal(err)
		}
		return err == nil
	})
	return l
}

func (s servers) openOnLine(t *testing.T) (events.Log, logtest.Line) {
	t.Helper()
	var targets []string
	for i := range s.Options {
		targets = append(targets, s.Address(i))
	}
	line := openLine(t, targets...)
	return connect(t, natslog.RemoteConfig{URL: line.url(), AppendTimeout: 500 * time.Millisecond}), line
}

func (s servers) stopLeader(t *testing.T) (start func()) {
	t.Helper()
	i := s.Leader(t)
	s.Stop(i)
	return func() {
		if err := s.Start(i); err != nil {
			t.Error(err)
		}
	}
}
