package projections

import (
	"cmp"
	"encoding/hex"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/modelog/modelog/events"
)

// lineage is the graph of what comes from what. Nodes and edges are numbered in
// the order in which events told of them, and none is ever taken away but by
// cutAfter: the graph as of a sequence is that of the nodes and edges up to it.
// What a failed run made is passed over by whoever walks it (see runFact).
//
// It holds numbers and one run of bytes, and no pointer, so that a million nodes
// cost the garbage collector nothing: about a hundred bytes a node, and forty an
// edge.
type lineage struct {
	nodes []lineageNode // the first one stands for none
	edges []lineageEdge // the first one stands for none
	facts []runFact     // the first one stands for none
	roles []roleWord    // the first one stands for none
	texts textRun

	byName   numberIndex // nodes by kind, parent and text
	byEdge   numberIndex // edges by all that makes them
	byDigest numberIndex // the last data set version or artifact with a digest
	byLabel  numberIndex // the last version of a data set with a label
	byCalled numberIndex // the last data set of a name, whatever its namespace
	bySource numberIndex // the last model version with a source, by the hash of it

	// How many data sets there are that may be model versions: under
	// modelregistry://, and at a URI.
	registries, located int

	seed   maphash.Seed // of the indexes; nothing that can be seen goes by it
	buffer []byte       // the writer's
}

// lineageNode is a node, or a word that nodes share. Links to other nodes are
// their numbers, 0 for none.
type lineageNode struct {
	sequence uint64 // of the event that first spoke of it
	text     textPlace
	parent   uint32 // the word or node that it is within
	out, in  uint32 // the last edge that leaves it, and that leads to it
	// next is, of a data set version or an artifact, the one before it with the
	// same digest; of a data set, the one before it with the same name; of a model
	// version, the one before it with the same hash of the source.
	next uint32
	// first is the last version of a data set, and the last fact of a run.
	first uint32
	// sibling is, of a data set version, the one of the same data set before it.
	sibling uint32
	// label is, of a data set version, the one before it of the same data set with
	// the same version; of a model version, the hash of its source.
	label uint32
	kind  nodeKind
}

// nodeKind is the kind of a node in one byte. The numbers are in snapshots.
type nodeKind uint8

const (
	noNode nodeKind = iota
	wordNode
	modelNode
	datasetNode
	datasetVersionNode
	featureNode
	codeNode
	runNode
	jobNode
	versionNode
	baseModelNode
	artifactNode
	nodeKinds
)

var lineageKinds = [nodeKinds]events.LineageKind{
	datasetNode: events.DatasetNode, datasetVersionNode: events.DatasetVersionNode, featureNode: events.FeatureNode,
	codeNode: events.CodeNode, runNode: events.RunNode, jobNode: events.JobNode, versionNode: events.VersionNode,
	baseModelNode: events.BaseModelNode, artifactNode: events.ArtifactNode,
}

// lineageEdge leads from an effect to its cause.
type lineageEdge struct {
	mark     uint64 // sequence, type, role and whether a run's report tells it
	from, to uint32
	// nextOut is the edge before it that leaves the same node, nextIn that leads to
	// the same one.
	nextOut, nextIn uint32
}

// Bits of an edge's mark, from the lowest: role, type, reported, sequence.
const (
	roleBits     = 16
	typeBits     = 7
	sequenceFrom = roleBits + typeBits + 1
	reportedBit  = 1 << (roleBits + typeBits)
)

func (e *lineageEdge) sequence() uint64 { return e.mark >> sequenceFrom }
func (e *lineageEdge) kind() edgeKind   { return edgeKind(e.mark >> roleBits & (1<<typeBits - 1)) }
func (e *lineageEdge) role() int        { return int(e.mark & (1<<roleBits - 1)) }

// reported says whether the edge holds only as long as what a run's reports say
// of its state, code and parent.
func (e *lineageEdge) reported() bool { return e.mark&reportedBit != 0 }

// content is all that makes the edge but its sequence.
func (e *lineageEdge) content() uint64 { return e.mark & (1<<sequenceFrom - 1) }

// edgeKind is the type of an edge in one byte. The numbers are in snapshots.
type edgeKind uint8

var edgeTypes = [...]events.LineageType{
	events.Used, events.WasGeneratedBy, events.WasDerivedFrom, events.HadMember, events.SpecializationOf,
	events.AlternateOf, events.WasInformedBy, events.WasAssociatedWith,
}

const (
	used edgeKind = iota
	wasGeneratedBy
	wasDerivedFrom
	hadMember
	specializationOf
	alternateOf
	wasInformedBy
	wasAssociatedWith
)

