package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/handlers/api"
	"github.com/modelog/modelog/handlers/lineageformat"
	"github.com/spf13/cobra"
)

// lineageFlags say what of the lineage is shown, and how.
type lineageFlags struct {
	upstream, downstream bool
	depth                int
	format, output       string
}

func (a *app) lineageCommand() *cobra.Command {
	var f lineageFlags
	cmd := &cobra.Command{
		Use: "lineage REF", GroupID: "history", Short: "Show what a version or a data set comes from, and what comes from it",
		Long: `Show what something comes from, and what comes from it: data sets, features, code,
runs, base models, model versions, artifacts and the targets they run on.

What is asked about is a model version, or any node by its id: dataset:payments,
dataset:s3://lake:payments@7, run:<id>, job:airflow:train, code:<repository>@<commit>,
target:prod/scorer.`,
		Example: `  modelog lineage fraud/8
  modelog lineage dataset:s3://lake:payments --downstream
  modelog lineage fraud@champion --format svg -o fraud.svg`,
	}
	c := a.reader(cmd)
	cmd.Flags().BoolVar(&f.upstream, "upstream", false, "only what it comes from")
	cmd.Flags().BoolVar(&f.downstream, "downstream", false, "only what comes from it")
	cmd.Flags().IntVar(&f.depth, "depth", 0, "how many steps to go; 0 for all")
	cmd.Flags().StringVar(&f.format, "format", "tree", "tree, json, dot (Graphviz), svg, or prov (W3C PROV-JSON)")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "write it into this file")
	cmd.Args = exactly("REF")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if c.asJSON {
			f.format = "json"
		}
		data, err := c.lineage(cmd.Context(), nodeOf(args[0]), f)
		if err != nil {
			return err
		}
		if f.output != "" {
			return os.WriteFile(f.output, data, 0o644) //nolint:gosec // it holds what the caller may read
		}
		_, err = a.stdout.Write(data)
		return err
	}
	cmd.AddCommand(a.lineagePathsCommand(), a.lineageImpactCommand(), a.lineageLinkCommand())
	return cmd
}

// nodeKinds begin the ids of nodes.
var nodeKinds = []string{"version:", "dataset:", "feature:", "job:", "run:", "code:", "base_model:", "artifact:", "target:"}

// nodeOf gives the id of a node: a reference to a version is one without its kind.
func nodeOf(s string) string {
	for _, kind := range nodeKinds {
		if strings.HasPrefix(s, kind) {
			return s
		}
	}
	return "version:" + s
}

// lineage reads a part of the graph in a format. The tree is drawn here; all others
// come from the registry as they are.
func (c *client) lineage(ctx context.Context, node string, f lineageFlags) ([]byte, error) {
	query := url.Values{"node": {node}}
	switch {
	case f.upstream && f.downstream:
		return nil, usage("--upstream and --downstream: give one of them, or neither for both ways")
	case f.upstream:
		query.Set("direction", "upstream")
	case f.downstream:
		query.Set("direction", "downstream")
	}
	if f.depth > 0 {
		query.Set("depth", strconv.Itoa(f.depth))
	}
	switch f.format {
	case "tree", "json":
	case "dot", "svg", "prov":
		query.Set("format", f.format)
		if c.asOf != "" {
			query.Set("as_of", c.asOf)
		}
		return c.send(ctx, http.MethodGet, "/v1/lineage?"+query.Encode(), nil)
	default:
		return nil, usage("--format: %q is not tree, json, dot, svg or prov", f.format)
	}
	l, err := get[api.Lineage](ctx, c, "/v1/lineage", query)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if f.format == "json" {
		err = (&client{app: &app{stdout: &b}, asJSON: true}).print(l, nil)
		return []byte(b.String()), err
	}
	return []byte(lineageTree(l, f)), nil
}

