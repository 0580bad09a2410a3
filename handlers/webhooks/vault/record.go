package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// Endpoint is where a subscription delivers to, and with what. It must not be changed
// once it was put or got.
type Endpoint struct {
	URL     string            `json:"url"`
	Header  map[string]string `json:"header,omitempty"`
	Secrets []Secret          `json:"secrets"` // the newest first
}

// Secret signs deliveries.
type Secret struct {
	// Key is whsec_ and base64 for HMAC-SHA256, or whsk_ and the base64 of an Ed25519
	// private key of 64 bytes.
	Key   string    `json:"key"`
	Until time.Time `json:"until,omitzero"` // it signs until then; zero for ever
}

// A record is the form, the id of the key, and what AES-GCM makes of the endpoint with
// a random nonce.
const (
	recordForm   = 1
	recordHeader = 1 + len(keyID{})
)

func (k *Key) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.seal[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// sealRecord binds the record to its id: it opens under no other.
func (k *Key) sealRecord(id ulid.ULID, e Endpoint) ([]byte, error) {
	plain, err := json.Marshal(e, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	record := append([]byte{recordForm}, k.short[:]...)
	return aead.Seal(record, nil, plain, bound(record, id)), nil
}

// openRecord fails with ErrKey and ErrDamaged.
func (k *Key) openRecord(id ulid.ULID, record []byte) (e Endpoint, err error) {
	if len(record) < recordHeader || record[0] != recordForm {
		return e, fmt.Errorf("%w: its form is not one that this release reads", ErrDamaged)
	}
	if keyID(record[1:recordHeader]) != k.short {
		return e, ErrKey
	}
	aead, err := k.aead()
	if err != nil {
		return e, err
	}
	plain, err := aead.Open(nil, nil, record[recordHeader:], bound(record[:recordHeader], id))
	if err != nil {
		return e, ErrDamaged
	}
	if err := json.Unmarshal(plain, &e); err != nil {
		return e, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return e, nil
}

// bound is what a record is authenticated with beside its content.
func bound(header []byte, id ulid.ULID) []byte {
	return append(slices.Clone(header[:recordHeader]), id[:]...)
}

// Fingerprint gives a keyed hash of a URL and headers, which tells nothing of them to
// whoever doesn't have the key: equal ones have equal fingerprints under one key.
func (v *Vault) Fingerprint(url string, header map[string]string) (h events.Hash) {
	mac := hmac.New(sha256.New, v.cfg.Key.hash[:])
	write := func(s string) {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		mac.Write([]byte(s))
	}
	write(url)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		write(name)
		write(header[name])
	}
	copy(h[:], mac.Sum(nil))
	return h
}
