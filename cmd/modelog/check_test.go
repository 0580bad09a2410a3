package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
)

var (
	// errLost says that a write which was acknowledged isn't on the log.
	errLost = errors.New("an acknowledged write is lost")
	// errUnseen says the same of an event that was shown.
	errUnseen = errors.New("an event that was shown is lost")
)

// checker looks at a registry after each restart, and remembers what it saw.
type checker struct {
	ledger *ledger
	client *http.Client
	url    string

	history   *history // of the events in seen
	seen      [][]byte // every event, as it was shown first
	confirmed int      // the events up to here were shown since the last restart
}

func newChecker(l *ledger, client *http.Client) *checker {
	return &checker{ledger: l, client: client, history: newHistory()}
}

// restarted makes the next check read the log from its beginning.
func (c *checker) restarted(url string) { c.url, c.confirmed = url, 0 }

// check reads the registry: what was acknowledged and what was ever shown is
// there, unchanged and once; the rest is there whole, or not at all. What has a
// key and got no answer is sent again. Then all of it is there, once, and the
// state is what the events give. It fails with errLost or errUnseen if something
// is missing, and says how many writes were sent again.
func (c *checker) check(ctx context.Context) (resent int, err error) {
	if err := c.look(ctx); err != nil {
		return 0, err
	}
	resent, err = c.resend(ctx)
	if err != nil {
		return resent, err
	}
	if err := c.look(ctx); err != nil {
		return resent, err
	}
	return resent, c.digest(ctx)
}

// look compares the log with the ledger.
func (c *checker) look(ctx context.Context) error {
	if err := c.read(ctx); err != nil {
		return err
	}
	if err := c.history.acknowledged(c.ledger); err != nil {
		return err
	}
	return c.answers(ctx)
}

// read reads the log to its end, and compares it with what was shown before.
func (c *checker) read(ctx context.Context) error {
	c.history.expect(c.ledger)
	for more := true; more; {
		var page api.EventList
		if err := c.get(ctx, fmt.Sprintf("/v1/events?limit=1000&after=%d", c.confirmed), &page); err != nil {
			return err
		}
		for _, raw := range page.Events {
			if err := c.next(raw); err != nil {
				return err
			}
		}
		more = page.NextCursor != ""
	}
	return c.ends()
}

// ends says what is lost when the log as it was ends with what was confirmed.
func (c *checker) ends() error {
	for _, w := range c.ledger.writes {
		if w.sequence > uint64(c.confirmed) {
			return fmt.Errorf("%w: %s, event %d; the log as it was ends at %d", errLost, w.token, w.sequence, c.confirmed)
		}
	}
	if n := c.confirmed; n < len(c.seen) {
		return fmt.Errorf("%w: event %d: %s", errUnseen, n+1, c.seen[n])
	}
	return nil
}

// next takes the next event of the log.
func (c *checker) next(raw []byte) error {
	n := c.confirmed
	switch {
	case n == len(c.seen):
		if err := c.history.add(raw); err != nil {
			return err
		}
		c.seen = append(c.seen, raw)
	case !bytes.Equal(raw, c.seen[n]):
		return fmt.Errorf("%w; it is now %s", c.ends(), raw)
	}
	c.confirmed++
	return nil
}

// answers compares what was acknowledged since the last check with what is shown
// as of then.
func (c *checker) answers(ctx context.Context) error {
	for _, w := range c.ledger.writes {
		if w.sequence == 0 || w.compared || w.shown() == "" {
			continue
		}
		w.compared = true
		shown, err := c.body(ctx, w.shown()+"?as_of="+strconv.FormatUint(w.sequence, 10))
		if err != nil {
			return err
		}
		if !bytes.Equal(shown, w.answer) {
			return fmt.Errorf("%s at sequence %d was answered %s, and is %s", w.token, w.sequence, w.answer, shown)
		}
	}
	return nil
}

// digest compares the state's digest with that of the events.
func (c *checker) digest(ctx context.Context) error {
	rebuilt := c.history.runner
	var state api.State
	if err := c.get(ctx, "/v1/state?compute=true", &state); err != nil {
		return err
	}
	digest, err := rebuilt.Digest(ctx, rebuilt.Visible())
	if err != nil {
		return err
	}
	if state.Sequence != rebuilt.Visible() || state.Digest == nil || state.Digest.SHA256 != digest {
		return fmt.Errorf("the state is %+v (%+v), a rebuild has sequence %d and digest %s", state, state.Digest, rebuilt.Visible(), digest)
	}
	return nil
}

// resend sends again what has a key and wasn't acknowledged. All of that must
// succeed.
func (c *checker) resend(ctx context.Context) (count int, err error) {
	for _, w := range c.ledger.writes {
		if w.sequence != 0 || w.key == "" {
			continue
		}
		if unexpected, lost := c.ledger.do(ctx, c.client, c.url, w); unexpected != nil || lost != nil {
			return count, fmt.Errorf("send again: %w", firstOf(unexpected, lost))
		}
		count++
	}
	return count, nil
}

// repeat sends again what was acknowledged, and wants the same answer.
func (c *checker) repeat(ctx context.Context, w *write) error {
	again := *w
	again.sequence, again.answer = 0, nil
	if unexpected, lost := (&ledger{}).do(ctx, c.client, c.url, &again); unexpected != nil || lost != nil {
		return fmt.Errorf("repeat: %w", firstOf(unexpected, lost))
	}
	if again.sequence != w.sequence || !bytes.Equal(again.answer, w.answer) {
		return fmt.Errorf("a repeat of %s was answered %s (sequence %d), and before %s (sequence %d)",
			w.token, again.answer, again.sequence, w.answer, w.sequence)
	}
	return nil
}

