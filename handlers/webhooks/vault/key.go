package vault

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Key is what endpoints are sealed with.
type Key struct {
	seal  [keySize]byte // of AES-256
	hash  [keySize]byte // of Vault.Fingerprint
	short keyID
}

const keySize = 32

// keyID tells keys apart, and nothing of them.
type keyID [8]byte

// Errors of key files.
var (
	ErrKeyOpen = errors.New("others than its owner may read the key of the webhooks' secrets; take that from them (chmod 600)")
	ErrKeyForm = errors.New("is not 32 random bytes in base64, as of openssl rand -base64 32")
)

// NewKey derives what is needed from 32 random bytes.
func NewKey(secret []byte) (*Key, error) {
	if len(secret) != keySize {
		return nil, ErrKeyForm
	}
	k := &Key{}
	derive := func(into []byte, purpose string) {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte("modelog webhooks " + purpose))
		copy(into, mac.Sum(nil))
	}
	derive(k.seal[:], "seal")
	derive(k.hash[:], "fingerprint")
	derive(k.short[:], "key id")
	return k, nil
}

// LoadKey reads a key, which only its owner may read. It wraps fs.ErrNotExist for one
// that isn't there, ErrKeyOpen and ErrKeyForm.
func LoadKey(path string) (*Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the key of the webhooks' secrets: %w", err)
	}
	defer f.Close()       //nolint:errcheck // it was only read
	info, err := f.Stat() // of the very file that is read
	if err != nil {
		return nil, fmt.Errorf("the key of the webhooks' secrets: %w", err)
	}
	if othersMayRead(info) {
		return nil, fmt.Errorf("%s: %w", path, ErrKeyOpen)
	}
	text := make([]byte, 2*keySize) // more than a key takes
	n, err := f.Read(text)
	if err != nil {
		return nil, fmt.Errorf("the key of the webhooks' secrets in %s: %w", path, err)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, ErrKeyForm)
	}
	key, err := NewKey(secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// MakeKey reads a key, and makes one for its owner alone, durably, if there is none.
// It fails as LoadKey does.
func MakeKey(path string) (*Key, error) {
	key, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := generate(path); err != nil {
		return nil, fmt.Errorf("make the key of the webhooks' secrets: %w", err)
	}
	return LoadKey(path)
}

// generate puts a whole key in place at once: half a key would seal nothing, and stay.
func generate(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // for its owner alone
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it isn't there after a success
	secret := make([]byte, keySize)
	rand.Read(secret) // never fails
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(secret) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) { // another process was faster
		return err
	}
	return syncDirectory(dir)
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
