package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/projections"
	"github.com/modelog/modelog/projections/runner"
	"github.com/oklog/ulid/v2"
)

// wireEvents has the event of each kind that events keeps, the registry's creation
// first and the rest sorted by name.
func wireEvents(t *testing.T) []events.Event {
	t.Helper()
	names, err := filepath.Glob("../../events/testdata/wire/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []events.Event
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		ce, err := events.ParseCloudEvent(bytes.TrimSpace(data))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e, err := events.FromCloudEvent(ce)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, e)
	}
	if len(all) != len(events.Kinds()) {
		t.Fatalf("there are %d examples of %d kinds", len(all), len(events.Kinds()))
	}
	first := slices.IndexFunc(all, func(e events.Event) bool { _, ok := e.Data.(events.RegistryCreated); return ok })
	created := all[first]
	return slices.Insert(slices.Delete(all, first, first+1), 0, created)
}

// numbered makes a log of events.
func numbered(all []events.Event) []events.Event {
	all = slices.Clone(all)
	for i := range all {
		all[i].Sequence = uint64(i + 1)
		all[i].ID = ulid.ULID{14: byte(i >> 8), 15: byte(i)}
		all[i].Time = time.Date(2026, 11, 24, 2, 0, 0, i*int(time.Millisecond), time.UTC)
	}
	return all
}

// someHistory is a log of events of any kinds, by chance.
func someHistory(t *testing.T, chance *rand.Rand, last int) []events.Event {
	t.Helper()
	kinds := wireEvents(t)
	told := kinds[:1:1]
	for len(told) < last {
		told = append(told, kinds[1+chance.IntN(len(kinds)-1)])
	}
	return numbered(told)
}

