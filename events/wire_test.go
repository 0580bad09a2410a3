package events

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "add the missing files of testdata/wire")

const wireDir = "testdata/wire"

// testdata/wire has every kind of event as each release wrote it: <kind>.json at
// the edges and <kind>.log on the log. Files are only ever added: -update writes
// those that are missing, and none that is there. A shape that has to change
// before the first release freezes it is redone by deleting its two files and
// running go test ./events -update; after that it gets a new .v<n>.
func TestOldEventsAreReadAndWrittenTheSame(t *testing.T) {
	if *update {
		addMissingWireFiles(t)
	}
	files, err := filepath.Glob(wireDir + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		kind := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(kind, func(t *testing.T) {
			edge := read(t, file)
			e := fromJSON(t, []byte(edge))
			if e.Data.kind() != kind {
				t.Errorf("it holds a %s", e.Data.kind())
			}
			if diff := cmp.Diff(edge, edgeFile(t, e)); diff != "" {
				t.Errorf("at the edges (- as it was, + as it is written now):\n%s", diff)
			}
			if diff := cmp.Diff(read(t, wireDir+"/"+kind+".log"), logFile(t, e)); diff != "" {
				t.Errorf("on the log (- as it was, + as it is written now):\n%s", diff)
			}
		})
	}
}

func TestEveryKindHasWireFiles(t *testing.T) {
	for kind := range Kinds() {
		for _, name := range []string{kind + ".json", kind + ".log"} {
			if _, err := os.Stat(filepath.Join(wireDir, name)); err != nil {
				t.Errorf("%v: run go test ./events -update", err)
			}
		}
	}
}

func addMissingWireFiles(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(wireDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for kind, e := range examples() {
		addMissing(t, filepath.Join(wireDir, kind+".json"), edgeFile(t, e))
		addMissing(t, filepath.Join(wireDir, kind+".log"), logFile(t, e))
	}
}

func addMissing(t *testing.T, name, content string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if os.IsExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("added %s", name)
}

// edgeFile is the event's JSON, indented for those who review it.
func edgeFile(t *testing.T, e Event) string {
	t.Helper()
	v := jsontext.Value(toJSON(t, e))
	if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
		t.Fatal(err)
	}
	return string(v) + "\n"
}

// logFile is the event's message: subject, headers and a dump of the data.
func logFile(t *testing.T, e Event) string {
	t.Helper()
	s := stored(t, e)
	var b strings.Builder
	fmt.Fprintln(&b, s.Subject)
	for _, f := range s.Header {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	fmt.Fprintf(&b, "\n%s", hex.Dump(s.Data))
	return b.String()
}

func read(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}
