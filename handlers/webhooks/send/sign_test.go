package send

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	svix "github.com/svix/svix-webhooks/go"
)

// sent sends a request, and gives it as its receiver saw it.
func sent(t *testing.T, r webhooks.Request) received {
	t.Helper()
	to := newReceiver(t, nil, nil)
	r.Endpoint.URL = to.URL + "/hook?a=b"
	if got := newSender(t, nil).Send(t.Context(), r); got.Class != "ok" || got.Status != 200 || got.Ours {
		t.Fatalf("it is %+v", got)
	}
	requests, _ := to.all()
	if len(requests) != 1 {
		t.Fatalf("%d requests came", len(requests))
	}
	return requests[0]
}

// verifies says what the libraries of receivers say, which must be the same.
func verifies(t *testing.T, secret string, q received) error {
	t.Helper()
	standard, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	other, err := svix.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	err = standard.Verify(q.body, q.Header)
	if second := other.Verify(q.body, q.Header); (second == nil) != (err == nil) {
		t.Errorf("one library says %v, the other one %v", err, second)
	}
	return err
}

func newSecret(t *testing.T, scheme events.SignatureScheme) (vault.Secret, string) {
	t.Helper()
	secret, shown, err := vault.NewSecret(scheme)
	if err != nil {
		t.Fatal(err)
	}
	return secret, shown
}

func TestTheDocumentedSignatureIsMade(t *testing.T) {
	r := requestTo("")
	r.Time = time.Unix(1614265330, 0)
	q := sent(t, r)
	for name, want := range map[string]string{
		"webhook-id": vectorID, "webhook-timestamp": "1614265330", "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		"content-type": "application/cloudevents+json", "user-agent": "modelog/test", "content-length": "20", "accept-encoding": "",
	} {
		if got := q.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if string(q.body) != vectorBody || q.Method != http.MethodPost || q.RequestURI != "/hook?a=b" {
		t.Errorf("it is %s %s with %s", q.Method, q.RequestURI, q.body)
	}
}

func TestLibrariesVerifyADelivery(t *testing.T) {
	r := requestTo("")
	secret, shown := newSecret(t, events.SignHMAC)
	r.Endpoint.Secrets = []vault.Secret{secret}
	r.Header = http.Header{"Webhook-Replay": {"job"}}
	r.Endpoint.Header = map[string]string{"Authorization": "Bearer x", "User-Agent": "theirs"}
	q := sent(t, r)
	if err := verifies(t, shown, q); err != nil {
		t.Error(err)
	}
	if q.Header.Get("Authorization") != "Bearer x" || q.Header.Get("User-Agent") != "theirs" || q.Header.Get("Webhook-Replay") != "job" {
		t.Errorf("headers are missing: %v", q.Header)
	}
	q.body[3] ^= 1
	if verifies(t, shown, q) == nil {
		t.Error("a flipped byte verifies")
	}
	q.body[3] ^= 1
	q.Header.Set("webhook-id", "msg_other")
	if verifies(t, shown, q) == nil {
		t.Error("another id verifies")
	}
}

func TestARotatedSecretSignsUntilItsEnd(t *testing.T) {
	r := requestTo("")
	next, nextShown := newSecret(t, events.SignHMAC)
	old, oldShown := newSecret(t, events.SignHMAC)
	ended, endedShown := newSecret(t, events.SignHMAC)
	old.Until, ended.Until = r.Time.Add(time.Minute), r.Time
	r.Endpoint.Secrets = []vault.Secret{next, old, ended}
	q := sent(t, r)
	for _, secret := range []string{nextShown, oldShown} {
		if err := verifies(t, secret, q); err != nil {
			t.Errorf("%s: %v", secret, err)
		}
	}
	if verifies(t, endedShown, q) == nil {
		t.Error("a secret signs beyond its end")
	}
}

func TestAKeyPairSigns(t *testing.T) {
	r := requestTo("")
	pair, shown := newSecret(t, events.SignEd25519)
	other, otherShown := newSecret(t, events.SignHMAC)
	r.Signature = events.SignEd25519
	r.Endpoint.Secrets = []vault.Secret{pair, other}
	q := sent(t, r)
	first, second, ok := strings.Cut(q.Header.Get("webhook-signature"), " ")
	text, v1a := strings.CutPrefix(first, "v1a,")
	signature, err := base64.StdEncoding.DecodeString(text)
	if !ok || !v1a || err != nil || !strings.HasPrefix(second, "v1,") {
		t.Fatalf("the signatures are %q, %v", q.Header.Get("webhook-signature"), err)
	}
	public, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(shown, "whpk_"))
	if err != nil {
		t.Fatal(err)
	}
	signed := q.Header.Get("webhook-id") + "." + q.Header.Get("webhook-timestamp") + "." + string(q.body)
	if !ed25519.Verify(public, []byte(signed), signature) {
		t.Error("it doesn't verify")
	}
	if ed25519.Verify(public, []byte(signed+" "), signature) {
		t.Error("anything verifies")
	}
	if err := verifies(t, otherShown, q); err != nil { // the library passes over schemes that it doesn't know
		t.Error(err)
	}
}

