package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
)

// ran is what a command did.
type ran struct {
	exit     int
	out, err string
}

// runAt runs the program against a registry, with variables beside a clean
// environment.
func runAt(t *testing.T, url string, variables []string, args ...string) ran {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd := commandAt(t.Context(), url, variables, args...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	return ran{exitCodeOf(cmd.Run()), out.String(), stderr.String()}
}

func commandAt(ctx context.Context, url string, variables []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "modelog", args...)
	for _, v := range cleanEnvironment() { // nor what a CI job's events are named after
		if !strings.HasPrefix(v, "GITHUB_") && !strings.HasPrefix(v, "CI_") && !strings.HasPrefix(v, "K_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(append(cmd.Env, "MODELOG_URL="+url, "MODELOG_ACTOR=ci"), variables...)
	return cmd
}

// subjects gives the subjects of a registry's events, but for that of its own.
func subjects(t *testing.T, url string) (all []string) {
	t.Helper()
	got := runAt(t, url, nil, "log", "--json", "--limit", "500")
	for line := range strings.Lines(got.out) {
		e, err := events.ReadEvent([]byte(strings.TrimSpace(line)))
		if err != nil {
			t.Fatalf("%v: %s", err, got.out)
		}
		if e.Sequence > 1 {
			all = append(all, e.Subject)
		}
	}
	return all
}

// keepModels puts events of models into a spool, as publish does, and gives their
// subjects.
func keepModels(t *testing.T, dir string, n int) (all []string) {
	t.Helper()
	for i := range n {
		subject := fmt.Sprintf("models/m%d", i)
		event := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"/ci","type":"dev.modelog.model.registered.v1","subject":%q}`, i, subject)
		if _, err := (spool{dir}).add(time.Now(), []byte(event)); err != nil {
			t.Fatal(err)
		}
		all = append(all, subject)
	}
	return all
}

// A file that a crash left half written is never sent. One that something else has cut
// is refused, and put aside.
func TestATornFileIsNeverSent(t *testing.T) {
	_, url := startOn(t, filepath.Join(t.TempDir(), "data"))
	dir := t.TempDir()
	want := keepModels(t, dir, 2)
	whole, err := (spool{dir}).files()
	if err != nil {
		t.Fatal(err)
	}
	event, err := os.ReadFile(whole[0])
	if err != nil {
		t.Fatal(err)
	}
	event = bytes.ReplaceAll(event, []byte("m0"), []byte("torn"))
	for name, data := range map[string][]byte{".new-1": event, ".new-2": event[:20], ".a.json": event, "a.txt": event, "20200101T000000.000000000-1.json": event[:20], "20200101T000000.000000000-2.json": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := runAt(t, url, nil, "flush", "--spool", dir)
	if got.exit != handlers.ExitInvalid || !strings.Contains(got.out, "2 sent, 2 refused") {
		t.Errorf("flush: %+v", got)
	}
	if got := subjects(t, url); !slices.Equal(got, want) {
		t.Errorf("%v were sent, want %v", got, want)
	}
	problem, err := os.ReadFile(filepath.Join(dir, refusedDir, "20200101T000000.000000000-1.problem.json"))
	if err != nil || !strings.Contains(string(problem), "JSON") {
		t.Errorf("beside it: %s, %v", problem, err)
	}
	if got := runAt(t, url, nil, "flush", "--spool", dir); got.exit != 0 || !strings.Contains(got.out, "0 sent") {
		t.Errorf("flush again: %+v", got)
	}
}

// An event that publish said it kept is there, whole, however it was killed.
func TestAKilledPublishLeavesWholeEventsOnly(t *testing.T) {
	_, url := startOn(t, filepath.Join(t.TempDir(), "data"))
	dir := t.TempDir()
	begin := time.Now()
	if got := runAt(t, url, nil, "publish", "--type", "model.registered", "--subject", "models/first", "--spool", dir, "--spool-only"); got.exit != 0 {
		t.Fatalf("publish: %+v", got)
	}
	usual := time.Since(begin)
	kept := []string{"models/first"}
	for i := range 12 {
		ctx, cancel := context.WithTimeout(t.Context(), usual/2+rand.N(usual))
		subject := fmt.Sprintf("models/m%d", i)
		out, _ := commandAt(ctx, url, nil, "publish", "--type", "model.registered", "--subject", subject, "--spool", dir, "--spool-only").Output()
		cancel()
		if strings.Contains(string(out), "kept in") {
			kept = append(kept, subject)
		}
	}
	if got := runAt(t, url, nil, "flush", "--spool", dir); got.exit != 0 {
		t.Errorf("flush: %+v", got)
	}
	sent := subjects(t, url)
	for _, subject := range kept {
		if !slices.Contains(sent, subject) {
			t.Errorf("%s was kept, and isn't sent; %v are", subject, sent)
		}
	}
}

// TestFlushesThatAreKilledAndAtOnceSendAllInOrderOnce sends a spool with several
// flushes beside each other, some of which are killed.
func TestFlushesThatAreKilledAndAtOnceSendAllInOrderOnce(t *testing.T) {
	_, url := startOn(t, filepath.Join(t.TempDir(), "data"))
	dir := t.TempDir()
	want := keepModels(t, dir, 60)
	var killed sync.WaitGroup
	for range 3 {
		killed.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond+rand.N(200*time.Millisecond))
			defer cancel()
			_ = commandAt(ctx, url, nil, "flush", "--spool", dir).Run()
		})
	}
	killed.Wait()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if got := runAt(t, url, nil, "flush", "--spool", dir); got.exit != 0 {
				t.Errorf("flush: %+v", got)
			}
		})
	}
	both.Wait()
	if got := subjects(t, url); !slices.Equal(got, want) {
		t.Errorf("%v were sent, want %v", got, want)
	}
	if left, err := (spool{dir}).files(); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// What another flush has sent or put aside meanwhile is none of this one's business.
func TestAFlushLeavesToAnotherWhatThatHasDone(t *testing.T) {
	for status, exit := range map[int]int{http.StatusCreated: 0, http.StatusNotFound: handlers.ExitNotFound} {
		dir := t.TempDir()
		keepModels(t, dir, 3)
		requests := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			files, err := spool{dir}.files()
			for _, name := range files {
				err = errors.Join(err, os.Remove(name))
			}
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"status":%d,"code":"model_not_found","title":"Model not found"}`, status)
		}))
		got := runAt(t, server.URL, nil, "flush", "--spool", dir)
		server.Close()
		if got.exit != exit || requests != 1 {
			t.Errorf("%d: %d requests, %+v", status, requests, got)
		}
	}
}

