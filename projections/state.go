package projections

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// FoldVersion is part of every digest: it changes when the same log gives
// another state than before.
const FoldVersion = 7

// State is the registry as its log tells it, with all of its past. One
// goroutine at a time may call Apply, CutAfter and Settle; everything else is
// safe for concurrent use, beside them too.
type State struct {
	lock     sync.RWMutex
	applied  uint64 // guarded by lock
	registry Registry
	// recorded has the time of each event, in milliseconds since 1970, at the
	// index sequence-1. It never goes down.
	recorded []int64

	models     *table[ulid.ULID, *Model]
	modelNames *table[string, ulid.ULID]

	registrations  *table[events.VersionID, *Registration]
	versions       *table[events.VersionID, *Version]
	semvers        *table[semverKey, int]
	stages         *table[stageKey, struct{}]
	aliases        *table[aliasKey, int]
	versionAliases *table[versionAliasKey, struct{}]

	targets     *table[ulid.ULID, *Target]
	targetNames *table[TargetName, ulid.ULID]
	routes      *table[ulid.ULID, *RouteTable]
	deployed    *table[deployedKey, struct{}]

	keys *table[events.Hash, *KeyUse]

	signingKeys *table[ulid.ULID, *SigningKey] // by registry

	lineage     *lineage // guarded by lock
	datasets    *table[events.DatasetName, struct{}]
	withdrawals *table[events.DatasetVersion, *Withdrawal]
	withdrawn   withdrawn // an index of withdrawals

	subscriptions *table[ulid.ULID, *Subscription]

	updates updates // guarded by lock; an index of versions, which it derives from
	audit   audit   // guarded by lock; an index of events

	words words // guarded by lock

	all []anyTable // every table, in the order of the digest
}

// anyTable is what the state does to all of its tables alike.
type anyTable interface {
	cutAfter(sequence uint64)
	settle(sequence uint64)
	dump(sequence uint64, d *dumper) error
	snapshot(ctx context.Context, b *blockWriter, sequence uint64) error
	restore(b blocks, sequence uint64) error
}

// Registry is what the first event says.
type Registry struct {
	ID        ulid.ULID
	Level     int
	CreatedAt time.Time
}

// New gives the state of an empty log.
func New() *State {
	s := &State{words: words{}}
	s.models = newTable[ulid.ULID, *Model]("models", &s.lock, ulid.ULID.Compare)
	s.modelNames = newTable[string, ulid.ULID]("model_names", &s.lock, compareStrings)
	s.registrations = newTable[events.VersionID, *Registration]("registrations", &s.lock, compareVersionIDs)
	s.versions = newTable[events.VersionID, *Version]("versions", &s.lock, compareVersionIDs)
	s.semvers = newTable[semverKey, int]("semvers", &s.lock, semverKey.compare)
	s.stages = newTable[stageKey, struct{}]("stages", &s.lock, stageKey.compare)
	s.aliases = newTable[aliasKey, int]("aliases", &s.lock, aliasKey.compare)
	s.versionAliases = newTable[versionAliasKey, struct{}]("version_aliases", &s.lock, versionAliasKey.compare)
	s.targets = newTable[ulid.ULID, *Target]("targets", &s.lock, ulid.ULID.Compare)
	s.targetNames = newTable[TargetName, ulid.ULID]("target_names", &s.lock, TargetName.compare)
	s.routes = newTable[ulid.ULID, *RouteTable]("routes", &s.lock, ulid.ULID.Compare)
	s.deployed = newTable[deployedKey, struct{}]("deployed", &s.lock, deployedKey.compare)
	s.keys = newTable[events.Hash, *KeyUse]("keys", &s.lock, func(a, b events.Hash) int { return bytes.Compare(a[:], b[:]) })
	s.signingKeys = newTable[ulid.ULID, *SigningKey]("signing_keys", &s.lock, ulid.ULID.Compare)
	s.lineage = newLineage()
	s.datasets = newTable[events.DatasetName, struct{}]("datasets", &s.lock, compareDatasetNames)
	s.withdrawals = newTable[events.DatasetVersion, *Withdrawal]("withdrawals", &s.lock, compareDatasets)
	s.subscriptions = newTable[ulid.ULID, *Subscription]("subscriptions", &s.lock, ulid.ULID.Compare)
	s.withdrawals.restored = func(uint64, events.DatasetVersion, *Withdrawal) { s.withdrawn.ever.Store(true) }
	s.datasets.share = func(w words, k *events.DatasetName, _, _ struct{}) { k.Namespace = w.one(k.Namespace) }
	s.models.share = func(w words, _ *ulid.ULID, m, before *Model) { m.share(w, before) }
	s.registrations.share = func(w words, _ *events.VersionID, r, _ *Registration) {
		r.Format, r.CreatedBy = w.one(r.Format), w.one(r.CreatedBy)
	}
	s.versions.share = func(w words, _ *events.VersionID, v, before *Version) { v.share(w, before) }
	s.stages.share = func(w words, k *stageKey, _, _ struct{}) { k.Stage = w.one(k.Stage) }
	s.aliases.share = func(w words, k *aliasKey, _, _ int) { k.Alias = w.one(k.Alias) }
	s.versionAliases.share = func(w words, k *versionAliasKey, _, _ struct{}) { k.Alias = w.one(k.Alias) }
	s.targetNames.share = func(w words, k *TargetName, _, _ ulid.ULID) { k.Environment = w.one(k.Environment) }
	s.routes.share = func(w words, _ *ulid.ULID, r, _ *RouteTable) { r.share(w) }
	s.audit.lock = &s.lock
	s.all = []anyTable{
		s.models, s.modelNames, s.registrations, s.versions, s.semvers, s.stages, s.aliases, s.versionAliases,
		s.targets, s.targetNames, s.routes, s.deployed, s.keys,
		s.signingKeys,
		&s.audit,
		lineageTable{s.lineage, &s.lock},
		s.datasets, s.withdrawals,
		s.subscriptions,
	}
	return s
}

