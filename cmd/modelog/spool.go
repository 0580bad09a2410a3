package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// spool is a directory of events that wait to be published, each in a file of its
// own with the id and the time that it had at first. The names of the files are in
// the order of the events.
type spool struct{ dir string }

const (
	spoolSuffix  = ".json"
	refusedDir   = "refused"
	spoolPattern = "20060102T150405.000000000"
)

// add keeps an event. When it returns nil the event is on disk, whatever happens to
// the machine.
func (s spool) add(now time.Time, event []byte) (string, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return "", spoolError(err)
	}
	file, err := os.CreateTemp(s.dir, ".new-*")
	if err != nil {
		return "", spoolError(err)
	}
	_, err = file.Write(append(event, '\n'))
	err = errors.Join(err, file.Sync(), file.Close())
	random := strings.TrimPrefix(filepath.Base(file.Name()), ".new-")
	name := filepath.Join(s.dir, now.UTC().Format(spoolPattern)+"-"+random+spoolSuffix)
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // nothing of it may look like an event
		return "", spoolError(err)
	}
	return name, nil
}

// files gives the events that wait, the first one first.
func (s spool) files() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, usage("--spool: %v", err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), spoolSuffix) && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(s.dir, e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}

// sent takes an event away that has been published.
func (s spool) sent(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // unless another flush was quicker
		return spoolError(err)
	}
	return spoolError(syncDir(s.dir))
}

// refuse puts an event aside, with the problem that it was refused with beside it.
func (s spool) refuse(name string, problem []byte) error {
	aside := filepath.Join(s.dir, refusedDir)
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return spoolError(err)
	}
	to := filepath.Join(aside, filepath.Base(name))
	err := os.WriteFile(strings.TrimSuffix(to, spoolSuffix)+".problem"+spoolSuffix, append(problem, '\n'), 0o600)
	if err == nil {
		err = os.Rename(name, to)
	}
	if errors.Is(err, fs.ErrNotExist) { // another flush was quicker
		err = nil
	}
	return spoolError(errors.Join(err, syncDir(aside), syncDir(s.dir)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func spoolError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("keep the event in the spool: %w", err)
}
