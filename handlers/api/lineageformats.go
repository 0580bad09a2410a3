package api

import (
	"errors"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/lineageformat"
	"github.com/modelog/modelog/projections"
)

// Media types of lineage, beside JSON.
const (
	dotMedia  = "text/vnd.graphviz"
	svgMedia  = "image/svg+xml"
	provMedia = "application/provenance+json"
)

var lineageMedia = []string{dotMedia, svgMedia, provMedia}

var formatQuery = parameter{"format", "string", "json, which is the default; dot (Graphviz), svg, or prov (W3C PROV-JSON)"}

// lineageAs shows a part of the graph in the format that is asked for.
func (c *call) lineageAs(v projections.View, l Lineage) (answer[Lineage], error) {
	switch format := c.query.Get("format"); format {
	case "", "json":
		return answer[Lineage]{value: l}, nil
	case "dot":
		return answer[Lineage]{shown: lineageformat.DOT(withdrawnIn(v, l)), media: dotMedia}, nil
	case "svg":
		data, err := lineageformat.SVG(withdrawnIn(v, l))
		if tooMany, ok := errors.AsType[lineageformat.TooManyError](err); ok {
			return answer[Lineage]{}, handlers.InvalidField("format", "too_many_"+tooMany.What, "can't be svg: %v", tooMany)
		}
		return answer[Lineage]{shown: data, media: svgMedia}, err
	case "prov":
		data, err := lineageformat.PROV(withdrawnIn(v, l))
		return answer[Lineage]{shown: data, media: provMedia}, err
	default:
		return answer[Lineage]{}, handlers.InvalidField("format", "enum", "must be json, dot, svg or prov")
	}
}

// withdrawnIn gives the graph with the reasons of withdrawals.
func withdrawnIn(v projections.View, l Lineage) lineageformat.Graph {
	g := LineageGraph(l)
	g.Registry = v.Registry().ID.String()
	for i, n := range l.Nodes {
		if g.Nodes[i].Withdrawn == nil {
			continue
		}
		d := events.DatasetVersion{Namespace: n.Namespace, Name: n.Name, Version: n.Version, Digest: n.Digest}
		if w, sequence, ok := v.Withdrawal(d); ok {
			g.Nodes[i].Withdrawn = &lineageformat.Withdrawal{Sequence: sequence, At: events.FormatTime(w.Since()), Reason: w.Reason.String()}
		}
	}
	return g
}

// LineageGraph gives an answer of /v1/lineage as the formats take it. Its root is
// the node that was asked for.
func LineageGraph(l Lineage) lineageformat.Graph {
	var g lineageformat.Graph
	for i, n := range l.Nodes {
		if i == 0 {
			g.Root = n.ID
		}
		g.Nodes = append(g.Nodes, formatNode(n))
	}
	for _, e := range l.Edges {
		edge := lineageformat.Edge{From: e.From, To: e.To, Type: e.Type, Certainty: e.Certainty}
		if e.Sequence > 0 {
			edge.Sequences = []uint64{e.Sequence}
		}
		g.Edges = append(g.Edges, edge)
	}
	return g.Tainted()
}

func formatNode(n LineageNode) lineageformat.Node {
	f := lineageformat.Node{ID: n.ID, Kind: n.Kind, Label: n.ID}
	if _, name, ok := strings.Cut(n.ID, ":"); ok {
		f.Label = name
	}
	if n.Kind == string(events.DatasetNode) || n.Kind == string(events.DatasetVersionNode) {
		f.Label = strings.TrimSpace(n.Namespace + " " + n.Name)
	}
	for _, note := range []lineageformat.Note{
		{Name: "stage", Value: n.Stage}, {Name: "on", Value: strings.Join(n.DeployedTo, " ")}, {Name: "state", Value: n.State},
	} {
		if note.Value != "" {
			f.Notes = append(f.Notes, note)
		}
	}
	if n.Kind == string(events.DatasetVersionNode) {
		f.Notes = append(f.Notes, versionNotes(n)...)
	}
	if n.Gone {
		f.Notes = append(f.Notes, lineageformat.Note{Name: "deleted", Value: "yes"})
	}
	if n.Withdrawn {
		f.Withdrawn = &lineageformat.Withdrawal{}
	}
	return f
}

func versionNotes(n LineageNode) (notes []lineageformat.Note) {
	if n.Version != "" {
		notes = append(notes, lineageformat.Note{Name: "version", Value: n.Version})
	}
	if n.Digest != "" {
		notes = append(notes, lineageformat.Note{Name: "digest", Value: n.Digest})
	}
	return notes
}
