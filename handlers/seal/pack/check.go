package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/seal"
	"golang.org/x/mod/sumdb/tlog"
)

// Report says what was found to be right.
type Report struct {
	Manifest    Manifest `json:"-"`
	Registry    string   `json:"registry"`
	Events      int      `json:"events"`
	Records     int      `json:"records"`
	Size        uint64   `json:"size"` // of the log that the checkpoint signs
	VerifierKey string   `json:"verifier_key"`
	KeyGiven    bool     `json:"key_given"` // by the caller; else it is the pack's own
}

// maxUnpacked bounds what an archive may unpack to.
const maxUnpacked = 8 << 30

// Check checks a pack with nothing but itself and, unless it is empty, the key that
// the caller knows. It fails with a FindingError for the first thing that is wrong.
func Check(r io.Reader, key string) (Report, error) {
	files, err := unpack(r)
	if err != nil {
		return Report{}, err
	}
	c := checker{files: files, key: key, used: map[string]bool{}}
	err = c.all()
	return c.report(), err
}

func (c *checker) all() error {
	for _, step := range []func() error{
		c.manifestFile, c.signature, c.tree, c.records, c.eventsFile, c.completeness, c.keys, c.since, c.sums,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func unpack(r io.Reader) (map[string][]byte, error) {
	files := map[string][]byte{}
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, finding("the archive", 0, "%v", err)
	}
	archive := tar.NewReader(io.LimitReader(zip, maxUnpacked))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, finding("the archive", 0, "%v", err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return nil, finding("the archive", 0, "%s: %v", header.Name, err)
		}
		if _, twice := files[header.Name]; twice || header.Typeflag != tar.TypeReg {
			return nil, finding(header.Name, 0, "is there twice, or is no file")
		}
		files[header.Name] = data
	}
	if _, err := io.Copy(io.Discard, zip); err != nil { // the sum at its end
		return nil, finding("the archive", 0, "%v", err)
	}
	return files, nil
}

type checker struct {
	files    map[string][]byte
	key      string
	used     map[string]bool
	manifest Manifest
	verifier string
	head     seal.Checkpoint
	tiles    tiles
	leaves   map[uint64]seal.Leaf
	lines    map[uint64][]byte // of leavesFile
	changes  []change          // of the key
	shown    map[uint64]bool   // events that are in the pack
}

func (c *checker) report() Report {
	return Report{
		Manifest: c.manifest, Registry: c.manifest.Registry, Events: len(c.shown), Records: len(c.leaves), Size: c.manifest.Size,
		VerifierKey: c.verifier, KeyGiven: c.key != "",
	}
}

func (c *checker) file(name string) ([]byte, error) {
	data, ok := c.files[name]
	if !ok {
		return nil, finding(name, 0, "is missing")
	}
	c.used[name] = true
	return data, nil
}

func (c *checker) manifestFile() error {
	data, err := c.file(manifestFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &c.manifest, json.RejectUnknownMembers(true)); err != nil {
		return finding(manifestFile, 0, "%v", err)
	}
	m := &c.manifest
	switch {
	case m.Format != format:
		return finding(manifestFile, 0, "the format is %q, this release reads %s", m.Format, format)
	case m.Origin != "modelog.dev/log/"+m.Registry:
		return finding(manifestFile, 0, "%q is not the log of the registry %q", m.Origin, m.Registry)
	case m.From == 0 || m.To < m.From || m.Size < m.To:
		return finding(manifestFile, 0, "from %d to %d of %d is no part of a log", m.From, m.To, m.Size)
	}
	return nil
}

func (c *checker) signature() error {
	own, err := c.file(keyFile)
	if err != nil {
		return err
	}
	c.verifier = strings.TrimSuffix(string(own), "\n")
	if c.key != "" && c.key != c.verifier {
		return finding(keyFile, 0, "is %s, not the key that you gave", c.verifier)
	}
	want, err := publicPEM(c.verifier)
	if err != nil {
		return finding(keyFile, 0, "%v", err)
	}
	if string(own) != c.verifier+"\n" {
		return finding(keyFile, 0, "is not one line")
	}
	data, err := c.file(checkpointFile)
	if err != nil {
		return err
	}
	if c.head, err = seal.OpenCheckpoint(data, c.manifest.Origin, c.verifier); err != nil {
		return finding(checkpointFile, 0, "%v", err)
	}
	if uint64(c.head.Tree.N) != c.manifest.Size {
		return finding(manifestFile, 0, "the size is %d, but the checkpoint's %d", c.manifest.Size, c.head.Tree.N)
	}
	if found, err := c.file(pemFile); err != nil || !bytes.Equal(found, want) {
		return finding(pemFile, 0, "is not the key of %s", keyFile)
	}
	return nil
}