func TestMLflowsSignatureIsItsOwn(t *testing.T) {
	standard, _ := newSecret(t, events.SignHMAC)
	for _, c := range []struct {
		name    string
		secrets []vault.Secret
		format  events.DeliveryFormat
		key     string // that MLflow's signature is of
		v1      bool   // whether Standard Webhooks' is there too
	}{
		{"made by MLflow's call", []vault.Secret{{Key: "my secret"}, {Key: "an older one"}}, events.FormatMLflow, "my secret", false},
		{"made here", []vault.Secret{standard}, events.FormatMLflow, standard.Key, true},
		{"without a secret", nil, events.FormatMLflow, "", false},
		{"made by MLflow's call, in another format by now", []vault.Secret{{Key: "my secret"}}, events.FormatCloudEvents, "my secret", false},
		{"rotated from MLflow's secret", []vault.Secret{standard, {Key: "an older one"}}, events.FormatCloudEvents, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := requestTo("")
			r.Endpoint.Secrets, r.Format = c.secrets, c.format
			q := sent(t, r)
			id, timestamp := q.Header.Get("X-MLflow-Delivery-Id"), q.Header.Get("X-MLflow-Timestamp")
			if again := sent(t, r); again.Header.Get("X-MLflow-Delivery-Id") != id {
				t.Error("the id is another in another attempt")
			}
			if c.format == events.FormatMLflow || c.key != "" {
				if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) || timestamp != q.Header.Get("webhook-timestamp") {
					t.Errorf("the id is %q, at %q", id, timestamp)
				}
			}
			want := ""
			if c.key != "" {
				m := hmac.New(sha256.New, []byte(c.key)) // as MLflow's example of a receiver does
				m.Write([]byte(id + "." + timestamp + "." + string(q.body)))
				want = "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
			}
			if got := q.Header.Get("X-MLflow-Signature"); got != want {
				t.Errorf("the signature is %q, want %q", got, want)
			}
			if _, v1 := q.Header["Webhook-Signature"]; v1 != c.v1 || q.Header.Get("webhook-id") != vectorID {
				t.Errorf("Standard Webhooks' are %v", q.Header)
			}
		})
	}
}

func TestNothingGoesOutUnsignedThatWasToBeSigned(t *testing.T) {
	to := newReceiver(t, nil, nil)
	for name, secret := range map[string]vault.Secret{
		"no base64": {Key: "whsec_?"}, "an empty one": {Key: "whsec_"}, "half a pair": {Key: "whsk_AAAA"},
		"one that has ended": {Key: vectorSecret, Until: time.Unix(1, 0)},
	} {
		r := requestTo(to.URL)
		r.Endpoint.Secrets = []vault.Secret{secret}
		if got := newSender(t, nil).Send(t.Context(), r); !got.Ours || got.Class != "ours" {
			t.Errorf("with %s it is %+v", name, got)
		}
	}
	if requests, _ := to.all(); len(requests) != 0 {
		t.Errorf("%d went out", len(requests))
	}
}
