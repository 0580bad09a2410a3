package openlineage

import "time"

// Kind says what an event is about.
type Kind string

// The kinds of OpenLineage events.
const (
	KindRun     Kind = "run"
	KindJob     Kind = "job"
	KindDataset Kind = "dataset"
)

// State is where a run is, as an event says.
type State string

// The states of a run. One that OpenLineage doesn't know is read as StateOther.
const (
	StateStart    State = "START"
	StateRunning  State = "RUNNING"
	StateComplete State = "COMPLETE"
	StateAbort    State = "ABORT"
	StateFail     State = "FAIL"
	StateOther    State = "OTHER"
)

// Event is one OpenLineage event in a normal form. It holds what lineage needs of
// it; Raw has the rest.
type Event struct {
	Kind     Kind
	State    State     // of a run event; StateOther if the event doesn't say
	Time     time.Time // in UTC, as the producer's clock has it
	Producer string    // URI of what made the event, empty if it doesn't say
	RunID    string    // of a run event
	Parent   *Parent   // of a run event that says so
	Job      Job       // of a run event or a job event
	Code     *Code     // what the job runs, if the event says so
	// Inputs and Outputs are what a run or a job reads and writes, each data set
	// once, in the order of the event. Those that only the lineage facet names come
	// last.
	Inputs, Outputs []Dataset
	// Derived are the data sets that lineage facets say were made of others.
	Derived []Derivation
	Dataset *Dataset // of a data set event
	// Marks are what was lenient about reading it.
	Marks []Mark
	// Raw is the event as it came, without white space around it.
	Raw string
}

// Job names a job.
type Job struct{ Namespace, Name string }

// Parent is the run that a run is a part of.
type Parent struct {
	RunID string
	Job   Job
	Root  *Root // nil if the event doesn't say
}

// Root is the run at which a chain of parents begins.
type Root struct {
	RunID string
	Job   Job
}

// Code is where the source code of a job is.
type Code struct {
	Repository string // URL
	Commit     string // or what stands for it, empty if the event doesn't say
}

// DatasetName is what a data set is called within a namespace.
type DatasetName struct{ Namespace, Name string }

// VersionedName is a data set, or a version of one.
type VersionedName struct {
	DatasetName
	Version string // empty for none
}

// Derivation says that a data set was made of another.
type Derivation struct{ Dataset, From VersionedName }

// Dataset is a data set as an event mentions it.
type Dataset struct {
	DatasetName
	// Version is what its version facet says, empty for none: then the event
	// speaks of the version as of its run.
	Version string
	// Symlinks are other names of the same data set.
	Symlinks []DatasetName
	// Sources are what its lineage facet says flows into it.
	Sources []DatasetName
	// Lifecycle is what happened to the data set, such as DROP or RENAME, empty if
	// the event doesn't say; Previous is the name before a RENAME.
	Lifecycle string
	Previous  *DatasetName
	// Deleted are the facets that the event takes back, sorted.
	Deleted []string
}

// Mark says that something about an event is not as the schema has it, and how it
// was taken.
type Mark struct {
	Pointer string `json:"pointer"` // JSON pointer into the event
	Rule    string `json:"rule"`    // one of the Rule constants
}

// The rules that events may break.
const (
	RuleProducerMissing  = "producer_missing"
	RuleProducerNotURI   = "producer_not_uri"
	RuleSchemaURLMissing = "schema_url_missing"
	RuleRunIDNotUUID     = "run_id_not_uuid"
	RuleStateUnknown     = "event_type_unknown" // taken as OTHER
	RuleStateCase        = "event_type_case"    // taken in capitals
	RuleTimeZoneMissing  = "time_zone_missing"  // taken as UTC
	RuleTimeFormat       = "time_format"        // not RFC 3339, but clear
	RuleTimeAhead        = "time_ahead"         // beyond this server's clock
	RuleFacetUnreadable  = "facet_unreadable"   // passed over, kept in Raw
	RuleFacetIncomplete  = "facet_incomplete"   // without _producer or _schemaURL
	RuleMixedKinds       = "mixed_kinds"        // a data set beside a run or a job, passed over
)

// ModelNamespace begins the namespace of data sets that are models of a registry:
// the registry's host follows, the name is the model's and the version a number.
const ModelNamespace = "modelregistry://"