// exported writes an export, and gives its bytes.
func exported(t *testing.T, told []events.Event, compress bool) []byte {
	t.Helper()
	var out bytes.Buffer
	x, err := newExportWriter(&out, compress)
	if err != nil {
		t.Fatal(err)
	}
	run := runner.New(nil)
	for _, e := range told {
		if err := x.event(e); err != nil {
			t.Fatal(err)
		}
		if err := run.Replay(e); err != nil {
			t.Fatal(err)
		}
	}
	m := &exportManifest{Registry: told[0].Registry.String(), Fold: projections.FoldVersion}
	run.Publish(uint64(len(told)))
	if m.Digest, err = run.Digest(t.Context(), uint64(len(told))); err != nil {
		t.Fatal(err)
	}
	if err := x.finish(m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func fileOf(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "export")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// sumsIn gives the sums of the events in a data directory, and the digest of their
// state.
func sumsIn(t *testing.T, data string) (sums [][sha256.Size]byte, digest string) {
	t.Helper()
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: data, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // it was only read
	last, err := log.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for stored, err := range log.Read(t.Context(), 1, last) {
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, stored.Sum())
	}
	run := runner.New(log)
	if err := run.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	digest, err = run.Digest(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	return sums, digest
}

func TestWhatIsImportedIsWhatWasExported(t *testing.T) {
	chance := rand.New(rand.NewPCG(5, 3))
	histories := [][]events.Event{numbered(wireEvents(t)), numbered(wireEvents(t)[:1])}
	for _, last := range []int{2, 255, 256, 257, 700} { // around the ends of batches and groups
		histories = append(histories, someHistory(t, chance, last))
	}
	for i, told := range histories {
		var want [][sha256.Size]byte
		for _, e := range told {
			encoded, err := events.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, encoded.Sum())
		}
		name, data := fileOf(t, exported(t, told, i%2 == 0)), filepath.Join(t.TempDir(), "data")
		m, err := testApp().importLog(t.Context(), name, data)
		if err != nil {
			t.Fatalf("%d events: %v", len(told), err)
		}
		sums, digest := sumsIn(t, data)
		if diff := cmp.Diff(want, sums); diff != "" || digest != m.Digest || m.Events != uint64(len(told)) {
			t.Errorf("%d events come back as others (digest %s, manifest %+v):\n%s", len(told), digest, m, diff)
		}
		// And out again, byte for byte.
		again := filepath.Join(t.TempDir(), "again.ndjson")
		source, err := dataSource(t.Context(), data, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := testApp().export(t.Context(), source, again); err != nil {
			t.Fatal(err)
		}
		if err := source.close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(again); err != nil || !bytes.Equal(got, exported(t, told, false)) {
			t.Errorf("%d events are exported again as others (%v)", len(told), err)
		}
		v, err := testApp().verifyExport(t.Context(), name, "")
		if err != nil || v.err() != nil || v.Digest != digest || v.Expected != digest {
			t.Errorf("verify says %+v of the export, %v", v, err)
		}
	}
}

// TestADamagedExportIsRefusedWithTheLine does what can be done to an export of 300
// events, that is more than a batch, and its manifest on line 301.
func TestADamagedExportIsRefusedWithTheLine(t *testing.T) {
	told := someHistory(t, rand.New(rand.NewPCG(7, 7)), 300)
	good := exported(t, told, false)
	lines := bytes.SplitAfter(good, []byte("\n"))
	lines = lines[:len(lines)-1]
	if len(lines) != 301 {
		t.Fatalf("there are %d lines", len(lines))
	}
	line := func(n int) []byte { return lines[n-1] }
	with := func(n int, replaced ...[]byte) []byte {
		return bytes.Join(slices.Concat(lines[:n-1], replaced, lines[n:]), nil)
	}
	swap := func(n int, old, replacement string) []byte {
		t.Helper()
		if !bytes.Contains(line(n), []byte(old)) {
			t.Fatalf("line %d has no %s: %s", n, old, line(n))
		}
		return with(n, bytes.Replace(line(n), []byte(old), []byte(replacement), 1))
	}
	resealed := func(change func([]events.Event) []events.Event) []byte {
		return exportOfAnything(t, change(slices.Clone(told)))
	}
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(good); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	later := told[41].Time.Format("2006-01-02T15:04:05.000Z")
	foreign := ulid.MustParse("01KXFT0001REG1STRY00000000")
	for _, c := range []struct {
		name   string
		export []byte
		line   int
		saying string
	}{
		{"nothing", nil, 1, "the file is empty"},
		{"no export", []byte("models: fraud\n"), 1, "it is not an event with its exporthash"},
		{"without its manifest", bytes.Join(lines[:300], nil), 301, "ends before it, without its manifest"},
		{"without its last events", bytes.Join(lines[:200], nil), 201, "ends before it, without its manifest"},
		{"cut off within a line", good[:len(good)-len(line(301))-20], 300, "cut off"},
		{"cut off within the manifest", good[:len(good)-1], 301, "cut off"},
		{"an edited time", swap(42, later, "2026-11-24T02:00:00.042Z"), 42, "it was edited: what it says of event 42"},
		{"an edited id", swap(300, `"id":"0000000000`, `"id":"0000000001`), 300, "it was edited"},
		{"a line that is no JSON any more", swap(17, `"data":{`, `"data":[`), 17, "it was edited: "},
		{"a line with a space more", swap(17, `"data":{`, `"data": {`), 17, "it was edited"},
		{"a line with another hash", swap(17, `"exporthash":"`, `"exporthash":"0`), 17, "it is not an event with its exporthash"},
		{"a line without its hash", swap(17, `"exporthash"`, `"exportsum"`), 17, "it is not an event with its exporthash"},
		{"a line less", with(99), 99, "it is event 100: event 99 is missing"},
		{"the first line less", with(1), 1, "it is event 2: event 1 is missing"},
		{"a line twice", with(99, line(99), line(99)), 100, "it is event 99, which belongs on line 99: it is there twice"},
		{"two lines in the other order", bytes.Join(slices.Concat(lines[:99], [][]byte{line(101), line(100)}, lines[101:]), nil), 100, "it is event 101"},
		{"a line of elsewhere", with(99, line(5)), 99, "it is event 5, which belongs on line 5"},
		{"an empty line", with(99, []byte("\n"), line(99)), 99, "it is not an event"},
		{"line ends of another system", bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), 1, "it is not an event"},
		{"a line longer than any event", with(99, bytes.Repeat([]byte("a"), maxExportLine+1<<21), []byte("\n")), 99, "longer than any event"},
		{"something after the manifest", append(slices.Clone(good), '\n'), 302, "something follows the manifest"},
		{"an export twice", append(slices.Clone(good), good...), 302, "something follows the manifest"},
		{"a manifest alone", line(301), 1, "there is no event before the manifest"},
		{"a manifest of fewer events", swap(301, `"last":300`, `"last":299`), 301, "speaks of 300 events, 1 to 299; there are 300"},
		{"a manifest of other lines", swap(301, `"sha256":"`, `"sha256":"0`), 301, "another hash of the lines"},
		{"a manifest with more in it", swap(301, `{"format"`, `{"format":"modelog export","x":1,"y"`), 301, "the manifest can't be read"},
		{"a manifest of another state", swap(301, `"digest":"`, `"digest":"0`), 301, "the manifest has the state digest 0"},
		{"a manifest of another registry", swap(301, `"registry":"01KXFT0000`, `"registry":"01KXFT0001`), 301, "the manifest is of registry 01KXFT0001"},
		{"a later version", swap(301, `"version":1`, `"version":2,"new":true`), 301, "version 2 of the format; this release reads version 1"},
		{"another format", swap(301, `"modelog export"`, `"other export"`), 301, `its format is "other export"`},
		{"compressed and cut off", packed.Bytes()[:packed.Len()-9], 0, ""},
		{"compressed and damaged", append(packed.Bytes()[:packed.Len()/2:packed.Len()/2], bytes.Repeat([]byte{0xAA}, packed.Len()/2)...), 0, ""},

		// With hashes made anew, by somebody who knows how.
		{"an event of another registry", resealed(func(all []events.Event) []events.Event { all[49].Registry = foreign; return all }), 50, "the log holds events of another registry"},
		{"a time before the last one", resealed(func(all []events.Event) []events.Event { all[49].Time = all[47].Time; return all }), 50, "before the event on the line above"},
		{"a log that begins with something else", resealed(func(all []events.Event) []events.Event { all[0].Data = all[1].Data; return all }), 1, "another registry"},
		{"a sequence that is missing", resealed(func(all []events.Event) []events.Event { all[49].Sequence = 51; return all }), 50, "it is event 51"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name, data := fileOf(t, c.export), filepath.Join(t.TempDir(), "data")
			_, err := testApp().importLog(t.Context(), name, data)
			bad, ok := errors.AsType[*lineError](err)
			if !ok || c.line > 0 && bad.line != uint64(c.line) || !strings.Contains(err.Error(), c.saying) || exitCode(err) != 2 {
				t.Errorf("import: exit code %d, %v; want line %d: %s", exitCode(err), err, c.line, c.saying)
			}
			if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something is left behind: %v", err)
			}
			v, err := testApp().verifyExport(t.Context(), name, "")
			err = verifyError(t.Context(), err)
			if err == nil {
				err = v.err()
			}
			if exitCode(err) != 7 || c.line > 0 && !strings.Contains(err.Error(), "line "+strconv.Itoa(c.line)+" ") {
				t.Errorf("verify: exit code %d, %v", exitCode(err), err)
			}
		})
	}
}

