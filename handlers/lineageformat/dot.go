package lineageformat

import (
	"fmt"
	"strings"
	"unicode"
)

// DOT writes the graph in Graphviz's language. Its arrows go as the data flows, from
// left to right. The same graph gives the same text.
func DOT(g Graph) []byte {
	g = g.sorted()
	var b strings.Builder
	b.WriteString("digraph lineage {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=10, style=\"filled,rounded\", shape=box];\n" +
		"  edge [fontname=\"sans-serif\", fontsize=9, color=\"#64748b\"];\n")
	for _, n := range g.Nodes {
		fmt.Fprintf(&b, "  %s [label=%s, fillcolor=%s", dotString(n.ID), dotString(dotLabel(n)), dotString(colourOf(n).fill))
		switch {
		case n.Withdrawn != nil:
			fmt.Fprintf(&b, ", color=%s, penwidth=2, tooltip=%s", dotString(withdrawnColour), dotString(n.Withdrawn.text()))
		case n.Tainted:
			fmt.Fprintf(&b, ", color=%s, style=\"filled,rounded,dashed\"", dotString(withdrawnColour))
		case n.ID == g.Root:
			b.WriteString(", penwidth=2")
		}
		if ClassOf(n.Kind) == Activity {
			b.WriteString(", shape=cds")
		}
		b.WriteString("];\n")
	}
	kinds := g.kinds()
	for _, e := range g.Edges {
		fmt.Fprintf(&b, "  %s -> %s [label=%s", dotString(e.To), dotString(e.From), dotString(wordingOf(e, kinds[e.From]).down))
		if unsure := e.unsure(); unsure != "" {
			fmt.Fprintf(&b, ", style=dashed, tooltip=%s", dotString(unsure))
		}
		b.WriteString("];\n")
	}
	b.WriteString("}\n")
	return []byte(b.String())
}

// dotLabel is what is written into a node: its name, its kind and what is known of
// it, each on a line.
func dotLabel(n Node) string {
	lines := []string{n.Label, n.name()}
	for _, note := range n.Notes {
		lines = append(lines, note.Name+" "+note.Value)
	}
	if n.Withdrawn != nil {
		lines = append(lines, "WITHDRAWN")
	}
	return strings.Join(lines, "\n")
}

func (w *Withdrawal) text() string {
	s := "withdrawn"
	if w.At != "" {
		s += " " + w.At
	}
	if w.Reason != "" {
		s += ": " + w.Reason
	}
	return s
}

// dotString quotes a text for Graphviz, which reads escapes of its own in labels:
// a backslash that is in the text must not become one of them.
func dotString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case unicode.IsControl(r):
			b.WriteRune(unicode.ReplacementChar)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
