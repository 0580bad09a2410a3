package natslog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/klauspost/compress/s2"
	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/modelog/modelog/events"
)

// leastInBlocks is from how many events on a reader takes them from the store's
// files. Fewer come as quickly through the server.
const leastInBlocks = 8192

// blocks reads events from the files of an embedded server's store, past the
// server: a long log in half the time (ADR 17). It reads only files to which the
// server appends no more, checks each record by its own checksum, and stops at the
// first thing that isn't as it should be, whatever the reason: the server is asked
// for what comes then, and has the last word.
type blocks struct {
	dir     string // of the stream's messages
	reader  *s2.Reader
	content []byte // of the block that was read last
}

// errBlock says that a file isn't as it should be.
var errBlock = errors.New("the block can't be read")

func messagesDirectory(data string) string {
	return filepath.Join(data, "jetstream", "$G", "streams", StreamName, "msgs")
}

const blockSuffix = ".blk"

// closed gives the numbers of the files to which nothing is appended any more,
// rising.
func (b *blocks) closed() ([]uint32, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), blockSuffix)
		if n, err := strconv.ParseUint(name, 10, 32); ok && err == nil {
			numbers = append(numbers, uint32(n))
		}
	}
	slices.Sort(numbers)
	return numbers[:max(len(numbers)-1, 0)], nil
}

// read yields next..upTo as far as they are in closed files, and returns the first
// sequence that it didn't yield. The error is errStopped if the reader has left the
// loop, or that of done.
func (b *blocks) read(done func() error, next, upTo uint64, yield func(events.Stored, error) bool) (uint64, error) {
	numbers, err := b.closed()
	if err != nil || len(numbers) == 0 {
		return next, nil //nolint:nilerr // the server will say what is wrong
	}
	at, _ := slices.BinarySearchFunc(numbers, next, func(n uint32, next uint64) int {
		if first, err := b.first(n); err != nil || first > next {
			return 1
		}
		return -1
	})
	for at = max(at-1, 0); at < len(numbers) && next <= upTo; at++ {
		if err := done(); err != nil {
			return next, err
		}
		before := next
		if next, err = b.readBlock(numbers[at], next, upTo, yield); errors.Is(err, errStopped) {
			return next, err
		}
		if err != nil || next == before {
			return next, nil //nolint:nilerr // as above
		}
	}
	return next, nil
}

// open gives what is in a file from its beginning, but for the last checksum where
// it is compressed, and that.
func (b *blocks) open(number uint32) (file *os.File, content io.Reader, size int, err error) {
	file, err = os.Open(filepath.Join(b.dir, strconv.FormatUint(uint64(number), 10)+blockSuffix))
	if err != nil {
		return nil, nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return file, nil, 0, err
	}
	head := make([]byte, 16)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return file, nil, 0, err
	}
	var compression server.CompressionInfo
	begin, err := compression.UnmarshalMetadata(head[:n])
	switch {
	case err != nil:
		return file, nil, 0, err
	case begin == 0:
		return file, file, int(info.Size()), nil
	case info.Size() < int64(begin)+checksumBytes || compression.OriginalSize > maxBlock:
		return file, nil, 0, errBlock
	}
	compressed := io.NewSectionReader(file, int64(begin), info.Size()-int64(begin)-checksumBytes)
	if b.reader == nil {
		b.reader = s2.NewReader(nil)
	}
	b.reader.Reset(compressed)
	last := io.NewSectionReader(file, info.Size()-checksumBytes, checksumBytes)
	return file, io.MultiReader(b.reader, last), int(compression.OriginalSize), nil
}

const (
	checksumBytes = 8
	maxBlock      = 64 << 20 // eight times what the server makes
)

// first gives the first sequence in a file.
func (b *blocks) first(number uint32) (uint64, error) {
	file, content, _, err := b.open(number)
	if file != nil {
		defer file.Close() //nolint:errcheck // it was only read
	}
	if err != nil {
		return 0, err
	}
	var head [recordHead]byte
	if _, err := io.ReadFull(content, head[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(head[4:]), nil
}

func (b *blocks) load(number uint32) error {
	file, content, size, err := b.open(number)
	if file != nil {
		defer file.Close() //nolint:errcheck // it was only read
	}
	if err != nil {
		return err
	}
	if size > maxBlock {
		return errBlock
	}
	b.content = slices.Grow(b.content[:0], size)[:size]
	if _, err := io.ReadFull(content, b.content); err != nil {
		return err
	}
	if n, err := content.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return errBlock
	}
	return nil
}

// A record is, little-endian: its length and whether it has headers (4 bytes), the
// sequence (8), the time (8), the subject's length (2), the subject, the headers'
// length (4) and the headers if there are any, the message, and a checksum (8).
const (
	recordHead = 22
	hasHeaders = 1 << 31
)

// readBlock yields what a file has of next..upTo.
func (b *blocks) readBlock(number uint32, next, upTo uint64, yield func(events.Stored, error) bool) (uint64, error) {
	if err := b.load(number); err != nil {
		return next, err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", StreamName, number))
	sum, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return next, err
	}
	for rest := b.content; len(rest) > 0 && next <= upTo; {
		record, err := cutRecord(rest)
		if err != nil {
			return next, err
		}
		rest = rest[len(record):]
		switch sequence := binary.LittleEndian.Uint64(record[4:]); {
		case sequence < next:
			continue
		case sequence > next:
			return next, errBlock
		}
		e, err := readRecord(record, sum)
		if err != nil {
			return next, err
		}
		next++
		if !yield(e, nil) {
			return next, errStopped
		}
	}
	return next, nil
}

// cutRecord gives the record that a block begins with.
func cutRecord(rest []byte) ([]byte, error) {
	if len(rest) < recordHead+checksumBytes {
		return nil, errBlock
	}
	size := int(binary.LittleEndian.Uint32(rest) &^ hasHeaders)
	if size < recordHead+checksumBytes || size > len(rest) {
		return nil, errBlock
	}
	return rest[:size], nil
}

// readRecord checks a record, and makes an event of it, in memory of its own: a
// block's is used again.
func readRecord(record []byte, sum *highwayhash.Digest64) (e events.Stored, err error) {
	subject := int(binary.LittleEndian.Uint16(record[recordHead-2:]))
	body := record[recordHead : len(record)-checksumBytes]
	headers := 0
	lengths := 0 // bytes of the headers' length
	if binary.LittleEndian.Uint32(record)&hasHeaders != 0 {
		if lengths = 4; len(body) < subject+lengths {
			return e, errBlock
		}
		headers = int(binary.LittleEndian.Uint32(body[subject:]))
	}
	payload := subject + lengths
	if len(body) < payload+headers || headers < 0 {
		return e, errBlock
	}
	sum.Reset()
	_, _ = sum.Write(record[4:20]) // it never fails
	_, _ = sum.Write(body[:subject])
	_, _ = sum.Write(body[payload:])
	var found [checksumBytes]byte
	if !bytes.Equal(sum.Sum(found[:0]), record[len(record)-checksumBytes:]) {
		return e, errBlock
	}
	memory := make([]byte, 0, subject+len(body)-payload)
	memory = append(append(memory, body[:subject]...), body[payload:]...)
	text := unsafe.String(unsafe.SliceData(memory), len(memory))
	m := message{subject: text[:subject], data: memory[subject+headers:]}
	if headers > 0 {
		if err := m.readHeader(text[subject : subject+headers]); err != nil {
			return e, err
		}
	}
	return stored(binary.LittleEndian.Uint64(record[4:]), m.subject, m.header, m.data), nil
}
