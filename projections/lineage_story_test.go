package projections_test

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// worldLineage is what a history tells of lineage, kept the plainest way: all that
// was said, in lists, and every question answered by trying everything.
type worldLineage struct {
	nodes      []events.LineageNode // that were ever spoken of
	edges      []worldEdge
	reports    []worldReport
	registered map[events.VersionID]worldSource
	withdrawn  map[events.DatasetVersion]uint64
}

type worldEdge struct {
	events.LineageEdge
	reported bool
}

type worldReport struct {
	events.LineageReported
	at time.Time
}

// worldSource is what was said of a version when it was registered.
type worldSource struct{ name, source string }

func (l *worldLineage) happen(w *world, e events.Event) {
	switch d := any(e.Data).(type) { // the world knows every kind
	case events.VersionRegistered:
		l.register(w, d)
	case events.LineageReported:
		l.report(w, e, d)
	case events.LineageRecorded:
		for _, edge := range d.Edges {
			l.add(w, edge, false)
		}
	case events.DatasetWithdrawn:
		if l.withdrawn == nil {
			l.withdrawn = map[events.DatasetVersion]uint64{}
		}
		l.speakOf(w, d.Dataset.Node())
		l.withdrawn[d.Dataset] = e.Sequence
	case events.DatasetReinstated:
		delete(l.withdrawn, d.Dataset)
	default:
	}
}

func (l *worldLineage) register(w *world, d events.VersionRegistered) {
	id := events.VersionID{ModelID: d.ModelID, Version: d.Version}
	if l.registered == nil {
		l.registered = map[events.VersionID]worldSource{}
	}
	l.registered[id] = worldSource{w.model(d.ModelID).name, d.Source}
	edge := func(to events.LineageNode, kind events.LineageType, role string) {
		l.add(w, events.LineageEdge{From: id.Node(), To: to, Type: kind, Role: role}, false)
	}
	if d.RunID != "" {
		edge(runOf(d.RunID), events.WasGeneratedBy, "")
	}
	for _, set := range d.Datasets {
		edge(events.DatasetVersion{Name: set.Name, Digest: set.Digest}.Node(), events.WasDerivedFrom, set.Role)
	}
	if d.BaseModel != nil {
		edge(d.BaseModel.Node(), events.WasDerivedFrom, "")
	}
	if d.Code != nil {
		edge(codeOf(d.Code), events.WasDerivedFrom, "")
	}
	for _, a := range d.Artifacts {
		edge(events.LineageNode{Kind: events.ArtifactNode, Digest: "sha256:" + a.SHA256}, events.HadMember, "")
	}
	l.speakOf(w, id.Node())
	for _, n := range slices.Clone(l.nodes) {
		l.same(w, n, id, w.model(d.ModelID).name)
	}
}

func (l *worldLineage) report(w *world, e events.Event, d events.LineageReported) {
	for _, same := range d.Same {
		a, b := same.Dataset.All().Node(), same.Also.All().Node()
		l.speakOf(w, a)
		if a != b {
			l.add(w, events.LineageEdge{From: a, To: b, Type: events.AlternateOf}, false)
			l.add(w, events.LineageEdge{From: b, To: a, Type: events.AlternateOf}, false)
		}
	}
	for _, derived := range d.Derived {
		made, from := derived.Dataset.Node(), derived.From.Node()
		l.speakOf(w, made)
		l.speakOf(w, from)
		if made != from {
			l.add(w, events.LineageEdge{From: made, To: from, Type: events.WasDerivedFrom}, false)
		}
	}
	if d.RunID == "" {
		for _, out := range d.Outputs {
			l.speakOf(w, out.Node())
		}
		return
	}
	l.reports = append(l.reports, worldReport{d, at(e)})
	run := runOf(d.RunID)
	edge := func(from, to events.LineageNode, kind events.LineageType) {
		l.add(w, events.LineageEdge{From: from, To: to, Type: kind}, true)
	}
	edge(run, events.LineageNode{Kind: events.JobNode, Namespace: d.Job.Namespace, Name: d.Job.Name}, events.WasAssociatedWith)
	if d.ParentRun != "" && runOf(d.ParentRun) != run {
		edge(run, runOf(d.ParentRun), events.WasInformedBy)
	}
	if d.Code != nil {
		edge(run, codeOf(d.Code), events.Used)
	}
	for _, in := range d.Inputs {
		edge(run, in.Node(), events.Used)
	}
	for _, out := range d.Outputs {
		edge(out.Node(), run, events.WasGeneratedBy)
	}
}

