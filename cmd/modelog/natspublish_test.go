package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// overNATS starts a registry that takes NATS clients, and gives a connection of one.
func overNATS(t *testing.T) (nc *nats.Conn, url string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "modelog", "serve", "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--data", t.TempDir())
	cmd.Env = cleanEnvironment()
	log := &lockedBuffer{}
	p, err := launch(cmd, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if url, err = p.listening(); err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile(`nats://127\.0\.0\.1:\d+`).FindString(log.String())
	if nc, err = nats.Connect(at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for end := time.Now().Add(10 * time.Second); ; {
		if _, err := nc.Request("$SRV.PING.modelog", nil, time.Second); err == nil {
			return nc, url
		}
		if time.Now().After(end) {
			t.Fatal("the service is not there")
		}
	}
}

// lockedBuffer can be read while it is written.
type lockedBuffer struct {
	lock sync.Mutex
	text bytes.Buffer // guarded by lock
}

// Write never fails.
func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.text.Write(data)
}

// String gives what was written.
func (b *lockedBuffer) String() string {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.text.String()
}

// TestEventsArePublishedOverNATS publishes with NATS's own client to the real program.
func TestEventsArePublishedOverNATS(t *testing.T) {
	nc, url := overNATS(t)
	publish := func(header nats.Header, body string) *nats.Msg {
		t.Helper()
		answer, err := nc.RequestMsg(&nats.Msg{Subject: "modelog.publish", Header: header, Data: []byte(body)}, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	const registered = `{"specversion":"1.0","id":"1","source":"/ci","type":"dev.modelog.model.registered.v1","subject":"models/fraud","data":{}}`
	for _, c := range []struct {
		what   string
		header nats.Header
		body   string
		status string // of an answer
		code   string // of an error
		has    string
	}{
		{"what would be", nats.Header{"Modelog-Dry-Run": {"true"}}, registered, "200", "", `"outcome":"event"`},
		{"an event", nats.Header{"Modelog-Actor": {"mara"}}, registered, "201", "", `"type":"dev.modelog.model.registered.v1"`},
		{"the same again", nil, registered, "200", "", `"sequence":"00000000000000000002"`},
		{"the same id with other content", nil, strings.Replace(registered, "fraud", "other", 1), "", "422", `"idempotency_key_reused"`},
		{"a binary one", nats.Header{
			"ce-specversion": {"1.0"}, "ce-id": {"2"}, "ce-source": {"/ci"}, "ce-type": {"dev.modelog.version.registered.v1"},
			"ce-subject": {"models/fraud/versions"}, "content-type": {"application/json"},
		}, `{"source":"s3://models/fraud/1"}`, "201", "", `"source":"s3://models/fraud/1"`},
		{"a batch", nats.Header{"content-type": {"application/cloudevents-batch+json"}}, `[` + registered + `,{"specversion":"1.0"}]`, "200", "", `"outcome":"refused"`},
		{"no event", nil, `{"specversion":"1.0","specversion":"1.0"}`, "", "400", `"pointer":"/specversion"`},
		{"nothing", nil, ``, "", "400", `problem`},
		{"too much", nil, strings.Repeat(" ", 900<<10), "", "4", ``},
	} {
		answer := publish(c.header, c.body)
		status, code := answer.Header.Get("Modelog-Status"), answer.Header.Get("Nats-Service-Error-Code")
		if c.status != "" && status != c.status || !strings.HasPrefix(code, c.code) || c.code == "" && code != "" || !strings.Contains(string(answer.Data), c.has) {
			t.Errorf("%s: status %s, error %q: %s", c.what, status, code, answer.Data)
		}
	}
	var out, errs bytes.Buffer
	a := testApp()
	a.stdout, a.stderr = &out, &errs
	if code := a.run(t.Context(), []string{"audit", "--server", url}); code != 0 || strings.Count(out.String(), "\n") != 4 || !strings.Contains(out.String(), "mara") {
		t.Errorf("the log is\n%s%s", out.String(), errs.String())
	}

	var info struct {
		Name      string `json:"name"`
		Endpoints []struct {
			Subject string `json:"subject"`
			Data    struct {
				Answered int `json:"answered"`
				Refused  int `json:"refused"`
			} `json:"data"`
		} `json:"endpoints"`
	}
	stats, err := nc.Request("$SRV.STATS.modelog", nil, 10*time.Second)
	if err != nil || json.Unmarshal(stats.Data, &info) != nil || len(info.Endpoints) != 1 || info.Endpoints[0].Data.Answered != 9 || info.Endpoints[0].Data.Refused != 4 {
		t.Errorf("its statistics are %s, %v", stats.Data, err)
	}
}