func edgeKindOf(t events.LineageType) (edgeKind, bool) {
	i := slices.Index(edgeTypes[:], t)
	return edgeKind(max(i, 0)), i >= 0 //nolint:gosec // one of a few
}

type roleWord struct {
	sequence uint64
	text     string
}

// runFact is what the reports of a run say of its state, its code or its parent
// from a sequence on.
type runFact struct {
	sequence uint64
	at       int64 // when it happened, in milliseconds
	value    uint32
	before   uint32 // the fact of the same run before it
	run      uint32
	kind     factKind
}

type factKind uint8

const (
	stateFact  factKind = iota // value is a place in runStates
	codeFact                   // value is a node
	parentFact                 // value is a node
	factKinds
)

// runStates in the order in which they prevail over others of the same moment.
var runStates = [...]string{
	events.RunOther, events.RunStart, events.RunRunning, events.RunComplete, events.RunAbort, events.RunFail,
}

const (
	runsFrom = 1 // of states that tell more than that there is a run
	endsFrom = 3 // of states that end a run
	failFrom = 4 // of states in which it made nothing
)

// prevails says whether a run's state holds against another. One that ends it
// holds against all others, whatever their times; else the later one holds.
func prevails(state uint32, at int64, other uint32, otherAt int64) bool {
	class := func(s uint32) int {
		switch {
		case s >= endsFrom:
			return 2
		case s >= runsFrom:
			return 1
		default:
			return 0
		}
	}
	switch {
	case class(state) != class(other):
		return class(state) > class(other)
	case at != otherAt:
		return at > otherAt
	default:
		return state > other
	}
}

func newLineage() *lineage {
	l := &lineage{
		nodes: make([]lineageNode, 1), edges: make([]lineageEdge, 1), facts: make([]runFact, 1), roles: make([]roleWord, 1),
		seed: maphash.MakeSeed(),
	}
	l.byName.hash = func(n uint32) uint64 {
		x := &l.nodes[n]
		return l.hash(uint64(x.kind)<<32|uint64(x.parent), l.texts.get(x.text))
	}
	l.byEdge.hash = func(e uint32) uint64 { return l.edgeHash(&l.edges[e]) }
	l.byDigest.hash = func(n uint32) uint64 { return l.hash(0, l.digestOf(n)) }
	l.byLabel.hash = func(n uint32) uint64 { return l.hash(uint64(l.nodes[n].parent), l.labelOf(n)) }
	l.byCalled.hash = func(n uint32) uint64 { return l.hash(0, l.texts.get(l.nodes[n].text)) }
	l.bySource.hash = func(n uint32) uint64 { return mix(uint64(l.nodes[n].label)) }
	return l
}

func (l *lineage) hash(salt uint64, text []byte) uint64 {
	return mix(maphash.Bytes(l.seed, text) ^ mix(salt))
}

func (l *lineage) edgeHash(e *lineageEdge) uint64 {
	return mix(mix(uint64(e.from)<<32|uint64(e.to)) ^ e.content())
}

// mix spreads the bits of a number (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// lookup finds a node, 0 for none.
func (l *lineage) lookup(kind nodeKind, parent uint32, text []byte) uint32 {
	return l.lookupHashed(l.hash(uint64(kind)<<32|uint64(parent), text), kind, parent, text)
}

func (l *lineage) lookupHashed(hash uint64, kind nodeKind, parent uint32, text []byte) uint32 {
	_, n := l.byName.find(hash, func(n uint32) bool {
		x := &l.nodes[n]
		return x.kind == kind && x.parent == parent && string(l.texts.get(x.text)) == string(text)
	})
	return n
}

// node finds a node, and adds it if it isn't there.
func (l *lineage) node(sequence uint64, kind nodeKind, parent uint32, text []byte) (n uint32, added bool) {
	hash := l.hash(uint64(kind)<<32|uint64(parent), text)
	if n := l.lookupHashed(hash, kind, parent, text); n != 0 {
		return n, false
	}
	n = uint32(len(l.nodes)) //nolint:gosec // memory ends long before
	l.nodes = append(l.nodes, lineageNode{sequence: sequence, text: l.texts.add(text), parent: parent, kind: kind})
	l.byName.insertHashed(hash, n)
	l.chain(n)
	return n, true
}

