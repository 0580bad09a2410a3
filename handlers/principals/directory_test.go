package principals_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers/principals"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var moment = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)

// newLog starts the real server, and gives what closes it before the test ends.
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

func config(log *natslog.Log) principals.Config {
	return principals.Config{
		JetStream: log.JetStream, Now: func() time.Time { return moment },
		NewID: func(at time.Time) ulid.ULID { return ulid.MustNew(ulid.Timestamp(at), ulid.DefaultEntropy()) },
	}
}

func open(t *testing.T, log *natslog.Log) *principals.Directory {
	t.Helper()
	d, err := principals.Open(t.Context(), config(log))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func idOf(t *testing.T, d *principals.Directory, name string) string {
	t.Helper()
	id, err := d.ID(t.Context(), name)
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	return id
}

func erase(t *testing.T, d *principals.Directory, who string) string {
	t.Helper()
	id, err := d.Erase(t.Context(), who)
	if err != nil {
		t.Fatalf("erase %q: %v", who, err)
	}
	return id
}

func names(d *principals.Directory) []string {
	var all []string
	for _, p := range d.List() {
		all = append(all, p.Name)
	}
	return all
}

func TestAnIDIsOpaqueAndStaysWithItsName(t *testing.T) {
	dir := t.TempDir()
	log, stop := newLog(t, dir)
	d := open(t, log)
	if id, ok := d.Known("anna"); ok {
		t.Errorf("anna is %s before she did anything", id)
	}
	anna, ben := idOf(t, d, "anna"), idOf(t, d, "ben")
	if anna == ben || !strings.HasPrefix(anna, "prn_") || strings.Contains(anna, "anna") {
		t.Errorf("anna is %s, ben is %s", anna, ben)
	}
	wantKnown := func(d *principals.Directory) {
		t.Helper()
		for name, id := range map[string]string{"anna": anna, "ben": ben} {
			if got := idOf(t, d, name); got != id {
				t.Errorf("%s was %s, and is %s", name, id, got)
			}
			if got, ok := d.Known(name); got != id || !ok {
				t.Errorf("%s is known as %s, %v", name, got, ok)
			}
			if got, ok := d.Name(id); got != name || !ok {
				t.Errorf("%s is called %q, %v", id, got, ok)
			}
		}
		want := []principals.Principal{{ID: anna, Name: "anna", CreatedAt: moment}, {ID: ben, Name: "ben", CreatedAt: moment}}
		if got := d.List(); !slices.Equal(got, want) {
			t.Errorf("the list is %v, want %v", got, want)
		}
	}
	wantKnown(d)
	wantKnown(open(t, log))
	stop()
	again, _ := newLog(t, dir)
	wantKnown(open(t, again))
}

func TestNamesThatLookAlikeAreOnePrincipal(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	d := open(t, log)
	want := idOf(t, d, "zoë")
	for _, name := range []string{" zoë", "zoë\n", "zoe\u0308"} {
		if got := idOf(t, d, name); got != want {
			t.Errorf("%q is %s, want %s", name, got, want)
		}
		if got, ok := d.Known(name); got != want || !ok {
			t.Errorf("%q is known as %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"zoe", "Zoë", "zoë b", "/", "prn_" + "x", strings.Repeat("ö", principals.MaxName)} {
		if got := idOf(t, d, name); got == want {
			t.Errorf("%q is zoë", name)
		}
	}
}

func TestWhatIsNoNameIsRefused(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	d := open(t, log)
	for _, name := range []string{
		"", " \t\n", "a\nb", "a\x00b", "zero\u200bwidth", "right\u202eto left", "line\u2028b", "\xff", strings.Repeat("ö", principals.MaxName+1),
	} {
		if id, err := d.ID(t.Context(), name); !errors.Is(err, principals.ErrName) {
			t.Errorf("%q is %q, %v", name, id, err)
		}
	}
	if got := open(t, log).List(); len(got) > 0 {
		t.Errorf("the directory has %v", got)
	}
}

// Each directory is a replica's: they share nothing but the stream.
func TestReplicasThatRaceForANameAgree(t *testing.T) {
	const people = 20
	log, _ := newLog(t, t.TempDir())
	replicas := []*principals.Directory{open(t, log), open(t, log), open(t, log)}
	got := make([][people]string, len(replicas))
	var wg sync.WaitGroup
	for i, d := range replicas {
		for n := range people {
			wg.Go(func() {
				id, err := d.ID(t.Context(), fmt.Sprint("person ", n))
				if err != nil {
					t.Error(err)
				}
				got[i][n] = id
			})
		}
	}
	wg.Wait()
	if got[0] != got[1] || got[1] != got[2] {
		t.Errorf("replicas don't agree:\n%v\n%v\n%v", got[0], got[1], got[2])
	}
	if all := open(t, log).List(); len(all) != people {
		t.Errorf("the stream has %d principals, want %d", len(all), people)
	}
}

// holds gives the files below a directory that hold a text.
func holds(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestAnErasedNameIsNowhereInTheDataDirectory(t *testing.T) {
	dir := t.TempDir()
	log, stop := newLog(t, dir)
	d := open(t, log)
	idOf(t, d, "first")
	marker, other := idOf(t, d, "marker-anna"), idOf(t, d, "marker-ben")
	idOf(t, d, "last")
	if len(holds(t, dir, "marker-anna")) == 0 {
		t.Fatal("the name can't be found before it is erased, so that finding it no more proves nothing")
	}
	if got := erase(t, d, "marker-anna"); got != marker {
		t.Errorf("erased %s, want %s", got, marker)
	}
	if files := holds(t, dir, "marker-anna"); files != nil {
		t.Errorf("the name is still in %v", files)
	}
	if got := erase(t, d, other); got != other { // by its id, the last one of its block
		t.Errorf("erased %s, want %s", got, other)
	}
	stop()
	for _, name := range []string{"marker-anna", "marker-ben"} {
		if files := holds(t, dir, name); files != nil {
			t.Errorf("after a stop %s is still in %v", name, files)
		}
	}
	again, _ := newLog(t, dir)
	d = open(t, again)
	if got := names(d); !slices.Equal(got, []string{"first", "last"}) {
		t.Errorf("the directory has %v", got)
	}
	if name, ok := d.Name(marker); ok {
		t.Errorf("%s is %s", marker, name)
	}
}

func TestWhoComesBackAfterErasureIsAnother(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	d := open(t, log)
	first := idOf(t, d, "anna")
	erase(t, d, "anna")
	for _, who := range []string{"anna", first, "nobody", ""} {
		if _, err := d.Erase(t.Context(), who); !errors.Is(err, principals.ErrUnknown) {
			t.Errorf("erase %q: %v", who, err)
		}
	}
	second := idOf(t, d, "anna")
	if second == first {
		t.Errorf("anna is %s again", first)
	}
	for _, d := range []*principals.Directory{d, open(t, log)} {
		if id, _ := d.Known("anna"); id != second {
			t.Errorf("anna is %s, want %s", id, second)
		}
		if name, ok := d.Name(first); ok {
			t.Errorf("%s is still %s", first, name)
		}
	}
}

// Whatever another replica erased or added is known by the next write.
func TestReplicasLearnOfErasures(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	a, b := open(t, log), open(t, log)
	anna := idOf(t, a, "anna")
	erase(t, b, "anna") // which b hasn't seen before
	idOf(t, a, "ben")
	if name, ok := a.Name(anna); ok {
		t.Errorf("%s is still %s", anna, name)
	}
	if got := idOf(t, a, "anna"); got == anna {
		t.Error("anna has her old id again")
	}
	if got := names(open(t, log)); !slices.Equal(got, []string{"anna", "ben"}) {
		t.Errorf("the directory has %v", got)
	}
}

// The stream says that somebody is erased before the name is overwritten: a
// crash in between must not bring it back.
func TestAStartFinishesAnErasureThatWasInterrupted(t *testing.T) {
	dir := t.TempDir()
	log, _ := newLog(t, dir)
	d := open(t, log)
	id := idOf(t, d, "marker-anna")
	_, err := log.JetStream().Publish(t.Context(), "modelog.principals."+strings.TrimPrefix(id, "prn_")+".erased", []byte(`{"erased_at":"2026-11-24T02:00:00Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := open(t, log).List(); len(got) > 0 {
		t.Errorf("the directory has %v", got)
	}
	if files := holds(t, dir, "marker-anna"); files != nil {
		t.Errorf("the name is still in %v", files)
	}
	if got := idOf(t, d, "ben"); got == "" { // who was open all the time finds that it is done
		t.Error("no id")
	}
}

func TestAStreamThatIsThereIsNotChanged(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	open(t, log)
	edit := func(change func(*jetstream.StreamConfig)) {
		t.Helper()
		stream, err := log.JetStream().Stream(t.Context(), "MODELOG_PRINCIPALS")
		if err != nil {
			t.Fatal(err)
		}
		cfg := stream.CachedInfo().Config
		change(&cfg)
		if _, err := log.JetStream().UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	found := func() jetstream.StreamConfig {
		t.Helper()
		stream, err := log.JetStream().Stream(t.Context(), "MODELOG_PRINCIPALS")
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().Config
	}
	edit(func(c *jetstream.StreamConfig) { c.Description = "the operator's own words" })
	open(t, log)
	if got := found().Description; got != "the operator's own words" {
		t.Errorf("a start has changed the description to %q", got)
	}
	edit(func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour })
	_, err := principals.Open(t.Context(), config(log))
	if !errors.Is(err, principals.ErrStream) || !strings.Contains(err.Error(), "MODELOG_PRINCIPALS: max_age is 1h0m0s, wanted 0s") {
		t.Errorf("open says %v", err)
	}
	if got := found().MaxAge; got != time.Hour {
		t.Errorf("a start has changed max_age to %v", got)
	}
}

func TestAnErasureEndsWithItsContext(t *testing.T) {
	log, _ := newLog(t, t.TempDir())
	d := open(t, log)
	idOf(t, d, "anna")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Erase(ctx, "anna"); err == nil || errors.Is(err, principals.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	erase(t, d, "anna") // it can be asked again
}
