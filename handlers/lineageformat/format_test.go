package lineageformat

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fraud is the lineage of a model version: a raw table, features made of it, a
// training run, the version, and the target that it runs on.
func fraud() Graph {
	return Graph{
		Registry: "01KB2Y0000000000000000000A", Root: "version:fraud/8",
		Nodes: []Node{
			{ID: "version:fraud/8", Kind: "version", Label: "fraud/8", Notes: []Note{{"stage", "Production"}}, Tainted: true},
			{
				ID: "dataset:postgres://warehouse:5432:shop.orders", Kind: "dataset", Label: "postgres://warehouse:5432 shop.orders",
				Withdrawn: &Withdrawal{Sequence: 12, At: "2026-11-20T10:00:00.000Z", Reason: `collected without consent <case "7">`},
			},
			{ID: "dataset_version:s3://ml:features@3", Kind: "dataset_version", Label: "s3://ml features@3", Notes: []Note{{"version", "3"}}},
			{ID: "run:etl", Kind: "run", Label: "etl", Notes: []Note{{"job", "airflow nightly"}, {"state", "COMPLETE"}}},
			{ID: "run:train", Kind: "run", Label: "train"},
			{ID: "job:airflow:nightly", Kind: "job", Label: "airflow nightly"},
			{ID: "code:https://git.example.com/ml@4f2c9d1", Kind: "code", Label: "https://git.example.com/ml@4f2c9d1"},
			{ID: "version:fraud/7", Kind: "version", Label: "fraud/7"},
			{ID: "target:prod/scorer", Kind: "target", Label: "prod/scorer"},
		},
		Edges: []Edge{
			{From: "run:etl", To: "dataset:postgres://warehouse:5432:shop.orders", Type: "used", Sequences: []uint64{5, 6}, Certainty: "same_name"},
			{From: "dataset_version:s3://ml:features@3", To: "run:etl", Type: "wasGeneratedBy", Sequences: []uint64{6}},
			{From: "run:etl", To: "job:airflow:nightly", Type: "wasAssociatedWith", Sequences: []uint64{5}},
			{From: "run:train", To: "dataset_version:s3://ml:features@3", Type: "used", Sequences: []uint64{7}, Certainty: "exact_digest"},
			{From: "run:train", To: "code:https://git.example.com/ml@4f2c9d1", Type: "used", Sequences: []uint64{7}},
			{From: "version:fraud/8", To: "run:train", Type: "wasGeneratedBy", Sequences: []uint64{8}},
			{From: "version:fraud/8", To: "version:fraud/7", Type: "wasDerivedFrom", Sequences: []uint64{8}},
			{From: "target:prod/scorer", To: "version:fraud/8", Type: "used", Sequences: []uint64{9}},
			{From: "version:fraud/8", To: "somewhere else", Type: "used"},
		},
	}
}

// hostile has texts that mean something to every format, and to a terminal.
func hostile() Graph {
	evil := "a\"b\\c</text><script>alert('&')</script>\n\x1b[31mred\u202e]]>\\N{x}\x00é漢\\"
	return Graph{
		Registry: `01"<&`, Root: evil,
		Nodes: []Node{
			{ID: evil, Kind: evil, Label: evil, Notes: []Note{{evil, evil}}, Withdrawn: &Withdrawal{1, evil, evil}},
			{ID: "b", Kind: "run", Label: ""},
		},
		Edges: []Edge{{From: "b", To: evil, Type: evil, Certainty: evil}, {From: evil, To: evil, Type: "wasDerivedFrom"}, {From: evil, To: "b", Type: "wasGeneratedBy"}},
	}
}

func formats(t *testing.T) map[string]func(Graph) []byte {
	t.Helper()
	must := func(write func(Graph) ([]byte, error)) func(Graph) []byte {
		return func(g Graph) []byte {
			data, err := write(g)
			if err != nil {
				t.Helper()
				t.Fatal(err)
			}
			return data
		}
	}
	return map[string]func(Graph) []byte{
		"dot": DOT, "svg": must(SVG), "prov.json": must(PROV),
		"upstream.txt":   func(g Graph) []byte { return []byte(Tree(g, Upstream)) },
		"downstream.txt": func(g Graph) []byte { return []byte(Tree(g, Downstream)) },
	}
}

