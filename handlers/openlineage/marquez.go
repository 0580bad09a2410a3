package openlineage

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/projections"
)

// MarquezLineage is what a node comes from and what comes from it, in the shape of
// Marquez's GET /api/v1/lineage, so that what reads Marquez reads modelog. Runs are
// shown as their jobs, and versions as what they are versions of.
type MarquezLineage struct {
	Graph []MarquezNode `json:"graph"`         // by id
	More  bool          `json:"more,omitzero"` // a limit left something out; Marquez has no such field
}

// MarquezNode is a job or a data set. Edges lead from what is read to the job, and
// from the job to what it makes; from one data set to another where no run tells
// how the other was made of it.
type MarquezNode struct {
	ID       string        `json:"id"`
	Type     string        `json:"type"` // JOB or DATASET
	Data     MarquezData   `json:"data"`
	InEdges  []MarquezEdge `json:"inEdges"`
	OutEdges []MarquezEdge `json:"outEdges"`
}

// MarquezEdge leads from a cause to its effect, each by its id.
type MarquezEdge struct {
	Origin      string `json:"origin"`
	Destination string `json:"destination"`
}

// MarquezData says what a node is. The fields below type are those of a job.
type MarquezData struct {
	ID         MarquezName   `json:"id"`
	Name       string        `json:"name"`
	Namespace  string        `json:"namespace"`
	SimpleName string        `json:"simpleName,omitempty"`
	Type       string        `json:"type"` // BATCH for a job; DB_TABLE, or MODEL, for a data set
	Physical   string        `json:"physicalName,omitempty"`
	Source     string        `json:"sourceName,omitempty"`
	Inputs     []MarquezName `json:"inputs,omitempty"`
	Outputs    []MarquezName `json:"outputs,omitempty"`
	LatestRun  *MarquezRun   `json:"latestRun,omitempty"`
}

// MarquezName is a name within a namespace.
type MarquezName struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// MarquezRun is the run of a job that was spoken of last.
type MarquezRun struct {
	ID    string `json:"id"`
	State string `json:"state,omitempty"` // RUNNING, COMPLETED, FAILED, ABORTED or NEW
}

// Limits of a question for lineage.
const (
	defaultDepth = 20 // as Marquez has it
	maxDepth     = 1_000
	maxNodes     = 5_000 // of our graph, each way, from each node to begin with
)

// lineage answers with the graph around a node. A depth counts jobs: at 0 there are
// those that a data set touches, and what else they touch on the way to and from it.
func (c *call) lineage() error {
	query, err := c.query("nodeId", "depth", "as_of")
	if err != nil {
		return err
	}
	if query.Get("nodeId") == "" {
		return handlers.InvalidField("nodeId", "required", "is required: dataset:<namespace>:<name> or job:<namespace>:<name>")
	}
	depth := defaultDepth
	if text := query.Get("depth"); text != "" {
		if depth, err = strconv.Atoi(text); err != nil || depth < 0 || depth > maxDepth {
			return handlers.InvalidField("depth", "range", "must be a whole number from 0 to %d", maxDepth)
		}
	}
	v := c.server.cfg.Runner.Now()
	if query.Has("as_of") {
		if v, err = api.AsOf(c.server.cfg.Runner, c.server.cfg.Now, query.Get("as_of")); err != nil {
			return err
		}
	}
	name, nodes, err := findNode(v, query.Get("nodeId"))
	if err != nil {
		return err
	}
	g := newMarquezGraph(v)
	for _, n := range nodes {
		q := projections.LineageQuery{Direction: projections.BothWays, Limit: maxNodes}
		if n.Kind == events.JobNode { // of which only runs come; theirs lead on
			q.Depth = 1
		}
		g.add(v.Lineage(n, q))
	}
	c.w.Header().Set("Modelog-Sequence", strconv.FormatUint(v.Sequence, 10))
	return c.send(http.StatusOK, g.around(name, depth))
}

// query reads the query, and refuses parameters that mean nothing here.
func (c *call) query(names ...string) (url.Values, error) {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, handlers.InvalidField("query", "syntax", "is not a query string: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case !slices.Contains(names, name):
			return nil, handlers.InvalidField(name, "unknown_parameter", "is not a query parameter of this call")
		case len(query[name]) > 1:
			return nil, handlers.InvalidField(name, "duplicate", "is there twice")
		}
	}
	return query, nil
}

// marquezGraph gathers the graph of a view in Marquez's terms.
type marquezGraph struct {
	view  projections.View
	nodes map[nodeName]*marquezNode
	names map[events.LineageNode]nodeName // with no name for what isn't shown
	more  bool
}

type marquezNode struct {
	causes, effects map[nodeName]bool
	run             projections.LineageFound // the latest of a job
}

func newMarquezGraph(v projections.View) *marquezGraph {
	return &marquezGraph{view: v, nodes: map[nodeName]*marquezNode{}, names: map[events.LineageNode]nodeName{}}
}

