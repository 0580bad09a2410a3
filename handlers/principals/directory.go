// Package principals keeps the directory of who acts on the registry: it gives
// each name an opaque id, which is all that the log of events ever holds.
//
// The directory is a JetStream stream of its own, MODELOG_PRINCIPALS, with one
// message for each principal, held in memory. Unlike the log it can forget: an
// entry is erased by the stream's secure delete, which overwrites it. What is
// left is that the id was erased, so that every replica learns of it.
//
// It does not belong here what a principal may do, or how it proves who it is.
package principals

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/events/natslog/streams"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"golang.org/x/text/unicode/norm"
)

const (
	streamName    = "MODELOG_PRINCIPALS"
	subjectPrefix = "modelog.principals."
	erasedSuffix  = ".erased"
	idPrefix      = "prn_"

	// MaxName is how many characters a principal's name may have.
	MaxName = 256
)

// ErrName says that a name can't be a principal's.
var ErrName = fmt.Errorf("a principal's name has 1 to %d characters, none of them a control or format character", MaxName)

// ErrUnknown says that the directory has no such principal, or has it no more.
var ErrUnknown = errors.New("the directory has no such principal")

// ErrStream says that the stream is not as the directory needs it.
var ErrStream = errors.New("the stream of the directory is configured otherwise")

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
	// doomed are the principals, by id, that are to be erased, but whose
	// message may still be there. Guarded by adding.
	doomed map[string]record

	looked time.Time // guarded by adding; when Find last read the stream

	lock  sync.RWMutex
	ids   map[string]string // guarded by lock; by name
	known map[string]record // guarded by lock; by id
}

// Principal is somebody, or something, that acts on the registry.
type Principal struct {
	ID        string
	Name      string
	CreatedAt time.Time
}

type record struct {
	Principal
	sequence uint64 // of its message
}

// entry is a message of the stream; its subject ends with the id.
type entry struct {
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// erasure is a message of the stream; its subject ends with the id and
// erasedSuffix.
type erasure struct {
	ErasedAt time.Time `json:"erased_at"`
}

func streamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName, Description: "Who acts on the registry; erasable, unlike its events",
		Subjects: []string{subjectPrefix + ">"}, Storage: jetstream.FileStorage, Replicas: max(replicas, 1),
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, AllowDirect: true,
		Duplicates: 100 * time.Millisecond, MaxConsumers: 100,
	}
}