func TestTheFormatsWriteWhatTheyWroteBefore(t *testing.T) {
	for name, write := range formats(t) {
		t.Run(name, func(t *testing.T) {
			got := write(fraud())
			golden := "testdata/fraud." + name
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestTheSameGraphIsWrittenInTheSameWay(t *testing.T) {
	other := fraud()
	slices.Reverse(other.Nodes)
	slices.Reverse(other.Edges)
	other.Nodes = append(other.Nodes, other.Nodes[0])
	for name, write := range formats(t) {
		if diff := cmp.Diff(string(write(fraud())), string(write(other))); diff != "" {
			t.Errorf("%s depends on the order (-one +other):\n%s", name, diff)
		}
	}
}

func TestTextsOfOthersStayTexts(t *testing.T) {
	svg := formats(t)["svg"](hostile())
	wellFormed(t, svg)
	for _, bad := range []string{"<script", "\x1b", "\x00"} {
		for name, write := range formats(t) {
			if name == "svg" || bad != "<script" {
				if strings.Contains(string(write(hostile())), bad) {
					t.Errorf("%s lets %q through", name, bad)
				}
			}
		}
	}
	if lines := strings.Count(Tree(hostile(), Upstream), "\n"); lines != 4 {
		t.Errorf("the tree has %d lines", lines)
	}
	dot := string(DOT(hostile()))
	for line := range strings.Lines(dot) {
		if quotes := strings.Count(strings.NewReplacer(`\\`, "", `\"`, "").Replace(line), `"`); quotes%2 != 0 {
			t.Errorf("a line with an open quotation: %s", line)
		}
	}
}

func wellFormed(t interface{ Fatalf(string, ...any) }, svg []byte) {
	dec := xml.NewDecoder(bytes.NewReader(svg))
	for {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("the drawing is not XML: %v", err)
		}
	}
}

// TestPROVIsOneDocumentOfDeclaredThings: each end of a relation is declared, in
// the class that the relation asks for.
func TestPROVIsOneDocumentOfDeclaredThings(t *testing.T) {
	for name, g := range map[string]Graph{"fraud": fraud(), "hostile": hostile(), "of nothing": {}} {
		var doc map[string]map[string]any
		if err := json.Unmarshal(formats(t)["prov.json"](g), &doc); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		ends := map[string]string{
			"prov:entity": "entity", "prov:activity": "activity", "prov:agent": "agent", "prov:generatedEntity": "entity", "prov:usedEntity": "entity",
			"prov:collection": "entity", "prov:informed": "activity", "prov:informant": "activity",
		}
		relations := 0
		for relation, all := range doc {
			if relation == "prefix" || relation == "entity" || relation == "activity" || relation == "agent" {
				continue
			}
			for id, attributes := range all {
				relations++
				for attribute, value := range attributes.(map[string]any) {
					if class, ok := ends[attribute]; ok && doc[class][value.(string)] == nil {
						t.Errorf("%s: %s of %s %s is %v, which is no %s", name, attribute, relation, id, value, class)
					}
				}
			}
		}
		if name == "fraud" && relations != 9 { // an edge each, and the withdrawal
			t.Errorf("there are %d relations", relations)
		}
	}
}

func TestACircleAndALongChainAreWritten(t *testing.T) {
	chain := Graph{Root: "n0"}
	for i := range 10_000 {
		chain.Nodes = append(chain.Nodes, Node{ID: fmt.Sprintf("n%d", i), Kind: "dataset", Label: fmt.Sprintf("data %d", i)})
		chain.Edges = append(chain.Edges, Edge{From: fmt.Sprintf("n%d", i), To: fmt.Sprintf("n%d", (i+1)%10_000), Type: "wasDerivedFrom"})
	}
	if got := Tree(chain, Upstream); !strings.HasSuffix(got, "for JSON\n") || len(got) > 2_000_000 {
		t.Errorf("the tree of a long chain has %d bytes and ends otherwise", len(got))
	}
	DOT(chain)
	if _, err := PROV(chain); err != nil {
		t.Error(err)
	}
	_, err := SVG(chain)
	if tooMany, ok := errors.AsType[TooManyError](err); !ok || tooMany.What != "nodes" || tooMany.Limit != MaxDrawnNodes {
		t.Errorf("a drawing of ten thousand nodes: %v", err)
	}
	circle := Graph{Root: "a", Nodes: []Node{{ID: "a", Kind: "dataset", Label: "a"}, {ID: "b", Kind: "dataset", Label: "b"}}, Edges: []Edge{
		{From: "a", To: "b", Type: "wasDerivedFrom"}, {From: "b", To: "a", Type: "wasDerivedFrom"},
	}}
	want := "dataset a\n└─ derived from dataset b\n   └─ derived from dataset a (see above)\n"
	if diff := cmp.Diff(want, Tree(circle, Upstream)); diff != "" {
		t.Errorf("a circle (-want +got):\n%s", diff)
	}
}

func TestWhatWasDrawnIsNotDrawnAgain(t *testing.T) {
	g := Graph{Root: "top", Nodes: []Node{
		{ID: "top", Kind: "version", Label: "top"},
		{ID: "left", Kind: "run", Label: "left"},
		{ID: "right", Kind: "run", Label: "right"},
		{ID: "data", Kind: "dataset", Label: "data"},
		{ID: "raw", Kind: "dataset", Label: "raw"},
	}, Edges: []Edge{
		{From: "top", To: "left", Type: "wasGeneratedBy"},
		{From: "top", To: "right", Type: "wasGeneratedBy"},
		{From: "left", To: "data", Type: "used"},
		{From: "right", To: "data", Type: "used"},
		{From: "data", To: "raw", Type: "wasDerivedFrom"},
		{From: "right", To: "raw", Type: "used"},
	}}
	want := `model version top
├─ generated by run left
│  └─ used dataset data
│     └─ derived from dataset raw
└─ generated by run right
   ├─ used dataset data (see above)
   └─ used dataset raw
`
	if diff := cmp.Diff(want, Tree(g, Upstream)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestAnEdgeThatContradictsItsEndsIsAnInfluence: PROV would have it that a run is a
// thing.
func TestAnEdgeThatContradictsItsEndsIsAnInfluence(t *testing.T) {
	g := Graph{Nodes: []Node{{ID: "r", Kind: "run"}, {ID: "d", Kind: "dataset"}}, Edges: []Edge{
		{From: "d", To: "r", Type: "used"},
		{From: "r", To: "d", Type: "wasGeneratedBy"},
		{From: "d", To: "d", Type: "wasInformedBy"},
		{From: "d", To: "d", Type: "used"},
		{From: "r", To: "r", Type: "used"},
	}}
	var doc map[string]map[string]any
	if err := json.Unmarshal(formats(t)["prov.json"](g), &doc); err != nil {
		t.Fatal(err)
	}
	if n := len(doc["wasInfluencedBy"]); n != 5 {
		t.Errorf("%d of five edges are influences", n)
	}
}

// TestDrawingsAreReadable: on any graph, whatever flows goes to the right except
// where that would close a circle, and no two boxes lie on each other.
func TestDrawingsAreReadable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 30).Draw(t, "nodes")
		end := rapid.IntRange(0, nodes-1)
		var edges [][2]int
		for range rapid.IntRange(0, 60).Draw(t, "edges") {
			edges = append(edges, [2]int{end.Draw(t, "from"), end.Draw(t, "to")})
		}
		l := newLayout(nodes, edges)
		for i, way := range l.edges {
			first, last := way[0], way[len(way)-1]
			if first != last && l.places[first].column >= l.places[last].column {
				t.Errorf("edge %v goes from column %d to %d", edges[i], l.places[first].column, l.places[last].column)
			}
			if straight := [2]int{first, last}; straight != edges[i] && straight != [2]int{edges[i][1], edges[i][0]} {
				t.Errorf("edge %v was drawn as %v", edges[i], straight)
			}
		}
		placed := 0
		for c, column := range l.columns {
			for i, at := range column {
				p := l.places[at]
				if p.column != c || p.y < 0 {
					t.Errorf("place %d of column %d at %g", at, p.column, p.y)
				}
				if p.node >= 0 {
					placed++
				}
				if i > 0 && p.y < l.places[column[i-1]].y+1-1e-9 {
					t.Errorf("two places lie on each other in column %d", c)
				}
			}
		}
		if placed != nodes {
			t.Errorf("%d of %d nodes were placed", placed, nodes)
		}
		g := Graph{}
		for i := range nodes {
			g.Nodes = append(g.Nodes, Node{ID: fmt.Sprint(i), Kind: "dataset", Label: rapid.String().Draw(t, "label")})
		}
		for _, e := range edges {
			g.Edges = append(g.Edges, Edge{From: fmt.Sprint(e[1]), To: fmt.Sprint(e[0]), Type: "wasDerivedFrom"})
		}
		svg, err := SVG(g)
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, svg)
	})
}
