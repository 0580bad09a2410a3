package natslog

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"pgregory.net/rapid"
)

// delivered is what the server makes of an HPUB for a subscriber.
func delivered(t interface{ Fatalf(string, ...any) }, published []byte) string {
	line, payload, ok := strings.Cut(string(published), "\r\n")
	fields := strings.Fields(line)
	if !ok || len(fields) != 5 || fields[0] != "HPUB" {
		t.Fatalf("not an HPUB: %q", line)
	}
	return fmt.Sprintf("HMSG %s 1 %s %s %s\r\n%s", fields[1], fields[2], fields[3], fields[4], payload)
}

func readWire(s string) (message, error) {
	r := bufio.NewReaderSize(strings.NewReader(s), wireBuffer)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return message{}, err
	}
	return readMessage(r, line)
}

func TestWhatIsPublishedIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := events.Encoded{Subject: "modelog.events.model.x.model.described", Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data")}
		values := rapid.StringMatching(`([!-~]([ -~\t]*[!-~])?)?`)
		for i := range rapid.IntRange(0, 20).Draw(t, "headers") {
			e.Header = append(e.Header, events.HeaderField{Name: fmt.Sprintf("ce-%02d", i), Value: values.Draw(t, "value")})
		}
		last := rapid.Uint64().Draw(t, "last")
		m, err := readWire(delivered(t, appendPublish(nil, &e, "_INBOX.x", last)))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.value("Nats-Expected-Last-Sequence"); got != fmt.Sprint(last) || m.reply != "_INBOX.x" || m.value("Nats-Expected-Stream") != StreamName {
			t.Errorf("it expects %q, and answers go to %q", got, m.reply)
		}
		if len(e.Data) == 0 {
			e.Data = []byte{}
		}
		if diff := cmp.Diff(events.Stored{Sequence: 7, Encoded: e}, stored(7, m.subject, m.header, m.data)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestAStatusHasNoData(t *testing.T) {
	header := "NATS/1.0 409 Server Shutdown\r\nNats-Pending-Messages: 3\r\n\r\n"
	m, err := readWire(fmt.Sprintf("HMSG _INBOX.x 1 %d %d\r\n%s\r\n", len(header), len(header), header))
	if err != nil {
		t.Fatal(err)
	}
	if m.status != "409" || m.description != "Server Shutdown" || m.value("Nats-Pending-Messages") != "3" || m.reply != "" || len(m.data) != 0 {
		t.Errorf("got %+v", m)
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	for _, s := range []string{
		"MSG\r\n", "MSG a 1\r\n", "MSG a 1 x\r\n", "MSG a 1 -1\r\n", "MSG a 1 r s 1\r\n", "MSG a 1 5\r\nabc\r\n", "MSG a 1 3\r\nabc",
		"HMSG a 1 3\r\nabc\r\n", "HMSG a 1 x 3\r\nabc\r\n", "HMSG a 1 4 3\r\nabc\r\n", "HMSG a 1 -1 3\r\nabc\r\n",
		"HMSG a 1 3 3\r\nabc\r\n", "HMSG a 1 12 12\r\nNATS/2.0\r\n\r\n\r\n", "HMSG a 1 15 15\r\nNATS/1.0\r\nx\r\n\r\n\r\n",
	} {
		if m, err := readWire(s); err == nil {
			t.Errorf("%q was read as %+v", s, m)
		}
	}
}
