package natslog_test

import (
	"testing"

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
		l := openLog(t, cfg)
		return logtest.Harness{
			Log: l,
			Reopen: func(t *testing.T) events.Log {
				t.Helper()
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = openLog(t, cfg)
				return l
			},
		}
	})
}