// Open reads the directory, and makes the stream if it isn't there. One that is
// there already isn't changed: it fails with ErrStream if that would be needed.
// It finishes erasing what a crash interrupted.
func Open(ctx context.Context, cfg Config) (*Directory, error) {
	d := &Directory{cfg: cfg, doomed: map[string]record{}, ids: map[string]string{}, known: map[string]record{}}
	if err := d.ensureStream(ctx); err != nil {
		return nil, fmt.Errorf("open the directory of principals: %w", err)
	}
	d.adding.Lock()
	defer d.adding.Unlock()
	if err := d.follow(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Directory) ensureStream(ctx context.Context) error {
	_, err := streams.Open(ctx, d.cfg.JetStream(), streamConfig(d.cfg.Replicas), streams.Erasable, ErrStream)
	return err
}

// normal brings a name into the form that the directory knows it by.
func normal(name string) string { return norm.NFC.String(strings.TrimSpace(name)) }

// Known gives the id of a principal by its name, if it has one already.
func (d *Directory) Known(name string) (id string, ok bool) { return d.idOf(normal(name)) }

// ID gives the id of a principal by its name, and makes one the first time. It
// fails with ErrName, or with an error of the stream.
func (d *Directory) ID(ctx context.Context, name string) (string, error) {
	name = normal(name)
	if id, ok := d.idOf(name); ok {
		return id, nil
	}
	if !valid(name) {
		return "", ErrName
	}
	d.adding.Lock()
	defer d.adding.Unlock()
	for {
		if id, ok := d.idOf(name); ok {
			return id, nil
		}
		id, err := d.add(ctx, name)
		if err == nil {
			return id, nil
		}
		if !streams.Moved(err) {
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
	r, ok := d.known[id]
	return r.Name, ok
}

// How long Find takes the directory to be as it is, and waits for the stream: reads
// go on without it.
const (
	lookAgain   = 100 * time.Millisecond
	lookTimeout = time.Second
)

// Find gives the name of a principal as Name does, one that another replica added
// a moment ago too: it reads the stream for an id that isn't known.
func (d *Directory) Find(ctx context.Context, id string) (name string, ok bool) {
	if name, ok := d.Name(id); ok {
		return name, true
	}
	d.adding.Lock()
	defer d.adding.Unlock()
	// Ids of those who were erased are asked for again and again.
	if now := d.cfg.Now(); d.looked.IsZero() || now.Sub(d.looked) >= lookAgain {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		_ = d.follow(ctx) // what can't be looked for isn't found
		d.looked = d.cfg.Now()
	}
	return d.Name(id)
}

// IsID says whether a text has the form of a principal's id.
func IsID(s string) bool {
	token, ok := strings.CutPrefix(s, idPrefix)
	if !ok {
		return false
	}
	_, err := ulid.ParseStrict(token)
	return err == nil
}

// List gives all principals, by name.
func (d *Directory) List() []Principal {
	d.lock.RLock()
	defer d.lock.RUnlock()
	all := make([]Principal, 0, len(d.known))
	for _, r := range d.known {
		all = append(all, r.Principal)
	}
	slices.SortFunc(all, func(a, b Principal) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Erase forgets a principal, given by its id or else by its name, and gives its
// id, which nothing leads back to the name from. Should the name act again, it
// gets another id. It fails with ErrUnknown, or with an error of the stream,
// after which it can be asked again. The name is overwritten when Erase
// returns; a power cut may bring it back until the next event is written or the
// server has synced its files.
func (d *Directory) Erase(ctx context.Context, who string) (id string, err error) {
	d.adding.Lock()
	defer d.adding.Unlock()
	for {
		// What another replica added, or an earlier call didn't finish.
		doomed, wasDoomed := find(d.doomed, who)
		if err := d.follow(ctx); err != nil {
			return "", err
		}
		if wasDoomed {
			return doomed.ID, nil
		}
		r, ok := d.find(who)
		if !ok {
			return "", ErrUnknown
		}
		err := d.doom(ctx, r)
		if streams.Moved(err) {
			continue
		}
		if err == nil {
			err = d.sweep(ctx)
		}
		if err != nil {
			return "", fmt.Errorf("erase a principal: %w", err)
		}
		return r.ID, nil
	}
}

func (d *Directory) find(who string) (record, bool) {
	d.lock.RLock()
	defer d.lock.RUnlock()
	if r, ok := d.known[who]; ok {
		return r, true
	}
	r, ok := d.known[d.ids[normal(who)]]
	return r, ok
}

func find(in map[string]record, who string) (record, bool) {
	for _, r := range in {
		if r.ID == who || r.Name == normal(who) {
			return r, true
		}
	}
	return record{}, false
}

// doom says on the stream that a principal is erased, before it is: a start
// finishes what a crash interrupts, and other replicas learn of it.
func (d *Directory) doom(ctx context.Context, r record) error {
	data, err := json.Marshal(erasure{d.cfg.Now().UTC().Truncate(time.Millisecond)})
	if err != nil {
		return err
	}
	ack, err := d.cfg.JetStream().Publish(ctx, subjectPrefix+strings.TrimPrefix(r.ID, idPrefix)+erasedSuffix, data,
		jetstream.WithExpectStream(streamName), jetstream.WithExpectLastSequence(d.last))
	if err != nil {
		return err
	}
	d.last = ack.Sequence
	d.forget(r.ID)
	return nil
}

// sweep overwrites the messages of those who are doomed.
func (d *Directory) sweep(ctx context.Context) error {
	if len(d.doomed) == 0 {
		return nil
	}
	stream, err := d.cfg.JetStream().Stream(ctx, streamName)
	if err != nil {
		return err
	}
	for id, r := range d.doomed {
		err := stream.SecureDeleteMsg(ctx, r.sequence)
		if err != nil {
			if _, gone := stream.GetMsg(ctx, r.sequence); !errors.Is(gone, jetstream.ErrMsgNotFound) {
				return err
			}
		}
		delete(d.doomed, id)
	}
	return nil
}

func valid(name string) bool {
	if name == "" || !utf8.ValidString(name) || utf8.RuneCountInString(name) > MaxName {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) })
}

func (d *Directory) idOf(name string) (string, bool) {
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
	d.remember(record{Principal{idPrefix + token, name, now}, ack.Sequence})
	return idPrefix + token, nil
}

func (d *Directory) remember(r record) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.ids[r.Name], d.known[r.ID] = r.ID, r
}

// forget lets a principal go that is erased, and dooms its message.
func (d *Directory) forget(id string) {
	d.lock.Lock()
	defer d.lock.Unlock()
	r, ok := d.known[id]
	if !ok {
		return
	}
	d.doomed[id] = r
	delete(d.known, id)
	if d.ids[r.Name] == id {
		delete(d.ids, r.Name)
	}
}

// follow reads what the stream has beyond what is known, and finishes erasing
// what it says is erased.
func (d *Directory) follow(ctx context.Context) error {
	if err := d.read(ctx); err != nil {
		return fmt.Errorf("read the directory of principals: %w", err)
	}
	if err := d.sweep(ctx); err != nil {
		return fmt.Errorf("erase principals: %w", err)
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
	token := strings.TrimPrefix(m.Subject(), subjectPrefix)
	if erased, ok := strings.CutSuffix(token, erasedSuffix); ok {
		d.forget(idPrefix + erased)
	} else {
		var e entry
		if err := json.Unmarshal(m.Data(), &e); err != nil {
			return 0, fmt.Errorf("message %d: %w", meta.Sequence.Stream, err)
		}
		d.remember(record{Principal{idPrefix + token, e.Name, e.CreatedAt}, meta.Sequence.Stream})
	}
	d.last = meta.Sequence.Stream
	return meta.NumPending, nil
}