// TestPublishAndFlushExitAsTheySay walks through the exit codes of their help.
func TestPublishAndFlushExitAsTheySay(t *testing.T) {
	_, url := startOn(t, filepath.Join(t.TempDir(), "data"))
	const away = "http://127.0.0.1:1"
	dir := t.TempDir()
	if got := runAt(t, url, nil, "register", "fraud", "--create-model", "--source", "s3://a"); got.exit != 0 {
		t.Fatalf("register: %+v", got)
	}
	for _, c := range []struct {
		name, at string
		args     string
		exit     int
	}{
		{"published", url, "publish --type model.registered --subject models/a --source /ci --id 1", 0},
		{"published before", url, "publish --type model.registered --subject models/a --source /ci --id 1", 0},
		{"kept", away, "publish --type model.registered --subject models/b --source /ci --id 2 --spool " + dir, 0},
		{"no type", url, "publish --subject models/a", handlers.ExitInvalid},
		{"wrong data", url, "publish --type model.registered --subject models/c --data []", handlers.ExitInvalid},
		{"a type that nothing follows from", url, "publish --type model.trained --subject models/c", handlers.ExitInvalid},
		{"not there", url, "publish --type version.archived --subject models/fraud/versions/9 --data {\"to\":\"Archived\"}", handlers.ExitNotFound},
		{"there already", url, "publish --type model.registered --subject models/fraud", handlers.ExitConflict},
		{"its id had other content", url, "publish --type model.registered --subject models/d --source /ci --id 1", handlers.ExitConflict},
		{"a rule", url, "publish --type version.registered --subject models/fraud/versions/1 --data {\"source\":\"s3://b\"}", handlers.ExitRule},
		{"not reached", away, "publish --type model.registered --subject models/e", handlers.ExitUnavailable},
		{"a dry run is not kept", away, "publish --type model.registered --subject models/e --dry-run --spool " + dir, handlers.ExitUnavailable},
		{"flush without a spool", url, "flush", handlers.ExitInvalid},
		{"flush of no directory", url, "flush --spool " + dir + "/nowhere", handlers.ExitInvalid},
		{"flush, not reached", away, "flush --spool " + dir, handlers.ExitUnavailable},
		{"flush", url, "flush --spool " + dir, 0},
		{"flush of nothing", url, "flush --spool " + dir, 0},
		{"keep what is refused later", url, "publish --type version.archived --subject models/fraud/versions/9 --data {\"to\":\"Archived\"} --spool-only --spool " + dir, 0},
		{"flush with one refused", url, "flush --spool " + dir, handlers.ExitNotFound},
	} {
		got := runAt(t, c.at, nil, strings.Fields(c.args)...)
		if got.exit != c.exit {
			t.Errorf("%s: exits with %d, want %d: %s%s", c.name, got.exit, c.exit, got.out, got.err)
		}
	}
}