func (g *marquezGraph) add(part projections.LineageGraph) {
	g.more = g.more || part.More
	for _, found := range part.Nodes {
		name, ok := g.name(found.LineageNode)
		if !ok {
			continue
		}
		n := g.node(name)
		if found.Kind == events.RunNode && found.Sequence >= n.run.Sequence {
			n.run = found
		}
	}
	for _, step := range part.Steps {
		g.step(step)
	}
}

func (g *marquezGraph) name(n events.LineageNode) (nodeName, bool) {
	name, before := g.names[n]
	if !before {
		name = marquezName(g.view, n)
		g.names[n] = name
	}
	return name, name != nodeName{}
}

func (g *marquezGraph) node(name nodeName) *marquezNode {
	n := g.nodes[name]
	if n == nil {
		n = &marquezNode{causes: map[nodeName]bool{}, effects: map[nodeName]bool{}}
		g.nodes[name] = n
	}
	return n
}

// step adds an edge. That a run is a part of another says nothing of data, and two
// names of one thing are joined in one direction, the one that the search went.
func (g *marquezGraph) step(step projections.LineageStep) {
	effect, effectShown := g.name(step.From)
	cause, causeShown := g.name(step.To)
	if !effectShown || !causeShown || cause == effect || (cause.kind == jobType && effect.kind == jobType) {
		return
	}
	if step.Type == events.AlternateOf && g.node(effect).effects[cause] {
		return
	}
	g.node(effect).causes[cause] = true
	g.node(cause).effects[effect] = true
}

// around gives what lies within so many jobs of a node.
func (g *marquezGraph) around(start nodeName, depth int) MarquezLineage {
	near := g.within(start, depth)
	shown := MarquezLineage{Graph: make([]MarquezNode, 0, len(near)), More: g.more}
	for name := range near {
		shown.Graph = append(shown.Graph, g.show(name, near))
	}
	slices.SortFunc(shown.Graph, func(a, b MarquezNode) int { return cmp.Compare(a.ID, b.ID) })
	return shown
}

// within finds the nodes that so many jobs lie before, in whichever direction. A
// step from one data set to another counts as a job that nobody told of.
func (g *marquezGraph) within(start nodeName, depth int) map[nodeName]bool {
	near := map[nodeName]bool{}
	queue := []nodeName{start}
	if start.kind == datasetType {
		depth++ // its own jobs are no step away
	}
	for ; len(queue) > 0 && depth >= 0; depth-- {
		var next []nodeName
		for i := 0; i < len(queue); i++ {
			name := queue[i]
			if near[name] {
				continue
			}
			near[name] = true
			n := g.node(name)
			for _, others := range []map[nodeName]bool{n.causes, n.effects} {
				for other := range others {
					if name.kind == jobType {
						queue = append(queue, other)
					} else {
						next = append(next, other)
					}
				}
			}
		}
		queue = next
	}
	return near
}

func (g *marquezGraph) show(name nodeName, near map[nodeName]bool) MarquezNode {
	n, id := g.node(name), MarquezName{name.namespace, name.name}
	shown := MarquezNode{
		ID: name.id(), Type: name.kind, InEdges: []MarquezEdge{}, OutEdges: []MarquezEdge{},
		Data: MarquezData{ID: id, Name: name.name, Namespace: name.namespace},
	}
	causes, effects := sortedNear(n.causes, near), sortedNear(n.effects, near)
	for _, cause := range causes {
		shown.InEdges = append(shown.InEdges, MarquezEdge{cause.id(), shown.ID})
	}
	for _, effect := range effects {
		shown.OutEdges = append(shown.OutEdges, MarquezEdge{shown.ID, effect.id()})
	}
	if name.kind != jobType {
		shown.Data.Type, shown.Data.Physical, shown.Data.Source = "DB_TABLE", name.name, name.namespace
		if isModel(name) {
			shown.Data.Type = "MODEL"
		}
		return shown
	}
	shown.Data.Type, shown.Data.SimpleName = "BATCH", name.name
	shown.Data.Inputs, shown.Data.Outputs = marquezNames(causes), marquezNames(effects)
	if n.run.Name != "" {
		shown.Data.LatestRun = &MarquezRun{ID: n.run.Name, State: marquezStates[n.run.State]}
	}
	return shown
}

// marquezStates are the states of runs, in Marquez's words.
var marquezStates = map[string]string{
	events.RunStart: "RUNNING", events.RunRunning: "RUNNING", events.RunComplete: "COMPLETED",
	events.RunFail: "FAILED", events.RunAbort: "ABORTED", events.RunOther: "NEW",
}

func sortedNear(names, near map[nodeName]bool) []nodeName {
	var all []nodeName
	for name := range names {
		if near[name] {
			all = append(all, name)
		}
	}
	slices.SortFunc(all, func(a, b nodeName) int { return cmp.Compare(a.id(), b.id()) })
	return all
}

func marquezNames(all []nodeName) []MarquezName {
	names := make([]MarquezName, len(all))
	for i, n := range all {
		names[i] = MarquezName{n.namespace, n.name}
	}
	return names
}
