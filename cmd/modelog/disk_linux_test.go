package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of its own with so much room.
func smallDisk(t *testing.T, options string, flags uintptr) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no tmpfs can be mounted: %v", err)
		}
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// disked is a registry on a small disk.
type disked struct {
	*testing.T
	disk, data, url string
	reserve         string
	server          *process
	client          *http.Client

	acked   map[string]int // sources of versions that were acknowledged, and their numbers
	refused map[string]bool
	unknown map[string]bool
	sent    int
}

func newDisked(t *testing.T, reserve string) *disked {
	t.Helper()
	disk := smallDisk(t, "size=48m", 0)
	d := &disked{
		T: t, disk: disk, data: filepath.Join(disk, "data"), reserve: reserve,
		acked: map[string]int{}, refused: map[string]bool{}, unknown: map[string]bool{},
	}
	client, done := oneConnection()
	t.Cleanup(done)
	d.client = client
	d.start()
	if status, answer := d.send(http.MethodPost, "/v1/models", `{"name":"fraud"}`, ""); status != http.StatusCreated {
		t.Fatalf("%d %s", status, answer)
	}
	return d
}

func (d *disked) start() {
	d.Helper()
	d.server, d.url = startOn(d.T, d.data, "--reserve", d.reserve)
}

func (d *disked) send(method, path, body, key string) (status int, answer []byte) {
	d.Helper()
	r, err := http.NewRequestWithContext(d.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	response, err := d.client.Do(r)
	if err != nil {
		d.Fatalf("the server is gone: %v\n%s", err, d.server.log.end())
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		d.Fatal(err)
	}
	return response.StatusCode, answer
}

// register sends a registration of some 8 KB, and gives the code of a refusal.
func (d *disked) register(source string) handlers.Code {
	d.Helper()
	body := fmt.Sprintf(`{"source":%q,"description":%q}`, source, strings.Repeat("0123456789abcdef", 500)+source)
	status, answer := d.send(http.MethodPost, "/v1/models/fraud/versions", body, source)
	if status == http.StatusCreated {
		var v api.Version
		if err := json.Unmarshal(answer, &v); err != nil {
			d.Fatal(err)
		}
		delete(d.unknown, source)
		delete(d.refused, source) // it was sent again
		d.acked[source] = v.Version
		return ""
	}
	var p api.Problem
	if err := json.Unmarshal(answer, &p); err != nil {
		d.Fatal(err)
	}
	if p.Code == handlers.CodeOutcomeUnknown {
		d.unknown[source] = true
	} else {
		d.refused[source] = true
	}
	if status != http.StatusServiceUnavailable {
		d.Fatalf("a full disk gets %d %s", status, answer)
	}
	return p.Code
}

func (d *disked) next() string {
	d.sent++
	return fmt.Sprintf("s3://fraud/%d", d.sent)
}

// fill takes all of the disk but so many bytes, and gives what frees it again.
func (d *disked) fill(left int64) (free func()) {
	d.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(d.disk, &s); err != nil {
		d.Fatal(err)
	}
	name := filepath.Join(d.disk, fmt.Sprintf("filler-%d", left))
	size := max(0, int64(s.Bavail)*s.Bsize-left)
	if err := os.WriteFile(name, bytes.Repeat([]byte{1}, int(size)), 0o600); err != nil {
		d.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			d.Fatal(err)
		}
	}
}

// wantTrue compares what is there with what was answered.
func (d *disked) wantTrue() {
	d.Helper()
	there := map[string]int{}
	path := "/v1/models/fraud/versions?limit=1000"
	for cursor := ""; ; {
		status, answer := d.send(http.MethodGet, path+cursor, "", "")
		var list api.VersionList
		if err := json.Unmarshal(answer, &list); err != nil || status != http.StatusOK {
			d.Fatalf("%d %v %s", status, err, answer)
		}
		for _, v := range list.Versions {
			if other, twice := there[v.Source]; twice {
				d.Errorf("%s is there as %d and as %d", v.Source, v.Version, other)
			}
			there[v.Source] = v.Version
		}
		if list.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + list.NextCursor
	}
	for source, version := range d.acked {
		if there[source] != version {
			d.Errorf("%s was acknowledged as %d, and is there as %d", source, version, there[source])
		}
	}
	for source := range there {
		if d.refused[source] {
			d.Errorf("%s was refused, and is there", source)
		}
	}
	if len(there) < len(d.acked) || len(there) > len(d.acked)+len(d.unknown) {
		d.Errorf("%d versions are there, %d were acknowledged, and %d are not known", len(there), len(d.acked), len(d.unknown))
	}
}

