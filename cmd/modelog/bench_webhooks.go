package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers"
	"golang.org/x/sync/errgroup"
)

// The bars of deliveries.
const (
	mostPublishRatio  = 1.3
	mostHealthyRatio  = 1.2
	leastDeliveryRate = 0.6 // of the bare loop's
	mostDeliveryMS    = 20
	mostIdleKB        = 8
)

// What is measured of deliveries.
const (
	benchWide      = 1_000 // subscriptions
	benchNarrow    = 2_000 // subscriptions, each to a model of its own
	benchHanging   = 50    // of them
	benchIdle      = 5_000 // subscriptions
	benchBacklog   = 100_000
	benchPublishes = 50 // beside each other, with and without the wide ones
	benchSlowPace  = 500 * time.Millisecond
	benchFastPace  = 20 * time.Millisecond
	benchTurns     = 2 // with the ones that hang, and without
	benchTurn      = 5 * time.Second
	benchSingles   = 200 // deliveries, one after another
)

// webhooks measures deliveries, to a receiver in a process of its own.
func (b *bench) webhooks(ctx context.Context) (*benchWebhookFigures, error) {
	receiver, err := b.startServer(ctx, "receiver", func(string) []string { return []string{"bench", "receive"} })
	if err != nil {
		return nil, err
	}
	defer receiver.stop()
	found := &benchWebhookFigures{}
	w := &benchWebhooks{bench: b, receiver: receiver, found: found}
	for _, m := range []struct {
		what    string
		measure func(ctx context.Context) error
	}{
		{"wide subscriptions", w.wide},
		{"endpoints that hang", w.hanging},
		{"a delivery on an idle system", w.single},
		{"deliveries and replays of a backlog", w.backlog},
		{"idle subscriptions", w.idle},
	} {
		b.progress.step(m.what)
		if err := m.measure(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w%s", m.what, err, receiver.lastWords())
		}
	}
	return found, nil
}

// benchWebhooks is one measurement of deliveries.
type benchWebhooks struct {
	*bench
	receiver *benchServer
	found    *benchWebhookFigures
}

// startOn starts a registry that delivers to the receiver, on a data directory of its
// own if dir is empty.
func (w *benchWebhooks) startOn(ctx context.Context, dir string) (*benchServer, error) {
	return w.startServer(ctx, "modelog", func(data string) []string { return w.serves(cmp.Or(dir, data)) })
}

func (w *benchWebhooks) serves(data string) []string {
	return []string{
		"serve", "--data", data, "--listen", "127.0.0.1:0", "--webhook-allow-http", "--webhook-allow-cidr", "127.0.0.0/8", "--webhook-handshake", "off",
	}
}

