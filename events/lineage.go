package events

import (
	"fmt"

	"github.com/oklog/ulid/v2"
)

var lineageReaders = []kindReader{reads[LineageReported](), reads[LineageRecorded]()}

// OpenLineage is the format of a report that came as an OpenLineage event.
const OpenLineage = "openlineage"

// States of a run, as OpenLineage has them.
const (
	RunStart    = "START"
	RunRunning  = "RUNNING"
	RunComplete = "COMPLETE"
	RunAbort    = "ABORT"
	RunFail     = "FAIL"
	RunOther    = "OTHER"
)

// Job is what a run is a run of.
type Job struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// LineageReported records what somebody who runs jobs said of a run. What the
// reports of one run say adds up, in whatever order they come and however often;
// of its state, its code and its parent, the one that happened last holds. A report
// without a run tells of data sets alone, which are its outputs.
type LineageReported struct {
	RegistryID ulid.ULID        `json:"registry_id"`
	Format     string           `json:"format"` // "openlineage"
	RunID      string           `json:"run_id,omitempty"`
	ParentRun  string           `json:"parent_run,omitempty"` // id of the run that this one is a part of
	Job        Job              `json:"job,omitzero"`
	State      string           `json:"state,omitempty"` // START, RUNNING, COMPLETE, ABORT, FAIL or OTHER
	Inputs     []DatasetVersion `json:"inputs,omitempty"`
	Outputs    []DatasetVersion `json:"outputs,omitempty"`
	Same       []SameDataset    `json:"same,omitempty"`
	Derived    []DerivedDataset `json:"derived,omitempty"` // that were made of others, as far as it says so of each
	Code       *Code            `json:"code,omitempty"`    // that the job ran
	Marks      []string         `json:"marks,omitempty"`   // how the report strays from its format
	Raw        string           `json:"raw,omitempty"`     // the report as it came, JSON
}

// SameDataset says that a data set has another name too, such as that of a table
// whose files it is.
type SameDataset struct {
	Dataset DatasetName `json:"dataset"`
	Also    DatasetName `json:"also"`
}

// DerivedDataset says that a data set, or a version of one, was made of another.
type DerivedDataset struct {
	Dataset DatasetVersion `json:"dataset"`
	From    DatasetVersion `json:"from"`
}

func (LineageReported) kind() string { return "lineage.reported.v1" }

// Resource is the registry.
func (e LineageReported) Resource() Resource {
	return Resource{Root: Root{RegistryRoot, e.RegistryID}}
}

// Summary tells people what happened.
func (e LineageReported) Summary() string {
	if e.RunID == "" {
		return count(len(e.Outputs), "data set") + " reported"
	}
	return fmt.Sprintf("run %s of %s reported %s, %s, %s", e.RunID, e.Job.Name, e.State, count(len(e.Inputs), "input"), count(len(e.Outputs), "output"))
}

// LineageRecorded records edges of the graph of lineage that neither a
// registration nor a run's report tells.
type LineageRecorded struct {
	RegistryID ulid.ULID     `json:"registry_id"`
	Edges      []LineageEdge `json:"edges,omitempty"`
	Reason     Text          `json:"reason,omitzero"`
}

func (LineageRecorded) kind() string { return "lineage.recorded.v1" }

// Resource is the registry.
func (e LineageRecorded) Resource() Resource {
	return Resource{Root: Root{RegistryRoot, e.RegistryID}}
}

// Summary tells people what happened.
func (e LineageRecorded) Summary() string {
	return because("recorded "+count(len(e.Edges), "edge")+" of lineage", e.Reason)
}

// LineageEdge says that one thing comes from another.
type LineageEdge struct {
	From LineageNode `json:"from"`           // the effect
	To   LineageNode `json:"to"`             // its cause
	Type LineageType `json:"type"`           // in the words of W3C PROV
	Role string      `json:"role,omitempty"` // of the cause, such as train
}

// LineageType is how an effect comes from its cause, as W3C PROV has it.
type LineageType string

// The types of edges. Each goes from an effect to its cause.
const (
	Used              LineageType = "used"              // a run, or a deployment, used a thing
	WasGeneratedBy    LineageType = "wasGeneratedBy"    // a thing was made by a run
	WasDerivedFrom    LineageType = "wasDerivedFrom"    // a thing was made from another one
	HadMember         LineageType = "hadMember"         // a thing consists of others
	SpecializationOf  LineageType = "specializationOf"  // a version or a part of a thing
	AlternateOf       LineageType = "alternateOf"       // the same thing under another name
	WasInformedBy     LineageType = "wasInformedBy"     // a run is a part of another, or was set off by it
	WasAssociatedWith LineageType = "wasAssociatedWith" // a run is one of a job
)

// LineageKind is what a node of the graph of lineage stands for.
type LineageKind string

// The kinds of nodes, and the fields that each has.
const (
	DatasetNode        LineageKind = "dataset"         // namespace, name
	DatasetVersionNode LineageKind = "dataset_version" // namespace, name, version, digest
	FeatureNode        LineageKind = "feature"         // namespace, name
	CodeNode           LineageKind = "code"            // name (the repository), version (the commit)
	RunNode            LineageKind = "run"             // name (the run's id)
	JobNode            LineageKind = "job"             // namespace, name
	VersionNode        LineageKind = "version"         // model_id, number
	BaseModelNode      LineageKind = "base_model"      // name, of a model that is not in this registry
	ArtifactNode       LineageKind = "artifact"        // digest, or name (its URI)
	TargetNode         LineageKind = "target"          // target_id
)

// LineageNode names a node of the graph of lineage for ever. It can be compared.
type LineageNode struct {
	Kind      LineageKind `json:"kind"`
	Namespace string      `json:"namespace,omitempty"`
	Name      string      `json:"name,omitempty"`
	Version   string      `json:"version,omitempty"`
	Digest    string      `json:"digest,omitempty"`
	ModelID   ulid.ULID   `json:"model_id,omitzero"`
	Number    int         `json:"number,omitzero"` // of a version within its model
	TargetID  ulid.ULID   `json:"target_id,omitzero"`
}

// Node gives the node that a data set, or a version of one, has.
func (d DatasetVersion) Node() LineageNode {
	n := LineageNode{Kind: DatasetVersionNode, Namespace: d.Namespace, Name: d.Name, Version: d.Version, Digest: d.Digest}
	if d.Version == "" && d.Digest == "" {
		n.Kind = DatasetNode
	}
	return n
}

// Dataset gives the data set, or version of one, that a node stands for.
func (n LineageNode) Dataset() DatasetVersion {
	return DatasetVersion{n.Namespace, n.Name, n.Version, n.Digest}
}

// Node gives the node that a model version has.
func (id VersionID) Node() LineageNode {
	return LineageNode{Kind: VersionNode, ModelID: id.ModelID, Number: id.Version}
}

// VersionID gives the model version that a node stands for.
func (n LineageNode) VersionID() VersionID { return VersionID{n.ModelID, n.Number} }