// tree proves every tile that is here.
func (c *checker) tree() error {
	c.tiles = tiles{head: c.head.Tree, dir: treeDir, read: func(path string) ([]byte, bool) {
		data, err := c.file(treeDir + path)
		return data, err == nil
	}}
	if err := c.tiles.proveEdge(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		path, ok := strings.CutPrefix(name, treeDir)
		if !ok || c.manifest.Tiles {
			continue
		}
		level, n, w, err := seal.ParseTilePath(path)
		if err != nil || level < 0 || level >= 8 || n<<height >= c.head.Tree.N>>(height*level) || at(c.head.Tree, level, n<<height).W != w {
			return finding(name, 0, "is no tile of the checkpoint's tree")
		}
		if _, err := c.tiles.prove(at(c.head.Tree, level, n<<height)); err != nil {
			return err
		}
	}
	if c.manifest.Tiles {
		return checkTree(&c.tiles, func(path string) ([]byte, error) { return c.file(treeDir + path) })
	}
	return nil
}

// linesOf splits a file of lines.
func (c *checker) linesOf(name string) ([][]byte, error) {
	data, err := c.file(name)
	if err != nil {
		return nil, err
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		return nil, finding(name, bytes.Count(data, []byte("\n"))+1, "is cut off")
	}
	lines := bytes.Split(data, []byte("\n"))
	return lines[:len(lines)-1], nil
}

// records proves each record by the tiles.
func (c *checker) records() error {
	lines, err := c.linesOf(leavesFile)
	if err != nil {
		return err
	}
	c.leaves, c.lines = map[uint64]seal.Leaf{}, map[uint64][]byte{}
	last := uint64(0)
	for i, line := range lines {
		leaf, err := seal.ParseLeaf(line)
		if err != nil {
			return finding(leavesFile, i+1, "%v", err)
		}
		if leaf.Sequence <= last || leaf.Sequence > c.manifest.Size {
			return finding(leavesFile, i+1, "the record of event %d follows that of %d", leaf.Sequence, last)
		}
		last = leaf.Sequence
		hash, err := c.tiles.leaf(leaf.Sequence)
		if err != nil {
			return err
		}
		if hash != tlog.RecordHash(line) {
			return finding(leavesFile, i+1, "the record of event %d is not the one that was sealed", leaf.Sequence)
		}
		c.leaves[leaf.Sequence], c.lines[leaf.Sequence] = leaf, line
	}
	for sequence := c.manifest.From; sequence <= c.manifest.To; sequence++ {
		if _, ok := c.leaves[sequence]; !ok {
			return finding(leavesFile, 0, "the record of event %d is missing", sequence)
		}
	}
	return nil
}

// eventsFile compares each event with its record, and checks its proof.
func (c *checker) eventsFile() error {
	lines, err := c.linesOf(eventsFile)
	if err != nil {
		return err
	}
	c.shown = map[uint64]bool{}
	last := uint64(0)
	for i, line := range lines {
		e, encoded, err := readEvent(line)
		if err != nil {
			return finding(eventsFile, i+1, "%v", err)
		}
		if e.Sequence <= last {
			return finding(eventsFile, i+1, "event %d follows %d", e.Sequence, last)
		}
		last = e.Sequence
		if err := c.event(i+1, e, line, encoded.AppendForm(nil)); err != nil {
			return err
		}
		c.shown[e.Sequence] = true
		if change, ok := keyChange(e); ok {
			c.changes = append(c.changes, change)
		}
	}
	return nil
}

func (c *checker) event(line int, e events.Event, raw, form []byte) error {
	leaf, ok := c.leaves[e.Sequence]
	if !ok {
		return finding(eventsFile, line, "event %d has no record in %s", e.Sequence, leavesFile)
	}
	if sum := sha256.Sum256(form); hex.EncodeToString(sum[:]) != leaf.SHA256 {
		return finding(eventsFile, line, "event %d is not the one that was sealed", e.Sequence)
	}
	if again, err := events.AppendEvent(nil, e); err != nil || !bytes.Equal(again, raw) {
		return finding(eventsFile, line, "event %d is not in the form in which it is shown", e.Sequence)
	}
	if !c.manifest.about(leaf) {
		return finding(eventsFile, line, "event %d is not one of the model %s", e.Sequence, c.manifest.ModelID)
	}
	if kept, err := c.file(formFile(e.Sequence)); err != nil || !bytes.Equal(kept, form) {
		return finding(formFile(e.Sequence), 0, "is not the form of event %d", e.Sequence)
	}
	name := proofFile(e.Sequence)
	text, err := c.file(name)
	if err != nil {
		return err
	}
	p, err := seal.ParseProof(text)
	switch {
	case err != nil:
		return finding(name, 0, "%v", err)
	case !bytes.Equal(p.Checkpoint, c.head.Note):
		return finding(name, 0, "is a proof for another checkpoint")
	case !bytes.Equal(p.Record, c.lines[e.Sequence]) || p.Index != int64(e.Sequence)-1:
		return finding(name, 0, "is the proof of another event")
	}
	if err := p.Verify(c.head.Tree); err != nil {
		return finding(name, 0, "%v", err)
	}
	return nil
}

