package handlers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
)

// decider is a registrar's decisions without its loop and without a log: what
// it decides is applied, and nothing is ever appended.
func decider(given ...events.Data) *Registrar {
	run := runner.New(nil)
	state := fold() // numbers and dates the events
	for _, d := range append([]events.Data{events.RegistryCreated{RegistryID: registryID, Level: events.Level}}, given...) {
		e := factAfter(state, d)
		e.Sequence = run.Tip().Sequence + 1
		run.Apply(e)
	}
	return &Registrar{cfg: Config{Runner: run, Now: func() time.Time { return firstMoment.Add(time.Hour) }}}
}

func decideRequest(t *testing.T, r *Registrar, req Request) (Outcome, *events.Encoded, error) {
	t.Helper()
	if err := req.Check(); err != nil {
		return Outcome{}, nil, err
	}
	p := &pending{Request: req, id: newID}
	var err error
	if p.key, p.content, err = req.hashes(); err != nil {
		t.Fatal(err)
	}
	return r.decide(p)
}

func TestIfMatchComparesWithTheETagOfWhatTheCommandChanges(t *testing.T) {
	// 2 fraud, 3 and 4 its versions, 5 champion on 1, 6 the target, 7 its deployment of 1.
	given := all(
		registered(fraud, "fraud"), versions(fraud, 2), assigned(fraud, "champion", 1),
		defined(scorer, "scorer"), deployed(scorer, fraud, 1),
	)
	for _, c := range []struct {
		name string
		cmd  Command
		etag uint64 // 0 for what isn't there
	}{
		{"a model that isn't there", &RegisterModel{ModelSpec{Name: "churn"}}, 0},
		{"a version's model", &RegisterVersion{"fraud", VersionSpec{Source: "x"}}, 5},
		{"a version that an alias and a deployment have changed", &PromoteVersion{"fraud", "1", Promotion{To: "Staging"}}, 7},
		{"a version that nothing has changed", &PromoteVersion{"fraud", "latest", Promotion{To: "Staging"}}, 4},
		{"an alias", &AssignAlias{"fraud", "champion", Assignment{Version: 2}}, 5},
		{"an alias that isn't there", &AssignAlias{"fraud", "challenger", Assignment{Version: 2}}, 0},
		{"a target that isn't there", &DefineTarget{projections.TargetName{Environment: "prod", Name: "other"}, TargetSpec{}}, 0},
		{"a target to deploy to", &DeployVersion{prodScorer, Deployment{Model: "fraud", Ref: "2"}}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			if out, _, err := decideRequest(t, decider(given...), Request{Command: c.cmd, IfMatch: &c.etag}); err != nil || !out.Written() {
				t.Errorf("with If-Match %d: %v", c.etag, err)
			}
			for _, other := range []uint64{c.etag + 1, c.etag - 1, 0, 1} {
				if other == c.etag {
					continue
				}
				_, _, err := decideRequest(t, decider(given...), Request{Command: c.cmd, IfMatch: &other})
				wantRefusal(t, err, PreconditionError{Precondition: "If-Match", Want: other, Found: c.etag}, "")
			}
		})
	}
	// A rollback has something to go back to only after another deployment.
	r := decider(all(given, deployed(scorer, fraud, 2))...)
	now := uint64(8)
	if out, _, err := decideRequest(t, r, Request{Command: &RollBack{Target: prodScorer}, IfMatch: &now}); err != nil || !out.Written() {
		t.Errorf("a rollback with If-Match: %v", err)
	}
}

