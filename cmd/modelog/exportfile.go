package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"
	"github.com/modelog/modelog/events"
)

// An export is a log in a file: its events from the first on, each a structured
// CloudEvent on a line of its own, so that line 17 is event 17, and a last line with
// a manifest. It may be compressed with zstd.
//
// Each event has one attribute more than it has elsewhere, the last member of its
// line: exporthash, the first half of a SHA-256 over the hash of the line before and
// the line as it is without exporthash. So the first line that was edited, moved,
// taken out or put in is known. It is no seal: whoever edits a line can make the
// hashes anew. Two exports of one log up to the same event have the same bytes.
const (
	exportFormat  = "modelog export"
	exportVersion = 1
	exportStart   = `{"format":`
	exportMember  = `,"exporthash":"`
	exportHashed  = 8 // bytes of the hash that stand on the line
)

// exportTail is how long the end of an event's line is, from exportMember on.
const exportTail = len(exportMember) + 2*exportHashed + len(`"}`)

// maxExportLine is what the largest event can take as JSON, and more.
const maxExportLine = 8 * events.MaxEventBytes

// exportManifest is the last line of an export.
type exportManifest struct {
	Format   string `json:"format"`
	Version  int    `json:"version"`
	Registry string `json:"registry"` // ULID
	First    uint64 `json:"first"`    // sequence, always 1
	Last     uint64 `json:"last"`
	Events   uint64 `json:"events"`
	Fold     int    `json:"fold"`   // version of the fold that the digest is of
	Digest   string `json:"digest"` // of the state as of the last event
	SHA256   string `json:"sha256"` // the hash of the last event's line, whole
}

// exportChain hashes the lines of an export, one after another.
type exportChain struct{ sum [sha256.Size]byte }

// add takes the next line, without exporthash and line break.
func (c *exportChain) add(line []byte) {
	h := sha256.New()
	h.Write(c.sum[:])
	h.Write(line)
	h.Sum(c.sum[:0])
}

func (c *exportChain) short() string { return hex.EncodeToString(c.sum[:exportHashed]) }
func (c *exportChain) whole() string { return hex.EncodeToString(c.sum[:]) }

// exportWriter writes an export.
type exportWriter struct {
	out   *bufio.Writer
	zstd  *zstd.Encoder // nil for none
	chain exportChain
	line  []byte
	count uint64
}

func newExportWriter(w io.Writer, compress bool) (*exportWriter, error) {
	x := &exportWriter{}
	if compress {
		var err error
		if x.zstd, err = zstd.NewWriter(w); err != nil {
			return nil, err
		}
		w = x.zstd
	}
	x.out = bufio.NewWriterSize(w, 1<<20)
	return x, nil
}

// event writes the next event.
func (x *exportWriter) event(e events.Event) (err error) {
	if x.line, err = events.AppendEvent(x.line[:0], e); err != nil {
		return err
	}
	x.chain.add(x.line)
	x.count++
	x.line = append(x.line[:len(x.line)-1], exportMember...)
	x.line = append(append(x.line, x.chain.short()...), "\"}\n"...)
	_, err = x.out.Write(x.line)
	return err
}

// finish writes the manifest, of which it fills in what it knows, and flushes.
func (x *exportWriter) finish(m *exportManifest) error {
	m.Format, m.Version, m.First, m.Last, m.Events, m.SHA256 = exportFormat, exportVersion, 1, x.count, x.count, x.chain.whole()
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := x.out.Write(append(line, '\n')); err != nil {
		return err
	}
	if err := x.out.Flush(); err != nil || x.zstd == nil {
		return err
	}
	return x.zstd.Close()
}

// lineError says what is wrong with a line of an export.
type lineError struct {
	line uint64
	what string
}

func (e *lineError) Error() string {
	return fmt.Sprintf("line %d of the export: %s", e.line, e.what)
}

func badLine(line uint64, format string, args ...any) error {
	return &lineError{line, fmt.Sprintf(format, args...)}
}

// exportLines reads the lines of an export, and holds their hashes against their
// texts. What they say is for others.
type exportLines struct {
	in     *bufio.Reader
	unpack *zstd.Decoder // nil for none
	chain  exportChain
	line   uint64 // the last one that was read
}

var zstdMagic = []byte{0x28, 0xB5, 0x2F, 0xFD}