func (c *checker) get(ctx context.Context, path string, into any) error {
	data, err := c.body(ctx, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func (c *checker) body(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it was read, or the read failed
	data, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: answered %s: %s", path, response.Status, data)
	}
	return data, err
}

// history rebuilds the state from events, and finds the ledger's writes in them.
type history struct {
	runner   *runner.Runner
	writes   map[string]*write // by token
	found    map[string]uint64 // sequence by token
	versions map[ulid.ULID]int // by model, how many
	actors   map[string]string // principal by actor
}

func newHistory() *history {
	return &history{
		runner: runner.New(nil), writes: map[string]*write{}, found: map[string]uint64{},
		versions: map[ulid.ULID]int{}, actors: map[string]string{},
	}
}

// expect takes the writes that events may have come of.
func (h *history) expect(l *ledger) {
	for _, w := range l.writes[len(h.writes):] {
		h.writes[w.token] = w
	}
}

// add takes the next event.
func (h *history) add(raw []byte) error {
	e, err := readEvent(raw)
	if err != nil {
		return err
	}
	if want := h.runner.Tip().Sequence + 1; e.Sequence != want {
		return fmt.Errorf("event %d follows event %d", e.Sequence, want-1)
	}
	if err := h.runner.Replay(e); err != nil {
		return err
	}
	h.runner.Publish(e.Sequence)
	if r, ok := e.Data.(events.VersionRegistered); ok {
		if h.versions[r.ModelID]++; h.versions[r.ModelID] != r.Version {
			return fmt.Errorf("event %d registers version %d of a model that has %d", e.Sequence, r.Version, h.versions[r.ModelID]-1)
		}
	}
	return h.match(e)
}

// match finds the write that an event came of.
func (h *history) match(e events.Event) error {
	if e.Sequence == 1 {
		return nil
	}
	token := tokenOf(e.Data)
	w, ok := h.writes[token]
	if !ok {
		return fmt.Errorf("event %d came of no write: %+v", e.Sequence, e.Data)
	}
	if first, twice := h.found[token]; twice {
		return fmt.Errorf("%s is there twice, as event %d and as event %d", token, first, e.Sequence)
	}
	h.found[token] = e.Sequence
	if id, known := h.actors[w.actor]; e.Principal == "" || known && id != e.Principal {
		return fmt.Errorf("event %d was done by %q, who was %q before", e.Sequence, e.Principal, id)
	}
	h.actors[w.actor] = e.Principal
	return h.content(w, e)
}

// content compares an event with what was asked for.
func (h *history) content(w *write, e events.Event) error {
	same := false
	v := h.runner.At(e.Sequence)
	switch body := w.body.(type) {
	case handlers.ModelSpec:
		d, ok := e.Data.(events.ModelRegistered)
		same = ok && d.Name == body.Name
	case handlers.TargetSpec:
		d, ok := e.Data.(events.TargetDefined)
		same = ok && w.path == "/v1/targets/"+d.Environment+"/"+d.Name
	case handlers.VersionSpec:
		d, ok := e.Data.(events.VersionRegistered)
		same = ok && "/v1/"+v.Path(events.Resource{Root: e.Data.Resource().Root})+"/versions" == w.path && d.Source == body.Source &&
			d.Parameters["seed"] == body.Parameters["seed"] && d.Metrics["auc"] == body.Metrics["auc"] && d.Tags["by"] == w.actor
	case handlers.Assignment:
		d, ok := e.Data.(events.AliasAssigned)
		same = ok && "/v1/"+v.Path(e.Data.Resource()) == w.path && d.To == body.Version
	case handlers.Promotion:
		t, ok := transitionOf(e.Data)
		same = ok && "/v1/"+v.Path(e.Data.Resource())+"/promote" == w.path && t.To == body.To
	case handlers.Deployment:
		d, ok := e.Data.(events.DeploymentDeployed)
		same = ok && "/v1/"+v.Path(e.Data.Resource())+"/deploy" == w.path && len(d.Variants) == 1 && strconv.Itoa(d.Variants[0].Version) == body.Ref
	}
	if !same {
		return fmt.Errorf("event %d is %+v, and came of %s %s %+v", e.Sequence, e.Data, w.method, w.path, w.body)
	}
	return nil
}

// acknowledged looks for every write that was acknowledged.
func (h *history) acknowledged(l *ledger) error {
	for _, w := range l.writes {
		switch at, ok := h.found[w.token]; {
		case w.sequence == 0:
		case !ok:
			return fmt.Errorf("%w: %s, event %d; the log ends at %d", errLost, w.token, w.sequence, h.runner.Visible())
		case at != w.sequence:
			return fmt.Errorf("%s was acknowledged as event %d, and is event %d", w.token, w.sequence, at)
		}
	}
	return nil
}

// tokenOf gives the token of the write that an event came of.
func tokenOf(data events.Data) string {
	if t, ok := transitionOf(data); ok {
		return t.Reason.String()
	}
	switch d := any(data).(type) { // not of all kinds
	case events.ModelRegistered:
		return d.Description.String()
	case events.TargetDefined:
		return d.Description.String()
	case events.VersionRegistered:
		return d.Description.String()
	case events.AliasAssigned:
		return d.Reason.String()
	case events.DeploymentDeployed:
		return d.Reason.String()
	default:
		return ""
	}
}

func transitionOf(data events.Data) (events.Transition, bool) {
	switch d := any(data).(type) { // not of all kinds
	case events.VersionPromoted:
		return events.Transition(d), true
	case events.VersionDemoted:
		return events.Transition(d), true
	case events.VersionArchived:
		return events.Transition(d), true
	default:
		return events.Transition{}, false
	}
}
