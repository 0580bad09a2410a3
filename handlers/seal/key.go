package seal

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Key signs checkpoints.
type Key struct {
	note.Signer
	Verifier string // the public half, as signed notes spell it
}

// ErrKeyOpen says that others than its owner may read a key.
var ErrKeyOpen = errors.New("others than its owner may read the signing key; take that from them (chmod 600)")

// LoadKey reads a private key of signed notes, which only its owner may read. It
// wraps fs.ErrNotExist for one that isn't there, and ErrKeyOpen.
func LoadKey(path string) (*Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the signing key: %w", err)
	}
	if othersMayRead(info) {
		return nil, fmt.Errorf("%s: %w", path, ErrKeyOpen)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the signing key: %w", err)
	}
	key, err := parseKey(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fmt.Errorf("the signing key in %s: %w", path, err)
	}
	return key, nil
}

// parseKey reads PRIVATE+KEY+<name>+<key id>+<base64>.
func parseKey(text string) (*Key, error) {
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, err // says nothing of the key
	}
	fields := strings.SplitN(text, "+", 5) // the base64 may have a plus itself
	secret, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(secret) != 1+ed25519.SeedSize {
		return nil, errors.New("is no Ed25519 key")
	}
	public := ed25519.NewKeyFromSeed(secret[1:]).Public().(ed25519.PublicKey)
	verifier, err := note.NewEd25519VerifierKey(signer.Name(), public)
	if err != nil {
		return nil, err
	}
	if v, err := note.NewVerifier(verifier); err != nil || v.KeyHash() != signer.KeyHash() {
		return nil, errors.New("is no Ed25519 key")
	}
	return &Key{signer, verifier}, nil
}

// GenerateKey makes a key with a name, and keeps it in a new file for its owner
// alone, durably. It wraps fs.ErrExist for a file that is there.
func GenerateKey(path, name string) (*Key, error) {
	secret, verifier, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	_, err = f.WriteString(secret + "\n")
	err = errors.Join(err, f.Sync(), f.Close(), syncDirectory(filepath.Dir(path)))
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", errors.Join(err, os.Remove(path)))
	}
	signer, err := note.NewSigner(secret)
	return &Key{signer, verifier}, err
}

// PublicKey gives the Ed25519 key, its name and its id in hex from a verifier
// key, for tools that don't know signed notes.
func PublicKey(verifier string) (key ed25519.PublicKey, name, id string, err error) {
	if _, err := note.NewVerifier(verifier); err != nil {
		return nil, "", "", fmt.Errorf("the key %q: %w", verifier, err)
	}
	fields := strings.SplitN(verifier, "+", 3)
	data, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil || len(data) != 1+ed25519.PublicKeySize {
		return nil, "", "", fmt.Errorf("the key %q is no Ed25519 key", verifier)
	}
	if _, err := hex.DecodeString(fields[1]); err != nil {
		return nil, "", "", fmt.Errorf("the key %q: %w", verifier, err)
	}
	return data[1:], fields[0], fields[1], nil
}

// ReplaceKey puts the key in one file in the place of another, durably.
func ReplaceKey(next, current string) error {
	if err := os.Rename(next, current); err != nil {
		return fmt.Errorf("replace the signing key: %w", err)
	}
	return syncDirectory(filepath.Dir(current))
}

func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, fs.ErrInvalid) { // not every system can
		err = nil
	}
	return errors.Join(err, dir.Close())
}
