package projections

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// BenchmarkAuditAdd measures what an event costs the writer for the index alone:
// events of ten thousand models, by a hundred people. It tells the memory that an
// event takes too.
func BenchmarkAuditAdd(b *testing.B) {
	const n, models = 1 << 18, 10_000
	told := make([]events.Event, n)
	for i := range told {
		told[i] = events.Event{
			Sequence: uint64(i + 1), Time: time.UnixMilli(int64(i)), Principal: "prn_" + strconv.Itoa(i/7%100), CorrelationID: ulid.ULID{14: byte(i >> 8), 15: byte(i)}.String(),
		}
		id := ulid.ULID{14: byte(i % models >> 8), 15: byte(i % models)}
		switch i % 5 {
		case 0:
			told[i].Data = events.VersionPromoted{ModelID: id, Version: i/models + 1, Reason: events.Plain("AUC +0.02")}
		case 1:
			told[i].Data = events.AliasAssigned{ModelID: id, Alias: "champion", To: i/models + 1}
		default:
			told[i].Data = events.VersionRegistered{ModelID: id, Version: i/models + 1, Source: "s"}
		}
	}
	fill := func() *audit {
		a := &audit{}
		for _, e := range told {
			a.add(e)
		}
		return a
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	a := fill()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(a)
	b.ReportAllocs()
	for b.Loop() {
		fill()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/event")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
}
