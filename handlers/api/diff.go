package api

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// Diff is a page of what changed between two moments, by the paths of the
// resources, of a model's the versions by number.
type Diff struct {
	From       Moment           `json:"from"`
	To         Moment           `json:"to"`
	Changes    []ResourceChange `json:"changes"`
	NextCursor string           `json:"next_cursor,omitempty"` // absent on the last page
}

// Moment is a moment that was resolved to a sequence.
type Moment struct {
	Sequence   uint64 `json:"sequence"`
	RecordedAt string `json:"recorded_at,omitempty"` // time of that event, absent for sequence 0
}

// ResourceChange is what changed of one resource.
type ResourceChange struct {
	Resource string        `json:"resource"` // its path after the change, or before it if it is gone
	Change   string        `json:"change"`
	Fields   []FieldChange `json:"fields"`
}

// What can become of a resource.
const (
	wasAdded   = "added"
	wasRemoved = "removed"
	wasChanged = "changed"
)

func (s *server) diffRoutes() []endpoint {
	return []endpoint{
		read("/v1/diff", "getDiff", "Get what changed between two moments", append([]parameter{
			{"from", "string", "The earlier moment: a sequence, or an RFC 3339 time, which resolves to one; the beginning if absent"},
			{"to", "string", "The later moment; now, or as_of, if absent"},
			{"resource", "string", "Only of this resource and of what is under it: a path such as models/fraud or targets/prod/scorer, or a reference such as fraud/8; also of one that is gone"},
		}, paging...), s.diff),
	}
}

func (s *server) diff(c *call, v projections.View) (answer[Diff], error) {
	page, v, err := c.page(v)
	if err != nil {
		return answer[Diff]{}, err
	}
	before, after, err := c.span(v)
	if err != nil {
		return answer[Diff]{}, err
	}
	var under events.Resource
	if c.query.Has("resource") {
		if under, err = auditedResource(after, c.query.Get("resource")); err != nil {
			return answer[Diff]{}, err
		}
	}
	begin, err := page.position()
	if err != nil {
		return answer[Diff]{}, err
	}
	all, err := s.diffs.between(c.r.Context(), diffOf{before.Sequence, after.Sequence, under}, after)
	if err != nil {
		return answer[Diff]{}, err
	}
	d := Diff{From: showMoment(before), To: showMoment(after), Changes: []ResourceChange{}}
	for i := begin; i < len(all); i++ {
		if page.full(len(d.Changes)) {
			d.NextCursor = page.next(strconv.Itoa(i))
			break
		}
		change, differs, err := changeOf(before, after, all[i])
		if err != nil {
			return answer[Diff]{}, err
		}
		if differs {
			d.Changes = append(d.Changes, change)
		}
	}
	return answer[Diff]{value: d}, nil
}

// position reads where a list goes on whose entries are counted.
func (p page) position() (int, error) {
	if p.Last == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(p.Last)
	if err != nil || n < 0 {
		return 0, errCursor
	}
	return n, nil
}

func showMoment(v projections.View) Moment {
	m := Moment{Sequence: v.Sequence}
	if v.Sequence > 0 {
		m.RecordedAt = events.FormatTime(v.Recorded())
	}
	return m
}

// span reads from and to, neither of them after a view.
func (c *call) span(v projections.View) (before, after projections.View, err error) {
	before, after = v.At(0), v
	for _, end := range []struct {
		name string
		at   *projections.View
	}{{"from", &before}, {"to", &after}} {
		if !c.query.Has(end.name) {
			continue
		}
		text := c.query.Get(end.name)
		at, err := c.moment(end.name, text)
		if err != nil {
			return before, after, err
		}
		if _, notSequence := strconv.ParseUint(text, 10, 64); at.Sequence > v.Sequence && notSequence == nil {
			return before, after, handlers.InvalidField(end.name, "not_after_as_of", "%s is after %d, which the answer is as of", text, v.Sequence)
		}
		*end.at = v.At(min(at.Sequence, v.Sequence))
	}
	if before.Sequence > after.Sequence {
		return before, after, handlers.InvalidField("from", "not_after_to", "%d is after %d, with which the range ends", before.Sequence, after.Sequence)
	}
	return before, after, nil
}

// changeOf says what changed of a resource between two views; differs is false
// for nothing.
func changeOf(before, after projections.View, r events.Resource) (change ResourceChange, differs bool, err error) {
	was, err := shownAs(before, r)
	if err != nil {
		return change, false, err
	}
	is, err := shownAs(after, r)
	if err != nil {
		return change, false, err
	}
	change = ResourceChange{Resource: after.Path(r), Change: wasChanged}
	switch {
	case was == nil:
		change.Change = wasAdded
	case is == nil:
		change.Resource, change.Change = before.Path(r), wasRemoved
	}
	change.Fields, err = compareShown(was, is)
	return change, len(change.Fields) > 0, err
}

// diffOf says which difference is meant.
type diffOf struct {
	from, to uint64
	under    events.Resource // zero for everything
}

// diffs remembers what the last difference is about, so that its pages don't go
// through all the events between again.
type diffs struct {
	lock sync.Mutex
	of   diffOf            // guarded by lock
	last []events.Resource // guarded by lock; nobody changes what it holds
}

// between gives the resources that events between two sequences touched, in the
// order in which they are shown.
func (d *diffs) between(ctx context.Context, of diffOf, after projections.View) ([]events.Resource, error) {
	d.lock.Lock() // one at a time: a long range takes long
	defer d.lock.Unlock()
	if d.last != nil && d.of == of {
		return d.last, nil
	}
	all, err := touchedUnder(ctx, of, after)
	if err != nil {
		return nil, err
	}
	d.of, d.last = of, all
	return all, nil
}

func touchedUnder(ctx context.Context, of diffOf, after projections.View) ([]events.Resource, error) {
	places := placesIn(after.At(of.from), after)
	all, visited := []place{}, 0
	for r := range touched(after, of.from, of.to) {
		if visited++; visited%1000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if of.under != (events.Resource{}) && r != of.under && of.under != (events.Resource{Root: r.Root}) {
			continue
		}
		all = append(all, places(r))
	}
	slices.SortFunc(all, place.compare)
	sorted := make([]events.Resource, len(all))
	for i, p := range all {
		sorted[i] = p.resource
	}
	return sorted, nil
}

// place is where a resource stands among others.
type place struct {
	root     string // path of its root
	resource events.Resource
}

// placesIn gives what says where resources stand: by the names that they have
// after a change, or had before it.
func placesIn(before, after projections.View) func(events.Resource) place {
	roots := map[events.Root]string{}
	return func(r events.Resource) place {
		path, known := roots[r.Root]
		if !known {
			root := events.Resource{Root: r.Root}
			if path = after.Path(root); path == "" {
				path = before.Path(root)
			}
			roots[r.Root] = path
		}
		return place{path, r}
	}
}

func (p place) compare(o place) int {
	if c := strings.Compare(p.root, o.root); c != 0 {
		return c
	}
	a, b := p.resource, o.resource
	if c := a.Root.ID.Compare(b.Root.ID); c != 0 { // one was deleted, and another took its name
		return c
	}
	if a.Version != b.Version {
		return a.Version - b.Version
	}
	return strings.Compare(a.Alias, b.Alias)
}
