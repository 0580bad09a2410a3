package natslog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
)

// benchEvent is an event of 600 bytes as the codec writes them: a dozen short
// headers and the data.
func benchEvent(i int) events.Encoded {
	id := fmt.Sprintf("01K%023d", i)
	e := events.Encoded{
		Subject: "modelog.events.model." + id + ".version.promoted",
		Header: []events.HeaderField{
			{Name: "ce-authid", Value: "prn_0123456789abcdef"},
			{Name: "ce-correlationid", Value: id},
			{Name: "ce-datacontenttype", Value: "application/msgpack"},
			{Name: "ce-id", Value: id},
			{Name: "ce-partitionkey", Value: id},
			{Name: "ce-source", Value: "urn:modelog:01K00000000000000000000000"},
			{Name: "ce-specversion", Value: "1.0"},
			{Name: "ce-subject", Value: "models/fraud/versions/8"},
			{Name: "ce-time", Value: "2026-11-23T20:03:00.123Z"},
			{Name: "ce-type", Value: "dev.modelog.version.promoted.v1"},
		},
	}
	e.Data = []byte(strings.Repeat("x", 600-e.Size()))
	return e
}

func benchGroups(n, size int) [][]events.Encoded {
	groups := make([][]events.Encoded, n)
	for g := range groups {
		for i := range size {
			groups[g] = append(groups[g], benchEvent(g*size+i))
		}
	}
	return groups
}

// BenchmarkAppend measures groups of 600-byte events with the real sync, one
// append after another. ns/op is the time of one group.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("group=%d", size), func(b *testing.B) {
			benchAppends(b, openLog(b, natslog.Config{Dir: b.TempDir()}), size)
		})
	}
}

func benchAppends(b *testing.B, l events.Log, size int) {
	b.Helper()
	groups := benchGroups(8, size)
	took := make([]time.Duration, 0, b.N)
	expect, err := l.Last(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		start := time.Now()
		if err := l.Append(b.Context(), expect, groups[int(expect)%len(groups)]); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		expect += uint64(size)
	}
	reportAppends(b, took, size)
}

// BenchmarkRead measures Read over 200 k events of 600 bytes, with all headers
// taken apart. ns/op is the time of one event.
func BenchmarkRead(b *testing.B) {
	const count = 200_000
	l := openLog(b, natslog.Config{Dir: b.TempDir(), Sync: func() error { return nil }})
	group := benchGroups(1, 500)[0]
	for at := uint64(0); at < count; at += 500 {
		if err := l.Append(b.Context(), at, group); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for done := 0; done < b.N; {
		want := min(count, b.N-done)
		n := 0
		for _, err := range l.Read(b.Context(), 1, uint64(want)) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != want {
			b.Fatalf("read %d of %d", n, want)
		}
		done += n
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func reportAppends(b *testing.B, took []time.Duration, size int) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(len(took)*size)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
