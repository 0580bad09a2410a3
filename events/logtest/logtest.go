package logtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/modelog/modelog/events"
)

// testTimeout bounds each test, so that a log that hangs fails with its name.
const testTimeout = 30 * time.Second

// Harness is a log under test.
type Harness struct {
	// Log is open and empty.
	Log events.Log
	// Reopen closes the log that was opened last and opens it again.
	Reopen func(t *testing.T) events.Log
	// Shared is nil for a log that belongs to one process.
	Shared *Shared
}

// Run runs the suite. open gives each test a log of its own, and closes it, or
// what Reopen made of it, when the test ends.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	run(t, tests, open)
}

// RunShared runs the suite, and the tests of a log that other processes may append
// to: open says in Harness.Shared how they do.
func RunShared(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	run(t, tests, open)
	run(t, sharedTests, open)
}

func run(t *testing.T, tests []sentence, open func(t *testing.T) Harness) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.says, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
			defer cancel()
			test.run(&fixture{T: t, ctx: ctx, Harness: open(t)})
		})
	}
}

// sentence is what a log must hold, and how that is shown.
type sentence struct {
	says string
	run  func(*fixture)
}

var tests = []sentence{
	{"an empty log ends at 0 and has no events", emptyLog},
	{"sequences count from 1 in the order of the appends", sequences},
	{"a group gets sequences one after another", groupIsContiguous},
	{"the largest group is taken", largestGroup},
	{"an expectation below the end is a conflict and leaves nothing behind", conflictBelow},
	{"an expectation above the end is a conflict and leaves nothing behind", conflictAbove},
	{"an append after a conflict succeeds with the right expectation", appendAfterConflict},
	{"of two appends with one expectation the second is a conflict", sameExpectationTwice},
	{"an append with a context that has ended writes nothing", appendWithEndedContext},
	{"what is appended comes back byte for byte", bytesComeBack},
	{"the events that were appended aren't changed", appendLeavesItsInput},
	{"Last, Get, Read and Follow agree", readersAgree},
	{"Get of a sequence that isn't there finds nothing", getNothing},
	{"Read gives the range with both ends", readRanges},
	{"Read beyond the end gives what there is and then misses an event", readBeyondTheEnd},
	{"Read can be left early and begun again", readLeftEarly},
	{"Read ends with its context", readEndsWithContext},
	{"Follow waits for events that come later", followWaits},
	{"Follow resumes in the middle", followResumes},
	{"Follow from beyond the end waits for that sequence", followFromBeyond},
	{"Follow ends with its context in the middle", followEndsWithContext},
	{"Follow ends with its context while it waits", followEndsWhileWaiting},
	{"Follow can be left early", followLeftEarly},
	{"many readers get the same", manyReaders},
	{"a reader may use the log between two events", readerUsesLog},
	{"a log that was reopened has everything and goes on", reopened},
	{"a group that breaks a limit is refused and nothing is written", limits},
	{"a subject that isn't plain tokens is refused", subjects},
	{"a header that couldn't come back is refused", headers},
	{"a healthy log says so", healthy},
	{"a closed log is unavailable", closed},
	{"closing ends a reader that waits", closingEndsReaders},
	{"closing twice is harmless", closedTwice},
}

// fixture is one test with its log.
type fixture struct {
	*testing.T
	ctx context.Context
	Harness
}

// event makes an event whose parts all depend on n.
func event(n int) events.Encoded {
	return events.Encoded{
		Subject: fmt.Sprintf("modelog.events.model.01K%023d.version.promoted", n),
		Header:  header("ce-id", fmt.Sprintf("01K%023d", n), "ce-type", "dev.modelog.version.promoted.v1"),
		Data:    fmt.Appendf(nil, "data of event %d", n),
	}
}

// group makes the events from..to.
func group(from, to int) []events.Encoded {
	var g []events.Encoded
	for n := from; n <= to; n++ {
		g = append(g, event(n))
	}
	return g
}

// storedEvents is what a log holds at from..to when event(n) went to sequence n.
func storedEvents(from, to int) []events.Stored {
	var s []events.Stored
	for n := from; n <= to; n++ {
		s = append(s, events.Stored{Sequence: uint64(n), Encoded: event(n)})
	}
	return s
}

func (f *fixture) append(expect uint64, group ...events.Encoded) {
	f.Helper()
	if err := f.Log.Append(f.ctx, expect, group); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) refused(want error, expect uint64, group ...events.Encoded) {
	f.Helper()
	if err := f.Log.Append(f.ctx, expect, group); !errors.Is(err, want) {
		f.Fatalf("append after %d: got %v, want %v", expect, err, want)
	}
}

// holds checks that the log holds exactly the events 1..last.
func (f *fixture) holds(last int) {
	f.Helper()
	f.ends(uint64(last))
	f.same(f.collect(f.Log.Read(f.ctx, 1, uint64(last))), storedEvents(1, last))
}

func (f *fixture) ends(want uint64) {
	f.Helper()
	if last, err := f.Log.Last(f.ctx); err != nil || last != want {
		f.Fatalf("the log ends at %d (%v), want %d", last, err, want)
	}
}

func (f *fixture) get(sequence uint64) events.Stored {
	f.Helper()
	e, err := f.Log.Get(f.ctx, sequence)
	if err != nil {
		f.Fatal(err)
	}
	return e
}

// collect reads to the end, which must come without an error.
func (f *fixture) collect(seq iter.Seq2[events.Stored, error]) []events.Stored {
	f.Helper()
	got, err := take(seq, math.MaxInt)
	if err != nil {
		f.Fatal(err)
	}
	return got
}

// take reads n events, or up to an error or the end.
func take(seq iter.Seq2[events.Stored, error], n int) (got []events.Stored, err error) {
	for e, err := range seq {
		if err != nil {
			return got, err
		}
		if got = append(got, e); len(got) == n {
			return got, nil
		}
	}
	return got, nil
}

func (f *fixture) same(got, want any) {
	f.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(equal), cmpopts.EquateEmpty()); diff != "" {
		f.Fatalf("other events than appended (-want +got):\n%s", diff)
	}
}

// equal says whether two events are the same byte for byte. Whether nothing is
// nil or empty doesn't matter to anybody.
func equal(a, b events.Encoded) bool {
	return a.Subject == b.Subject && bytes.Equal(a.Data, b.Data) && slices.Equal(a.Header, b.Header)
}
