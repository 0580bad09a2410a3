package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/filter"
	"github.com/spf13/cobra"
)

// replayFlags are replay's own flags.
type replayFlags struct {
	from, until, filter    string
	speed                  string
	maxGap                 time.Duration
	toFile, toURL, intoDir string
}

func (a *app) replayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use: "replay", GroupID: "history", Short: "Stream past events again, in order", Args: cobra.NoArgs,
		Long: `Stream past events again, in the order of the log: to the terminal, to a file, to a URL, or
into a fresh registry. What comes while it runs is not part of it.

--to-file  writes each event as a structured CloudEvent on a line of its own.
--to-url   sends each as a structured CloudEvent by POST, one after another. On 429, 5xx and
           failed connections it tries again, with pauses, then it stops and says how to go on.
--into     makes a registry in a data directory that holds none, with the same sequences,
           ids and state digest. It takes the log from its beginning, without --filter.

--filter has the language of the other filters, with the attributes type, subject and authid.
--speed 1x keeps the pauses that were between the events, 10x makes them ten times as short,
and --max-gap says how long one may be at most.`,
		Example: `  modelog replay --from 4700 --filter "type LIKE 'dev.modelog.version.%' AND subject LIKE 'models/fraud/%'"
  modelog replay --from 2026-11-01T00:00:00Z --until 2026-11-02T00:00:00Z --speed 100x --max-gap 5s
  modelog replay --to-url https://receiver.example/events --from 4700
  modelog replay --into ./yesterday --until 2026-11-23T00:00:00Z`,
	}
	c := a.newClient(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "the first event: a sequence, or a time such as 2026-11-01T00:00:00Z")
	flags.StringVar(&f.until, "until", "", "the last event: a sequence, or a time")
	flags.StringVar(&f.filter, "filter", "", "only the events that it lets through")
	flags.StringVar(&f.speed, "speed", "max", "max, or how many times as fast as it happened, such as 1x or 10x")
	flags.DurationVar(&f.maxGap, "max-gap", 0, "the longest pause between two events, with --speed (default none)")
	flags.StringVar(&f.toFile, "to-file", "", "file to write the events to; it must not be there")
	flags.StringVar(&f.toURL, "to-url", "", "URL to send the events to")
	flags.StringVar(&f.intoDir, "into", "", "data directory to make a registry in; it must hold none")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := a.newReplay(c, f)
		if err != nil {
			return err
		}
		return r.run(cmd.Context())
	}
	return cmd
}

// replay is one run of the command.
type replay struct {
	app    *app
	client *client
	flags  replayFlags
	filter filter.Filter
	pace   *pacer
	to     replayTarget

	from, until uint64
	sent        uint64 // events that went to the target
	last        uint64 // the last one that did, or that the filter kept back
}

// replayTarget is where events are replayed to.
type replayTarget interface {
	// lines says whether it writes lines to the terminal.
	lines() bool
	// send takes the next event, and its JSON.
	send(ctx context.Context, e events.Event, shown jsontext.Value) error
	// finish ends it, once all were sent; abort ends it otherwise.
	finish(ctx context.Context, r *replay) error
	abort() error
}

func (a *app) newReplay(c *client, f replayFlags) (*replay, error) {
	r := &replay{app: a, client: c, flags: f}
	if err := f.check(); err != nil {
		return nil, err
	}
	var err error
	if r.filter, err = filter.Parse(filter.Events, f.filter); err != nil {
		return nil, usage("--filter: %v", err)
	}
	r.pace, err = newPacer(f.speed, f.maxGap)
	return r, err
}

func (f replayFlags) check() error {
	targets := 0
	for _, target := range []string{f.toFile, f.toURL, f.intoDir} {
		if target != "" {
			targets++
		}
	}
	switch {
	case targets > 1:
		return usage("--to-file, --to-url and --into are different places; choose one")
	case f.intoDir != "" && f.filter != "":
		return usage("--filter would leave gaps in the log of the registry that --into makes; leave it out")
	case f.intoDir != "" && f.from != "" && f.from != "1":
		return usage("--into makes a registry from the first event on; leave --from out")
	case f.maxGap < 0:
		return usage("--max-gap: must not be less than 0")
	case f.toURL != "":
		return checkReceiver(f.toURL)
	}
	return nil
}

func checkReceiver(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usage("--to-url: not a URL such as https://receiver.example/events")
	}
	return nil
}

func (r *replay) run(ctx context.Context) error {
	if err := r.resolve(ctx); err != nil {
		return err
	}
	var err error
	if r.to, err = r.target(ctx); err != nil {
		return err
	}
	if err = r.stream(ctx); err == nil {
		return r.to.finish(ctx, r)
	}
	return errors.Join(r.interrupted(ctx, err), r.to.abort())
}

