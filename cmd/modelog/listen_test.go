package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers/api"
)

// TestListenVerifiesWhatTheRegistryDelivers has both programs speak with each other.
func TestListenVerifiesWhatTheRegistryDelivers(t *testing.T) {
	_, url := startOn(t, t.TempDir(), "--webhook-allow-http", "--webhook-allow-cidr", "127.0.0.0/8")
	run := func(args ...string) []byte {
		t.Helper()
		var out, errs bytes.Buffer
		a := testApp()
		a.stdout, a.stderr = &out, &errs
		if code := a.run(t.Context(), append(args, "--server", url)); code != 0 {
			t.Fatalf("%v exits with %d: %s", args, code, errs.String())
		}
		return out.Bytes()
	}
	made := api.SubscriptionWithSecret{}
	if err := json.Unmarshal(run("webhook", "create", "http://127.0.0.1:1/hook", "--type", "model.registered.v1", "--json"), &made); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "modelog", "webhook", "listen", "--listen", "127.0.0.1:0", "--secret", made.Secret, "--json")
	cmd.Env = cleanEnvironment()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	says, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(says).ReadString('\n')
	at := strings.TrimSpace(strings.TrimPrefix(line, "listening at "))
	if err != nil || !strings.HasPrefix(at, "http://127.0.0.1:") {
		t.Fatalf("it says %q, %v", line, err)
	}
	run("webhook", "change", made.ID, "--sink", at+"/hook")
	run("model", "create", "fraud")
	lines := bufio.NewReader(out)
	next := func() Heard {
		t.Helper()
		h, text := Heard{}, ""
		for !strings.HasSuffix(text, "}\n") || strings.Count(text, "{") == 0 || json.Unmarshal([]byte(text), &h) != nil {
			line, err := lines.ReadString('\n')
			if text += line; err != nil {
				t.Fatalf("%q, %v", text, err)
			}
		}
		return h
	}
	heard := next()
	if !heard.Verified || heard.Type != "dev.modelog.model.registered.v1" || heard.Subject != "models/fraud" || heard.Again {
		t.Errorf("heard %+v", heard)
	}
	run("webhook", "replay", made.ID)
	if again := next(); !again.Verified || !again.Again || again.ID != heard.ID || again.Replay == "" {
		t.Errorf("again %+v", again)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader(heard.Body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.Body.Close() != nil || answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("what isn't signed is answered with %d, %v", answer.StatusCode, err)
	}
	if h := next(); h.Verified || h.Why == "" {
		t.Errorf("what isn't signed: %+v", h)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}
