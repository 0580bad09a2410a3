package projections

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// modelRegistry begins the namespace of data sets that are model versions.
const modelRegistry = "modelregistry://"

// versionLineage takes what a registration says of where a version comes from.
func (s *State) versionLineage(c change, e events.VersionRegistered) {
	l := s.lineage
	version := s.versionNode(c.sequence, e.ModelID, e.Version, e.Source)
	if e.RunID != "" {
		l.edge(c.sequence, version, s.runNode(c.sequence, e.RunID), wasGeneratedBy, "", false)
	}
	for _, d := range e.Datasets {
		n := s.datasetNode(c.sequence, events.DatasetVersion{Name: d.Name, Digest: d.Digest})
		l.edge(c.sequence, version, n, wasDerivedFrom, d.Role, false)
	}
	if e.BaseModel != nil {
		base := s.versionNode(c.sequence, e.BaseModel.ModelID, e.BaseModel.Version, "")
		l.edge(c.sequence, version, base, wasDerivedFrom, "", false)
	}
	if e.Code != nil {
		l.edge(c.sequence, version, s.codeNode(c.sequence, *e.Code), wasDerivedFrom, "", false)
	}
	for i := range e.Artifacts {
		n := s.artifactNode(c.sequence, sha256Prefix+e.Artifacts[i].SHA256, "")
		l.edge(c.sequence, version, n, hadMember, "", false)
	}
	s.knownElsewhere(c, version, e)
}

// lineageReported takes what a run's report says.
func (s *State) lineageReported(c change, e events.LineageReported) {
	l := s.lineage
	for _, same := range e.Same {
		dataset, also := s.datasetNode(c.sequence, same.Dataset.All()), s.datasetNode(c.sequence, same.Also.All())
		s.same(c.sequence, dataset, also)
	}
	for _, d := range e.Derived {
		if dataset, from := s.datasetNode(c.sequence, d.Dataset), s.datasetNode(c.sequence, d.From); dataset != from {
			l.edge(c.sequence, dataset, from, wasDerivedFrom, "", false)
		}
	}
	if e.RunID == "" {
		for _, d := range e.Outputs {
			s.datasetNode(c.sequence, d)
		}
		return
	}
	run := s.runNode(c.sequence, e.RunID)
	if state := slices.Index(runStates[:], e.State); state >= 0 {
		l.fact(c.sequence, c.at, run, stateFact, uint32(state)) //nolint:gosec // one of a few
	}
	if e.Job != (events.Job{}) {
		job := s.textNode(c.sequence, jobNode, e.Job.Namespace, e.Job.Name)
		l.edge(c.sequence, run, job, wasAssociatedWith, "", true)
	}
	if e.ParentRun != "" {
		if parent := s.runNode(c.sequence, e.ParentRun); parent != run {
			l.edge(c.sequence, run, parent, wasInformedBy, "", true)
			l.fact(c.sequence, c.at, run, parentFact, parent)
		}
	}
	if e.Code != nil {
		code := s.codeNode(c.sequence, *e.Code)
		l.edge(c.sequence, run, code, used, "", true)
		l.fact(c.sequence, c.at, run, codeFact, code)
	}
	for _, d := range e.Inputs {
		l.edge(c.sequence, run, s.datasetNode(c.sequence, d), used, "", true)
	}
	for _, d := range e.Outputs {
		l.edge(c.sequence, s.datasetNode(c.sequence, d), run, wasGeneratedBy, "", true)
	}
}

func (s *State) lineageRecorded(c change, e events.LineageRecorded) {
	for _, edge := range e.Edges {
		kind, known := edgeKindOf(edge.Type)
		from, to := s.addNode(c.sequence, edge.From), s.addNode(c.sequence, edge.To)
		if known && from != 0 && to != 0 {
			s.lineage.edge(c.sequence, from, to, kind, edge.Role, false)
		}
	}
}

// addNode gives the number of a node, 0 for one that is not kept here: what runs
// on a target is told by its routes.
func (s *State) addNode(sequence uint64, n events.LineageNode) uint32 {
	switch n.Kind {
	case events.DatasetNode, events.DatasetVersionNode:
		return s.datasetNode(sequence, n.Dataset())
	case events.FeatureNode:
		return s.textNode(sequence, featureNode, n.Namespace, n.Name)
	case events.JobNode:
		return s.textNode(sequence, jobNode, n.Namespace, n.Name)
	case events.CodeNode:
		return s.codeNode(sequence, events.Code{Repository: n.Name, Commit: n.Version})
	case events.RunNode:
		return s.runNode(sequence, n.Name)
	case events.VersionNode:
		return s.versionNode(sequence, n.ModelID, n.Number, "")
	case events.BaseModelNode:
		return s.textNode(sequence, baseModelNode, "", n.Name)
	case events.ArtifactNode:
		return s.artifactNode(sequence, n.Digest, n.Name)
	case events.TargetNode:
		return 0
	default:
		return 0
	}
}