// chain puts a new node in front of those that are like it.
func (l *lineage) chain(n uint32) {
	x := &l.nodes[n]
	switch x.kind {
	case datasetNode:
		x.next = l.byCalled.push(n, func(o uint32) bool {
			return string(l.texts.get(l.nodes[o].text)) == string(l.texts.get(x.text))
		})
	case datasetVersionNode:
		x.sibling = l.nodes[x.parent].first
		l.nodes[x.parent].first = n
		if label := l.labelOf(n); len(label) > 0 {
			x.label = l.byLabel.push(n, func(o uint32) bool {
				return l.nodes[o].parent == x.parent && string(l.labelOf(o)) == string(label)
			})
		}
		l.chainDigest(n)
	case artifactNode:
		l.chainDigest(n)
	default:
	}
}

func (l *lineage) chainDigest(n uint32) {
	if digest := l.digestOf(n); len(digest) > 0 {
		l.nodes[n].next = l.byDigest.push(n, func(o uint32) bool { return string(l.digestOf(o)) == string(digest) })
	}
}

// unchain takes the last node out of the lists that chain put it in.
func (l *lineage) unchain(n uint32) {
	x := &l.nodes[n]
	switch x.kind {
	case datasetNode:
		l.byCalled.pop(n, x.next)
	case datasetVersionNode:
		l.nodes[x.parent].first = x.sibling
		if len(l.labelOf(n)) > 0 {
			l.byLabel.pop(n, x.label)
		}
		if len(l.digestOf(n)) > 0 {
			l.byDigest.pop(n, x.next)
		}
	case artifactNode:
		if len(l.digestOf(n)) > 0 {
			l.byDigest.pop(n, x.next)
		}
	case versionNode:
		if x.label != 0 {
			l.bySource.pop(n, x.next)
		}
	default:
	}
}

// edge adds an edge unless it is there.
func (l *lineage) edge(sequence uint64, from, to uint32, kind edgeKind, role string, reported bool) {
	e := lineageEdge{mark: sequence<<sequenceFrom | uint64(kind)<<roleBits | uint64(l.role(sequence, role)), from: from, to: to}
	if reported {
		e.mark |= reportedBit
	}
	hash := l.edgeHash(&e)
	if l.lookupEdge(hash, &e) != 0 {
		return
	}
	place := uint32(len(l.edges)) //nolint:gosec // memory ends long before
	e.nextOut, e.nextIn = l.nodes[from].out, l.nodes[to].in
	l.nodes[from].out, l.nodes[to].in = place, place
	l.edges = append(l.edges, e)
	l.byEdge.insertHashed(hash, place)
}

func (l *lineage) lookupEdge(hash uint64, e *lineageEdge) uint32 {
	_, place := l.byEdge.find(hash, func(p uint32) bool {
		o := &l.edges[p]
		return o.from == e.from && o.to == e.to && o.content() == e.content()
	})
	return place
}

// role gives the number of a role. There are few; what is too much has none.
func (l *lineage) role(sequence uint64, text string) int {
	if text == "" {
		return 0
	}
	if i := l.knownRole(text); i > 0 {
		return i
	}
	if len(l.roles) == maxRoles {
		return 0
	}
	l.roles = append(l.roles, roleWord{sequence, strings.Clone(text)})
	return len(l.roles) - 1
}

// maxRoles keeps the search for a role short.
const maxRoles = 256

func (l *lineage) knownRole(text string) int {
	for i := 1; i < len(l.roles); i++ {
		if l.roles[i].text == text {
			return i
		}
	}
	return 0
}

// fact notes what a run's reports say from now on, unless what they said before
// prevails, or is the same.
func (l *lineage) fact(sequence uint64, at int64, run uint32, kind factKind, value uint32) {
	if before := l.factAt(run, kind, sequence); before != 0 {
		old := &l.facts[before]
		if (old.value == value && old.at == at) || !l.outdoes(kind, value, at, old) {
			return
		}
	}
	place := uint32(len(l.facts)) //nolint:gosec // memory ends long before
	l.facts = append(l.facts, runFact{sequence: sequence, at: at, value: value, before: l.nodes[run].first, run: run, kind: kind})
	l.nodes[run].first = place
}

// outdoes says whether a new fact holds against the one before. Of two that
// happened at once the greater one does, whichever came first.
func (l *lineage) outdoes(kind factKind, value uint32, at int64, old *runFact) bool {
	switch {
	case kind == stateFact:
		return prevails(value, at, old.value, old.at)
	case at != old.at:
		return at > old.at
	default:
		a, b := l.describe(value), l.describe(old.value)
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version)) > 0
	}
}

// factAt finds what holds of a run as of a sequence, 0 for nothing.
func (l *lineage) factAt(run uint32, kind factKind, sequence uint64) uint32 {
	place := l.nodes[run].first
	for place != 0 && (l.facts[place].sequence > sequence || l.facts[place].kind != kind) {
		place = l.facts[place].before
	}
	return place
}

