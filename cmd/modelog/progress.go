package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress is a line on the terminal that says how far long work is, how fast it
// goes and when it will be done.
type progress struct {
	w     io.Writer // nil when nobody looks on
	what  string
	total uint64 // events, or bytes of a file; 0 if nobody knows
	now   func() time.Time

	begun, shown time.Time
}

// newProgress shows on stderr, if that is a terminal.
func (a *app) newProgress(what string, total uint64) *progress {
	p := &progress{what: what, total: total, now: time.Now}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = f
	}
	return p
}

const (
	progressEvery = 100 * time.Millisecond
	progressWidth = 24
)

// at says that the work has come so far.
func (p *progress) at(done uint64) {
	if p.w == nil {
		return
	}
	now := p.now()
	if p.begun.IsZero() {
		p.begun = now
	}
	if now.Sub(p.shown) < progressEvery {
		return
	}
	p.shown = now
	_, _ = io.WriteString(p.w, clearLine+p.line(done, now.Sub(p.begun))) // a lost line is no loss
}

func (p *progress) line(done uint64, took time.Duration) string {
	if p.total == 0 {
		return fmt.Sprintf("%s: %s", p.what, spelledCount(float64(done)))
	}
	part := min(float64(done)/float64(p.total), 1)
	full := int(part * progressWidth)
	line := fmt.Sprintf("%s [%s%s] %3.0f%%", p.what, strings.Repeat("#", full), strings.Repeat("-", progressWidth-full), 100*part)
	if done > 0 && part < 1 && took >= time.Second {
		left := time.Duration(float64(took) * (1 - part) / part)
		line += ", " + left.Round(time.Second).String() + " left"
	}
	return line
}

// clear takes the line away.
func (p *progress) clear() {
	if p.w != nil {
		_, _ = io.WriteString(p.w, clearLine)
	}
}