// target opens what the events go to.
func (r *replay) target(ctx context.Context) (replayTarget, error) {
	switch f := r.flags; {
	case f.toFile != "":
		return newReplayFile(f.toFile)
	case f.toURL != "":
		return newReplayURL(f.toURL, wait), nil
	case f.intoDir != "":
		fresh, err := newFreshRegistry(ctx, f.intoDir)
		return &replayRegistry{fresh: fresh}, err
	default:
		return &replayTerminal{r.app.stdout, r.client.asJSON}, nil
	}
}

// resolve finds the sequences that --from and --until mean.
func (r *replay) resolve(ctx context.Context) error {
	r.client.asOf = r.flags.until
	state, err := r.client.state(ctx, false)
	if err != nil {
		return flagOfMoment("--until", err)
	}
	r.until, r.from = state.Sequence, 1
	if r.until == 0 {
		return usage("--until: no event was recorded at or before %s", r.flags.until)
	}
	if r.flags.from != "" {
		if r.from, err = r.firstFrom(ctx, r.flags.from); err != nil {
			return err
		}
	}
	if r.from > r.until {
		return usage("the range ends before it starts: --from %s is event %d, and the last event is %d", r.flags.from, r.from, r.until)
	}
	r.client.asOf = strconv.FormatUint(r.until, 10) // what comes later is another matter
	return nil
}

// firstFrom gives the first event from a sequence, or a moment, on.
func (r *replay) firstFrom(ctx context.Context, from string) (uint64, error) {
	r.client.asOf = from
	if sequence, err := strconv.ParseUint(from, 10, 64); err == nil {
		if sequence == 0 {
			return 0, usage("--from: the first event has the sequence 1")
		}
		_, err := r.client.state(ctx, false) // it is refused if it is of the future
		return sequence, flagOfMoment("--from", err)
	}
	moment, err := parseMoment("--from", from)
	if err != nil {
		return 0, err
	}
	r.client.asOf = moment.Add(-1).Format(time.RFC3339Nano)
	before, err := r.client.state(ctx, false)
	return before.Sequence + 1, flagOfMoment("--from", err)
}

// stream sends the events that the filter lets through.
func (r *replay) stream(ctx context.Context) error {
	bar := r.app.newProgress("replay", r.until-r.from+1)
	if r.to.lines() {
		bar.w = nil // they would stand in each other's way
	}
	defer bar.clear()
	r.last = r.from - 1
	return r.client.eachEvent(ctx, r.from-1, int(r.until-r.from+1), func(shown jsontext.Value, e events.Event) error {
		if e.Sequence != r.last+1 {
			return fmt.Errorf("%w: event %d comes where %d should", events.ErrMissing, e.Sequence, r.last+1)
		}
		if r.filter.Match(replayRow{e}) {
			if err := r.pace.until(ctx, e.Time); err != nil {
				return err
			}
			if err := r.to.send(ctx, e, shown); err != nil {
				return err
			}
			r.sent++
		}
		r.last = e.Sequence
		bar.at(r.last - r.from + 1)
		return nil
	})
}

// interrupted says how far a replay came, and how it goes on.
func (r *replay) interrupted(ctx context.Context, err error) error {
	code := exitCode(err)
	if ctx.Err() != nil {
		err, code = errors.New("interrupted"), handlers.ExitUnavailable
	}
	if r.flags.intoDir != "" {
		return &exitError{code, fmt.Errorf("the replay stopped at event %d: %w; nothing is left of it", r.last+1, err)}
	}
	return &exitError{code, fmt.Errorf("the replay stopped at event %d, after %s: %w; go on with --from %[1]d", r.last+1, countOf(int(r.sent), "event"), err)}
}

// replayRow shows an event to a filter.
type replayRow struct{ e events.Event }

// String gives a text that a filter asks for.
func (r replayRow) String(a filter.Attribute) string {
	switch a {
	case filter.Type:
		return r.e.Type()
	case filter.Subject:
		return r.e.Subject
	case filter.Principal:
		return r.e.Principal
	default:
		return ""
	}
}

// Int is for what events don't have.
func (replayRow) Int(filter.Attribute) int64 { return 0 }

// Tag is for what events don't have.
func (replayRow) Tag(string) (string, bool) { return "", false }

// Prompt says that an event isn't one.
func (replayRow) Prompt() bool { return false }

// pacer lets events through at the pace at which they happened, or faster.
type pacer struct {
	factor float64 // 0 for no pauses at all
	maxGap time.Duration
	now    func() time.Time
	wait   func(ctx context.Context, d time.Duration) error

	last time.Time // when the last event was recorded
	due  time.Time // when it was let through, or should have been
}

const maxSpeed = 1e9