// word gives the number of a text that others are within, 0 for an empty one.
func (s *State) word(sequence uint64, text string) uint32 {
	if text == "" {
		return 0
	}
	l := s.lineage
	l.buffer = append(l.buffer[:0], text...)
	n, _ := l.node(sequence, wordNode, 0, l.buffer)
	return n
}

func (s *State) textNode(sequence uint64, kind nodeKind, within, text string) uint32 {
	l := s.lineage
	parent := s.word(sequence, within)
	l.buffer = append(l.buffer[:0], text...)
	n, _ := l.node(sequence, kind, parent, l.buffer)
	return n
}

func (s *State) codeNode(sequence uint64, code events.Code) uint32 {
	return s.textNode(sequence, codeNode, code.Repository, code.Commit)
}

func (s *State) artifactNode(sequence uint64, digest, uri string) uint32 {
	l := s.lineage
	l.buffer = append(appendDigest(l.buffer[:0], digest), uri...)
	n, _ := l.node(sequence, artifactNode, 0, l.buffer)
	return n
}

func (s *State) runNode(sequence uint64, id string) uint32 {
	l := s.lineage
	l.buffer = appendRun(l.buffer[:0], id)
	n, _ := l.node(sequence, runNode, 0, l.buffer)
	return n
}

// How a run's id is kept: a UUID in 16 bytes, whether it has dashes or not, as
// OpenLineage's have and MLflow's have not; any other as it is.
const (
	plainRun = 0
	uuidRun  = 1
)

func appendRun(dst []byte, id string) []byte {
	digits := id
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		digits = id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:]
	}
	if len(digits) == 32 {
		if uuid, err := hex.AppendDecode(append(dst, uuidRun), []byte(digits)); err == nil {
			return uuid
		}
	}
	return append(append(dst, plainRun), id...)
}

// spellRun spells a UUID as OpenLineage does.
func spellRun(kept []byte) string {
	if kept[0] != uuidRun {
		return string(kept[1:])
	}
	d := hex.EncodeToString(kept[1:])
	return d[:8] + "-" + d[8:12] + "-" + d[12:16] + "-" + d[16:20] + "-" + d[20:]
}

// versionNode gives the number of a model version. The first event that speaks of a
// version registers it, and has its source.
func (s *State) versionNode(sequence uint64, model ulid.ULID, version int, source string) uint32 {
	l := s.lineage
	parent, _ := l.node(sequence, modelNode, 0, model[:])
	l.buffer = strconv.AppendInt(l.buffer[:0], int64(version), 10)
	n, added := l.node(sequence, versionNode, parent, l.buffer)
	if added && source != "" {
		l.nodes[n].label = hashSource(source)
		l.chainSource(n)
	}
	return n
}

// chainSource puts a version in front of those with the same hash of the source.
func (l *lineage) chainSource(n uint32) {
	label := l.nodes[n].label
	l.nodes[n].next = l.bySource.push(n, func(o uint32) bool { return l.nodes[o].label == label })
}

// hashSource hashes a URI, the same for ever since it is in snapshots (FNV-1a); it
// is never 0.
func hashSource(uri string) uint32 {
	uri = plainURI(uri)
	h := uint32(2166136261)
	for i := range len(uri) {
		h = (h ^ uint32(uri[i])) * 16777619
	}
	return max(h, 1)
}

// plainURI leaves out what makes no difference to where something is.
func plainURI(uri string) string {
	return strings.TrimRight(strings.TrimPrefix(uri, "file://"), "/")
}

// datasetNode gives the number of a data set, or of a version of one.
func (s *State) datasetNode(sequence uint64, d events.DatasetVersion) uint32 {
	l := s.lineage
	namespace := s.word(sequence, d.Namespace)
	l.buffer = append(l.buffer[:0], d.Name...)
	dataset, added := l.node(sequence, datasetNode, namespace, l.buffer)
	if added {
		s.datasets.put(sequence, d.DatasetName(), struct{}{})
		l.countDataset(int(dataset), 1)
		s.isVersionAt(sequence, dataset, d)
	}
	if d.Version == "" && d.Digest == "" {
		return dataset
	}
	l.buffer = append(appendDigest(l.buffer[:0], d.Digest), d.Version...)
	n, added := l.node(sequence, datasetVersionNode, dataset, l.buffer)
	if added {
		s.isVersionOf(sequence, n, d)
	}
	return n
}

