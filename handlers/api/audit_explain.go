package api

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// Explanation says of each field of a resource which event set it.
type Explanation struct {
	Resource string           `json:"resource"` // its path
	Fields   []ExplainedField `json:"fields"`   // in the order in which they are shown
}

// ExplainedField is a field, its value, and the event that made it so.
type ExplainedField struct {
	Field      string         `json:"field"` // of tags and aliases each entry: tags.owner
	Value      jsontext.Value `json:"value"`
	Sequence   uint64         `json:"sequence"` // of the event, and the rest of it
	RecordedAt string         `json:"recorded_at"`
	HappenedAt string         `json:"happened_at"`
	Actor      *AuditActor    `json:"actor,omitempty"`
	Action     string         `json:"action"`
	Reason     string         `json:"reason,omitempty"`
}

func explainRoutes() []endpoint {
	const summary = "Get, for each field, the event that set it"
	return []endpoint{
		read("/v1/models/{model}/explain", "explainModel", summary, nil,
			func(c *call, v projections.View) (answer[Explanation], error) {
				m, sequence, err := handlers.FindModel(v, c.r.PathValue("model"))
				if err != nil {
					return answer[Explanation]{}, err
				}
				return c.explain(v, events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: m.ID}}, showModel(v, m, sequence), sequence)
			}),
		read("/v1/models/{model}/versions/{ref}/explain", "explainVersion", summary, nil,
			func(c *call, v projections.View) (answer[Explanation], error) {
				m, _, err := handlers.FindModel(v, c.r.PathValue("model"))
				if err != nil {
					return answer[Explanation]{}, err
				}
				id, err := handlers.Resolve(v, m, c.r.PathValue("ref"))
				if err != nil {
					return answer[Explanation]{}, err
				}
				shown, err := c.showVersion(v, id)
				if err != nil {
					return answer[Explanation]{}, err
				}
				return c.explain(v, events.Resource{Root: events.Root{Kind: events.ModelRoot, ID: id.ModelID}, Version: id.Version}, shown, shown.Sequence)
			}),
		read("/v1/targets/{environment}/{name}/explain", "explainTarget", summary, nil,
			func(c *call, v projections.View) (answer[Explanation], error) {
				t, sequence, err := handlers.FindTarget(v, c.target())
				if err != nil {
					return answer[Explanation]{}, err
				}
				return c.explain(v, events.Resource{Root: events.Root{Kind: events.TargetRoot, ID: t.ID}}, showTarget(v, t, sequence), sequence)
			}),
		read("/v1/subscriptions/{id}/explain", "explainSubscription", summary, nil,
			func(c *call, v projections.View) (answer[Explanation], error) {
				shown, s, err := c.subscription(v)
				if err != nil {
					return answer[Explanation]{}, err
				}
				return c.explain(v, events.Resource{Root: events.Root{Kind: events.SubscriptionRoot, ID: s.ID}}, shown, shown.Sequence)
			}),
	}
}

// explain goes back through what changed a resource until each field that is shown
// has an event. What no comparison explains came with the resource itself.
func (c *call) explain(v projections.View, r events.Resource, shown any, etag uint64) (answer[Explanation], error) {
	fields, err := explainable(shown)
	if err != nil {
		return answer[Explanation]{}, err
	}
	revisions := v.Revisions(r)
	left := len(fields)
	for i, sequence := range revisions {
		if i%1000 == 999 && c.r.Context().Err() != nil {
			return answer[Explanation]{}, c.r.Context().Err()
		}
		if left == 0 {
			break
		}
		n, err := explainBy(fields, v, r, sequence)
		if err != nil {
			return answer[Explanation]{}, err
		}
		left -= n
	}
	actors := map[string]*AuditActor{}
	for i := range fields {
		if fields[i].Sequence == 0 {
			fields[i].Sequence = slices.Min(revisions)
		}
		if err := c.attribute(v, &fields[i], actors); err != nil {
			return answer[Explanation]{}, err
		}
	}
	return answer[Explanation]{value: Explanation{Resource: v.Path(r), Fields: fields}, etag: etag}, nil
}

// explainable lists the fields of what is shown.
func explainable(shown any) ([]ExplainedField, error) {
	all, err := compareFields(nil, shown, explained)
	fields := make([]ExplainedField, len(all))
	for i, f := range all {
		fields[i] = ExplainedField{Field: f.Field, Value: f.After}
	}
	return fields, err
}

// explained says whether a field is one to explain: the sequence explains itself.
func explained(f shownField) bool { return f.name != "sequence" }

// explainBy finds the fields that an event set, and says how many they are.
func explainBy(fields []ExplainedField, v projections.View, r events.Resource, sequence uint64) (n int, err error) {
	was, err := shownAs(v.At(sequence-1), r)
	if err != nil {
		return 0, err
	}
	is, err := shownAs(v.At(sequence), r)
	if err != nil {
		return 0, err
	}
	changes, err := compareFields(was, is, explained)
	for _, change := range changes {
		for i := range fields {
			if fields[i].Field == change.Field && fields[i].Sequence == 0 {
				fields[i].Sequence = sequence
				n++
			}
		}
	}
	return n, err
}

// attribute says of a field's event who did it, when and why. It keeps whom it has
// looked up in actors.
func (c *call) attribute(v projections.View, f *ExplainedField, actors map[string]*AuditActor) (err error) {
	e := v.AuditEntry(f.Sequence)
	f.RecordedAt = events.FormatTime(v.At(f.Sequence).Recorded())
	f.HappenedAt = f.RecordedAt
	if !e.Occurred.IsZero() {
		f.HappenedAt = events.FormatTime(e.Occurred)
	}
	actor, looked := actors[e.Principal]
	if !looked {
		actor = c.auditActor(e.Principal)
		actors[e.Principal] = actor
	}
	f.Actor, f.Action, f.Reason = actor, actionOf(e.Type), e.Reason
	if e.ReasonInLog {
		f.Reason, err = c.reason(f.Sequence)
	}
	return err
}