// lineageTree draws a tree each way.
func lineageTree(l api.Lineage, f lineageFlags) string {
	g := api.LineageGraph(l)
	var b strings.Builder
	if !f.downstream {
		b.WriteString(lineageformat.Tree(g, lineageformat.Upstream))
	}
	if !f.upstream {
		down := lineageformat.Tree(g, lineageformat.Downstream)
		if head, rest, _ := strings.Cut(down, "\n"); b.Len() == 0 || rest != "" {
			if b.Len() > 0 {
				head = "\nand from there on"
			}
			b.WriteString(head + "\n" + rest)
		}
	}
	if l.More {
		b.WriteString("and more; ask for a smaller --depth\n")
	}
	return b.String()
}

func (a *app) lineagePathsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "paths REF REF", Short: "Show the ways from one thing to another", Args: exactly("REF", "REF"),
		Example: `  modelog lineage paths dataset:s3://lake:payments fraud/8`,
	}
	c := a.reader(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		answer, err := get[api.LineagePaths](cmd.Context(), c, "/v1/lineage/paths", url.Values{"from": {nodeOf(args[0])}, "to": {nodeOf(args[1])}})
		if err != nil {
			return err
		}
		return c.print(answer, func(w io.Writer) error { return showPaths(w, answer) })
	}
	return cmd
}

func showPaths(w io.Writer, p api.LineagePaths) error {
	if len(p.Paths) == 0 {
		_, err := fmt.Fprintln(w, "there is no way from the one to the other")
		return err
	}
	for _, path := range p.Paths {
		if _, err := fmt.Fprintln(w, pathText(path)); err != nil {
			return err
		}
	}
	if p.More {
		_, err := fmt.Fprintln(w, "and more")
		return err
	}
	return nil
}

// pathText names the nodes along a path, whichever way it goes.
func pathText(path []api.LineageEdge) string {
	nodes := []string{}
	for i, e := range path {
		begin, end := e.To, e.From // downstream
		if i+1 < len(path) && (e.To == path[i+1].From || e.To == path[i+1].To) && e.From != path[i+1].To && e.From != path[i+1].From {
			begin, end = end, begin
		} else if i > 0 && nodes[len(nodes)-1] == e.From {
			begin, end = end, begin
		}
		if i == 0 {
			nodes = append(nodes, begin)
		}
		nodes = append(nodes, end)
	}
	return shown(strings.Join(nodes, " → "))
}

func (a *app) lineageImpactCommand() *cobra.Command {
	var limit int
	var all bool
	cmd := &cobra.Command{
		Use: "impact DATASET", Short: "Show everything that a data set has touched",
		Long: `Show what was trained on, derived from or serves anything that a data set has
touched, and how certain that is: the same digest, the same version, or only the
same name. Models of which nobody has said what they come from are listed apart:
that they aren't in the table doesn't mean that they have nothing to do with it.`,
		Example: `  modelog lineage impact payments
  modelog lineage impact dataset:s3://lake:payments@7 --json`,
		Args: exactly("DATASET"),
	}
	c := a.reader(cmd)
	limitFlag(cmd, &limit)
	cmd.Flags().BoolVar(&all, "all", false, "also runs, artifacts and whatever else, not only model versions")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		impact, err := c.impact(cmd.Context(), args[0], limit, all)
		if err != nil {
			return err
		}
		return c.print(impact, func(w io.Writer) error { return showImpact(w, impact) })
	}
	return cmd
}

// impact reads what came of a data set, page by page, up to so many hits.
func (c *client) impact(ctx context.Context, dataset string, limit int, everything bool) (api.LineageImpact, error) {
	if !strings.HasPrefix(dataset, "dataset:") {
		dataset = "dataset:" + dataset
	}
	query := url.Values{"dataset": {dataset}}
	if !everything {
		query.Set("kind", string(events.VersionNode))
	}
	var whole api.LineageImpact
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(whole.Hits), 1000)))
		page, err := get[api.LineageImpact](ctx, c, "/v1/lineage/impact", query)
		if err != nil {
			return whole, err
		}
		page.Data, page.Hits = append(whole.Data, page.Data...), append(whole.Hits, page.Hits...)
		if whole = page; whole.NextCursor == "" || len(whole.Hits) >= limit {
			return whole, nil
		}
		query.Set("cursor", whole.NextCursor)
	}
}

