package send

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/vault"
)

// Prefixes of keys that Standard Webhooks has; what has none is a key of MLflow's.
const (
	hmacPrefix    = "whsec_"
	ed25519Prefix = "whsk_"
)

var errKey = errors.New("a secret of the endpoint is damaged; rotate it")

// sign sets the headers that identify a delivery and prove where it comes from: those
// of Standard Webhooks, with a signature for each of its secrets that is valid at the
// time, and MLflow's where they are asked for or its kind of secret is there. Names are
// spelled as net/http has them.
func sign(h http.Header, r *webhooks.Request) error {
	timestamp := strconv.FormatInt(r.Time.Unix(), 10)
	h["Webhook-Id"], h["Webhook-Timestamp"] = []string{r.ID}, []string{timestamp}
	if r.Format == events.FormatMLflow {
		mlflowHeaders(h, r.ID, timestamp)
	}
	var signatures []string
	newest := true
	for _, secret := range r.Endpoint.Secrets {
		if !valid(secret, r.Time) {
			continue
		}
		signature, err := signature(secret.Key, r.ID, timestamp, r.Body)
		switch {
		case err != nil:
			return err
		case signature != "":
			signatures = append(signatures, signature)
		}
		if newest && (r.Format == events.FormatMLflow || signature == "") {
			mlflowHeaders(h, r.ID, timestamp)
			h["X-Mlflow-Signature"] = []string{"v1," + mac([]byte(secret.Key), mlflowID(r.ID), timestamp, r.Body)}
		}
		newest = false
	}
	if newest && len(r.Endpoint.Secrets) > 0 { // all have ended: nothing goes out unsigned that was to be signed
		return errKey
	}
	if len(signatures) > 0 {
		h["Webhook-Signature"] = []string{strings.Join(signatures, " ")}
	}
	return nil
}

func valid(s vault.Secret, at time.Time) bool { return s.Until.IsZero() || s.Until.After(at) }

// signature is empty for a key that isn't one of Standard Webhooks.
func signature(key, id, timestamp string, body []byte) (string, error) {
	if text, ok := strings.CutPrefix(key, hmacPrefix); ok {
		secret, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(secret) == 0 {
			return "", errKey
		}
		return "v1," + mac(secret, id, timestamp, body), nil
	}
	if text, ok := strings.CutPrefix(key, ed25519Prefix); ok {
		private, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(private) != ed25519.PrivateKeySize {
			return "", errKey
		}
		signed := append([]byte(id+"."+timestamp+"."), body...)
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, signed)), nil
	}
	return "", nil
}

// mac is of what Standard Webhooks and MLflow sign.
func mac(key []byte, id, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(id + "." + timestamp + "."))
	m.Write(body)
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

func mlflowHeaders(h http.Header, id, timestamp string) {
	h["X-Mlflow-Delivery-Id"], h["X-Mlflow-Timestamp"] = []string{mlflowID(id)}, []string{timestamp}
}

// mlflowID is a UUID, which MLflow's receivers may take it to be. It is the same in
// every attempt, unlike MLflow's.
func mlflowID(id string) string {
	sum := sha256.Sum256([]byte("modelog delivery " + id))
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80 // version 8: of our own making
	u[8] = u[8]&0x3f | 0x80
	text := hex.EncodeToString(u)
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}
