package webhooks

import "github.com/oklog/ulid/v2"

// forget drops a subscription that is gone, and what is kept of it. It is called with
// the lock held.
func (s *session) forget(id ulid.ULID) {
	for _, f := range s.of(id) {
		s.drop(f)
	}
	s.wg.Go(func() {
		s.told("what is known of the deliveries of a subscription that is gone is deleted later", s.erase(id))
	})
}

// erase deletes what is kept of a subscription: the attempts first, since the cursors
// say that there is something left.
func (s *session) erase(id ulid.ULID) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	if err := s.cfg.Journal.Forget(s.ctx, id); err != nil {
		return err
	}
	return s.cfg.Cursors.Forget(s.ctx, id)
}

// forgetLeftovers erases what is left of subscriptions that were deleted while nobody
// delivered. An unknown one may be newer than what is known here.
func (s *session) forgetLeftovers() {
	known, err := s.cfg.Cursors.Subscriptions(s.ctx)
	view := s.cfg.Runner.Now()
	for id := range known {
		if _, _, ok := view.Subscription(id); ok || !view.SubscriptionKnown(id) || err != nil {
			continue
		}
		err = s.erase(id)
	}
	if s.ctx.Err() == nil {
		s.told("what is left of subscriptions that are gone is deleted later", err)
	}
}