// runOf gives the node of a run, whose id is the same with dashes and without.
func runOf(id string) events.LineageNode {
	if len(id) == 32 {
		id = id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
	}
	return events.LineageNode{Kind: events.RunNode, Name: id}
}

func codeOf(c *events.Code) events.LineageNode {
	return events.LineageNode{Kind: events.CodeNode, Name: c.Repository, Version: c.Commit}
}

func (l *worldLineage) add(w *world, e events.LineageEdge, reported bool) {
	l.speakOf(w, e.From)
	l.speakOf(w, e.To)
	if edge := (worldEdge{e, reported}); !slices.Contains(l.edges, edge) {
		l.edges = append(l.edges, edge)
	}
}

// speakOf notes a node, and the data set of which it is a version.
func (l *worldLineage) speakOf(w *world, n events.LineageNode) {
	if n.Kind == events.DatasetVersionNode {
		l.speakOf(w, events.DatasetVersion{Namespace: n.Namespace, Name: n.Name}.Node())
	}
	if slices.Contains(l.nodes, n) {
		return
	}
	l.nodes = append(l.nodes, n)
	for id := range l.registered {
		name := ""
		if m := w.model(id.ModelID); !m.gone {
			name = m.name
		}
		l.same(w, n, id, name)
	}
}

// same joins a model version with a data set that is it, by where its files are, or
// in a model registry by its name at that moment.
func (l *worldLineage) same(w *world, n events.LineageNode, id events.VersionID, name string) {
	located := n.Kind == events.DatasetNode && strings.Contains(n.Namespace, "://") && !strings.HasPrefix(n.Namespace, "modelregistry:") &&
		n.Namespace+"/"+n.Name == l.registered[id].source
	registered := n.Kind == events.DatasetVersionNode && strings.HasPrefix(n.Namespace, "modelregistry://") && n.Name == name &&
		n.Version == strconv.Itoa(id.Version)
	if located || registered {
		l.add(w, events.LineageEdge{From: n, To: id.Node(), Type: events.AlternateOf}, false)
		l.add(w, events.LineageEdge{From: id.Node(), To: n, Type: events.AlternateOf}, false)
	}
}

// holds says whether an edge does: what runs said last counts.
func (l *worldLineage) holds(e worldEdge) bool {
	last := func(run events.LineageNode, says func(worldReport) bool, before func(a, b worldReport) bool) (found worldReport, ok bool) {
		for _, r := range l.reports {
			if runOf(r.RunID) == run && says(r) && (!ok || before(found, r)) {
				found, ok = r, true
			}
		}
		return found, ok
	}
	switch {
	case !e.reported:
		return true
	case e.Type == events.WasGeneratedBy:
		r, ok := last(e.To, func(worldReport) bool { return true }, func(a, b worldReport) bool {
			return slices.Compare(prevailing(a), prevailing(b)) < 0
		})
		return !ok || (r.State != events.RunFail && r.State != events.RunAbort)
	case e.Type == events.Used && e.To.Kind == events.CodeNode:
		r, _ := last(e.From, func(r worldReport) bool { return r.Code != nil }, func(a, b worldReport) bool {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.Code.Repository, b.Code.Repository), cmp.Compare(a.Code.Commit, b.Code.Commit)) < 0
		})
		return codeOf(r.Code) == e.To
	case e.Type == events.WasInformedBy:
		r, _ := last(e.From, func(r worldReport) bool { return r.ParentRun != "" && runOf(r.ParentRun) != runOf(r.RunID) }, func(a, b worldReport) bool {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.ParentRun, b.ParentRun)) < 0
		})
		return runOf(r.ParentRun) == e.To
	default:
		return true
	}
}

// prevailing orders what is said of a run's state: how final it is, when it was,
// and what it is.
func prevailing(r worldReport) []int64 {
	order := []string{events.RunOther, events.RunStart, events.RunRunning, events.RunComplete, events.RunAbort, events.RunFail}
	state := slices.Index(order, r.State)
	class := []int64{0, 1, 1, 2, 2, 2}[state]
	return []int64{class, r.at.UnixMilli(), int64(state)}
}

// there says whether a node is: a data set version that only failed runs would have
// made isn't.
func (l *worldLineage) there(n events.LineageNode) bool {
	if n.Kind != events.DatasetVersionNode {
		return slices.Contains(l.nodes, n)
	}
	spoken := false
	for _, e := range l.edges {
		if e.From == n || e.To == n {
			if l.holds(e) {
				return true
			}
			spoken = true
		}
	}
	return !spoken && slices.Contains(l.nodes, n)
}

