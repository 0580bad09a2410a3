package main

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// importing gives the program as it imports a file into a directory.
func importing(ctx context.Context, name, data string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "modelog", "import", "log", name, "--data", data)
	cmd.Env = cleanEnvironment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// TestAnImportThatIsKilledIsCompletedByTheNext kills the program at random moments,
// again and again on one directory until an import comes through: what is there
// after each is no registry at all, or the whole one.
func TestAnImportThatIsKilledIsCompletedByTheNext(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d; -crash-seed=%d runs it again", seed, seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	const last = 6000
	name := fileOf(t, exported(t, registered(t, last), true))

	whole := filepath.Join(t.TempDir(), "data")
	began := time.Now()
	if out, err := importing(t.Context(), name, whole).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	takes := time.Since(began)
	want, err := testApp().verifyData(t.Context(), whole, "")
	if err != nil || want.Events != last {
		t.Fatalf("got %+v, %v", want, err)
	}

	data := filepath.Join(t.TempDir(), "data")
	kills, nothing, complete := 0, 0, 0
	for range 12 {
		cmd := importing(t.Context(), name, data)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The moment of the kill, not a wait for anything. The last steps are short.
		moment := time.Duration(chance.Int64N(int64(takes) * 11 / 10))
		if chance.IntN(2) == 0 {
			moment = takes*8/10 + time.Duration(chance.Int64N(int64(takes)*3/10))
		}
		time.Sleep(moment)
		_ = cmd.Process.Kill() // it may be through
		if cmd.Wait() != nil {
			kills++
		}
		got, err := testApp().verifyData(t.Context(), data, "")
		switch {
		case err == nil:
			complete++
			if diff := cmp.Diff(want.Digest, got.Digest); diff != "" || got.Events != last {
				t.Fatalf("after %v there is a registry of %d events: %s", moment, got.Events, diff)
			}
			out, err := importing(t.Context(), name, data).CombinedOutput()
			if exitCodeOf(err) != 4 || !strings.Contains(string(out), "holds a registry already") {
				t.Fatalf("an import over it: %v: %s", err, out)
			}
			data = filepath.Join(t.TempDir(), "data")
		case exitCode(err) != 2 || !strings.Contains(err.Error(), "holds no registry"):
			t.Fatalf("after %v: %v", moment, err)
		default:
			nothing++
		}
	}
	t.Logf("an import takes %v; %d of them were killed; %d left nothing, %d all", takes, kills, nothing, complete)
	if kills == 0 {
		t.Error("nothing was killed: the test shows nothing")
	}
	if out, err := importing(t.Context(), name, data).CombinedOutput(); err != nil {
		t.Fatalf("the last import: %v: %s", err, out)
	}
	if got, err := testApp().verifyData(t.Context(), data, want.Digest); err != nil || got.Events != last {
		t.Errorf("got %+v, %v", got, err)
	}
	left, err := filepath.Glob(filepath.Join(data, freshPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left behind (%v)", left, err)
	}
}

func TestAnImportOntoADiskThatCantTakeItSaysSo(t *testing.T) {
	name := fileOf(t, exported(t, registered(t, 3000), true))
	readOnly, full := smallDisk(t, "size=1m", unix.MS_RDONLY), smallDisk(t, "size=600k", 0)
	for _, test := range []struct {
		name, data, saying string
		code               int
	}{
		{"a read-only disk", readOnly, "read-only file system", 2},
		{"a directory to be made on it", filepath.Join(readOnly, "data"), "read-only file system", 2},
		{"a disk that is nearly full", full, "disk is nearly full", 6},
		{"a directory to be made on that", filepath.Join(full, "data"), "free some space", 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), startLimit)
			defer cancel()
			out, err := importing(ctx, name, test.data).CombinedOutput()
			if exitCodeOf(err) != test.code || !strings.Contains(string(out), test.saying) || strings.Contains(string(out), "panic") {
				t.Errorf("exits with %d: %s", exitCodeOf(err), out)
			}
			if entries, err := os.ReadDir(test.data); err == nil && len(entries) > 0 {
				t.Errorf("%v is left behind", entries)
			}
		})
	}
}
