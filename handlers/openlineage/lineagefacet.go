package openlineage

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// The lineage facet says which data sets flow into which: that of a run or a job has
// an entry for each that is made, that of a data set what flows into it.

// entity is a node in a lineage facet: what flows into a data set or a job, as a
// whole and into each of its fields.
type entity struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Inputs    []entity `json:"inputs"`
	Fields    map[string]struct {
		Inputs []entity `json:"inputs"`
	} `json:"fields"`
}

// datasetLineage reads what the lineage facet of a data set says flows into it.
func (p *parser) datasetLineage(pointer string, all facets) []DatasetName {
	var f entity
	if !p.facet(all, pointer, "lineage", &f) {
		return nil
	}
	return p.sources(pointer+"/facets/lineage", &f)
}

// sources gives the data sets that flow into an entity or a field of it, each once.
func (p *parser) sources(pointer string, e *entity) (sources []DatasetName) {
	seen := names{}
	take := func(at string, list []entity) {
		for i := range list {
			if name, ok := p.flowing(fmt.Sprintf("%s/inputs/%d", at, i), &list[i]); ok && seen.add(name) {
				sources = append(sources, name)
			}
		}
	}
	take(pointer, e.Inputs)
	for _, field := range slices.Sorted(maps.Keys(e.Fields)) {
		take(string(jsontext.Pointer(pointer+"/fields").AppendToken(field)), e.Fields[field].Inputs)
	}
	return sources
}

// flowing gives the data set that an entity is. A job, which is where data ends or
// begins, is none. What has no type is taken for a data set, since nearly all are.
func (p *parser) flowing(pointer string, e *entity) (DatasetName, bool) {
	name := DatasetName{e.Namespace, e.Name}
	switch kind := strings.ToUpper(e.Type); {
	case kind == "JOB":
		return name, false
	case name.Namespace == "" || name.Name == "" || (kind != "" && kind != "DATASET"):
		p.mark(pointer, RuleFacetUnreadable)
		return name, false
	case kind == "":
		p.mark(pointer, RuleFacetIncomplete)
	}
	return name, true
}

// readLineage takes what the lineage facets say. Data sets that only they name are
// read and made by the run like the others.
func (p *parser) readLineage(w *wireEvent) {
	inputs, outputs := namesOf(p.event.Inputs), namesOf(p.event.Outputs)
	var flows []flow
	note := func(made DatasetName, sources []DatasetName) {
		for _, source := range sources {
			p.event.Inputs = inputs.with(p.event.Inputs, source)
			flows = append(flows, flow{made, source})
		}
	}
	for _, d := range p.event.Outputs {
		note(d.DatasetName, d.Sources)
	}
	entries := func(at string, all facets) {
		for i, e := range p.entries(at, all) {
			pointer := fmt.Sprintf("%s/facets/lineage/lineage/%d", at, i)
			sources := p.sources(pointer, &e)
			if made, ok := p.flowing(pointer, &e); ok {
				p.event.Outputs = outputs.with(p.event.Outputs, made)
				note(made, sources)
				continue
			}
			note(DatasetName{}, sources) // into the job, which reads it
		}
	}
	if w.Run != nil {
		entries("/run", w.Run.Facets)
	}
	if w.Job != nil {
		entries("/job", w.Job.Facets)
	}
	for _, d := range p.event.Inputs { // which others made, of what this run need not read
		for _, source := range d.Sources {
			flows = append(flows, flow{d.DatasetName, source})
		}
	}
	p.derive(flows)
}

// readSources takes what the lineage facet of a data set event's data set says.
func (p *parser) readSources(d *Dataset) {
	for _, source := range d.Sources {
		if source != d.DatasetName {
			p.event.Derived = append(p.event.Derived, Derivation{VersionedName{d.DatasetName, d.Version}, VersionedName{DatasetName: source}})
		}
	}
}

// entries reads the lineage facet of a run or a job.
func (p *parser) entries(at string, all facets) []entity {
	var f struct {
		Lineage []entity `json:"lineage"`
		Entries []entity `json:"entries"` // as drafts of the facet called them
	}
	if !p.facet(all, at, "lineage", &f) {
		return nil
	}
	return slices.Concat(f.Lineage, f.Entries)
}

// flow is from a source into what is made of it.
type flow struct{ made, source DatasetName }

// derive says of which data sets others were made, in the versions that the event
// names them with. One that is made of itself says nothing.
func (p *parser) derive(flows []flow) {
	made, read := versionsIn(p.event.Outputs), versionsIn(p.event.Inputs)
	seen := map[flow]bool{}
	for _, f := range flows {
		if f.made == (DatasetName{}) || f.made == f.source || seen[f] {
			continue
		}
		seen[f] = true
		p.event.Derived = append(p.event.Derived, Derivation{
			Dataset: VersionedName{f.made, made[f.made]}, From: VersionedName{f.source, read[f.source]},
		})
	}
}

// versionsIn gives the versions of data sets; none for those with several.
func versionsIn(all []Dataset) map[DatasetName]string {
	versions := make(map[DatasetName]string, len(all))
	for _, d := range all {
		if _, before := versions[d.DatasetName]; before {
			versions[d.DatasetName] = ""
			continue
		}
		versions[d.DatasetName] = d.Version
	}
	return versions
}

// names are those of a list of data sets.
type names map[DatasetName]bool

func namesOf(all []Dataset) names {
	known := names{}
	for _, d := range all {
		known[d.DatasetName] = true
	}
	return known
}

// add says whether a name is new.
func (known names) add(name DatasetName) bool {
	before := known[name]
	known[name] = true
	return !before
}

// with gives the list with a data set, unless it is there already.
func (known names) with(all []Dataset, name DatasetName) []Dataset {
	if !known.add(name) {
		return all
	}
	return append(all, Dataset{DatasetName: name})
}
