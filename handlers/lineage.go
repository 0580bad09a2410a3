package handlers

import (
	"fmt"
	"slices"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// Limits of what is said of lineage in one request.
const (
	MaxEdges     = 1_000
	MaxRunInputs = 1_000 // data sets that a report names as inputs, and as outputs
	MaxDerived   = 10_000
	MaxMarks     = 100
)

// LineageReport is what somebody who runs jobs says of a run; of data sets alone,
// which are its outputs, if it names no run.
type LineageReport struct {
	Format    string                  `json:"format"`               // openlineage
	RunID     string                  `json:"run_id,omitempty"`     // of the run; MLflow's and OpenLineage's spelling are the same
	ParentRun string                  `json:"parent_run,omitempty"` // id of the run that this one is a part of
	Job       events.Job              `json:"job,omitzero"`
	State     string                  `json:"state,omitempty"` // START, RUNNING, COMPLETE, ABORT, FAIL or OTHER
	Inputs    []events.DatasetVersion `json:"inputs,omitempty"`
	Outputs   []events.DatasetVersion `json:"outputs,omitempty"`
	Same      []events.SameDataset    `json:"same,omitempty"`    // other names of data sets
	Derived   []events.DerivedDataset `json:"derived,omitempty"` // data sets that were made of others
	Code      *events.Code            `json:"code,omitempty"`
	Marks     []string                `json:"marks,omitempty"` // how the report strays from its format
	Raw       string                  `json:"raw,omitempty"`   // the report as it came
}

// ReportLineage asks to keep a report of a run. It is kept each time it is asked
// for: a key of the request that is made of the report keeps it once. When the
// report's event happened goes into Request.OccurredAt.
type ReportLineage struct {
	Report LineageReport `json:"report"`
}

// Kind names the command.
func (*ReportLineage) Kind() string { return "report_lineage" }

var runStates = []string{
	events.RunStart, events.RunRunning, events.RunComplete, events.RunAbort, events.RunFail, events.RunOther,
}

func (cmd *ReportLineage) check() error {
	var c checker
	r := cmd.Report
	if r.Format != events.OpenLineage {
		c.fail("/format", "enum", "must be %s", events.OpenLineage)
	}
	if r.RunID != "" {
		c.run(r)
	}
	c.reported("/inputs", r.Inputs)
	c.reported("/outputs", r.Outputs)
	c.count("/same", len(r.Same), 2*MaxRunInputs)
	for i, same := range r.Same {
		c.datasetVersion(element("/same", i, "dataset"), same.Dataset.All())
		c.datasetVersion(element("/same", i, "also"), same.Also.All())
	}
	c.count("/derived", len(r.Derived), MaxDerived)
	for i, d := range r.Derived {
		c.datasetVersion(element("/derived", i, "dataset"), d.Dataset)
		c.datasetVersion(element("/derived", i, "from"), d.From)
	}
	c.code(r.Code)
	c.count("/marks", len(r.Marks), MaxMarks)
	for i, mark := range r.Marks {
		c.length(fmt.Sprintf("/marks/%d", i), mark, MaxReason)
	}
	c.length("/raw", r.Raw, events.MaxEventBytes)
	return c.err()
}

func (c *checker) run(r LineageReport) {
	c.text("/run_id", r.RunID, MaxShort)
	c.text("/parent_run", r.ParentRun, MaxShort)
	c.uri("/job/namespace", r.Job.Namespace)
	if c.required("/job/name", r.Job.Name) {
		c.uri("/job/name", r.Job.Name)
	}
	if !slices.Contains(runStates, r.State) {
		c.fail("/state", "enum", "must be START, RUNNING, COMPLETE, ABORT, FAIL or OTHER")
	}
}

func (c *checker) reported(pointer string, all []events.DatasetVersion) {
	c.count(pointer, len(all), MaxRunInputs)
	for i, d := range all {
		c.datasetVersion(fmt.Sprintf("%s/%d", pointer, i), d)
	}
}

func (cmd *ReportLineage) decide(v projections.View, _ occasion) (decision, error) {
	r := cmd.Report
	return write(events.LineageReported{
		RegistryID: v.Registry().ID, Format: r.Format, RunID: r.RunID, ParentRun: r.ParentRun, Job: r.Job, State: r.State,
		Inputs: r.Inputs, Outputs: r.Outputs, Same: r.Same, Derived: r.Derived, Code: r.Code, Marks: r.Marks, Raw: r.Raw,
	})
}

func (*ReportLineage) etag(projections.View) (uint64, bool) { return 0, false }

// LineageEdges are edges of the graph of lineage, each from an effect to its cause.
type LineageEdges struct {
	Edges  []LineageEdge `json:"edges,omitempty"`
	Reason string        `json:"reason,omitempty"`
}

// LineageEdge says that one thing comes from another. Both are given as ParseNode
// reads them.
type LineageEdge struct {
	From string             `json:"from"`           // the effect
	To   string             `json:"to"`             // its cause
	Type events.LineageType `json:"type"`           // used, wasGeneratedBy, wasDerivedFrom, hadMember, specializationOf, wasInformedBy or wasAssociatedWith
	Role string             `json:"role,omitempty"` // of the cause, such as train
}

// RecordEdges asks to add edges that neither a registration nor a run's report
// tells.
type RecordEdges struct {
	Recording LineageEdges `json:"recording"`
}

// Kind names the command.
func (*RecordEdges) Kind() string { return "record_edges" }

func (cmd *RecordEdges) check() error {
	var c checker
	r := cmd.Recording
	if len(r.Edges) == 0 {
		c.fail("/edges", "min_items", "must have one edge at least")
	}
	c.count("/edges", len(r.Edges), MaxEdges)
	for i, e := range r.Edges {
		c.spelledNode(element("/edges", i, "from"), e.From)
		c.spelledNode(element("/edges", i, "to"), e.To)
		if _, known := edgeRules[e.Type]; !known {
			c.fail(element("/edges", i, "type"), "enum", "must be used, wasGeneratedBy, wasDerivedFrom, hadMember, specializationOf, wasInformedBy or wasAssociatedWith")
		}
		if e.Role != "" && !rolePattern.MatchString(e.Role) {
			c.fail(element("/edges", i, "role"), "role_characters", "must be a word such as train, validation or test")
		}
	}
	c.length("/reason", r.Reason, MaxReason)
	return c.err()
}

func (c *checker) spelledNode(pointer, s string) {
	if c.required(pointer, s) {
		c.length(pointer, s, MaxNode)
	}
}

func (cmd *RecordEdges) decide(v projections.View, _ occasion) (decision, error) {
	var c checker
	e := events.LineageRecorded{RegistryID: v.Registry().ID, Reason: events.Plain(cmd.Recording.Reason)}
	for i, spec := range cmd.Recording.Edges {
		from, err := ParseNode(v, element("/edges", i, "from"), spec.From)
		if err != nil {
			return decision{}, err
		}
		to, err := ParseNode(v, element("/edges", i, "to"), spec.To)
		if err != nil {
			return decision{}, err
		}
		edge := events.LineageEdge{From: from, To: to, Type: spec.Type, Role: spec.Role}
		c.edge(i, edge)
		if !v.HasLineageEdge(edge) && !slices.Contains(e.Edges, edge) {
			e.Edges = append(e.Edges, edge)
		}
	}
	if err := c.err(); err != nil {
		return decision{}, err
	}
	if len(e.Edges) == 0 {
		return alreadySo(e.Resource())
	}
	return write(e)
}

func (*RecordEdges) etag(projections.View) (uint64, bool) { return 0, false }

// edgeRule says which kinds of nodes an edge may join.
type edgeRule struct {
	from, to []events.LineageKind
	says     string
}

var (
	datasetKinds = []events.LineageKind{events.DatasetNode, events.DatasetVersionNode, events.FeatureNode}
	modelKinds   = []events.LineageKind{events.VersionNode, events.BaseModelNode}
	madeKinds    = slices.Concat(datasetKinds, modelKinds, []events.LineageKind{events.ArtifactNode})
	thingKinds   = slices.Concat(madeKinds, []events.LineageKind{events.CodeNode})
	runKinds     = []events.LineageKind{events.RunNode}
	jobKinds     = []events.LineageKind{events.JobNode}
)

var edgeRules = map[events.LineageType]edgeRule{
	events.Used:              {runKinds, thingKinds, "a run used a data set, feature, model, artifact or code"},
	events.WasGeneratedBy:    {madeKinds, runKinds, "a data set, feature, model or artifact was generated by a run"},
	events.WasDerivedFrom:    {madeKinds, thingKinds, "a data set, feature, model or artifact was derived from another one, or from code"},
	events.HadMember:         {slices.Concat(datasetKinds, modelKinds), madeKinds, "a data set, feature or model had data sets, features, models or artifacts as members"},
	events.SpecializationOf:  {madeKinds, madeKinds, "a data set is a version or part of a data set, and a model one of a model"},
	events.WasInformedBy:     {runKinds, runKinds, "a run was informed by another run"},
	events.WasAssociatedWith: {runKinds, jobKinds, "a run was associated with a job"},
}

// edge refuses what contradicts the kinds of an edge's nodes.
func (c *checker) edge(i int, e events.LineageEdge) {
	rule := edgeRules[e.Type]
	at := element("/edges", i, "type")
	switch {
	case e.From == e.To:
		c.fail(at, "not_itself", "nothing %s itself", e.Type)
	case !slices.Contains(rule.from, e.From.Kind):
		c.fail(at, "kinds", "%s can't begin at a %s: %s", e.Type, e.From.Kind, rule.says)
	case !slices.Contains(rule.to, e.To.Kind):
		c.fail(at, "kinds", "%s can't end at a %s: %s", e.Type, e.To.Kind, rule.says)
	case e.Type == events.SpecializationOf && slices.Contains(datasetKinds, e.From.Kind) != slices.Contains(datasetKinds, e.To.Kind):
		c.fail(at, "kinds", "a %s is no %s of a %s: %s", e.From.Kind, e.Type, e.To.Kind, rule.says)
	}
}