// alike says how sure it is that two names are of the same data.
func alike(a, b events.LineageNode) (projections.Certainty, bool) {
	if a.Digest != "" && a.Digest == b.Digest {
		return projections.ExactDigest, true
	}
	dataset := func(n events.LineageNode) bool {
		return n.Kind == events.DatasetNode || n.Kind == events.DatasetVersionNode
	}
	if !dataset(a) || !dataset(b) || a.Name != b.Name || (a.Namespace != "" && b.Namespace != "" && a.Namespace != b.Namespace) {
		return 0, false
	}
	if a.Version != "" && a.Version == b.Version {
		return projections.SameVersion, true
	}
	differ := a.Version != "" && b.Version != ""
	makingA, _, _ := strings.Cut(a.Digest, ":")
	makingB, _, _ := strings.Cut(b.Digest, ":")
	differ = differ || (a.Digest != "" && b.Digest != "" && makingA == makingB)
	return projections.SameName, !differ
}

// place is a node and whether it was reached as the same thing as another, by less
// than a digest.
type place struct {
	node     events.LineageNode
	identity bool
}

// reach gives all that can be reached from some places, with the best certainty of
// each, by trying every step again and again until nothing changes.
func (l *worldLineage) reach(reached map[place]projections.Certainty, down bool) map[place]projections.Certainty {
	take := func(p place, c projections.Certainty) bool {
		if old, ok := reached[p]; ok && old <= c {
			return false
		}
		reached[p] = c
		return true
	}
	for changed := true; changed; {
		changed = false
		for p, c := range maps.Clone(reached) {
			for _, e := range l.edges {
				from, to := e.To, e.From
				if !down {
					from, to = e.From, e.To
				}
				if from != p.node || !l.holds(e) {
					continue
				}
				certainty := c
				if e.Type == events.AlternateOf {
					certainty = max(certainty, projections.SameVersion)
				}
				if to.Kind == events.DatasetNode {
					certainty = projections.SameName
				}
				changed = take(place{to, false}, certainty) || changed
			}
			for _, n := range l.nodes {
				certainty, same := alike(p.node, n)
				if n == p.node || !same || !l.there(n) || (p.identity && certainty != projections.ExactDigest) {
					continue
				}
				changed = take(place{n, p.identity || certainty != projections.ExactDigest}, max(c, certainty)) || changed
			}
		}
	}
	return reached
}

// impact gives what came of a data set, and how sure that is.
func (l *worldLineage) impact(d events.DatasetVersion) map[events.LineageNode]projections.Certainty {
	begin := map[place]projections.Certainty{}
	for _, n := range l.nodes {
		if certainty, same := alike(d.Node(), n); same && l.there(n) {
			begin[place{n, certainty != projections.ExactDigest}] = certainty
		}
	}
	return best(l.reach(begin, true))
}

func best(reached map[place]projections.Certainty) map[events.LineageNode]projections.Certainty {
	found := map[events.LineageNode]projections.Certainty{}
	for p, c := range reached {
		if old, ok := found[p.node]; !ok || c < old {
			found[p.node] = c
		}
	}
	return found
}

// withdrawnUnder gives the withdrawn data that a version comes from: that which has
// it in its impact.
func (l *worldLineage) withdrawnUnder(id events.VersionID) (found []projections.WithdrawnData) {
	for d, sequence := range l.withdrawn {
		if certainty, ok := l.impact(d)[id.Node()]; ok {
			found = append(found, projections.WithdrawnData{Dataset: d, Sequence: sequence, Certainty: certainty})
		}
	}
	slices.SortFunc(found, func(a, b projections.WithdrawnData) int {
		return cmp.Or(cmp.Compare(a.Dataset.Namespace, b.Dataset.Namespace), cmp.Compare(a.Dataset.Name, b.Dataset.Name),
			cmp.Compare(a.Dataset.Version, b.Dataset.Version), cmp.Compare(a.Dataset.Digest, b.Dataset.Digest))
	})
	return found
}

// shownLineage is what can be asked of lineage.
type shownLineage struct {
	Datasets  []events.DatasetName // by namespace and name
	Withdrawn map[events.DatasetVersion]uint64
	Impact    map[events.DatasetVersion]map[events.LineageNode]projections.Certainty
	Upstream  map[events.LineageNode]map[events.LineageNode]projections.Certainty
}

