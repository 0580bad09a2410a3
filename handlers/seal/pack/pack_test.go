package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/seal"
	"github.com/oklog/ulid/v2"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var (
	registryID  = ulid.MustParse("01KXFT0000REG1STRY00000000")
	fraudID     = ulid.MustParse("01KXFT0001M0DE100000000000")
	churnID     = ulid.MustParse("01KXFT0002M0DE100000000000")
	firstMoment = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
)

// ledger is a sealed log, made in the plainest way.
type ledger struct {
	skey    string
	vkey    string
	shown   []jsontext.Value
	records [][]byte
	hashes  []tlog.Hash // as tlog stores them
}

func newLedger(t *testing.T, n int) *ledger {
	t.Helper()
	l := &ledger{}
	var err error
	if l.skey, l.vkey, err = note.GenerateKey(nil, seal.Origin(registryID)); err != nil {
		t.Fatal(err)
	}
	l.tell(t, events.RegistryCreated{RegistryID: registryID, Level: 1})
	l.tell(t, events.RegistrySigningKeyChanged{RegistryID: registryID, VerifierKey: l.vkey})
	for i := range n - 2 {
		model := fraudID
		if i%3 == 0 {
			model = churnID
		}
		l.tell(t, events.VersionRegistered{ModelID: model, Version: i + 1, Semver: fmt.Sprintf("1.%d.0", i), Source: "s3://models", Metrics: map[string]float64{"auc": 1e-7}})
	}
	return l
}

func (l *ledger) tell(t *testing.T, d events.Data) {
	t.Helper()
	sequence := uint64(len(l.records)) + 1
	e := events.Event{
		Sequence: sequence, ID: ulid.ULID{14: byte(sequence >> 8), 15: byte(sequence)}, Registry: registryID, Subject: "somewhere",
		Time: firstMoment.Add(time.Duration(sequence) * time.Second), Principal: "prn_1", Data: d,
	}
	encoded, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	record, err := seal.AppendLeaf(nil, sequence, encoded)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := events.AppendEvent(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := tlog.StoredHashes(int64(sequence-1), record, l)
	if err != nil {
		t.Fatal(err)
	}
	l.shown, l.records, l.hashes = append(l.shown, shown), append(l.records, record), append(l.hashes, hashes...)
}

func (l *ledger) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		all[i] = l.hashes[index]
	}
	return all, nil
}

func (l *ledger) checkpoint(t *testing.T, size int) []byte {
	t.Helper()
	root, err := tlog.TreeHash(int64(size), l)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(l.skey)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", seal.Origin(registryID), size, root)}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (l *ledger) source(t *testing.T) Source {
	t.Helper()
	return Source{
		Registry: registryID.String(), Keys: []string{l.vkey}, Checkpoint: l.checkpoint(t, len(l.records)), KeyChanges: []uint64{2},
		Tile: func(_ context.Context, path string) ([]byte, error) {
			level, n, w, err := seal.ParseTilePath(path)
			if err != nil {
				return nil, err
			}
			if level == seal.EntriesLevel {
				var bundle []byte
				for _, record := range l.records[n*width : n*width+int64(w)] {
					bundle = seal.AppendEntry(bundle, record)
				}
				return bundle, nil
			}
			return tlog.ReadTileData(tlog.Tile{H: height, L: level, N: n, W: w}, l)
		},
		Events: func(_ context.Context, from, to uint64) iter.Seq2[jsontext.Value, error] {
			return func(yield func(jsontext.Value, error) bool) {
				for _, e := range l.shown[from-1 : to] {
					if !yield(e, nil) {
						return
					}
				}
			}
		},
	}
}

