// Package tlog judges exported trees with the fsck of Tessera, a log server that
// shares no code with modelog.
package tlog

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

// hashBundle gives the leaf hashes of a bundle of entries.
func hashBundle(data []byte) ([][]byte, error) {
	var bundle api.EntryBundle
	if err := bundle.UnmarshalText(data); err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(bundle.Entries))
	for i, entry := range bundle.Entries {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(entry)
	}
	return hashes, nil
}

func check(t *testing.T, dir string) error {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(dir, "verifier.key"))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		t.Fatal(err)
	}
	// With fewer workers than files it hangs when something is wrong.
	f := fsck.New(verifier.Name(), verifier, client.FileFetcher{Root: dir}, hashBundle, fsck.Opts{N: 8})
	return f.Check(t.Context())
}

// TestTesseraAgreesWithAnExportedTree exports the tree of a registry that the
// program named by MODELOG serves.
func TestTesseraAgreesWithAnExportedTree(t *testing.T) {
	dir := export(t)
	if err := check(t, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"checkpoint", "tile/0/000", "tile/0/001", "tile/1/000.p/2", "tile/entries/000", "tile/entries/001"} {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(good)
		bad[len(bad)/2] ^= 1
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if check(t, dir) == nil {
			t.Errorf("a flipped byte in %s isn't found", name)
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// export runs a registry until it has 520 events, and exports its tree.
func export(t *testing.T) string {
	t.Helper()
	program := os.Getenv("MODELOG")
	if program == "" {
		t.Skip("MODELOG names no program; make conformance does")
	}
	const address = "127.0.0.1:17671"
	dir := t.TempDir()
	server := exec.CommandContext(t.Context(), program, "serve", "--data", filepath.Join(dir, "data"), "--listen", address)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait()
	})
	run := func(args ...string) error {
		cmd := exec.CommandContext(t.Context(), program, append(args, "--server", "http://"+address)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("%v: %s", args, out)
		}
		return err
	}
	for tries := 0; run("state") != nil; tries++ {
		if tries == 100 {
			t.Fatal("the registry doesn't start")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := run("model", "create", "fraud"); err != nil {
		t.Fatal(err)
	}
	for i := range 517 {
		if err := run("register", "fraud", "--source", "s3://models/fraud/"+strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	tree := filepath.Join(dir, "tree")
	for tries := 0; ; tries++ {
		if err := run("audit", "tiles", tree); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(tree, "tile", "0", "001")); err == nil {
			return tree
		}
		if tries == 50 {
			t.Fatal("the log isn't sealed")
		}
		if err := os.RemoveAll(tree); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