// completeness looks for events that the records tell of, but that aren't here.
func (c *checker) completeness() error {
	for _, sequence := range slices.Sorted(maps.Keys(c.leaves)) {
		leaf := c.leaves[sequence]
		if c.manifest.about(leaf) && !c.shown[sequence] {
			return finding(eventsFile, 0, "event %d (%s) is missing", sequence, leaf.Type)
		}
	}
	if c.manifest.Events != len(c.shown) || c.manifest.Records != len(c.leaves) {
		return finding(manifestFile, 0, "it counts %d events and %d records, but there are %d and %d",
			c.manifest.Events, c.manifest.Records, len(c.shown), len(c.leaves))
	}
	return nil
}

// change says which key an event puts in force.
type change struct {
	events.RegistrySigningKeyChanged

	sequence uint64
}

// keyChange gives the change that an event makes; the registry's creation may put
// the first key in force.
func keyChange(e events.Event) (change, bool) {
	switch d := e.Data.(type) { //nolint:gochecksumtype // no other event tells of a key
	case events.RegistrySigningKeyChanged:
		return change{d, e.Sequence}, true
	case events.RegistryCreated:
		first := events.RegistrySigningKeyChanged{RegistryID: d.RegistryID, VerifierKey: d.VerifierKey}
		return change{first, e.Sequence}, d.VerifierKey != ""
	default:
		return change{}, false
	}
}

// keys follows the changes of the key up to the one that signed.
func (c *checker) keys() error {
	before, signed := "", false
	for _, d := range c.changes {
		if d.RegistryID.String() != c.manifest.Registry || d.Previous != before {
			return finding(eventsFile, 0, "event %d doesn't change the key that was in force", d.sequence)
		}
		before = d.VerifierKey
		signed = signed || before == c.verifier
	}
	if !signed {
		return finding(keyFile, 0, "no event puts it in force")
	}
	return nil
}

// since checks that the log continues the older checkpoint.
func (c *checker) since() error {
	if c.manifest.Since == 0 {
		return nil
	}
	data, err := c.file(sinceFile)
	if err != nil {
		return err
	}
	keys := []string{}
	for _, d := range c.changes {
		keys = append(keys, d.VerifierKey)
	}
	old, _, err := signedBy(data, c.manifest.Origin, keys)
	if err != nil {
		return finding(sinceFile, 0, "%v", err)
	}
	if uint64(old.Tree.N) != c.manifest.Since {
		return finding(manifestFile, 0, "since is %d, but the older checkpoint's size %d", c.manifest.Since, old.Tree.N)
	}
	lines, err := c.linesOf(extensionFile)
	if err != nil {
		return err
	}
	var proof tlog.TreeProof
	for i, line := range lines {
		h, err := tlog.ParseHash(string(line))
		if err != nil || h.String() != string(line) {
			return finding(extensionFile, i+1, "is no hash")
		}
		proof = append(proof, h)
	}
	if err := tlog.CheckTree(proof, c.head.Tree.N, c.head.Tree.Hash, old.Tree.N, old.Tree.Hash); err != nil {
		return finding(extensionFile, 0, "doesn't prove that the log continues the older checkpoint: %v", err)
	}
	return nil
}

// sums compares the files with the manifest, those too that prove nothing.
func (c *checker) sums() error {
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		if name == manifestFile {
			continue
		}
		sum := sha256.Sum256(c.files[name])
		switch want, ok := c.manifest.Files[name]; {
		case !ok || (!c.used[name] && name != readmeFile && name != scriptFile):
			return finding(name, 0, "doesn't belong to the pack")
		case want != hex.EncodeToString(sum[:]):
			return finding(name, 0, "isn't the file that the manifest lists")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.manifest.Files)) {
		if _, ok := c.files[name]; !ok {
			return finding(name, 0, "is missing")
		}
	}
	again, err := json.Marshal(c.manifest, manifestOptions)
	if err != nil || string(again)+"\n" != string(c.files[manifestFile]) {
		return finding(manifestFile, 0, "is not in the form in which it was written")
	}
	if string(c.files[readmeFile]) != c.manifest.readme() {
		return finding(readmeFile, 0, "is not the page that goes with this pack")
	}
	if string(c.files[scriptFile]) != script {
		return finding(scriptFile, 0, "is not the script of this release")
	}
	return nil
}

func (r Report) String() string {
	return fmt.Sprintf("%d events and %d records of the registry %s, under a head of %d events", r.Events, r.Records, r.Registry, r.Size)
}
