package handlers

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// NodeSpelling tells people how nodes of the graph of lineage are spelled.
const NodeSpelling = "version:<model>/<number, or any reference within it>, dataset:<namespace>:<name>, " +
	"dataset:<namespace>:<name>@<version>, dataset:<namespace>:<name>#<digest> (or both, in this order; without a namespace dataset:<name>), " +
	"feature:<namespace>:<name>, job:<namespace>:<name>, run:<id>, code:<repository>@<commit>, base_model:<name>, artifact:<URI>, artifact:#<digest>, " +
	"target:<environment>/<name>. A namespace ends at the first colon after its scheme, if it begins with one (s3://lake:payments); " +
	"what would be taken for something else is percent-encoded: % anywhere, a colon in a namespace, and @ and # before the version"

// ParseNode reads a node of the graph of lineage as NodeSpelling tells. It fails
// with InvalidError, naming the pointer, and with NotFoundError for a version or a
// target that isn't there.
func ParseNode(v projections.View, pointer, s string) (events.LineageNode, error) {
	if len(s) > MaxNode {
		return events.LineageNode{}, InvalidField(pointer, "max_length", "has more than %d bytes", MaxNode)
	}
	kind, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" {
		return events.LineageNode{}, notANode(pointer, s)
	}
	switch kind {
	case "version":
		id, err := findWhole(v, pointer, rest)
		return id.Node(), err
	case "target":
		environment, name, _ := strings.Cut(rest, "/")
		t, _, err := FindTarget(v, projections.TargetName{Environment: environment, Name: name})
		if err != nil {
			return events.LineageNode{}, err
		}
		return events.LineageNode{Kind: events.TargetNode, TargetID: t.ID}, nil
	}
	n, ok := parseNamed(kind, rest)
	if !ok {
		return n, notANode(pointer, s)
	}
	var c checker
	c.node(pointer, n)
	return n, c.err()
}

// DatasetNode gives the node of a data set that is named in parts. It fails with
// InvalidError, naming them.
func DatasetNode(d events.DatasetVersion) (events.LineageNode, error) {
	var c checker
	for _, part := range []struct {
		name, text string
		limit      int
	}{{"namespace", d.Namespace, MaxSourceBytes}, {"name", d.Name, MaxSourceBytes}, {"version", d.Version, MaxShort}, {"digest", d.Digest, MaxShort}} {
		c.text(part.name, part.text, part.limit)
	}
	return d.Node(), c.err()
}

// MaxNode is how many bytes the spelling of a node may have.
const MaxNode = 32 << 10

func notANode(pointer, s string) error {
	return InvalidField(pointer, "node", "%q is no node; it is spelled %s", s, NodeSpelling)
}

func parseNamed(kind, rest string) (n events.LineageNode, ok bool) {
	p := nodeParts{ok: true}
	switch kind {
	case "dataset":
		rest = p.version(rest, &n)
		n.Namespace, n.Name = p.namespaced(rest)
		n.Kind = n.Dataset().Node().Kind
	case "feature", "job":
		n.Kind = events.LineageKind(kind)
		n.Namespace, n.Name = p.namespaced(rest)
	case "run", "base_model":
		n.Kind, n.Name = events.LineageKind(kind), p.decoded(rest)
	case "code":
		repository, commit, _ := strings.Cut(rest, "@")
		n.Kind, n.Name, n.Version = events.CodeNode, p.decoded(repository), p.decoded(commit)
	case "artifact":
		n.Kind = events.ArtifactNode
		if digest, ok := strings.CutPrefix(rest, "#"); ok {
			n.Digest = p.decoded(digest)
		} else {
			n.Name = p.decoded(rest)
		}
	default:
		return n, false
	}
	return n, p.ok && (n.Name != "" || n.Kind == events.ArtifactNode)
}

// nodeParts takes the spelling of a node apart.
type nodeParts struct{ ok bool }

func (p *nodeParts) decoded(s string) string {
	text, err := url.PathUnescape(s)
	p.ok = p.ok && err == nil
	return text
}

