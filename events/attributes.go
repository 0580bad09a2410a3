package events

import "fmt"

// Attribute is one CloudEvents attribute of an event, spelled as at the edges.
type Attribute struct{ Name, Value string }

// Attributes lists the attributes that an event has, in no particular order, with
// its sequence among them if it has one. It fails on those that could not be read
// again.
func Attributes(e Event) ([]Attribute, error) {
	present, err := e.attributes(jsonType)
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", e.Type(), err)
	}
	all := make([]Attribute, 0, len(present)+1)
	for _, a := range present {
		all = append(all, Attribute{a.name(), a.value})
	}
	if e.Sequence > 0 {
		all = append(all, Attribute{attrSequence, FormatSequence(e.Sequence)})
	}
	return all, nil
}

// AttributeNames lists the attributes that an event can have at the edges.
func AttributeNames() []string {
	return []string{
		attrPrincipal, attrCausationID, attrCorrelationID, attrContentType, attrSchema, attrID, attrKey, attrOccurred, attrOriginID,
		attrOriginSource, attrPartitionKey, attrRequest, attrSequence, attrSource, attrSpecVersion, attrSubject, attrTime, attrTraceParent, attrType,
	}
}
