package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
)

// connections is how many clients write at once.
const connections = 16

// write is one request of the load. Every one of them asks for something new, so
// each that is acknowledged is one event, which carries the write's token.
type write struct {
	method, path string
	body         any
	actor        string
	key          string // idempotency key, empty for none
	token        string // in no other write
	read         string // see shown

	// What was answered.
	sequence uint64 // 0 while it isn't acknowledged
	answer   []byte
	compared bool // with what is shown since
}

// version reads the version that the answer to a registration shows.
func (w *write) version() api.Version {
	var v api.Version
	if err := json.Unmarshal(w.answer, &v); err != nil {
		panic(err) // an answer with success is a version
	}
	return v
}

func versionPath(v api.Version) string {
	return "/v1/models/" + v.Model + "/versions/" + strconv.Itoa(v.Version)
}

// shown gives the path that shows what the answer shows, empty for none.
func (w *write) shown() string {
	if _, registration := w.body.(handlers.VersionSpec); registration {
		return versionPath(w.version())
	}
	return w.read
}

// ledger is what a load asked for, and what it was told.
type ledger struct {
	lock   sync.Mutex
	writes []*write
	acked  int
	wanted int           // acknowledged writes at which reached is closed
	full   chan struct{} // closed when wanted is reached
}

// expect gives a channel that is closed after n more acknowledged writes.
func (l *ledger) expect(n int) <-chan struct{} {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.wanted, l.full = l.acked+n, make(chan struct{})
	return l.full
}

// ask keeps a write before it is sent.
func (l *ledger) ask(w *write) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.writes = append(l.writes, w)
}

// acknowledge keeps what was answered.
func (l *ledger) acknowledge(w *write, sequence uint64, answer []byte) {
	l.lock.Lock()
	defer l.lock.Unlock()
	w.sequence, w.answer = sequence, answer
	if l.acked++; l.acked == l.wanted {
		close(l.full)
	}
}

// do sends a write. An error means that no answer came; any answer but success
// is one that must not be.
func (l *ledger) do(ctx context.Context, client *http.Client, url string, w *write) (unexpected, lost error) {
	data, err := json.Marshal(w.body)
	if err != nil {
		return err, nil
	}
	r, err := http.NewRequestWithContext(ctx, w.method, url+w.path, bytes.NewReader(data))
	if err != nil {
		return err, nil
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Modelog-Actor", w.actor)
	if w.key != "" {
		r.Header.Set("Idempotency-Key", w.key)
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it was read, or the read failed
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	sequence, err := strconv.ParseUint(response.Header.Get("Modelog-Sequence"), 10, 64)
	if response.StatusCode >= http.StatusMultipleChoices || err != nil {
		return fmt.Errorf("%s %s: answered %s: %s", w.method, w.path, response.Status, answer), nil
	}
	l.acknowledge(w, sequence, answer)
	return nil, nil
}

const (
	loadModels  = 4
	loadTargets = 3
)

// prepare makes what the load is about.
func (l *ledger) prepare(ctx context.Context, url string) error {
	client, done := oneConnection()
	defer done()
	var all []*write
	for i := range loadModels {
		token := fmt.Sprintf("model %d", i)
		all = append(all, &write{
			method: http.MethodPost, path: "/v1/models", token: token, read: "/v1/models/" + loadModel(i),
			body: handlers.ModelSpec{Name: loadModel(i), Description: token},
		})
	}
	for i := range loadTargets {
		token := fmt.Sprintf("target %d", i)
		all = append(all, &write{
			method: http.MethodPut, path: loadTarget(i), token: token, read: loadTarget(i), body: handlers.TargetSpec{Description: token},
		})
	}
	for _, w := range all {
		w.actor, w.key = "preparer", strings.ReplaceAll(w.token, " ", "-")
		l.ask(w)
		if unexpected, lost := l.do(ctx, client, url, w); unexpected != nil || lost != nil {
			return fmt.Errorf("prepare the load: %w", firstOf(unexpected, lost))
		}
	}
	return nil
}

func loadModel(i int) string  { return "model-" + strconv.Itoa(i) }
func loadTarget(i int) string { return "/v1/targets/prod/target-" + strconv.Itoa(i) }

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// oneConnection gives a client with a connection of its own.
func oneConnection() (client *http.Client, done func()) {
	client = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1}}
	return client, client.CloseIdleConnections
}

