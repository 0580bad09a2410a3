package subscription

import (
	"fmt"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
)

// Normalise gives filters in the one form in which the log has them, empty for none.
// It fails with a handlers.InvalidError if that is too long.
func Normalise(filters []Filter) (string, error) {
	if len(filters) == 0 {
		return "", nil
	}
	text, err := json.Marshal(filters, json.Deterministic(true))
	if err != nil {
		return "", handlers.InvalidField("/filters", "json", "can't be written down: %v", err)
	}
	if len(text) > handlers.MaxFilterBytes {
		return "", handlers.InvalidField("/filters", "max_length", "are longer than %d bytes", handlers.MaxFilterBytes)
	}
	return string(text), nil
}

// For compiles the matcher of a subscription. It fails if another release took its
// filters, which this one doesn't.
func For(s *projections.Subscription) (*Matcher, error) {
	var filters []Filter
	if s.Settings.Filters != "" {
		var err error
		if filters, err = ParseFilters([]byte(s.Settings.Filters)); err != nil {
			return nil, fmt.Errorf("read the filters of subscription %s: %w", s.ID, err)
		}
	}
	m, err := Compile(filters, s.Settings.Types)
	if err != nil {
		return nil, fmt.Errorf("compile the filters of subscription %s: %w", s.ID, err)
	}
	return m, nil
}

// Cache keeps compiled matchers, so that those who ask for the same subscriptions
// compile them once. The zero Cache is empty. It is safe for concurrent use.
type Cache struct {
	mu       sync.Mutex
	matchers map[ulid.ULID]compiled // guarded by mu; at most maxCached
}

// maxCached is more than there are subscriptions: those that are gone must not fill it.
const maxCached = 2 * handlers.MaxSubscriptions

type compiled struct {
	sequence uint64
	matcher  *Matcher
	err      error
}

// Matcher gives the matcher of a subscription as of the sequence that View.Subscription
// gives with it. It fails as For does.
func (c *Cache) Matcher(s *projections.Subscription, sequence uint64) (*Matcher, error) {
	c.mu.Lock()
	known, ok := c.matchers[s.ID]
	c.mu.Unlock()
	if ok && known.sequence == sequence {
		return known.matcher, known.err
	}
	next := compiled{sequence: sequence}
	next.matcher, next.err = For(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.matchers == nil || len(c.matchers) >= maxCached {
		c.matchers = map[ulid.ULID]compiled{}
	}
	c.matchers[s.ID] = next
	return next.matcher, next.err
}
