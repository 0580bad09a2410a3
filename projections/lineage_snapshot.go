package projections

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"
	"sync"

	"github.com/modelog/modelog/events"
	"github.com/oklog/ulid/v2"
)

// lineageTable is the graph as one of the state's tables. In a snapshot it has
// rows of four kinds, each behind its letter: nodes, edges, facts and roles, in the
// order of their numbers, with sequences as differences to the one before.
type lineageTable struct {
	*lineage
	lock *sync.RWMutex
}

// upTo gives how many there are of each up to a sequence.
func (t lineageTable) upTo(sequence uint64) (nodes, edges, facts, roles int) {
	t.lock.RLock()
	defer t.lock.RUnlock()
	after := func(n int, at func(i int) uint64) int {
		return 1 + sort.Search(n-1, func(i int) bool { return at(i+1) > sequence })
	}
	return after(len(t.nodes), func(i int) uint64 { return t.nodes[i].sequence }),
		after(len(t.edges), func(i int) uint64 { return t.edges[i].sequence() }),
		after(len(t.facts), func(i int) uint64 { return t.facts[i].sequence }),
		after(len(t.roles), func(i int) uint64 { return t.roles[i].sequence })
}

// row is a node, an edge, a fact or a role to write: numbers, and a text.
type lineageRow struct {
	letter  byte
	numbers [6]uint64 // the first is the sequence
	count   int       // of numbers in use
	text    []byte    // nil for none
}

const (
	nodeRow = 'n'
	edgeRow = 'e'
	factRow = 'f'
	roleRow = 'r'
)

var rowNumbers = map[byte]int{nodeRow: 4, edgeRow: 4, factRow: 5, roleRow: 1}

