package logtest

import (
	"errors"

	"github.com/modelog/modelog/events"
)

func reopened(f *fixture) {
	f.append(0, group(1, 30)...)
	f.append(30, event(31))
	f.Log = f.Reopen(f.T)
	f.holds(31)
	f.refused(events.ErrConflict, 30, event(101))
	f.append(31, group(32, 40)...)
	f.Log = f.Reopen(f.T)
	f.holds(40)
}

func healthy(f *fixture) {
	if err := f.Log.Health(f.ctx); err != nil {
		f.Fatal(err)
	}
	f.append(0, event(1))
	if err := f.Log.Health(f.ctx); err != nil {
		f.Fatal(err)
	}
}

func closed(f *fixture) {
	f.append(0, event(1))
	f.close()
	_, lastErr := f.Log.Last(f.ctx)
	_, getErr := f.Log.Get(f.ctx, 1)
	_, readErr := take(f.Log.Read(f.ctx, 1, 1), 1)
	_, followErr := take(f.Log.Follow(f.ctx, 1), 1)
	for call, err := range map[string]error{
		"Append": f.Log.Append(f.ctx, 1, group(2, 2)), "Last": lastErr, "Get": getErr,
		"Read": readErr, "Follow": followErr, "Health": f.Log.Health(f.ctx),
	} {
		if !errors.Is(err, events.ErrUnavailable) {
			f.Errorf("%s: got %v", call, err)
		}
	}
}

func closingEndsReaders(f *fixture) {
	f.append(0, group(1, 2)...)
	caughtUp, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for e, err := range f.Log.Follow(f.ctx, 1) {
			if err != nil {
				ended <- err
			} else if e.Sequence == 2 {
				close(caughtUp)
			}
		}
	}()
	<-caughtUp
	f.close()
	if err := <-ended; !errors.Is(err, events.ErrUnavailable) {
		f.Fatalf("got %v", err)
	}
}

func closedTwice(f *fixture) {
	f.append(0, event(1))
	f.close()
	f.close()
}

func (f *fixture) close() {
	f.Helper()
	if err := f.Log.Close(); err != nil {
		f.Fatal(err)
	}
}
