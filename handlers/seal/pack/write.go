package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/seal"
	"golang.org/x/mod/sumdb/tlog"
)

// Source is what a pack, or a tree, is made from: what a registry serves. Nothing
// of it is believed.
type Source struct {
	Registry   string   // ULID
	Keys       []string // verifier keys of all times
	Checkpoint []byte   // covers To
	// Tile gives a tile or a bundle of entries by its C2SP path.
	Tile func(ctx context.Context, path string) ([]byte, error)
	// Events yields the events from..to as structured CloudEvents.
	Events func(ctx context.Context, from, to uint64) iter.Seq2[jsontext.Value, error]
	// KeyChanges are the sequences of the events that say which key signs.
	KeyChanges []uint64
}

// Options say what is to be in a pack.
type Options struct {
	Model, ModelID string // whose events, empty for all
	From, To       uint64
	Since          []byte // an older checkpoint that the log must continue, nil for none
	Tiles          bool   // the whole tree
}

// builder gathers the files of a pack.
type builder struct {
	Options
	source   Source
	manifest Manifest
	tiles    tiles
	head     seal.Checkpoint
	tileData map[string][]byte // by path, as it was fetched
	files    map[string][]byte
	events   []byte
	leaves   []byte
}

// Write writes a pack, a gzipped tar. It fails with a FindingError for what the registry
// serves that isn't what it has signed.
func Write(ctx context.Context, w io.Writer, source Source, options Options) (Manifest, error) {
	b := builder{Options: options, source: source, tileData: map[string][]byte{}, files: map[string][]byte{}}
	for _, step := range []func(context.Context) error{b.begin, b.addKeyChanges, b.addEvents, b.addTree, b.addSince, b.finish} {
		if err := step(ctx); err != nil {
			return b.manifest, err
		}
	}
	return b.manifest, b.archive(w)
}

func (b *builder) begin(ctx context.Context) error {
	origin := "modelog.dev/log/" + b.source.Registry
	head, key, err := signedBy(b.source.Checkpoint, origin, b.source.Keys)
	if err != nil {
		return finding(checkpointFile, 0, "%v", err)
	}
	b.head = head
	b.manifest = Manifest{
		Format: format, Registry: b.source.Registry, Origin: origin, Model: b.Model, ModelID: b.ModelID,
		From: b.From, To: b.To, Size: uint64(head.Tree.N), Tiles: b.Tiles, Files: map[string]string{},
	}
	b.files[checkpointFile] = b.source.Checkpoint
	b.files[keyFile] = []byte(key + "\n")
	if b.files[pemFile], err = publicPEM(key); err != nil {
		return err
	}
	var failed error
	b.tiles = tiles{head: head.Tree, dir: treeDir, read: func(path string) ([]byte, bool) {
		data, err := b.fetch(ctx, path)
		failed = errors.Join(failed, err)
		return data, err == nil
	}}
	if err := b.tiles.proveEdge(); err != nil {
		return errors.Join(err, failed)
	}
	return nil
}

// signedBy opens a checkpoint with whichever of the keys has signed it, the newest
// first.
func signedBy(data []byte, origin string, keys []string) (c seal.Checkpoint, key string, err error) {
	err = errors.New("there is no key to check its signature with")
	for _, key := range slices.Backward(keys) {
		if c, err = seal.OpenCheckpoint(data, origin, key); err == nil {
			return c, key, nil
		}
	}
	return c, "", err
}

func (b *builder) fetch(ctx context.Context, path string) ([]byte, error) {
	if data, ok := b.tileData[path]; ok {
		return data, nil
	}
	data, err := b.source.Tile(ctx, path)
	if err == nil {
		b.tileData[path] = data
	}
	return data, err
}

