package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers"
)

func runDemo(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: &out, getenv: func(string) string { return "" }}
	code = a.run(t.Context(), append([]string{"demo"}, args...))
	return out.String(), code
}

func TestDemoEndsWithAVerifiedRebuild(t *testing.T) {
	output, code := runDemo(t)
	if code != 0 {
		t.Fatalf("the demo exits with %d:\n%s", code, output)
	}
	lines := strings.Split(strings.TrimSuffix(output, "\n"), "\n")
	last := lines[len(lines)-1]
	if strings.HasPrefix(last, "sealed: the first ") { // what has been by then
		last = lines[len(lines)-2]
	}
	if !regexp.MustCompile(`^verified: 14 events, state digest [0-9a-f]{64} equals rebuild$`).MatchString(last) {
		t.Errorf("the last line is %q", last)
	}
	for _, want := range []string{
		"event 2  dev.modelog.model.registered.v1  models/tumor",
		"event 9  dev.modelog.version.promoted.v1  models/tumor/versions/2",
		"promoted from None to Production, displacing 1: accuracy 0.9883 instead of 0.8830",
		"rolled back from generation 13 to 11",
		"  prod/triage  tumor/2  14 ",   // what is live now
		"  version           tumor/1\n", // what was in production then
	} {
		if !strings.Contains(output, want) {
			t.Errorf("the demo doesn't say %q", want)
		}
	}
	if strings.Contains(output, os.TempDir()) {
		t.Error("the demo shows where its temporary files are")
	}
}

func TestDemoKeepsItsRegistryOnRequest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "registry")
	output, code := runDemo(t, "--keep", dir)
	if code != 0 {
		t.Fatalf("the demo exits with %d:\n%s", code, output)
	}
	v, err := testApp().verifyData(t.Context(), dir, "")
	if err != nil || v.Events != 14 {
		t.Errorf("the registry that was kept has %d events, %v", v.Events, err)
	}
	output, code = runDemo(t, "--keep", dir)
	if code != handlers.ExitInvalid || !strings.Contains(output, "is not empty") {
		t.Errorf("a second demo into the same directory exits with %d:\n%s", code, output)
	}
}

// TestDemoModelsAreWhatTheirManifestSays hashes the embedded files.
func TestDemoModelsAreWhatTheirManifestSays(t *testing.T) {
	type file struct {
		File, Sha256 string
		Size         int
	}
	var manifest struct {
		Datasets    []file
		Generations []struct{ Files []file }
	}
	data, err := demoModels.ReadFile(demoDir + "/models.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &manifest, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	files := manifest.Datasets
	for _, g := range manifest.Generations {
		files = append(files, g.Files...)
	}
	if len(files) != 8 {
		t.Fatalf("the manifest names %d files, want 2 data sets and 3 times 2 models", len(files))
	}
	for _, f := range files {
		data, err := demoModels.ReadFile(demoDir + "/" + f.File)
		if err != nil {
			t.Error(err)
			continue
		}
		sum := sha256.Sum256(data)
		if got := hex.EncodeToString(sum[:]); got != f.Sha256 || len(data) != f.Size {
			t.Errorf("%s has %d bytes and digest %s, the manifest says %d and %s", f.File, len(data), got, f.Size, f.Sha256)
		}
	}
}

// TestDemoModelsMeasureAsRecorded loads the models with scikit-learn and ONNX
// Runtime, and measures them again.
func TestDemoModelsMeasureAsRecorded(t *testing.T) {
	python, err := filepath.Abs("../../.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); err != nil {
		const why = "no Python environment in .venv: make test makes it where there is a python3"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	out, err := exec.CommandContext(t.Context(), python, "-B", "demo/models/check.py").CombinedOutput()
	if err != nil {
		t.Errorf("check.py: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}
