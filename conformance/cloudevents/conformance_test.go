// Package cloudevents judges what modelog takes and sends with the conformance tool of
// CloudEvents.
package cloudevents

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/conformance/pkg/diff"
	"github.com/cloudevents/conformance/pkg/event"
	"github.com/cloudevents/conformance/pkg/invoker"
	"github.com/cloudevents/conformance/pkg/listener"
)

// registry is one that the program named by MODELOG serves.
type registry struct {
	*testing.T
	program, url string
}

func serve(t *testing.T) *registry {
	t.Helper()
	program := os.Getenv("MODELOG")
	if program == "" {
		t.Skip("MODELOG names no program; make conformance does")
	}
	r := &registry{t, program, "http://127.0.0.1:" + strconv.Itoa(freePort(t))}
	server := exec.CommandContext(t.Context(), program, "serve", "--data", filepath.Join(t.TempDir(), "data"),
		"--listen", strings.TrimPrefix(r.url, "http://"), "--webhook-allow-http", "--webhook-allow-cidr", "127.0.0.0/8")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	r.wait("the registry", func() bool { return exec.CommandContext(t.Context(), program, "state", "--server", r.url).Run() == nil })
	return r
}

func (r *registry) wait(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("%s isn't there after 30 seconds", what)
		}
	}
}

func (r *registry) run(args ...string) []byte {
	r.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(r.Context(), r.program, append(args, "--server", r.url)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.Fatalf("%v: %v: %s", args, err, stderr.Bytes())
	}
	return out
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// invoke sends events as the tool's invoke does, one by one, and gives the status of
// each by its id.
func (r *registry) invoke(path string, change event.MutationFn) map[string]int {
	r.Helper()
	to, err := url.Parse(r.url + "/v1/events")
	if err != nil {
		r.Fatal(err)
	}
	ids, answers := []string{}, make(chan int)
	i := &invoker.Invoker{
		URL: to, Files: []string{path}, Recursive: true,
		PreHook: func(e event.Event) (event.Event, error) {
			ids = append(ids, e.Attributes.ID+" "+e.Mode)
			return change(e)
		},
		PostHook: func(_ *http.Request, response *http.Response, err error) {
			if err != nil {
				answers <- 0
				return
			}
			response.Body.Close()
			answers <- response.StatusCode
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- i.Do() }()
	statuses := map[string]int{}
	var all []int
	for running := true; running || len(all) < len(ids); {
		select {
		case status := <-answers:
			all = append(all, status)
		case <-ended: // its error says what the statuses say
			running, ended = false, nil
		case <-time.After(30 * time.Second):
			r.Fatalf("%d of %d events are answered", len(all), len(ids))
		}
	}
	for n, id := range ids {
		statuses[id] = all[n]
	}
	return statuses
}

// suite is the folder of the tool's events.
func suite(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cloudevents/conformance").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "yaml")
}

// TestTheSuitesEventsAreTakenOrRefusedCleanly sends the tool's events as they are, of
// which nothing follows in a registry, and then as events of ours.
func TestTheSuitesEventsAreTakenOrRefusedCleanly(t *testing.T) {
	r := serve(t)
	for _, file := range []string{"v1.0", "v1.yaml"} {
		path := filepath.Join(suite(t), file)
		asTheyAre := r.invoke(path, func(e event.Event) (event.Event, error) { return e, nil })
		if len(asTheyAre) == 0 {
			t.Errorf("%s has no events", file)
		}
		for id, status := range asTheyAre {
			if status != http.StatusBadRequest && status != http.StatusUnsupportedMediaType {
				t.Errorf("%s %s: answered with %d", file, id, status)
			}
		}
		n := 0
		asOurs := r.invoke(path, func(e event.Event) (event.Event, error) {
			n++
			e.Attributes.Type, e.Attributes.Subject = "dev.modelog.model.registered.v1", "models/"+strings.TrimSuffix(file, ".yaml")+"-"+strconv.Itoa(n)
			e.Attributes.ID += "-" + e.Mode
			e.Data = "{}"
			if !strings.HasPrefix(e.Attributes.DataContentType, "text/") && !strings.Contains(e.Attributes.DataContentType, "xml") {
				return e, nil
			}
			e.Attributes.DataContentType = "application/json"
			return e, nil
		})
		for id, status := range asOurs {
			if status != http.StatusCreated {
				t.Errorf("%s %s, as an event of ours: answered with %d", file, id, status)
			}
		}
	}
}

// TestTheToolAgreesWithADelivery has the tool listen to a webhook, and compare what it
// got with the log.
func TestTheToolAgreesWithADelivery(t *testing.T) {
	r := serve(t)
	port := freePort(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&listener.Listener{Port: port, Path: "/", History: 50, Retain: true}).Do(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	address := "http://127.0.0.1:" + strconv.Itoa(port)
	r.wait("the listener", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	r.run("webhook", "create", address+"/", "--type", "model.registered.v1")
	for _, name := range []string{"fraud", "churn", "löss"} {
		r.run("model", "create", name)
	}
	dir := t.TempDir()
	want, got := filepath.Join(dir, "want.yaml"), filepath.Join(dir, "got.yaml")
	var history []byte
	r.wait("the last delivery", func() bool {
		history = get(t, address+"/history")
		return bytes.Count(history, []byte("model.registered.v1")) >= 3
	})
	write(t, want, r.logged())
	write(t, got, history)
	var out bytes.Buffer
	compare := diff.Diff{Out: &out, FindBy: []string{"id"}, IgnoreAdditions: true, FileA: want, FileB: got}
	if err := compare.Do(); err != nil {
		t.Fatalf("%v\n%s\nit got:\n%s", err, out.Bytes(), history)
	}
	write(t, got, bytes.Replace(history, []byte("models/churn"), []byte("models/other"), 1))
	if compare.Do() == nil {
		t.Error("the tool sees no difference where there is one")
	}
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// logged gives the models' events of the log as the tool writes them. It knows no
// dataschema, and takes it for an extension.
func (r *registry) logged() []byte {
	r.Helper()
	var all []byte
	for line := range bytes.Lines(r.run("log", "--json")) {
		if !bytes.Contains(line, []byte(`"type":"dev.modelog.model.registered.v1"`)) {
			continue
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(line, &members); err != nil {
			r.Fatal(err)
		}
		text := func(name string) (s string) {
			_ = json.Unmarshal(members[name], &s) // what isn't a string stays out
			delete(members, name)
			return s
		}
		e := event.Event{Data: string(members["data"]) + "\n"}
		delete(members, "data")
		e.Attributes = event.ContextAttributes{
			SpecVersion: text("specversion"), Type: text("type"), Time: text("time"), ID: text("id"), Source: text("source"),
			Subject: text("subject"), DataContentType: text("datacontenttype"), Extensions: event.Extensions{},
		}
		for name := range members {
			if value := text(name); value != "" {
				e.Attributes.Extensions[name] = value
			}
		}
		written, err := event.ToYaml(e)
		if err != nil {
			r.Fatal(err)
		}
		if len(all) > 0 {
			all = append(all, "---\n"...)
		}
		all = append(all, written...)
	}
	return all
}
