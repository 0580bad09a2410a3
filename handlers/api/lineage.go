package api

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// LineageNode is how a node of the lineage is shown. Beside its id it has what the
// id says, in the fields of its kind.
type LineageNode struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"` // of a data set, feature or job
	Name      string `json:"name,omitempty"`      // of those; id of a run; repository of code; name of a base model; URI of an artifact
	Version   string `json:"version,omitempty"`   // of a data set; commit of code
	Digest    string `json:"digest,omitempty"`    // of a data set version, or an artifact
	Model     string `json:"model,omitempty"`     // of a model version
	Number    int    `json:"number,omitzero"`     // of a model version
	// Stage and DeployedTo are those of a model version, and Gone says that it was
	// deleted.
	Stage      string   `json:"stage,omitempty"`
	DeployedTo []string `json:"deployed_to,omitempty"`
	Gone       bool     `json:"gone,omitzero"`
	State      string   `json:"state,omitempty"`    // of a run, as OpenLineage has it
	Withdrawn  bool     `json:"withdrawn,omitzero"` // of a data set or a version of one
	Depth      int      `json:"depth"`              // how many steps from where the search began
	Certainty  string   `json:"certainty"`          // exact_digest, same_version or same_name
	Sequence   uint64   `json:"sequence,omitzero"`  // of the event that first spoke of it
}

// LineageEdge is how an edge of the lineage is shown: from an effect to its cause,
// in the words of W3C PROV.
type LineageEdge struct {
	From      string `json:"from"` // id of a node: the effect
	To        string `json:"to"`   // id of a node: its cause
	Type      string `json:"type"`
	Role      string `json:"role,omitempty"`    // of the cause, such as train
	Sequence  uint64 `json:"sequence,omitzero"` // of the event that tells it
	Certainty string `json:"certainty"`         // exact_digest, same_version or same_name
}

// Lineage is a part of the graph of lineage, from one node on: that first, then
// the surest, of those the nearest.
type Lineage struct {
	Nodes []LineageNode `json:"nodes"`
	Edges []LineageEdge `json:"edges"`
	More  bool          `json:"more,omitzero"` // the limit left something out
}

// LineagePaths are the paths between two nodes, the shortest first.
type LineagePaths struct {
	Nodes []LineageNode   `json:"nodes"` // that are on any of them
	Paths [][]LineageEdge `json:"paths"`
	More  bool            `json:"more,omitzero"` // there may be others
}

// LineageImpact is a page of what came of a data set: everything that was trained
// on, derived from or serves anything that it touched.
type LineageImpact struct {
	Dataset string        `json:"dataset"` // node that was asked for
	Data    []LineageNode `json:"data"`    // what it may be, by digest, version or name
	Hits    []LineageHit  `json:"hits"`    // the surest first, of those the nearest
	// Unknown are model versions of which nobody has said what they come from:
	// there is no telling whether they come from the data set.
	Unknown     []string `json:"unknown"`
	UnknownMore bool     `json:"unknown_more,omitzero"`
	NextCursor  string   `json:"next_cursor,omitempty"` // absent on the last page
}

// LineageHit is one thing that came of a data set, and how.
type LineageHit struct {
	LineageNode
	// Path leads from the data set to it. Of a long one the middle is left out.
	Path    []LineageEdge `json:"path"`
	Omitted int           `json:"omitted,omitzero"` // how many edges were left out
	Proof   []uint64      `json:"proof"`            // sequences of the events that tell the edges of the path
}

// LineageRecording says what became of edges that were sent.
type LineageRecording struct {
	Recorded int    `json:"recorded"` // how many were new
	Sequence uint64 `json:"sequence"` // of their event, or of the state in which all of them were there
}

// Limits of what is shown of the lineage.
const (
	defaultNodes = 1_000
	maxNodes     = 10_000
	maxPaths     = 100
	defaultPaths = 10
	maxPathEdges = 200 // of a hit
	maxData      = 100
	maxUnknown   = 1_000
	maxDepth     = 1_000_000
)

var datasetQuery = []parameter{
	{"namespace", "string", "Namespace of a data set, instead of the id of a node"},
	{"name", "string", "Name of a data set, instead of the id of a node"},
	{"version", "string", "Version of a data set, beside its name"},
	{"digest", "string", "Digest of a data set, beside its name"},
}

