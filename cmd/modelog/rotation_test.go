package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/seal"
	"golang.org/x/mod/sumdb/tlog"
)

// rotations is a registry whose signing key changes.
type rotations struct {
	*testing.T
	data    string
	url     string
	server  *process
	checker *checker
	models  int
}

func newRotations(t *testing.T) *rotations {
	t.Helper()
	client, done := oneConnection()
	t.Cleanup(done)
	r := &rotations{T: t, data: filepath.Join(t.TempDir(), "data"), checker: newChecker(&ledger{}, client)}
	r.start()
	return r
}

func (r *rotations) start(flags ...string) {
	r.Helper()
	r.server, r.url = startOn(r.T, r.data, flags...)
	r.checker.restarted(r.url)
}

func (r *rotations) stop() {
	r.Helper()
	if err := r.server.stop(); err != nil {
		r.Fatal(err)
	}
}

// restart starts the server with other flags.
func (r *rotations) restart(flags ...string) {
	r.Helper()
	r.stop()
	r.start(flags...)
}

func (r *rotations) get(path string, into any) {
	r.Helper()
	if err := r.checker.get(r.Context(), path, into); err != nil {
		r.Fatal(err)
	}
}

// write registers a model.
func (r *rotations) write() {
	r.Helper()
	r.models++
	r.cli(0, "model", "create", "m"+strconv.Itoa(r.models))
}

// cli runs a command of the program, and gives what it says.
func (r *rotations) cli(code int, args ...string) string {
	r.Helper()
	cmd := exec.CommandContext(r.Context(), "modelog", args...)
	cmd.Env = append(cleanEnvironment(), "MODELOG_URL="+r.url)
	out, err := cmd.CombinedOutput()
	if exitCodeOf(err) != code {
		r.Fatalf("%v exits with %d, want %d: %s", args, exitCodeOf(err), code, out)
	}
	return string(out)
}

func (r *rotations) keys() (verifiers []string, list api.SigningKeyList) {
	r.Helper()
	r.get("/v1/log/keys", &list)
	for _, k := range list.Keys {
		verifiers = append(verifiers, k.VerifierKey)
	}
	return verifiers, list
}

// sealed waits until everything is sealed with one of the keys, and gives the head.
func (r *rotations) sealed(key string) seal.Checkpoint {
	r.Helper()
	var state api.State
	r.get("/v1/state", &state)
	_, list := r.keys()
	var last error
	for limit := time.Now().Add(startLimit); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		data, err := r.checker.body(r.Context(), "/log/checkpoint")
		if err != nil {
			last = err
			continue
		}
		head, err := seal.OpenCheckpoint(data, list.Origin, key)
		if err == nil && head.Tree.N == int64(state.Sequence) {
			return head
		}
		last = fmt.Errorf("%w: %s", err, data)
	}
	r.Fatalf("%d events aren't sealed with %s: %v", state.Sequence, key, last)
	return seal.Checkpoint{}
}

// rotation gives the event with a sequence, which must be a change of the key.
func (r *rotations) rotation(sequence uint64) events.RegistrySigningKeyChanged {
	r.Helper()
	var page api.EventList
	r.get(fmt.Sprintf("/v1/events?limit=1&after=%d", sequence-1), &page)
	var event struct {
		Type string                           `json:"type"`
		Data events.RegistrySigningKeyChanged `json:"data"`
	}
	if err := json.Unmarshal(page.Events[0], &event); err != nil {
		r.Fatal(err)
	}
	if event.Type != "dev.modelog.registry.signing_key_changed.v1" {
		r.Errorf("event %d is %s", sequence, event.Type)
	}
	return event.Data
}

