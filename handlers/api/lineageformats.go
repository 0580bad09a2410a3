package api

import (
	"errors"
	"fmt"
	"mime"
	"strconv"
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

var formatQuery = parameter{"format", "string", "json, dot (Graphviz), svg, or prov (W3C PROV-JSON); else as Accept says, and JSON for one that takes anything"}

// lineageFormats are the formats by their media types, the ones to prefer first.
var lineageFormats = []struct{ media, format string }{
	{jsonMedia, "json"}, {dotMedia, "dot"}, {svgMedia, "svg"}, {provMedia, "prov"},
}

// notAcceptableError says that nothing of what is accepted can be made.
type notAcceptableError struct{ why string }

func (notAcceptableError) Code() handlers.Code { return handlers.CodeNotAcceptable }
func (e notAcceptableError) Error() string     { return e.why }

// lineageFormat gives the format that format names or, without one, the one that
// Accept prefers. It fails with a notAcceptableError.
func (c *call) lineageFormat() (string, error) {
	if c.query.Has("format") {
		return c.query.Get("format"), nil
	}
	accept := strings.Join(c.r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return "json", nil
	}
	best, format := 0.0, ""
	for _, f := range lineageFormats {
		if q := qualityOf(f.media, accept); q > best {
			best, format = q, f.format
		}
	}
	if format == "" {
		return "", notAcceptableError{fmt.Sprintf("the Accept is %q; the lineage can be %s, %s, %s or %s", accept, jsonMedia, dotMedia, svgMedia, provMedia)}
	}
	return format, nil
}

// qualityOf gives how welcome a media type is, from 0 to 1, as the most specific
// range of an Accept header says (RFC 9110, 12.5.1). What can't be read says nothing.
func qualityOf(media, accept string) (quality float64) {
	kind, _, _ := strings.Cut(media, "/")
	specific := 0
	for part := range strings.SplitSeq(accept, ",") {
		accepted, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		at := 0
		switch accepted {
		case media:
			at = 3
		case kind + "/*":
			at = 2
		case "*/*":
			at = 1
		}
		if at <= specific {
			continue
		}
		specific, quality = at, 1
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil && q >= 0 && q <= 1 {
			quality = q
		}
	}
	return quality
}

// lineageAs shows a part of the graph in the format that is asked for.
func (c *call) lineageAs(v projections.View, l Lineage) (answer[Lineage], error) {
	format, err := c.lineageFormat()
	if err != nil {
		return answer[Lineage]{}, err
	}
	c.header("Vary", "Accept")
	switch format {
	case "", "json":
		return answer[Lineage]{value: l}, nil
	case "dot":
		return answer[Lineage]{shown: lineageformat.DOT(withdrawnIn(v, l)), media: dotMedia}, nil
	case "svg":
		data, err := lineageformat.SVG(withdrawnIn(v, l))
		if tooMany, ok := errors.AsType[lineageformat.TooManyError](err); ok && !c.query.Has("format") {
			return answer[Lineage]{}, notAcceptableError{fmt.Sprintf("can't be %s: %v", svgMedia, tooMany)}
		} else if ok {
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
