package logtest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/modelog/modelog/events"
)

func emptyLog(f *fixture) {
	f.ends(0)
	f.same(f.collect(f.Log.Read(f.ctx, 1, 0)), storedEvents(1, 0))
	_, err := f.Log.Get(f.ctx, 1)
	if !errors.Is(err, events.ErrNotFound) {
		f.Fatalf("got %v", err)
	}
}

func sequences(f *fixture) {
	for n := 1; n <= 5; n++ {
		f.append(uint64(n-1), event(n))
		f.ends(uint64(n))
	}
	f.holds(5)
}

func groupIsContiguous(f *fixture) {
	f.append(0, event(1))
	f.append(1, group(2, 80)...)
	f.append(80, group(81, 83)...)
	f.holds(83)
}

func largestGroup(f *fixture) {
	f.append(0, group(1, events.MaxGroupEvents)...)
	f.holds(events.MaxGroupEvents)
	var g []events.Encoded
	for size := 0; size < events.MaxGroupBytes; size += events.MaxEventBytes {
		g = append(g, sized(event(1), events.MaxEventBytes))
	}
	f.append(events.MaxGroupEvents, g...)
	for i, e := range f.collect(f.Log.Read(f.ctx, events.MaxGroupEvents+1, uint64(events.MaxGroupEvents+len(g)))) {
		f.same(e.Encoded, g[i])
	}
}

// sized fills an event up to a size.
func sized(e events.Encoded, size int) events.Encoded {
	e.Data = nil
	e.Data = []byte(strings.Repeat("x", size-e.Size()))
	return e
}

// conflictBelow has a group whose later events would fit after the end.
func conflictBelow(f *fixture) {
	f.append(0, group(1, 5)...)
	f.refused(events.ErrConflict, 3, group(101, 110)...)
	f.refused(events.ErrConflict, 0, event(101))
	f.holds(5)
}

func conflictAbove(f *fixture) {
	f.refused(events.ErrConflict, 1, event(101))
	f.append(0, group(1, 5)...)
	f.refused(events.ErrConflict, 6, group(101, 103)...)
	f.holds(5)
}

func appendAfterConflict(f *fixture) {
	f.append(0, group(1, 2)...)
	f.refused(events.ErrConflict, 1, group(101, 102)...)
	f.append(2, group(3, 4)...)
	f.holds(4)
}

func sameExpectationTwice(f *fixture) {
	f.append(0, group(1, 2)...)
	f.refused(events.ErrConflict, 0, group(1, 2)...)
	f.append(2, event(3))
	f.refused(events.ErrConflict, 2, event(3))
	f.holds(3)
}

func appendWithEndedContext(f *fixture) {
	f.append(0, event(1))
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	if err := f.Log.Append(ctx, 1, group(2, 3)); !errors.Is(err, events.ErrUnavailable) {
		f.Fatalf("got %v", err)
	}
	f.append(1, event(2))
	f.holds(2)
}

func bytesComeBack(f *fixture) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	const subject = "modelog.events.model.01K-_aZ09.model.described"
	g := []events.Encoded{
		{Subject: subject, Data: all},
		{Subject: subject, Data: []byte("\r\n\r\n")},
		{Subject: subject, Data: []byte{}},
		{Subject: subject, Header: header("ce-id", "1")},
		{Subject: subject, Header: header("CE-Type", "A", "ce-subject", "models/a%20b%25/versions/8", "ce-type", "b"), Data: all},
		{Subject: subject, Header: header("ce-empty", "", "ce-odd", `":;=,{}[] %0D%0A`+"\t\x01é~")},
		{Subject: "modelog.events.x", Header: header("ce-long", strings.Repeat("v", 32<<10)), Data: all},
	}
	f.append(0, g...)
	for i, e := range f.collect(f.Log.Read(f.ctx, 1, uint64(len(g)))) {
		f.same(e, events.Stored{Sequence: uint64(i + 1), Encoded: g[i]})
		f.same(f.get(e.Sequence), e)
	}
}

func appendLeavesItsInput(f *fixture) {
	g := group(1, 3)
	f.append(0, g...)
	f.same(g, group(1, 3))
}

func limits(f *fixture) {
	f.append(0, event(1))
	tooMany := group(1, events.MaxGroupEvents+1)
	var tooMuch []events.Encoded
	for size := 0; size <= events.MaxGroupBytes; size += events.MaxEventBytes {
		tooMuch = append(tooMuch, sized(event(1), events.MaxEventBytes))
	}
	f.refused(events.ErrBadGroup, 1)
	f.refused(events.ErrBadGroup, 1, tooMany...)
	f.refused(events.ErrBadGroup, 1, tooMuch...)
	f.refused(events.ErrBadGroup, 1, event(2), sized(event(3), events.MaxEventBytes+1))
	f.holds(1)
}

func subjects(f *fixture) {
	for _, subject := range []string{
		"", "modelog.events", "modelog.events.", "modelog.events..a", "modelog.events.a.", "modelog.events.a..b",
		"modelog.events.*", "modelog.events.>", "modelog.events.a.>", "modelog.events.a*", "modelog.events.a b",
		"modelog.events.a\r\nb", "modelog.events.é", "modelog.event.a", "other.a", "$JS.API.STREAM.PURGE.MODELOG_EVENTS",
		"modelog.events." + strings.Repeat("a", 5000),
	} {
		e := event(2)
		e.Subject = subject
		f.refused(events.ErrBadGroup, 0, event(1), e)
	}
	f.ends(0)
}

// header makes a header of names and values.
func header(fields ...string) []events.HeaderField {
	var h []events.HeaderField
	for pair := range slices.Chunk(fields, 2) {
		h = append(h, events.HeaderField{Name: pair[0], Value: pair[1]})
	}
	return h
}

func headers(f *fixture) {
	for _, fields := range [][]string{
		{"", "a"},
		{"ce id", "a"},
		{"ce:id", "a"},
		{"ce-id\r\nx", "a"},
		{"ce-é", "a"},
		{"ce-id", "a\r\nNats-Rollup: all"},
		{"ce-id", "a\nb"},
		{"ce-id", " a"},
		{"ce-id", "a "},
		{"ce-id", "\ta"},
		{"ce-id", "a", "ce-id", "b"},
		{"ce-type", "a", "ce-id", "b"},
		{"ce-id", strings.Repeat("a", 64<<10)},
		{"Nats-Msg-Id", "a"},
		{"Nats-Rollup", "all"},
		{"nats-expected-last-sequence", "0"},
		{"Status", "404"},
	} {
		e := event(2)
		e.Header = header(fields...)
		f.refused(events.ErrBadGroup, 0, event(1), e)
	}
	f.ends(0)
}