// rows visits what there is up to a sequence. It lets the writer in, and ends with
// the context's error.
func (t lineageTable) rows(ctx context.Context, sequence uint64, visit func(*lineageRow) error) error {
	nodes, edges, facts, roles := t.upTo(sequence)
	var row lineageRow
	return firstError(
		func() error {
			return t.each(ctx, roles, func(i int) {
				r := &t.roles[i]
				row = lineageRow{letter: roleRow, numbers: [6]uint64{r.sequence}, text: append(row.text[:0], r.text...)}
			}, &row, visit)
		},
		func() error {
			return t.each(ctx, nodes, func(i int) {
				n := &t.nodes[i]
				label := uint64(0)
				if n.kind == versionNode {
					label = uint64(n.label)
				}
				row = lineageRow{
					letter: nodeRow, numbers: [6]uint64{n.sequence, uint64(n.kind), uint64(n.parent), label},
					text: append(row.text[:0], t.texts.get(n.text)...),
				}
			}, &row, visit)
		},
		func() error {
			return t.each(ctx, edges, func(i int) {
				e := &t.edges[i]
				row = lineageRow{letter: edgeRow, numbers: [6]uint64{e.sequence(), e.content(), uint64(e.from), uint64(e.to)}, text: row.text[:0]}
			}, &row, visit)
		},
		func() error {
			return t.each(ctx, facts, func(i int) {
				f := &t.facts[i]
				row = lineageRow{
					letter: factRow, numbers: [6]uint64{f.sequence, uint64(f.kind), uint64(f.run), uint64(f.value), uint64(f.at)}, //nolint:gosec // the same bits
					text: row.text[:0],
				}
			}, &row, visit)
		},
	)
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (t lineageTable) each(ctx context.Context, n int, load func(i int), row *lineageRow, visit func(*lineageRow) error) error {
	for i := 1; i < n; i++ {
		if i%lastStep == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		t.lock.RLock()
		load(i)
		t.lock.RUnlock()
		row.count = rowNumbers[row.letter]
		if err := visit(row); err != nil {
			return err
		}
	}
	return nil
}

func (t lineageTable) dump(sequence uint64, d *dumper) error {
	d.text("lineage")
	return t.rows(d.ctx, sequence, func(r *lineageRow) error {
		d.number(uint64(r.letter))
		for _, n := range r.numbers[:r.count] {
			d.number(n)
		}
		d.text(string(r.text))
		return d.err
	})
}

func (t lineageTable) snapshot(ctx context.Context, b *blockWriter, sequence uint64) error {
	before, letter := uint64(0), byte(0)
	return t.rows(ctx, sequence, func(r *lineageRow) error {
		if r.letter != letter {
			letter, before = r.letter, 0
		}
		b.raw = append(b.raw, r.letter)
		b.raw = binary.AppendUvarint(b.raw, r.numbers[0]-before)
		before = r.numbers[0]
		for _, n := range r.numbers[1:r.count] {
			b.raw = binary.AppendUvarint(b.raw, n)
		}
		b.raw = binary.AppendUvarint(b.raw, uint64(len(r.text)))
		b.raw = append(b.raw, r.text...)
		b.full()
		return b.err
	})
}

func (t lineageTable) restore(b blocks, sequence uint64) error {
	r := lineageReader{lineage: t.lineage, last: sequence}
	return b.each(func(u *events.Unpacker) error {
		for u.More() {
			if err := r.row(u); err != nil {
				return fmt.Errorf("lineage: %w", err)
			}
		}
		return nil
	})
}

// lineageReader reads rows of a snapshot.
type lineageReader struct {
	*lineage
	last   uint64 // sequence of the snapshot
	letter byte
	before uint64
}

func (r *lineageReader) row(u *events.Unpacker) error {
	letter, err := u.Text(1)
	if err != nil {
		return err
	}
	if letter[0] != r.letter {
		r.letter, r.before = letter[0], 0
	}
	count, known := rowNumbers[r.letter]
	if !known {
		return fmt.Errorf("%w: a row of kind %q", errSnapshot, r.letter)
	}
	var n [6]uint64
	for i := range count {
		if n[i], err = u.Uvarint(); err != nil {
			return err
		}
	}
	length, err := u.Uvarint()
	if err != nil {
		return err
	}
	text, err := u.Text(length)
	if err != nil {
		return err
	}
	n[0] += r.before
	r.before = n[0]
	if n[0] > r.last || !r.load(n, text) {
		return fmt.Errorf("%w: a row of kind %q is wrong", errSnapshot, r.letter)
	}
	return nil
}

// load adds what a row says, and says whether it can be.
func (r *lineageReader) load(n [6]uint64, text string) bool {
	nodes := uint64(len(r.nodes))
	switch r.letter {
	case roleRow:
		r.roles = append(r.roles, roleWord{n[0], string([]byte(text))})
	case nodeRow:
		return r.loadNode(n, text)
	case edgeRow:
		if n[1] >= 1<<sequenceFrom || n[2] >= nodes || n[3] >= nodes || n[2] == 0 || n[3] == 0 {
			return false
		}
		e := lineageEdge{mark: n[0]<<sequenceFrom | n[1], from: uint32(n[2]), to: uint32(n[3])}
		if int(e.kind()) >= len(edgeTypes) || e.role() >= len(r.roles) {
			return false
		}
		e.nextOut, e.nextIn = r.nodes[e.from].out, r.nodes[e.to].in
		place := uint32(len(r.edges)) //nolint:gosec // memory ends long before
		r.nodes[e.from].out, r.nodes[e.to].in = place, place
		r.edges = append(r.edges, e)
		r.byEdge.insert(place)
	default:
		if n[1] >= uint64(factKinds) || n[2] >= nodes || n[2] == 0 || n[3] >= max(nodes, uint64(len(runStates))) {
			return false
		}
		f := runFact{sequence: n[0], kind: factKind(n[1]), run: uint32(n[2]), value: uint32(n[3]), at: int64(n[4])} //nolint:gosec // the same bits
		f.before = r.nodes[f.run].first
		r.nodes[f.run].first = uint32(len(r.facts)) //nolint:gosec // memory ends long before
		r.facts = append(r.facts, f)
	}
	return true
}

func (r *lineageReader) loadNode(n [6]uint64, text string) bool {
	if n[1] == 0 || n[1] >= uint64(nodeKinds) || n[2] >= uint64(len(r.nodes)) {
		return false
	}
	kind := nodeKind(n[1])
	if (kind == datasetVersionNode || kind == artifactNode) && !hasDigestForm(text) {
		return false
	}
	parent := r.nodes[n[2]].kind
	if (kind == datasetVersionNode) != (parent == datasetNode) || (kind == versionNode) != (parent == modelNode) ||
		(kind == modelNode && len(text) != len(ulid.ULID{})) || (kind == runNode && text == "") {
		return false
	}
	number, added := r.node(n[0], kind, uint32(n[2]), []byte(text))
	if !added {
		return false
	}
	if label := uint32(n[3]); kind == versionNode && label != 0 { //nolint:gosec // a hash
		r.nodes[number].label = label
		r.chainSource(number)
	}
	r.countDataset(int(number), 1)
	return true
}

// hasDigestForm says whether a text begins as those of data set versions do.
func hasDigestForm(text string) bool {
	switch {
	case text == "":
		return false
	case text[0] == noDigest:
		return true
	case text[0] == sha256Bytes:
		return len(text) >= 33
	case text[0] == otherDigest:
		return len(text) >= 2 && len(text) >= 2+int(text[1])
	case text[0] == longDigest:
		return len(text) >= 3 && len(text) >= 3+int(text[1])<<8+int(text[2])
	default:
		return false
	}
}
