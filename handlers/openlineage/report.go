package openlineage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
)

// command makes the command that keeps an event. It is the same for the same bytes,
// whenever they come.
func command(e Event) *handlers.ReportLineage {
	r := handlers.LineageReport{
		Format: events.OpenLineage, RunID: e.RunID, Job: events.Job(e.Job), State: string(e.State),
		Inputs: versions(e.Inputs), Outputs: versions(e.Outputs), Raw: e.Raw,
	}
	switch e.Kind {
	case KindJob:
		r.RunID, r.State = designRun(e.Job), string(StateOther)
	case KindDataset:
		r.Outputs = versions([]Dataset{*e.Dataset})
		r.Same = same(nil, []Dataset{*e.Dataset})
	default:
	}
	r.Same = same(same(r.Same, e.Inputs), e.Outputs)
	if e.Kind != KindRun || e.State == StateComplete {
		r.Derived = derived(e.Derived)
	}
	if e.Parent != nil {
		r.ParentRun = e.Parent.RunID
	}
	if e.Code != nil {
		r.Code = &events.Code{Repository: e.Code.Repository, Commit: e.Code.Commit}
	}
	for _, m := range e.Marks {
		if m.Rule != RuleTimeAhead { // which depends on when it came
			r.Marks = append(r.Marks, m.Rule+" "+m.Pointer)
		}
	}
	return &handlers.ReportLineage{Report: r}
}

// same adds the other names that data sets have, and those that they had before.
func same(all []events.SameDataset, of []Dataset) []events.SameDataset {
	for _, d := range of {
		others := d.Symlinks
		if d.Previous != nil {
			others = append(slices.Clip(others), *d.Previous)
		}
		for _, o := range others {
			pair := events.SameDataset{Dataset: events.DatasetName(d.DatasetName), Also: events.DatasetName(o)}
			if pair.Dataset != pair.Also && !slices.Contains(all, pair) {
				all = append(all, pair)
			}
		}
	}
	return all
}

// designRun gives the run that stands for what a job does whenever it runs, as a
// job event tells it before there is a run.
func designRun(j Job) string {
	sum := sha256.Sum256([]byte(j.Namespace + "\n" + j.Name))
	return "design-" + hex.EncodeToString(sum[:16])
}

func versions(all []Dataset) []events.DatasetVersion {
	list := make([]events.DatasetVersion, len(all))
	for i, d := range all {
		list[i] = version(VersionedName{d.DatasetName, d.Version})
	}
	return list
}

func version(d VersionedName) events.DatasetVersion {
	if digestPattern.MatchString(d.Version) {
		return events.DatasetVersion{Namespace: d.Namespace, Name: d.Name, Digest: d.Version}
	}
	return events.DatasetVersion{Namespace: d.Namespace, Name: d.Name, Version: d.Version}
}

// derived gives what was made of what. Of a run it holds only once the run is
// complete: of one that fails later nothing comes, and until then, as after it, what
// the run reads and makes says all of it but which came of which.
func derived(all []Derivation) []events.DerivedDataset {
	var list []events.DerivedDataset
	for _, d := range all {
		list = append(list, events.DerivedDataset{Dataset: version(d.Dataset), From: version(d.From)})
	}
	return list
}

// digestPattern is that of versions which say what the data is, not only which.
var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// pointers are the fields of a report in the words of the event.
var pointers = strings.NewReplacer(
	"/run_id", "/run/runId", "/parent_run", "/run/facets/parent/run/runId", "/code", "/job/facets/sourceCodeLocation",
)

// inEvent says of a refused report where in the event the reason lies.
func inEvent(err error) error {
	invalid, ok := errors.AsType[handlers.InvalidError](err)
	if !ok {
		return err
	}
	fields := make([]handlers.FieldError, len(invalid.Fields))
	for i, f := range invalid.Fields {
		f.Pointer = pointers.Replace(f.Pointer)
		fields[i] = f
	}
	return handlers.InvalidError{Fields: fields}
}