func showImpact(w io.Writer, impact api.LineageImpact) error {
	if len(impact.Hits) == 0 {
		if _, err := fmt.Fprintf(w, "nothing is known to come from %s\n", shown(impact.Dataset)); err != nil {
			return err
		}
	} else {
		table := [][]string{{"WHAT", "CERTAINTY", "STAGE", "DEPLOYED TO", "BY WAY OF", "EVENTS"}}
		for _, h := range impact.Hits {
			table = append(table, []string{
				shown(strings.TrimPrefix(h.ID, "version:")), strings.ReplaceAll(h.Certainty, "_", " "), shown(h.Stage), strings.Join(h.DeployedTo, " "),
				way(h), strings.Trim(fmt.Sprint(h.Proof), "[]"),
			})
		}
		if err := rows(w, table); err != nil {
			return err
		}
	}
	if impact.NextCursor != "" {
		if _, err := fmt.Fprintln(w, "and more; see --limit"); err != nil {
			return err
		}
	}
	return showUnknown(w, impact)
}

// way names what lies between the data set and a hit.
func way(h api.LineageHit) string {
	var between []string
	for _, e := range h.Path {
		if e.From != h.ID {
			between = append(between, e.From)
		}
	}
	if len(between) > 3 || h.Omitted > 0 {
		between = []string{between[0], fmt.Sprintf("… %d more …", len(between)-2+h.Omitted), between[len(between)-1]}
	}
	return shown(strings.Join(between, " → "))
}

func showUnknown(w io.Writer, impact api.LineageImpact) error {
	const most = 20
	n := len(impact.Unknown)
	if n == 0 {
		return nil
	}
	count, more := strconv.Itoa(n), ""
	if impact.UnknownMore {
		count += " or more"
	}
	if n > most {
		more = ", ..."
	}
	_, err := fmt.Fprintf(w, "\nof unknown lineage (%s): %s%s\n", count, shown(strings.Join(impact.Unknown[:min(n, most)], ", ")), more)
	return err
}

func (a *app) lineageLinkCommand() *cobra.Command {
	var edge handlers.LineageEdge
	cmd := &cobra.Command{
		Use: "link FROM TO --type TYPE", Short: "Record that one thing comes from another",
		Long: `Record that one thing comes from another, which neither a registration nor a
run's report tells: from the effect to its cause, in the words of W3C PROV. The
types are used, wasGeneratedBy, wasDerivedFrom, hadMember, specializationOf,
wasInformedBy and wasAssociatedWith.`,
		Example: `  modelog lineage link run:nightly-7 dataset:s3://lake:payments --type used --role train
  modelog lineage link fraud/8 base_model:bert-base --type wasDerivedFrom`,
		Args: exactly("FROM", "TO"),
	}
	c := a.reasoned(cmd)
	cmd.Flags().StringVar((*string)(&edge.Type), "type", "", "how the effect comes from its cause, such as used (required)")
	cmd.Flags().StringVar(&edge.Role, "role", "", "of the cause, such as train")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if edge.Type == "" {
			return usage("--type is required: used, wasGeneratedBy, wasDerivedFrom, hadMember, specializationOf, wasInformedBy or wasAssociatedWith")
		}
		edge.From, edge.To = nodeOf(args[0]), nodeOf(args[1])
		body := handlers.LineageEdges{Edges: []handlers.LineageEdge{edge}, Reason: c.reason}
		answer, err := call[api.LineageRecording](cmd.Context(), c, http.MethodPost, "/v1/lineage/edges", body)
		if err != nil {
			return err
		}
		return c.print(answer, func(w io.Writer) error {
			done := "recorded"
			if answer.Recorded == 0 {
				done = "was recorded before"
			}
			_, err := fmt.Fprintf(w, "%s %s %s %s, as of sequence %d\n", shown(args[0]), edge.Type, shown(args[1]), done, answer.Sequence)
			return err
		})
	}
	return cmd
}
