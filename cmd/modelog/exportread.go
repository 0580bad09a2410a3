package main

import (
	"context"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// exportFile is an export that is being read. Its events are decoded by several
// goroutines, since that takes longer than everything else.
type exportFile struct {
	lines    *exportLines
	file     *os.File
	size     uint64 // bytes, 0 if nobody knows
	consumed atomic.Uint64
	manifest *exportManifest // once all events were read
	registry ulid.ULID       // of the events that were shown
}

// openExportFile opens an export.
func openExportFile(name string) (*exportFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usage("the export can't be read: %v", err)
	}
	x := &exportFile{file: f}
	info, err := f.Stat()
	switch {
	case err == nil && info.IsDir():
		err = usage("the export can't be read: %s is a directory", name)
	case err == nil && info.Mode().IsRegular():
		x.size = uint64(info.Size())
	}
	if err == nil {
		x.lines, err = openExport(&countedReader{f, &x.consumed})
	}
	if err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

func (x *exportFile) close() {
	if x.lines != nil {
		x.lines.close()
	}
	_ = x.file.Close() // it was only read
}

// countedReader counts what is read.
type countedReader struct {
	io.Reader
	read *atomic.Uint64
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.read.Add(uint64(n))
	return n, err
}

// exportBatch is a part of the lines, which one goroutine decodes.
type exportBatch struct {
	first   uint64 // line
	lines   [][]byte
	events  []events.Event
	encoded []events.Encoded
	err     error // of the first line that isn't there in events
	done    chan struct{}
}

const exportBatchLines = 256

// each shows the events in their order, each with its form on the log. It fails with
// a *lineError, with the context's error, or with what show fails with, named after
// its line.
func (x *exportFile) each(ctx context.Context, show func(events.Event, events.Encoded) error) error {
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan *exportBatch, 2*runtime.GOMAXPROCS(0))
	read := make(chan error, 1)
	go func() {
		defer close(batches)
		read <- x.batches(ctx, batches)
	}()
	defer func() {
		cancel()
		for b := range batches { // until the goroutines have ended
			<-b.done
		}
	}()
	var recorded time.Time
	for b := range batches {
		<-b.done
		for i, e := range b.events {
			line := b.first + uint64(i)
			if e.Time.Before(recorded) {
				return badLine(line, "it was recorded at %s, before the event on the line above", events.FormatTime(e.Time))
			}
			recorded, x.registry = e.Time, e.Registry
			if err := show(e, b.encoded[i]); err != nil {
				return err
			}
		}
		if b.err != nil {
			return b.err
		}
	}
	return <-read
}

// batches reads the lines, and has them decoded.
func (x *exportFile) batches(ctx context.Context, to chan<- *exportBatch) error {
	for {
		b := &exportBatch{first: x.lines.line + 1, done: make(chan struct{})}
		var err error
		for len(b.lines) < exportBatchLines && err == nil && x.manifest == nil {
			var line []byte
			if line, x.manifest, err = x.lines.next(); err == nil && x.manifest == nil {
				b.lines = append(b.lines, line)
			}
		}
		go b.decode()
		select {
		case to <- b:
		case <-ctx.Done():
			<-b.done
			return ctx.Err()
		}
		if err != nil || x.manifest != nil {
			return err
		}
	}
}

func (b *exportBatch) decode() {
	defer close(b.done)
	b.events, b.encoded = make([]events.Event, 0, len(b.lines)), make([]events.Encoded, 0, len(b.lines))
	for i, text := range b.lines {
		line := b.first + uint64(i)
		e, err := events.ReadEvent(text)
		if err == nil {
			err = placeOf(line, e.Sequence)
			if err != nil {
				b.err = err
				return
			}
		}
		var encoded events.Encoded
		if err == nil {
			encoded, err = events.Encode(e)
		}
		if err != nil {
			b.err = badLine(line, "it is no event that this release reads: %v", err)
			return
		}
		b.events, b.encoded = append(b.events, e), append(b.encoded, encoded)
	}
}
