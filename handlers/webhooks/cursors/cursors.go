// Package cursors keeps how far each subscription has been delivered, and who
// delivers: the JetStream stream MODELOG_CURSORS, with one message for each record.
// Every write is a compare-and-set.
//
// It does not belong here what the records mean to whoever delivers.
package cursors

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events/natslog/streams"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"
)

const (
	streamName    = "MODELOG_CURSORS"
	subjectPrefix = "modelog.cursors."
)

// ErrStream says that the stream is not as the cursors need it.
var ErrStream = errors.New("the stream of the cursors is configured otherwise")

// ErrMoved says that somebody else has written the record since it was read.
var ErrMoved = errors.New("somebody else has written the record")

// ErrNone says that there is no such record.
var ErrNone = errors.New("no such record")

// Cursor says how far a subscription has been delivered.
type Cursor struct {
	After   uint64    `json:"after"` // all wanted events up to here are settled, or pending
	Pending []Pending `json:"pending,omitempty"`
	Dead    uint64    `json:"dead,omitzero"` // dead letters so far
	// FailingMilli is when the first failure since the last success was, in
	// milliseconds since 1970, 0 if that was the last.
	FailingMilli int64 `json:"failing_since,omitzero"`
}

// Pending is an event that isn't settled, below a cursor.
type Pending struct {
	Sequence uint64 `json:"seq"`
	Lane     uint64 `json:"lane"`             // of its ordering key
	Attempt  int    `json:"attempt,omitzero"` // attempts so far
	DueMilli int64  `json:"due,omitzero"`     // milliseconds since 1970
}

// Mode says what a replay sends.
type Mode string

// The modes of replays.
const (
	ReplayAll     Mode = "all"
	ReplayFailed  Mode = "failed"  // dead letters
	ReplayMissing Mode = "missing" // what no attempt that is still known has delivered
)

// Replay is a job that delivers a part of the past again.
type Replay struct {
	Job          ulid.ULID `json:"job"`
	Subscription ulid.ULID `json:"subscription"`
	From         uint64    `json:"from"`
	To           uint64    `json:"to"` // both included
	Mode         Mode      `json:"mode"`
	Rate         int       `json:"rate,omitzero"` // deliveries a second at most, 0 for any
	Cursor       Cursor    `json:"cursor"`
	Sent         uint64    `json:"sent"` // answered with 2xx
	Done         bool      `json:"done,omitzero"`
	Stopped      bool      `json:"stopped,omitzero"` // before its end, by somebody; Done too
}

// Lease says who delivers.
type Lease struct {
	Holder string `json:"holder"` // empty when it was given back
	Count  uint64 `json:"count"`  // moves with every renewal
}

// DeadLetter points to an event that was given up.
type DeadLetter struct {
	Sequence uint64 `json:"sequence"`
	AtMilli  int64  `json:"at"`
	Status   int    `json:"status,omitzero"`
	Class    string `json:"class"`
}

// Poll is how far a subscriber that fetches its events says to have come.
type Poll struct {
	After uint64 `json:"after"`
}

// LeaseKey is the key of the Lease.
const LeaseKey = "lease"

// kinds are the beginnings of the keys of what belongs to a subscription.
var kinds = []string{CursorsBelow, "poll", ReplaysBelow, "dead"}

// Below these are the keys of all cursors, and of all replays; see Store.Records.
const (
	CursorsBelow = "subscription"
	ReplaysBelow = "replay"
)

// CursorKey is the key of a subscription's Cursor.
func CursorKey(subscription ulid.ULID) string { return "subscription." + subscription.String() }

// PollKey is the key of a subscription's Poll.
func PollKey(subscription ulid.ULID) string { return "poll." + subscription.String() }

// ReplayKey is the key of a Replay.
func ReplayKey(subscription, job ulid.ULID) string {
	return "replay." + subscription.String() + "." + job.String()
}

// DeadKey is the key of a DeadLetter.
func DeadKey(subscription ulid.ULID, sequence uint64) string {
	return "dead." + subscription.String() + "." + strconv.FormatUint(sequence, 10)
}

// Config is what a store needs.
type Config struct {
	// JetStream gives the server that the stream is on. It is asked anew for every
	// call, since an embedded server may be started anew.
	JetStream func() jetstream.JetStream
	Replicas  int // of the stream, 1 if 0
}

// Store has the records. It is safe for concurrent use.
type Store struct{ cfg Config }

func streamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName, Description: "How far each subscription has been delivered",
		Subjects: []string{subjectPrefix + ">"}, Storage: jetstream.FileStorage, Replicas: max(replicas, 1),
		MaxMsgsPerSubject: 1, AllowDirect: false,
	}
}

// Open makes the stream if it isn't there. One that is there isn't changed: it fails
// with ErrStream if that would be needed.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if _, err := streams.Open(ctx, cfg.JetStream(), streamConfig(cfg.Replicas), streams.Lasting, ErrStream); err != nil {
		return nil, err
	}
	return &Store{cfg}, nil
}

// Get reads a record, and gives its revision for Put. It fails with ErrNone, or with
// the client's errors.
func (s *Store) Get(ctx context.Context, key string, record any) (revision uint64, err error) {
	stream, err := s.cfg.JetStream().Stream(ctx, streamName)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	return get(ctx, stream, key, record)
}