func newPacer(speed string, maxGap time.Duration) (*pacer, error) {
	p := &pacer{maxGap: maxGap, now: time.Now, wait: wait}
	if speed == "max" {
		if maxGap > 0 {
			return nil, usage("--max-gap goes with a --speed such as 1x; at max there are no pauses")
		}
		return p, nil
	}
	factor, err := strconv.ParseFloat(strings.TrimSuffix(speed, "x"), 64)
	if err != nil || !strings.HasSuffix(speed, "x") || !(factor > 0) || factor > maxSpeed {
		return nil, usage("--speed: %q is neither max nor a number such as 1x or 10x", speed)
	}
	p.factor = factor
	return p, nil
}

// until waits until an event, recorded then, is due. Time that the events before took
// to be sent is made up for.
func (p *pacer) until(ctx context.Context, recorded time.Time) error {
	if p.factor == 0 {
		return nil
	}
	if p.last.IsZero() {
		p.last, p.due = recorded, p.now()
		return nil
	}
	gap := time.Duration(float64(recorded.Sub(p.last)) / p.factor)
	if p.maxGap > 0 {
		gap = min(gap, p.maxGap)
	}
	p.last, p.due = recorded, p.due.Add(gap)
	if left := p.due.Sub(p.now()); left > 0 {
		return p.wait(ctx, left)
	}
	return nil
}

// wait waits so long, or until the context ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// replayTerminal shows events as lines.
type replayTerminal struct {
	out    io.Writer
	asJSON bool
}

func (*replayTerminal) lines() bool { return true }

func (t *replayTerminal) send(_ context.Context, e events.Event, shown jsontext.Value) (err error) {
	if t.asJSON {
		_, err = fmt.Fprintf(t.out, "%s\n", shown)
	} else {
		row := eventRow(e)
		_, err = fmt.Fprintf(t.out, "%8s  %s  %-36s  %s\n", row[0], row[1], row[2], row[4])
	}
	return err
}

func (*replayTerminal) finish(context.Context, *replay) error { return nil }
func (*replayTerminal) abort() error                          { return nil }

// replayFile writes events to a file. What was written stays if the replay stops.
type replayFile struct{ file *os.File }

func newReplayFile(name string) (*replayFile, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, &exitError{handlers.ExitConflict, fmt.Errorf("%s exists already, and is left as it is; name another file with --to-file", name)}
	}
	if err != nil {
		return nil, usage("--to-file: %v", err)
	}
	return &replayFile{f}, nil
}

func (*replayFile) lines() bool { return false }

func (t *replayFile) send(_ context.Context, _ events.Event, shown jsontext.Value) error {
	_, err := t.file.Write(append(shown.Clone(), '\n'))
	return err
}

func (t *replayFile) finish(_ context.Context, r *replay) error {
	if err := errors.Join(t.file.Sync(), t.file.Close()); err != nil {
		return err
	}
	return r.report(t.file.Name(), "")
}

func (t *replayFile) abort() error { return t.file.Close() }

// replayRegistry makes a registry of the events.
type replayRegistry struct{ fresh *freshRegistry }

func (*replayRegistry) lines() bool { return false }

func (t *replayRegistry) send(ctx context.Context, e events.Event, _ jsontext.Value) error {
	encoded, err := events.Encode(e)
	if err != nil {
		return err
	}
	return t.fresh.add(ctx, e, encoded)
}

// finish puts the registry in place, if its state is the one that the events came
// from.
func (t *replayRegistry) finish(ctx context.Context, r *replay) error {
	verdict, err := t.fresh.finish(ctx)
	if err != nil {
		return errors.Join(err, t.fresh.discard())
	}
	state, err := r.client.state(ctx, true)
	if err == nil && state.Digest.SHA256 != verdict.Digest {
		err = &exitError{handlers.ExitVerify, fmt.Errorf("the events give the state digest %s, but the registry shows %s: "+
			"its state is not what its log gives; see modelog verify", verdict.Digest, state.Digest.SHA256)}
	}
	if err != nil {
		return errors.Join(err, t.fresh.discard())
	}
	if err := t.fresh.install(ctx); err != nil {
		return err
	}
	return r.report(t.fresh.data, verdict.Digest)
}

func (t *replayRegistry) abort() error { return t.fresh.discard() }

// Replayed says what a replay has done.
type Replayed struct {
	To     string `json:"to"`
	Events uint64 `json:"events"`
	From   uint64 `json:"from"`
	Until  uint64 `json:"until"`
	Digest string `json:"digest,omitempty"` // of the state of a registry that was made
}

func (r *replay) report(to, digest string) error {
	done := Replayed{to, r.sent, r.from, r.until, digest}
	return r.client.print(done, func(w io.Writer) error {
		if digest != "" {
			_, err := fmt.Fprintf(w, "replayed into %s: %s, state digest %s equals the registry's\n", to, countOf(int(r.sent), "event"), digest)
			return err
		}
		_, err := fmt.Fprintf(w, "replayed to %s: %s of those from %d to %d\n", to, countOf(int(r.sent), "event"), r.from, r.until)
		return err
	})
}