// Applied is the sequence of the last event that was applied, 0 for none.
func (s *State) Applied() uint64 {
	s.lock.RLock()
	defer s.lock.RUnlock()
	return s.applied
}

// Apply folds the next event into the state. It cannot fail, since the event
// has happened; one that is out of order or has no canonical form is a mistake
// of the caller, and panics. It is fastest with an event that has its canonical
// form already (events.WithCanonical).
func (s *State) Apply(e events.Event) {
	if e.Canonical() == nil {
		var err error
		if e, err = e.WithCanonical(); err != nil {
			panic(fmt.Sprintf("projections: event %d: %v", e.Sequence, err))
		}
	}
	var registration *Registration // costs too much to make it while readers wait
	if d, ok := e.Data.(events.VersionRegistered); ok {
		registration = newRegistration(e, d)
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if e.Sequence != s.applied+1 {
		panic(fmt.Sprintf("projections: event %d applied after event %d", e.Sequence, s.applied))
	}
	s.applied = e.Sequence
	s.recorded = append(s.recorded, e.Time.UnixMilli())
	c := change{sequence: e.Sequence, at: e.Happened().UnixMilli(), by: s.words.one(e.Principal)}
	s.audit.add(e)
	s.apply(c, e.Data, registration)
	if e.Key != (events.Hash{}) {
		s.keys.put(c.sequence, e.Key, &KeyUse{e.Request, e.Data.Resource()})
	}
}

// change is what an event's envelope says about the rows it changes.
type change struct {
	sequence uint64
	at       int64 // Happened, in milliseconds since 1970; as_of goes by recorded times
	by       string
}

func (s *State) apply(c change, data events.Data, registration *Registration) {
	switch d := data.(type) {
	case events.RegistryCreated:
		s.registry = Registry{ID: d.RegistryID, Level: d.Level, CreatedAt: fromMilli(c.at)}
		s.firstSigningKey(c, d)
	case events.RegistrySigningKeyChanged:
		s.signingKeyChanged(c, d)
	case events.ModelRegistered:
		s.modelRegistered(c, d)
	case events.ModelDescribed:
		s.modelDescribed(c, d)
	case events.ModelRenamed:
		s.modelRenamed(c, d)
	case events.ModelLifecycleChanged:
		s.modelLifecycleChanged(c, d)
	case events.ModelDeleted:
		s.modelDeleted(c, d)
	case events.VersionRegistered:
		s.versionRegistered(c, d, registration)
	case events.VersionPromoted:
		s.versionMoved(c, events.Transition(d))
	case events.VersionDemoted:
		s.versionMoved(c, events.Transition(d))
	case events.VersionArchived:
		s.versionMoved(c, events.Transition(d))
	case events.VersionDescribed:
		s.versionDescribed(c, d)
	case events.VersionDeprecated:
		s.versionDeprecated(c, d)
	case events.VersionRestored:
		s.versionRestored(c, d)
	case events.VersionDeleted:
		s.versionDeleted(c, d)
	case events.AliasAssigned:
		s.aliasAssigned(c, d)
	case events.AliasRemoved:
		s.aliasRemoved(c, d)
	case events.TargetDefined:
		s.targetDefined(c, d)
	case events.TargetDescribed:
		s.targetDescribed(c, d)
	case events.TargetRemoved:
		s.targetRemoved(c, d)
	case events.DeploymentDeployed:
		s.deploymentDeployed(c, d)
	case events.DeploymentRolledBack:
		s.deploymentRolledBack(c, d)
	case events.DeploymentWithdrawn:
		s.deploymentWithdrawn(c, d)
	case events.LineageReported:
		s.lineageReported(c, d)
	case events.LineageRecorded:
		s.lineageRecorded(c, d)
	case events.DatasetWithdrawn:
		s.datasetWithdrawn(c, d)
	case events.DatasetReinstated:
		s.datasetReinstated(c, d)
	case events.SubscriptionCreated:
		s.subscriptionCreated(c, d)
	case events.SubscriptionChanged:
		s.subscriptionChanged(c, d)
	case events.SubscriptionPaused:
		s.subscriptionPaused(c, d)
	case events.SubscriptionResumed:
		s.subscriptionResumed(c, d)
	case events.SubscriptionDisabled:
		s.subscriptionDisabled(c, d)
	case events.SubscriptionSecretRotated:
		s.subscriptionSecretRotated(c, d)
	case events.SubscriptionDeleted:
		s.subscriptionDeleted(c, d)
	}
}

// CutAfter takes back all events after a sequence. None of them may have been
// settled.
func (s *State) CutAfter(sequence uint64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if sequence >= s.applied {
		return
	}
	for _, t := range s.all {
		t.cutAfter(sequence)
	}
	s.updates.cutAfter(sequence)
	s.withdrawn.index.Store(nil)
	s.applied = sequence
	s.recorded = s.recorded[:sequence]
	if sequence == 0 {
		s.registry = Registry{}
	}
}

// Settle says that no event up to a sequence will be cut off any more.
func (s *State) Settle(sequence uint64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, t := range s.all {
		t.settle(sequence)
	}
}

// SequenceAt gives the sequence that a moment resolves to: that of the last
// event recorded at or before it, 0 for a moment before all of them, and never
// one after the limit.
func (s *State) SequenceAt(moment time.Time, limit uint64) uint64 {
	s.lock.RLock()
	defer s.lock.RUnlock()
	milli := moment.UnixMilli()
	n := int(min(limit, uint64(len(s.recorded))))
	return uint64(sort.Search(n, func(i int) bool { return s.recorded[i] > milli }))
}

// At gives the view as of a sequence, which must not be beyond the last event
// applied, and not be cut off while the view is in use.
func (s *State) At(sequence uint64) View { return View{state: s, Sequence: sequence} }

// KeyUse says what an idempotency key was used for.
type KeyUse struct {
	Request  events.Hash     `json:"request"` // of the request's content
	Resource events.Resource `json:"resource"`
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

func compareVersionIDs(a, b events.VersionID) int {
	if c := a.ModelID.Compare(b.ModelID); c != 0 {
		return c
	}
	return a.Version - b.Version
}

// words keeps one copy of texts that come again and again, such as stages and
// principals. The unique package would forget them at the next collection, since
// nobody keeps its handles.
type words map[string]string

func (w words) one(text string) string {
	if kept, ok := w[text]; ok {
		return kept
	}
	kept := strings.Clone(text)
	w[kept] = kept
	return kept
}

func fromMilli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
