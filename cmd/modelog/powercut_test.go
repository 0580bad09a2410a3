//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// kill -9 leaves the page cache, so a process that is killed loses nothing that
// it wrote, synced or not. What a power cut leaves is simulated here: the
// program notes the size of every file before each sync, and records the note
// when the sync is done, where no power cut reaches. After the kill, what was
// written after the last note that was recorded is taken away, wholly or in
// part: files get their noted size back, or end somewhere behind it, or end in
// zeros; and new files are removed.
//
// That holds for files that only grow. The server's blocks do, until they are
// full: then they are compressed into a new file, which is synced before it gets
// the block's name. Such a block is left as it is, and counted. So is what else
// the server writes anew, such as a stream's configuration: the old and the new
// say the same.

// program is modelog, under the name modelog. The environment says whether and
// how its syncs are noted.
func program() {
	notes := os.Getenv(notesVariable)
	if notes == "" {
		paced()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	a.sync = func(data string) func() error {
		s := &notedSync{data: data, notes: notes, hold: os.Getenv(holdVariable)}
		if os.Getenv(lateVariable) != "" {
			return s.late
		}
		return s.sync
	}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

const (
	notesVariable = "MODELOG_TEST_NOTES" // file for the notes
	lateVariable  = "MODELOG_TEST_LATE"  // if set, the sync comes after the answer
	holdVariable  = "MODELOG_TEST_HOLD"  // while a file of that name is there, no sync begins
)

// note is what a sync makes durable: every file and directory below a data
// directory, by its path.
type note map[string]noted

type noted struct {
	Inode uint64 `json:"inode"`
	Size  int64  `json:"size"` // of a file, 0 for a directory
}

// notedSync is a sync that is noted.
type notedSync struct {
	data, notes, hold string

	lock  sync.Mutex
	asked chan struct{} // guarded by lock; closed when the next late sync is asked for
}

// sync notes what is there, syncs it, and records the note.
func (s *notedSync) sync() error {
	n, err := takeNote(s.data)
	if err != nil {
		return err
	}
	if _, err := os.Stat(s.hold); err == nil {
		select {} // until the process is killed
	}
	return s.finish(n)
}

// late is what a sync must not be: it succeeds at once, and what it should have
// made durable is only synced when the next sync is asked for.
func (s *notedSync) late() error {
	n, err := takeNote(s.data)
	if err != nil {
		return err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.asked != nil {
		close(s.asked)
	}
	asked := make(chan struct{})
	s.asked = asked
	go func() {
		<-asked
		if err := s.finish(n); err != nil {
			panic(err)
		}
	}()
	return nil
}

func (s *notedSync) finish(n note) error {
	dir, err := os.Open(s.data)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // it was only synced
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return err
	}
	return n.record(s.notes)
}

// takeNote notes what is below a data directory.
func takeNote(data string) (note, error) {
	n := note{}
	err := walk(filepath.Join(data, "jetstream"), func(path string, info fs.FileInfo) error {
		n[path] = notedOf(info)
		return nil
	})
	return n, err
}

// walk visits all that is below a directory which a server may be at work in.
func walk(dir string, visit func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = entry.Info()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has just gone
		}
		if err != nil {
			return err
		}
		return visit(path, info)
	})
}

func notedOf(info fs.FileInfo) noted {
	var inode uint64
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = stat.Ino
	}
	if info.IsDir() {
		return noted{Inode: inode}
	}
	return noted{Inode: inode, Size: info.Size()}
}

// record appends the note to a file, in one write.
func (n note) record(file string) error {
	line, err := json.Marshal(n)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// readNotes gives the last note that was recorded, and how many there are.
func readNotes(file string) (last note, count int, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	// A note that a kill tore apart is of a sync that didn't end.
	whole := data[:max(bytes.LastIndexByte(data, '\n'), 0)]
	if len(whole) == 0 {
		return nil, 0, nil
	}
	lines := bytes.Split(whole, []byte("\n"))
	err = json.Unmarshal(lines[len(lines)-1], &last)
	return last, len(lines), err
}

// loss is what a power cut took.
type loss struct {
	bytes    int64
	replaced int // blocks that were written anew, which were left as they are
}

// cutPower leaves of a data directory, whose server was killed, what the last
// note says, and by chance a part of what came after it.
func cutPower(data, notes string, chance *rand.Rand) (loss, error) {
	n, _, err := readNotes(notes)
	if err != nil {
		return loss{}, err
	}
	var lost loss
	var unknown []string
	err = walk(filepath.Join(data, "jetstream"), func(path string, info fs.FileInfo) error {
		was, known := n[path]
		switch is := notedOf(info); {
		case !known:
			unknown = append(unknown, path)
			lost.bytes += is.Size
		case was.Inode != is.Inode || is.Size < was.Size:
			if filepath.Ext(path) == ".blk" {
				lost.replaced++
			}
		case is.Size > was.Size:
			lost.bytes += is.Size - was.Size
			return shorten(path, was.Size, is.Size, chance)
		}
		return nil
	})
	slices.Reverse(unknown) // a directory comes before what is in it
	for _, path := range unknown {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return lost, fmt.Errorf("cut the power: %w", err)
	}
	return lost, nil
}

// shorten takes away what a file has beyond a size that is durable.
func shorten(path string, durable, size int64, chance *rand.Rand) error {
	switch chance.IntN(4) {
	case 0: // a part of it was written back, to the middle of a record as likely as not
		return os.Truncate(path, durable+chance.Int64N(size-durable))
	case 1: // the size was, the content not
		return errors.Join(os.Truncate(path, durable), os.Truncate(path, size))
	default:
		return os.Truncate(path, durable)
	}
}