// countDataset counts a data set that may be a model version.
func (l *lineage) countDataset(n, by int) {
	x := &l.nodes[n]
	if x.kind != datasetNode || x.parent == 0 {
		return
	}
	namespace := string(l.texts.get(l.nodes[x.parent].text))
	if strings.HasPrefix(namespace, modelRegistry) {
		l.registries += by
	}
	if datasetURI(namespace, "") != "" {
		l.located += by
	}
}

// isVersionOf joins a version of a data set in a model registry with the model
// version that it is, if there is one.
func (s *State) isVersionOf(sequence uint64, n uint32, d events.DatasetVersion) {
	if !strings.HasPrefix(d.Namespace, modelRegistry) {
		return
	}
	model, ok := s.modelNames.at(sequence, d.Name)
	number, err := strconv.Atoi(d.Version)
	if !ok || err != nil {
		return
	}
	id := events.VersionID{ModelID: model.value, Version: number}
	if _, registered := s.registrations.at(sequence, id); registered {
		s.same(sequence, n, s.versionNode(sequence, id.ModelID, id.Version, ""))
	}
}

// isVersionAt joins a data set with the model versions whose files are where it is.
func (s *State) isVersionAt(sequence uint64, dataset uint32, d events.DatasetVersion) {
	l := s.lineage
	uri := datasetURI(d.Namespace, d.Name)
	if uri == "" {
		return
	}
	hash := hashSource(uri)
	_, n := l.bySource.find(mix(uint64(hash)), func(o uint32) bool { return l.nodes[o].label == hash })
	for ; n != 0; n = l.nodes[n].next {
		r, ok := s.registrations.at(sequence, l.versionID(n))
		if ok && plainURI(r.value.Source) == plainURI(uri) {
			s.same(sequence, dataset, n)
		}
	}
}

// knownElsewhere joins a new version with the data sets that reports said were it,
// before it was registered.
func (s *State) knownElsewhere(c change, version uint32, e events.VersionRegistered) {
	l := s.lineage
	if l.located > 0 {
		for _, d := range datasetsAt(e.Source) {
			if n := l.lookupDataset(d); n != 0 {
				s.same(c.sequence, n, version)
			}
		}
	}
	if l.registries == 0 {
		return
	}
	m, ok := s.models.at(c.sequence, e.ModelID)
	if !ok {
		return
	}
	for n := l.called(m.value.Name); n != 0; n = l.nodes[n].next {
		if namespace := l.parentText(n); strings.HasPrefix(namespace, modelRegistry) {
			for v := l.labelled(n, strconv.Itoa(e.Version)); v != 0; v = l.nodes[v].label {
				s.same(c.sequence, v, version)
			}
		}
	}
}

// same says that two nodes are the same thing.
func (s *State) same(sequence uint64, a, b uint32) {
	if a == b {
		return
	}
	s.lineage.edge(sequence, a, b, alternateOf, "", false)
	s.lineage.edge(sequence, b, a, alternateOf, "", false)
}

// called finds the last data set of a name, whatever its namespace.
func (l *lineage) called(name string) uint32 {
	text := []byte(name)
	_, n := l.byCalled.find(l.hash(0, text), func(n uint32) bool { return string(l.texts.get(l.nodes[n].text)) == name })
	return n
}

// labelled finds the last version of a data set with a label.
func (l *lineage) labelled(dataset uint32, label string) uint32 {
	_, n := l.byLabel.find(l.hash(uint64(dataset), []byte(label)), func(n uint32) bool {
		return l.nodes[n].parent == dataset && string(l.labelOf(n)) == label
	})
	return n
}

// withDigest finds the last data set version or artifact with a digest.
func (l *lineage) withDigest(kept []byte) uint32 {
	_, n := l.byDigest.find(l.hash(0, kept), func(n uint32) bool { return string(l.digestOf(n)) == string(kept) })
	return n
}

func (l *lineage) parentText(n uint32) string {
	if parent := l.nodes[n].parent; parent != 0 {
		return string(l.texts.get(l.nodes[parent].text))
	}
	return ""
}

