// Package principals keeps the directory of who acts on the registry: it gives
// each name an opaque id, which is all that the log of events ever holds.
//
// The directory is a JetStream stream of its own, MODELOG_PRINCIPALS, with one
// message for each principal, held in memory. Unlike the log it can forget: the
// stream allows its messages to be deleted.
//
// It does not belong here what a principal may do, or how it proves who it is.
package principals

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"golang.org/x/text/unicode/norm"
)

const (
	streamName    = "MODELOG_PRINCIPALS"
	subjectPrefix = "modelog.principals."
	idPrefix      = "prn_"

	// MaxName is how many characters a principal's name may have.
	MaxName = 256
)

// ErrName says that a name can't be a principal's.
var ErrName = fmt.Errorf("a principal's name has 1 to %d characters, none of them a control or format character", MaxName)

// Config is what a directory needs.
type Config struct {
	// JetStream gives the server that the stream is on. It is asked anew for
	// every call, since an embedded server may be started anew.
	JetStream func() jetstream.JetStream
	Now       func() time.Time
	NewID     func(time.Time) ulid.ULID
	Replicas  int // of the stream, 1 if 0
}

// Directory gives principals their ids. It is safe for concurrent use.
type Directory struct {
	cfg Config

	// adding lets one goroutine at a time write or read the stream.
	adding sync.Mutex
	last   uint64 // guarded by adding; the stream is known up to here

	lock  sync.RWMutex
	ids   map[string]string // guarded by lock; by name
	names map[string]string // guarded by lock; by id
}

// entry is a message of the stream; its subject ends with the id.
type entry struct {
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// Open reads the directory, and makes the stream if it isn't there.
func Open(ctx context.Context, cfg Config) (*Directory, error) {
	d := &Directory{cfg: cfg, ids: map[string]string{}, names: map[string]string{}}
	_, err := cfg.JetStream().CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamName, Description: "Who acts on the registry; erasable, unlike its events",
		Subjects: []string{subjectPrefix + ">"}, Storage: jetstream.FileStorage, Replicas: max(cfg.Replicas, 1),
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, AllowDirect: true,
		Duplicates: 100 * time.Millisecond, MaxConsumers: 100,
	})
	if err != nil {
		return nil, fmt.Errorf("open the directory of principals: %w", err)
	}
	if err := d.follow(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// ID gives the id of a principal by its name, and makes one the first time. It
// fails with ErrName, or with an error of the stream.
func (d *Directory) ID(ctx context.Context, name string) (string, error) {
	name = norm.NFC.String(strings.TrimSpace(name))
	if id, ok := d.known(name); ok {
		return id, nil
	}
	if !valid(name) {
		return "", ErrName
	}
	d.adding.Lock()
	defer d.adding.Unlock()
	for {
		if id, ok := d.known(name); ok {
			return id, nil
		}
		id, err := d.add(ctx, name)
		if err == nil {
			return id, nil
		}
		if !moved(err) {
			return "", fmt.Errorf("add a principal: %w", err)
		}
		// Another replica was quicker, perhaps with the same name.
		if err := d.follow(ctx); err != nil {
			return "", err
		}
	}
}

// Name gives the name of a principal. ok is false for an id that isn't known,
// or is no more.
func (d *Directory) Name(id string) (name string, ok bool) {
	d.lock.RLock()
	defer d.lock.RUnlock()
	name, ok = d.names[id]
	return name, ok
}

func valid(name string) bool {
	if name == "" || !utf8.ValidString(name) || utf8.RuneCountInString(name) > MaxName {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) })
}

func (d *Directory) known(name string) (string, bool) {
	d.lock.RLock()
	defer d.lock.RUnlock()
	id, ok := d.ids[name]
	return id, ok
}

// add writes a new principal, and fails when the stream is longer than known.
// Whoever names the id in an event makes it durable together with that event.
func (d *Directory) add(ctx context.Context, name string) (string, error) {
	now := d.cfg.Now().UTC().Truncate(time.Millisecond)
	token := d.cfg.NewID(now).String()
	data, err := json.Marshal(entry{Name: name, CreatedAt: now})
	if err != nil {
		return "", err
	}
	ack, err := d.cfg.JetStream().Publish(ctx, subjectPrefix+token, data,
		jetstream.WithExpectStream(streamName), jetstream.WithExpectLastSequence(d.last))
	if err != nil {
		return "", err
	}
	d.last = ack.Sequence
	d.remember(idPrefix+token, name)
	return idPrefix + token, nil
}

func (d *Directory) remember(id, name string) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.ids[name], d.names[id] = id, name
}

func moved(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// follow reads what the stream has beyond what is known.
func (d *Directory) follow(ctx context.Context) error {
	if err := d.read(ctx); err != nil {
		return fmt.Errorf("read the directory of principals: %w", err)
	}
	return nil
}

func (d *Directory) read(ctx context.Context) error {
	stream, err := d.cfg.JetStream().Stream(ctx, streamName)
	if err != nil {
		return err
	}
	end := stream.CachedInfo().State.LastSeq
	if end <= d.last {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: d.last + 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return err
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return err
	}
	if info.NumPending == 0 { // the rest was erased
		d.last = end
		return nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for d.last < end {
		if pending, err := d.next(ctx, messages); err != nil || pending == 0 {
			return err
		}
	}
	return nil
}

// next takes one message, and says how many are still to come: sequences of
// what was erased are missing.
func (d *Directory) next(ctx context.Context, messages jetstream.MessagesContext) (uint64, error) {
	m, err := messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return 0, err
	}
	meta, err := m.Metadata()
	if err != nil {
		return 0, err
	}
	var e entry
	if err := json.Unmarshal(m.Data(), &e); err != nil {
		return 0, fmt.Errorf("message %d: %w", meta.Sequence.Stream, err)
	}
	d.last = meta.Sequence.Stream
	d.remember(idPrefix+strings.TrimPrefix(m.Subject(), subjectPrefix), e.Name)
	return meta.NumPending, nil
}
