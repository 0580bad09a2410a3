package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/modelog/modelog/events/natslog/streams"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

const (
	streamName    = "MODELOG_CREDENTIALS"
	subjectPrefix = "modelog.credentials."

	// sweepAge is how old a record must be that nobody names, to be one that nobody
	// will: whoever put it has had its answer long ago.
	sweepAge = time.Hour

	// maxCached bounds what is kept in memory; it is more than there are subscriptions.
	maxCached = 20_000
)

// Errors of the vault. Any other is one of the stream.
var (
	ErrUnknown = errors.New("the vault has no such credential, or has it no more")
	ErrKey     = errors.New("the credential was sealed with another key; start with the key that it was sealed with (--secrets-key), or rotate the secret and set the sink anew")
	ErrDamaged = errors.New("the credential is damaged")
	ErrStream  = errors.New("the stream of the credentials is configured otherwise")
)

// Config is what a vault needs.
type Config struct {
	// JetStream gives the server that the stream is on. It is asked anew for every
	// call, since an embedded server may be started anew.
	JetStream func() jetstream.JetStream
	Key       *Key
	Now       func() time.Time
	Replicas  int // of the stream, 1 if 0
}

// Vault keeps endpoints. It is safe for concurrent use.
type Vault struct {
	cfg Config

	lock   sync.RWMutex
	opened map[ulid.ULID]Endpoint // guarded by lock
}

// streamConfig allows no direct reads: a follower may not have yet what was just put.
func streamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName, Description: "Sealed endpoints of subscriptions; erasable, unlike events",
		Subjects: []string{subjectPrefix + "*"}, Storage: jetstream.FileStorage, Replicas: max(replicas, 1),
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
		Duplicates: 100 * time.Millisecond, MaxConsumers: 100,
	}
}

// Open makes the stream if it isn't there. One that is there already isn't changed: it
// fails with ErrStream if that would be needed.
func Open(ctx context.Context, cfg Config) (*Vault, error) {
	want := streamConfig(cfg.Replicas)
	stream, err := streams.Ensure(ctx, cfg.JetStream(), want)
	if err != nil {
		return nil, fmt.Errorf("open the vault of the webhooks' secrets: %w", err)
	}
	if err := streams.Check(&stream.CachedInfo().Config, &want, streams.Erasable, ErrStream); err != nil {
		return nil, err
	}
	return &Vault{cfg: cfg, opened: map[ulid.ULID]Endpoint{}}, nil
}

// Put keeps an endpoint under a new id. It is stored when Put returns, and durable with
// the next event of the log that is.
func (v *Vault) Put(ctx context.Context, id ulid.ULID, e Endpoint) error {
	record, err := v.cfg.Key.sealRecord(id, e)
	if err != nil {
		return fmt.Errorf("seal a credential: %w", err)
	}
	_, err = v.cfg.JetStream().Publish(ctx, subjectPrefix+id.String(), record, jetstream.WithExpectStream(streamName))
	if err != nil {
		return fmt.Errorf("keep a credential: %w", err)
	}
	v.keep(id, e)
	return nil
}

// Get gives an endpoint. It fails with ErrUnknown, ErrKey and ErrDamaged.
func (v *Vault) Get(ctx context.Context, id ulid.ULID) (Endpoint, error) {
	v.lock.RLock()
	e, ok := v.opened[id]
	v.lock.RUnlock()
	if ok {
		return e, nil
	}
	message, _, err := v.message(ctx, id)
	if err != nil {
		return Endpoint{}, fmt.Errorf("read credential %s: %w", id, err)
	}
	if e, err = v.cfg.Key.openRecord(id, message.Data); err != nil {
		return Endpoint{}, fmt.Errorf("read credential %s: %w", id, err)
	}
	v.keep(id, e)
	return e, nil
}

func (v *Vault) keep(id ulid.ULID, e Endpoint) {
	v.lock.Lock()
	defer v.lock.Unlock()
	if len(v.opened) >= maxCached {
		clear(v.opened)
	}
	v.opened[id] = e
}

func (v *Vault) message(ctx context.Context, id ulid.ULID) (*jetstream.RawStreamMsg, jetstream.Stream, error) {
	stream, err := v.cfg.JetStream().Stream(ctx, streamName)
	if err != nil {
		return nil, nil, err
	}
	message, err := stream.GetLastMsgForSubject(ctx, subjectPrefix+id.String())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		err = ErrUnknown
	}
	return message, stream, err
}

// Delete overwrites an endpoint. One that isn't there is gone already.
func (v *Vault) Delete(ctx context.Context, id ulid.ULID) error {
	v.lock.Lock()
	delete(v.opened, id)
	v.lock.Unlock()
	message, stream, err := v.message(ctx, id)
	if errors.Is(err, ErrUnknown) {
		return nil
	}
	if err == nil {
		err = stream.SecureDeleteMsg(ctx, message.Sequence)
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("erase credential %s: %w", id, err)
	}
	return nil
}

// Sweep overwrites the endpoints that nobody uses: those for which a crash came between
// Put and the event that was to name them, or between an event and Delete. It passes
// over the ones that were put within the last hour, which may be used yet.
func (v *Vault) Sweep(ctx context.Context, inUse func(ulid.ULID) bool) error {
	stream, err := v.cfg.JetStream().Stream(ctx, streamName)
	if err != nil {
		return fmt.Errorf("sweep the vault: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subjectPrefix+"*"))
	if err != nil {
		return fmt.Errorf("sweep the vault: %w", err)
	}
	var failed error
	for subject := range info.State.Subjects {
		id, err := ulid.ParseStrict(strings.TrimPrefix(subject, subjectPrefix))
		if err != nil || v.cfg.Now().Sub(id.Timestamp()) < sweepAge || inUse(id) {
			continue
		}
		failed = errors.Join(failed, v.Delete(ctx, id))
	}
	return failed
}
