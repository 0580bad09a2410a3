package api

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/modelog/modelog/projections/runner"
)

// TestAnEventsChangesAreThoseOfTheWholeViews makes random writes, and compares what
// the trail finds changed by each event, looking at a part, with the whole.
func TestAnEventsChangesAreThoseOfTheWholeViews(t *testing.T) {
	for seed := range uint64(4) {
		log := openLog(t)
		run := runner.New(log)
		r := startRegistry(t, log, run)
		chance := rand.New(rand.NewPCG(seed, 7))
		r.seed()
		for range 150 {
			r.write(chance)
		}
		looked := 0
		for sequence := uint64(1); sequence <= uint64(r.last()); sequence++ {
			before, after := run.At(sequence-1), run.At(sequence)
			for resource := range after.TouchedBy(sequence) {
				looked++
				want, differs, err := changeOf(before, after, resource)
				if err != nil {
					t.Fatal(err)
				}
				if !differs {
					want = ResourceChange{}
				}
				got, differ, err := changeNextTo(before, after, resource)
				if err != nil {
					t.Fatal(err)
				}
				if !differ {
					got = ResourceChange{}
				}
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("event %d, %v:\n%s", sequence, resource, diff)
				}
				all, err := changesNextTo(before, after, resource)
				if diff := cmp.Diff(want.Fields, all, cmpopts.EquateEmpty()); diff != "" || err != nil {
					t.Fatalf("event %d, %v: %v\n%s", sequence, resource, err, diff)
				}
			}
		}
		if looked < 100 {
			t.Errorf("%d resources were compared", looked)
		}
	}
}