func newPack(t *testing.T, l *ledger, options Options) map[string][]byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, l.source(t), options); err != nil {
		t.Fatal(err)
	}
	files, err := unpack(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// checkFiles checks a pack of these files; forged says that whoever changed them
// made the manifest anew.
func checkFiles(t *testing.T, files map[string][]byte, key string, forged bool) error {
	t.Helper()
	if forged {
		files = maps.Clone(files)
		var m Manifest
		if err := json.Unmarshal(files[manifestFile], &m); err != nil {
			t.Fatal(err)
		}
		m.Files = map[string]string{}
		for name, data := range files {
			if name != manifestFile {
				sum := sha256.Sum256(data)
				m.Files[name] = hex.EncodeToString(sum[:])
			}
		}
		data, err := json.Marshal(m, manifestOptions)
		if err != nil {
			t.Fatal(err)
		}
		files[manifestFile] = append(data, '\n')
	}
	c := checker{files: files, key: key, used: map[string]bool{}}
	return c.all()
}

func TestAPackIsWhole(t *testing.T) {
	l := newLedger(t, 700)
	for name, options := range map[string]Options{
		"all":                      {From: 1, To: 700},
		"a model":                  {From: 1, To: 700, Model: "fraud", ModelID: fraudID.String()},
		"a part":                   {From: 300, To: 310, ModelID: churnID.String()},
		"one event, with its past": {From: 512, To: 512, Since: l.checkpoint(t, 300)},
		"the whole tree":           {From: 5, To: 6, Tiles: true, Since: l.checkpoint(t, 700)},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if _, err := Write(t.Context(), &b, l.source(t), options); err != nil {
				t.Fatal(err)
			}
			report, err := Check(bytes.NewReader(b.Bytes()), l.vkey)
			if err != nil {
				t.Fatal(err)
			}
			if report.Size != 700 || report.Events == 0 || report.Records < report.Events || !report.KeyGiven {
				t.Errorf("it says %+v", report)
			}
		})
	}
}

// TestOneFlippedByteAnywhereIsFoundAndNamed flips each byte of each file, and has
// whoever did it make the manifest anew.
func TestOneFlippedByteAnywhereIsFoundAndNamed(t *testing.T) {
	l := newLedger(t, 270)
	files := newPack(t, l, Options{From: 255, To: 259, ModelID: fraudID.String(), Since: l.checkpoint(t, 100), Tiles: true})
	if err := checkFiles(t, files, l.vkey, true); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		step := max(1, len(files[name])/150)
		for i := 0; i < len(files[name]); i += step {
			bad := maps.Clone(files)
			bad[name] = slices.Clone(files[name])
			bad[name][i] ^= 1 << (i % 8)
			err := checkFiles(t, bad, l.vkey, name != manifestFile)
			var found FindingError
			if !errors.As(err, &found) {
				t.Fatalf("byte %d of %s: %v", i, name, err)
			}
			if !strings.Contains(found.File, name) && name != manifestFile {
				t.Errorf("byte %d of %s: what is named is %v", i, name, found)
			}
		}
	}
}

func TestADamagedArchiveIsFound(t *testing.T) {
	l := newLedger(t, 5)
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, l.source(t), Options{From: 1, To: 5}); err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 5, b.Len() / 2, b.Len() - 1} {
		_, err := Check(bytes.NewReader(b.Bytes()[:cut]), "")
		if _, ok := errors.AsType[FindingError](err); !ok {
			t.Errorf("cut off after %d bytes: %v", cut, err)
		}
	}
}

func TestWhatIsLeftOutMovedOrSwappedIsFound(t *testing.T) {
	l := newLedger(t, 300)
	files := newPack(t, l, Options{From: 10, To: 40, ModelID: fraudID.String()})
	lines := func(name string, change func([][]byte) [][]byte) func(map[string][]byte) {
		return func(files map[string][]byte) {
			all := bytes.SplitAfter(files[name], []byte("\n"))
			files[name] = bytes.Join(change(slices.Clone(all[:len(all)-1])), nil)
		}
	}
	tail := func(all [][]byte) [][]byte { return all[:len(all)-1] }
	middle := func(all [][]byte) [][]byte { return slices.Delete(all, 5, 6) }
	swap := func(all [][]byte) [][]byte { all[5], all[6] = all[6], all[5]; return all }
	twice := func(all [][]byte) [][]byte { all[5] = all[6]; return all }
	for name, c := range map[string]struct {
		change func(map[string][]byte)
		want   string
	}{
		"the last event":         {lines(eventsFile, tail), "events.ndjson: event 40 (dev.modelog.version.registered.v1) is missing"},
		"an event":               {lines(eventsFile, middle), "events.ndjson: event 16"},
		"two events":             {lines(eventsFile, swap), "events.ndjson, line 7: event 16 follows 17"},
		"another event":          {lines(eventsFile, twice), "events.ndjson, line 7"},
		"the last record":        {lines(leavesFile, tail), "leaves.ndjson: the record of event 40 is missing"},
		"a record":               {lines(leavesFile, middle), "leaves.ndjson: the record of event 14 is missing"},
		"two records":            {lines(leavesFile, swap), "leaves.ndjson, line 7: the record of event 14 follows that of 15"},
		"a proof":                {func(f map[string][]byte) { delete(f, proofFile(13)) }, proofFile(13) + ": is missing"},
		"the proof of another":   {func(f map[string][]byte) { f[proofFile(13)] = f[proofFile(14)] }, proofFile(13) + ": is the proof of another event"},
		"the form of another":    {func(f map[string][]byte) { f[formFile(13)] = f[formFile(14)] }, formFile(13) + ": is not the form"},
		"the checkpoint":         {func(f map[string][]byte) { f[checkpointFile] = l.checkpoint(t, 299) }, "manifest.json: the size is 300"},
		"another key's pack":     {func(f map[string][]byte) { f[keyFile] = []byte(newLedger(t, 2).vkey + "\n") }, "verifier.key: is modelog.dev"},
		"a file that is no part": {func(f map[string][]byte) { f["extra"] = nil }, "extra: doesn't belong"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := maps.Clone(files)
			c.change(bad)
			if err := checkFiles(t, bad, l.vkey, true); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("it is found that %v, want %s", err, c.want)
			}
		})
	}
}