// openExport begins to read an export, compressed or not. close lets it go.
func openExport(r io.Reader) (*exportLines, error) {
	x := &exportLines{in: bufio.NewReaderSize(r, 1<<20)}
	if start, err := x.in.Peek(len(zstdMagic)); err == nil && bytes.Equal(start, zstdMagic) {
		if x.unpack, err = zstd.NewReader(x.in, zstd.WithDecoderMaxWindow(64<<20)); err != nil {
			return nil, err
		}
		x.in = bufio.NewReaderSize(x.unpack, 1<<20)
	}
	return x, nil
}

func (x *exportLines) close() {
	if x.unpack != nil {
		x.unpack.Close()
	}
}

// next gives the next event's line, as it was before it got its exporthash, or
// the manifest. It fails with a *lineError.
func (x *exportLines) next() (line []byte, m *exportManifest, err error) {
	x.line++
	line, err = x.read()
	if err != nil {
		return nil, nil, err
	}
	if bytes.HasPrefix(line, []byte(exportStart)) {
		m, err := x.manifest(line)
		return nil, m, err
	}
	end := len(line) - exportTail
	if end < 0 || !bytes.HasPrefix(line[end:], []byte(exportMember)) || !bytes.HasSuffix(line, []byte(`"}`)) {
		return nil, nil, badLine(x.line, "it is not an event with its exporthash at the end, nor the manifest")
	}
	said := string(line[end+len(exportMember) : len(line)-len(`"}`)])
	line = append(line[:end], '}')
	x.chain.add(line)
	if x.chain.short() != said {
		return nil, nil, x.edited(line)
	}
	return line, nil, nil
}

// read reads a line without its end.
func (x *exportLines) read() ([]byte, error) {
	var line []byte
	for {
		part, err := x.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case err == io.EOF && len(line) == 0 && x.line == 1:
			return nil, badLine(1, "the file is empty")
		case err == io.EOF && len(line) == 0:
			return nil, badLine(x.line, "the export ends before it, without its manifest: it was cut off")
		case err == io.EOF:
			return nil, badLine(x.line, "it was cut off")
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, badLine(x.line, "it can't be read: %v", err)
		case len(line) > maxExportLine:
			return nil, badLine(x.line, "it is longer than any event, %d bytes", maxExportLine)
		}
	}
}

// edited says what was done to a line whose hash is wrong.
func (x *exportLines) edited(line []byte) error {
	e, err := events.ReadEvent(line)
	if err != nil {
		return badLine(x.line, "it was edited: %v", err)
	}
	if err := placeOf(x.line, e.Sequence); err != nil {
		return err
	}
	return badLine(x.line, "it was edited: what it says of event %d doesn't have the hash at its end", e.Sequence)
}

// placeOf wants line n to be event n.
func placeOf(line, sequence uint64) error {
	switch {
	case sequence == line:
		return nil
	case sequence > line:
		return badLine(line, "it is event %d: event %d is missing, or lines were moved", sequence, line)
	default:
		return badLine(line, "it is event %d, which belongs on line %[1]d: it is there twice, or lines were moved", sequence)
	}
}

// manifest reads the last line, and compares it with the lines before.
func (x *exportLines) manifest(line []byte) (*exportManifest, error) {
	m := &exportManifest{}
	err := json.Unmarshal(line, m) // what a later version has, too
	if err == nil && m.Version == exportVersion {
		err = json.Unmarshal(line, m, json.RejectUnknownMembers(true))
	}
	there := x.line - 1
	switch {
	case err != nil:
		return nil, badLine(x.line, "the manifest can't be read: %v", err)
	case m.Format != exportFormat:
		return nil, badLine(x.line, "its format is %q instead of %q", m.Format, exportFormat)
	case m.Version != exportVersion:
		return nil, badLine(x.line, "the export has version %d of the format; this release reads version %d", m.Version, exportVersion)
	case there == 0:
		return nil, badLine(x.line, "there is no event before the manifest")
	case m.First != 1 || m.Events != there || m.Last != there:
		return nil, badLine(x.line, "the manifest speaks of %d events, %d to %d; there are %d", m.Events, m.First, m.Last, there)
	case m.SHA256 != x.chain.whole():
		return nil, badLine(x.line, "the manifest has another hash of the lines than they have")
	}
	x.line++
	if _, err := x.in.ReadByte(); err != io.EOF {
		return nil, badLine(x.line, "something follows the manifest, or the file is damaged there")
	}
	return m, nil
}
