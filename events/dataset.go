package events

import "github.com/oklog/ulid/v2"

var datasetReaders = []kindReader{reads[DatasetWithdrawn](), reads[DatasetReinstated]()}

// DatasetName is what a data set is called, within a namespace such as
// s3://bucket as OpenLineage has it. Data sets that registrations name have no
// namespace.
type DatasetName struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// DatasetVersion names a version of a data set, by whatever is known of it, or
// the data set itself, with neither version nor digest.
type DatasetVersion struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Version   string `json:"version,omitempty"` // in the terms of whoever keeps the data
	Digest    string `json:"digest,omitempty"`  // "sha256:<64 hex digits>", or the tracker's own
}

// DatasetName gives what the data set is called.
func (d DatasetVersion) DatasetName() DatasetName { return DatasetName{d.Namespace, d.Name} }

// All names the data set itself, whatever its version.
func (n DatasetName) All() DatasetVersion {
	return DatasetVersion{Namespace: n.Namespace, Name: n.Name}
}

// DatasetWithdrawn records that a data set, or one version of it, must not be used
// any more. What was trained on it, derived from it or serves such a thing is
// marked, and not newly promoted or deployed.
type DatasetWithdrawn struct {
	RegistryID ulid.ULID      `json:"registry_id"`
	Dataset    DatasetVersion `json:"dataset"` // all versions, if it names none
	Reason     Text           `json:"reason,omitzero"`
}

func (DatasetWithdrawn) kind() string { return "dataset.withdrawn.v1" }

// Resource is the data set.
func (e DatasetWithdrawn) Resource() Resource { return datasetResource(e.RegistryID, e.Dataset) }

// Summary tells people what happened.
func (e DatasetWithdrawn) Summary() string { return because("withdrew "+e.Dataset.which(), e.Reason) }

// DatasetReinstated records that what was withdrawn may be used again. It takes
// back the withdrawal of the very same data set and version.
type DatasetReinstated struct {
	RegistryID ulid.ULID      `json:"registry_id"`
	Dataset    DatasetVersion `json:"dataset"`
	Reason     Text           `json:"reason,omitzero"`
}

func (DatasetReinstated) kind() string { return "dataset.reinstated.v1" }

// Resource is the data set.
func (e DatasetReinstated) Resource() Resource { return datasetResource(e.RegistryID, e.Dataset) }

// Summary tells people what happened.
func (e DatasetReinstated) Summary() string {
	return because("reinstated "+e.Dataset.which(), e.Reason)
}

// which tells the version, without the name of the data set.
func (d DatasetVersion) which() string {
	switch {
	case d.Version != "" && d.Digest != "":
		return "version " + d.Version + " with digest " + d.Digest
	case d.Version != "":
		return "version " + d.Version
	case d.Digest != "":
		return "what has digest " + d.Digest
	default:
		return "all versions"
	}
}

func datasetResource(registry ulid.ULID, d DatasetVersion) Resource {
	return Resource{Root: Root{RegistryRoot, registry}, Dataset: d.DatasetName()}
}
