package vault

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/modelog/modelog/events"
)

// Prefixes of keys, as Standard Webhooks has them.
const (
	hmacPrefix    = "whsec_"
	privatePrefix = "whsk_"
	publicPrefix  = "whpk_"
)

const hmacBytes = 32

// NewSecret makes a secret that signs for ever. What its receiver needs is shown: the
// secret itself for an HMAC, or the public half of a key pair.
func NewSecret(scheme events.SignatureScheme) (s Secret, shown string, err error) {
	if scheme != events.SignEd25519 {
		secret := make([]byte, hmacBytes)
		rand.Read(secret) // never fails
		s.Key = hmacPrefix + base64.StdEncoding.EncodeToString(secret)
		return s, s.Key, nil
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return s, "", fmt.Errorf("make a key pair: %w", err)
	}
	s.Key = privatePrefix + base64.StdEncoding.EncodeToString(private)
	return s, publicPrefix + base64.StdEncoding.EncodeToString(public), nil
}

// Shown gives what the receiver of a secret's signatures needs, as NewSecret does.
func (s Secret) Shown() string {
	text, pair := strings.CutPrefix(s.Key, privatePrefix)
	if !pair {
		return s.Key
	}
	private, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(private) != ed25519.PrivateKeySize {
		return ""
	}
	return publicPrefix + base64.StdEncoding.EncodeToString(private[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}

// Usable says whether a secret that somebody brings along can sign: any text can in
// MLflow's way, but what begins like a key of Standard Webhooks must be one.
func (s Secret) Usable() bool {
	text, shared := strings.CutPrefix(s.Key, hmacPrefix)
	if !shared && !strings.HasPrefix(s.Key, privatePrefix) {
		return s.Key != ""
	}
	if shared {
		secret, err := base64.StdEncoding.DecodeString(text)
		return err == nil && len(secret) > 0
	}
	return s.Shown() != ""
}
