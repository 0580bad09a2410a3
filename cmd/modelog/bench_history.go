package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/events/natslog"
	"github.com/oklog/ulid/v2"
)

// What a benched history tells of: each version has the life of a version that
// does well, in ten events.
const (
	versionsPerModel = 100
	eventsPerModel   = 2 + 10*versionsPerModel - 3 // the first version replaces none
)

func benchHistoryModel(number int) string { return fmt.Sprintf("bench-%06d", number) }

// benchHistory tells a history of about as many events as asked for, as a
// registry with benched registrations would have it.
type benchHistory struct {
	next uint64 // sequence of the next event
	ids  uint64
	took int // versions told of
}

// writeHistory puts a history on a new log, each group durable.
func writeHistory(ctx context.Context, dir string, told iter.Seq[events.Event]) (err error) {
	log, err := openLog(ctx, natslog.Config{Dir: dir, Reserve: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	group := make([]events.Encoded, 0, events.MaxGroupEvents)
	var last uint64
	for e := range told {
		if len(group) == events.MaxGroupEvents {
			if err := log.Append(ctx, last, group); err != nil {
				return err
			}
			last, group = e.Sequence-1, group[:0]
		}
		encoded, err := events.Encode(e)
		if err != nil {
			return err
		}
		group = append(group, encoded)
	}
	return log.Append(ctx, last, group)
}

// tell yields the first n events of the history.
func (h *benchHistory) tell(n int) iter.Seq[events.Event] {
	return func(yield func(events.Event) bool) {
		record, ok := h.begin(n, yield)
		for model := 0; ok; model++ { // until the events are used up
			ok = h.tellModel(model, record)
		}
	}
}

// begin tells of the registry's creation, and gives what tells of more, until n
// events are told.
func (h *benchHistory) begin(n int, yield func(events.Event) bool) (record func(subject string, d events.Data) bool, ok bool) {
	registry := h.id()
	left := n
	record = func(subject string, d events.Data) bool {
		if left--; left < 0 {
			return false
		}
		h.next++
		return yield(events.Event{
			Sequence: h.next, ID: h.id(), Registry: registry, Subject: subject, Principal: benchPrincipal(h.next), CorrelationID: h.id().String(),
			Time: benchMoment(h.next), Data: d,
		})
	}
	return record, record("registry", events.RegistryCreated{RegistryID: registry, Level: events.Level})
}

// tellVersions yields registrations alone: of a model with so many versions.
func (h *benchHistory) tellVersions(versions map[string]int) iter.Seq[events.Event] {
	return func(yield func(events.Event) bool) {
		record, ok := h.begin(math.MaxInt, yield)
		for _, name := range slices.Sorted(maps.Keys(versions)) {
			model := h.id()
			ok = ok && record("models/"+name, events.ModelRegistered{ModelID: model, Name: name})
			for n := 1; ok && n <= versions[name]; n++ {
				ok = record(fmt.Sprintf("models/%s/versions/%d", name, n), h.registered(model, n))
			}
		}
	}
}

func (h *benchHistory) registered(model ulid.ULID, n int) events.VersionRegistered {
	h.took++
	s := benchSpec(h.took)
	return events.VersionRegistered{
		ModelID: model, Version: n, Semver: fmt.Sprintf("1.%d.0", n), Source: s.Source, Format: s.Format, Artifacts: s.Artifacts, RunID: s.RunID,
		Code: s.Code, Datasets: s.Datasets, Parameters: s.Parameters, Metrics: s.Metrics, Tags: s.Tags, Description: events.Plain(s.Description),
	}
}

const benchEpoch = 1_700_000_000_000 // milliseconds since 1970

// benchMoment is when an event of a history was recorded.
func benchMoment(sequence uint64) time.Time {
	return time.UnixMilli(benchEpoch + int64(sequence)*1000).UTC() //nolint:gosec // fits
}

const benchPrincipals = 97 // people whose doing a history is

// benchPrincipal is who did it.
func benchPrincipal(sequence uint64) string {
	return fmt.Sprintf("prn_bench%02d", sequence%benchPrincipals)
}

func (h *benchHistory) id() (id ulid.ULID) {
	h.ids++
	_ = id.SetTime(benchEpoch)
	binary.BigEndian.PutUint64(id[8:], h.ids)
	return id
}

func (h *benchHistory) tellModel(number int, record func(string, events.Data) bool) bool {
	model, target, name := h.id(), h.id(), benchHistoryModel(number)
	ok := record("models/"+name, events.ModelRegistered{ModelID: model, Name: name}) &&
		record("targets/prod/"+name, events.TargetDefined{TargetID: target, Environment: "prod", Name: name})
	for version := 1; ok && version <= versionsPerModel; version++ {
		ok = h.tellVersion(model, target, name, version, record)
	}
	return ok
}

func (h *benchHistory) tellVersion(model, target ulid.ULID, name string, n int, record func(string, events.Data) bool) bool {
	at := fmt.Sprintf("models/%s/versions/%d", name, n)
	before := n - 1
	promoted := events.VersionPromoted{ModelID: model, Version: n, From: "Staging", To: "Production", Reason: events.Plain("AUC +0.02")}
	if before > 0 {
		promoted.Displaced = []events.Range{{before, before}}
	}
	deployed := func(version int) events.DeploymentDeployed {
		return events.DeploymentDeployed{TargetID: target, Strategy: events.AllAtOnce, Variants: []events.Variant{
			{ModelID: model, Version: version, Role: events.RoleChampion, Weight: events.FullWeight},
		}}
	}
	ok := record(at, h.registered(model, n)) &&
		record(at, events.VersionDescribed{ModelID: model, Version: n, Tags: map[string]string{"evaluated": "yes"}}) &&
		record(at, events.VersionPromoted{ModelID: model, Version: n, From: "None", To: "Staging"}) &&
		record(at+"/aliases", events.AliasAssigned{ModelID: model, Alias: "challenger", From: before, To: n}) &&
		record(at, promoted) &&
		record(at+"/aliases", events.AliasAssigned{ModelID: model, Alias: benchAlias, From: before, To: n}) &&
		record("targets/prod/"+name, deployed(n))
	if !ok || before == 0 {
		return ok
	}
	generation := h.next
	return record("targets/prod/"+name, events.DeploymentRolledBack{
		TargetID: target, From: generation, To: generation - 1, Strategy: events.AllAtOnce, Variants: deployed(before).Variants,
	}) &&
		record("targets/prod/"+name, deployed(n)) &&
		record(fmt.Sprintf("models/%s/versions/%d", name, before), events.VersionDeprecated{
			ModelID: model, Version: before, Reason: events.Plain("a better one is there"), Replacement: &events.VersionID{ModelID: model, Version: n},
		})
}
