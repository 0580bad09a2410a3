package seal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelog/modelog/events"
)

// reviewed reads a log from its beginning, and says what a reviewer finds.
func reviewed(t *testing.T, l *tape, r *Reviewer) error {
	t.Helper()
	for _, err := range r.Watch(l).Read(t.Context(), 1, l.visible()) {
		if err != nil {
			return err
		}
	}
	return r.Finish()
}

func TestAReviewFindsWhatIsNotAsItWasSealed(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(*tape)
		found  string // empty for nothing
	}{
		"nothing":                        {func(*tape) {}, ""},
		"events that came later":         {func(l *tape) { l.write(300) }, ""},
		"an old event is another one":    {func(l *tape) { l.events[3] = event(4, "s3://elsewhere") }, "event 4 is not"},
		"one in the second tile":         {func(l *tape) { l.events[299] = event(300, "s3://elsewhere") }, "event 300 is not"},
		"one that is in no full tile":    {func(l *tape) { l.events[590] = event(591, "s3://elsewhere") }, "the first 600 events"},
		"two events have changed places": {func(l *tape) { l.events[10], l.events[11] = l.events[11], l.events[10] }, "event 11 is not"},
		"the tail is gone":               {func(l *tape) { l.events = l.events[:599] }, "it ends at 599, but was sealed up to 600"},
		"what is there is no event":      {func(l *tape) { l.events[5] = events.Encoded{Subject: "x"} }, "event 6"},
		"an event came in, and none is too": {func(l *tape) {
			l.events = append(l.events[:20:20], append([]events.Encoded{event(9, "s3://new")}, l.events[20:599]...)...)
		}, "event 21 is not"},
	} {
		for _, tiles := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, with tiles %v", name, tiles), func(t *testing.T) {
				dir, l := t.TempDir(), newTape(600)
				cfg := testConfig(t, dir, l)
				before := begun(t, cfg)
				eventually(t, "all is sealed", sealedUpTo(before, 600))
				kill(before)
				live := before.Reviewer()
				c.tamper(l)
				want := c.found
				if !tiles {
					if err := os.RemoveAll(filepath.Join(dir, "tile")); err != nil {
						t.Fatal(err)
					}
					if strings.HasSuffix(want, "is not") {
						want = "the first 600 events"
					}
				}
				kept, err := OpenReviewer(dir)
				if err != nil || kept.Size() != 600 || kept.Signed(registryID, cfg.Key.Verifier) != nil {
					t.Fatal(kept, err)
				}
				for _, r := range []*Reviewer{live, kept} {
					err := reviewed(t, l, r)
					if want == "" && err != nil || want != "" && (!errors.Is(err, ErrForked) || !strings.Contains(err.Error(), want)) {
						t.Errorf("got %v, want %q", err, want)
					}
				}
			})
		}
	}
}

func TestAReviewIsOfAHeadThatWasSigned(t *testing.T) {
	dir, l := t.TempDir(), newTape(3)
	if r, err := OpenReviewer(dir); r != nil || err != nil {
		t.Fatal("before the first head:", r, err)
	}
	cfg := testConfig(t, dir, l)
	s := begun(t, cfg)
	eventually(t, "all is sealed", sealedUpTo(s, 3))
	kill(s)
	r, err := OpenReviewer(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Signed(registryID, newKey(t, t.TempDir()).Verifier); !errors.Is(err, ErrForked) {
		t.Error("signed by another key:", err)
	}
	path := filepath.Join(dir, checkpointFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenReviewer(dir)
		if err == nil {
			err = errors.Join(r.Signed(registryID, cfg.Key.Verifier), reviewed(t, l, r))
		}
		if !errors.Is(err, ErrForked) {
			t.Fatalf("with byte %d flipped: %v", i, err)
		}
	}
}
