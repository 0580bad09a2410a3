package lineageformat

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// PROV writes the graph as PROV-JSON (W3C member submission of 24 April 2013). An
// edge keeps its type, unless that contradicts the classes of its ends: then it is an
// influence, which says nothing of how.
func PROV(g Graph) ([]byte, error) {
	g = g.sorted()
	d := provDocument{
		Prefix: map[string]string{provPrefix: namespaceOf(g)},
		Entity: map[string]provNode{}, Activity: map[string]provNode{}, Agent: map[string]provNode{},
	}
	for _, n := range g.Nodes {
		d.add(n)
	}
	kinds := g.kinds()
	for i, e := range g.Edges {
		d.relate("_:e"+strconv.Itoa(i+1), e, ClassOf(kinds[e.From]), ClassOf(kinds[e.To]))
	}
	data, err := json.Marshal(d, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("write PROV-JSON: %w", err)
	}
	return append(data, '\n'), nil
}

const provPrefix = "modelog"

// namespaceOf gives what the names of this document's nodes are completed with.
func namespaceOf(g Graph) string {
	if g.Registry == "" {
		return "urn:modelog:"
	}
	return "urn:modelog:" + g.Registry + ":"
}

type provDocument struct {
	Prefix   map[string]string   `json:"prefix"`
	Entity   map[string]provNode `json:"entity,omitempty"`
	Activity map[string]provNode `json:"activity,omitempty"`
	Agent    map[string]provNode `json:"agent,omitempty"`
	// Relations are by their names in PROV, and within each by ids of their own.
	Relations map[string]map[string]provRelation `json:",embed"`
}

// provNode is an entity, an activity or an agent: what is known of it by the
// names of the attributes.
type provNode map[string]any

// provRelation is one relation: its ends and what else is known of it, by the names
// of the attributes.
type provRelation map[string]any

// relation is how PROV spells a type of edges.
type relation struct {
	effect, cause           string // what it calls the ends
	effectClass, causeClass Class
}

var relations = map[string]relation{
	"used":              {"prov:activity", "prov:entity", Activity, Entity},
	"wasGeneratedBy":    {"prov:entity", "prov:activity", Entity, Activity},
	"wasDerivedFrom":    {"prov:generatedEntity", "prov:usedEntity", Entity, Entity},
	"hadMember":         {"prov:collection", "prov:entity", Entity, Entity},
	"specializationOf":  {"prov:specificEntity", "prov:generalEntity", Entity, Entity},
	"alternateOf":       {"prov:alternate1", "prov:alternate2", Entity, Entity},
	"wasInformedBy":     {"prov:informed", "prov:informant", Activity, Activity},
	"wasAssociatedWith": {"prov:activity", "prov:agent", Activity, Agent},
}

// influence is the relation of whatever else there is.
const influence = "wasInfluencedBy"

func (d *provDocument) add(n Node) {
	node := provNode{
		"prov:label": n.Label,
		"prov:type":  provTyped{"modelog:" + typeName(n.Kind), "prov:QUALIFIED_NAME"},
	}
	for _, note := range n.Notes {
		node[provPrefix+":"+localName(strings.ReplaceAll(note.Name, " ", "_"))] = note.Value
	}
	if n.Tainted {
		node["modelog:tainted"] = true
	}
	id := qualified(n.ID)
	switch ClassOf(n.Kind) {
	case Entity:
		d.Entity[id] = node
	case Activity:
		d.Activity[id] = node
	case Agent:
		d.Agent[id] = node
	}
	if n.Withdrawn != nil && ClassOf(n.Kind) == Entity {
		d.invalidate(id, n.Withdrawn)
	}
}

// invalidate makes the activity of the withdrawal, which ended the entity.
func (d *provDocument) invalidate(entity string, w *Withdrawal) {
	sequence := strconv.FormatUint(w.Sequence, 10)
	activity := qualified("event/" + sequence)
	node := provNode{"prov:label": "withdrawal", "prov:type": provTyped{"modelog:Withdrawal", "prov:QUALIFIED_NAME"}}
	if w.Reason != "" {
		node["modelog:reason"] = w.Reason
	}
	if w.At != "" {
		node["prov:startTime"], node["prov:endTime"] = w.At, w.At
	}
	d.Activity[activity] = node
	r := provRelation{"prov:activity": activity, "prov:entity": entity, "modelog:event": w.Sequence}
	if w.At != "" {
		r["prov:time"] = w.At
	}
	d.put("wasInvalidatedBy", "_:w"+strconv.Itoa(len(d.Relations["wasInvalidatedBy"])+1), r)
}

type provTyped struct {
	Value string `json:"$"`
	Type  string `json:"type"`
}

func (d *provDocument) relate(id string, e Edge, effect, cause Class) {
	name, how := e.Type, relations[e.Type]
	if how.effect == "" || how.effectClass != effect || how.causeClass != cause {
		name, how = influence, relation{effect: "prov:influencee", cause: "prov:influencer"}
	}
	r := provRelation{how.effect: qualified(e.From), how.cause: qualified(e.To)}
	if plain[name] {
		d.put(name, id, r)
		return
	}
	if name == influence {
		r["modelog:edge"] = e.Type
	}
	if e.Certainty != "" {
		r["modelog:certainty"] = e.Certainty
	}
	switch len(e.Sequences) {
	case 0:
	case 1:
		r["modelog:event"] = e.Sequences[0]
	default:
		r["modelog:event"] = e.Sequences
	}
	d.put(name, id, r)
}

// plain are the relations that have no attributes in PROV.
var plain = map[string]bool{"hadMember": true, "specializationOf": true, "alternateOf": true}

func (d *provDocument) put(name, id string, r provRelation) {
	if d.Relations == nil {
		d.Relations = map[string]map[string]provRelation{}
	}
	if d.Relations[name] == nil {
		d.Relations[name] = map[string]provRelation{}
	}
	d.Relations[name][id] = r
}

// qualified makes a qualified name of an id.
func qualified(id string) string { return provPrefix + ":" + localName(id) }

// localName percent-encodes all but what every reader of qualified names takes.
func localName(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '/':
			b.WriteByte(c)
		case c == '.' && i > 0 && i < len(s)-1:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// typeName writes a kind as types are, such as ModelVersion.
func typeName(kind string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(kind, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return localName(b.String())
}