// addKeyChanges adds the events that say which key signs, from before the range.
func (b *builder) addKeyChanges(ctx context.Context) error {
	for _, sequence := range b.source.KeyChanges {
		if sequence < b.From {
			if err := b.add(ctx, sequence, sequence); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) addEvents(ctx context.Context) error {
	if err := b.add(ctx, b.From, b.To); err != nil {
		return err
	}
	for _, sequence := range b.source.KeyChanges {
		if sequence > b.To && sequence <= b.manifest.Size {
			if err := b.add(ctx, sequence, sequence); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds all records of a part of the log, and the events that the pack is about.
func (b *builder) add(ctx context.Context, from, to uint64) error {
	for raw, err := range b.source.Events(ctx, from, to) {
		if err != nil {
			return err
		}
		e, encoded, err := readEvent(raw)
		if err != nil {
			return err
		}
		record, err := seal.AppendLeaf(nil, e.Sequence, encoded)
		if err != nil {
			return err
		}
		hash, err := b.tiles.leaf(e.Sequence)
		if err != nil {
			return err
		}
		if hash != tlog.RecordHash(record) {
			return finding(fmt.Sprintf("event %d", e.Sequence), 0, "the registry shows another event than the one that it has sealed")
		}
		b.leaves = append(append(b.leaves, record...), '\n')
		b.manifest.Records++
		leaf, err := seal.ParseLeaf(record)
		if err != nil {
			return err
		}
		if !b.manifest.about(leaf) {
			continue
		}
		if err := b.addEvent(e.Sequence, raw, encoded.AppendForm(nil), record); err != nil {
			return err
		}
	}
	return nil
}

// about says whether a pack has the event of a record.
func (m *Manifest) about(l seal.Leaf) bool {
	return m.ModelID == "" || l.Stream == string(events.ModelRoot)+"."+m.ModelID || l.Type == created || l.Type == keyChanged
}

// What tells of the keys.
var created, keyChanged = events.TypeOf(events.RegistryCreated{}), events.TypeOf(events.RegistrySigningKeyChanged{})

func (b *builder) addEvent(sequence uint64, raw jsontext.Value, form, record []byte) error {
	b.events = append(append(b.events, raw...), '\n')
	b.manifest.Events++
	b.files[formFile(sequence)] = form
	p := seal.Proof{Record: record, Index: int64(sequence) - 1, Checkpoint: b.source.Checkpoint}
	var err error
	if p.Hashes, err = tlog.ProveRecord(b.head.Tree.N, p.Index, b.tiles.proved()); err != nil {
		return err
	}
	b.files[proofFile(sequence)] = p.Text()
	return nil
}

// readEvent reads an event as it is shown, and gives it as it stands on the log too.
func readEvent(raw []byte) (e events.Event, encoded events.Encoded, err error) {
	if e, err = events.ReadEvent(raw); err != nil {
		return e, encoded, err
	}
	encoded, err = events.Encode(e)
	return e, encoded, err
}

// addTree adds the tiles that prove the records, or all of them.
func (b *builder) addTree(ctx context.Context) error {
	if b.Tiles {
		return b.addWholeTree(ctx)
	}
	for t := range b.tiles.good {
		b.files[treeDir+pathOf(t)] = b.tiles.good[t]
	}
	return nil
}

func (b *builder) addWholeTree(ctx context.Context) error {
	return eachFile(b.head.Tree, func(path string) error {
		data, err := b.fetch(ctx, path)
		b.files[treeDir+path] = data
		return err
	})
}

// eachFile visits the paths of a head's tiles and bundles of entries.
func eachFile(head tlog.Tree, visit func(path string) error) error {
	for _, t := range every(head) {
		if err := visit(pathOf(t)); err != nil {
			return err
		}
		if t.L == 0 {
			if err := visit(seal.TilePath(seal.EntriesLevel, t.N, t.W)); err != nil {
				return err
			}
		}
	}
	return nil
}

// addSince proves that the log continues an older checkpoint.
func (b *builder) addSince(context.Context) error {
	if b.Since == nil {
		return nil
	}
	c, _, err := signedBy(b.Since, b.manifest.Origin, b.source.Keys)
	if err != nil {
		return finding(sinceFile, 0, "%v", err)
	}
	old, size := c.Tree.Hash, c.Tree.N
	if size > b.head.Tree.N {
		return finding(sinceFile, 0, "it covers %d events, but the registry's newest checkpoint only %d", size, b.head.Tree.N)
	}
	proof, err := tlog.ProveTree(b.head.Tree.N, size, b.tiles.proved())
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, b.head.Tree.N, b.head.Tree.Hash, size, old); err != nil {
		return finding(sinceFile, 0, "the log has another beginning than it says: %v", err)
	}
	var text strings.Builder
	for _, h := range proof {
		fmt.Fprintln(&text, h)
	}
	b.files[sinceFile], b.files[extensionFile] = b.Since, []byte(text.String())
	b.manifest.Since = uint64(size)
	return nil
}

var manifestOptions = json.JoinOptions(jsontext.WithIndent("  "), json.Deterministic(true))

func (b *builder) finish(context.Context) error {
	b.files[eventsFile], b.files[leavesFile] = b.events, b.leaves
	b.files[readmeFile], b.files[scriptFile] = []byte(b.manifest.readme()), []byte(script)
	for name, data := range b.files {
		sum := sha256.Sum256(data)
		b.manifest.Files[name] = hex.EncodeToString(sum[:])
	}
	manifest, err := json.Marshal(b.manifest, manifestOptions)
	b.files[manifestFile] = append(manifest, '\n')
	return err
}

func (b *builder) archive(w io.Writer) error { return writeArchive(w, b.files) }

// writeArchive writes files in the order of their names, the page to begin with
// first.
func writeArchive(w io.Writer, files map[string][]byte) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	names := slices.Sorted(maps.Keys(files))
	slices.SortStableFunc(names, func(a, b string) int { return order(a) - order(b) })
	for _, name := range names {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(archive, bytes.NewReader(files[name])); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zip.Close())
}

func order(name string) int {
	switch name {
	case readmeFile:
		return 0
	case manifestFile:
		return 1
	default:
		return 2
	}
}