func lineageRoutes() []endpoint {
	return []endpoint{
		read("/v1/lineage", "getLineage", "Get what a node of the lineage comes from, and what comes from it", append([]parameter{
			{"node", "string", "Id of a node: " + handlers.NodeSpelling},
			{"direction", "string", "upstream, to causes; downstream, to effects; or both, which is the default"},
			{"depth", "integer", "How many steps to go; any number if absent"},
			{"nodes", "integer", "How many nodes at most each way; 1000 if absent"},
			formatQuery,
		}, datasetQuery...), getLineage).also(lineageMedia...),
		read("/v1/lineage/paths", "getLineagePaths", "Get the paths between two nodes of the lineage", []parameter{
			{"from", "string", "Id of the node to begin with, spelled as in /v1/lineage"},
			{"to", "string", "Id of the node to end with"},
			{"paths", "integer", "How many paths at most; 10 if absent"},
		}, getLineagePaths),
		read("/v1/lineage/impact", "getLineageImpact", "Get everything that a data set has touched", append(append([]parameter{
			{"dataset", "string", "Id of the node of a data set, or of a version of one, spelled as in /v1/lineage"},
			{"kind", "string", "Only hits of a kind, such as version or target"},
		}, datasetQuery...), paging...), getLineageImpact),
		write(http.MethodPost, "/v1/lineage/edges", "recordEdges", "Record edges of the lineage that nothing else tells", http.StatusOK,
			func(_ *call, body handlers.LineageEdges) (handlers.Command, error) {
				return &handlers.RecordEdges{Recording: body}, nil
			}, renderRecording),
	}
}

func renderRecording(c *call, v projections.View, _ events.Resource) (answer[LineageRecording], error) {
	recording := LineageRecording{Sequence: v.Sequence}
	if e, ok := c.wrote.Data.(events.LineageRecorded); ok {
		recording.Recorded = len(e.Edges)
	}
	return answer[LineageRecording]{value: recording}, nil
}

// node reads a node from a parameter, or from those of a data set.
func (c *call) node(v projections.View, name string) (events.LineageNode, error) {
	text, dataset := c.query.Get(name), c.query.Get("name")
	switch {
	case text != "" && dataset != "":
		return events.LineageNode{}, handlers.InvalidField("name", "not_with_"+name, "must not be given together with %s", name)
	case text != "":
		return handlers.ParseNode(v, name, text)
	case dataset == "":
		return events.LineageNode{}, handlers.InvalidField(name, "required", "is required, or name")
	}
	return handlers.DatasetNode(events.DatasetVersion{
		Namespace: c.query.Get("namespace"), Name: dataset, Version: c.query.Get("version"), Digest: c.query.Get("digest"),
	})
}

// number reads a whole number of the query.
func (c *call) number(name string, absent, least, most int) (int, error) {
	text := c.query.Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, handlers.InvalidField(name, "range", "must be a whole number from %d to %d", least, most)
	}
	return n, nil
}

func nodeNotFound(v projections.View, n events.LineageNode) error {
	return handlers.NotFoundError{What: handlers.CodeNodeNotFound, Name: handlers.NodeName(v, n), Hint: "nothing has spoken of it by then"}
}

func getLineage(c *call, v projections.View) (answer[Lineage], error) {
	start, err := c.node(v, "node")
	if err != nil {
		return answer[Lineage]{}, err
	}
	q := projections.LineageQuery{Direction: projections.BothWays}
	switch c.query.Get("direction") {
	case "", "both":
	case "upstream":
		q.Direction = projections.Upstream
	case "downstream":
		q.Direction = projections.Downstream
	default:
		return answer[Lineage]{}, handlers.InvalidField("direction", "enum", "must be upstream, downstream or both")
	}
	if q.Depth, err = c.number("depth", 0, 1, maxDepth); err != nil {
		return answer[Lineage]{}, err
	}
	if q.Limit, err = c.number("nodes", defaultNodes, 1, maxNodes); err != nil {
		return answer[Lineage]{}, err
	}
	g := v.Lineage(start, q)
	if len(g.Nodes) == 0 {
		return answer[Lineage]{}, nodeNotFound(v, start)
	}
	s := lineageShower{view: v}
	return c.lineageAs(v, Lineage{Nodes: s.nodes(g.Nodes), Edges: s.edges(g.Steps), More: g.More})
}

func getLineagePaths(c *call, v projections.View) (answer[LineagePaths], error) {
	var ends [2]events.LineageNode
	for i, name := range []string{"from", "to"} {
		text := c.query.Get(name)
		if text == "" {
			return answer[LineagePaths]{}, handlers.InvalidField(name, "required", "is required")
		}
		var err error
		if ends[i], err = handlers.ParseNode(v, name, text); err != nil {
			return answer[LineagePaths]{}, err
		}
		if !v.HasLineageNode(ends[i]) {
			return answer[LineagePaths]{}, nodeNotFound(v, ends[i])
		}
	}
	limit, err := c.number("paths", defaultPaths, 1, maxPaths)
	if err != nil {
		return answer[LineagePaths]{}, err
	}
	paths, more := v.LineagePaths(ends[0], ends[1], limit)
	s := lineageShower{view: v}
	shown := LineagePaths{Nodes: []LineageNode{}, Paths: [][]LineageEdge{}, More: more}
	seen := map[events.LineageNode]bool{}
	for _, path := range paths {
		shown.Paths = append(shown.Paths, s.edges(path))
		for _, step := range path {
			for _, n := range []events.LineageNode{step.From, step.To} {
				if !seen[n] {
					seen[n] = true
					shown.Nodes = append(shown.Nodes, s.node(projections.LineageFound{LineageNode: n}))
				}
			}
		}
	}
	return answer[LineagePaths]{value: shown}, nil
}

