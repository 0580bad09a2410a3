package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

func TestBenchReportOfDeliveries(t *testing.T) {
	f := &benchWebhookFigures{}
	f.wide(2, 2.5)
	f.hanging(3, 4.5)
	f.single(9.25)
	f.rates(20_000, 13_000)
	f.rates(22_000, 15_000)
	f.backlog([]float64{0.65, 0.68}, []float64{0.5})
	f.idle(3.25)
	var text bytes.Buffer
	if err := showWebhooksBench(&text, f); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"publish p99 with 1,000 wide subscriptions ÷ without|1.25 (1.25–1.25)|≤ 1.30 ok",
		"delivery p99 with 50 of 2,000 endpoints hanging ÷ without|1.50 (1.50–1.50)|≤ 1.20 short",
		"publish to delivered on an idle system, p99|9.25 ms (9.25–9.25)|≤ 20 ms ok",
		"deliveries to one endpoint ÷ bare loop|0.67 (0.65–0.68)|≥ 0.60 ok",
		"replay of 100,000 events ÷ bare loop|0.50 (0.50–0.50)|≥ 0.60 short",
		"memory of an idle subscription, what is alive|3.25 KB (3.25–3.25)|≤ 8 KB ok",
		"publish p99 2 and 2.50 ms, delivery p99 3 and 4.50 ms; a second: bare loop 21,000 (20,000–22,000), deliveries 14,000 (13,000–15,000)",
	} {
		if !holdsRow(text.String(), strings.Split(line, "|")) {
			t.Errorf("%q is not in\n%s", line, &text)
		}
	}
}

// holdsRow says whether a table has a row with these cells.
func holdsRow(table string, cells []string) bool {
	for line := range strings.Lines(table) {
		rest, ok := line, true
		for _, cell := range cells {
			var found bool
			_, rest, found = strings.Cut(rest, cell)
			ok = ok && found
		}
		if ok {
			return true
		}
	}
	return false
}

func TestTheReceiverOfBenchCountsAndHangs(t *testing.T) {
	server := httptest.NewServer(new(benchReceiver))
	defer server.Close()
	post := func(path, id string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Webhook-Id", id)
		response, err := server.Client().Do(r)
		if err != nil {
			t.Error(err)
			return
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusNoContent {
			t.Errorf("%s: %s, %v", path, response.Status, err)
		}
	}
	arrivals := func() (found benchArrivals) {
		t.Helper()
		w := httptest.NewRecorder()
		server.Config.Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/arrivals?keep=true", http.NoBody))
		if err := json.Unmarshal(w.Body.Bytes(), &found); err != nil {
			t.Fatal(err)
		}
		return found
	}
	arrivals()
	post("/ok/1", "a")
	post("/ok/2", "b")
	post("/hang/1", "c") // which doesn't yet
	found := arrivals()
	if found.Count != 2 || found.At["a"] != found.First || found.At["b"] != found.Last || found.Last < found.First {
		t.Errorf("arrived: %+v", found)
	}
	if diff := cmp.Diff(benchArrivals{}, arrivals()); diff != "" {
		t.Errorf("it isn't forgotten (-want +got):\n%s", diff)
	}
	post("/hanging?on=true", "")
	done := make(chan struct{})
	go func() {
		defer close(done)
		post("/hang/1", "d")
	}()
	post("/ok/1", "e")
	select {
	case <-done:
		t.Error("nothing hangs")
	default:
	}
	post("/hanging?on=false", "")
	<-done
}

func TestTheBareLoopOfBenchSigns(t *testing.T) {
	signed := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case signed <- r.Header:
		default:
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	rate, err := postInLoop(t.Context(), server.URL, 100, 50*time.Millisecond)
	if h := <-signed; err != nil || rate <= 0 || !strings.HasPrefix(h.Get("Webhook-Signature"), "v1,") || h.Get("Webhook-Timestamp") == "" {
		t.Errorf("%v a second, %v, with %v", rate, err, h)
	}
	server.Config.Handler = http.NotFoundHandler()
	if _, err := postInLoop(t.Context(), server.URL, 100, time.Minute); err == nil {
		t.Error("another answer is no error")
	}
}
