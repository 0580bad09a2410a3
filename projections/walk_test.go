package projections

import (
	"strconv"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// TestAPageByUpdateVisitsFewTouches counts what a page of versions visits when
// each has the life of a version that does well, at the end and long ago.
func TestAPageByUpdateVisitsFewTouches(t *testing.T) {
	const models, versions, page = 20, 50, 100
	s := New()
	tell := func(d events.Data) {
		n := s.Applied() + 1
		s.Apply(events.Event{Sequence: n, Time: time.UnixMilli(int64(n)), Data: d})
	}
	tell(events.RegistryCreated{Level: 1})
	id := func(n int) ulid.ULID { return ulid.ULID{15: byte(n)} }
	for m := range models {
		tell(events.ModelRegistered{ModelID: id(m), Name: strconv.Itoa(m)})
	}
	for n := 1; n <= versions; n++ {
		for m := range models {
			tell(events.VersionRegistered{ModelID: id(m), Version: n, Source: "s"})
			tell(events.VersionDescribed{ModelID: id(m), Version: n, Tags: map[string]string{"evaluated": "yes"}})
			tell(events.VersionPromoted{ModelID: id(m), Version: n, From: "None", To: "Staging"})
			promoted := events.VersionPromoted{ModelID: id(m), Version: n, From: "Staging", To: "Production"}
			if n > 1 {
				promoted.Displaced = []events.Range{{n - 1, n - 1}}
			}
			tell(promoted)
		}
	}
	for _, at := range []uint64{s.Applied(), s.Applied() / 2} {
		w := updateWalk{view: s.At(at), below: UpdatePlace{Sequence: at + 1}, left: -1}
		all := func(u *updates) touchList {
			return touchList{length: len(u.touches), at: func(i int) touch { return u.touches[i] }}
		}
		found, begin := 0, 0
		for found < page && w.left != 0 {
			w.step(all, 1)
			begin = max(begin, w.left+1)
			found += len(w.hits)
		}
		if visited := begin - w.left; found < page || visited > 10*page {
			t.Errorf("as of %d, %d touches are visited for %d versions", at, visited, found)
		}
	}
	if n := len(s.updates.touches); n != models*(4*versions-1) {
		t.Errorf("there are %d touches", n)
	}
}
