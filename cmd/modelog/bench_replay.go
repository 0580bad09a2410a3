package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections/runner"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
)

// benchReading is what reading a log through has found.
type benchReading struct {
	Events  uint64  `json:"events"`
	Seconds float64 `json:"seconds"`
	// Of random reads at past sequences, in microseconds; absent for raw reading.
	P50 float64 `json:"p50_us,omitzero"`
	P99 float64 `json:"p99_us,omitzero"`
}

func (r benchReading) rate() float64 { return float64(r.Events) / r.Seconds }

// benchReplayCommand is the process that replays a log into state.
func (a *app) benchReplayCommand() *cobra.Command {
	return benchReader(a, "replay", "Replay a log into state, and read from it", replayLog)
}

// benchReadRawCommand is the process that reads a log with nothing around it.
func (a *app) benchReadRawCommand() *cobra.Command {
	return benchReader(a, "read-raw", "Read a log with an ordered consumer", readRawLog)
}

// benchReader is a process that reads a log, and prints what it has found.
func benchReader[T any](a *app, use, short string, read func(ctx context.Context, dir string) (T, error)) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: use, Short: short, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := read(cmd.Context(), data)
			if err != nil {
				return err
			}
			out, err := json.Marshal(r)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s\n", out)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory")
	return cmd
}

// readRawLog reads a log as quickly as nats.go can: with an ordered consumer, and
// a callback that does nothing.
func readRawLog(ctx context.Context, dir string) (r benchReading, err error) {
	ns, err := startRawServer(dir)
	if err != nil {
		return r, err
	}
	defer ns.WaitForShutdown()
	defer ns.Shutdown()
	nc, err := nats.Connect("", nats.InProcessServer(ns))
	if err != nil {
		return r, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return r, err
	}
	stream, err := js.Stream(ctx, natslog.StreamName)
	if err != nil {
		return r, err
	}
	r.Events = stream.CachedInfo().State.LastSeq
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return r, err
	}
	begin, done := time.Now(), make(chan struct{})
	left := r.Events
	reading, err := consumer.Consume(func(jetstream.Msg) {
		if left--; left == 0 {
			close(done)
		}
	}, jetstream.PullMaxMessages(rawReadAhead))
	if err != nil {
		return r, err
	}
	defer reading.Stop()
	select {
	case <-done:
	case <-ctx.Done():
		return r, ctx.Err()
	}
	r.Seconds = time.Since(begin).Seconds()
	return r, nil
}

const rawReadAhead = 8192 // messages; more makes it no faster

// replayLog rebuilds the state from the log alone, and reads from it at random.
func replayLog(ctx context.Context, dir string) (r benchReading, err error) {
	log, err := openLog(ctx, natslog.Config{Dir: dir, Reserve: -1})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	run := runner.New(log)
	begin := time.Now()
	if err := run.CatchUp(ctx, nil); err != nil {
		return r, err
	}
	r.Events, r.Seconds = run.Visible(), time.Since(begin).Seconds()
	r.P50, r.P99, err = readAtRandom(run)
	return r, err
}

// benchReads is how many random reads a percentile is of.
const benchReads = 200_000