// subscribe makes subscriptions of which each(i) says more than the sink.
func (w *benchWebhooks) subscribe(ctx context.Context, server *benchServer, n int, path func(i int) string, each func(i int) map[string]any) (ids []string, err error) {
	c := w.client(server.url)
	ids = make([]string, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i := range n {
		group.Go(func() error {
			body := each(i)
			body["sink"] = w.receiver.url + path(i)
			answer, err := c.send(ctx, http.MethodPost, "/v1/subscriptions", body)
			if err != nil {
				return err
			}
			var made struct {
				ID string `json:"id"`
			}
			err = json.Unmarshal(answer, &made)
			ids[i] = made.ID
			return err
		})
	}
	return ids, group.Wait()
}

func toOK(int) string { return "/ok" }

// arrivals asks the receiver what has come since it was asked last.
func (w *benchWebhooks) arrivals(ctx context.Context, keep bool) (found benchArrivals, err error) {
	answer, err := w.client(w.receiver.url).send(ctx, http.MethodGet, "/arrivals?keep="+strconv.FormatBool(keep), nil)
	if err != nil {
		return found, err
	}
	return found, json.Unmarshal(answer, &found)
}

// publish describes a model, and gives how long that took and the event's webhook-id.
func (w *benchWebhooks) publish(ctx context.Context, server *benchServer, model string, n int) (ms float64, id string, err error) {
	tag := map[string]map[string]string{"tags": {"benched": strconv.Itoa(n)}}
	began := time.Now()
	answer, err := w.client(server.url).send(ctx, http.MethodPatch, path("models", model), tag)
	ms = milliseconds(time.Since(began))
	var changed struct {
		Sequence uint64 `json:"sequence"`
	}
	if err == nil {
		err = json.Unmarshal(answer, &changed)
	}
	return ms, fmt.Sprintf("evt_%020d", changed.Sequence), err
}

// registerModels registers n benched models.
func (w *benchWebhooks) registerModels(ctx context.Context, server *benchServer, n int) error {
	c := w.client(server.url)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i := range n {
		group.Go(func() error {
			_, err := c.send(ctx, http.MethodPost, "/v1/models", handlers.ModelSpec{Name: benchHistoryModel(i)})
			return err
		})
	}
	return group.Wait()
}

func p99(took []float64) float64 {
	slices.Sort(took)
	return took[len(took)*99/100]
}

// wide publishes on two registries in turn, one of which has subscriptions that want
// every event.
func (w *benchWebhooks) wide(ctx context.Context) error {
	var servers [2]*benchServer
	for i := range servers {
		server, err := w.startOn(ctx, "")
		if err != nil {
			return err
		}
		defer server.stop()
		servers[i] = server
		if err := w.registerModels(ctx, server, 1); err != nil {
			return err
		}
	}
	if _, err := w.subscribe(ctx, servers[1], benchWide, toOK, func(int) map[string]any { return map[string]any{} }); err != nil {
		return err
	}
	if err := w.quiet(ctx); err != nil {
		return err
	}
	var took [2][]float64
	ticks := time.NewTicker(benchSlowPace / 2)
	defer ticks.Stop()
	for n := range 2 * (benchPublishes + 2) { // two to warm up
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		ms, _, err := w.publish(ctx, servers[n%2], benchHistoryModel(0), n)
		if err != nil {
			return err
		}
		if n >= 4 {
			took[n%2] = append(took[n%2], ms)
		}
	}
	if err := w.quiet(ctx); err != nil {
		return err
	}
	w.found.wide(p99(took[0]), p99(took[1]))
	return nil
}

// quiet waits until nothing more comes to the receiver.
func (w *benchWebhooks) quiet(ctx context.Context) error {
	for {
		if err := sleep(ctx, time.Second/2); err != nil {
			return err
		}
		if found, err := w.arrivals(ctx, false); err != nil || found.Count == 0 {
			return err
		}
	}
}

// hanging publishes to models each of which one subscription wants, while some of the
// endpoints hang, and while they don't, in turn.
func (w *benchWebhooks) hanging(ctx context.Context) error {
	server, err := w.startOn(ctx, "")
	if err != nil {
		return err
	}
	defer server.stop()
	if err := w.registerModels(ctx, server, benchNarrow); err != nil {
		return err
	}
	to := func(i int) string {
		if i < benchHanging {
			return "/hang/" + strconv.Itoa(i)
		}
		return "/ok/" + strconv.Itoa(i)
	}
	_, err = w.subscribe(ctx, server, benchNarrow, to, func(i int) map[string]any {
		return map[string]any{"filters": []any{map[string]any{"exact": map[string]string{"subject": "models/" + benchHistoryModel(i)}}}}
	})
	if err != nil {
		return err
	}
	var took [2][]float64
	for turn := range 2 * benchTurns {
		hang := turn % 2
		if err := w.hang(ctx, server, hang == 1); err != nil {
			return err
		}
		some, err := w.healthy(ctx, server, turn)
		if err != nil {
			return err
		}
		took[hang] = append(took[hang], some...)
	}
	w.found.hanging(p99(took[0]), p99(took[1]))
	return nil
}

// hang makes endpoints hang, each with a delivery in flight, or lets them go on.
func (w *benchWebhooks) hang(ctx context.Context, server *benchServer, on bool) error {
	if _, err := w.client(w.receiver.url).send(ctx, http.MethodPost, "/hanging?on="+strconv.FormatBool(on), nil); err != nil || !on {
		return err
	}
	for i := range benchHanging {
		if _, _, err := w.publish(ctx, server, benchHistoryModel(i), int(time.Now().UnixNano())); err != nil {
			return err
		}
	}
	return nil
}

// healthy gives how long deliveries took to the endpoints that answer, from before the
// publishing.
func (w *benchWebhooks) healthy(ctx context.Context, server *benchServer, turn int) (took []float64, err error) {
	if err := w.quiet(ctx); err != nil {
		return nil, err
	}
	return w.deliveries(ctx, server, int(benchTurn/benchFastPace), benchFastPace, func(n int) string {
		model := benchHanging + n*37%(benchNarrow-benchHanging)
		if n%20 == 0 {
			model = n / 20 % benchHanging // which nobody waits for
		}
		return benchHistoryModel(model)
	}, func(n int) bool { return n%20 != 0 }, turn*1_000_000)
}

// deliveries publishes n times, at a pace, and gives how long those that count took from
// before the publishing until they came.
func (w *benchWebhooks) deliveries(
	ctx context.Context, server *benchServer, n int, pace time.Duration, model func(n int) string, counts func(n int) bool, tag int,
) (took []float64, err error) {
	if _, err := w.arrivals(ctx, true); err != nil {
		return nil, err
	}
	began := map[string]int64{}
	ticks := time.NewTicker(pace)
	defer ticks.Stop()
	for i := range n {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		at := time.Now().UnixNano()
		_, id, err := w.publish(ctx, server, model(i), tag+i)
		if err != nil {
			return nil, err
		}
		if counts(i) {
			began[id] = at
		}
	}
	deadline := time.Now().Add(benchStartTimeout)
	for len(began) > 0 {
		found, err := w.arrivals(ctx, true)
		if err != nil {
			return nil, err
		}
		for id, at := range found.At {
			if from, ok := began[id]; ok {
				took = append(took, float64(at-from)/1e6)
				delete(began, id)
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s never came", countOf(len(began), "event"))
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// single measures deliveries one after another.
func (w *benchWebhooks) single(ctx context.Context) error {
	server, err := w.startOn(ctx, "")
	if err != nil {
		return err
	}
	defer server.stop()
	if err := w.registerModels(ctx, server, 1); err != nil {
		return err
	}
	if _, err := w.subscribe(ctx, server, 1, toOK, func(int) map[string]any { return map[string]any{} }); err != nil {
		return err
	}
	if err := w.quiet(ctx); err != nil {
		return err
	}
	took, err := w.deliveries(ctx, server, benchSingles, benchFastPace, func(int) string { return benchHistoryModel(0) }, func(int) bool { return true }, 0)
	if err != nil {
		return err
	}
	w.found.single(p99(took))
	return nil
}

// backlog measures how quickly a subscription gets a long past, at first and again, each
// beside the bare loop.
func (w *benchWebhooks) backlog(ctx context.Context) error {
	dir := filepath.Join(w.dir, "backlog")
	h := benchHistory{}
	if err := writeHistory(ctx, dir, h.tell(benchBacklog)); err != nil {
		return err
	}
	server, err := w.startOn(ctx, dir)
	if err != nil {
		return err
	}
	defer server.stop()
	var delivered, replayed []float64
	for range min(w.cfg.runs, benchTurns) {
		bare, err := w.bare(ctx)
		if err != nil {
			return err
		}
		rate, ids, err := w.backlogOnce(ctx, server)
		if err != nil {
			return err
		}
		delivered = append(delivered, rate/bare)
		w.found.rates(bare, rate)
		if len(replayed) > 0 { // once takes long enough
			continue
		}
		again, err := w.replayOnce(ctx, server, ids[0])
		if err != nil {
			return err
		}
		replayed = append(replayed, again/bare)
	}
	w.found.backlog(delivered, replayed)
	return nil
}

// bare gives the rate of the bare loop.
func (w *benchWebhooks) bare(ctx context.Context) (rate float64, err error) {
	const likeAnEvent = 900 // bytes: the median of the history's
	err = w.child(ctx, &rate, "bench", "post", "--to", w.receiver.url+"/bare", "--size", strconv.Itoa(likeAnEvent),
		"--seconds", strconv.FormatFloat(w.cfg.seconds, 'g', -1, 64))
	return rate, err
}

// backlogOnce makes a subscription to the whole past, and waits until it has it.
func (w *benchWebhooks) backlogOnce(ctx context.Context, server *benchServer) (rate float64, ids []string, err error) {
	if _, err := w.arrivals(ctx, false); err != nil {
		return 0, nil, err
	}
	ids, err = w.subscribe(ctx, server, 1, toOK, func(int) map[string]any { return map[string]any{"ordering": "none", "start": 0} })
	if err != nil {
		return 0, nil, err
	}
	rate, err = w.untilAll(ctx)
	return rate, ids, err
}

// untilAll waits until the whole backlog has come, and gives its rate.
func (w *benchWebhooks) untilAll(ctx context.Context) (rate float64, err error) {
	var all benchArrivals
	deadline := time.Now().Add(2 * time.Minute)
	for all.Count < benchBacklog {
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
		found, err := w.arrivals(ctx, false)
		switch {
		case err != nil:
			return 0, err
		case found.Count == 0 && time.Now().After(deadline):
			return 0, fmt.Errorf("%d of %d events came", all.Count, benchBacklog)
		case found.Count == 0:
			continue
		case all.Count == 0:
			all.First = found.First
		}
		all.Count += found.Count
		all.Last = found.Last
	}
	return all.rate(), nil
}

// replayOnce has the backlog delivered again.
func (w *benchWebhooks) replayOnce(ctx context.Context, server *benchServer, id string) (rate float64, err error) {
	if err := w.quiet(ctx); err != nil {
		return 0, err
	}
	replay := map[string]any{"from": 1, "to": benchBacklog}
	if _, err := w.client(server.url).send(ctx, http.MethodPost, "/v1/subscriptions/"+url.PathEscape(id)+"/replays", replay); err != nil {
		return 0, err
	}
	return w.untilAll(ctx)
}

// idle measures the memory of subscriptions that get nothing: what is alive in a
// registry with many, started anew, above that of one with none.
func (w *benchWebhooks) idle(ctx context.Context) error {
	var alive [2]float64
	for i, n := range []int{0, benchIdle} {
		dir := filepath.Join(w.dir, "idle-"+strconv.Itoa(n))
		server, err := w.startOn(ctx, dir)
		if err != nil {
			return err
		}
		_, err = w.subscribe(ctx, server, n, toOK, func(i int) map[string]any {
			return map[string]any{"filters": []any{map[string]any{"prefix": map[string]string{"subject": "models/" + benchHistoryModel(i) + "/"}}}}
		})
		if err == nil {
			err = server.terminate()
		}
		server.stop()
		if err != nil {
			return err
		}
		if alive[i], err = w.alive(ctx, dir); err != nil {
			return err
		}
	}
	w.found.idle((alive[1] - alive[0]) / 1000 / benchIdle)
	return nil
}

// benchSettled is how long a registry takes after its start until it holds only what it
// needs: its server holds what it has read for a few seconds.
const benchSettled = 12 * time.Second

// alive gives the bytes that are in use in a registry which has come to rest. It collects
// garbage all the time, so that the least that is seen is what is alive.
func (w *benchWebhooks) alive(ctx context.Context, dir string) (bytes float64, err error) {
	server, err := w.startProgram(ctx, "modelog", func(ctx context.Context, _ string) *exec.Cmd {
		cmd := w.command(ctx, w.serves(dir)...)
		cmd.Env = append(cmd.Env, "GOGC=1")
		return cmd
	}, (*benchServer).listening)
	if err != nil {
		return 0, err
	}
	defer server.stop()
	if err := sleep(ctx, benchSettled); err != nil {
		return 0, err
	}
	for range 200 {
		answer, err := w.client(server.url).send(ctx, http.MethodGet, "/metrics", nil)
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(answer), "\ngo_memstats_heap_alloc_bytes ")
		var now float64
		if _, err := fmt.Sscan(rest, &now); err != nil {
			return 0, fmt.Errorf("/metrics doesn't say how much is in use: %w", err)
		}
		if bytes == 0 || now < bytes {
			bytes = now
		}
	}
	return bytes, nil
}