func TestAnIdempotencyKeyIsBoundWhenAnEventIsWritten(t *testing.T) {
	fraudModel := func() Command { return &RegisterModel{ModelSpec{Name: "fraud"}} }
	target := func() Command { return &DefineTarget{prodScorer, TargetSpec{}} }
	r := decider()
	first, event, err := decideRequest(t, r, Request{Command: fraudModel(), Key: "k"})
	if err != nil || event == nil {
		t.Fatalf("the first use: %v", err)
	}
	again, event, err := decideRequest(t, r, Request{Command: fraudModel(), Key: "k"})
	if want := (Outcome{Sequence: first.Sequence, Resource: first.Resource, Repeated: true}); err != nil || event != nil || !cmp.Equal(want, again, cmpopts.IgnoreUnexported(events.Event{})) {
		t.Errorf("the same again gives %+v (%v), want %+v", again, err, want)
	}
	_, _, err = decideRequest(t, r, Request{Command: &RegisterModel{ModelSpec{Name: "churn"}}, Key: "k"})
	wantRefusal(t, err, KeyReusedError{first.Sequence}, "event 2")
	_, _, err = decideRequest(t, r, Request{Command: target(), Key: "k"})
	wantRefusal(t, err, KeyReusedError{first.Sequence}, "")
	// Of a repeated request no precondition is asked again: it held then.
	stale := uint64(0)
	if again, _, err := decideRequest(t, r, Request{Command: fraudModel(), Key: "k", IfMatch: &stale}); err != nil || again.Sequence != first.Sequence {
		t.Errorf("with a precondition that held then: %+v (%v)", again, err)
	}
	// A refusal and what is already so bind nothing.
	_, _, err = decideRequest(t, r, Request{Command: fraudModel(), Key: "other"})
	wantRefusal(t, err, ExistsError{What: CodeModelExists, Name: "model fraud"}, "")
	if out, _, err := decideRequest(t, r, Request{Command: target(), Key: "other"}); err != nil || !out.Written() {
		t.Errorf("after a refusal the key is taken: %v", err)
	}
	if out, _, err := decideRequest(t, r, Request{Command: target(), Key: "third"}); err != nil || out.Written() || out.Sequence != 3 {
		t.Errorf("what is already so: %+v (%v)", out, err)
	}
	if out, _, err := decideRequest(t, r, Request{Command: &RegisterModel{ModelSpec{Name: "churn"}}, Key: "third"}); err != nil || !out.Written() {
		t.Errorf("after what was already so the key is taken: %v", err)
	}
}

func TestIdempotencyKeysAreVisibleASCIIOfLimitedLength(t *testing.T) {
	longest := strings.Repeat("k", 128)
	for key, rule := range map[string]string{
		"a": "", "!~": "", longest: "", "": "", longest + "k": "max_length",
		"a b": "visible_ascii", "a\n": "visible_ascii", "größe": "visible_ascii", "\x7f": "visible_ascii",
	} {
		req := Request{Command: &RegisterModel{ModelSpec{Name: "fraud"}}, Key: key}
		if err := req.Check(); rule != "" {
			wantRefusal(t, err, invalid("Idempotency-Key "+rule), "")
		} else if err != nil {
			t.Errorf("%q is refused: %v", key, err)
		}
	}
}

// TestAnEventSaysWhenItHappened: when it was recorded is the registry's to say.
func TestAnEventSaysWhenItHappened(t *testing.T) {
	r := decider()
	occurred := time.Date(2021, 3, 4, 5, 6, 7, 890_999_999, time.FixedZone("", 3600))
	request := func(at time.Time) Request {
		return Request{Command: &RegisterModel{ModelSpec{Name: "fraud"}}, Key: "k", OccurredAt: at}
	}
	out, _, err := decideRequest(t, r, request(occurred))
	if err != nil || !out.Written() {
		t.Fatal(err)
	}
	if want := time.Date(2021, 3, 4, 4, 6, 7, 890e6, time.UTC); out.Event.Occurred != want || !out.Event.Time.Equal(firstMoment.Add(time.Hour)) {
		t.Errorf("it happened at %v and was recorded at %v", out.Event.Occurred, out.Event.Time)
	}
	m, _, _ := r.cfg.Runner.Tip().Model("fraud")
	if !m.CreatedAt().Equal(out.Event.Occurred) || !m.UpdatedAt().Equal(out.Event.Occurred) {
		t.Errorf("the model was created at %v and updated at %v", m.CreatedAt(), m.UpdatedAt())
	}
	if again, _, err := decideRequest(t, r, request(occurred.Add(time.Hour))); err != nil || again.Sequence != out.Sequence {
		t.Errorf("the same at another time: %+v (%v)", again, err)
	}
	if out, _, err := decideRequest(t, r, Request{Command: &RegisterModel{ModelSpec{Name: "churn"}}}); err != nil || !out.Event.Occurred.IsZero() {
		t.Errorf("without a time it happened at %v (%v)", out.Event.Occurred, err)
	}
	for _, never := range []time.Time{time.UnixMilli(-1), time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		_, _, err := decideRequest(t, r, request(never))
		wantRefusal(t, err, invalid("Modelog-Occurred-Time time"), "")
	}
}

