package runner_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections/runner"
)

// folder is a folder of snapshots, and what was logged about it.
type folder struct {
	*testing.T
	dir string
	log events.Log
	out bytes.Buffer
}

func newFolder(t *testing.T, log events.Log) *folder {
	t.Helper()
	return &folder{T: t, dir: filepath.Join(t.TempDir(), "snapshots"), log: log}
}

func (f *folder) open() *runner.Snapshots {
	f.Helper()
	s, err := runner.OpenSnapshots(f.dir, f.log, slog.New(slog.NewTextHandler(&f.out, nil)))
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// take takes a snapshot of all that is on the log.
func (f *folder) take() string {
	f.Helper()
	r := f.restore()
	catchUp(f.T, r)
	if err := f.open().Take(f.Context(), r); err != nil {
		f.Fatal(err)
	}
	names := f.names()
	return filepath.Join(f.dir, names[len(names)-1])
}

func (f *folder) restore() *runner.Runner {
	f.Helper()
	r, err := f.open().Restore(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	return r
}

func (f *folder) names() (names []string) {
	f.Helper()
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (f *folder) wantNames(want ...string) {
	f.Helper()
	if diff := cmp.Diff(want, f.names()); diff != "" {
		f.Error(diff)
	}
}

// wantReplay wants the start to read all of the log, with a warning that says
// why, and the same state.
func (f *folder) wantReplay(why string, last uint64) {
	f.Helper()
	f.out.Reset()
	r := f.restore()
	if r.Visible() != 0 {
		f.Fatalf("it begins at %d", r.Visible())
	}
	if !strings.Contains(f.out.String(), "level=WARN") || !strings.Contains(f.out.String(), why) {
		f.Errorf("the log says %q, not %q", f.out.String(), why)
	}
	if visited := catchUp(f.T, r); len(visited) != int(last) {
		f.Errorf("it read %d events instead of %d", len(visited), last)
	}
	fresh := runner.New(f.log)
	catchUp(f.T, fresh)
	if digest(f.T, r) != digest(f.T, fresh) {
		f.Error("another state")
	}
}

func digest(t *testing.T, r *runner.Runner) string {
	t.Helper()
	d, err := r.Digest(t.Context(), r.Visible())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAStartGoesOnFromTheNewestSnapshot(t *testing.T) {
	log := openLog(t)
	write(t, log, created())
	write(t, log, models(2, 5)...)
	f := newFolder(t, log)
	f.take()
	write(t, log, models(6, 7)...)
	r := f.restore()
	if visible := r.Visible(); visible != 5 {
		t.Errorf("it begins at %d", visible)
	}
	if diff := cmp.Diff([]uint64{6, 7}, catchUp(t, r)); diff != "" {
		t.Error(diff)
	}
	fresh := runner.New(log)
	catchUp(t, fresh)
	if digest(t, r) != digest(t, fresh) {
		t.Error("another state than from the log alone")
	}
	if f.out.Len() > 0 {
		t.Errorf("the log says %s", &f.out)
	}
}

func TestTwoSnapshotsAreKept(t *testing.T) {
	log := openLog(t)
	write(t, log, created())
	f := newFolder(t, log)
	for s := uint64(2); s < 6; s++ {
		write(t, log, model(s))
		f.take()
	}
	f.take() // of the same sequence again
	f.wantNames("00000000000000000004.snapshot", "00000000000000000005.snapshot")
}

func TestABadSnapshotIsSetAsideAndTheLogReplayed(t *testing.T) {
	for why, spoil := range map[string]func(data []byte) []byte{
		"damaged":        func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
		"not a snapshot": func(data []byte) []byte { return append([]byte("modelog snapshot 9\n"), data[19:]...) },
		"its checksum":   func(data []byte) []byte { return data[:len(data)-1] },
		"that this release reads": func([]byte) []byte {
			return nil
		},
	} {
		t.Run(why, func(t *testing.T) {
			log := openLog(t)
			write(t, log, created())
			write(t, log, models(2, 9)...)
			f := newFolder(t, log)
			name := f.take()
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, spoil(data), 0o600); err != nil {
				t.Fatal(err)
			}
			f.wantReplay(why, 9)
			f.wantNames("00000000000000000009.snapshot.set-aside")
			f.take() // and the next one is good
			f.wantNames("00000000000000000009.snapshot", "00000000000000000009.snapshot.set-aside")
			if r := f.restore(); r.Visible() != 9 {
				t.Errorf("it begins at %d", r.Visible())
			}
		})
	}
}

func TestTheSnapshotBeforeADamagedOneIsTaken(t *testing.T) {
	log := openLog(t)
	write(t, log, created())
	write(t, log, models(2, 5)...)
	f := newFolder(t, log)
	f.take()
	write(t, log, models(6, 9)...)
	if err := os.Truncate(f.take(), 100); err != nil {
		t.Fatal(err)
	}
	if r := f.restore(); r.Visible() != 5 {
		t.Errorf("it begins at %d", r.Visible())
	}
}

// otherLog changes what a log says of itself.
type otherLog struct {
	events.Log
	last uint64                      // unless 0
	get  func(*events.Stored, error) // unless nil
	err  error
}

func (l otherLog) Last(ctx context.Context) (uint64, error) {
	if l.last != 0 {
		return l.last, nil
	}
	return l.Log.Last(ctx)
}

func (l otherLog) Get(ctx context.Context, sequence uint64) (events.Stored, error) {
	e, err := l.Log.Get(ctx, sequence)
	if l.get != nil {
		l.get(&e, err)
	}
	if l.err != nil {
		return e, l.err
	}
	return e, err
}

func (l otherLog) Read(ctx context.Context, from, to uint64) iter.Seq2[events.Stored, error] {
	return l.Log.Read(ctx, from, to)
}

func TestASnapshotOfAnotherLogIsSetAside(t *testing.T) {
	log := openLog(t)
	write(t, log, created())
	write(t, log, models(2, 9)...)
	f := newFolder(t, log)
	f.take()
	f.log = otherLog{Log: log, get: func(e *events.Stored, _ error) { e.Data = append(slices.Clone(e.Data), 0) }}
	f.wantReplay("another log", 9)
}

func TestASnapshotAheadOfTheLogIsSetAside(t *testing.T) {
	log := openLog(t)
	write(t, log, created())
	write(t, log, models(2, 9)...)
	f := newFolder(t, log)
	f.take()
	f.log = otherLog{Log: log, last: 8}
	f.wantReplay("ahead of the log", 8)
}

// TestALogThatIsAwaySetsNothingAside: the snapshot may be as good as ever.
func TestALogThatIsAwaySetsNothingAside(t *testing.T) {
	log := openLog(t)
	write(t, log, created())
	f := newFolder(t, log)
	f.take()
	f.log = otherLog{Log: log, err: events.ErrUnavailable}
	if _, err := f.open().Restore(t.Context()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	f.wantNames("00000000000000000001.snapshot")
}

func TestASnapshotThatCantBeTakenLeavesNothing(t *testing.T) {
	log := openLog(t)
	write(t, log, created())
	f := newFolder(t, log)
	r := f.restore()
	catchUp(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.open().Take(ctx, r); err == nil {
		t.Error("no error")
	}
	f.wantNames([]string(nil)...)
}

func TestWhatADeadProcessLeftUnfinishedIsRemoved(t *testing.T) {
	log := openLog(t)
	write(t, log, created())
	f := newFolder(t, log)
	f.take()
	if err := os.WriteFile(filepath.Join(f.dir, "unfinished-1"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.open()
	f.wantNames("00000000000000000001.snapshot")
}

// TestSnapshotsAreTakenAsTheLogGrows lets a runner go past the next one.
func TestSnapshotsAreTakenAsTheLogGrows(t *testing.T) {
	log := openLog(t)
	write(t, log, created())
	f := newFolder(t, log)
	snapshots := f.open()
	r := f.restore()
	catchUp(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		snapshots.Keep(ctx, r)
	}()
	write(t, log, models(2, runner.SnapshotEvery)...)
	catchUp(t, r)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(f.names()) == 0 || !strings.HasSuffix(f.names()[0], ".snapshot") {
		<-tick.C // the test's own time limit ends it
	}
	cancel()
	<-ended
	f.wantNames("00000000000000100000.snapshot")
}
