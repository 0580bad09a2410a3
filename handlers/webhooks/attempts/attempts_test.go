package attempts_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/modelog/modelog/events/natslog"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	anna = ulid.MustParse("01JDEV0000000000000000000A")
	ben  = ulid.MustParse("01JDEV0000000000000000000B")
)

func newJournal(t *testing.T) *attempts.Journal {
	t.Helper()
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	j, err := attempts.Open(t.Context(), attempts.Config{JetStream: log.JetStream})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func record(t *testing.T, j *attempts.Journal, sub ulid.ULID, sequence uint64, number, status int, class string) {
	t.Helper()
	if err := j.Record(t.Context(), &attempts.Attempt{Subscription: sub, Sequence: sequence, Number: number, Status: status, Class: class}); err != nil {
		t.Fatal(err)
	}
}

// walk lists all pages.
func walk(t *testing.T, j *attempts.Journal, sub ulid.ULID, f attempts.Filter, limit int) (all [][2]int) {
	t.Helper()
	for before := uint64(0); ; {
		page, next, err := j.List(t.Context(), sub, f, before, limit)
		if err != nil || len(page) > limit {
			t.Fatalf("a page of %d has %d, %v", limit, len(page), err)
		}
		for _, a := range page {
			all = append(all, [2]int{int(a.Sequence), a.Number})
		}
		if before = next; next == 0 {
			return all
		}
	}
}

func TestAttemptsAreListedFromTheLast(t *testing.T) {
	j := newJournal(t)
	record(t, j, anna, 7, 1, 500, "status")
	record(t, j, anna, 9, 1, 200, "ok")
	for i := range 700 { // more than a window, of somebody else
		record(t, j, ben, uint64(i+1), 1, 0, "timeout")
	}
	record(t, j, anna, 70, 1, 0, "timeout")
	record(t, j, anna, 7, 2, 200, "ok")
	for _, c := range []struct {
		name   string
		filter attempts.Filter
		want   [][2]int
	}{
		{"all", attempts.Filter{}, [][2]int{{7, 2}, {70, 1}, {9, 1}, {7, 1}}},
		{"of an event", attempts.Filter{Sequence: 7}, [][2]int{{7, 2}, {7, 1}}},
		{"of a class", attempts.Filter{Class: "ok"}, [][2]int{{7, 2}, {9, 1}}},
		{"of a status", attempts.Filter{Status: 500}, [][2]int{{7, 1}}},
		{"of nothing", attempts.Filter{Sequence: 8}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for limit := 1; limit <= 5; limit++ {
				if got := walk(t, j, anna, c.filter, limit); !slices.Equal(got, c.want) {
					t.Errorf("pages of %d have %v, want %v", limit, got, c.want)
				}
			}
		})
	}
	if got := walk(t, j, ben, attempts.Filter{}, 300); len(got) != 700 || got[0] != [2]int{700, 1} || got[699] != [2]int{1, 1} {
		t.Errorf("the many are %d, %v", len(got), got)
	}
	got, err := j.Delivered(t.Context(), anna, []uint64{7, 9, 70, 8})
	for sequence, want := range map[uint64]bool{7: true, 9: true, 70: false, 8: false} {
		if got[sequence] != want || err != nil {
			t.Errorf("event %d is delivered: %v, %v", sequence, got[sequence], err)
		}
	}
	if err := j.Forget(t.Context(), anna); err != nil {
		t.Fatal(err)
	}
	if a, b := walk(t, j, anna, attempts.Filter{}, 10), walk(t, j, ben, attempts.Filter{Sequence: 3}, 10); len(a) != 0 || len(b) != 1 {
		t.Errorf("after forgetting: %v, %v", a, b)
	}
}

func TestAnAnswerIsKeptInPart(t *testing.T) {
	j := newJournal(t)
	if err := j.Record(t.Context(), &attempts.Attempt{Subscription: anna, Sequence: 1, Body: "\xff" + strings.Repeat("ö", attempts.MaxBody)}); err != nil {
		t.Fatal(err)
	}
	page, _, err := j.List(t.Context(), anna, attempts.Filter{}, 0, 1)
	if err != nil || len(page) != 1 {
		t.Fatalf("%v, %v", page, err)
	}
	if body := page[0].Body; !utf8.ValidString(body) || len(body) < attempts.MaxBody || len(body) > attempts.MaxBody+4 {
		t.Errorf("%d bytes are kept", len(body))
	}
}

// What is recorded at once goes into few messages, and all of it is there, in the order
// of each event's attempts.
func TestAttemptsThatAreRecordedAtOnceGoTogether(t *testing.T) {
	log, err := natslog.Open(t.Context(), natslog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	j, err := attempts.Open(t.Context(), attempts.Config{JetStream: log.JetStream})
	if err != nil {
		t.Fatal(err)
	}
	const n = 2_000
	var group sync.WaitGroup
	body := strings.Repeat("x", attempts.MaxBody)
	for i := range n {
		group.Go(func() {
			a := &attempts.Attempt{Subscription: anna, Sequence: uint64(i + 1), Number: 1, Class: attempts.ClassOK}
			if i%50 == 0 { // more than fits into one message
				a.Body = body
			}
			if err := j.Record(t.Context(), a); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	stream, err := log.JetStream().Stream(t.Context(), "MODELOG_ATTEMPTS")
	if err != nil {
		t.Fatal(err)
	}
	if messages := stream.CachedInfo().State.Msgs; messages > n/4 {
		t.Errorf("they are %d messages", messages)
	}
	for _, limit := range []int{37, 300, n} {
		seen := map[int]bool{}
		for _, a := range walk(t, j, anna, attempts.Filter{}, limit) {
			if seen[a[0]] {
				t.Fatalf("event %d is there twice in pages of %d", a[0], limit)
			}
			seen[a[0]] = true
		}
		if len(seen) != n {
			t.Errorf("%d are there in pages of %d, want %d", len(seen), limit, n)
		}
	}
	if got := walk(t, j, anna, attempts.Filter{Sequence: 1500}, 10); len(got) != 1 || got[0] != [2]int{1500, 1} {
		t.Errorf("of one event there are %v", got)
	}
	delivered, err := j.Delivered(t.Context(), anna, []uint64{1, 1023, 1024, n, n + 1})
	if err != nil || !delivered[1] || !delivered[1023] || !delivered[1024] || !delivered[n] || delivered[n+1] {
		t.Errorf("delivered are %v, %v", delivered, err)
	}
}