// exportOfAnything writes events that are no history.
func exportOfAnything(t *testing.T, told []events.Event) []byte {
	t.Helper()
	var out bytes.Buffer
	x, err := newExportWriter(&out, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range told {
		if err := x.event(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.finish(&exportManifest{Registry: told[0].Registry.String(), Fold: projections.FoldVersion, Digest: "0"}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestEveryFlippedByteOfAnExportIsFound flips one byte after the other.
func TestEveryFlippedByteOfAnExportIsFound(t *testing.T) {
	told := someHistory(t, rand.New(rand.NewPCG(1, 1)), 3)
	good := exported(t, told, false)
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		x, err := openExport(bytes.NewReader(bad))
		if err != nil {
			t.Fatal(err)
		}
		f := exportFile{lines: x}
		b := runner.NewRebuild(nil, 0)
		err = f.each(t.Context(), func(e events.Event, _ events.Encoded) error { return b.Add(t.Context(), e) })
		if err == nil {
			var v runner.Verdict
			if v, err = b.Finish(t.Context()); err == nil && f.manifest.Fold == projections.FoldVersion {
				err = f.check(v)
			}
		}
		line := uint64(1 + bytes.Count(good[:i], []byte("\n")))
		found, ok := errors.AsType[*lineError](err)
		fold := f.manifest != nil && f.manifest.Fold != projections.FoldVersion // then there is nothing to compare
		if !fold && (!ok || found.line != line) {
			t.Errorf("byte %d on line %d, %q: %v", i, line, good[i], err)
		}
	}
}

func TestAnImportLeavesADirectoryWithARegistryAlone(t *testing.T) {
	name := fileOf(t, exported(t, numbered(wireEvents(t)), false))
	data := filepath.Join(t.TempDir(), "data")
	if _, err := testApp().importLog(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
	before, _ := sumsIn(t, data)
	_, err := testApp().importLog(t.Context(), name, data)
	if exitCode(err) != 4 || !strings.Contains(fmt.Sprint(err), "holds a registry already, and is left as it is") {
		t.Errorf("got %v", err)
	}
	if after, _ := sumsIn(t, data); !cmp.Equal(before, after) {
		t.Error("it was changed")
	}
}

func TestAnImportTakesAnEmptyDirectoryAndWhatADeadOneLeft(t *testing.T) {
	name, data := fileOf(t, exported(t, numbered(wireEvents(t)), false)), t.TempDir()
	if err := os.MkdirAll(filepath.Join(data, freshPrefix+"1", dataLog, "more"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := testApp().importLog(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{dataLock, dataLog, dataSnapshots}, names); diff != "" {
		t.Error(diff)
	}
}

func TestAnImportEndsWithItsContext(t *testing.T) {
	name, data := fileOf(t, exported(t, someHistory(t, rand.New(rand.NewPCG(2, 2)), 600), false)), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := testApp().importLog(ctx, name, data)
	if exitCode(err) != 6 || !strings.Contains(fmt.Sprint(err), "interrupted") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(data); err != nil || len(entries) > 0 {
		t.Errorf("%v is left behind (%v)", entries, err)
	}
}

func TestAnExportLeavesAFileAlone(t *testing.T) {
	name := fileOf(t, []byte("precious"))
	source := &exportSource{until: 1, each: func(context.Context, func(events.Event) error) error { t.Error("it is written"); return nil }}
	if _, err := testApp().export(t.Context(), source, name); exitCode(err) != 4 {
		t.Errorf("got %v", err)
	}
	// One that can't be finished leaves none behind.
	name = filepath.Join(t.TempDir(), "export")
	source.each = func(context.Context, func(events.Event) error) error { return events.ErrUnavailable }
	if _, err := testApp().export(t.Context(), source, name); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(name)); err != nil || len(entries) > 0 {
		t.Errorf("%v is left behind (%v)", entries, err)
	}
}