func TestTheSigningKeyIsRotated(t *testing.T) {
	r := newRotations(t)
	r.write()
	first, list := r.keys()
	if len(first) != 1 {
		t.Fatalf("a new registry has the keys %v", first)
	}
	heads := []seal.Checkpoint{r.sealed(first[0])}
	r.cli(0, "audit", "pack", "-o", filepath.Join(t.TempDir(), "before.tar.gz"))

	// Another key that the registry makes.
	r.restart("--rotate-signing-key")
	second, _ := r.keys()
	if len(second) != 2 || second[0] != first[0] || second[1] == first[0] {
		t.Fatalf("after %v the keys are %v", first, second)
	}
	if diff := cmp.Diff(events.RegistrySigningKeyChanged{RegistryID: r.rotation(3).RegistryID, VerifierKey: second[1], Previous: first[0]}, r.rotation(3)); diff != "" {
		t.Error(diff)
	}
	heads = append(heads, r.sealed(second[1]))
	r.write()
	r.restart() // without a word, it goes on with the new one
	r.write()
	if again, _ := r.keys(); cmp.Diff(second, again) != "" {
		t.Fatalf("after %v the keys are %v", second, again)
	}
	heads = append(heads, r.sealed(second[1]))

	// One that is given.
	given := filepath.Join(t.TempDir(), "given.key")
	key, err := seal.GenerateKey(given, list.Origin)
	if err != nil {
		t.Fatal(err)
	}
	r.stop()
	for _, test := range []struct {
		name, saying string
		code         int
		flags        []string
	}{
		{"another key", "start once with --rotate-signing-key to record the change", 5, []string{"--signing-key", given}},
		{"a key that isn't there", "no such file", 2, []string{"--signing-key", given + ".not"}},
		{"a key that isn't there, as another", "no such file", 2, []string{"--rotate-signing-key", "--signing-key", given + ".not"}},
		{"a key that others may read", "others than its owner may read the signing key", 2, []string{"--signing-key", fileWith(t, given, "", 0o640)}},
		{"no key at all", "malformed", 2, []string{"--signing-key", fileWith(t, "", "secret\n", 0o600)}},
		{"the public half of a key", "malformed", 2, []string{"--signing-key", fileWith(t, "", key.Verifier, 0o600)}},
	} {
		t.Run(test.name, func(t *testing.T) { r.refused(t, test.code, test.saying, test.flags...) })
	}
	r.start("--rotate-signing-key", "--signing-key", given)
	third, _ := r.keys()
	if diff := cmp.Diff(append(second, key.Verifier), third); diff != "" {
		t.Fatal(diff)
	}
	heads = append(heads, r.sealed(key.Verifier))
	r.restart("--rotate-signing-key", "--signing-key", given) // which is so already
	r.write()
	if again, _ := r.keys(); cmp.Diff(third, again) != "" {
		t.Fatalf("after %v the keys are %v", third, again)
	}
	heads = append(heads, r.sealed(key.Verifier))

	// What was signed holds, and a pack of all of it passes.
	for i, head := range heads {
		if _, err := seal.OpenCheckpoint(head.Note, list.Origin, third...); err != nil {
			t.Errorf("the head of %d events: %v", head.Tree.N, err)
		}
		if i > 0 {
			if err := r.checker.extends(t.Context(), heads[i-1].Tree, head.Tree); err != nil {
				t.Error(err)
			}
		}
	}
	old := fileWith(t, "", string(heads[0].Note), 0o600)
	pack := filepath.Join(t.TempDir(), "all.tar.gz")
	r.cli(0, "audit", "pack", "-o", pack, "--since-checkpoint", old, "--tiles")
	if out := r.cli(0, "audit", "check", pack, "--key", key.Verifier); !strings.Contains(out, fmt.Sprintf("under a signed head of %d", heads[len(heads)-1].Tree.N)) {
		t.Errorf("audit check says %s", out)
	}
	stranger, err := seal.GenerateKey(filepath.Join(t.TempDir(), "stranger.key"), list.Origin)
	if err != nil {
		t.Fatal(err)
	}
	r.cli(7, "audit", "check", pack, "--key", stranger.Verifier)

	// What lies in the place of its own key is an old one.
	r.stop()
	r.refused(t, 5, "start once with --rotate-signing-key to record the change")
}

// extends proves that one head is the beginning of another with what the server
// gives for it.
func (c *checker) extends(ctx context.Context, from, to tlog.Tree) error {
	var proof api.LogConsistency
	if err := c.get(ctx, fmt.Sprintf("/v1/log/consistency?from=%d&to=%d", from.N, to.N), &proof); err != nil {
		return err
	}
	var path tlog.TreeProof
	for _, text := range proof.Hashes {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return err
		}
		path = append(path, tlog.Hash(data))
	}
	if err := tlog.CheckTree(path, to.N, to.Hash, from.N, from.Hash); err != nil {
		return fmt.Errorf("from %d to %d events: %w", from.N, to.N, err)
	}
	return nil
}

// refused starts the server, which must end with an exit code and say why.
func (r *rotations) refused(t *testing.T, code int, saying string, flags ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "modelog", append([]string{"serve", "--listen", "127.0.0.1:0", "--data", r.data}, flags...)...)
	cmd.Env = cleanEnvironment()
	var said strings.Builder
	p, err := launch(cmd, &said)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(startLimit):
		p.kill()
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code || !strings.Contains(said.String(), saying) {
		t.Errorf("it exits with %d, want %d and %q: %s", got, code, saying, said.String())
	}
	if strings.Contains(said.String(), "PRIVATE+KEY") {
		t.Error("it says the key")
	}
}

// fileWith makes a file with a text, or with what another file has.
func fileWith(t *testing.T, like, text string, mode os.FileMode) string {
	t.Helper()
	data := []byte(text)
	if like != "" {
		var err error
		if data, err = os.ReadFile(like); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return name
}