func (l *worldLineage) show() shownLineage {
	s := shownLineage{
		Withdrawn: map[events.DatasetVersion]uint64{}, Impact: map[events.DatasetVersion]map[events.LineageNode]projections.Certainty{},
		Upstream: map[events.LineageNode]map[events.LineageNode]projections.Certainty{},
	}
	for _, n := range l.nodes {
		if n.Kind == events.DatasetNode {
			s.Datasets = append(s.Datasets, n.Dataset().DatasetName())
		}
	}
	slices.SortFunc(s.Datasets, func(a, b events.DatasetName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	maps.Copy(s.Withdrawn, l.withdrawn)
	for _, d := range someDatasets {
		if impact := l.impact(d); len(impact) > 0 {
			s.Impact[d] = impact
		}
	}
	for _, n := range someStarts {
		if slices.Contains(l.nodes, n) && l.there(n) {
			s.Upstream[n] = best(l.reach(map[place]projections.Certainty{{n, false}: 0}, false))
		}
	}
	return s
}

// someStarts are nodes from which stories are walked up.
var someStarts = []events.LineageNode{
	runOf(someRuns[1]), runOf(someRuns[2]), {Kind: events.FeatureNode, Namespace: "feast", Name: "f"}, someDatasets[2].Node(), someDatasets[0].Node(),
}

func showLineage(v projections.View) shownLineage {
	s := shownLineage{
		Datasets: slices.Collect(v.Datasets(events.DatasetName{})), Withdrawn: map[events.DatasetVersion]uint64{},
		Impact:   map[events.DatasetVersion]map[events.LineageNode]projections.Certainty{},
		Upstream: map[events.LineageNode]map[events.LineageNode]projections.Certainty{},
	}
	for _, name := range s.Datasets {
		for d := range v.Withdrawals(name) {
			_, s.Withdrawn[d], _ = v.Withdrawal(d)
		}
	}
	for _, d := range someDatasets {
		impact := v.Impact(d)
		if impact.Len() > 0 {
			s.Impact[d] = map[events.LineageNode]projections.Certainty{}
		}
		for i := range impact.Len() {
			f := impact.At(i)
			s.Impact[d][f.LineageNode] = f.Certainty
		}
	}
	for _, n := range someStarts {
		g := v.Lineage(n, projections.LineageQuery{Direction: projections.Upstream})
		if len(g.Nodes) > 0 {
			s.Upstream[n] = map[events.LineageNode]projections.Certainty{}
		}
		for _, f := range g.Nodes {
			s.Upstream[n][f.LineageNode] = f.Certainty
		}
	}
	return s
}

// What the stories' lineage is made of: few names, so that they meet.
var (
	someSums     = []string{"", strings.Repeat("a", 64), strings.Repeat("b", 64)}
	someDatasets = []events.DatasetVersion{
		{Name: "payments"},
		{Name: "payments", Digest: "sha256:" + someSums[1]},
		{Namespace: "s3://lake", Name: "payments", Version: "7"},
		{Namespace: "s3://lake", Name: "payments"},
		{Namespace: "s3://lake", Name: "payments", Digest: "sha256:" + someSums[1]},
		{Namespace: "s3://lake", Name: "payments", Version: "8", Digest: "md5:x"},
		{Namespace: "gs://lake", Name: "payments", Version: "7"},
		{Namespace: "gs://lake", Name: "cleaned", Version: "1"},
		{Name: "cleaned", Digest: "sha256:" + someSums[2]},
		{Namespace: "s3://models", Name: "x"},
		{Namespace: "modelregistry://here", Name: "fraud", Version: "1"},
		{Namespace: "modelregistry://here", Name: "churn", Version: "2"},
	}
	someRuns = []string{"", "b1946ac92492d2347c6235b4d2611184", "b1946ac9-2492-d234-7c62-35b4d2611184", "01890a5d-ac96-774b-bcce-b302099a8057", "b4f1"}
	someCode = []*events.Code{nil, {Repository: "r", Commit: "c"}, {Repository: "r", Commit: "d"}, {Repository: "q", Commit: "d"}}
)

func registeredLineage(t *rapid.T, d events.VersionRegistered) (source, run string, datasets []events.Dataset, artifacts []events.Artifact) {
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(someDatasets)-1), 0, 2, rapid.ID).Draw(t, "data sets") {
		if set := someDatasets[i]; set.Namespace == "" {
			datasets = append(datasets, events.Dataset{Name: set.Name, Digest: set.Digest, Role: rapid.SampledFrom([]string{"", "train", "test"}).Draw(t, "role")})
		}
	}
	if sum := rapid.SampledFrom(someSums).Draw(t, "artifact"); sum != "" {
		artifacts = append(artifacts, events.Artifact{Path: "model.onnx", SHA256: sum, Size: 1})
	}
	source = rapid.SampledFrom([]string{d.Source, "s3://models/y"}).Draw(t, "source")
	return source, rapid.SampledFrom(someRuns).Draw(t, "run"), datasets, artifacts
}

