package natslog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
)

// serverLogger writes the embedded server's lines to a slog.Logger. What the
// server calls a notice (start, stop, recovery) is detail to an operator of
// modelog, so it goes out as debug.
type serverLogger struct {
	log *slog.Logger
	// fatal is the last line that would have ended a stand-alone server.
	fatal atomic.Pointer[string]
}

func (l *serverLogger) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l *serverLogger) Errorf(format string, v ...any)  { l.write(slog.LevelError, format, v) }

// Warnf leaves out what the server says of this process's own login, which is
// never written down, and of readers, who need none.
func (l *serverLogger) Warnf(format string, v ...any) {
	if !strings.HasPrefix(format, "Plaintext passwords") {
		l.write(slog.LevelWarn, format, v)
	}
}

// Fatalf keeps the line, which tells startServer why there is no server. Unlike
// a stand-alone server's, it lets the process live.
func (l *serverLogger) Fatalf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.fatal.Store(&line)
	l.write(slog.LevelError, format, v)
}

// Debugf and Tracef do nothing: they tell of every message.
func (*serverLogger) Debugf(string, ...any) {}

// Tracef does nothing, as Debugf.
func (*serverLogger) Tracef(string, ...any) {}

func (l *serverLogger) write(level slog.Level, format string, v []any) {
	ctx := context.Background() // the server has none to give
	if l.log.Enabled(ctx, level) {
		l.log.LogAttrs(ctx, level, fmt.Sprintf(format, v...), slog.String("from", "nats-server"))
	}
}