// run writes from all connections until the server goes away or the context
// ends, and says what was answered that must not be. The writes follow from the
// seed and the round, but for their order.
func (l *ledger) run(ctx context.Context, url string, seed, round uint64) error {
	var group sync.WaitGroup
	unexpected := make(chan error, connections)
	for i := range connections {
		w := &writer{
			ledger: l, url: url, name: fmt.Sprintf("writer-%d-%d", round, i),
			chance: rand.New(rand.NewPCG(seed, round*connections+uint64(i))),
		}
		group.Go(func() { unexpected <- w.run(ctx) })
	}
	group.Wait()
	close(unexpected)
	for err := range unexpected {
		if err != nil {
			return err
		}
	}
	return nil
}

// writer is one connection's part of the load. What it writes about was made by
// itself, so it knows that nothing of it is so already.
type writer struct {
	ledger *ledger
	url    string
	name   string
	chance *rand.Rand
	count  int
}

func (w *writer) run(ctx context.Context) error {
	client, done := oneConnection()
	defer done()
	for {
		for write := range w.cycle() {
			w.ledger.ask(write)
			unexpected, lost := w.ledger.do(ctx, client, w.url, write)
			if lost != nil {
				return nil // the server is gone, which is what the load is for
			}
			if unexpected != nil {
				return unexpected
			}
		}
	}
}

func (w *writer) token() string {
	w.count++
	return fmt.Sprintf("%s-%d", w.name, w.count)
}

// register makes a write of a new version, with content that can be told apart.
func (w *writer) register() *write {
	token := w.token()
	versions := "/v1/models/" + loadModel(w.chance.IntN(loadModels)) + "/versions"
	return &write{
		method: http.MethodPost, path: versions, actor: w.name, key: "key-" + token, token: token,
		body: handlers.VersionSpec{
			Source: "s3://models/" + token, Description: token, Parameters: map[string]string{"seed": strconv.FormatUint(w.chance.Uint64(), 10)},
			Metrics: map[string]float64{"auc": w.chance.Float64()}, Tags: map[string]string{"by": w.name},
		},
	}
}

// cycle gives the registration of a version and then, as each is asked for, what
// is done with the version that came of it.
func (w *writer) cycle() iter.Seq[*write] {
	return func(yield func(*write) bool) {
		registration := w.register()
		if !yield(registration) {
			return
		}
		v := registration.version()
		stages := []string{"Staging", "Production"}
		steps := []func() *write{
			func() *write { return w.alias(v) },
			func() *write { return w.deploy(v) },
			func() *write { return w.promote(v, stages[0]) },
			func() *write { return w.promote(v, stages[1]) },
		}
		// A version that is in production already can't go there.
		w.chance.Shuffle(3, func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
		for _, step := range steps {
			if !yield(step()) {
				return
			}
		}
	}
}

func (w *writer) alias(v api.Version) *write {
	token := w.token()
	return &write{
		method: http.MethodPut, path: "/v1/models/" + v.Model + "/aliases/" + w.name, actor: w.name, token: token,
		body: handlers.Assignment{Version: v.Version, Reason: token},
	}
}

func (w *writer) promote(v api.Version, stage string) *write {
	token := w.token()
	return &write{
		method: http.MethodPost, path: versionPath(v) + "/promote", actor: w.name, token: token, read: versionPath(v),
		body: handlers.Promotion{To: stage, Reason: token, ArchiveExisting: w.chance.IntN(4) == 0},
	}
}

func (w *writer) deploy(v api.Version) *write {
	token := w.token()
	target := loadTarget(w.chance.IntN(loadTargets))
	return &write{
		method: http.MethodPost, path: target + "/deploy", actor: w.name, key: "key-" + token, token: token, read: target,
		body: handlers.Deployment{Model: v.Model, Ref: strconv.Itoa(v.Version), Reason: token},
	}
}
