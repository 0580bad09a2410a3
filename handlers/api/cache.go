package api

import (
	"sync"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// shownVersions remembers how versions were shown. Services ask for the same few
// again and again, most often by alias. A version's sequence moves whenever
// anything shown with it changes, so the two together stand for the bytes, and
// nothing needs to be taken back.
type shownVersions struct {
	lock  sync.RWMutex
	shown map[shownVersion][]byte // guarded by lock; the bytes don't change
}

type shownVersion struct {
	id       events.VersionID
	sequence uint64
}

// Limits of what is remembered: 16 MiB at most.
const (
	maxShown      = 1024
	maxShownBytes = 16 << 10
)

func (s *shownVersions) get(key shownVersion) ([]byte, bool) {
	s.lock.RLock()
	defer s.lock.RUnlock()
	data, ok := s.shown[key]
	return data, ok
}

// put remembers a version, and forgets all others when there are too many: what
// is asked for again comes back at once.
func (s *shownVersions) put(key shownVersion, data []byte) {
	if len(data) > maxShownBytes {
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.shown == nil || len(s.shown) >= maxShown {
		s.shown = make(map[shownVersion][]byte, maxShown)
	}
	s.shown[key] = data
}

// cachedAnswer shows a version as it was shown before, if it was.
func cachedAnswer(c *call, v projections.View, id events.VersionID) (answer[Version], error) {
	if _, sequence, ok := v.Version(id); ok {
		if data, ok := c.server.shown.get(shownVersion{id, sequence}); ok {
			c.warn(v, id)
			return answer[Version]{etag: sequence, shown: data}, nil
		}
	}
	a, err := showAnswer(c, v, id)
	if err != nil {
		return a, err
	}
	data, err := appendJSON(nil, a.value)
	if err != nil {
		return a, err
	}
	a.shown = append(data, '\n')
	c.server.shown.put(shownVersion{id, a.etag}, a.shown)
	return a, nil
}
