package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
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

// write puts the history on a new log, each group durable.
func (h *benchHistory) write(ctx context.Context, dir string, n int, progress func(done uint64)) (err error) {
	log, err := openLog(ctx, natslog.Config{Dir: dir, Reserve: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	group := make([]events.Encoded, 0, events.MaxGroupEvents)
	var last uint64
	for e := range h.tell(n) {
		encoded, err := events.Encode(e)
		if err != nil {
			return err
		}
		if group = append(group, encoded); len(group) < events.MaxGroupEvents && e.Sequence < uint64(n) {
			continue
		}
		if err := log.Append(ctx, last, group); err != nil {
			return err
		}
		last, group = e.Sequence, group[:0]
		progress(last)
	}
	return nil
}

// tell yields the first n events of the history.
func (h *benchHistory) tell(n int) iter.Seq[events.Event] {
	return func(yield func(events.Event) bool) {
		registry := h.id()
		left := n
		record := func(subject string, d events.Data) bool {
			if left--; left < 0 {
				return false
			}
			h.next++
			return yield(events.Event{
				Sequence: h.next, ID: h.id(), Registry: registry, Subject: subject, Principal: "prn_bench", CorrelationID: h.id().String(),
				Time: time.UnixMilli(benchEpoch + int64(h.next)*1000).UTC(), Data: d,
			})
		}
		if !record("registry", events.RegistryCreated{RegistryID: registry, Level: events.Level}) {
			return
		}
		for model := 0; h.tellModel(model, record); model++ { //nolint:revive // until the events are used up
		}
	}
}

const benchEpoch = 1_700_000_000_000 // milliseconds since 1970

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
	h.took++
	s := benchSpec(h.took)
	at := fmt.Sprintf("models/%s/versions/%d", name, n)
	before := n - 1
	registered := events.VersionRegistered{
		ModelID: model, Version: n, Semver: fmt.Sprintf("1.%d.0", n), Source: s.Source, Format: s.Format, Artifacts: s.Artifacts, RunID: s.RunID,
		Code: s.Code, Datasets: s.Datasets, Parameters: s.Parameters, Metrics: s.Metrics, Tags: s.Tags, Description: events.Plain(s.Description),
	}
	promoted := events.VersionPromoted{ModelID: model, Version: n, From: "Staging", To: "Production", Reason: events.Plain("AUC +0.02")}
	if before > 0 {
		promoted.Displaced = []events.Range{{before, before}}
	}
	deployed := func(version int) events.DeploymentDeployed {
		return events.DeploymentDeployed{TargetID: target, Strategy: events.AllAtOnce, Variants: []events.Variant{
			{ModelID: model, Version: version, Role: events.RoleChampion, Weight: events.FullWeight},
		}}
	}
	ok := record(at, registered) &&
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
