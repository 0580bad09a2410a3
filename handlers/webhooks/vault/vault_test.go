package vault_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers/webhooks/vault"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var moment = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)

func newLog(t *testing.T, dir string) (log *natslog.Log, stop func()) {
	t.Helper()
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return log, stop
}

func keyOf(t *testing.T, fill string) *vault.Key {
	t.Helper()
	key, err := vault.NewKey([]byte(strings.Repeat(fill, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func open(t *testing.T, log *natslog.Log, key *vault.Key) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), vault.Config{JetStream: log.JetStream, Key: key, Now: func() time.Time { return moment }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// idAt gives an id that was made so long before the moment.
func idAt(before time.Duration, n byte) (id ulid.ULID) {
	if err := id.SetTime(ulid.Timestamp(moment.Add(-before))); err != nil {
		panic(err)
	}
	id[15] = n
	return id
}

var endpoint = vault.Endpoint{
	URL: "https://hooks.example.com/T0/secret-path?token=1", Header: map[string]string{"Authorization": "Bearer x"},
	Secrets: []vault.Secret{{Key: "whsec_bmV3"}, {Key: "whsec_b2xk", Until: moment}},
}

func put(t *testing.T, v *vault.Vault, id ulid.ULID) {
	t.Helper()
	if err := v.Put(t.Context(), id, endpoint); err != nil {
		t.Fatal(err)
	}
}

func TestAnEndpointIsKeptSealed(t *testing.T) {
	dir := t.TempDir()
	log, stop := newLog(t, dir)
	id := idAt(0, 1)
	v := open(t, log, keyOf(t, "k"))
	put(t, v, id)
	for _, reader := range []*vault.Vault{v, open(t, log, keyOf(t, "k"))} { // from memory, and from the stream
		if got, err := reader.Get(t.Context(), id); err != nil || !cmp.Equal(got, endpoint) {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if _, err := v.Get(t.Context(), idAt(0, 2)); !errors.Is(err, vault.ErrUnknown) {
		t.Errorf("one that was never put: %v", err)
	}
	if err := v.Put(t.Context(), id, endpoint); err == nil {
		t.Error("a record was put twice under one id")
	}
	stop()
	for _, secret := range []string{"secret-path", "Bearer", "whsec_"} {
		if files := holds(t, dir, []byte(secret)); files != nil {
			t.Errorf("%s is to be read in %v", secret, files)
		}
	}
}

func TestAnotherKeyAndAChangedByteAreToldApart(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	id := idAt(0, 1)
	put(t, open(t, log, keyOf(t, "k")), id)
	if _, err := open(t, log, keyOf(t, "l")).Get(t.Context(), id); !errors.Is(err, vault.ErrKey) {
		t.Errorf("with another key: %v", err)
	}
	record := recordOf(t, log, id)
	for i := range record {
		damaged := slices.Clone(record)
		damaged[i] ^= 1
		other := idAt(0, byte(i+2))
		publish(t, log, other, damaged)
		if _, err := open(t, log, keyOf(t, "k")).Get(t.Context(), other); !errors.Is(err, vault.ErrDamaged) && !errors.Is(err, vault.ErrKey) {
			t.Fatalf("with byte %d changed: %v", i, err)
		}
	}
	swapped := idAt(0, 255)
	publish(t, log, swapped, record)
	if _, err := open(t, log, keyOf(t, "k")).Get(t.Context(), swapped); !errors.Is(err, vault.ErrDamaged) {
		t.Errorf("in the place of another one: %v", err)
	}
	publish(t, log, idAt(1, 1), nil)
	if _, err := open(t, log, keyOf(t, "k")).Get(t.Context(), idAt(1, 1)); !errors.Is(err, vault.ErrDamaged) {
		t.Errorf("an empty one: %v", err)
	}
}

func recordOf(t *testing.T, log *natslog.Log, id ulid.ULID) []byte {
	t.Helper()
	stream, err := log.JetStream().Stream(t.Context(), "MODELOG_CREDENTIALS")
	if err != nil {
		t.Fatal(err)
	}
	message, err := stream.GetLastMsgForSubject(t.Context(), "modelog.credentials."+id.String())
	if err != nil {
		t.Fatal(err)
	}
	return message.Data
}

func publish(t *testing.T, log *natslog.Log, id ulid.ULID, record []byte) {
	t.Helper()
	if _, err := log.JetStream().Publish(t.Context(), "modelog.credentials."+id.String(), record); err != nil {
		t.Fatal(err)
	}
}

// holds gives the files of a directory that have some bytes in them.
func holds(t *testing.T, dir string, some []byte) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, some) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestAnErasedEndpointIsNowhereInTheDataDirectory(t *testing.T) {
	dir := t.TempDir()
	log, stop := newLog(t, dir)
	v := open(t, log, keyOf(t, "k"))
	id, other := idAt(0, 1), idAt(0, 2)
	put(t, v, id)
	put(t, v, other)
	record, kept := recordOf(t, log, id), recordOf(t, log, other)
	if holds(t, dir, record) == nil {
		t.Fatal("the record can't be found before it is erased, so that finding it no more proves nothing")
	}
	for range 2 { // the second time there is nothing to erase
		if err := v.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Get(t.Context(), id); !errors.Is(err, vault.ErrUnknown) {
		t.Errorf("it can be read still: %v", err)
	}
	stop()
	if files := holds(t, dir, record); files != nil {
		t.Errorf("the record is still in %v", files)
	}
	if holds(t, dir, kept) == nil {
		t.Error("the other one is gone too")
	}
}

func TestASweepErasesWhatNobodyUses(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	v := open(t, log, keyOf(t, "k"))
	used, orphan, young := idAt(2*time.Hour, 1), idAt(2*time.Hour, 2), idAt(time.Minute, 3)
	for _, id := range []ulid.ULID{used, orphan, young} {
		put(t, v, id)
	}
	if err := v.Sweep(t.Context(), func(id ulid.ULID) bool { return id == used }); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[ulid.ULID]error{used: nil, orphan: vault.ErrUnknown, young: nil} {
		if _, err := open(t, log, keyOf(t, "k")).Get(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("%v: got %v, want %v", id, err, want)
		}
	}
}

func TestFingerprints(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	v := open(t, log, keyOf(t, "k"))
	of := func(v *vault.Vault, url string, header ...string) string {
		m := map[string]string{}
		for i := 0; i < len(header); i += 2 {
			m[header[i]] = header[i+1]
		}
		return fmt.Sprint(v.Fingerprint(url, m))
	}
	if of(v, "https://a", "b", "c", "d", "e") != of(v, "https://a", "d", "e", "b", "c") {
		t.Error("the order of headers makes a difference")
	}
	seen := map[string]bool{}
	for _, f := range []string{
		of(v, "https://a"), of(v, "https://b"), of(v, "https://a", "b", "c"), of(v, "https://a", "b", "d"), of(v, "https://ab", "", "c"),
		of(open(t, log, keyOf(t, "l")), "https://a"),
	} {
		if seen[f] {
			t.Errorf("two have the fingerprint %s", f)
		}
		seen[f] = true
	}
}

func TestKeyFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "webhooks", "secrets.key")
	if _, err := vault.LoadKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that isn't there: %v", err)
	}
	made, err := vault.MakeKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := vault.MakeKey(path)
	if err != nil || *again != *made {
		t.Errorf("the key changes: %v", err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("beside the key there is %v, %v", files, err)
	}
	whole := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for _, c := range []struct {
		name, text string
		mode       fs.FileMode
		want       error
	}{
		{"whole", whole, 0o600, nil},
		{"with line ends", whole + "\r\n", 0o400, nil},
		{"others may read it", whole, 0o604, vault.ErrKeyOpen},
		{"the group may read it", whole, 0o640, vault.ErrKeyOpen},
		{"cut off", whole[:40], 0o600, vault.ErrKeyForm},
		{"twice", whole + whole, 0o600, vault.ErrKeyForm},
		{"not base64", strings.Repeat("?", 44), 0o600, vault.ErrKeyForm},
	} {
		t.Run(c.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && errors.Is(c.want, vault.ErrKeyOpen) {
				t.Skip("modes tell nothing here")
			}
			path := filepath.Join(t.TempDir(), "k")
			if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := vault.MakeKey(path); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	v := open(t, log, keyOf(t, "k"))
	var wg sync.WaitGroup
	for i := range byte(8) {
		wg.Go(func() {
			id := idAt(2*time.Hour, i)
			if err := v.Put(t.Context(), id, endpoint); err != nil {
				t.Error(err)
			}
			if got, err := v.Get(t.Context(), id); err != nil || got.URL != endpoint.URL {
				t.Errorf("%v: %v", id, err)
			}
			if err := v.Sweep(t.Context(), func(ulid.ULID) bool { return true }); err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				if err := v.Delete(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range byte(8) {
		if _, err := v.Get(t.Context(), idAt(2*time.Hour, i)); (err == nil) != (i%2 == 1) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestKeysMadeAtOnceAreOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	keys := make([]*vault.Key, 4)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = vault.MakeKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys[1:] {
		if k == nil || *k != *keys[0] {
			t.Error("there are several keys")
		}
	}
}

func TestAStreamThatCouldLoseRecordsIsRefused(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	_, err := log.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "MODELOG_CREDENTIALS", Subjects: []string{"modelog.credentials.*"}, MaxAge: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = vault.Open(t.Context(), vault.Config{JetStream: log.JetStream, Key: keyOf(t, "k"), Now: time.Now})
	if !errors.Is(err, vault.ErrStream) || !strings.Contains(err.Error(), "max_age") {
		t.Errorf("got %v", err)
	}
}

func TestSecretsShowWhatTheirReceiversNeed(t *testing.T) {
	for scheme, prefixes := range map[events.SignatureScheme][2]string{events.SignHMAC: {"whsec_", "whsec_"}, events.SignEd25519: {"whsk_", "whpk_"}} {
		secret, shown, err := vault.NewSecret(scheme)
		other, _, _ := vault.NewSecret(scheme)
		if err != nil || !strings.HasPrefix(secret.Key, prefixes[0]) || !strings.HasPrefix(shown, prefixes[1]) || secret.Shown() != shown || other == secret {
			t.Errorf("%s: %v shows %s and %s, %v", scheme, secret, shown, secret.Shown(), err)
		}
		if scheme == events.SignEd25519 {
			private, _ := base64.StdEncoding.DecodeString(secret.Key[len("whsk_"):])
			public, _ := base64.StdEncoding.DecodeString(shown[len("whpk_"):])
			if !ed25519.Verify(public, []byte("m"), ed25519.Sign(private, []byte("m"))) {
				t.Error("what is shown doesn't verify")
			}
		}
	}
}

func TestSecretsThatCanSign(t *testing.T) {
	for _, scheme := range []events.SignatureScheme{events.SignHMAC, events.SignEd25519} {
		if s, _, err := vault.NewSecret(scheme); err != nil || !s.Usable() {
			t.Errorf("what is made here can't sign: %v", err)
		}
	}
	for key, usable := range map[string]bool{
		"": false, "hush": true, "whsec": true, "whsec_": false, "whsec_aHVzaA==": true, "whsec_hush!": false, "whsk_": false, "whsk_aHVzaA==": false,
	} {
		if got := (vault.Secret{Key: key}).Usable(); got != usable {
			t.Errorf("%q: %v, want %v", key, got, usable)
		}
	}
}