func get(ctx context.Context, stream jetstream.Stream, key string, record any) (revision uint64, err error) {
	m, err := stream.GetLastMsgForSubject(ctx, subjectPrefix+key)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, fmt.Errorf("%w: %s", ErrNone, key)
	case err != nil:
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	if err := json.Unmarshal(m.Data, record); err != nil {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	return m.Sequence, nil
}

// Stored is a record as it is kept.
type Stored struct {
	Key      string
	Revision uint64
	Data     []byte // JSON
}

// Records gives the records whose keys begin with a key and a dot, and which were
// written after a revision, in the order of their revisions. It fails with the client's
// errors.
func (s *Store) Records(ctx context.Context, below string, after uint64) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		stream, err := s.cfg.JetStream().Stream(ctx, streamName)
		for err == nil {
			var m *jetstream.RawStreamMsg
			m, err = stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(subjectPrefix+below+".>"))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err == nil {
				after = m.Sequence
				if !yield(Stored{strings.TrimPrefix(m.Subject, subjectPrefix), m.Sequence, m.Data}, nil) {
					return
				}
			}
		}
		yield(Stored{}, fmt.Errorf("read what is below %s: %w", below, err))
	}
}

// Subscriptions gives the ids of all subscriptions that there are records of. It fails
// with the client's errors.
func (s *Store) Subscriptions(ctx context.Context) (map[ulid.ULID]bool, error) {
	stream, err := s.cfg.JetStream().Stream(ctx, streamName)
	if err != nil {
		return nil, fmt.Errorf("list the cursors: %w", err)
	}
	found := map[ulid.ULID]bool{}
	for _, kind := range kinds {
		all, err := keys(ctx, stream, kind)
		if err != nil {
			return nil, err
		}
		for _, key := range all {
			of, _, _ := strings.Cut(strings.TrimPrefix(key, kind+"."), ".")
			if id, err := ulid.ParseStrict(of); err == nil {
				found[id] = true
			}
		}
	}
	return found, nil
}

// Write is one of several writes; see PutAll.
type Write struct {
	Key      string
	Revision uint64
	Record   any

	// What became of it, as Put says it.
	Next uint64
	Err  error
}

// writers is how many of several records are under way at a time.
const writers = 32

// PutAll does what Put does for each of several records with different keys, without
// waiting for one before the next.
func (s *Store) PutAll(ctx context.Context, all []*Write) {
	var group errgroup.Group
	group.SetLimit(writers)
	for _, w := range all {
		group.Go(func() error {
			w.Next, w.Err = s.Put(ctx, w.Key, w.Revision, w.Record)
			return nil
		})
	}
	_ = group.Wait() // each has its own
}

// Put writes a record that has a revision, 0 for a new one, and gives its next. It
// fails with ErrMoved, or with the client's errors: then it may have been written.
func (s *Store) Put(ctx context.Context, key string, revision uint64, record any) (next uint64, err error) {
	data, err := json.Marshal(record)
	if err != nil {
		return 0, err
	}
	ack, err := s.cfg.JetStream().Publish(ctx, subjectPrefix+key, data,
		jetstream.WithExpectStream(streamName), jetstream.WithExpectLastSequencePerSubject(revision))
	switch {
	case streams.Moved(err):
		return 0, fmt.Errorf("%w: %s: %w", ErrMoved, key, err)
	case err != nil:
		return 0, fmt.Errorf("write %s: %w", key, err)
	}
	return ack.Sequence, nil
}

// Delete removes a record, and those whose keys begin with it and a dot. It is
// harmless if there is none.
func (s *Store) Delete(ctx context.Context, key string) error {
	stream, err := s.cfg.JetStream().Stream(ctx, streamName)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(subjectPrefix+key))
	}
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(subjectPrefix+key+".>"))
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// Forget removes everything of a subscription.
func (s *Store) Forget(ctx context.Context, subscription ulid.ULID) error {
	for _, kind := range kinds {
		if err := s.Delete(ctx, kind+"."+subscription.String()); err != nil {
			return err
		}
	}
	return nil
}

// keys gives the keys of the records below a key.
func keys(ctx context.Context, stream jetstream.Stream, below string) ([]string, error) {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subjectPrefix+below+".>"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", below, err)
	}
	all := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		all = append(all, strings.TrimPrefix(subject, subjectPrefix))
	}
	slices.Sort(all)
	return all, nil
}

// Replays gives the jobs of a subscription, or of all for a zero id, in the order in
// which they were made.
func (s *Store) Replays(ctx context.Context, subscription ulid.ULID) ([]Replay, error) {
	stream, err := s.cfg.JetStream().Stream(ctx, streamName)
	if err != nil {
		return nil, err
	}
	below := "replay"
	if !subscription.IsZero() {
		below += "." + subscription.String()
	}
	all, err := keys(ctx, stream, below)
	if err != nil {
		return nil, err
	}
	jobs := make([]Replay, 0, len(all))
	for _, key := range all {
		var job Replay
		_, err := get(ctx, stream, key, &job)
		if errors.Is(err, ErrNone) { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, job)
	}
	return jobs, nil
}

// Dead gives the sequences of a subscription's dead letters, in order.
func (s *Store) Dead(ctx context.Context, subscription ulid.ULID) ([]uint64, error) {
	stream, err := s.cfg.JetStream().Stream(ctx, streamName)
	if err != nil {
		return nil, err
	}
	below := "dead." + subscription.String()
	all, err := keys(ctx, stream, below)
	if err != nil {
		return nil, err
	}
	var dead []uint64
	for _, key := range all {
		if sequence, err := strconv.ParseUint(strings.TrimPrefix(key, below+"."), 10, 64); err == nil {
			dead = append(dead, sequence)
		}
	}
	slices.Sort(dead)
	return dead, nil
}
