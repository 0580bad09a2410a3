package api

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/seal"
	"github.com/modelog/modelog/projections/runner"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	sealedEvents   = 280 // more than a tile is wide
	unsealedEvents = 3   // after those
)

// sealedRegistry is a registry that reads are sent to, whose last events aren't
// sealed before more is told.
type sealedRegistry struct {
	*registry
	sealer  *seal.Sealer
	visible atomic.Uint64 // to the sealer
	key     *seal.Key
	origin  string
}

func newSealed(t *testing.T) *sealedRegistry {
	t.Helper()
	log := openLog(t)
	run := runner.New(log)
	r := &sealedRegistry{registry: startRegistry(t, log, run)}
	for i := range sealedEvents + unsealedEvents - 1 { // after registry.created
		request := httptest.NewRequestWithContext(t.Context(), "POST", "http://localhost:7670/v1/models", strings.NewReader(fmt.Sprintf(`{"name":"m%d"}`, i)))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		r.handler.ServeHTTP(recorder, request)
		reply{recorder, t}.want(201)
	}
	r.visible.Store(sealedEvents)
	dir := t.TempDir()
	id := run.Now().Registry().ID
	r.origin = seal.Origin(id)
	var err error
	if r.key, err = seal.GenerateKey(filepath.Join(dir, "signing.key"), r.origin); err != nil {
		t.Fatal(err)
	}
	r.sealer, err = seal.Open(seal.Config{
		Dir: dir, Log: log, Visible: r.visible.Load, Registry: id, Key: r.key, Interval: time.Millisecond,
		Keys: func() []string { return []string{r.key.Verifier} },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.handler = New(Config{
		Runner: run, Log: log, Sealer: r.sealer, Now: r.clock.Now, NewID: newIDs(), Release: "test",
		Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	return r
}

// get reads what the OpenAPI document has no way to describe: a parameter with
// slashes.
func (r *sealedRegistry) get(path string) reply {
	recorder := httptest.NewRecorder()
	r.handler.ServeHTTP(recorder, httptest.NewRequestWithContext(r.Context(), "GET", "http://localhost:7670"+path, nil))
	return reply{recorder, r.T}
}

// start begins to seal, and waits until a head covers what is visible.
func (r *sealedRegistry) start() {
	r.sealer.Start(r.Context())
	r.Cleanup(func() { r.sealer.Stop(r.Context()) })
	r.covers(sealedEvents)
}

func (r *sealedRegistry) covers(size int64) {
	r.Helper()
	for limit := time.Now().Add(30 * time.Second); r.sealer.Checkpoint() == nil || r.sealer.Checkpoint().Tree.N < size; {
		if time.Now().After(limit) {
			r.Fatalf("no head covers %d events: %v", size, r.sealer.Err())
		}
		time.Sleep(time.Millisecond)
	}
}

// head gives the newest head, as it is served.
func (r *sealedRegistry) head() seal.Checkpoint {
	r.Helper()
	answer := r.call("GET", "/log/checkpoint", "").want(200)
	if got := answer.Header().Get("Content-Type"); got != "text/plain; charset=utf-8" {
		r.Errorf("the head is %s", got)
	}
	head, err := seal.OpenCheckpoint(answer.Body.Bytes(), r.origin, r.key.Verifier)
	if err != nil {
		r.Fatal(err)
	}
	return head
}

// entries reads a bundle: each record after its length in two bytes.
func (r *sealedRegistry) entries(path string) (records [][]byte) {
	r.Helper()
	for data := r.get(path).want(200).Body.Bytes(); len(data) > 0; {
		n := 2 + int(binary.BigEndian.Uint16(data))
		records = append(records, data[2:n])
		data = data[n:]
	}
	return records
}

func TestProofsOfEventsHoldInTheSignedHead(t *testing.T) {
	r := newSealed(t)
	r.call("GET", "/log/checkpoint", "").problem(503, handlers.CodeNotSealed)
	r.call("GET", "/v1/events/1/proof", "").problem(503, handlers.CodeNotSealed)
	r.call("GET", "/v1/log/consistency?from=1", "").problem(503, handlers.CodeNotSealed)
	r.get("/log/tile/0/000.p/1").problem(404, handlers.CodeRouteNotFound)
	r.start()
	head := r.head()
	if head.Tree.N != sealedEvents {
		t.Fatalf("the head is of %d events", head.Tree.N)
	}
	records := append(r.entries("/log/tile/entries/000"), r.entries(fmt.Sprintf("/log/tile/entries/001.p/%d", sealedEvents-256))...)
	if len(records) != sealedEvents {
		t.Fatalf("%d records", len(records))
	}
	for _, sequence := range []int{1, 2, 255, 256, 257, sealedEvents} {
		lines := strings.Split(r.call("GET", fmt.Sprintf("/v1/events/%d/proof", sequence), "").want(200).Body.String(), "\n")
		// c2sp.org/tlog-proof: a header, perhaps the record, the index, the hashes, a
		// line without anything, and the head.
		if lines[0] != "c2sp.org/tlog-proof@v1" {
			t.Fatalf("a proof begins with %q", lines[0])
		}
		lines = lines[1:]
		if extra, ok := strings.CutPrefix(lines[0], "extra "); ok {
			if data, err := base64.StdEncoding.DecodeString(extra); err != nil || !bytes.Equal(data, records[sequence-1]) {
				t.Errorf("event %d: the record in the proof isn't that of the bundle (%v)", sequence, err)
			}
			lines = lines[1:]
		}
		if want := "index " + strconv.Itoa(sequence-1); lines[0] != want {
			t.Errorf("event %d: %q, want %q", sequence, lines[0], want)
		}
		var path tlog.RecordProof
		end := 1
		for ; lines[end] != ""; end++ {
			hash, err := tlog.ParseHash(lines[end])
			if err != nil {
				t.Fatal(err)
			}
			path = append(path, hash)
		}
		if got := strings.Join(lines[end+1:], "\n"); got != string(head.Note) {
			t.Errorf("event %d: the proof ends with the head %q", sequence, got)
		}
		leaf := tlog.RecordHash(records[sequence-1])
		if err := tlog.CheckRecord(path, head.Tree.N, head.Tree.Hash, int64(sequence)-1, leaf); err != nil {
			t.Errorf("event %d: %v", sequence, err)
		}
	}
}

func TestAProofIsRefusedWithAReason(t *testing.T) {
	r := newSealed(t)
	r.start()
	const total = sealedEvents + unsealedEvents
	for _, c := range []struct {
		sequence, saying string
		status           int
		code             handlers.Code
	}{
		{"0", "", 404, handlers.CodeEventNotFound},
		{strconv.Itoa(total + 1), "", 404, handlers.CodeEventNotFound},
		{"18446744073709551615", "", 404, handlers.CodeEventNotFound},
		{"18446744073709551616", "whole number", 400, handlers.CodeInvalid},
		{"-1", "whole number", 400, handlers.CodeInvalid},
		{"1.5", "whole number", 400, handlers.CodeInvalid},
		{"first", "whole number", 400, handlers.CodeInvalid},
		{"1?as_of=1", "a seal is of the log", 400, handlers.CodeInvalid},
		{"1?proof=1", "", 400, handlers.CodeInvalid},
		{strconv.Itoa(sealedEvents + 1), "covers the log up to 280; ask again in a second", 503, handlers.CodeNotSealed},
		{strconv.Itoa(total), "is not sealed yet", 503, handlers.CodeNotSealed},
	} {
		path, query, _ := strings.Cut(c.sequence, "?")
		answer := r.call("GET", "/v1/events/"+path+"/proof?"+query, "")
		if p := answer.problem(c.status, c.code); !strings.Contains(p.Detail+answer.Body.String(), c.saying) {
			t.Errorf("%s: %+v", c.sequence, p)
		}
		if retry := answer.Header().Get("Retry-After"); (c.status == 503) != (retry == "1") {
			t.Errorf("%s: Retry-After is %q", c.sequence, retry)
		}
	}

	// What wasn't sealed is, once the sealer is told.
	r.visible.Store(total)
	r.sealer.Landed(sealedEvents+1, nil)
	r.covers(total)
	r.call("GET", fmt.Sprintf("/v1/events/%d/proof", total), "").want(200)
}

func TestTheLogIsTheBeginningOfTheLog(t *testing.T) {
	r := newSealed(t)
	r.start()
	head := r.head()
	roots := r.roots(head.Tree)
	for _, c := range []struct{ query, from, to string }{
		{"from=1", "1", "280"},
		{"from=280", "280", "280"},
		{"from=7&to=7", "7", "7"},
		{"from=1&to=2", "1", "2"},
		{"from=3&to=256", "3", "256"},
		{"from=255&to=279", "255", "279"},
	} {
		shown := decode[LogConsistency](r.call("GET", "/v1/log/consistency?"+c.query, "").want(200))
		if got := fmt.Sprint(shown.From, shown.To); got != c.from+" "+c.to {
			t.Errorf("%s: from and to are %s", c.query, got)
		}
		if shown.FromRoot != roots[shown.From].String() || shown.ToRoot != roots[shown.To].String() {
			t.Errorf("%s: the roots are %s and %s", c.query, shown.FromRoot, shown.ToRoot)
		}
		var path tlog.TreeProof
		for _, text := range shown.Hashes {
			hash, err := tlog.ParseHash(text)
			if err != nil {
				t.Fatal(err)
			}
			path = append(path, hash)
		}
		if err := tlog.CheckTree(path, int64(shown.To), roots[shown.To], int64(shown.From), roots[shown.From]); err != nil {
			t.Errorf("%s: %v", c.query, err)
		}
	}
	for query, code := range map[string]handlers.Code{
		"": handlers.CodeInvalid, "from=0": handlers.CodeInvalid, "from=x": handlers.CodeInvalid, "to=3": handlers.CodeInvalid,
		"from=3&to=2": handlers.CodeInvalid, "from=1&to=0": handlers.CodeInvalid, "from=284": handlers.CodeInvalid, "from=1&to=284": handlers.CodeInvalid,
		"from=9223372036854775808": handlers.CodeInvalid, "from=1&as_of=2": handlers.CodeInvalid, "from=1&size=2": handlers.CodeInvalid,
		"from=281": handlers.CodeNotSealed, "from=1&to=283": handlers.CodeNotSealed,
	} {
		status := 400
		if code == handlers.CodeNotSealed {
			status = 503
		}
		r.call("GET", "/v1/log/consistency?"+query, "").problem(status, code)
	}
}

// roots gives the root of the log of each size, in the plainest way, from the
// records that are served.
func (r *sealedRegistry) roots(head tlog.Tree) []tlog.Hash {
	r.Helper()
	records := append(r.entries("/log/tile/entries/000"), r.entries("/log/tile/entries/001.p/24")...)
	var stored []tlog.Hash
	hashes := tlog.HashReaderFunc(func(indexes []int64) (all []tlog.Hash, err error) {
		for _, i := range indexes {
			all = append(all, stored[i])
		}
		return all, nil
	})
	roots := make([]tlog.Hash, 1, len(records)+1)
	for i, record := range records {
		more, err := tlog.StoredHashes(int64(i), record, hashes)
		if err != nil {
			r.Fatal(err)
		}
		stored = append(stored, more...)
		root, err := tlog.TreeHash(int64(i+1), hashes)
		if err != nil {
			r.Fatal(err)
		}
		roots = append(roots, root)
	}
	if roots[head.N] != head.Hash {
		r.Fatalf("the records that are served give the root %v, the head has %v", roots[head.N], head.Hash)
	}
	return roots
}

func TestTilesAreServedAsTheStandardHasThem(t *testing.T) {
	r := newSealed(t)
	r.start()
	full := r.get("/log/tile/0/000").want(200).Body.Bytes()
	if len(full) != 256*tlog.HashSize {
		t.Fatalf("a full tile has %d bytes", len(full))
	}
	for _, c := range []struct {
		path string
		want int // bytes
		of   []byte
	}{
		{"/log/tile/0/000", 256 * tlog.HashSize, full},
		{"/log/tile/0/000.p/1", tlog.HashSize, full},
		{"/log/tile/0/000.p/255", 255 * tlog.HashSize, full},
		{"/log/tile/0/001.p/1", tlog.HashSize, nil},
		{"/log/tile/0/001.p/24", 24 * tlog.HashSize, nil},
		{"/log/tile/1/000.p/1", tlog.HashSize, nil},
	} {
		answer := r.get(c.path).want(200)
		data := answer.Body.Bytes()
		if len(data) != c.want || c.of != nil && !bytes.HasPrefix(c.of, data) {
			t.Errorf("%s has %d bytes, want %d, the beginning of the full one", c.path, len(data), c.want)
		}
		if h := answer.Header(); h.Get("Content-Type") != "application/octet-stream" || !strings.Contains(h.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %v", c.path, h)
		}
	}
	if n := len(r.entries("/log/tile/entries/001.p/3")); n != 3 {
		t.Errorf("a bundle of 3 has %d records", n)
	}
	for _, path := range []string{
		"0/001", "0/001.p/25", "0/002.p/1", "1/000", "1/000.p/2", "2/000.p/1", "63/000", "8/000.p/1", "64/000.p/1", // beyond the head
		"entries/001", "entries/001.p/25", "entries/002.p/1",
		"0/0", "0/1", "0/0000", "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/000.p/-1", "0/000.p", "0/000.p/", // not as they are spelled
		"0/x000/000", "0/x001", "0/-01", "-1/000", "00/000", "+0/000", "x/000", "data/000", "8/0/000", "0/000/000", "0/x999/x999/x999/x999/x999/x999/x999/999",
		"entries/0", "Entries/000",
	} {
		answer := r.get("/log/tile/" + path)
		answer.problem(404, handlers.CodeRouteNotFound)
		if cache := answer.Header().Get("Cache-Control"); strings.Contains(cache, "immutable") {
			t.Errorf("that %s isn't there is to be kept: %s", path, cache)
		}
	}
	r.get("/log/tile/0/000?as_of=1").problem(400, handlers.CodeInvalid)
	r.get("/log/checkpoint?as_of=1").problem(400, handlers.CodeInvalid)
	r.call("POST", "/log/checkpoint", "{}").problem(405, handlers.CodeMethodNotAllowed)
}
