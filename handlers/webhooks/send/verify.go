package send

import (
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Why a delivery isn't taken for one.
var (
	ErrUnsigned  = errors.New("it has no webhook-id, webhook-timestamp or webhook-signature")
	ErrStale     = errors.New("its webhook-timestamp is more than 5 minutes off")
	ErrSignature = errors.New("no signature is one of this secret, over this body")
	ErrSecret    = errors.New("the secret is no whsec_ or whpk_ and base64")
)

// tolerance is how far the clocks of sender and receiver may be apart (Standard
// Webhooks).
const tolerance = 5 * time.Minute

const publicPrefix = "whpk_"

// Verify does what a receiver does: it says whether one of a delivery's signatures is
// that of a secret, as it was shown: whsec_ for an HMAC, whpk_ for a key pair. It fails
// with ErrUnsigned, ErrStale, ErrSignature and ErrSecret.
func Verify(secret string, h http.Header, body []byte, now time.Time) error {
	id, timestamp, signatures := h.Get("webhook-id"), h.Get("webhook-timestamp"), strings.Fields(h.Get("webhook-signature"))
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || err != nil || len(signatures) == 0 {
		return ErrUnsigned
	}
	signed, err := verifier(secret, id, timestamp, body)
	switch {
	case err != nil:
		return err
	case now.Sub(time.Unix(seconds, 0)).Abs() > tolerance:
		return ErrStale
	}
	if slices.ContainsFunc(signatures, signed) {
		return nil
	}
	return ErrSignature
}

func verifier(secret, id, timestamp string, body []byte) (func(signature string) bool, error) {
	if text, ok := strings.CutPrefix(secret, publicPrefix); ok {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, ErrSecret
		}
		message := append([]byte(id+"."+timestamp+"."), body...)
		return func(signature string) bool {
			text, ok := strings.CutPrefix(signature, "v1a,")
			data, err := base64.StdEncoding.DecodeString(text)
			return ok && err == nil && ed25519.Verify(key, message, data)
		}, nil
	}
	want, err := signature(secret, id, timestamp, body)
	if err != nil || !strings.HasPrefix(secret, hmacPrefix) {
		return nil, ErrSecret
	}
	return func(signature string) bool { return hmac.Equal([]byte(signature), []byte(want)) }, nil
}