func TestARegistryThatShowsAnotherEventThanItSealedGetsNoPack(t *testing.T) {
	l := newLedger(t, 20)
	honest := l.source(t)
	l.shown[6] = jsontext.Value(strings.Replace(string(l.shown[6]), "s3://models", "s3://nowhere", 1))
	_, err := Write(t.Context(), &bytes.Buffer{}, honest, Options{From: 1, To: 20})
	if err == nil || !strings.HasPrefix(err.Error(), "event 7: ") {
		t.Errorf("it gets %v", err)
	}
	other := newLedger(t, 10)
	_, err = Write(t.Context(), &bytes.Buffer{}, l.source(t), Options{From: 1, To: 2, Since: other.checkpoint(t, 9)})
	if f, ok := errors.AsType[FindingError](err); !ok || f.File != sinceFile {
		t.Errorf("with the older head of another log: %v", err)
	}
}

func TestAnExportedTreeIsCheckedWhole(t *testing.T) {
	l := newLedger(t, 600)
	dir := filepath.Join(t.TempDir(), "tree")
	if size, err := WriteTree(t.Context(), dir, l.source(t)); err != nil || size != 600 {
		t.Fatalf("%d events: %v", size, err)
	}
	var files []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) != 9 {
		t.Fatalf("the files are %v: %v", files, err)
	}
	for _, name := range files {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(good); i += max(1, len(good)/40) {
			bad := slices.Clone(good)
			bad[i] ^= 1 << (i % 8)
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := CheckTree(os.DirFS(dir), l.vkey)
			if f, ok := errors.AsType[FindingError](err); !ok || !strings.Contains(f.File, name) {
				t.Errorf("byte %d of %s: %v", i, name, err)
			}
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := CheckTree(os.DirFS(dir), l.vkey); err != nil {
		t.Error(err)
	}
}

// TestThePageInThePackIsRight does what it says, where there are such tools.
func TestThePageInThePackIsRight(t *testing.T) {
	l := newLedger(t, 270)
	dir := t.TempDir()
	for name, data := range newPack(t, l, Options{From: 250, To: 265, ModelID: fraudID.String()}) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for tool, line := range map[string]string{
		"openssl": `sed '/^$/,$d' checkpoint > text && sed -n 's/^— [^ ]* //p' checkpoint | head -n 1 | base64 -d | tail -c 64 > signature &&
			openssl pkeyutl -verify -pubin -inkey verifier.pem -rawin -in text -sigfile signature`,
		"python3": "python3 check.py",
	} {
		t.Run(tool, func(t *testing.T) {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skip("there is no " + tool)
			}
			run := func() error {
				cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				t.Logf("%s", out)
				return err
			}
			if err := run(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, checkpointFile)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, bytes.Replace(good, []byte("\n270\n"), []byte("\n271\n"), 1), 0o644); err != nil {
				t.Fatal(err)
			}
			if run() == nil {
				t.Error("it finds nothing wrong with another size")
			}
			if err := os.WriteFile(path, good, 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}