// readAtRandom finds versions by alias as a GET does, each at a random moment of
// the past.
func readAtRandom(run *runner.Runner) (p50, p99 float64, err error) {
	chance := rand.New(rand.NewPCG(1, 2))
	if run.Visible() < 2*eventsPerModel {
		return 0, 0, fmt.Errorf("the history is too short: %d events", run.Visible())
	}
	took := make([]time.Duration, benchReads)
	for i := range took {
		sequence := eventsPerModel + 1 + chance.Uint64N(run.Visible()-eventsPerModel)
		name := benchHistoryModel(int(chance.Uint64N((sequence - 1) / eventsPerModel)))
		begin := time.Now()
		v := run.At(sequence)
		m, _, err := handlers.FindModel(v, name)
		if err != nil {
			return 0, 0, err
		}
		id, err := handlers.Resolve(v, m, "@"+benchAlias)
		if err != nil {
			return 0, 0, err
		}
		if _, _, ok := v.Version(id); !ok {
			return 0, 0, fmt.Errorf("%s/%d isn't there at %d", name, id.Version, sequence)
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	microseconds := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	return microseconds(took[len(took)/2]), microseconds(took[len(took)*99/100]), nil
}

// history measures reading, starting and holding a long history.
func (b *bench) history(ctx context.Context) (*benchLong, error) {
	dir := filepath.Join(b.dir, "history")
	h := benchHistory{}
	b.progress.step("write the history")
	if err := writeHistory(ctx, dir, h.tell(b.cfg.events)); err != nil {
		return nil, fmt.Errorf("write the history: %w", err)
	}
	long := &benchLong{Events: b.cfg.events, Versions: h.took}
	var runs benchLongRuns
	for run := range b.cfg.runs {
		b.progress.step(fmt.Sprintf("history, run %d of %d", run+1, b.cfg.runs))
		if err := b.historyOnce(ctx, dir, &runs); err != nil {
			return nil, fmt.Errorf("history, run %d of %d: %w", run+1, b.cfg.runs, err)
		}
	}
	long.judge(runs)
	return long, nil
}

// benchLongRuns gathers what each run found.
type benchLongRuns struct {
	raw, replay, p50, p99, cold, warm, memory, verify []float64
	resource, actor, time, listing, seal, proof       []float64
}

func (b *bench) historyOnce(ctx context.Context, dir string, runs *benchLongRuns) error {
	var raw, replay benchReading
	if err := b.child(ctx, &raw, "bench", "read-raw", "--data", dir); err != nil {
		return err
	}
	if err := b.child(ctx, &replay, "bench", "replay", "--data", dir); err != nil {
		return err
	}
	if err := removeSnapshots(dir); err != nil {
		return err
	}
	cold, most, err := b.bootLong(ctx, dir)
	if err != nil {
		return err
	}
	warm, memory, err := b.bootLong(ctx, dir)
	if err != nil {
		return err
	}
	verify, err := b.verifyLong(ctx, dir)
	if err != nil {
		return err
	}
	var asked benchAsking
	if err := b.child(ctx, &asked, "bench", "asks", "--data", dir); err != nil {
		return err
	}
	var sealed benchSealing
	if err := b.child(ctx, &sealed, "bench", "seal", "--data", dir); err != nil {
		return err
	}
	runs.resource, runs.actor = append(runs.resource, asked.Resource), append(runs.actor, asked.Actor)
	runs.time, runs.listing = append(runs.time, asked.Time), append(runs.listing, asked.Listing)
	runs.seal, runs.proof = append(runs.seal, sealed.Seconds), append(runs.proof, sealed.ProofP99)
	memory = max(memory, most)
	runs.raw, runs.replay = append(runs.raw, raw.rate()), append(runs.replay, replay.rate())
	runs.verify = append(runs.verify, verify)
	runs.p50, runs.p99 = append(runs.p50, replay.P50), append(runs.p99, replay.P99)
	runs.cold, runs.warm, runs.memory = append(runs.cold, cold), append(runs.warm, warm), append(runs.memory, memory)
	return nil
}

// bootLong starts a registry on a history, and stops it in order, which leaves a
// snapshot. It gives the time to /readyz and the most memory that was resident.
func (b *bench) bootLong(ctx context.Context, dir string) (ms, megabytes float64, err error) {
	server, err := b.startServer(ctx, "long", func(string) []string {
		return []string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}
	})
	if err != nil {
		return 0, 0, err
	}
	defer server.stop()
	if ms, err = b.untilReady(ctx, server); err != nil {
		return 0, 0, err
	}
	megabytes, err = peakMemory(server.process.Pid)
	if err != nil {
		return 0, 0, err
	}
	return ms, megabytes, server.terminate()
}
