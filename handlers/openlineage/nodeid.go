package openlineage

import (
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// Kinds of nodes as Marquez has them, and how the ids of each begin.
const (
	jobType     = "JOB"
	datasetType = "DATASET"

	jobPrefix     = "job:"
	datasetPrefix = "dataset:"
)

// Namespaces of what Marquez has no kind for: a run of which nobody said what job it
// is one of is a job, a base model and an artifact are data sets.
const (
	runNamespace       = "run"
	baseModelNamespace = "base_model"
	artifactNamespace  = "artifact"
)

// nodeName is a node as Marquez knows it: a job, or a data set of any version.
type nodeName struct {
	kind, namespace, name string
}

func (n nodeName) id() string {
	return strings.ToLower(n.kind) + ":" + n.namespace + ":" + n.name
}

// marquezName gives the node that stands for one of ours, which is the zero one for
// code and for targets. A model is a data set, as its own reports have it (ModelNamespace).
func marquezName(v projections.View, n events.LineageNode) nodeName {
	switch n.Kind {
	case events.DatasetNode, events.DatasetVersionNode, events.FeatureNode:
		return nodeName{datasetType, n.Namespace, n.Name}
	case events.JobNode:
		return nodeName{jobType, n.Namespace, n.Name}
	case events.RunNode:
		if job, ok := v.JobOf(n); ok {
			return nodeName{jobType, job.Namespace, job.Name}
		}
		return nodeName{jobType, runNamespace, n.Name}
	case events.VersionNode:
		name, _ := v.NameOf(n.ModelID)
		return nodeName{datasetType, ModelNamespace + v.Registry().ID.String(), name}
	case events.BaseModelNode:
		return nodeName{datasetType, baseModelNamespace, n.Name}
	case events.ArtifactNode:
		return nodeName{datasetType, artifactNamespace, n.Digest + n.Name}
	case events.CodeNode, events.TargetNode:
		return nodeName{}
	default:
		return nodeName{}
	}
}

func isModel(n nodeName) bool {
	return n.kind == datasetType && (n.namespace == baseModelNamespace || strings.HasPrefix(n.namespace, ModelNamespace))
}

// findNode gives what a node id speaks of, and the name that it has there. Neither
// namespaces nor names are encoded in it, and both may hold colons, so it is taken
// apart where a part before a colon is a namespace that has such a name: the longest
// one, since namespaces such as postgres://db:5432 have colons, and names seldom. It
// fails with handlers.InvalidError and handlers.NotFoundError.
func findNode(v projections.View, id string) (nodeName, []events.LineageNode, error) {
	if len(id) > handlers.MaxNode {
		return nodeName{}, nil, handlers.InvalidField("nodeId", "max_length", "has more than %d bytes", handlers.MaxNode)
	}
	kind, find := datasetType, datasetNodes
	rest, ok := strings.CutPrefix(id, datasetPrefix)
	if !ok {
		kind, find = jobType, jobNodes
		rest, ok = strings.CutPrefix(id, jobPrefix)
	}
	end := strings.LastIndexByte(rest, ':')
	if !ok || end < 0 || rest == ":" {
		return nodeName{}, nil, handlers.InvalidField("nodeId", "node_id", "%q is no node id; it is spelled dataset:<namespace>:<name> or job:<namespace>:<name>", id)
	}
	for ; end >= 0; end = strings.LastIndexByte(rest[:end], ':') {
		name := nodeName{kind, rest[:end], rest[end+1:]}
		if name.name == "" {
			continue
		}
		if nodes := find(v, name.namespace, name.name); len(nodes) > 0 {
			name = marquezName(v, nodes[0]) // a model may be asked for by any registry's name
			return name, nodes, nil
		}
	}
	return nodeName{}, nil, handlers.NotFoundError{What: handlers.CodeNodeNotFound, Name: id, Hint: "nothing has spoken of it by then"}
}

// datasetNodes gives what is called by a name that marquezName gives to data sets.
func datasetNodes(v projections.View, namespace, name string) []events.LineageNode {
	candidates := []events.LineageNode{
		{Kind: events.DatasetNode, Namespace: namespace, Name: name},
		{Kind: events.FeatureNode, Namespace: namespace, Name: name},
	}
	switch {
	case namespace == baseModelNamespace:
		candidates = append(candidates, events.LineageNode{Kind: events.BaseModelNode, Name: name})
	case namespace == artifactNamespace:
		candidates = append(candidates, events.LineageNode{Kind: events.ArtifactNode, Digest: name}, events.LineageNode{Kind: events.ArtifactNode, Name: name})
	case strings.HasPrefix(namespace, ModelNamespace):
		// Marquez shows what a data set comes from now: that is the last version.
		if latest, err := handlers.ParseNode(v, "nodeId", "version:"+name+"/latest"); err == nil {
			candidates = append(candidates, latest)
		}
	}
	return known(v, candidates)
}

// maxRuns is of how many runs of a job, the last ones, is told what they read.
const maxRuns = 20

// jobNodes gives a job and the last runs of it, or the run that stands for one.
func jobNodes(v projections.View, namespace, name string) []events.LineageNode {
	job := events.LineageNode{Kind: events.JobNode, Namespace: namespace, Name: name}
	if !v.HasLineageNode(job) {
		if namespace != runNamespace {
			return nil
		}
		return known(v, []events.LineageNode{{Kind: events.RunNode, Name: name}})
	}
	nodes := []events.LineageNode{job}
	g := v.Lineage(job, projections.LineageQuery{Direction: projections.Downstream, Depth: 1, Limit: 1 + maxRuns})
	for _, found := range g.Nodes {
		if found.Kind == events.RunNode {
			nodes = append(nodes, found.LineageNode)
		}
	}
	return nodes
}

func known(v projections.View, candidates []events.LineageNode) (nodes []events.LineageNode) {
	for _, n := range candidates {
		if v.HasLineageNode(n) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}
