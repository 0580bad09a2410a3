package webhooks

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers/subscription"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// matchers are of all dialects, about few events.
func matchers(t *rapid.T) *subscription.Matcher {
	models := rapid.SampledFrom([]string{"models/a", "models/b", "models/a/", "models/a/versions/1", "models", "m", "targets/a/b"})
	types := rapid.SampledFrom([]string{events.TypeOf(events.ModelRegistered{}), events.TypeOf(events.ModelDeleted{})})
	var filter func(depth int) subscription.Filter
	filter = func(depth int) subscription.Filter {
		some := func() []subscription.Filter {
			return []subscription.Filter{filter(depth - 1), filter(depth - 1)}
		}
		n := 5
		if depth > 0 {
			n = 8
		}
		switch rapid.IntRange(0, n).Draw(t, "dialect") {
		case 0:
			return subscription.Filter{Exact: map[string]string{"subject": models.Draw(t, "subject")}}
		case 1:
			return subscription.Filter{Exact: map[string]string{"type": types.Draw(t, "type")}}
		case 2:
			return subscription.Filter{Suffix: map[string]string{"subject": "1"}}
		case 3:
			return subscription.Filter{Exact: map[string]string{"subject": models.Draw(t, "subject"), "type": types.Draw(t, "type")}}
		case 6:
			return subscription.Filter{All: some()}
		case 7:
			return subscription.Filter{Any: some()}
		case 8:
			inner := filter(depth - 1)
			return subscription.Filter{Not: &inner}
		default:
			return subscription.Filter{Prefix: map[string]string{"subject": models.Draw(t, "subject")}}
		}
	}
	var filters []subscription.Filter
	for range rapid.IntRange(0, 2).Draw(t, "filters") {
		filters = append(filters, filter(2))
	}
	m, err := subscription.Compile(filters, rapid.SliceOfN(types, 0, 2).Draw(t, "types"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func attributesOf(t *rapid.T, data events.Data, subject string) *subscription.Event {
	e, err := subscription.Of(events.Event{Sequence: 1, ID: ulid.Make(), Registry: ulid.Make(), Time: time.Now(), Subject: subject, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The index finds whoever a look at all of them finds, and each once.
func TestTheIndexFindsAllThatMatch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var x index
		var all []*flow
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				f := &flow{match: matchers(t)}
				x.add(f)
				all = append(all, f)
			},
			"remove": func(t *rapid.T) {
				if len(all) > 0 {
					i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
					x.remove(all[i])
					all = slices.Delete(all, i, i+1)
				}
			},
			"": func(t *rapid.T) {
				for _, data := range []events.Data{events.ModelRegistered{ModelID: ulid.Make()}, events.ModelDeleted{ModelID: ulid.Make()}} {
					for _, subject := range []string{"models/a", "models/b", "models/a/versions/1", "targets/a/b", "models", "m"} {
						e := attributesOf(t, data, subject)
						found := map[*flow]int{}
						x.each(e, func(f *flow) { found[f]++ })
						for i, f := range all {
							want := 0
							if f.match.Matches(e) {
								want = 1
							}
							if found[f] != want {
								t.Fatalf("flow %d is found %d times for %T of %s, want %d", i, found[f], data, subject, want)
							}
							delete(found, f)
						}
						if len(found) > 0 {
							t.Fatal("somebody is found that is gone")
						}
					}
				}
			},
		})
	})
}

// BenchmarkIndex deals one event among thousands that want others.
func BenchmarkIndex(b *testing.B) {
	for _, kind := range []string{"narrow", "wide"} {
		b.Run(kind, func(b *testing.B) {
			var x index
			for i := range 2_000 {
				filter := subscription.Filter{Prefix: map[string]string{"subject": fmt.Sprintf("models/m%d/", i)}}
				if kind == "wide" {
					filter = subscription.Filter{Suffix: map[string]string{"subject": fmt.Sprintf("/m%d", i)}}
				}
				m, err := subscription.Compile([]subscription.Filter{filter}, nil)
				if err != nil {
					b.Fatal(err)
				}
				x.add(&flow{match: m})
			}
			e, err := subscription.Of(events.Event{Sequence: 1, ID: ulid.Make(), Registry: ulid.Make(), Time: time.Now(), Subject: "models/m7/versions/8", Data: events.ModelDeleted{}})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				x.each(e, func(*flow) {})
			}
		})
	}
}
