package seal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Origin names the log of a registry, in its checkpoints and as its key's name.
func Origin(registry ulid.ULID) string { return "modelog.dev/log/" + registry.String() }

// Checkpoint is a signed head of the tree.
type Checkpoint struct {
	Origin string
	Tree   tlog.Tree
	Note   []byte // as it was signed
}

// text is what is signed (C2SP tlog-checkpoint).
func (c Checkpoint) text() string {
	return c.Origin + "\n" + strconv.FormatInt(c.Tree.N, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Tree.Hash[:]) + "\n"
}

// sign makes the checkpoint of a tree.
func sign(origin string, tree tlog.Tree, signer note.Signer) (Checkpoint, error) {
	c := Checkpoint{Origin: origin, Tree: tree}
	var err error
	c.Note, err = note.Sign(&note.Note{Text: c.text()}, signer)
	return c, err
}

// OpenCheckpoint reads a checkpoint of a log that one of the keys, as signed
// notes spell them, has signed.
func OpenCheckpoint(data []byte, origin string, keys ...string) (Checkpoint, error) {
	verifiers := make([]note.Verifier, len(keys))
	for i, key := range keys {
		v, err := note.NewVerifier(key)
		if err != nil {
			return Checkpoint{}, fmt.Errorf("the key %q: %w", key, err)
		}
		verifiers[i] = v
	}
	n, err := note.Open(data, note.VerifierList(verifiers...))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("the checkpoint's signature: %w", err)
	}
	for _, s := range append(n.Sigs, n.UnverifiedSigs...) { // note takes several spellings of one signature
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return Checkpoint{}, fmt.Errorf("the checkpoint's signature: %w", err)
		}
	}
	c, err := parseCheckpoint(n.Text)
	c.Note = data
	if err == nil && c.Origin != origin {
		err = fmt.Errorf("the checkpoint is of the log %s, not of %s", c.Origin, origin)
	}
	return c, err
}

// parseCheckpoint reads what text writes.
func parseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return c, fmt.Errorf("the checkpoint has %d lines, not 3", len(lines)-1)
	}
	c.Origin = lines[0]
	if c.Tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return c, fmt.Errorf("the checkpoint's size: %w", err)
	}
	if c.Tree.Hash, err = tlog.ParseHash(lines[2]); err != nil {
		return c, fmt.Errorf("the checkpoint's root: %w", err)
	}
	if c.text() != text || c.Tree.N < 0 {
		return c, errors.New("the checkpoint is not in the form in which it is signed")
	}
	return c, nil
}
