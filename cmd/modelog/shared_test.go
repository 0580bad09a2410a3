package main

import (
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events/logtest"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
)

// TestRegistriesShareALogOnExternalServers registers with one, reads with the
// other, and starts the first one anew from its snapshot.
func TestRegistriesShareALogOnExternalServers(t *testing.T) {
	nats := logtest.StartServers(t, 1).URL()
	dir := t.TempDir()
	first, url := startOn(t, filepath.Join(dir, "1"), "--nats", nats)
	_, other := startOn(t, filepath.Join(dir, "2"), "--nats", nats)
	one := &client{app: &app{}, server: url, actor: "mara"}
	two := &client{app: &app{}, server: other}
	if _, err := one.send(t.Context(), http.MethodPost, "/v1/models", handlers.ModelSpec{Name: "fraud"}); err != nil {
		t.Fatal(err)
	}
	// The other one refuses what it may not have heard of.
	if _, err := two.send(t.Context(), http.MethodPost, "/v1/models", handlers.ModelSpec{Name: "fraud"}); exitCode(err) != handlers.ExitConflict {
		t.Errorf("the same model at the other one: %v", err)
	}
	version, err := call[api.Version](t.Context(), two, http.MethodPost, "/v1/models/fraud/versions", handlers.VersionSpec{Source: "s3://fraud/1"})
	if err != nil {
		t.Fatal(err)
	}
	if got := digestWith(t, url, version.Sequence); got != digestWith(t, other, version.Sequence) {
		t.Error("they show different states")
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	if snapshots, err := filepath.Glob(filepath.Join(dir, "1", "snapshots", "*.snapshot")); err != nil || len(snapshots) != 1 {
		t.Errorf("snapshots: %v, %v", snapshots, err)
	}
	_, url = startOn(t, filepath.Join(dir, "1"), "--nats", nats)
	if digestWith(t, url, version.Sequence) != digestWith(t, other, version.Sequence) {
		t.Error("they show different states after a start")
	}
}

// digestWith gives the digest of a registry that has come to a sequence.
func digestWith(t *testing.T, url string, sequence uint64) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/state?compute=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Modelog-Min-Sequence", strconv.FormatUint(sequence, 10))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var state api.State
	if err := json.Unmarshal(data, &state); err != nil || state.Sequence != sequence {
		t.Fatalf("%v: %s", err, data)
	}
	return state.Digest.SHA256
}

// TestExternalServersThatWontDoAreRefused: exit code 2 for what must be set up
// otherwise, 6 for what may be there later.
func TestExternalServersThatWontDoAreRefused(t *testing.T) {
	nats := logtest.StartServers(t, 1).URL()
	data := filepath.Join(t.TempDir(), "data")
	startOn(t, data, "--nats", nats)
	for _, c := range []struct {
		args string
		exit int
		says string
	}{
		{"--nats " + nats + " --data " + data, handlers.ExitUnavailable, "by process"},
		{"--nats nats://127.0.0.1:1 --data " + data + "2", handlers.ExitUnavailable, "nats://127.0.0.1:1"},
		{"--nats " + nats + " --nats-creds /nowhere.creds --data " + data + "3", handlers.ExitInvalid, "/nowhere.creds"},
		{"--nats nats://mara:hunter2@127.0.0.1:1 --data " + data + "4", handlers.ExitUnavailable, "xxxxx@127.0.0.1:1"},
		{"--replicas 3", handlers.ExitInvalid, "--nats"},
	} {
		cmd := exec.CommandContext(t.Context(), "modelog", append([]string{"serve", "--listen", "127.0.0.1:0"}, strings.Fields(c.args)...)...)
		cmd.Env = cleanEnvironment()
		out, err := cmd.CombinedOutput()
		if exitCodeOf(err) != c.exit || !strings.Contains(string(out), c.says) || strings.Contains(string(out), "hunter2") {
			t.Errorf("%s: %v: %s", c.args, err, out)
		}
	}
}
