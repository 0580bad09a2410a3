package main

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/projections/runner"
)

// falseSnapshot makes a data directory whose snapshot has another event at a
// sequence than the log.
func falseSnapshot(t *testing.T, told []events.Event, other events.Event) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	if _, err := testApp().importLog(t.Context(), fileOf(t, exported(t, told, false)), data); err != nil {
		t.Fatal(err)
	}
	if err := removeSnapshots(data); err != nil {
		t.Fatal(err)
	}
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: data, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	run := runner.New(log)
	for _, e := range told {
		if e.Sequence == other.Sequence {
			e = other
		}
		if err := run.Replay(e); err != nil {
			t.Fatal(err)
		}
	}
	run.Publish(uint64(len(told)))
	snapshots, err := runner.OpenSnapshots(filepath.Join(data, dataSnapshots), log, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshots.Take(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	return data
}

// registered has models m1 and so on, from the second event on.
func registered(t *testing.T, last int) []events.Event {
	t.Helper()
	chance := rand.New(rand.NewPCG(9, 9))
	told := someHistory(t, chance, last)
	for i := range told[1:] {
		e := &told[i+1]
		e.Data = events.ModelRegistered{ModelID: e.ID, Name: "m" + e.ID.String()}
	}
	return numbered(told)
}

// TestARegistryThatServesAnotherStateThanItsLogGivesIsFoundOut starts one from a
// snapshot in which event 42 is another.
func TestARegistryThatServesAnotherStateThanItsLogGivesIsFoundOut(t *testing.T) {
	told := registered(t, 60)
	other := told[41]
	other.Data = events.ModelRegistered{ModelID: other.ID, Name: "another"}
	data := falseSnapshot(t, told, other)

	run := func(args ...string) (code int, stdout, stderr string) {
		var out, errs bytes.Buffer
		a := testApp()
		a.stdout, a.stderr = &out, &errs
		return a.run(t.Context(), args), out.String(), errs.String()
	}
	const saying = "the state is not what the log gives, from event 42 on"
	if code, _, text := run("verify", "--data", data); code != 7 || !strings.Contains(text, saying) {
		t.Errorf("on the data directory: exit code %d, %s", code, text)
	}

	p, url := startOn(t, data)
	ready := func() (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close() //nolint:errcheck // it is read
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	if status, body := ready(); status != http.StatusOK {
		t.Errorf("before anybody has looked: %d %s", status, body)
	}
	if code, _, text := run("verify", "--server", url); code != 7 || !strings.Contains(text, saying) || !strings.Contains(text, "remove its snapshots") {
		t.Errorf("on the running registry: exit code %d, %s", code, text)
	}
	code, out, _ := run("verify", "--server", url, "--json")
	if code != 7 || !strings.Contains(out, `"first_difference": 42,`) {
		t.Errorf("as JSON: exit code %d, %s", code, out)
	}
	if code, _, text := run("verify", "--independent", "--server", url); code != 7 {
		t.Errorf("from outside: exit code %d, %s", code, text)
	}
	if status, body := ready(); status != http.StatusServiceUnavailable || !strings.Contains(body, "state_differs") || !strings.Contains(body, "from event 42 on") {
		t.Errorf("/readyz answers %d %s", status, body)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}

	// What the errors say to do helps.
	if err := removeSnapshots(data); err != nil {
		t.Fatal(err)
	}
	p, url = startOn(t, data)
	if code, out, text := run("verify", "--server", url); code != 0 {
		t.Errorf("after a start anew: exit code %d, %s%s", code, out, text)
	}
	if status, body := ready(); status != http.StatusOK {
		t.Errorf("after a start anew: %d %s", status, body)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func TestASnapshotIsComparedUpToItsSequence(t *testing.T) {
	told := registered(t, 20)
	data := falseSnapshot(t, told, told[5]) // which is the same
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: data, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	more := registered(t, 21)[20]
	encoded, err := events.Encode(more)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Append(t.Context(), 20, []events.Encoded{encoded}); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := testApp().verifyData(t.Context(), data, "")
	if err != nil || v.err() != nil || v.Events != 21 || v.Compared != 20 || v.Checkpoints != 1 {
		t.Errorf("got %+v, %v", v, err)
	}
	var out strings.Builder
	if err := showVerification(&out, v); err != nil || out.String() != "verified: 21 events; the snapshot of the first 20 equals rebuild\n" {
		t.Errorf("it says %q, %v", out.String(), err)
	}
}

// TestAnImportThatDiedIsNoRegistry stops where a kill -9 could: with all events
// appended, and nothing in place.
func TestAnImportThatDiedIsNoRegistry(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	told := registered(t, 700)
	fresh, err := newFreshRegistry(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range told {
		encoded, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := fresh.add(t.Context(), e, encoded); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fresh.finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Another import, or a server, can't have the directory meanwhile.
	if _, err := newFreshRegistry(t.Context(), data); exitCode(err) != 6 {
		t.Errorf("a second import: %v", err)
	}
	if err := fresh.log.Close(); err != nil { // the death of the process
		t.Fatal(err)
	}
	if err := fresh.lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openData(t.Context(), data); exitCode(err) != 2 || !strings.Contains(err.Error(), "holds no registry") {
		t.Errorf("it is opened: %v", err)
	}
	if _, err := testApp().importLog(t.Context(), fileOf(t, exported(t, told, true)), data); err != nil {
		t.Errorf("the next import: %v", err)
	}
	if v, err := testApp().verifyData(t.Context(), data, ""); err != nil || v.Events != 700 {
		t.Errorf("got %+v, %v", v, err)
	}
}

// TestALogThatIsNotTheOneThatWasSealedIsFoundOut puts a log in place that is all
// right in itself, but in which one event is another than when it was sealed.
func TestALogThatIsNotTheOneThatWasSealedIsFoundOut(t *testing.T) {
	sealed := filepath.Join(t.TempDir(), "data")
	if _, err := testApp().importLog(t.Context(), fileOf(t, exported(t, registered(t, 300), false)), sealed); err != nil {
		t.Fatal(err)
	}
	p, _ := startOn(t, sealed) // it records its key, and seals
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	v, err := testApp().verifyData(t.Context(), sealed, "")
	if err != nil || v.err() != nil || v.Events != 301 || v.Sealed != 301 {
		t.Errorf("got %+v, %v", v, err)
	}
	told := onLog(t, sealed)
	told[41].Data = events.ModelRegistered{ModelID: told[41].ID, Name: "another"}
	other := filepath.Join(t.TempDir(), "data")
	if _, err := testApp().importLog(t.Context(), fileOf(t, exported(t, told, false)), other); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(other, dataSeal)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(other, dataSeal), os.DirFS(filepath.Join(sealed, dataSeal))); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	a := testApp()
	a.stdout, a.stderr = &out, &errs
	if code := a.run(t.Context(), []string{"verify", "--data", other}); code != 7 || !strings.Contains(errs.String(), "event 42 is not the one that was sealed") {
		t.Errorf("exit code %d, %s%s", code, out.String(), errs.String())
	}
}

// onLog gives the events in a data directory.
func onLog(t *testing.T, data string) (all []events.Event) {
	t.Helper()
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: data, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	last, err := log.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for stored, err := range log.Read(t.Context(), 1, last) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.Decode(stored)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}