// Whatever a caller can write into a path or a field has a hash, or is refused.
func TestNamesThatAreNotUTF8AreRefused(t *testing.T) {
	bad := projections.TargetName{Environment: "pr\xffod", Name: "scorer"}
	for _, c := range []struct {
		cmd     Command
		refused InvalidError
	}{
		{&RegisterVersion{"\xff", VersionSpec{Source: "x"}}, invalid("model utf8")},
		{&PromoteVersion{"\xff", "\xff", Promotion{To: "\xff"}}, invalid("model utf8", "ref utf8", "/to utf8")},
		{&AssignAlias{"\xff", "champion", Assignment{Version: 1}}, invalid("model utf8")},
		{&DefineTarget{bad, TargetSpec{}}, invalid("environment target_characters")},
		{&DeployVersion{bad, Deployment{Model: "\xff", Ref: "\xff", Reason: "\xff"}}, invalid("environment utf8", "/model utf8", "/ref utf8", "/reason utf8")},
		{&RollBack{bad, Rollback{}}, invalid("environment utf8")},
	} {
		req := Request{Command: c.cmd, Key: "k"}
		wantRefusal(t, req.Check(), c.refused, "")
	}
	// What a program of ours puts together wrongly is refused at the latest here.
	wrong := &events.Signature{Inputs: []events.Object{{"shape": []int{3}}}}
	req := Request{Command: &RegisterVersion{"fraud", VersionSpec{Source: "x", Signature: wrong}}, Key: "k"}
	if err := req.Check(); err != nil {
		t.Fatal(err)
	}
	_, _, err := req.hashes()
	wantRefusal(t, err, invalid(" canonical"), "[]int is not a JSON value")
}

// Two commands with the same fields must not be taken for each other.
func TestTheHashOfARequestCoversItsKindAndEveryField(t *testing.T) {
	one := uint64(1)
	seen := map[events.Hash]Command{}
	for _, cmd := range []Command{
		&RegisterModel{ModelSpec{Name: "a"}}, &RegisterModel{ModelSpec{Name: "b"}}, &RegisterModel{ModelSpec{Name: "a", Description: "d"}},
		&RegisterModel{ModelSpec{Name: "a", Tags: map[string]string{"k": "v"}}}, &RegisterVersion{"a", VersionSpec{Source: "x"}},
		&RegisterVersion{"a", VersionSpec{Source: "y"}}, &RegisterVersion{"a", VersionSpec{Source: "x", Metrics: map[string]float64{"m": 1}}},
		&PromoteVersion{"a", "1", Promotion{To: "Staging"}}, &PromoteVersion{"a", "1", Promotion{To: "Staging", ArchiveExisting: true}},
		&PromoteVersion{"a", "1", Promotion{To: "Staging", Reason: "r"}}, &AssignAlias{"a", "b", Assignment{Version: 1}}, &AssignAlias{"a", "c", Assignment{Version: 1}},
		&AssignAlias{"a", "b", Assignment{Version: 1, IfVersion: &one}}, &AssignAlias{"a", "b", Assignment{Version: 1, IfVersion: new(uint64)}},
		&DefineTarget{prodScorer, TargetSpec{}}, &DefineTarget{prodScorer, TargetSpec{"d"}}, &DeployVersion{prodScorer, Deployment{Model: "a", Ref: "1"}},
		&DeployVersion{prodScorer, Deployment{Model: "a", Ref: "1", IfGeneration: &one}}, &RollBack{prodScorer, Rollback{}}, &RollBack{prodScorer, Rollback{To: 1}},
	} {
		req := Request{Command: cmd, Key: "k"}
		_, content, err := req.hashes()
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[content]; twice {
			t.Errorf("%+v and %+v have the same hash", cmd, other)
		}
		seen[content] = cmd
	}
}

