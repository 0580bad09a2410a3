package pack

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modelog/modelog/handlers/seal"
	"golang.org/x/mod/sumdb/tlog"
)

// checkTree checks the whole tree of a head: every tile, and every record.
func checkTree(r *tiles, file func(path string) ([]byte, error)) error {
	for _, t := range slices.Backward(every(r.head)) { // from the top, so that what is named is what is wrong
		if _, err := r.prove(t); err != nil {
			return err
		}
	}
	for first := int64(0); first < r.head.N; first += width {
		if err := checkBundle(r, at(r.head, 0, first), file); err != nil {
			return err
		}
	}
	return nil
}

func checkBundle(r *tiles, t tlog.Tile, file func(path string) ([]byte, error)) error {
	path := seal.TilePath(seal.EntriesLevel, t.N, t.W)
	bundle, err := file(path)
	if err != nil {
		return err
	}
	records, err := seal.Entries(bundle)
	if err != nil {
		return finding(r.dir+path, 0, "%v", err)
	}
	if len(records) != t.W {
		return finding(r.dir+path, 0, "has %d records, not %d", len(records), t.W)
	}
	for i, record := range records {
		sequence := uint64(t.N<<height) + uint64(i) + 1
		hash, err := r.leaf(sequence)
		if err != nil {
			return err
		}
		if hash != tlog.RecordHash(record) {
			return finding(r.dir+path, 0, "the record of event %d is not the one that was sealed", sequence)
		}
		if leaf, err := seal.ParseLeaf(record); err != nil || leaf.Sequence != sequence {
			return finding(r.dir+path, 0, "the record of event %d is that of another, or none", sequence)
		}
	}
	return nil
}

// WriteTree writes the whole tree of a checkpoint into a directory, as C2SP
// tlog-tiles lays it out, and the key beside it. It fails with a FindingError for what
// the registry serves that isn't what it has signed.
func WriteTree(ctx context.Context, dir string, source Source) (size uint64, err error) {
	b := builder{source: source, tileData: map[string][]byte{}, files: map[string][]byte{}}
	if err := b.begin(ctx); err != nil {
		return 0, err
	}
	write := func(name string, data []byte) error {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o644)
	}
	err = eachFile(b.head.Tree, func(path string) error {
		data, err := b.fetch(ctx, path)
		if err == nil {
			err = write(path, data)
		}
		delete(b.tileData, path)
		return err
	})
	if err == nil {
		err = errors.Join(write(keyFile, b.files[keyFile]), write(checkpointFile, source.Checkpoint))
	}
	if err != nil {
		return 0, err
	}
	_, err = CheckTree(os.DirFS(dir), strings.TrimSpace(string(b.files[keyFile])))
	return b.manifest.Size, err
}

// CheckTree checks an exported tree, with the key that is beside it if the caller
// gives none. It fails with a FindingError for the first thing that is wrong.
func CheckTree(tree fs.FS, key string) (Report, error) {
	r := Report{VerifierKey: key, KeyGiven: key != ""}
	file := func(path string) ([]byte, error) {
		data, err := fs.ReadFile(tree, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, finding(path, 0, "is missing")
		}
		return data, err
	}
	own, err := file(keyFile)
	if err != nil && key == "" {
		return r, err
	}
	beside := string(bytes.TrimSuffix(own, []byte("\n")))
	if key == "" {
		r.VerifierKey = beside
	} else if err == nil && beside != key {
		return r, finding(keyFile, 0, "is %s, not the key that you gave", beside)
	}
	checkpoint, err := file(checkpointFile)
	if err != nil {
		return r, err
	}
	origin, _, _ := strings.Cut(string(checkpoint), "\n") // it is a part of what is signed
	head, err := seal.OpenCheckpoint(checkpoint, origin, r.VerifierKey)
	if err != nil {
		return r, finding(checkpointFile, 0, "%v", err)
	}
	r.Size, r.Records = uint64(head.Tree.N), int(head.Tree.N)
	r.Registry = strings.TrimPrefix(origin, "modelog.dev/log/")
	t := tiles{head: head.Tree, read: func(path string) ([]byte, bool) {
		data, err := file(path)
		return data, err == nil
	}}
	if err := t.proveEdge(); err != nil {
		return r, err
	}
	return r, checkTree(&t, file)
}