// passed says whether an edge does not hold as of a sequence, and which fact says
// that it does or doesn't, 0 for none.
func (l *lineage) passed(e *lineageEdge, sequence uint64) (fact uint32, passed bool) {
	if e.sequence() > sequence {
		return 0, true
	}
	if !e.reported() {
		return 0, false
	}
	switch e.kind() {
	case wasGeneratedBy:
		fact = l.factAt(e.to, stateFact, sequence)
		return fact, fact != 0 && l.facts[fact].value >= failFrom
	case used:
		if l.nodes[e.to].kind == codeNode {
			fact = l.factAt(e.from, codeFact, sequence)
			return fact, fact != 0 && l.facts[fact].value != e.to
		}
	case wasInformedBy:
		fact = l.factAt(e.from, parentFact, sequence)
		return fact, fact != 0 && l.facts[fact].value != e.to
	default:
	}
	return 0, false
}

// cutAfter takes back everything after a sequence, from the end.
func (l *lineage) cutAfter(sequence uint64) {
	for last := len(l.edges) - 1; last > 0 && l.edges[last].sequence() > sequence; last-- {
		e := &l.edges[last]
		l.byEdge.pop(uint32(last), 0) //nolint:gosec // an edge's number
		l.nodes[e.from].out, l.nodes[e.to].in = e.nextOut, e.nextIn
		l.edges = l.edges[:last]
	}
	for last := len(l.facts) - 1; last > 0 && l.facts[last].sequence > sequence; last-- {
		l.nodes[l.facts[last].run].first = l.facts[last].before
		l.facts = l.facts[:last]
	}
	for last := len(l.nodes) - 1; last > 0 && l.nodes[last].sequence > sequence; last-- {
		l.countDataset(last, -1)
		n := uint32(last) //nolint:gosec // a node's number
		l.unchain(n)
		l.byName.pop(n, 0)
		l.texts.cut(l.nodes[last].text)
		l.nodes = l.nodes[:last]
	}
	for last := len(l.roles) - 1; last > 0 && l.roles[last].sequence > sequence; last-- {
		l.roles = l.roles[:last]
	}
}

// settle has nothing to do: what was cut can't be told from what never was.
func (l *lineage) settle(uint64) {}

// The text of a data set version or an artifact is its digest, in front of which
// stands how it is kept, and after it the version or the URI.
const (
	noDigest    = 0
	sha256Bytes = 1 // "sha256:" and 32 bytes in hex
	otherDigest = 2 // its length, one byte, and the text
	longDigest  = 3 // its length, two bytes, and the text
)

const sha256Prefix = "sha256:"

func appendDigest(dst []byte, digest string) []byte {
	digits, ok := strings.CutPrefix(digest, sha256Prefix)
	switch {
	case digest == "":
		return append(dst, noDigest)
	case ok && len(digits) == 64:
		sum := append(dst, sha256Bytes)
		sum, err := hex.AppendDecode(sum, []byte(digits))
		if err == nil && hex.EncodeToString(sum[len(dst)+1:]) == digits {
			return sum
		}
	}
	if len(digest) < 256 {
		return append(append(dst, otherDigest, byte(len(digest))), digest...)
	}
	digest = digest[:min(len(digest), 1<<16-1)]
	return append(append(dst, longDigest, byte(len(digest)>>8), byte(len(digest))), digest...)
}

// splitDigest gives the digest as it is kept, empty for none, and what comes after
// it.
func splitDigest(text []byte) (digest, rest []byte) {
	switch text[0] {
	case noDigest:
		return nil, text[1:]
	case sha256Bytes:
		return text[:33], text[33:]
	case otherDigest:
		n := 2 + int(text[1])
		return text[:n], text[n:]
	default:
		n := 3 + int(text[1])<<8 + int(text[2])
		return text[:n], text[n:]
	}
}

func spellDigest(kept []byte) string {
	switch {
	case len(kept) == 0:
		return ""
	case kept[0] == sha256Bytes:
		return sha256Prefix + hex.EncodeToString(kept[1:])
	case kept[0] == otherDigest:
		return string(kept[2:])
	default:
		return string(kept[3:])
	}
}

func (l *lineage) digestOf(n uint32) []byte {
	digest, _ := splitDigest(l.texts.get(l.nodes[n].text))
	return digest
}

// labelOf gives a data set's version as whoever keeps the data has it, empty for
// none.
func (l *lineage) labelOf(n uint32) []byte {
	_, label := splitDigest(l.texts.get(l.nodes[n].text))
	return label
}