// wantVerified stops the server, and rebuilds the state from the log alone.
func (d *disked) wantVerified() {
	d.Helper()
	_, answer := d.send(http.MethodGet, "/v1/state?compute=true", "", "")
	var state api.State
	if err := json.Unmarshal(answer, &state); err != nil {
		d.Fatal(err)
	}
	if err := d.server.stop(); err != nil {
		d.Fatal(err)
	}
	cmd := exec.CommandContext(d.Context(), "modelog", "verify", "--data", d.data, "--expect", state.Digest.SHA256)
	cmd.Env = cleanEnvironment()
	if out, err := cmd.CombinedOutput(); err != nil {
		d.Errorf("%v: %s", err, out)
	}
}

func (d *disked) wantReads() {
	d.Helper()
	for _, path := range []string{"/v1/models/fraud", "/v1/models/fraud/versions/latest", "/v1/state"} {
		if status, answer := d.send(http.MethodGet, path, "", ""); status != http.StatusOK {
			d.Errorf("GET %s: %d %s", path, status, answer)
		}
	}
}

// TestADiskThatFillsUpRefusesWritesBeforeItIsFull: from the reserve on nothing is
// written, nothing that was refused comes true, and all goes on when there is
// room again.
func TestADiskThatFillsUpRefusesWritesBeforeItIsFull(t *testing.T) {
	d := newDisked(t, "16MiB")
	free := d.fill(18 << 20)
	var code handlers.Code
	for code == "" {
		if d.sent > 10_000 {
			t.Fatal("the disk never fills up")
		}
		code = d.register(d.next())
	}
	if code != handlers.CodeDiskFull {
		t.Fatalf("the refusal is %s", code)
	}
	for range 20 {
		if code := d.register(d.next()); code != handlers.CodeDiskFull {
			t.Errorf("another one is %q", code)
		}
	}
	more := d.fill(15 << 20)
	if status, answer := d.send(http.MethodGet, "/readyz", "", ""); status == http.StatusOK || !strings.Contains(string(answer), "disk") {
		t.Errorf("/readyz says %d %s", status, answer)
	}
	d.wantReads()
	d.wantTrue()
	more()
	free()
	if code := d.register(d.next()); code != "" {
		t.Errorf("with room again: %s", code)
	}
	d.wantTrue()
	d.wantVerified()
	d.start()
	d.wantTrue()
	t.Logf("%d were acknowledged, %d refused", len(d.acked), len(d.refused))
}

// TestAnUtterlyFullDiskLosesNothing has no reserve: the server's own writes fail.
func TestAnUtterlyFullDiskLosesNothing(t *testing.T) {
	d := newDisked(t, "0B")
	for range 20 {
		if code := d.register(d.next()); code != "" {
			t.Fatal(code)
		}
	}
	free := d.fill(64 << 10)
	failed := 0
	for failed < 2 { // each takes as long as a request may
		if d.sent > 10_000 {
			t.Fatal("the disk never fills up")
		}
		if d.register(d.next()) != "" {
			failed++
		}
	}
	d.wantReads()
	free()
	for source := range d.unknown { // the same key asks again
		if code := d.register(source); code != "" {
			t.Errorf("%s, asked again: %s", source, code)
		}
	}
	if code := d.register(d.next()); code != "" {
		t.Errorf("with room again: %s", code)
	}
	d.wantTrue()
	d.wantVerified()
	d.start()
	d.wantTrue()
	t.Logf("%d were acknowledged, %d refused", len(d.acked), len(d.refused))
}

// TestADataDirectoryThatCantBeWrittenIsRefused: a clear word beats a server that
// can't do anything.
func TestADataDirectoryThatCantBeWrittenIsRefused(t *testing.T) {
	disk := smallDisk(t, "size=1m", unix.MS_RDONLY)
	for _, data := range []string{disk, filepath.Join(disk, "data")} {
		ctx, cancel := context.WithTimeout(t.Context(), startLimit)
		cmd := exec.CommandContext(ctx, "modelog", "serve", "--listen", "127.0.0.1:0", "--data", data)
		cmd.Env = cleanEnvironment()
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), data) || !strings.Contains(string(out), "read-only file system") {
			t.Errorf("--data %s: %v: %s", data, err, out)
		}
	}
}

// TestAnImportForWhichThereIsNoRoomLeavesNothing imports into disks that are too small
// for the log, at once or in the middle.
func TestAnImportForWhichThereIsNoRoomLeavesNothing(t *testing.T) {
	export := fileOf(t, exported(t, registered(t, 60_000), false))
	for _, size := range []string{"4m", "262m"} {
		disk := smallDisk(t, "size="+size, 0)
		data := filepath.Join(disk, "data")
		var out, errs bytes.Buffer
		a := testApp()
		a.stdout, a.stderr = &out, &errs
		code := a.run(t.Context(), []string{"import", "log", export, "--data", data})
		if code != handlers.ExitUnavailable || !strings.Contains(errs.String(), "free some space") {
			t.Errorf("on %s: exit code %d, %s%s", size, code, out.String(), errs.String())
		}
		left, err := os.ReadDir(disk)
		if err != nil || len(left) != 0 {
			t.Errorf("on %s it leaves %v, %v", size, left, err)
		}
	}
}
