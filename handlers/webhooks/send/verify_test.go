package send

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/vault"
)

// TestAReceiverVerifiesWhatIsSigned signs as deliveries are, with both kinds of secrets.
func TestAReceiverVerifiesWhatIsSigned(t *testing.T) {
	now := time.Unix(1_796_141_557, 0)
	for _, scheme := range []events.SignatureScheme{events.SignHMAC, events.SignEd25519} {
		secret, shown, err := vault.NewSecret(scheme)
		if err != nil {
			t.Fatal(err)
		}
		other, otherShown, err := vault.NewSecret(scheme)
		if err != nil {
			t.Fatal(err)
		}
		body := []byte(`{"a":1}`)
		r := webhooks.Request{ID: "evt_1", Time: now, Body: body, Endpoint: vault.Endpoint{Secrets: []vault.Secret{other, secret}}}
		header := http.Header{}
		if err := sign(header, &r); err != nil {
			t.Fatal(err)
		}
		without := func(name string) http.Header {
			h := header.Clone()
			h.Del(name)
			return h
		}
		_, foreign, err := vault.NewSecret(scheme)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			secret string
			header http.Header
			body   string
			now    time.Time
			want   error
		}{
			"as it was sent":        {shown, header, `{"a":1}`, now, nil},
			"by the newer secret":   {otherShown, header, `{"a":1}`, now, nil},
			"a bit late":            {shown, header, `{"a":1}`, now.Add(5 * time.Minute), nil},
			"much too late":         {shown, header, `{"a":1}`, now.Add(301 * time.Second), ErrStale},
			"from the future":       {shown, header, `{"a":1}`, now.Add(-301 * time.Second), ErrStale},
			"another body":          {shown, header, `{"a":2}`, now, ErrSignature},
			"another secret":        {foreign, header, `{"a":1}`, now, ErrSignature},
			"no id":                 {shown, without("Webhook-Id"), `{"a":1}`, now, ErrUnsigned},
			"no time":               {shown, without("Webhook-Timestamp"), `{"a":1}`, now, ErrUnsigned},
			"no signature":          {shown, without("Webhook-Signature"), `{"a":1}`, now, ErrUnsigned},
			"a secret that is none": {"hunter2", header, `{"a":1}`, now, ErrSecret},
			"a secret cut short":    {shown[:len(shown)-3], header, `{"a":1}`, now, ErrSecret},
		} {
			if err := Verify(c.secret, c.header, []byte(c.body), c.now); !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v, want %v", scheme, name, err, c.want)
			}
		}
	}
}
