package openlineage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// facets are what an event says of a run, a job or a data set, by name, most of
// it unread.
type facets map[string]jsontext.Value

// base is what every facet has. A facet that is deleted takes back what an earlier
// event said.
type base struct {
	Producer  string `json:"_producer"`
	SchemaURL string `json:"_schemaURL"`
	Deleted   bool   `json:"_deleted"`
}

// facet reads one facet into value, and says whether it is there to be used. One
// that can't be read is marked: it belongs to somebody else's schema, which may
// have changed, and what the event says beside it stands.
func (p *parser) facet(all facets, at, name string, value any) bool {
	raw, ok := all[name]
	if !ok || raw.Kind() == jsontext.KindNull {
		return false
	}
	pointer := at + "/facets/" + name
	var b base
	if json.Unmarshal(raw, &b) != nil || json.Unmarshal(raw, value) != nil {
		p.mark(pointer, RuleFacetUnreadable)
		return false
	}
	if b.Producer == "" || b.SchemaURL == "" {
		p.mark(pointer, RuleFacetIncomplete)
	}
	return !b.Deleted
}

type wireRunOfJob struct {
	Run struct {
		RunID string `json:"runId"`
	} `json:"run"`
	Job struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"job"`
}

// parent reads the parent facet, also by the name that it had in old clients.
func (p *parser) parent(all facets) *Parent {
	var f struct {
		wireRunOfJob
		Root *wireRunOfJob `json:"root"`
	}
	name := "parent"
	if _, ok := all[name]; !ok {
		name = "parentRun"
	}
	if !p.facet(all, "/run", name, &f) {
		return nil
	}
	pointer := "/run/facets/" + name
	if f.Run.RunID == "" {
		p.mark(pointer, RuleFacetUnreadable)
		return nil
	}
	p.runID(pointer+"/run/runId", f.Run.RunID)
	parent := &Parent{RunID: f.Run.RunID, Job: Job(f.Job)}
	if f.Root != nil && f.Root.Run.RunID != "" {
		p.runID(pointer+"/root/run/runId", f.Root.Run.RunID)
		parent.Root = &Root{f.Root.Run.RunID, Job(f.Root.Job)}
	}
	return parent
}

// code reads where the job's source code is. The commit is a version or, failing
// that, a tag; a branch moves on, and says nothing about what was run.
func (p *parser) code(all facets) *Code {
	var f struct {
		URL     string `json:"url"`
		RepoURL string `json:"repoUrl"`
		Version string `json:"version"`
		Tag     string `json:"tag"`
	}
	if !p.facet(all, "/job", "sourceCodeLocation", &f) {
		return nil
	}
	c := &Code{cmp.Or(f.RepoURL, f.URL), cmp.Or(f.Version, f.Tag)}
	if c.Repository == "" {
		return nil
	}
	return c
}

// datasets reads the data sets of a list, each once: a second mention adds what
// the first doesn't say.
func (p *parser) datasets(pointer string, list []wireDataset) []Dataset {
	all := make([]Dataset, 0, len(list))
	places := make(map[VersionedName]int, len(list))
	for i := range list {
		d := p.dataset(fmt.Sprintf("%s/%d", pointer, i), &list[i])
		key := VersionedName{d.DatasetName, d.Version}
		if at, ok := places[key]; ok {
			all[at].add(d)
			continue
		}
		places[key] = len(all)
		all = append(all, d)
	}
	return all
}

func (d *Dataset) add(o Dataset) {
	for _, s := range o.Symlinks {
		if !slices.Contains(d.Symlinks, s) {
			d.Symlinks = append(d.Symlinks, s)
		}
	}
	for _, s := range o.Sources {
		if !slices.Contains(d.Sources, s) {
			d.Sources = append(d.Sources, s)
		}
	}
	if d.Lifecycle == "" {
		d.Lifecycle, d.Previous = o.Lifecycle, o.Previous
	}
}

func (p *parser) dataset(pointer string, w *wireDataset) Dataset {
	p.named(pointer, w.Namespace, w.Name)
	d := Dataset{DatasetName: DatasetName{w.Namespace, w.Name}}
	if len(w.Facets) == 0 {
		return d
	}
	d.Version = p.datasetVersion(pointer, w.Facets)
	d.Symlinks = p.symlinks(pointer, w.Facets, d.DatasetName)
	p.lifecycle(pointer, w.Facets, &d)
	d.Sources = p.datasetLineage(pointer, w.Facets)
	for _, name := range slices.Sorted(maps.Keys(w.Facets)) {
		var b base
		if json.Unmarshal(w.Facets[name], &b) == nil && b.Deleted {
			d.Deleted = append(d.Deleted, name)
		}
	}
	return d
}

// datasetVersion reads the version facet, of which some producers make a number.
func (p *parser) datasetVersion(pointer string, all facets) string {
	var f struct {
		Version jsontext.Value `json:"datasetVersion"`
	}
	if !p.facet(all, pointer, "version", &f) {
		return ""
	}
	switch f.Version.Kind() {
	case jsontext.KindString:
		text, _ := jsontext.AppendUnquote(nil, f.Version) // it was parsed before
		return string(text)
	case jsontext.KindNumber:
		p.mark(pointer+"/facets/version/datasetVersion", RuleFacetUnreadable)
		return string(f.Version)
	default:
		p.mark(pointer+"/facets/version/datasetVersion", RuleFacetUnreadable)
		return ""
	}
}

// symlinks reads the other names of a data set. One that is incomplete, or the
// name that it has anyway, says nothing.
func (p *parser) symlinks(pointer string, all facets, own DatasetName) []DatasetName {
	var f struct {
		Identifiers []struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"identifiers"`
	}
	if !p.facet(all, pointer, "symlinks", &f) {
		return nil
	}
	var names []DatasetName
	for i, id := range f.Identifiers {
		name := DatasetName(id)
		switch {
		case name.Namespace == "" || name.Name == "":
			p.mark(fmt.Sprintf("%s/facets/symlinks/identifiers/%d", pointer, i), RuleFacetUnreadable)
		case name != own && !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	return names
}

func (p *parser) lifecycle(pointer string, all facets, d *Dataset) {
	var f struct {
		Change   string `json:"lifecycleStateChange"`
		Previous *struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"previousIdentifier"`
	}
	if !p.facet(all, pointer, "lifecycleStateChange", &f) {
		return
	}
	d.Lifecycle = strings.ToUpper(f.Change)
	if f.Previous != nil && f.Previous.Namespace != "" && f.Previous.Name != "" {
		previous := DatasetName(*f.Previous)
		d.Previous = &previous
	}
}
