package lineageformat

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Direction is the way from the root into the graph.
type Direction uint8

// The directions: what went into it, and what came of it.
const (
	Upstream Direction = iota
	Downstream
)

// MaxTreeLines is the number of lines after which a tree ends.
const MaxTreeLines = 2000

// Tree draws what lies in one direction of the root, a line for each node. A node
// that was drawn before is named again, without what lies behind it. The root must
// be in the graph. Texts of others are shown on one line without control
// characters, which a terminal might obey.
func Tree(g Graph, d Direction) string {
	g = g.sorted()
	t := tree{nodes: g.Nodes, places: g.places(), next: make([][]branch, len(g.Nodes)), drawn: make([]bool, len(g.Nodes))}
	for _, e := range g.Edges {
		from, to := t.places[e.From], t.places[e.To]
		words := wordingOf(e, g.Nodes[from].Kind)
		if d == Upstream {
			t.next[from] = append(t.next[from], branch{from, to, words.up, e.unsure(), e.Type == alternateOf})
		} else {
			t.next[to] = append(t.next[to], branch{to, from, words.down, e.unsure(), e.Type == alternateOf})
		}
	}
	for i := range t.next {
		slices.SortStableFunc(t.next[i], func(a, b branch) int { return cmp.Compare(t.nodes[a.node].Label, t.nodes[b.node].Label) })
	}
	if root, ok := t.places[g.Root]; ok {
		t.draw(root)
	}
	return t.text.String()
}

type tree struct {
	nodes  []Node
	places map[string]int
	next   [][]branch // by node
	drawn  []bool     // by node
	lines  int
	text   strings.Builder
}

// branch is a way from a node to the next.
type branch struct {
	from, node   int
	verb, unsure string
	same         bool // the two are one thing under two names
}

const alternateOf = "alternateOf"

// step is a node that is to be drawn, with what stands before it.
type step struct {
	branch branch
	prefix string
	last   bool
}

// draw goes through the tree without recursion: a chain may be as long as a graph.
func (t *tree) draw(root int) {
	t.drawn[root] = true
	t.line("", describe(t.nodes[root]))
	steps := t.behind(nil, root, branch{}, "")
	for len(steps) > 0 {
		s := steps[len(steps)-1]
		steps = steps[:len(steps)-1]
		if t.lines >= MaxTreeLines {
			t.text.WriteString("… the tree goes on; ask for a smaller depth, or for JSON\n")
			return
		}
		fork, below := "├─ ", s.prefix+"│  "
		if s.last {
			fork, below = "└─ ", s.prefix+"   "
		}
		text := s.branch.text() + " " + describe(t.nodes[s.branch.node])
		switch again := t.drawn[s.branch.node]; {
		case again && len(t.next[s.branch.node]) > 0:
			t.line(s.prefix+fork, text+" (see above)")
			continue
		case again:
			t.line(s.prefix+fork, text)
			continue
		}
		t.drawn[s.branch.node] = true
		t.line(s.prefix+fork, text)
		steps = t.behind(steps, s.branch.node, s.branch, below)
	}
}

// behind appends what lies behind a node, so that the first is drawn first. The way
// back to where the node's other name was drawn is left out.
func (t *tree) behind(steps []step, node int, came branch, prefix string) []step {
	branches := t.next[node]
	if came.same {
		branches = slices.DeleteFunc(slices.Clone(branches), func(b branch) bool { return b.same && b.node == came.from })
	}
	for i, b := range slices.Backward(branches) {
		steps = append(steps, step{b, shortened(prefix), i == len(branches)-1})
	}
	return steps
}

// maxPrefix is the number of bytes after which the lines of a tree don't move to
// the right any more: nobody's terminal is that wide, and a chain of ten thousand
// would be drawn in hundreds of megabytes.
const maxPrefix = 300

func shortened(prefix string) string {
	cut := max(0, len(prefix)-maxPrefix)
	for cut < len(prefix) && !utf8.RuneStart(prefix[cut]) {
		cut++
	}
	return prefix[cut:]
}

func (t *tree) line(prefix, text string) {
	t.lines++
	t.text.WriteString(prefix)
	t.text.WriteString(text)
	t.text.WriteByte('\n')
}

// text says how one gets to the next node.
func (b branch) text() string {
	if b.unsure != "" {
		return OneLine(b.verb + " (" + b.unsure + ")")
	}
	return OneLine(b.verb)
}

// describe tells of a node on one line.
func describe(n Node) string {
	s := OneLine(n.name()) + " " + OneLine(n.Label)
	notes := make([]string, 0, len(n.Notes)+1)
	for _, note := range n.Notes {
		notes = append(notes, OneLine(note.Name)+" "+OneLine(note.Value))
	}
	if len(notes) > 0 {
		s += "  [" + strings.Join(notes, ", ") + "]"
	}
	switch {
	case n.Withdrawn != nil:
		s += "  WITHDRAWN"
		if n.Withdrawn.Reason != "" {
			s += ": " + OneLine(n.Withdrawn.Reason)
		}
	case n.Tainted:
		s += "  (from withdrawn data)"
	}
	return s
}

// OneLine keeps a text on its line, and its control characters from the terminal.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return unicode.ReplacementChar
		default:
			return r
		}
	}, s)
}
