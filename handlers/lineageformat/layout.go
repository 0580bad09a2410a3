package lineageformat

import (
	"cmp"
	"slices"
)

// layout places the nodes of a graph in columns, from left to right as the data
// flows (Sugiyama's method): edges that close a circle are turned around, a node
// stands right of all that flow into it, and within the columns the nodes are put
// in order by the middle of their neighbours, so that few edges cross. An edge over
// several columns has a bend in each.
type layout struct {
	columns [][]int // places, from top to bottom
	places  []place
	edges   []route // as the graph has them
}

// place is where a node stands, or the bend of a long edge.
type place struct {
	node        int // -1 for a bend
	column, row int
	before      []int // places in the column before that it is joined with
	after       []int
	y           float64
}

// route is the way of an edge: places from the column of its source to that of
// its target, or the other way round if the edge was turned.
type route []int

// maxBends is how many bends an edge has before it is drawn straight through.
const maxBends = 24

// sweeps is how often the columns are put in order; more changes little.
const sweeps = 8

func newLayout(nodes int, edges [][2]int) *layout {
	turned := acyclic(nodes, edges)
	l := &layout{edges: make([]route, len(edges))}
	columnOf := columns(nodes, turned)
	for node, column := range columnOf {
		l.add(node, column)
	}
	for i, e := range turned {
		l.edges[i] = l.join(e[0], e[1])
	}
	for i := range sweeps {
		l.order(i%2 == 0)
	}
	l.settle()
	return l
}

// acyclic turns the edges around that close a circle, as a walk in depth from
// each node in turn finds them. An edge from a node to itself stays.
func acyclic(nodes int, edges [][2]int) [][2]int {
	const unseen, open, done = 0, 1, 2
	next := make([][]int, nodes) // edges by source
	for i, e := range edges {
		next[e[0]] = append(next[e[0]], i)
	}
	turned := slices.Clone(edges)
	state := make([]uint8, nodes)
	type visit struct{ node, edge int }
	for first := range nodes {
		if state[first] != unseen {
			continue
		}
		state[first] = open
		for stack := []visit{{first, 0}}; len(stack) > 0; {
			top := &stack[len(stack)-1]
			if top.edge == len(next[top.node]) {
				state[top.node] = done
				stack = stack[:len(stack)-1]
				continue
			}
			i := next[top.node][top.edge]
			top.edge++
			switch to := edges[i][1]; state[to] {
			case unseen:
				state[to] = open
				stack = append(stack, visit{to, 0})
			case open:
				turned[i] = [2]int{to, top.node}
			}
		}
	}
	return turned
}

// columns gives each node the column after the last of those that flow into it.
// What nothing flows into then moves to the right, next to what it flows into.
func columns(nodes int, edges [][2]int) []int {
	next, waiting := make([][]int, nodes), make([]int, nodes)
	for _, e := range edges {
		if e[0] != e[1] {
			next[e[0]] = append(next[e[0]], e[1])
			waiting[e[1]]++
		}
	}
	column, sources := make([]int, nodes), []int{}
	for node := range nodes {
		if waiting[node] == 0 {
			sources = append(sources, node)
		}
	}
	for queue := slices.Clone(sources); len(queue) > 0; queue = queue[1:] {
		for _, to := range next[queue[0]] {
			column[to] = max(column[to], column[queue[0]]+1)
			if waiting[to]--; waiting[to] == 0 {
				queue = append(queue, to)
			}
		}
	}
	for _, node := range sources {
		for i, to := range next[node] {
			if i == 0 || column[to]-1 < column[node] {
				column[node] = column[to] - 1
			}
		}
	}
	return column
}

func (l *layout) add(node, column int) int {
	for len(l.columns) <= column {
		l.columns = append(l.columns, nil)
	}
	l.places = append(l.places, place{node: node, column: column, row: len(l.columns[column])})
	at := len(l.places) - 1
	l.columns[column] = append(l.columns[column], at)
	return at
}

// join makes the way from one node to another in a later column.
func (l *layout) join(from, to int) route {
	way := route{from}
	first, last := l.places[from].column, l.places[to].column
	if bends := last - first - 1; bends <= maxBends {
		for column := first + 1; column < last; column++ {
			way = append(way, l.add(-1, column))
		}
	}
	way = append(way, to)
	if from == to {
		return way
	}
	for i := range len(way) - 1 {
		a, b := way[i], way[i+1]
		l.places[a].after = append(l.places[a].after, b)
		l.places[b].before = append(l.places[b].before, a)
	}
	return way
}

// order puts each column in the order of the middles of the neighbours in the
// column before it, or in the one after it.
func (l *layout) order(forward bool) {
	for i := range l.columns {
		column := l.columns[i]
		if !forward {
			column = l.columns[len(l.columns)-1-i]
		}
		middles := make(map[int]float64, len(column))
		for _, at := range column {
			middles[at] = l.middle(at, forward)
		}
		slices.SortStableFunc(column, func(a, b int) int { return cmp.Compare(middles[a], middles[b]) })
		for row, at := range column {
			l.places[at].row = row
		}
	}
}

// middle is the mean row of a place's neighbours, its own without any.
func (l *layout) middle(at int, forward bool) float64 {
	p := &l.places[at]
	neighbours := p.before
	if !forward {
		neighbours = p.after
	}
	if len(neighbours) == 0 {
		return float64(p.row)
	}
	sum := 0
	for _, n := range neighbours {
		sum += l.places[n].row
	}
	return float64(sum) / float64(len(neighbours))
}

// settle gives the places their heights, a unit or more apart from each other: as
// near to the middle of their neighbours as the order of their column lets them.
func (l *layout) settle() {
	for i := range l.places {
		l.places[i].y = float64(l.places[i].row)
	}
	for i := range sweeps {
		for c := range l.columns {
			column := l.columns[c]
			if i%2 == 1 {
				column = l.columns[len(l.columns)-1-c]
			}
			l.pull(column)
		}
	}
	top := 0.0
	for i := range l.places {
		top = min(top, l.places[i].y)
	}
	for i := range l.places {
		l.places[i].y -= top
	}
}

// pull moves a column's places towards their neighbours: first all as they would
// like, then those apart that would lie on each other, then the column as a whole
// back by what that moved it on average.
func (l *layout) pull(column []int) {
	shift := 0.0
	for i, at := range column {
		p := &l.places[at]
		wanted, n := 0.0, 0
		for _, list := range [2][]int{p.before, p.after} {
			for _, other := range list {
				wanted += l.places[other].y
				n++
			}
		}
		if n > 0 {
			p.y = wanted / float64(n)
		}
		want := p.y
		if i > 0 {
			p.y = max(p.y, l.places[column[i-1]].y+1)
		}
		shift += p.y - want
	}
	for _, at := range column {
		l.places[at].y -= shift / float64(len(column))
	}
}