// A sink is Knative's, not a registry: it gets the event with what is added to it.
func TestEventsGoToASinkWithWhatIsAdded(t *testing.T) {
	var lock sync.Mutex // the answers are to a process, which the race detector knows nothing of
	var got []map[string]any
	status := http.StatusAccepted
	answer := func(code int) {
		lock.Lock()
		defer lock.Unlock()
		status = code
	}
	last := func() (map[string]any, int) {
		lock.Lock()
		defer lock.Unlock()
		return got[len(got)-1], len(got)
	}
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var event map[string]any
		if err = errors.Join(err, json.Unmarshal(body, &event)); err != nil || r.Header.Get("Content-Type") != "application/cloudevents+json" || r.URL.Path != "/ns/broker" {
			t.Errorf("%s %v: %s, %v", r.URL.Path, r.Header, body, err)
		}
		lock.Lock()
		defer lock.Unlock()
		got = append(got, event)
		w.WriteHeader(status)
	}))
	defer sink.Close()
	publish := []string{"publish", "--type", "model.registered", "--subject", "models/a", "--source", "/ci", "--id", "1"}
	to := []string{"K_SINK=" + sink.URL + "/ns/broker", `K_CE_OVERRIDES={"extensions":{"team":"risk","level":3}}`}
	if r := runAt(t, "http://127.0.0.1:1", to, publish...); r.exit != 0 {
		t.Fatalf("%+v", r)
	}
	if e, n := last(); n != 1 || e["team"] != "risk" || e["level"] != 3.0 || e["id"] != "1" || e["type"] != "dev.modelog.model.registered.v1" {
		t.Errorf("it got %v", e)
	}
	for _, overrides := range []string{
		`{"extensions":`, `{"extensions":["a"]}`, `{"extensions":{"Team":"a"}}`, `{"extensions":{"team":{}}}`, `{"extensions":{"id":"2"}}`, `{"extensions":{"data":{}}}`,
	} {
		if r := runAt(t, "http://127.0.0.1:1", []string{to[0], "K_CE_OVERRIDES=" + overrides}, publish...); r.exit != handlers.ExitInvalid {
			t.Errorf("%s: %+v", overrides, r)
		}
	}
	for code, exit := range map[int]int{http.StatusBadRequest: handlers.ExitInvalid, http.StatusTooManyRequests: handlers.ExitUnavailable, http.StatusBadGateway: handlers.ExitUnavailable} {
		answer(code)
		if r := runAt(t, "http://127.0.0.1:1", to, publish...); r.exit != exit {
			t.Errorf("a sink that answers %d: %+v", code, r)
		}
	}
	dir := t.TempDir()
	if r := runAt(t, "http://127.0.0.1:1", []string{"K_SINK=http://127.0.0.1:1"}, append(publish, "--spool", dir)...); r.exit != 0 {
		t.Errorf("kept for a sink that is away: %+v", r)
	}
	answer(http.StatusOK)
	if r := runAt(t, "http://127.0.0.1:1", to[:1], "flush", "--spool", dir); r.exit != 0 {
		t.Errorf("sent to the sink later: %+v", r)
	}
	if e, _ := last(); e["id"] != "1" {
		t.Errorf("it got %v later", e)
	}
}

// The id of a CI job's event is that of its run: the same when it runs again, and
// another one for another run, job, type or subject.
func TestTheIDOfACIJobIsTheSameWhenItRunsAgain(t *testing.T) {
	identity := func(kind, subject string, variables ...string) string {
		a := testApp()
		a.getenv = func(name string) string {
			for _, v := range slices.Backward(variables) {
				if value, ok := strings.CutPrefix(v, name+"="); ok {
					return value
				}
			}
			return ""
		}
		p := &publishing{client: &client{app: a}, kind: kind, subject: subject}
		id, source := p.identity()
		return source + " " + id
	}
	for place, variables := range map[string][]string{
		"https://github.example/acme/fraud": {"GITHUB_RUN_ID=7", "GITHUB_WORKFLOW=train", "GITHUB_JOB=fit", "GITHUB_SERVER_URL=https://github.example", "GITHUB_REPOSITORY=acme/fraud"},
		"https://gitlab.example/acme/fraud": {"CI_PIPELINE_ID=7", "CI_JOB_NAME=fit", "CI_PROJECT_URL=https://gitlab.example/acme/fraud"},
		"https://jenkins.example/":          {"BUILD_TAG=jenkins-fraud-7", "JENKINS_URL=https://jenkins.example/"},
	} {
		first := identity("a.b", "models/a", variables...)
		if !strings.HasPrefix(first, place+" ci-") {
			t.Errorf("%s: it is %s", place, first)
		}
		again := identity("a.b", "models/a", append(variables, "GITHUB_RUN_ATTEMPT=2", "CI_JOB_ID=99")...)
		if again != first {
			t.Errorf("%s: it is %s, and %s when it runs again", place, first, again)
		}
		for what, other := range map[string]string{
			"another type": identity("a.c", "models/a", variables...), "another subject": identity("a.b", "models/b", variables...),
			"another run": identity("a.b", "models/a", append(variables, "GITHUB_RUN_ID=8", "CI_PIPELINE_ID=8", "BUILD_TAG=jenkins-fraud-8")...),
		} {
			if other == first {
				t.Errorf("%s: %s has the same id, %s", place, what, first)
			}
		}
	}
	if one, other := identity("a.b", "models/a"), identity("a.b", "models/a"); one == other {
		t.Error("without a CI job two events have one id")
	}
}