func (l *lineage) lookupDataset(d events.DatasetName) uint32 {
	namespace := uint32(0)
	if d.Namespace != "" {
		if namespace = l.lookup(wordNode, 0, []byte(d.Namespace)); namespace == 0 {
			return 0
		}
	}
	return l.lookup(datasetNode, namespace, []byte(d.Name))
}

// datasetURI gives where a data set is, if its namespace tells.
func datasetURI(namespace, name string) string {
	switch {
	case strings.HasPrefix(namespace, modelRegistry):
		return ""
	case namespace == "file":
		return "/" + strings.TrimLeft(name, "/")
	case strings.Contains(namespace, "://"):
		return namespace + "/" + strings.TrimLeft(name, "/")
	default:
		return ""
	}
}

// datasetsAt gives the names that a data set at a URI may have.
func datasetsAt(uri string) []events.DatasetName {
	uri = plainURI(uri)
	if strings.HasPrefix(uri, "/") {
		return []events.DatasetName{{Namespace: "file", Name: uri}, {Namespace: "file", Name: uri[1:]}}
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	authority, path, within := strings.Cut(rest, "/")
	if !ok || !within {
		return nil
	}
	namespace := scheme + "://" + authority
	return []events.DatasetName{
		{Namespace: namespace, Name: path},
		{Namespace: namespace, Name: "/" + path},
		{Namespace: namespace, Name: path + "/"},
		{Namespace: namespace, Name: "/" + path + "/"},
	}
}

// versionID gives the model version that a node stands for.
func (l *lineage) versionID(n uint32) events.VersionID {
	var id events.VersionID
	copy(id.ModelID[:], l.texts.get(l.nodes[l.nodes[n].parent].text))
	id.Version, _ = strconv.Atoi(string(l.texts.get(l.nodes[n].text))) // versionNode wrote it
	return id
}

// describe gives a node as others know it.
func (l *lineage) describe(n uint32) events.LineageNode {
	x := &l.nodes[n]
	text := l.texts.get(x.text)
	d := events.LineageNode{Kind: lineageKinds[x.kind]}
	switch x.kind {
	case datasetNode, featureNode, jobNode:
		d.Namespace, d.Name = l.parentText(n), string(text)
	case datasetVersionNode:
		d.Namespace, d.Name = l.parentText(x.parent), string(l.texts.get(l.nodes[x.parent].text))
		digest, label := splitDigest(text)
		d.Digest, d.Version = spellDigest(digest), string(label)
	case codeNode:
		d.Name, d.Version = l.parentText(n), string(text)
	case runNode:
		d.Name = spellRun(text)
	case versionNode:
		return l.versionID(n).Node()
	case baseModelNode:
		d.Name = string(text)
	case artifactNode:
		digest, uri := splitDigest(text)
		d.Digest, d.Name = spellDigest(digest), string(uri)
	default:
	}
	return d
}

// find gives the number of a node as of a sequence, 0 for one that isn't there.
func (l *lineage) find(n events.LineageNode, sequence uint64) uint32 {
	found := l.findAny(n)
	if found == 0 || l.nodes[found].sequence > sequence {
		return 0
	}
	return found
}

func (l *lineage) findAny(n events.LineageNode) uint32 {
	within := func(parent string) (uint32, bool) {
		if parent == "" {
			return 0, true
		}
		word := l.lookup(wordNode, 0, []byte(parent))
		return word, word != 0
	}
	kind := nodeKind(max(slices.Index(lineageKinds[:], n.Kind), 0)) //nolint:gosec // one of a few
	switch kind {
	case datasetNode, datasetVersionNode:
		dataset := l.lookupDataset(n.Dataset().DatasetName())
		if dataset == 0 || kind == datasetNode {
			return dataset
		}
		return l.lookup(kind, dataset, append(appendDigest(nil, n.Digest), n.Version...))
	case featureNode, jobNode:
		if parent, ok := within(n.Namespace); ok {
			return l.lookup(kind, parent, []byte(n.Name))
		}
	case codeNode:
		if parent, ok := within(n.Name); ok {
			return l.lookup(kind, parent, []byte(n.Version))
		}
	case runNode:
		return l.lookup(kind, 0, appendRun(nil, n.Name))
	case versionNode:
		if parent := l.lookup(modelNode, 0, n.ModelID[:]); parent != 0 {
			return l.lookup(kind, parent, strconv.AppendInt(nil, int64(n.Number), 10))
		}
	case baseModelNode:
		return l.lookup(kind, 0, []byte(n.Name))
	case artifactNode:
		return l.lookup(kind, 0, append(appendDigest(nil, n.Digest), n.Name...))
	default:
	}
	return 0
}