// version takes the version and the digest off the end.
func (p *nodeParts) version(s string, n *events.LineageNode) (rest string) {
	begin := namespaceEnd(s) // a namespace may hold an @
	if at := strings.IndexByte(s[begin:], '#'); at >= 0 {
		n.Digest = p.decoded(s[begin+at+1:])
		p.ok = p.ok && n.Digest != ""
		s = s[:begin+at]
	}
	if at := strings.IndexByte(s[begin:], '@'); at >= 0 {
		n.Version = p.decoded(s[begin+at+1:])
		p.ok = p.ok && n.Version != ""
		s = s[:begin+at]
	}
	return s
}

// namespaceEnd gives where the name begins, after the colon of the namespace. A
// colon after an @ or a # is that of a version or a digest.
func namespaceEnd(s string) int {
	colon := strings.IndexAny(s, ":@#")
	if colon < 0 || s[colon] != ':' {
		return 0
	}
	scheme, rest := s[:colon], s[colon+1:]
	if !strings.HasPrefix(rest, "//") {
		return len(scheme) + 1
	}
	if end := strings.IndexByte(rest, ':'); end >= 0 {
		return len(scheme) + 1 + end + 1
	}
	return 0
}

func (p *nodeParts) namespaced(s string) (namespace, name string) {
	end := namespaceEnd(s)
	if end > 0 {
		namespace = p.decoded(s[:end-1])
	}
	name = p.decoded(s[end:])
	p.ok = p.ok && name != ""
	return namespace, name
}

// node checks the names in a node.
func (c *checker) node(pointer string, n events.LineageNode) {
	for _, s := range []string{n.Namespace, n.Name} {
		c.uri(pointer, s)
	}
	for _, s := range []string{n.Version, n.Digest} {
		c.text(pointer, s, MaxShort)
	}
}

// NodeName spells a node as ParseNode reads it. A version, or a target, that is
// gone has its last name, which may be that of something else by now.
func NodeName(v projections.View, n events.LineageNode) string {
	switch n.Kind {
	case events.VersionNode:
		return "version:" + VersionName(v, n.VersionID())
	case events.TargetNode:
		name, _ := v.TargetNameOf(n.TargetID)
		return "target:" + name.String()
	case events.DatasetNode, events.DatasetVersionNode:
		s := "dataset:" + namespacedName(n)
		if n.Version != "" {
			s += "@" + encodedFor(n.Version, "%#")
		}
		if n.Digest != "" {
			s += "#" + encodedFor(n.Digest, "%")
		}
		return s
	case events.FeatureNode, events.JobNode:
		return string(n.Kind) + ":" + namespacedName(n)
	case events.CodeNode:
		s := "code:" + encodedFor(n.Name, "%@")
		if n.Version != "" {
			s += "@" + encodedFor(n.Version, "%")
		}
		return s
	case events.ArtifactNode:
		if n.Digest != "" {
			return "artifact:#" + encodedFor(n.Digest, "%")
		}
		return "artifact:" + strings.Replace(encodedFor(n.Name, "%"), "#", "%23", 1)
	case events.RunNode, events.BaseModelNode:
		return string(n.Kind) + ":" + encodedFor(n.Name, "%")
	default:
		return string(n.Kind)
	}
}

// namespacedName spells a namespace and a name so that namespaceEnd finds where
// the one ends and the other begins.
func namespacedName(n events.LineageNode) string {
	name := encodedFor(n.Name, "%@#")
	scheme, rest, ok := strings.Cut(n.Namespace, "://")
	if ok && scheme != "" && !strings.ContainsAny(scheme, ":%@#") {
		return scheme + "://" + encodedFor(rest, "%:") + ":" + name
	}
	if strings.HasPrefix(name, "//") {
		name = "%2F" + name[1:]
	}
	if n.Namespace == "" && !strings.Contains(name, ":") {
		return name
	}
	return encodedFor(n.Namespace, "%:@#") + ":" + name
}

// encodedFor percent-encodes the given characters.
func encodedFor(s, characters string) string {
	if !strings.ContainsAny(s, characters) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(characters, s[i]) >= 0 {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