func reportLineage(t *rapid.T, _ *world, _ ulid.ULID) events.Data {
	dataset := rapid.SampledFrom(someDatasets)
	var same []events.SameDataset
	if rapid.IntRange(0, 5).Draw(t, "named twice") == 0 {
		same = append(same, events.SameDataset{Dataset: dataset.Draw(t, "one").DatasetName(), Also: dataset.Draw(t, "other").DatasetName()})
	}
	var derived []events.DerivedDataset
	if rapid.IntRange(0, 5).Draw(t, "derived") == 0 {
		derived = append(derived, events.DerivedDataset{Dataset: dataset.Draw(t, "made"), From: dataset.Draw(t, "of")})
	}
	if rapid.IntRange(0, 9).Draw(t, "of no run") == 0 {
		return events.LineageReported{RegistryID: registryID, Format: events.OpenLineage, Same: same, Derived: derived, Outputs: rapid.SliceOfN(dataset, 1, 2).Draw(t, "outputs")}
	}
	return events.LineageReported{
		Same: same, Derived: derived,
		RegistryID: registryID, Format: events.OpenLineage, RunID: rapid.SampledFrom(someRuns[1:]).Draw(t, "run"),
		ParentRun: rapid.SampledFrom(someRuns).Draw(t, "parent"), Job: events.Job{Namespace: "airflow", Name: rapid.SampledFrom([]string{"clean", "fit"}).Draw(t, "job")},
		State:  rapid.SampledFrom([]string{events.RunStart, events.RunRunning, events.RunComplete, events.RunComplete, events.RunFail, events.RunAbort, events.RunOther}).Draw(t, "state"),
		Inputs: rapid.SliceOfN(dataset, 0, 2).Draw(t, "inputs"), Outputs: rapid.SliceOfN(dataset, 0, 2).Draw(t, "outputs"),
		Code: rapid.SampledFrom(someCode).Draw(t, "code"),
	}
}

// recordEdges draws edges such as the rules allow.
func recordEdges(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	things := []events.LineageNode{
		{Kind: events.FeatureNode, Namespace: "feast", Name: "f"},
		{Kind: events.BaseModelNode, Name: "llama"},
		{Kind: events.ArtifactNode, Name: "s3://models/y/weights"},
		{Kind: events.ArtifactNode, Digest: "sha256:" + someSums[2]},
	}
	for _, d := range someDatasets {
		things = append(things, d.Node())
	}
	if m, n := someVersion(t, w); m != nil {
		things = append(things, events.VersionID{ModelID: m.id, Version: n}.Node())
	}
	d := events.LineageRecorded{RegistryID: registryID, Reason: text(t, "reason")}
	for range rapid.IntRange(1, 3).Draw(t, "edges") {
		e := events.LineageEdge{
			From: rapid.SampledFrom(things).Draw(t, "from"), To: rapid.SampledFrom(things).Draw(t, "to"),
			Type: rapid.SampledFrom([]events.LineageType{events.WasDerivedFrom, events.HadMember}).Draw(t, "type"),
			Role: rapid.SampledFrom([]string{"", "train"}).Draw(t, "role"),
		}
		if e.From != e.To {
			d.Edges = append(d.Edges, e)
		}
	}
	if len(d.Edges) == 0 {
		return nil
	}
	return d
}

func withdrawDataset(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	d := rapid.SampledFrom(someDatasets).Draw(t, "data set")
	if _, already := w.lineage.withdrawn[d]; already {
		return nil
	}
	return events.DatasetWithdrawn{RegistryID: registryID, Dataset: d, Reason: text(t, "reason")}
}

func reinstateDataset(t *rapid.T, w *world, _ ulid.ULID) events.Data {
	for _, d := range someDatasets {
		if _, withdrawn := w.lineage.withdrawn[d]; withdrawn && rapid.Bool().Draw(t, "this one") {
			return events.DatasetReinstated{RegistryID: registryID, Dataset: d, Reason: text(t, "reason")}
		}
	}
	return nil
}