func TestAnEventThatIsTooLargeIsRefusedNamingTheLargestField(t *testing.T) {
	large := func(n int) map[string]string {
		tags := map[string]string{}
		for i := range n {
			tags[strings.Repeat("k", i+1)] = strings.Repeat("v", 99_999)
		}
		return tags
	}
	for pointer, cmd := range map[string]Command{
		"/tags":        &RegisterModel{ModelSpec{Name: "churn", Tags: large(6)}},
		"/description": &RegisterVersion{"fraud", VersionSpec{Source: "x", Description: strings.Repeat("日", 100_000), Tags: large(2), Parameters: large(2)}},
		"/parameters":  &RegisterVersion{"fraud", VersionSpec{Source: "x", Parameters: large(6)}},
		"/signature":   &RegisterVersion{"fraud", VersionSpec{Source: "x", Tags: large(1), Signature: &events.Signature{Inputs: []events.Object{{"doc": strings.Repeat("v", 600_000)}}}}},
	} {
		t.Run(pointer, func(t *testing.T) {
			r := decider(registered(fraud, "fraud"))
			before, err := r.cfg.Runner.Digest(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			_, event, err := decideRequest(t, r, Request{Command: cmd, Key: "k"})
			wantRefusal(t, err, TooLargeError{Pointer: pointer, Limit: events.MaxEventBytes}, pointer)
			if tip := r.cfg.Runner.Tip(); event != nil || tip.Sequence != 2 {
				t.Errorf("it stays applied: the tip is %d", tip.Sequence)
			}
			if after, _ := r.cfg.Runner.Digest(t.Context(), 2); after != before {
				t.Error("the state is another than before")
			}
		})
	}
}

func TestTheEventOnTheLogHasWhatTheRequestCameWith(t *testing.T) {
	r := decider(registered(fraud, "Größe 100%"))
	req := Request{
		Command: &RegisterVersion{"Größe 100%", VersionSpec{Source: "x"}}, Principal: "prn_1", CorrelationID: "request", CausationID: "cause",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Key: "k",
	}
	out, encoded, err := decideRequest(t, r, req)
	if err != nil {
		t.Fatal(err)
	}
	key, content, err := req.hashes()
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.Decode(events.Stored{Sequence: out.Sequence, Encoded: *encoded})
	if err != nil {
		t.Fatal(err)
	}
	want := events.Event{
		Sequence: 3, ID: newID, Registry: registryID, Subject: "models/Gr%C3%B6%C3%9Fe%20100%25/versions/1", Time: firstMoment.Add(time.Hour),
		Principal: "prn_1", CorrelationID: "request", CausationID: "cause", TraceParent: req.TraceParent, Key: key, Request: content,
		Data: events.VersionRegistered{ModelID: fraud, Version: 1, Source: "x"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(events.Event{})); diff != "" {
		t.Error(diff)
	}
}

func TestRecordedTimesNeverGoBackwards(t *testing.T) {
	last := time.Date(2026, 11, 24, 2, 0, 0, 120e6, time.UTC)
	for _, c := range []struct {
		name      string
		now, want time.Time
	}{
		{"a later clock is taken, in whole milliseconds", last.Add(5_999_999), last.Add(5e6)},
		{"the same millisecond is taken", last.Add(999_999), last},
		{"an earlier clock is not", last.Add(-time.Hour), last},
		{"another zone is told in UTC", last.Add(time.Second).In(time.FixedZone("CET", 3600)), last.Add(time.Second)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := recordedAt(c.now, last); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