func getLineageImpact(c *call, v projections.View) (answer[LineageImpact], error) {
	page, v, err := c.page(v)
	if err != nil {
		return answer[LineageImpact]{}, err
	}
	start, err := c.node(v, "dataset")
	if err != nil {
		return answer[LineageImpact]{}, err
	}
	if start.Kind != events.DatasetNode && start.Kind != events.DatasetVersionNode {
		return answer[LineageImpact]{}, handlers.InvalidField("dataset", "dataset", "%s is no data set", c.query.Get("dataset"))
	}
	begin, err := page.position()
	if err != nil {
		return answer[LineageImpact]{}, err
	}
	impact := v.Impact(start.Dataset())
	if impact.Len() == 0 {
		return answer[LineageImpact]{}, nodeNotFound(v, start)
	}
	s := lineageShower{view: v}
	shown := LineageImpact{Dataset: handlers.NodeName(v, start), Data: []LineageNode{}, Hits: []LineageHit{}, Unknown: []string{}}
	kind := events.LineageKind(c.query.Get("kind"))
	i := begin
	for ; i < impact.Len() && !page.full(len(shown.Hits)); i++ {
		if impact.IsDataset(i) {
			if len(shown.Data) < maxData {
				shown.Data = append(shown.Data, s.node(impact.At(i)))
			}
			continue
		}
		shown.Hits = append(shown.Hits, s.hits(impact, i, kind)...)
	}
	if i < impact.Len() {
		shown.NextCursor = page.next(strconv.Itoa(i))
	}
	unknown, more := v.UnknownLineage(events.VersionID{}, maxUnknown)
	for _, id := range unknown {
		shown.Unknown = append(shown.Unknown, handlers.VersionName(v, id))
	}
	shown.UnknownMore = more
	return answer[LineageImpact]{value: shown}, nil
}

// lineageShower shows what was found in a view.
type lineageShower struct{ view projections.View }

func (s lineageShower) nodes(found []projections.LineageFound) []LineageNode {
	shown := make([]LineageNode, len(found))
	for i, f := range found {
		shown[i] = s.node(f)
	}
	return shown
}

func (s lineageShower) node(f projections.LineageFound) LineageNode {
	n := LineageNode{
		ID: handlers.NodeName(s.view, f.LineageNode), Kind: string(f.Kind), Namespace: f.Namespace, Name: f.Name, Version: f.Version,
		Digest: f.Digest, State: f.State, Depth: f.Depth, Certainty: f.Certainty.String(), Sequence: f.Sequence,
	}
	switch f.Kind {
	case events.VersionNode:
		s.version(&n, f.VersionID())
	case events.DatasetNode, events.DatasetVersionNode:
		_, _, n.Withdrawn = s.view.Withdrawal(f.Dataset())
	case events.TargetNode:
		name, _ := s.view.TargetNameOf(f.TargetID)
		n.Name = name.String()
	default:
	}
	return n
}

func (s lineageShower) version(n *LineageNode, id events.VersionID) {
	n.Model, _ = s.view.NameOf(id.ModelID)
	n.Number = id.Version
	stage, there := s.view.StageOf(id)
	n.Stage, n.Gone = stage, !there
	for t := range s.view.DeployedTo(id) {
		n.DeployedTo = append(n.DeployedTo, t.Name.String())
	}
}

func (s lineageShower) edges(steps []projections.LineageStep) []LineageEdge {
	shown := make([]LineageEdge, len(steps))
	for i, step := range steps {
		shown[i] = LineageEdge{
			From: handlers.NodeName(s.view, step.From), To: handlers.NodeName(s.view, step.To), Type: string(step.Type), Role: step.Role,
			Sequence: step.Sequence, Certainty: step.Certainty.String(),
		}
	}
	return shown
}

// hits shows a node that came of a data set, and the targets that it runs on.
func (s lineageShower) hits(impact *projections.Impact, i int, kind events.LineageKind) (hits []LineageHit) {
	if of := impact.Kind(i); kind != "" && kind != of && (kind != events.TargetNode || of != events.VersionNode) {
		return nil
	}
	found, path := impact.At(i), impact.Path(i)
	if kind != events.TargetNode {
		hits = append(hits, s.hit(found, path))
	}
	if found.Kind != events.VersionNode || (kind != "" && kind != events.TargetNode) {
		return hits
	}
	for _, step := range s.view.RunsOn(found.VersionID()) {
		target := projections.LineageFound{LineageNode: step.From, Sequence: step.Sequence, Depth: found.Depth + 1, Certainty: found.Certainty}
		hits = append(hits, s.hit(target, append(slices.Clip(path), step)))
	}
	return hits
}

func (s lineageShower) hit(found projections.LineageFound, path []projections.LineageStep) LineageHit {
	h := LineageHit{LineageNode: s.node(found)}
	if len(path) > maxPathEdges {
		h.Omitted = len(path) - maxPathEdges
		path = append(path[:maxPathEdges/2:maxPathEdges/2], path[len(path)-maxPathEdges/2:]...)
	}
	h.Path = s.edges(path)
	h.Proof = projections.SequencesOf(path)
	return h
}
