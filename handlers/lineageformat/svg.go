package lineageformat

import (
	"encoding/xml"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of a drawing: beyond them nobody could look at it.
const (
	MaxDrawnNodes = 2000
	MaxDrawnEdges = 10000
)

// TooManyError says that a graph is too large to be drawn.
type TooManyError struct {
	What         string // nodes or edges
	Count, Limit int
}

func (e TooManyError) Error() string {
	return fmt.Sprintf("the graph has %d %s, and a drawing at most %d; ask for a smaller depth, or for JSON or DOT", e.Count, e.What, e.Limit)
}

// Sizes of a drawing, in pixels.
const (
	boxWidth, boxHeight   = 220.0, 46.0
	columnWidth, rowHight = 310.0, 64.0
	margin                = 24.0
	labelRunes, noteRunes = 27, 36
)

// SVG draws the graph as an SVG document of its own, from left to right. It has no
// scripts and loads nothing. The same graph gives the same bytes. It fails with
// TooManyError.
func SVG(g Graph) ([]byte, error) {
	g = g.sorted()
	if n := len(g.Nodes); n > MaxDrawnNodes {
		return nil, TooManyError{"nodes", n, MaxDrawnNodes}
	}
	if n := len(g.Edges); n > MaxDrawnEdges {
		return nil, TooManyError{"edges", n, MaxDrawnEdges}
	}
	places := g.places()
	ends := make([][2]int, len(g.Edges))
	for i, e := range g.Edges {
		ends[i] = [2]int{places[e.To], places[e.From]} // as the data flows
	}
	d := drawing{graph: g, layout: newLayout(len(g.Nodes), ends)}
	return []byte(d.draw(ends)), nil
}

type drawing struct {
	graph  Graph
	layout *layout
	text   strings.Builder
}

const svgHead = `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]g" height="%[2]g" viewBox="0 0 %[1]g %[2]g" role="img" font-family="system-ui, sans-serif">
<title>Lineage%[3]s</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="#64748b"/></marker></defs>
<rect width="100%%" height="100%%" fill="#ffffff"/>
`

func (d *drawing) draw(ends [][2]int) string {
	rows := 0.0
	for _, p := range d.layout.places {
		rows = max(rows, p.y)
	}
	width := 2*margin + boxWidth + columnWidth*float64(max(0, len(d.layout.columns)-1))
	height := 2*margin + boxHeight + rowHight*rows
	title := ""
	if i, ok := d.graph.places()[d.graph.Root]; ok {
		title = " of " + escape(d.graph.Nodes[i].Label)
	}
	fmt.Fprintf(&d.text, svgHead, round(width), round(height), title)
	d.text.WriteString("<g fill=\"none\" stroke=\"#64748b\" stroke-width=\"1.2\">\n")
	for i := range d.graph.Edges {
		d.edge(i, ends[i])
	}
	d.text.WriteString("</g>\n")
	for i := range d.graph.Nodes {
		d.node(i)
	}
	d.text.WriteString("</svg>\n")
	return d.text.String()
}

// position gives the left upper corner of a box.
func (d *drawing) position(at int) (x, y float64) {
	p := d.layout.places[at]
	return margin + columnWidth*float64(p.column), margin + rowHight*p.y
}

func (d *drawing) edge(i int, ends [2]int) {
	e := d.graph.Edges[i]
	way := d.layout.edges[i]
	backwards := way[0] != ends[0]
	dashes, about := "", wordingOf(e, d.graph.Nodes[ends[1]].Kind).down
	if unsure := e.unsure(); unsure != "" {
		dashes, about = ` stroke-dasharray="5 4"`, about+", "+unsure
	}
	if len(e.Sequences) > 0 {
		about += ", event " + strings.Trim(fmt.Sprint(e.Sequences), "[]")
	}
	tip := `marker-end`
	if backwards {
		tip = `marker-start`
	}
	fmt.Fprintf(&d.text, `<path d="%s"%s %s="url(#tip)"><title>%s</title></path>`+"\n", d.path(way), dashes, tip, escape(about))
}

// path goes from the right side of the first box through the bends to the left
// side of the last.
func (d *drawing) path(way route) string {
	var b strings.Builder
	x, y := d.position(way[0])
	if way[0] == way[len(way)-1] { // onto itself
		fmt.Fprintf(&b, "M%g %gc30 -34 -%g -34 -%g 0", round(x+boxWidth-30), round(y), boxWidth-30, boxWidth-60)
		return b.String()
	}
	x, y = x+boxWidth, y+boxHeight/2
	fmt.Fprintf(&b, "M%g %g", round(x), round(y))
	for i, at := range way[1:] {
		toX, toY := d.position(at)
		toY += boxHeight / 2
		half := (toX - x) / 2
		fmt.Fprintf(&b, "C%g %g %g %g %g %g", round(x+half), round(y), round(toX-half), round(toY), round(toX), round(toY))
		if x, y = toX, toY; i < len(way)-2 { // straight through where a box would be
			x += boxWidth
			fmt.Fprintf(&b, "L%g %g", round(x), round(y))
		}
	}
	return b.String()
}

func (d *drawing) node(i int) {
	n := d.graph.Nodes[i]
	x, y := d.position(i) // the places of the nodes come first
	c := colourOf(n)
	line, width := c.line, 1.2
	switch {
	case n.Withdrawn != nil:
		line, width = withdrawnColour, 2.4
	case n.Tainted:
		line = withdrawnColour
	case n.ID == d.graph.Root:
		width = 2.4
	}
	dashes := ""
	if n.Tainted && n.Withdrawn == nil {
		dashes = ` stroke-dasharray="5 3"`
	}
	corner := 8.0
	if ClassOf(n.Kind) == Activity {
		corner = boxHeight / 2
	}
	fmt.Fprintf(&d.text, `<g><title>%s</title><rect x="%g" y="%g" width="%g" height="%g" rx="%g" fill="%s" stroke="%s" stroke-width="%g"%s/>`,
		escape(describe(n)), round(x), round(y), boxWidth, boxHeight, corner, c.fill, line, width, dashes)
	fmt.Fprintf(&d.text, `<text x="%g" y="%g" text-anchor="middle" font-size="12" font-weight="600" fill="#0f172a">%s</text>`,
		round(x+boxWidth/2), round(y+19), escape(short(OneLine(n.Label), labelRunes)))
	fmt.Fprintf(&d.text, `<text x="%g" y="%g" text-anchor="middle" font-size="10" fill="%s">%s</text></g>`+"\n",
		round(x+boxWidth/2), round(y+35), smallColour(n), escape(short(OneLine(smallPrint(n)), noteRunes)))
}

func smallColour(n Node) string {
	if n.Withdrawn != nil {
		return withdrawnColour
	}
	return "#475569"
}

func smallPrint(n Node) string {
	if n.Withdrawn != nil {
		return n.name() + ", withdrawn"
	}
	parts := []string{n.name()}
	for _, note := range n.Notes {
		parts = append(parts, note.Value)
	}
	return strings.Join(parts, ", ")
}

// short cuts the middle out of a text that is too long: what things are called
// ends with what tells them apart.
func short(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s)
	half := (limit - 1) / 2
	return string(runes[:half]) + "…" + string(runes[len(runes)-half:])
}

// round keeps a tenth of a pixel.
func round(f float64) float64 { return float64(int(f*10+0.5)) / 10 }

func escape(s string) string {
	var b strings.Builder
	// A builder takes all there is.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
